"""Part "elastic": a pool that is resized, held and let go at random, while jobs with priorities, keys and nests come and go.

In virtual time, so that a seed gives the same run anywhere. Every operation is one of: submit, submit within a job, cancel,
resize, pause, resume. At every start of a job no more may hold a place than there are (R2); after every operation the books
must balance (R1); and at the end of each pool every handle has ended, as many have succeeded as have returned, no place is
taken, and nobody waits.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

from measuring import virtual
from weirpool import JobHandle, JobState, PoolError, WorkerPool, remaining
from weirpool.events import JobStarted, Observer
from weirpool.policies import OnDemand, QueueDelay, Step

from .bars import Mistakes, Result, exactly, say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from weirpool.policies import ScalingPolicy

__all__ = ["soak"]

_OPERATIONS_OF_A_POOL = 20_000
_MOST = 12


class Field:
    """Work on pools, one after the other.

    Attributes:
        done: how many operations of each kind there have been.
        ends: how many jobs have ended in which way.
        returned: how many of the present pool's have come to their last line.
        just_in_time: and how many of these in the very moment of their deadline, when either may be the case.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.mistakes = Mistakes()
        self.done: Counter[str] = Counter()
        self.ends: Counter[JobState] = Counter()
        self.accepted = 0
        self.most_lending = 0
        self.returned = self.just_in_time = 0
        self._elastic = False
        self._handles: list[JobHandle[Any]] = []

    async def work(self, operations: int) -> None:
        """Use one pool for so many operations."""
        rng = self.rng
        scaling: ScalingPolicy | None = rng.choice(
            (None, None, OnDemand(idle_period=0.5), Step(interval=0.1), QueueDelay(target=0.02, interval=0.05, evidence=2))
        )
        most = rng.randint(1, _MOST)
        pool = WorkerPool(
            max_workers=most,
            min_workers=None if scaling is None else rng.randint(1, most),
            scaling=scaling,
            queue_size=rng.choice((0, 1, 20, 200)),
            submit_timeout=rng.choice((0.05, 1.0)),
            key_limit=rng.choice((1, 1, 3)),
            aging=rng.choice((0.01, 1.0)),
            observers=[_Starts(self, lambda: pool)],
        )
        self._elastic = scaling is not None
        handles = self._handles
        handles.clear()
        kinds: tuple[tuple[Callable[[WorkerPool], Awaitable[None]], int], ...] = (
            (self._submit, 60),
            (self._cancel, 12),
            (self._resize, 10),
            (self._pause, 3),
            (self._resume, 15),
        )
        choices, weights = zip(*kinds, strict=True)
        async with pool, asyncio.TaskGroup() as waiting:
            for operation in rng.choices(choices, weights, k=operations):
                self.done[operation.__name__.strip("_")] += 1
                task = waiting.create_task(operation(pool))
                if rng.random() < 0.7:
                    await asyncio.sleep(rng.choice((0.0, 0.0, 0.001, 0.004)))
                if rng.random() < 0.02:
                    task.cancel()
                self._balance(pool)
                if len(handles) > 1000:
                    self._collect()
            pool.resume()
        self._collect()
        self._judge(pool)

    async def _submit(self, pool: WorkerPool) -> None:
        rng = self.rng
        options: dict[str, Any] = {"priority": rng.choice((0, 0, 0, 1, -1, rng.randint(-99, 99)))}
        if rng.random() < 0.4:
            options["key"] = rng.randint(0, 5)
            options["coalesce"] = rng.random() < 0.2
        if rng.random() < 0.1:
            options["timeout"] = rng.uniform(0.0005, 0.015)
        depth = rng.choice((0, 0, 0, 0, 1, 2))
        try:
            self._handles.append(await pool.submit(self._job, pool, depth, rng.choice((0.0, 0.002, 0.01)), **options))
        except PoolError:
            self.done["refused"] += 1

    async def _job(self, pool: WorkerPool, depth: int, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if depth:
            self.done["submit within a job"] += 1
            self.most_lending = max(self.most_lending, pool.stats().lending)
            try:
                handle = await pool.submit(self._job, pool, depth - 1, seconds)
                self._handles.append(handle)
                await handle.wait()
            except PoolError:
                self.done["refused"] += 1
        self.returned += 1
        self.just_in_time += remaining() == 0

    async def _cancel(self, _: WorkerPool) -> None:
        if self._handles:
            self.rng.choice(self._handles[-40:]).cancel()

    async def _resize(self, pool: WorkerPool) -> None:
        most = self.rng.randint(1, _MOST)
        await pool.resize(max_workers=most, min_workers=self.rng.randint(1, most) if self._elastic else None)

    async def _pause(self, pool: WorkerPool) -> None:
        pool.pause()

    async def _resume(self, pool: WorkerPool) -> None:
        pool.resume()

    def _balance(self, pool: WorkerPool) -> None:
        s = pool.stats()
        if s.accepted != s.ended + s.queued + s.running:
            self.mistakes.note("the books do not balance (R1)", s)
        if s.queued > s.queue_size:
            self.mistakes.note("more jobs wait than may (R3)", s)

    def _collect(self) -> None:
        """Forget what has ended."""
        self._handles[:] = [handle for handle in dict.fromkeys(self._handles) if not handle.done()]

    def _judge(self, pool: WorkerPool) -> None:
        s = pool.stats()
        if self._handles or s.queued or s.running or s.lending or s.waiting:
            self.mistakes.note("something is left", s)
        if s.abandoned:
            self.mistakes.note("a job was abandoned", s)
        self.accepted += s.accepted
        self.ends.update(
            {
                JobState.SUCCEEDED: s.succeeded,
                JobState.FAILED: s.failed,
                JobState.TIMED_OUT: s.timed_out,
                JobState.CANCELLED: s.cancelled,
            }
        )
        if not self.returned - self.just_in_time <= s.succeeded <= self.returned:
            self.mistakes.note("not as many succeeded as returned", f"{self.returned} {s}")
        self.returned = self.just_in_time = 0


class _Starts(Observer):
    """See that no job starts that has no place (R2)."""

    def __init__(self, field: Field, pool: Callable[[], WorkerPool]) -> None:
        self._field = field
        self._pool = pool

    def job_started(self, event: JobStarted) -> None:
        """Look at the places."""
        s = self._pool().stats()
        if s.running - s.lending > s.workers:
            self._field.mistakes.note("more jobs hold a place than there are (R2)", s)
        if s.paused:
            self._field.mistakes.note("a job started in a paused pool", event)


async def _run(operations: int, seed: int) -> Field:
    field = Field(seed)
    left = operations
    while left:
        now = min(left, _OPERATIONS_OF_A_POOL)
        await field.work(now)
        left -= now
        say(f"  {operations - left:,} operations, {field.accepted:,} jobs, mistakes {field.mistakes.counts.total()}")
    return field


def soak(operations: int, seed: int) -> Result:
    """Run the part, and judge it."""
    logging.getLogger("weirpool").setLevel(logging.CRITICAL)  # of a hundred thousand failures that nobody asks about
    field = virtual.run(_run(operations, seed))
    kinds = ("submit", "cancel", "resize", "pause", "resume")
    figures = {
        "operations": operations,
        "done": dict(field.done),
        "accepted": field.accepted,
        "ends": {state.value: count for state, count in field.ends.items()},
        "most_lending": field.most_lending,
    }
    bars = [
        field.mistakes.bar(),
        exactly("operations", sum(field.done[kind] for kind in kinds), operations),
        exactly("accepted jobs that are accounted for", field.ends.total(), field.accepted),
    ]
    return Result("elastic", figures, bars)
