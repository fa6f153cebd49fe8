"""Jobs, checks and a clock that many tests use."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

if TYPE_CHECKING:
    from weirpool import ShutdownReport, WorkerPool

FOREVER = 3600.0


class Clock:
    """Tell how much of the running loop's time has passed since the last `start()`, or since the test began."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self._since: float | None = None

    def start(self) -> None:
        """Begin to measure."""
        self._since = asyncio.get_running_loop().time()

    @property
    def passed(self) -> float:
        """Seconds since `start()`."""
        assert self._since is not None, "call clock.start() first"
        return asyncio.get_running_loop().time() - self._since

    def shows(self, seconds: float) -> bool:
        """Say whether just these seconds have passed, as exactly as the clock allows."""
        return self.passed == pytest.approx(seconds, abs=self.tolerance)


async def echo(value: Any) -> Any:
    """Return the argument, after a turn of the loop."""
    await asyncio.sleep(0)
    return value


async def sleep(seconds: float, result: Any = None) -> Any:
    """Take some time."""
    await asyncio.sleep(seconds)
    return result


async def fail(error: BaseException) -> Any:
    """Raise, after a turn of the loop."""
    await asyncio.sleep(0)
    raise error


class Stubborn:
    """A job that swallows every cancellation until the test lets it go.

    Attributes:
        living: all that run now, with their loop; a test that failed before it let them go would never end.
    """

    living: ClassVar[dict[Stubborn, asyncio.AbstractEventLoop]] = {}

    def __init__(self) -> None:
        self.cancellations = 0
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self._released = asyncio.Event()

    async def __call__(self) -> str:
        self.living[self] = asyncio.get_running_loop()
        self.started.set()
        try:
            while not self._released.is_set():
                try:
                    await self._released.wait()
                except asyncio.CancelledError:
                    self.cancellations += 1
            return "late"
        finally:
            self.living.pop(self, None)  # one object may be several jobs
            self.ended.set()

    async def release(self) -> None:
        """Let the job end, and wait until its task is gone."""
        self._released.set()
        await self.ended.wait()
        for _ in range(5):
            await asyncio.sleep(0)


class Gate:
    """Jobs that wait at a gate, so that a test decides when they end."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self.inside = 0
        self.most_inside = 0

    async def __call__(self, result: Any = None) -> Any:
        self.inside += 1
        self.most_inside = max(self.inside, self.most_inside)
        try:
            await self._open.wait()
        finally:
            self.inside -= 1
        return result

    def open(self) -> None:
        """Let all through, now and later."""
        self._open.set()


async def turns(number: int = 5) -> None:
    """Let the loop turn a few times."""
    for _ in range(number):
        await asyncio.sleep(0)


def refusals(**counts: int) -> dict[str, int]:
    """Return the counts of refused submissions, of which all that are not named are 0."""
    return dict.fromkeys(("full", "timeout", "closed", "cancelled", "early", "strays", "nesting"), 0) | counts


def balanced(pool: WorkerPool) -> bool:
    """Say whether the books balance (R1) and the bounds hold (R2)."""
    s = pool.stats()
    ends = s.succeeded + s.failed + s.timed_out + s.cancelled + s.abandoned
    return s.accepted == ends + s.queued + s.running and s.running - s.lending <= s.max_workers and s.queued <= s.queue_size


def adds_up(report: ShutdownReport | None) -> bool:
    """Say whether a report accounts for every accepted job (R14)."""
    assert report is not None
    ends = report.succeeded + report.failed + report.timed_out + report.cancelled + report.abandoned
    return report.accepted == ends
