"""current_job() and remaining(): which job runs me, and how much time it has left."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any

import pytest

from tests.support import FOREVER, Gate, echo, sleep, turns
from weirpool import JobCancelled, JobHandle, JobState, WorkerPool, current_job, remaining


async def mine() -> int | None:
    """Return the number of the job that runs this."""
    await asyncio.sleep(0)
    handle = current_job()
    return None if handle is None else handle.id


async def left() -> float | None:
    """Return the time that is left."""
    return remaining()


def about(seconds: float) -> Any:
    """Return what is as good as these seconds on any clock."""
    return pytest.approx(seconds, abs=0.1)


async def test_a_job_sees_itself() -> None:
    seen: list[JobHandle[Any]] = []

    async def job() -> tuple[int, str, JobState]:
        handle = current_job()
        assert handle is not None
        seen.append(handle)
        return handle.id, handle.name, handle.state

    async with WorkerPool() as pool:
        await pool.submit(echo, 0)
        handle = await pool.submit(job, name="me")
        assert await handle == (2, "me", JobState.RUNNING)
        await turns()
        assert seen[0].state is JobState.SUCCEEDED, "the handle is a real one"
        assert await seen[0] == await handle


async def test_every_job_sees_itself_and_no_other() -> None:
    async with WorkerPool(max_workers=3) as pool:
        handles = [await pool.submit(mine) for _ in range(20)]
        assert [await handle for handle in handles] == [handle.id for handle in handles]


async def test_outside_of_jobs_there_is_none() -> None:
    assert current_job() is None
    assert remaining() is None
    async with WorkerPool() as pool:
        assert current_job() is None
        handle = await pool.submit(mine, timeout=1)
        assert await handle == 1
        assert current_job() is None
        assert remaining() is None
        assert await asyncio.create_task(mine()) is None


async def test_child_tasks_and_callbacks_are_inside_their_job() -> None:
    async def job() -> list[int | None]:
        loop = asyncio.get_running_loop()
        seen = [await mine(), await asyncio.create_task(mine())]
        async with asyncio.TaskGroup() as group:
            task = group.create_task(mine())
        seen.append(task.result())
        future: asyncio.Future[int | None] = loop.create_future()

        def callback() -> None:
            handle = current_job()
            future.set_result(None if handle is None else handle.id)

        loop.call_soon(callback)
        seen.append(await future)
        return seen

    async with WorkerPool() as pool:
        assert await pool.run(job) == [1, 1, 1, 1]


@pytest.mark.realtime
async def test_threads_of_a_job_are_inside_it_too() -> None:
    def blocking() -> int | None:
        handle = current_job()
        return None if handle is None else handle.id

    async with WorkerPool() as pool:
        assert await pool.run(asyncio.to_thread, blocking) == 1


async def test_a_task_in_an_empty_context_is_outside() -> None:
    async def job() -> int | None:
        return await asyncio.create_task(mine(), context=Context())

    async with WorkerPool() as pool:
        assert await pool.run(job) is None


async def test_a_child_task_that_outlives_its_job_is_outside_from_then_on() -> None:
    gate = Gate()
    children: list[asyncio.Task[Any]] = []

    async def child() -> tuple[int | None, int | None, float | None]:
        inside = await mine()
        await gate()
        return inside, await mine(), remaining()

    async def job() -> None:
        children.append(asyncio.create_task(child()))
        await turns()

    async with WorkerPool() as pool:
        handle = await pool.submit(job, timeout=1)
        await handle
        gate.open()
        assert await children[0] == (1, None, None)


async def test_a_job_of_a_job_sees_itself_and_its_parent_sees_itself_again_after() -> None:
    async def parent() -> tuple[int | None, int | None, int | None]:
        return await mine(), await pool.run(mine), await mine()

    async with WorkerPool() as pool:
        assert await pool.run(parent) == (1, 2, 1)


async def test_jobs_of_two_pools_are_told_apart() -> None:
    names: list[str] = []

    async def note(inner: WorkerPool | None) -> None:
        handle = current_job()
        assert handle is not None
        names.append(handle.name)
        if inner is not None:
            await inner.run(note, None, name="inner")
            handle = current_job()
            assert handle is not None
            names.append(handle.name)

    async with WorkerPool() as one, WorkerPool() as other:
        await one.run(note, other, name="outer")
    assert names == ["outer", "inner", "outer"]


async def test_a_job_can_be_cancelled_by_its_child_through_current_job() -> None:
    async def child() -> None:
        handle = current_job()
        assert handle is not None
        handle.cancel()

    async def job() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            await asyncio.sleep(FOREVER)

    async with WorkerPool() as pool:
        with pytest.raises(JobCancelled):
            await pool.run(job)


# remaining() -------------------------------------------------------------------------------------------------------------


async def test_a_job_without_a_deadline_has_no_remaining_time() -> None:
    async with WorkerPool() as pool:
        assert await pool.run(left) is None
    async with WorkerPool(job_timeout=1) as pool:
        assert await pool.run(left, timeout=None) is None


async def test_remaining_is_what_is_left_of_timeout_or_deadline() -> None:
    loop = asyncio.get_running_loop()
    async with WorkerPool(job_timeout=5) as pool:
        assert await pool.run(left) == about(5)
        assert await pool.run(left, timeout=2) == about(2)
        assert await pool.run(left, deadline=loop.time() + 3) == about(3)
        assert await pool.run(left, timeout=1, deadline=loop.time() + 3) == about(1)


async def test_remaining_runs_down() -> None:
    async def job() -> list[float | None]:
        seen = [remaining()]
        for _ in range(2):
            await asyncio.sleep(0.1)
            seen.append(await asyncio.create_task(left()))
        return seen

    async with WorkerPool() as pool:
        first, second, third = await pool.run(job, timeout=1)
    assert first == about(1)
    assert first is not None
    assert second is not None
    assert third is not None
    assert first - second == pytest.approx(0.1, abs=0.08)
    assert second - third == pytest.approx(0.1, abs=0.08)


async def test_the_time_in_the_queue_counts_for_a_deadline_and_not_for_a_timeout() -> None:
    loop = asyncio.get_running_loop()
    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(sleep, 0.3)
        by_timeout = await pool.submit(left, timeout=2)
        by_deadline = await pool.submit(left, deadline=loop.time() + 2)
        assert await by_timeout == about(2)
        assert await by_deadline == about(1.7)


async def test_after_the_deadline_nothing_remains_but_it_is_never_negative() -> None:
    seen: list[float | None] = []

    async def job() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.02)
            seen.append(remaining())

    async with WorkerPool() as pool:
        handle = await pool.submit(job, timeout=0.02)
        await handle.wait()
        handle.exception()
    assert seen == [0.0]


async def test_a_job_that_cleans_up_after_a_cancel_still_knows_its_deadline() -> None:
    seen: list[float | None] = []

    async def job() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            seen.append(remaining())

    async with WorkerPool() as pool:
        handle = await pool.submit(job, timeout=2)
        await turns()
        handle.cancel()
        await handle.wait()
    assert seen == [about(2)]
