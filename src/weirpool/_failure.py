"""The exception that a job ended with, which somebody has to see."""

from __future__ import annotations

import logging

from ._errors import traceback_of
from ._logs import fields

__all__ = ["Failure"]

_log = logging.getLogger("weirpool.job")


class Failure:
    """Hold the exception that a job ended with, and see to it that it is seen.

    A job's record dies when the last of its handles does (at once, if they were dropped before). If nobody has looked at
    the exception by then, it is logged: once, with its traceback. Nothing is paid for this by a job that succeeds.
    """

    __slots__ = ("error", "job", "pool", "seen", "traceback")

    def __init__(self, error: BaseException, job: str, pool: str) -> None:
        self.error = error
        self.traceback = traceback_of(error)
        self.job = job
        self.pool = pool
        self.seen = False

    def rewound(self) -> BaseException:
        """Return the exception with the traceback that it left the job with, without the frames of who raised it since."""
        return BaseException.with_traceback(self.error, self.traceback)

    def __del__(self) -> None:
        if not self.seen:
            try:
                self._log(fields("job.failed", self.pool, job=self.job))
            except KeyError:  # the application's own records have one of these fields already
                self._log({})

    def _log(self, extra: dict[str, str]) -> None:
        _log.error(
            "job %r of pool %r failed and nobody asked why",
            self.job,
            self.pool,
            exc_info=(type(self.error), self.error, self.traceback),
            extra=extra,
        )
