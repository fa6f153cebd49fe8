"""Row 21: something blocks the loop while the pool closes, for longer than that may take; then all timers are due at once.

Closing takes as much longer as the stall was long, and no more; no job that ends when it is told to is given up on; and the
books balance all the time (R1, R8, R12, R13, R14). In real time here, and to the instant on the explorer's loop.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.real.kinds import EACH_KIND, run
from tests.support import FOREVER, Stubborn, adds_up, balanced, sleep, turns
from weirpool import JobState, PoolState, WorkerPool, testing
from weirpool.events import Observer
from weirpool.testing import DeterministicLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from weirpool import JobHandle, ShutdownReport

pytestmark = [pytest.mark.realtime, pytest.mark.complains]

MOMENTS = ["before the drain", "in the drain", "as the drain ends", "in the grace", "late in the grace"]
SLACK = 5.0  # seconds that a busy machine may stall on top; the jobs themselves would take an hour


class Auditor(Observer):
    """Check the books at every event."""

    def __init__(self) -> None:
        self.imbalances: list[Any] = []
        self.pool: WorkerPool | None = None

    def _check(self, event: object) -> None:
        if self.pool is not None and not balanced(self.pool):
            self.imbalances.append((event, self.pool.stats()))

    job_accepted = job_started = job_ended = stray_ended = submit_refused = pool_moved = _check


class Closing:
    """A pool that has jobs of every kind when it is closed, and a loop that is blocked at some moment of that."""

    def __init__(self, budget: float, grace: float, block: Callable[[float], None], *, exact: bool) -> None:
        self._budget = budget
        self._grace = grace
        self._block = block
        self._exact = exact  # nothing else blocks the loop
        self._auditor = Auditor()
        self._pool = self._auditor.pool = WorkerPool(
            max_workers=12, queue_size=30, shutdown_timeout=budget, cancel_grace=grace, observers=[self._auditor]
        )
        self._deaf: list[Stubborn] = []
        self._handles: dict[str, list[JobHandle[Any]]] = {}

    async def run(self, moment: float, stall: float) -> float:
        """Close the pool, block the loop at a moment of that, check what became of the jobs; return how long it took."""
        loop = asyncio.get_running_loop()

        async def tidy(share: float) -> None:
            try:
                await asyncio.sleep(FOREVER)
            finally:
                await asyncio.sleep(self._grace * share)

        async with self._pool as pool:
            self._deaf = [Stubborn() for _ in range(4)]
            for kind, timeout, jobs, args in (
                ("deaf", None, self._deaf[:3], ()),
                ("deaf at their deadline", self._budget / 3, self._deaf[3:], ()),
                ("cooperative", None, [sleep] * 3, (FOREVER,)),
                ("quick to tidy up", None, [tidy], (0.4,)),
                ("slow to tidy up", None, [tidy], (0.8,)),
                ("timed", self._budget / 2, [sleep] * 2, (FOREVER,)),
                ("short", None, [sleep], (self._budget / 4,)),
                ("queued", None, [sleep] * 10, (FOREVER,)),
            ):
                self._handles[kind] = [await pool.submit(job, *args, timeout=timeout) for job in jobs]
            late = loop.time() + self._budget / 2
            self._handles["late"] = [await pool.submit(sleep, FOREVER, deadline=late) for _ in range(10)]
            await turns()
            began = loop.time()
            loop.call_later(moment, self._block, stall)
            report = await pool.aclose()
            took = loop.time() - began
        self._judge(report, grace_is_whole=self._exact and moment < self._budget - self._grace)
        for deaf in self._deaf:
            await deaf.release()
        assert pool.stats().strays == 0
        return took

    def _judge(self, report: ShutdownReport, *, grace_is_whole: bool) -> None:
        assert self._pool.state is PoolState.CLOSED
        assert not self._auditor.imbalances
        assert adds_up(report)
        assert report.accepted == 32
        possible = {
            "deaf": {JobState.ABANDONED},
            "deaf at their deadline": {JobState.ABANDONED},
            "cooperative": {JobState.CANCELLED},
            "quick to tidy up": {JobState.CANCELLED} if self._exact else {JobState.CANCELLED, JobState.ABANDONED},
            "slow to tidy up": {JobState.CANCELLED} if grace_is_whole else {JobState.CANCELLED, JobState.ABANDONED},
            "timed": {JobState.TIMED_OUT, JobState.CANCELLED},
            "short": {JobState.SUCCEEDED, JobState.CANCELLED},
            "queued": {JobState.CANCELLED},
            "late": {JobState.TIMED_OUT, JobState.CANCELLED},
        }
        for kind, handles in self._handles.items():
            for handle in handles:
                assert handle.state in possible[kind], kind
                handle.exception()


@EACH_KIND
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stall_while_the_pool_closes_prolongs_that_by_its_length_at_most(kind: str, moment: str) -> None:
    budget, grace, stall = 0.2, 0.1, 0.3

    async def main() -> float:
        at = MOMENTS.index(moment) / (len(MOMENTS) - 1) * budget * 0.9
        return await Closing(budget, grace, time.sleep, exact=False).run(at, stall)

    assert run(kind, main) <= budget + stall + SLACK


@pytest.mark.parametrize("stall", [0.3, 1.2, 5.0])
def test_a_stall_at_any_moment_of_closing_prolongs_that_by_its_length_at_most_to_the_instant(stall: float) -> None:
    budget, grace = 2.0, 1.0
    took: list[float] = []

    async def main(moment: float) -> None:
        closing = Closing(budget, grace, DeterministicLoop.running().block, exact=True)
        took.append(await closing.run(moment, stall))

    for moment in [twentieth / 20 for twentieth in range(41)]:
        ran = testing.run(partial(main, moment))
        if ran.error is not None:
            raise ran.error
    assert len(took) == 41
    assert max(took) <= budget + stall + 1e-6
    assert min(took) >= budget - 1e-6, "jobs that ignore everything take all of the budget"
