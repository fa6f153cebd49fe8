"""Part "full": a pool near its capacity, and then one that is full for minutes and does nothing.

First, jobs arrive at random at 80 % of the rate that the pool's places can take, whether it keeps up or not: how long do they
wait for their place? Then all places and the whole queue are taken by jobs that do not end, while hundreds of submitters ask
for room: they are refused, run out of patience, and are cancelled, and none of that may leave a trace.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

from weirpool import PoolOverloaded, WorkerPool
from weirpool.events import JobStarted, Observer

from .bars import Mistakes, Result, at_most, exactly, say
from .gauges import Noise, Pulse, Samples, take
from .loops import drive

if TYPE_CHECKING:
    from weirpool import ShutdownReport

__all__ = ["soak"]

_WORKERS = 64
_QUEUE = 256
_JOB = 0.02  # seconds
_LOAD = 0.8
_WAIT = 20.0  # milliseconds that 99 % of the jobs wait at most, and twice as long as the loop was late
_SUBMITTERS = 200
_PATIENCE = 0.2  # seconds
_SAMPLES = 50
NOISE = 1.0  # MiB that memory may grow


class Waits(Observer):
    """Count how long jobs wait for their place, by tenths of milliseconds."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def job_started(self, event: JobStarted, /) -> None:
        """Count one."""
        self.counts[min(10_000, int(event.queued_for * 10_000))] += 1

    def quantile(self, part: float) -> float:
        """Return within how many milliseconds this part of the jobs got their place."""
        left = part * self.counts.total()
        for tenths in sorted(self.counts):
            left -= self.counts[tenths]
            if left <= 0:
                return (tenths + 1) / 10
        return 0.0


class Submitter:
    """Ask a full pool for room, again and again, and count the answers."""

    def __init__(self, crowd: Crowd) -> None:
        self.waits = False
        self.sent = 0
        self.seen = 0
        self._crowd = crowd
        self.task = asyncio.create_task(self._live())

    def cancel(self) -> None:
        """Cancel it, if it waits, and check in the next turn that it noticed."""
        if self.waits and not self.task.cancelling():
            self.sent += 1
            self.task.cancel()
            asyncio.get_running_loop().call_soon(self._check, self.sent)

    def _check(self, sent: int) -> None:
        if self.seen < sent:
            self._crowd.mistakes.note("submit() was not cancelled within one turn")

    async def _live(self) -> None:
        crowd = self._crowd
        while not crowd.over:
            try:
                if crowd.rng.random() < 0.3:
                    crowd.pool.submit_nowait(asyncio.sleep, 0)
                else:
                    self.waits = True
                    await crowd.pool.submit(asyncio.sleep, 0)
                crowd.mistakes.note("a full pool accepted a job", crowd.pool)
            except PoolOverloaded as error:
                crowd.refused[error.reason] += 1
            except asyncio.CancelledError:
                self.seen += 1
                crowd.refused["cancelled"] += 1
                self.task.uncancel()
            self.waits = False
            await asyncio.sleep(crowd.rng.uniform(0, 0.05))


class Crowd:
    """Hold what the submitters share."""

    def __init__(self, pool: WorkerPool, mistakes: Mistakes, rng: random.Random) -> None:
        self.pool = pool
        self.mistakes = mistakes
        self.rng = rng
        self.over = False
        self.refused = dict.fromkeys(("full", "timeout", "closed", "cancelled", "early", "strays", "nesting"), 0)
        self.samples = Samples()
        self.submitters = [Submitter(self) for _ in range(_SUBMITTERS)]

    async def stand(self, seconds: float) -> None:
        """Cancel one or another for a while, and measure."""
        clock = asyncio.get_running_loop().time
        began, due = clock(), 0.0
        while (passed := clock() - began) < seconds:
            for submitter in self.rng.sample(self.submitters, 5):
                submitter.cancel()
            if passed >= due:
                due += seconds / _SAMPLES
                self._sample()
            await asyncio.sleep(0.01)
        self.over = True
        await asyncio.wait([submitter.task for submitter in self.submitters])

    def _sample(self) -> None:
        stats = self.pool.stats()
        waiting = sum(submitter.waits for submitter in self.submitters)
        if (stats.running, stats.queued, stats.accepted) != (_WORKERS, _QUEUE, _WORKERS + _QUEUE) or stats.waiting > waiting:
            self.mistakes.note("a full pool says something else", stats)
        sample = take(sum(self.refused.values()))
        self.samples.add(sample)
        if len(self.samples) % 10 == 0:
            say(
                f"  full: {sample.done:>9,} refused  {stats.waiting} wait  rss {sample.rss:6.2f} MiB  fds {sample.fds}"
                f"  tasks {sample.tasks}  threads {sample.threads}  mistakes {self.mistakes.counts.total()}"
            )


async def _arrive(seconds: float, rng: random.Random) -> tuple[Waits, float]:
    """Let jobs arrive at a share of the capacity; return how long they waited, and how late the loop was at worst."""
    waits, pulse = Waits(), Pulse()
    clock = asyncio.get_running_loop().time
    async with WorkerPool(max_workers=_WORKERS, queue_size=100_000, observers=[waits]) as pool:
        following = clock()
        end = following + seconds
        while following < end:
            await asyncio.sleep(following - clock())
            pool.submit_nowait(asyncio.sleep, _JOB)
            following += rng.expovariate(_LOAD * _WORKERS / _JOB)
    pulse.stop()
    say(
        f"  at {_LOAD:.0%}: {waits.counts.total():,} jobs waited {waits.quantile(0.5)} ms (median), {waits.quantile(0.99)} ms"
        f" (99 %), {waits.quantile(1)} ms at most; the loop was late by {pulse.worst * 1000:.0f} ms at worst"
    )
    return waits, pulse.worst


async def _full(seconds: float, mistakes: Mistakes, rng: random.Random) -> tuple[Crowd, ShutdownReport]:
    gate = asyncio.Event()
    async with WorkerPool(max_workers=_WORKERS, queue_size=_QUEUE, submit_timeout=_PATIENCE) as pool:
        for _ in range(_WORKERS + _QUEUE):
            pool.submit_nowait(gate.wait)
        crowd = Crowd(pool, mistakes, rng)
        await crowd.stand(seconds)
        if dict(pool.stats().refused) != crowd.refused or pool.stats().waiting:
            mistakes.note("refusals are not the tally", f"{crowd.refused} {pool.stats()}")
        gate.set()
    assert pool.report is not None
    return crowd, pool.report


async def _run(seconds: float, seed: int) -> Result:
    rng, mistakes = random.Random(seed), Mistakes()
    Noise(mistakes).install()
    began = time.perf_counter()
    waits, late = await _arrive(min(60.0, seconds / 2), rng)
    crowd, report = await _full(seconds, mistakes, rng)
    samples = crowd.samples
    _, grown = samples.grown("rss", 0.1)
    figures = {
        "seconds": round(time.perf_counter() - began, 1),
        "arrived": waits.counts.total(),
        "waited_ms": {"median": waits.quantile(0.5), "99 %": waits.quantile(0.99), "most": waits.quantile(1)},
        "loop_late_ms": round(late * 1000),
        "refused": crowd.refused,
        "samples": samples.plain(),
    }
    sent = sum(submitter.sent for submitter in crowd.submitters)
    bars = [
        mistakes.bar(),
        at_most(f"wait of 99 % of the jobs at {_LOAD:.0%} of capacity", waits.quantile(0.99), _WAIT + 2 * late * 1000, "ms"),
        exactly("cancellations seen by submitters, of those sent", crowd.refused["cancelled"], sent),
        exactly("jobs of the full pool that succeeded", report.succeeded, _WORKERS + _QUEUE),
        at_most("growth of memory while full", grown, NOISE, "MiB"),
        exactly("most open descriptors, as at the start", samples.most("fds"), samples.first("fds")),
        exactly("most tasks, as at the start", samples.most("tasks"), samples.first("tasks")),
    ]
    return Result("full", figures, bars)


def soak(seconds: float, seed: int, loop: str) -> Result:
    """Run the part, and judge it."""
    return drive(_run(seconds, seed), loop)[0]
