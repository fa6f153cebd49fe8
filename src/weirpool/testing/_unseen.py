"""Find the failures of jobs that nobody has asked about."""

from __future__ import annotations

import gc
import logging
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["UnseenFailures", "no_unseen_failures"]


class UnseenFailures(AssertionError):
    """Jobs have failed, and nobody has asked why."""


class _Collector(logging.Handler):
    """Take down what pools log of such failures, as text: the records hold the frames that the exceptions were raised in."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "event", None) == "weirpool.job.failed" and record.exc_info:
            self.texts.append(f"{record.getMessage()}:\n{''.join(traceback.format_exception(*record.exc_info))}")


@contextmanager
def no_unseen_failures() -> Generator[None, None, None]:
    """Fail if a job fails or times out in the block, and its handle is dropped before anybody has looked at the outcome.

    That is what a pool logs an error for. What is garbage is collected at the end of the block, so that such a handle does not
    wait for a later collection; one that somebody still has by then does not count. If the block itself raises, that is all
    that is raised. Pytest's fixture of this name is in `weirpool.testing.pytest_plugin`.

    Raises:
        UnseenFailures: has each failure with its traceback.
    """
    collector, log = _Collector(), logging.getLogger("weirpool.job")
    log.addHandler(collector)
    try:
        yield
        gc.collect()
    finally:
        log.removeHandler(collector)
    if collector.texts:
        raise UnseenFailures(
            "\n".join([*collector.texts, "Await each job's handle, or look at its exception(); or mend what fails."])
        )
