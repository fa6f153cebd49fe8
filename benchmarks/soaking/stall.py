"""Part "stall": a loop that is blocked for seconds in the midst of closing.

Pools of all budgets and graces begin to close together, so that the stall comes in the drain of one, over the end of the drain
of another, and in the grace of a third. Each may close later by as long as the loop was blocked, and no more; and whatever
cleans up when it is cancelled must be left the time for it, although all timers are due at once when the stall is over.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weirpool import JobHandle, JobState, WorkerPool

from .bars import Mistakes, Result, at_most, exactly, say
from .gauges import Noise
from .loops import drive, until

if TYPE_CHECKING:
    from weirpool import ShutdownReport

__all__ = ["soak"]

_POOLS = 24
_WORKERS = 8
_LEAST_GRACE = 0.3  # seconds, of which half is left after a stall
_CLEANING = 0.3  # of the grace, at most
_SLACK = 0.25  # seconds, for two dozen pools on a machine that others use, too


@dataclass(slots=True)
class Chore:
    """A job, and what was seen of it."""

    kind: str
    seconds: float = 0.0  # to work, or to clean up
    timeout: float | None = None
    entered: bool = False
    clean: bool = False
    released: bool = False
    handle: JobHandle[None] | None = None

    async def run(self) -> None:
        """Do it: end by itself, clean up when cancelled, or ignore that."""
        self.entered = True
        if self.kind == "quick":
            await asyncio.sleep(self.seconds)
        elif self.kind == "co-operative":
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(0)
                await asyncio.sleep(self.seconds)
                self.clean = True
        else:
            while not self.released:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.01)


class Yard:
    """Hold what the pools of all rounds share.

    Attributes:
        moment: when the stall begins, after the closing has.
        cooperative: how many co-operative jobs were started.
        cleaned: how many of those came to the end of their cleanup.
        struck: what the pools were doing when the stall began.
        over: by how much the latest closing was later than its bound and the stall (negative: it was not), in seconds.
    """

    def __init__(self, stall: float, seed: int) -> None:
        self.rng = random.Random(seed)
        self.stall = stall
        self.moment = 0.0
        self.mistakes = Mistakes()
        self.noise = Noise(self.mistakes)
        self.noise.install()
        self.ends: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        self.cooperative = 0
        self.cleaned = 0
        self.over = -60.0
        self._blocked = stall

    async def round(self) -> None:
        """Close all pools, and block the loop meanwhile."""
        loop = asyncio.get_running_loop()
        self.moment = self.rng.uniform(0.05, 0.4)
        pools: list[WorkerPool] = []
        blow = asyncio.Event()
        closings = [asyncio.create_task(self._close(pools, blow)) for _ in range(_POOLS)]
        await asyncio.sleep(0.2)
        loop.call_later(self.moment, self._block, pools)
        blow.set()
        await asyncio.wait(closings)
        for closing in closings:
            closing.result()

    def _block(self, pools: list[WorkerPool]) -> None:
        self.struck.update(pool.state.value for pool in pools)
        began = time.perf_counter()
        time.sleep(self.stall)
        self._blocked = time.perf_counter() - began

    async def _close(self, pools: list[WorkerPool], blow: asyncio.Event) -> None:
        rng, clock = self.rng, asyncio.get_running_loop().time
        grace = rng.uniform(_LEAST_GRACE, 1.5)
        # The drain ends at once, soon before the stall or in it, or perhaps after it.
        budget = grace + rng.choice((0.0, rng.uniform(0, 1.2) * self.moment, rng.uniform(0, self.stall + 1)))
        chores = self._chores(grace)
        pool = WorkerPool(max_workers=_WORKERS, shutdown_timeout=budget, cancel_grace=grace)
        pools.append(pool)
        await pool.__aenter__()
        for chore in chores:
            chore.handle = pool.submit_nowait(chore.run, timeout=chore.timeout)
        await blow.wait()
        began = clock()
        report = await pool.aclose()
        took = clock() - began
        self.over = max(self.over, took - budget - self._blocked)
        self._judge(chores, report, hurried=took >= budget - grace)
        for chore in chores:
            chore.released = True
        await until(lambda: not pool.stats().strays)

    def _chores(self, grace: float) -> list[Chore]:
        rng = self.rng
        chores = [Chore("quick", rng.uniform(0, 0.2)) for _ in range(24)]
        chores += [
            Chore("co-operative", rng.uniform(0, _CLEANING) * grace, rng.choice((None, rng.uniform(0.1, self.stall + 1))))
            for _ in range(4)
        ]
        chores += [Chore("stubborn") for _ in range(rng.randrange(3))]
        rng.shuffle(chores)
        return chores

    def _judge(self, chores: list[Chore], report: ShutdownReport, hurried: bool) -> None:
        ends: Counter[JobState] = Counter()
        for chore in chores:
            assert chore.handle is not None
            state = chore.handle.state
            chore.handle.exception()
            ends[state] += 1
            natural = {"quick": JobState.SUCCEEDED, "co-operative": JobState.TIMED_OUT, "stubborn": JobState.ABANDONED}
            if state is not natural[chore.kind] and not (state is JobState.CANCELLED and hurried):
                self.mistakes.note(f"a {chore.kind} job ended as {state.value}", report)
            if chore.kind == "co-operative" and chore.entered:
                self.cooperative += 1
                self.cleaned += chore.clean
        theirs = (report.succeeded, report.timed_out, report.cancelled, report.abandoned, report.failed)
        states = (JobState.SUCCEEDED, JobState.TIMED_OUT, JobState.CANCELLED, JobState.ABANDONED, JobState.FAILED)
        if theirs != tuple(ends[state] for state in states) or sum(theirs) != report.accepted:
            self.mistakes.note("the report is not the tally", f"{ends} {report}")
        self.ends.update({state.value: count for state, count in ends.items()})


async def _run(rounds: int, stall: float, seed: int) -> Yard:
    yard = Yard(stall, seed)
    for number in range(1, rounds + 1):
        began = time.perf_counter()
        await yard.round()
        say(
            f"  round {number} of {rounds}: {time.perf_counter() - began:4.1f} s, the loop blocked for {stall:g} of them from"
            f" {yard.moment:.2f} s on; latest closing {yard.over:+.3f} s from bound + stall"
            f"  mistakes {yard.mistakes.counts.total()}"
        )
    return yard


def soak(rounds: int, stall: float, seed: int, loop: str) -> Result:
    """Run the part, and judge it."""
    yard, _ = drive(_run(rounds, stall, seed), loop)
    figures = {
        "rounds": rounds,
        "pools": rounds * _POOLS,
        "stall_seconds": stall,
        "ends": dict(yard.ends),
        "struck": dict(yard.struck),
        "latest_over_bound_and_stall": round(yard.over, 4),
    }
    bars = [
        yard.mistakes.bar(),
        at_most("latest closing, over its bound and the stall", yard.over, _SLACK, "s"),
        exactly("co-operative jobs that could clean up", yard.cleaned, yard.cooperative),
        exactly("reports logged", yard.noise.counts["weirpool.pool.closed"], rounds * _POOLS),
        exactly("abandoned jobs logged", yard.noise.counts["weirpool.job.abandoned"], yard.ends["abandoned"]),
    ]
    return Result("stall", figures, bars)
