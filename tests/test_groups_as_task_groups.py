"""Groups cancel, wait and raise as `asyncio.TaskGroup` does: the cases of CPython's test_taskgroups.py that apply, and more.

The cases of 3.13 hold on all versions. Where a case of CPython's is a class of its own, its number is in the name.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.support import FOREVER, Clock, echo, fail, sleep, turns
from tests.test_groups import types
from weirpool import JobState, WorkerPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from weirpool import Group, JobHandle


class MyError(Exception):
    """An error of the block."""


class MyBaseError(BaseException):
    """No exception."""


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    async with WorkerPool() as pool:
        yield pool


def me() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def crash(seconds: float, error: BaseException | None = None) -> None:
    await asyncio.sleep(seconds)
    raise error or ZeroDivisionError


async def crash_at_the_end() -> None:
    try:
        await asyncio.sleep(FOREVER)
    finally:
        raise ZeroDivisionError


async def cancelled(run: Callable[[], Awaitable[Any]], seconds: float = 0.1, times: int = 1) -> Any:
    """Run something in a task, cancel that, and return what it returns."""
    task = asyncio.ensure_future(run())
    await asyncio.sleep(seconds)
    assert not task.done()
    for _ in range(times):
        task.cancel()
        await turns()
    return await task


async def test_02_results_are_there_after_the_block(pool: WorkerPool, clock: Clock) -> None:
    clock.start()
    async with pool.group() as group:
        first = await group.submit(sleep, 0.1, 42)
        await asyncio.sleep(0.2)
        second = await group.submit(sleep, 0.2, 11)
    assert (first.result(), second.result()) == (42, 11)
    assert clock.shows(0.4)


async def test_03_a_job_that_is_cancelled_is_no_error(pool: WorkerPool) -> None:
    async with pool.group() as group:
        first = await group.submit(sleep, 0.1, 42)
        second = await group.submit(sleep, 0.2, 11)
        await asyncio.sleep(0.05)
        second.cancel()
    assert first.result() == 42
    assert second.state is JobState.CANCELLED


async def test_04_an_error_interrupts_the_block(pool: WorkerPool) -> None:
    handles: list[JobHandle[Any]] = []
    seen = 0

    async def runner() -> None:
        nonlocal seen
        async with pool.group() as group:
            handles.append(await group.submit(crash, 0.1))
            handles.append(await group.submit(sleep, 1))
            try:
                await asyncio.sleep(FOREVER)
            except asyncio.CancelledError:
                seen += 1
                raise

    with pytest.raises(ExceptionGroup) as caught:
        await runner()
    assert types(caught.value) == [ZeroDivisionError]
    assert seen == 1
    assert [handle.state for handle in handles] == [JobState.FAILED, JobState.CANCELLED]


async def test_05_a_block_that_takes_its_time_to_be_interrupted_is_waited_for(pool: WorkerPool, clock: Clock) -> None:
    clock.start()
    with pytest.raises(ExceptionGroup) as caught:
        async with pool.group() as group:
            await group.submit(crash, 0.1)
            try:
                await asyncio.sleep(FOREVER)
            finally:
                await asyncio.sleep(0.2)
    assert types(caught.value) == [ZeroDivisionError]
    assert clock.shows(0.3)


@pytest.mark.parametrize("busy", [True, False])
async def test_06_a_cancellation_from_outside_cancels_all_and_is_passed_on(pool: WorkerPool, busy: bool) -> None:
    handles: list[JobHandle[Any]] = []

    async def runner() -> None:
        async with pool.group() as group:
            handles.extend([await group.submit(sleep, FOREVER) for _ in range(5)])
            if busy:
                await asyncio.sleep(FOREVER)

    with pytest.raises(asyncio.CancelledError):
        await cancelled(runner)
    assert {handle.state for handle in handles} == {JobState.CANCELLED}


@pytest.mark.parametrize("busy", [True, False])
async def test_08_errors_of_jobs_that_are_cancelled_are_raised_instead_of_the_cancellation(
    pool: WorkerPool, busy: bool
) -> None:
    async def runner() -> None:
        async with pool.group() as group:
            for _ in range(5):
                await group.submit(crash_at_the_end)
            if busy:
                await asyncio.sleep(FOREVER)

    with pytest.raises(ExceptionGroup) as caught:
        await cancelled(runner)
    assert types(caught.value) == [ZeroDivisionError] * 5


@pytest.mark.parametrize("outer", [True, False])
async def test_11_12_a_group_in_a_group_that_is_cancelled(pool: WorkerPool, outer: bool) -> None:
    async def runner() -> None:
        async with pool.group() as first:
            if outer:
                await first.submit(sleep, FOREVER)
            async with pool.group() as second:
                for _ in range(5):
                    await second.submit(crash_at_the_end)
                await asyncio.sleep(FOREVER)

    with pytest.raises(ExceptionGroup) as caught:
        await cancelled(runner)
    assert types(caught.value) == [ExceptionGroup]
    assert types(caught.value.exceptions[0]) == [ZeroDivisionError] * 5


async def test_13_an_error_in_the_outer_group_cancels_the_inner(pool: WorkerPool, clock: Clock) -> None:
    clock.start()
    with pytest.raises(ExceptionGroup) as caught:
        async with pool.group() as first:
            await first.submit(crash, 0.1)
            async with pool.group() as second:
                inner = await second.submit(crash, FOREVER)
    assert types(caught.value) == [ZeroDivisionError]
    assert inner.state is JobState.CANCELLED
    assert clock.shows(0.1)
    assert me().cancelling() == 0


async def test_14_an_error_in_the_inner_group_is_one_of_the_outer(pool: WorkerPool) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with pool.group() as first:
            outer = await first.submit(crash, FOREVER)
            async with pool.group() as second:
                await second.submit(crash, 0.1)
    assert types(caught.value) == [ExceptionGroup]
    assert outer.state is JobState.CANCELLED


async def test_15_16_an_error_while_a_cancelled_block_cleans_up(pool: WorkerPool) -> None:
    async def runner() -> None:
        async with pool.group() as group:
            await group.submit(crash, 0.3)
            try:
                await asyncio.sleep(FOREVER)
            except asyncio.CancelledError:
                await asyncio.sleep(0.5)
                raise

    with pytest.raises(ExceptionGroup) as caught:
        await cancelled(runner)
    assert types(caught.value) == [ZeroDivisionError]


async def test_17_18_a_block_without_jobs_is_cancelled_or_raises_as_it_does(pool: WorkerPool) -> None:
    async def runner(error: BaseException | None) -> None:
        async with pool.group():
            try:
                await asyncio.sleep(FOREVER)
            except asyncio.CancelledError:
                if error is not None:
                    raise error from None
                raise

    with pytest.raises(asyncio.CancelledError):
        await cancelled(lambda: runner(None))
    with pytest.raises(ExceptionGroup) as caught:
        await cancelled(lambda: runner(MyError()))
    assert types(caught.value) == [MyError]


@pytest.mark.parametrize(
    ("of_job", "of_block", "kind"),
    [
        (ZeroDivisionError(), MyError(), ExceptionGroup),
        (ZeroDivisionError(), MyBaseError(), BaseExceptionGroup),
        (MyBaseError(), MyError(), BaseExceptionGroup),
    ],
)
async def test_19_20_21_what_a_job_and_the_block_raise_is_raised_together(
    pool: WorkerPool, of_job: BaseException, of_block: BaseException, kind: type[BaseException]
) -> None:
    async def nested() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            raise of_block

    with pytest.raises(BaseExceptionGroup) as caught:
        async with pool.group() as group:
            await group.submit(crash, 0.1, of_job)
            await nested()
    assert type(caught.value) is kind
    assert [*caught.value.exceptions] == [of_job, of_block]
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert me().cancelling() == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_20_21_what_ends_the_program_is_raised_as_it_is(error: type[BaseException]) -> None:
    """In the block, or by a job: that goes to the event loop as well, as asyncio does with tasks."""
    async with WorkerPool() as pool:
        with pytest.raises(error):
            async with pool.group() as group:
                await group.submit(crash_at_the_end)
                await turns()
                raise error


@pytest.mark.realtime
@pytest.mark.parametrize("until", ["first_error", "all_ended", "first_success"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_20_what_ends_the_program_stops_every_group(error: type[BaseException], until: Any) -> None:
    raised: list[type[BaseException]] = []

    async def main() -> None:
        async with WorkerPool() as pool:
            try:
                async with pool.group(until=until) as group:
                    await group.submit(sleep, FOREVER)
                    await group.submit(crash, 0, error())
                    await asyncio.sleep(FOREVER)
            except BaseException as exc:
                raised.append(type(exc))
                raise

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(main())
        with pytest.raises(error):  # by the job, out of the loop
            loop.run_until_complete(task)
        with pytest.raises(error):  # by the block
            loop.run_until_complete(task)
    assert raised == [error]


async def test_22_a_cancellation_at_once_with_the_end_of_the_jobs(pool: WorkerPool) -> None:
    async def runner() -> None:
        async with pool.group() as group:
            await group.submit(sleep, 0.1)
            await group.submit(sleep, 0.2)
            await asyncio.sleep(FOREVER)

    with pytest.raises(asyncio.CancelledError):
        await cancelled(runner, times=3)


async def test_24_25_jobs_that_submit_jobs_are_stopped_by_an_error(pool: WorkerPool) -> None:
    hydras = 0

    async def hydra(group: Group) -> None:
        nonlocal hydras
        hydras += 1
        await asyncio.sleep(0.01)
        group.submit_nowait(hydra, group)
        group.submit_nowait(hydra, group)

    async def hercules() -> None:
        while hydras < 10:
            await asyncio.sleep(0.015)
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as caught:
        async with pool.group() as group:
            await group.submit(hydra, group)
            await group.submit(hercules)
    assert types(caught.value) == [ZeroDivisionError]
    assert hydras >= 10
    assert pool.stats().running == 0


async def test_an_exception_of_the_block_that_is_raised_at_its_end_leaves_no_count(pool: WorkerPool) -> None:
    """Of CPython's test_taskgroup_context_manager_exit_raises: a body that ends while it is being cancelled."""

    async def runner() -> None:
        async with pool.group() as group:
            await group.submit(crash, 0)
            try:
                await asyncio.sleep(FOREVER)
            except asyncio.CancelledError:
                return

    with pytest.raises(ExceptionGroup):
        await runner()
    assert me().cancelling() == 0
    await asyncio.sleep(0)


# The count of cancellations -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [0, 1])
async def test_the_count_of_cancellations_is_preserved(pool: WorkerPool, before: int) -> None:
    async def runner() -> list[int]:
        counts = []
        if before:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(FOREVER)
        for until in ("first_error", "all_ended", "first_success"):
            for block in (True, False):
                try:
                    async with pool.group(until=until) as group:
                        await group.submit(fail, RuntimeError())
                        if until == "first_success":
                            await group.submit(sleep, 0.1)
                        if block:
                            await asyncio.sleep(0.2)
                except* RuntimeError:
                    pass
                counts.append(me().cancelling())
                await turns()
                counts.append(me().cancelling())
        return counts

    counts = await cancelled(runner, times=before, seconds=0.01) if before else await runner()
    assert counts == [before] * 12


async def test_both_of_two_groups_are_stopped_at_once(pool: WorkerPool) -> None:
    """Of CPython: test_nested_groups_both_cancelled."""
    with pytest.raises(ExceptionGroup) as caught:
        async with pool.group() as outer:
            with pytest.raises(ExceptionGroup) as inner:
                async with pool.group() as group:
                    await group.submit(fail, RuntimeError("inner"))
                    await outer.submit(fail, RuntimeError("outer"))
            assert types(inner.value) == [RuntimeError]
    assert types(caught.value) == [RuntimeError]
    assert me().cancelling() == 0
    await turns()
    assert me().cancelling() == 0


async def test_an_error_and_a_cancellation_at_once_are_both_there(pool: WorkerPool) -> None:
    """Of CPython: test_error_and_cancel; from 3.13 on there."""
    counts: list[int] = []

    async def runner(event: asyncio.Event) -> None:
        async def raises() -> None:
            event.set()
            await asyncio.sleep(0)
            raise RuntimeError

        try:
            async with pool.group() as group:
                await group.submit(raises)
                await asyncio.sleep(1)
        except* RuntimeError:
            counts.append(me().cancelling())
        counts.append(me().cancelling())
        await asyncio.sleep(1)
        counts.append(-1)

    event = asyncio.Event()
    task = asyncio.create_task(runner(event))
    await event.wait()
    task.cancel()
    assert task.cancelling() == 1
    with pytest.raises(asyncio.CancelledError):
        await task
    assert counts == [1, 1]


@pytest.mark.parametrize("busy", [True, False])
async def test_a_timeout_around_a_group_at_once_with_an_error_is_taken_back(pool: WorkerPool, busy: bool) -> None:
    with pytest.raises(ExceptionGroup):
        async with asyncio.timeout(0.1):
            async with pool.group() as group:
                await group.submit(crash_at_the_end)
                if busy:
                    await asyncio.sleep(FOREVER)
    assert me().cancelling() == 0
    await turns()  # nothing is still to come
    assert me().cancelling() == 0


async def test_a_timeout_around_and_in_a_group_is_a_timeout(pool: WorkerPool) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), pool.group() as group:
            await group.submit(sleep, FOREVER)
    async with pool.group() as group:
        handle = await group.submit(sleep, 0.2, 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await handle
    assert handle.result() == 1
    assert me().cancelling() == 0


async def test_a_scope_of_anyios_around_a_group_cancels_it(pool: WorkerPool, clock: Clock) -> None:
    async def slow_to_end() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.2)

    clock.start()
    with anyio.move_on_after(0.1) as scope:
        async with pool.group() as group:
            handle = await group.submit(slow_to_end)
    assert scope.cancelled_caught
    assert handle.state is JobState.CANCELLED
    assert clock.shows(0.3)
    assert me().cancelling() == 0
    with pytest.raises(ExceptionGroup):
        async with pool.group() as group:
            await group.submit(crash, 0.1)
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(FOREVER)
    assert me().cancelling() == 0


async def test_a_group_in_a_task_group_and_a_task_group_in_a_group(pool: WorkerPool) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as outer:
            outer.create_task(crash(0.1))
            async with pool.group() as group:
                handle = await group.submit(sleep, FOREVER)
    assert types(caught.value) == [ZeroDivisionError]
    assert handle.state is JobState.CANCELLED
    with pytest.raises(ExceptionGroup) as caught:
        async with pool.group() as group:
            await group.submit(crash, 0.1)
            async with asyncio.TaskGroup() as inner:
                inner.create_task(asyncio.sleep(FOREVER))
    assert types(caught.value) == [ZeroDivisionError]
    if sys.version_info >= (3, 13):  # before, the TaskGroup itself leaves a count behind
        assert me().cancelling() == 0


async def test_a_cancellation_that_the_block_has_swallowed_is_not_passed_on(pool: WorkerPool) -> None:
    async def runner() -> int:
        async with pool.group() as group:
            await group.submit(echo, 1)
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(FOREVER)
        await asyncio.sleep(0)
        return me().cancelling()

    assert await cancelled(runner) == 1
