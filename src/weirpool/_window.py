"""What a scaling policy is told: how jobs have fared since it was asked last.

It stands where the observers would, hears what they hear, and passes it on: so a pool of fixed size, which has none, pays
nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ._errors import PoolOverloaded
from ._failure import Failure
from ._lifecycle import FAILED, SUCCEEDED, TIMED_OUT

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ._job import Job
    from ._lifecycle import Ledger, PoolState
    from ._observers import Listener
    from ._run import Run

__all__ = ["Window"]


def _nothing() -> None:
    """Have nobody to tell."""


class Window:
    """Sum up what happens in one pool, until it is taken.

    Args:
        ledger: the pool's books.
        observers: whom to pass everything on to, or None.
        loop: whose clock counts.
    """

    def __init__(self, ledger: Ledger, observers: Listener | None, loop: asyncio.AbstractEventLoop) -> None:
        self._ledger = ledger
        self._observers = observers
        self._loop = loop
        self.on_work: Callable[[], object] = _nothing
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.started: int = 0
        self.least_delay: float = math.inf
        self.succeeded: int = 0
        self.failed: int = 0
        self.timed_out: int = 0
        self.dropped: int = 0
        self.busy_seconds: float = 0.0
        self._busy, self._since = self._ledger.running, self._loop.time()
        self.peak: int = self._ledger.running

    def take_busy_seconds(self) -> float:
        """Return for how long places have been in use, in place-seconds, up to now."""
        self._integrate()
        return self.busy_seconds

    def _integrate(self) -> None:
        now = self._loop.time()
        self.busy_seconds += self._busy * (now - self._since)
        self._busy, self._since = self._ledger.running, now

    def job_accepted(self, job: Job) -> None:
        """Note that there is something to do."""
        self.on_work()
        if self._observers is not None:
            self._observers.job_accepted(job)

    def job_started(self, job: Job, run: Run) -> None:
        """Note how long a job has waited."""
        self._integrate()
        run.started_at = self._since
        self.started += 1
        self.least_delay = min(self.least_delay, run.started_at - job.accepted_at)
        self.peak = max(self.peak, self._ledger.running)
        if self._observers is not None:
            self._observers.job_started(job, run)

    def job_ended(self, job: Job, run: Run | None) -> None:
        """Note how a job has ended."""
        state, outcome = job.status, job.outcome
        if run is not None:
            self._integrate()
            if state is SUCCEEDED:
                self.succeeded += 1
            elif state is FAILED:
                self.failed += 1
            elif isinstance(outcome, Failure):  # TIMED_OUT, or ABANDONED for its deadline
                self.timed_out += 1
        elif state is TIMED_OUT or isinstance(outcome, PoolOverloaded):
            self.dropped += 1
        if self._observers is not None:
            self._observers.job_ended(job, run)

    def stray_ended(self, job: Job) -> None:
        """Pass it on."""
        if self._observers is not None:
            self._observers.stray_ended(job)

    def submit_refused(self, reason: str) -> None:
        """Note that there was no room for a job."""
        if reason in {"full", "timeout", "early"}:
            self.dropped += 1
        if self._observers is not None:
            self._observers.submit_refused(reason)

    def pool_moved(self, was: PoolState, now: PoolState) -> None:
        """Pass it on."""
        if self._observers is not None:
            self._observers.pool_moved(was, now)

    def pool_resized(self, was: int, now: int, reason: str) -> None:
        """Pass it on."""
        if self._observers is not None:
            self._observers.pool_resized(was, now, reason)
