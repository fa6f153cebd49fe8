"""How far a `pool.map` has come, for whoever wants to be told: a frozen record, and who tells it."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._errors import is_a, traceback_of
from ._exits import raise_in_loop
from ._lifecycle import SUCCEEDED
from ._logs import fields

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextvars import Context

    from ._job import Job

__all__ = ["MapProgress", "Tally"]

_log = logging.getLogger("weirpool.map")


@dataclass(frozen=True, slots=True)
class MapProgress:
    """Say how far a `pool.map` has come.

    Attributes:
        done: how many items have been dealt with, whichever way.
        failed: how many of these did not succeed: the job failed, ran out of time or was cancelled.
        skipped: how many of those are left out of the results (`on_error="skip"`).
        total: how many items there are, if that is known.
        rate: how many were done per second, since the first was read; 0.0 at the very beginning.
        eta: in how many seconds all will be done at this rate; None: nobody knows.
        ended: whether the map is over, at the end of its items or before; this is the last that is told of it.
    """

    done: int
    failed: int
    skipped: int
    total: int | None
    rate: float
    eta: float | None
    ended: bool


class Tally:
    """Count the items of one map that are done, and call back for each. Whoever raises in that is called no more.

    Args:
        call: what is called.
        total: how many items there are; None: nobody knows.
        skips: whether what fails is skipped.
        pool: the pool's name.
        loop: its event loop.
        context: what the callback runs in.
    """

    __slots__ = ("_call", "_context", "_done", "_failed", "_fresh", "_loop", "_pool", "_since", "_skips", "_total")

    def __init__(
        self,
        call: Callable[[MapProgress], object],
        total: int | None,
        *,
        skips: bool,
        pool: str,
        loop: asyncio.AbstractEventLoop,
        context: Context,
    ) -> None:
        self._call: Callable[[MapProgress], object] | None = call
        self._total = total
        self._skips = skips
        self._pool = pool
        self._loop = loop
        self._context = context
        self._since = loop.time()
        self._done = self._failed = 0
        self._fresh: list[Job] = []

    def start(self) -> None:
        """Note that the first item is about to be read."""
        self._since = self._loop.time()

    def note(self, job: Job) -> None:
        """Hear that a job is about to end, which is no place to call anybody: a turn later it has."""
        if not self._fresh:
            self._loop.call_soon(self.tell, context=self._context)
        self._fresh.append(job)

    def tell(self) -> None:
        """Tell of what has been done since the last time."""
        fresh, self._fresh = self._fresh, []
        for job in fresh:
            self._done += 1
            self._failed += job.status is not SUCCEEDED
            self._say(ended=False)

    def catch_up(self) -> None:
        """Tell of it now, so that whoever gets a result has been told of that before."""
        if self._fresh:
            self._context.run(self.tell)

    def end(self) -> None:
        """Tell that it is over."""
        self.catch_up()
        self._context.run(self._say, ended=True)
        self._call = None

    def _say(self, *, ended: bool) -> None:
        call = self._call
        if call is None:
            return
        seconds = self._loop.time() - self._since
        rate = self._done / seconds if seconds > 0 else 0.0
        eta = None if self._total is None or not rate else max(0, self._total - self._done) / rate
        skipped = self._failed if self._skips else 0
        try:
            call(MapProgress(self._done, self._failed, skipped, self._total, rate, eta, ended))
        except BaseException as error:
            self._call = None
            with suppress(Exception):  # whatever a logging handler does, the map has to go on
                _log.error(
                    "the progress callback of a map of pool %r raised and is dropped",
                    self._pool,
                    exc_info=(type(error), error, traceback_of(error)),
                    extra=fields("map.dropped", self._pool),
                )
            if is_a(error, KeyboardInterrupt, SystemExit):
                raise_in_loop(self._loop, error)
