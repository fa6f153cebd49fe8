"""A shutdown that is run, in virtual time, with a job for each thing that may happen to one; and a record of what did."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from weirpool import JobState, PoolClosed, PoolState, WorkerPool
from weirpool.events import JobAccepted, JobEnded, JobStarted, Observer, PoolMoved, SubmitRefused
from weirpool.testing import run

if TYPE_CHECKING:
    from weirpool import ShutdownReport

__all__ = ["GRACE", "SHUTDOWN", "Record", "Span", "record"]

SHUTDOWN, GRACE = 10.0, 2.0


@dataclass
class Span:
    """What became of a job, and when, in seconds."""

    name: str
    accepted: float
    started: float | None = None
    cancelled: float | None = None
    ended: float = 0.0
    state: JobState = JobState.QUEUED


@dataclass
class Record(Observer):
    """Note what happens, and when."""

    spans: dict[int, Span] = field(default_factory=dict)
    moves: dict[PoolState, float] = field(default_factory=dict)
    refused: list[tuple[float, str]] = field(default_factory=list)
    returned: float = 0.0
    report: ShutdownReport | None = None

    def job_accepted(self, event: JobAccepted, /) -> None:
        """Note it."""
        self.spans[event.id] = Span(event.name, now())

    def job_started(self, event: JobStarted, /) -> None:
        """Note it."""
        self.spans[event.id].started = now()

    def job_ended(self, event: JobEnded, /) -> None:
        """Note it."""
        span = self.spans[event.id]
        span.ended, span.state = now(), event.state

    def submit_refused(self, event: SubmitRefused, /) -> None:
        """Note it."""
        self.refused.append((now(), event.reason))

    def pool_moved(self, event: PoolMoved, /) -> None:
        """Note it."""
        self.moves[event.now] = now()

    def hit(self, name: str) -> None:
        """Note that a job hears of its cancellation, the first time."""
        span = next(span for span in self.spans.values() if span.name == name)
        if span.cancelled is None:
            span.cancelled = now()


def now() -> float:
    """Return the time of the loop."""
    return asyncio.get_running_loop().time()


def record() -> Record:
    """Run a pool whose shutdown takes all of its time."""
    kept = Record()

    async def works(name: str, seconds: float, cleanup: float = 0.0) -> None:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            kept.hit(name)
            await asyncio.sleep(cleanup)
            raise

    async def never_stops(name: str, seconds: float) -> None:
        end = now() + seconds
        while now() < end:
            try:
                await asyncio.sleep(end - now())
            except asyncio.CancelledError:
                kept.hit(name)

    async def main() -> None:
        pool = WorkerPool(
            max_workers=3, queue_size=10, shutdown_timeout=SHUTDOWN, cancel_grace=GRACE, name="mail", observers=[kept]
        )
        async with pool:
            await pool.submit(works, "short", 4.0, name="short")
            await pool.submit(works, "tidy", 30.0, 1.2, name="tidy")
            await pool.submit(never_stops, "stubborn", 14.0, name="stubborn")
            await pool.submit(works, "next", 3.0, name="next")
            await asyncio.sleep(0.5)
            await pool.submit(works, "slow", 30.0, name="slow")
            await pool.submit(works, "last", 1.0, name="last")
            await asyncio.sleep(1.5)
            closing = asyncio.create_task(pool.aclose())
            await asyncio.sleep(2.5)
            try:
                pool.submit_nowait(works, "late", 1.0, name="late")
            except PoolClosed:
                pass
            else:
                raise AssertionError("a pool that closes has accepted a job")
            kept.report = await closing
            kept.returned = now()

    run(main).check()
    return kept
