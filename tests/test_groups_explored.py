"""Groups on many schedules, with every task cancelled at every step: nothing is left behind, lost or counted twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import balanced
from weirpool import JobState, PoolError, PoolState, WorkerPool, _job_group
from weirpool.testing import NumberedTask, explore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from weirpool import Group, JobHandle

pytestmark = [pytest.mark.realtime, pytest.mark.complains]  # they have a virtual clock of their own, and pools that are ended


FROM_OUTSIDE: Counter[asyncio.Task[Any]] = Counter()
"""How often each task has been cancelled by others than a group."""


@pytest.fixture(autouse=True)
def count_cancellations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have those of a group told from all others."""
    cancel, by_group = NumberedTask.cancel, vars(_job_group)["cancel"]

    def counted(task: NumberedTask, *args: Any) -> bool:
        FROM_OUTSIDE[task] += 1
        return cancel(task, *args)

    def not_counted(task: asyncio.Task[Any]) -> None:
        FROM_OUTSIDE[task] -= 1
        by_group(task)

    monkeypatch.setattr(NumberedTask, "cancel", counted)
    monkeypatch.setattr(_job_group, "cancel", not_counted)


class No(Exception):
    """What jobs fail with."""


async def step(number: int) -> int:
    for _ in range(number):
        await asyncio.sleep(0)
    return number


async def no(number: int) -> int:
    await step(number)
    raise No


async def slow_to_end() -> None:
    try:
        await asyncio.sleep(60)
    finally:
        await step(2)


def in_a_group(use: Callable[[WorkerPool, Any], Coroutine[Any, Any, None]], **options: Any) -> Callable[[], Any]:
    """Make a program whose task uses a group, whatever happens to it, and check what it has left.

    Jobs may be cancelled, too, and the pool's own task, which ends the pool: so no outcome is surprising, but each has to be
    there, and the task's count of cancellations is its own.
    """

    async def main() -> None:
        handles: list[JobHandle[Any]] = []
        pool = WorkerPool(max_workers=2, queue_size=2, submit_timeout=None, cancel_grace=1, shutdown_timeout=5)
        try:
            await pool.__aenter__()
        except RuntimeError:
            assert pool.state is PoolState.CLOSED  # its own task was cancelled before it was open
            return
        async with aclosing(pool):
            task = asyncio.current_task()
            assert task is not None
            FROM_OUTSIDE.clear()
            before = task.cancelling()
            try:
                async with pool.group(**options) as group:
                    await use(pool, Tracked(group, handles))
            except* (No, PoolError):
                pass
            finally:
                assert task.cancelling() == before + FROM_OUTSIDE[task]
                assert all(handle.done() for handle in handles), handles
            assert balanced(pool)
            for _ in range(3):  # a cancellation that an error has replaced comes now
                await asyncio.sleep(0)
            assert pool.stats().running == 0

    return main


class Tracked:
    """A group, and the handles of all its jobs."""

    def __init__(self, group: Group, handles: list[JobHandle[Any]]) -> None:
        self.group = group
        self.handles = handles

    async def submit(self, fn: Any, *args: Any, **options: Any) -> JobHandle[Any]:
        handle: JobHandle[Any] = await self.group.submit(fn, *args, **options)
        self.handles.append(handle)
        return handle


@pytest.mark.parametrize("until", ["first_error", "all_ended", "first_success"])
def test_a_block_that_ends(until: str) -> None:
    async def use(pool: WorkerPool, group: Tracked) -> None:
        for job in (step, no, step, no):
            await group.submit(job, len(group.handles))

    explore(in_a_group(use, until=until), seeds=15, tolerate=(No, PoolError))


@pytest.mark.parametrize("until", ["first_error", "first_success"])
def test_a_block_that_is_interrupted(until: str) -> None:
    async def use(pool: WorkerPool, group: Tracked) -> None:
        await group.submit(slow_to_end)
        await group.submit(no if until == "first_error" else step, 2)
        await group.submit(step, 1)
        await asyncio.sleep(60)

    explore(in_a_group(use, until=until), seeds=15, pairs=40, tolerate=(No, PoolError))


def test_a_block_that_raises() -> None:
    async def use(pool: WorkerPool, group: Tracked) -> None:
        await group.submit(slow_to_end)
        await group.submit(step, 3)
        raise No

    explore(in_a_group(use), seeds=15, tolerate=(No, PoolError))


def test_a_block_that_reads_as_completed() -> None:
    async def use(pool: WorkerPool, group: Tracked) -> None:
        for number in (3, 1):
            await group.submit(step, number)
        async for handle in group.group.as_completed():
            assert handle.done()
            if handle.state is JobState.SUCCEEDED and handle.result() == 1:
                await group.submit(no, 0)

    explore(in_a_group(use, until="all_ended"), seeds=15, tolerate=(No, PoolError))


def test_groups_in_a_group_and_in_a_job() -> None:
    async def use(pool: WorkerPool, group: Tracked) -> None:
        async def parent() -> None:
            async with pool.group() as own:
                inner = Tracked(own, group.handles)
                await inner.submit(step, 2)
                await inner.submit(step, 1)
                async for _ in own.as_completed():
                    pass
                await inner.submit(no, 1)

        await group.submit(parent)
        async with pool.group() as other:
            await Tracked(other, group.handles).submit(step, 2)

    async def main() -> None:
        try:
            await in_a_group(use)()
        except* (No, PoolError):
            pass

    explore(main, seeds=15, tolerate=(No, PoolError))
