"""R16: a normal end of the block and an `Exception` drain; `CancelledError`, Ctrl-C and their like cancel at once."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.support import FOREVER, Clock, Gate, Stubborn, adds_up, echo, sleep, turns
from weirpool import JobCancelled, JobState, PoolState, WorkerPool


async def test_a_normal_end_drains(clock: Clock) -> None:
    clock.start()
    async with WorkerPool(max_workers=1) as pool:
        handles = [await pool.submit(sleep, 0.1, i) for i in range(3)]
    assert clock.shows(0.3)
    assert [await handle for handle in handles] == [0, 1, 2]
    assert pool.state is PoolState.CLOSED
    assert pool.report is not None
    assert pool.report.drained == 3


async def test_a_return_or_a_break_out_of_the_block_drains_too() -> None:
    async def returns() -> WorkerPool:
        async with WorkerPool() as pool:
            await pool.submit(sleep, 0.05)
            return pool

    pool = await returns()
    assert pool.stats().succeeded == 1
    for _ in range(2):
        async with WorkerPool() as pool:
            await pool.submit(sleep, 0.05)
            break
    assert pool.stats().succeeded == 1


@pytest.mark.parametrize("error", [ValueError("mine"), ExceptionGroup("mine", [ValueError()]), TimeoutError("mine")])
async def test_an_exception_drains_and_goes_on_unchanged(clock: Clock, error: Exception) -> None:
    clock.start()
    with pytest.raises(type(error), match="mine") as caught:
        async with WorkerPool(max_workers=1) as pool:
            handles = [await pool.submit(sleep, 0.1, i) for i in range(2)]
            raise error
    assert clock.shows(0.2)
    assert caught.value is error
    assert error.__context__ is None
    assert [await handle for handle in handles] == [0, 1]


@pytest.mark.complains
async def test_draining_after_an_exception_is_bounded_as_always(clock: Clock) -> None:
    job = Stubborn()
    clock.start()
    with pytest.raises(ValueError, match="mine"):
        async with WorkerPool(shutdown_timeout=0.3, cancel_grace=0.1) as pool:
            await pool.submit(job)
            raise ValueError("mine")
    assert clock.shows(0.3)
    assert adds_up(pool.report)
    await job.release()


class Homemade(BaseException):
    """Not an `Exception`."""


@pytest.mark.complains
@pytest.mark.parametrize(
    "error",
    [
        asyncio.CancelledError("mine"),
        KeyboardInterrupt("mine"),
        SystemExit("mine"),
        GeneratorExit("mine"),
        Homemade("mine"),
        BaseExceptionGroup("mine", [ValueError(), asyncio.CancelledError()]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_base_exception_cancels_at_once_and_goes_on_unchanged(clock: Clock, error: BaseException) -> None:
    clock.start()
    with pytest.raises(type(error), match="mine") as caught:
        async with WorkerPool(max_workers=1) as pool:
            handles = [await pool.submit(sleep, FOREVER) for _ in range(3)]
            await turns()
            raise error
    assert clock.shows(0)
    assert caught.value is error
    assert error.__context__ is None
    assert [handle.state for handle in handles] == [JobState.CANCELLED] * 3
    assert pool.report is not None
    assert (pool.report.cancelled_running, pool.report.cancelled_queued) == (1, 2)
    for handle in handles:
        with pytest.raises(JobCancelled) as cancelled:
            await handle
        assert cancelled.value.reason == "shutdown"


@pytest.mark.complains
async def test_after_a_base_exception_jobs_have_their_grace_and_no_more(clock: Clock) -> None:
    stubborn, tidied = Stubborn(), []

    async def tidies() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.1)
            tidied.append(True)

    clock.start()
    with pytest.raises(KeyboardInterrupt):
        async with WorkerPool(cancel_grace=0.3) as pool:
            await pool.submit(stubborn)
            await pool.submit(tidies)
            await turns()
            raise KeyboardInterrupt
    assert clock.shows(0.3)
    assert tidied == [True]
    assert pool.report is not None
    assert pool.report.abandoned == 1
    await stubborn.release()


@pytest.mark.complains
async def test_a_task_that_is_cancelled_inside_the_block_leaves_it_at_once_and_is_cancelled(clock: Clock) -> None:
    pools: list[WorkerPool] = []

    async def service() -> None:
        async with WorkerPool() as pool:
            pools.append(pool)
            await pool.submit(sleep, FOREVER)
            await asyncio.sleep(FOREVER)

    clock.start()
    task = asyncio.create_task(service())
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])
    assert clock.shows(0.1)
    assert task.cancelled()
    (pool,) = pools
    assert pool.state is PoolState.CLOSED
    assert pool.stats().cancelled == 1


@pytest.mark.complains
async def test_a_task_that_is_cancelled_while_it_drains_goes_on_to_cancel_the_jobs(clock: Clock) -> None:
    pool = WorkerPool()

    async def service() -> None:
        async with pool:
            await pool.submit(sleep, FOREVER)

    clock.start()
    task = asyncio.create_task(service())
    await asyncio.sleep(0.1)
    assert pool.state is PoolState.DRAINING
    task.cancel()
    await asyncio.wait([task])
    assert clock.shows(0.1)
    assert task.cancelled()
    assert pool.stats().cancelled == 1


@pytest.mark.complains
async def test_a_timeout_around_the_block_works_as_around_any_other(clock: Clock) -> None:
    clock.start()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), WorkerPool() as pool:
            await pool.submit(sleep, FOREVER)
            await asyncio.sleep(FOREVER)
    assert clock.shows(0.1)
    assert pool.stats().cancelled == 1
    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0


@pytest.mark.complains
async def test_a_pool_inside_a_task_group_ends_with_its_sibling(clock: Clock) -> None:
    pools: list[WorkerPool] = []

    async def service() -> None:
        async with WorkerPool() as pool:
            pools.append(pool)
            await pool.submit(sleep, FOREVER)
            await asyncio.sleep(FOREVER)

    async def breaks() -> None:
        await asyncio.sleep(0.1)
        raise ValueError("sibling")

    clock.start()
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(service())
            group.create_task(breaks())
    assert clock.shows(0.1)
    assert [str(error) for error in caught.value.exceptions] == ["sibling"]
    assert pools[0].state is PoolState.CLOSED


async def test_a_failing_job_does_not_make_the_block_fail() -> None:
    async def breaks() -> None:
        raise ValueError("in the job")

    async with WorkerPool() as pool:
        handle = await pool.submit(breaks)
    assert isinstance(handle.exception(), ValueError)


async def test_an_exit_stack_may_hold_the_pool() -> None:
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(WorkerPool())
        handle = await pool.submit(sleep, 0.05, "drained")
    assert await handle == "drained"
    assert pool.state is PoolState.CLOSED


async def test_an_async_generator_may_hold_the_pool() -> None:
    async def pools() -> object:
        async with WorkerPool() as pool:
            yield pool

    async with contextlib.aclosing(pools()) as generator:  # type: ignore[type-var]
        pool = await anext(generator)  # type: ignore[call-overload]
        assert await pool.run(echo, 1) == 1
    assert pool.state is PoolState.CLOSED


async def test_a_task_that_is_cancelled_while_it_enters_leaves_nothing_behind() -> None:
    entered = 0
    for moment in range(4):
        pool = WorkerPool()
        task = asyncio.create_task(pool.__aenter__())
        await turns(moment)
        task.cancel()
        await asyncio.wait([task])
        if task.cancelled():
            assert pool.state is (PoolState.CLOSED if moment else PoolState.NEW)
        else:
            entered += 1
            assert pool.state is PoolState.OPEN
        await pool.aclose()
    assert entered > 0
    if asyncio.get_running_loop().get_task_factory() is None:  # an eager task has entered before it can be cancelled
        assert entered < 4


async def test_a_pool_that_could_not_be_entered_can_be_tried_again() -> None:
    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()

    def broken(*args: object, **options: object) -> asyncio.Task[object]:
        raise ValueError("no tasks today")

    pool = WorkerPool()
    loop.set_task_factory(broken)  # type: ignore[arg-type]
    try:
        with pytest.raises(ValueError, match="no tasks today"):
            await pool.__aenter__()
    finally:
        loop.set_task_factory(factory)
    assert pool.state is PoolState.NEW
    async with pool:
        assert await pool.run(echo, 1) == 1


async def test_leaving_one_pool_leaves_the_others_alone() -> None:
    gate = Gate()
    async with WorkerPool(name="outer") as outer:
        handle = await outer.submit(gate, "still there")
        async with WorkerPool(name="inner") as inner:
            assert await inner.run(outer.submit, echo, 1) is not None
        assert inner.state is PoolState.CLOSED
        assert outer.state is PoolState.OPEN
        gate.open()
        assert await handle == "still there"


async def test_a_task_that_is_cancelled_while_it_enters_leaves_a_pool_that_is_closed_by_then() -> None:
    pool = WorkerPool()
    states = []

    async def enter() -> None:
        try:
            await pool.__aenter__()
        finally:
            states.append(pool.state)

    task = asyncio.create_task(enter())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    if task.cancelled():  # with eager tasks it was in by then
        assert states == [PoolState.CLOSED]
    else:
        await pool.aclose()


async def test_a_pool_that_was_never_entered_may_be_left_by_a_cancellation() -> None:
    pool = WorkerPool()
    await pool.__aexit__(asyncio.CancelledError, asyncio.CancelledError(), None)
    assert pool.state is PoolState.CLOSED
