"""The one timer of a pool: it looks at jobs whose time is over, in the queue and while running, and sleeps otherwise.

Nothing here is paid per job that ends in time, beyond one comparison. Running jobs are not kept in order of time: when the
earliest limit among them comes, all that run are looked at (there are at most `max_workers`) and the timer is set to the
next. Queued jobs may be a million, so those with a deadline are in a heap.
"""

from __future__ import annotations

import heapq
import math
import weakref
from contextvars import Context
from typing import TYPE_CHECKING, Any

from ._lifecycle import QUEUED

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from ._job import Job
    from ._run import Run

__all__ = ["Watch"]


class Watch:
    """Call `overdue(job)` for each job whose limit (running) or deadline (queued) has come.

    Args:
        loop: whose clock counts.
        runs: the runs of the jobs that run now, and maybe of some that have ended; a live view.
        overdue: called with a job whose time has come; it ends the job or gives it a later limit.
    """

    __slots__ = ("_at", "_context", "_loop", "_overdue", "_queued", "_runs", "_timer", "_waiting")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        runs: Mapping[asyncio.Task[Any], Run],
        overdue: Callable[[Job], None],
    ) -> None:
        self._loop = loop
        self._runs = runs
        self._overdue = overdue
        # Weak, since a job that has left the queue must not be kept until its deadline by this list.
        self._queued: list[tuple[float, int, weakref.ref[Job]]] = []
        self._waiting = 0
        self._at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._context = Context()  # not that of whoever happens to set the timer, which would be kept, and seen by loggers

    def running(self, run: Run, limit: float) -> None:
        """Look at a running job at `limit`; a later call replaces this one."""
        run.limit = limit
        self._by(limit)

    def queued(self, job: Job, deadline: float) -> None:
        """Look at a queued job at its deadline."""
        heapq.heappush(self._queued, (deadline, job.number, weakref.ref(job)))
        self._waiting += 1
        self._by(deadline)

    def unqueued(self) -> None:
        """Note that one job with a deadline has left the queue."""
        self._waiting -= 1
        if len(self._queued) > 64 + 2 * self._waiting:
            before = tuple(self._queued)
            living = [entry for entry in before if _still_queued(entry[2])]
            # Else the garbage collector has come by, and with it somebody's finalizer that submits.
            if len(self._queued) == len(before):
                heapq.heapify(living)
                self._queued = living

    def rest(self) -> None:
        """Drop the timer: nothing is queued and nothing runs, so an idle pool wakes nobody."""
        self._queued.clear()
        self._set(math.inf)

    def _by(self, at: float) -> None:
        if at < self._at:
            self._set(at)

    def _set(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        self._timer = None if at == math.inf else self._loop.call_at(at, self._look, context=self._context)

    def _look(self) -> None:
        # Some loops fire a timer a little before its time: what is due at that time counts as due.
        now = max(self._loop.time(), self._at)
        self._set(math.inf)
        try:
            self._deal_with_what_is_due(now)
        finally:  # else nobody would look at the others any more, should anything go wrong with one
            following = min((run.limit for run in list(self._runs.values()) if run.job is not None), default=math.inf)
            if self._queued:
                following = min(following, self._queued[0][0])
            self._by(following)

    def _deal_with_what_is_due(self, now: float) -> None:
        while self._queued:
            # Not looked at where it is: by the time it is taken out, somebody's finalizer may have submitted an earlier one.
            entry = heapq.heappop(self._queued)
            job = _still_queued(entry[2])
            if job is not None and entry[0] > now:
                heapq.heappush(self._queued, entry)
                break
            if job is not None:
                self._overdue(job)
        # From lists of their own, as a job's end may start others.
        for run in [run for run in list(self._runs.values()) if run.limit <= now]:
            if run.job is not None and run.limit <= now:  # else an observer has ended it just now, or cancelled it
                self._overdue(run.job)


def _still_queued(reference: weakref.ref[Job]) -> Job | None:
    job = reference()
    return job if job is not None and job.status is QUEUED else None
