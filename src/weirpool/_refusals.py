"""The way out for a job that is not admitted: it is counted, told and logged, with an estimate of when to come again."""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from ._errors import PoolClosed, PoolOverloaded
from ._lifecycle import Ledger, PoolState
from ._logs import Seldom, fields

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sized

    from ._errors import OverloadReason
    from ._observers import Listener
    from ._settings import Settings
    from ._steering import Steering

__all__ = ["Refusals"]

_log = logging.getLogger("weirpool.admission")

_LONGEST_RETRY = 60
_RATE_WINDOW = 10.0


class Refusals:
    """Refuse jobs of one pool.

    Args:
        settings: what the pool is asked to be.
        steering: what keeps the crew from starting jobs.
        ledger: the pool's books.
        line: those that wait for room.
        observers: whom to tell, or None.
        loop: the pool's event loop.
    """

    def __init__(
        self,
        settings: Settings,
        steering: Steering,
        ledger: Ledger,
        line: Sized,
        observers: Listener | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._name = settings.name
        self._queue_size = settings.queue_size
        self._steering = steering
        self._ledger = ledger
        self._line = line
        self._observers = observers
        self._loop = loop
        self._seldom = Seldom(loop.time)
        # Two moments of the past, and how many jobs had ended by then: the completion rate is measured from the older.
        self._marks = ((loop.time(), 0),) * 2

    def not_open(self) -> NoReturn:
        """Refuse a job as the pool is not open."""
        if self._ledger.pool is PoolState.NEW:
            raise RuntimeError(f"pool {self._name!r} is still being opened: await its __aenter__() first")
        self.note("closed")
        raise PoolClosed(self._name)

    def no_room(self, reason: OverloadReason, waited: float = 0.0) -> NoReturn:
        """Refuse a job for whose sake nobody leaves the queue; `waited`: for how long its submitter has stood in line."""
        self._overloaded(reason, self._ledger.queued, self._queue_size, waited)

    def choked(self) -> NoReturn:
        """Refuse a job as too many strays run."""
        self._overloaded("strays", self._ledger.strays, self._steering.most_strays)

    def note(self, reason: str) -> None:
        """Count a refusal, and tell of it."""
        self._ledger.refused[reason] += 1
        if self._steering.paced is not None:
            self._steering.paced.rest()
        if self._observers is not None:
            self._observers.submit_refused(reason)

    def measure_from_now(self) -> None:
        """Estimate from how many jobs end from now on: all places are taken, so these will be what the pool can do."""
        self._marks = (self._mark(),) * 2

    def retry_after(self) -> int:
        """Estimate when what waits now will have been worked off, from the rate at which jobs have been ending.

        The rate is that of the present busy spell, or of its last ten to twenty seconds. Where nothing has been ending, it
        may well take as long again: so the estimate grows until something does. Whole seconds, from 1 to 60.
        """
        now, mark = self._mark(), self._marks[1]
        quiet = now[0] - mark[0] if now[1] == mark[1] else 0.0
        if not quiet and now[0] - mark[0] > _RATE_WINDOW:
            self._marks = (mark, now)
        elapsed, ended = now[0] - self._marks[0][0], now[1] - self._marks[0][1]
        ahead = self._ledger.queued + len(self._line) + 1
        estimate = max(quiet, ahead * elapsed / ended if ended else 0.0)
        return max(1, min(_LONGEST_RETRY, math.ceil(estimate)))

    def _mark(self) -> tuple[float, int]:
        return self._loop.time(), self._ledger.ended

    def _overloaded(self, reason: OverloadReason, depth: int, limit: int, waited: float = 0.0) -> NoReturn:
        self.note(reason)
        refusal = PoolOverloaded(self._name, reason, depth=depth, limit=limit, waited=waited, retry_after=self.retry_after())
        self._say(refusal)
        try:
            raise refusal
        finally:
            del refusal  # whose traceback has this frame

    def _say(self, refusal: PoolOverloaded) -> None:
        """Log a refusal; the first at once, and then only now and then, as there may be thousands in a second."""
        if refusals := self._seldom.due():
            with suppress(Exception):  # whatever a logging handler does, the pool has to go on
                _log.warning(
                    "%s (%d refused since this was last said)",
                    str(refusal),  # who keeps records must not keep its traceback
                    refusals,
                    extra=fields(
                        "submission.refused",
                        self._name,
                        reason=refusal.reason,
                        depth=refusal.depth,
                        limit=refusal.limit,
                        retry_after=refusal.retry_after,
                        refusals=refusals,
                    ),
                )
