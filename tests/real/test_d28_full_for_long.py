"""Row 28: the queue is full for long, and those who wait for room give up: each leaves at once and leaves nothing behind.

R2, R3, R7, R17. How long a job waits in a pool at 80 % of its capacity is for the benchmarks to say.
"""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from tests.real.kinds import EACH_KIND, run
from tests.support import Gate, balanced, turns
from weirpool import PoolOverloaded, WorkerPool

if TYPE_CHECKING:
    from weirpool import JobHandle

WAITING = 100


class Line:
    """A pool that is full, and a line of submitters that wait for room in it."""

    def __init__(self, pool: WorkerPool, dice: random.Random) -> None:
        self._pool = pool
        self._dice = dice
        self._line: dict[int, asyncio.Task[Any]] = {}
        self._payloads: weakref.WeakSet[Payload] = weakref.WeakSet()
        self._gate = Gate()
        self._numbers = 0
        self.started: list[int] = []

    async def fill(self) -> None:
        """Fill the pool, and let a line form."""
        for _ in range(3):
            await self._pool.submit(self._gate)
        self.grow(WAITING)
        await turns()

    def grow(self, number: int) -> None:
        """Let more submitters come; every third runs its job and waits for the result."""
        for _ in range(number):
            self._numbers += 1
            payload = Payload(self._numbers)
            self._payloads.add(payload)
            verb = self._pool.run if self._numbers % 3 == 0 else self._pool.submit
            self._line[self._numbers] = asyncio.create_task(verb(self._job, payload))

    async def shrink(self, number: int) -> None:
        """Cancel some submitters, anywhere in the line; they must be gone after one turn of the loop."""
        leaving = [self._line.pop(place) for place in self._dice.sample(list(self._line), number)]
        for task in leaving:
            task.cancel()
        await asyncio.sleep(0)
        assert all(task.cancelled() for task in leaving)

    @property
    def payloads(self) -> int:
        """How many arguments of submissions are alive."""
        return len(self._payloads)

    async def through(self) -> list[int]:
        """Open the gate, and return those who are left of the line, when they are through."""
        left = list(self._line)
        self._gate.open()
        for task in self._line.values():
            outcome: JobHandle[None] | None = await task
            if outcome is not None:
                await outcome
        self._line.clear()
        return left

    async def _job(self, payload: Payload) -> None:
        self.started.append(payload.number)
        await asyncio.sleep(0)


class Payload:
    """The argument of a job."""

    def __init__(self, number: int) -> None:
        self.number = number


def timers() -> int:
    """Count the timers that are set; 0 on a loop that does not let us look."""
    return sum(not timer.cancelled() for timer in getattr(asyncio.get_running_loop(), "_scheduled", ()))


async def crowd(pool: WorkerPool, dice: random.Random, rounds: int, pause: float) -> None:
    """Let submitters come and give up, for so many rounds; then let the rest through."""
    line = Line(pool, dice)
    await line.fill()
    for _ in range(rounds):
        leaving = dice.randrange(1, WAITING // 2)
        await line.shrink(leaving)
        assert pool.stats().waiting == WAITING - leaving
        line.grow(leaving)
        await asyncio.sleep(pause)
        assert pool.stats().waiting == WAITING
        assert balanced(pool)
    stats = pool.stats()
    assert (stats.accepted, stats.running, stats.queued) == (3, 1, 2)
    assert stats.refused["cancelled"] > rounds
    assert line.payloads == WAITING, "those who gave up have left something behind"
    assert timers() <= WAITING + 1, "they have left their timers behind"
    assert await line.through() == line.started, "the others lost neither their place nor their turn"
    assert pool.stats().waiting == 0
    assert line.payloads == 0


@pytest.mark.realtime
@EACH_KIND
@pytest.mark.parametrize("patience", [None, 3600])
def test_a_submitter_that_gives_up_leaves_a_full_pool_in_one_turn_and_leaves_nothing_behind(
    kind: str, patience: float | None
) -> None:
    async def main() -> None:
        gc.disable()
        try:
            async with WorkerPool(max_workers=1, queue_size=2, submit_timeout=patience) as pool:
                await crowd(pool, random.Random(28), 15 if kind == "debug" else 100, 0)
        finally:
            gc.enable()

    run(kind, main)


@pytest.mark.virtual
async def test_a_queue_that_is_full_for_ten_minutes_keeps_nothing_of_those_who_gave_up() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with WorkerPool(max_workers=1, queue_size=2, submit_timeout=3600) as pool:
        await crowd(pool, random.Random(28), 600, 1.0)
    assert loop.time() - began >= 600


@pytest.mark.realtime
@EACH_KIND
def test_all_who_run_out_of_patience_at_once_are_told_so(kind: str) -> None:
    async def main() -> None:
        gate = Gate()
        async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=0.05) as pool:
            await pool.submit(gate)
            line = [asyncio.create_task(pool.submit(gate)) for _ in range(WAITING)]
            await asyncio.wait(line)
            errors = [task.exception() for task in line]
            assert all(isinstance(error, PoolOverloaded) and error.reason == "timeout" for error in errors)
            assert pool.stats().waiting == 0
            assert pool.stats().refused["timeout"] == WAITING
            gate.open()

    run(kind, main)
