"""Groups: no job outlives the block in which it was submitted, and what jobs fail with leaves that block.

What is as with `asyncio.TaskGroup` is in test_groups_as_task_groups.py.
"""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import FOREVER, Clock, Gate, Stubborn, balanced, echo, fail, sleep, turns
from weirpool import (
    Group,
    JobCancelled,
    JobState,
    JobTimeout,
    PoolClosed,
    PoolOverloaded,
    WorkerPool,
    current_job,
    deadline_scope,
    remaining,
)
from weirpool.events import JobEnded, Observer
from weirpool.testing import InlinePool

if TYPE_CHECKING:
    from collections.abc import Callable

    from weirpool import JobHandle


def types(group: BaseExceptionGroup[Any]) -> list[type]:
    """Return the types of the errors in an exception group."""
    return [type(error) for error in group.exceptions]


async def now() -> float:
    return asyncio.get_running_loop().time()


# The end of the block ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("until", ["first_error", "all_ended"])
async def test_a_normal_end_of_the_block_waits_for_all_jobs(until: Any, clock: Clock) -> None:
    async with WorkerPool() as pool:
        clock.start()
        async with pool.group(until=until) as group:
            handles = [await group.submit(sleep, 0.1 * n, n) for n in (3, 1, 2)]
            handles.append(group.submit_nowait(echo, 0))
            assert not any(handle.done() for handle in handles)
        assert clock.shows(0.3)
        assert [handle.result() for handle in handles] == [3, 1, 2, 0]


async def test_a_block_without_jobs_ends_at_once() -> None:
    async with WorkerPool() as pool, pool.group() as group:
        pass
    assert repr(group) == "<Group of pool 'pool' until first_error: 0 jobs>"


async def test_the_first_error_cancels_the_rest_and_interrupts_the_block(clock: Clock) -> None:
    handles: list[JobHandle[Any]] = []
    async with WorkerPool(max_workers=2) as pool:
        clock.start()
        with pytest.raises(ExceptionGroup, match="unhandled errors in a group of pool 'pool'") as caught:
            async with pool.group() as group:
                handles = [group.submit_nowait(sleep, FOREVER), group.submit_nowait(fail, ValueError("no"))]
                handles.append(group.submit_nowait(echo, "queued"))
                handles.append(group.submit_nowait(sleep, FOREVER))
                await asyncio.sleep(FOREVER)
        assert types(caught.value) == [ValueError]
        assert clock.passed < 0.1
        assert [handle.state for handle in handles] == [
            JobState.CANCELLED,
            JobState.FAILED,
            JobState.CANCELLED if handles[2].state is JobState.CANCELLED else JobState.SUCCEEDED,
            JobState.CANCELLED,
        ]
        assert balanced(pool)


async def test_the_first_error_cancels_the_rest_while_the_end_of_the_block_waits() -> None:
    task = asyncio.current_task()
    assert task is not None
    async with WorkerPool() as pool:
        with pytest.raises(ExceptionGroup) as caught:
            async with pool.group() as group:
                other = await group.submit(sleep, FOREVER)
                await group.submit(fail, ValueError("no"))
        assert types(caught.value) == [ValueError]
        assert other.state is JobState.CANCELLED
        assert task.cancelling() == 0


async def test_all_run_to_their_end_where_that_is_asked_for(clock: Clock) -> None:
    async with WorkerPool() as pool:
        clock.start()
        with pytest.raises(ExceptionGroup) as caught:
            async with pool.group(until="all_ended") as group:
                await group.submit(fail, ValueError("one"))
                last = await group.submit(sleep, 0.2, "last")
                await group.submit(fail, KeyError("two"))
                await asyncio.sleep(0.1)
        assert types(caught.value) == [ValueError, KeyError]
        assert last.result() == "last"
        assert clock.shows(0.2)


@pytest.mark.parametrize("until", ["first_error", "all_ended", "first_success"])
async def test_an_exception_in_the_block_cancels_all(until: Any) -> None:
    async with WorkerPool(max_workers=1) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            async with pool.group(until=until) as group:
                handles = [await group.submit(sleep, FOREVER), await group.submit(echo, 1)]
                raise LookupError
        assert types(caught.value) == [LookupError]
        assert [handle.state for handle in handles] == [JobState.CANCELLED] * 2


async def test_a_job_that_is_refused_is_an_exception_in_the_block() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            async with pool.group() as group:
                await group.submit(gate)
                group.submit_nowait(echo, 1)
        assert types(caught.value) == [PoolOverloaded]


async def test_what_the_block_has_awaited_and_raised_is_there_once() -> None:
    for job, kind in ((lambda: fail(ValueError("no")), ValueError), (lambda: sleep(FOREVER), JobTimeout)):
        async with WorkerPool(job_timeout=0.1) as pool:
            with pytest.raises(ExceptionGroup) as caught:
                async with pool.group(until="all_ended") as group:
                    await (await group.submit(job))
            assert types(caught.value) == [kind]


async def test_a_timeout_of_a_job_is_an_error() -> None:
    async with WorkerPool() as pool:
        with pytest.raises(ExceptionGroup) as caught:
            async with pool.group() as group:
                other = await group.submit(sleep, FOREVER)
                await group.submit(sleep, FOREVER, timeout=0.1)
        assert types(caught.value) == [JobTimeout]
        assert other.state is JobState.CANCELLED


async def test_a_job_that_somebody_has_cancelled_is_no_error() -> None:
    async with WorkerPool() as pool, pool.group() as group:
        handle = await group.submit(sleep, FOREVER)
        by_task = await group.submit(sleep, FOREVER, name="victim")
        await turns()
        handle.cancel()
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == "victim"]
        task.cancel()
    assert handle.state is by_task.state is JobState.CANCELLED


async def test_a_job_that_has_cancelled_itself_is_an_error_and_so_is_one_that_raises_what_another_was_ended_with() -> None:
    async def by_itself() -> None:
        raise asyncio.CancelledError

    async def passes_on(handle: JobHandle[Any]) -> None:
        await handle

    async with WorkerPool() as pool:
        with pytest.raises(ExceptionGroup) as caught:
            async with pool.group() as group:
                await group.submit(by_itself)
        assert types(caught.value) == [JobCancelled]
        other = await pool.submit(sleep, FOREVER)
        with pytest.raises(ExceptionGroup) as caught:
            async with pool.group() as group:
                await group.submit(passes_on, other)
                await turns()
                other.cancel()
        assert types(caught.value) == [JobCancelled]


@pytest.mark.complains
async def test_jobs_that_a_closing_pool_cancels_are_errors() -> None:
    pool = WorkerPool(max_workers=1)
    await pool.__aenter__()
    with pytest.raises(ExceptionGroup) as caught:
        async with pool.group() as group:
            handles = [await group.submit(sleep, FOREVER), await group.submit(echo, 1)]
            await pool.aclose(timeout=0)
    assert JobCancelled in types(caught.value)
    assert "shutdown" in str(caught.value.exceptions[0])
    assert [handle.state for handle in handles] == [JobState.CANCELLED] * 2


async def test_a_job_that_is_dropped_from_the_queue_is_an_error() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=1, overload="drop_oldest") as pool:
        await pool.submit(gate)
        with pytest.raises(ExceptionGroup) as caught:
            async with pool.group() as group:
                await group.submit(echo, 1)
                await pool.submit(echo, 2)
        assert types(caught.value) == [PoolOverloaded]
        gate.open()


@pytest.mark.complains
async def test_the_block_is_left_when_a_job_has_been_abandoned_and_says_so() -> None:
    stubborn = Stubborn()
    async with WorkerPool(cancel_grace=0.1) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            async with pool.group() as group:
                await group.submit(stubborn, name="deaf")
                await stubborn.started.wait()
                raise LookupError
        assert caught.value.__notes__ == ["job 'deaf' ignored its cancellation and was abandoned: it may still run"]
        await stubborn.release()


@pytest.mark.complains
async def test_failures_that_are_reported_are_not_logged_and_those_of_a_group_that_cannot_report_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with WorkerPool() as pool:
        for until in ("first_error", "all_ended"):
            with pytest.raises(ExceptionGroup):
                async with pool.group(until=until) as group:
                    await group.submit(fail, ValueError("no"))
        async with pool.group(until="first_success") as group:
            await group.submit(fail, ValueError("no"))
            await group.submit(sleep, 0.1)
        gc.collect()
        assert "nobody asked why" not in caplog.text


@pytest.mark.complains
@pytest.mark.parametrize("when", ["running", "failed, and not heard of"])
async def test_a_block_whose_coroutine_is_closed_cancels_its_jobs_and_what_it_does_not_report_is_logged(
    when: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails_at_its_end() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            raise ValueError

    async def user() -> None:
        async with pool.group(timeout=60) as group:
            handles.append(await group.submit(fails_at_its_end))
            handles.append(await group.submit(fail, ValueError("unheard")))
            await asyncio.Event().wait()

    async def drive() -> None:
        coroutine.send(None)

    handles: list[JobHandle[Any]] = []
    async with WorkerPool() as pool:
        coroutine = user()
        await asyncio.create_task(drive())
        await asyncio.sleep(0)
        while when != "running" and not handles[1].done():
            await asyncio.sleep(0)
        coroutine.close()
        await handles[0].wait()
        assert [handle.state for handle in handles] == [JobState.FAILED, handles[1].state]
        handles.clear()
        await turns()
        gc.collect()
    assert "fails_at_its_end#1' of pool 'pool' failed and nobody asked why" in caplog.text
    assert when == "running" or "'fail#2' of pool 'pool' failed and nobody asked why" in caplog.text


@pytest.mark.parametrize(("error", "inside"), [(GeneratorExit, False), (GeneratorExit, True), (KeyboardInterrupt, False)])
async def test_a_block_that_can_not_wait_any_more_at_its_end_cancels_its_jobs(
    error: type[BaseException], inside: bool
) -> None:
    async def user() -> None:
        async with pool.group() as group:
            handles.extend([await group.submit(sleep, FOREVER) for _ in range(3)])

    async def drive() -> None:
        coroutine = user()
        coroutine.send(None)  # up to the end of the block
        assert not any(handle.done() for handle in handles)
        if error is GeneratorExit:
            coroutine.close()
        else:
            with pytest.raises(KeyboardInterrupt):
                coroutine.throw(KeyboardInterrupt)

    handles: list[JobHandle[Any]] = []
    async with WorkerPool(max_workers=2) as pool:
        await (pool.run(drive) if inside else drive())
        for handle in handles:
            await handle.wait()
        assert {handle.state for handle in handles} == {JobState.CANCELLED}
        assert pool.stats().lending == 0


@pytest.mark.complains
@pytest.mark.realtime
def test_a_block_whose_coroutine_is_closed_where_no_loop_runs_leaves_its_jobs_to_the_pool() -> None:
    async def user() -> None:
        async with pool.group() as group:
            await group.submit(sleep, FOREVER)
            await asyncio.Event().wait()

    async def begin() -> None:
        await pool.__aenter__()
        coroutine.send(None)

    pool = WorkerPool()
    coroutine = user()
    with asyncio.Runner() as runner:
        runner.run(begin())
        coroutine.close()
        assert runner.run(pool.aclose(timeout=0.01)).cancelled_running == 1


# First success ----------------------------------------------------------------------------------------------------------


async def test_the_first_success_cancels_the_rest_and_interrupts_the_block(clock: Clock) -> None:
    task = asyncio.current_task()
    assert task is not None
    reached: list[int] = []
    async with WorkerPool() as pool:
        clock.start()
        async with pool.group(until="first_success") as group:
            handles = [await group.submit(sleep, seconds, seconds) for seconds in (FOREVER, 0.2, 0.3)]
            handles.append(await group.submit(fail, ValueError("no")))
            assert [group.winner] == [None]
            with pytest.raises(asyncio.InvalidStateError, match="no job has succeeded"):
                group.result()
            await asyncio.sleep(FOREVER)
            reached.append(1)
        assert not reached
        assert clock.shows(0.2)
        assert group.winner is handles[1]
        assert group.result() == 0.2
        assert [handle.state for handle in handles] == [
            JobState.CANCELLED,
            JobState.SUCCEEDED,
            JobState.CANCELLED,
            JobState.FAILED,
        ]
        assert task.cancelling() == 0


async def test_the_first_of_several_successes_is_the_result() -> None:
    async with WorkerPool() as pool:
        async with pool.group(until="first_success") as group:
            for number in range(3):
                await group.submit(echo, number)
        assert group.result() == 0


async def test_where_none_succeeds_all_errors_leave_the_block() -> None:
    async with WorkerPool() as pool:
        with pytest.raises(ExceptionGroup) as caught:
            async with pool.group(until="first_success") as group:
                await group.submit(fail, ValueError("no"))
                (await group.submit(sleep, FOREVER)).cancel()
                await group.submit(fail, KeyError("neither"))
        assert sorted(kind.__name__ for kind in types(caught.value)) == ["JobCancelled", "KeyError", "ValueError"]
        with pytest.raises(asyncio.InvalidStateError, match="no job has succeeded"):
            group.result()


async def test_a_group_for_a_success_that_is_cancelled_before_is_cancelled_and_no_more() -> None:
    async def user() -> None:
        async with pool.group(until="first_success") as group:
            await group.submit(fail, ValueError("no"))
            await group.submit(sleep, FOREVER)

    async with WorkerPool() as pool:
        task = asyncio.create_task(user())
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_cancellation_that_comes_while_the_losers_end_is_passed_on() -> None:
    async def slow_to_end() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.2)

    async def user(busy: bool) -> None:
        async with pool.group(until="first_success") as group:
            await group.submit(slow_to_end)
            await group.submit(sleep, 0.1)
            if busy:
                await asyncio.sleep(FOREVER)

    for busy in (False, True):
        async with WorkerPool() as pool:
            task = asyncio.create_task(user(busy))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert pool.stats().running == 0


async def test_only_a_group_for_a_success_has_a_result() -> None:
    async with WorkerPool() as pool:
        async with pool.group() as group:
            await group.submit(echo, 1)
        assert group.winner is None
        with pytest.raises(asyncio.InvalidStateError, match=r"result\(\) needs until='first_success'"):
            group.result()


# As completed -----------------------------------------------------------------------------------------------------------


async def test_handles_come_in_the_order_in_which_their_jobs_end() -> None:
    async with WorkerPool() as pool, pool.group() as group:
        for number in (3, 1, 2):
            await group.submit(sleep, number / 10, number)
        early = await group.submit(echo, 0)
        await early
        assert [handle.result() async for handle in group.as_completed()] == [0, 1, 2, 3]
        assert [handle.result() async for handle in group.as_completed()] == [0, 1, 2, 3]


async def test_jobs_that_are_submitted_meanwhile_come_too() -> None:
    async def splits(number: int) -> int:
        await asyncio.sleep(0.01)
        if number > 1:
            for _ in range(2):
                await group.submit(splits, number // 2)
        return number

    async with WorkerPool(max_workers=2, queue_size=1) as pool, pool.group() as group:
        await group.submit(splits, 4)
        seen = []
        async for handle in group.as_completed():
            seen.append(handle.result())
            if handle.result() == 4:
                await group.submit(echo, 7)
        assert sorted(seen) == [1, 1, 1, 1, 2, 2, 4, 7]


async def test_failed_jobs_are_handed_out_too_where_all_are_to_end() -> None:
    async with WorkerPool() as pool:
        with pytest.raises(ExceptionGroup):
            async with pool.group(until="all_ended") as group:
                await group.submit(fail, ValueError("no"))
                await group.submit(sleep, 0.1)
                assert [handle.state async for handle in group.as_completed()] == [JobState.FAILED, JobState.SUCCEEDED]


async def test_no_handle_is_lost_when_a_reader_is_cancelled() -> None:
    async with WorkerPool() as pool, pool.group() as group:
        await group.submit(sleep, 0.1, 1)
        completed = aiter(group.as_completed())
        reader = asyncio.ensure_future(anext(completed))
        await turns()
        reader.cancel()
        await turns()
        assert (await anext(completed)).result() == 1
        with pytest.raises(StopAsyncIteration):
            await anext(completed)


async def test_tasks_that_share_an_iterator_share_the_handles_and_all_come_to_its_end() -> None:
    async def read() -> list[int]:
        return [handle.result() async for handle in completed]

    async with WorkerPool() as pool, pool.group() as group:
        for number in range(4):
            await group.submit(sleep, 0.1 * (number // 2), number)
        completed = group.as_completed()
        both = await asyncio.gather(read(), read())
        assert sorted([*both[0], *both[1]]) == [0, 1, 2, 3]


async def test_a_reader_in_another_task_comes_to_the_end_when_the_block_is_left() -> None:
    async def read() -> int:
        return len([handle async for handle in completed])

    async with WorkerPool() as pool:
        async with pool.group() as group:
            completed = group.as_completed()
            await group.submit(sleep, 0.1)
            reader = asyncio.create_task(read())
            await turns()
        assert await reader <= 1
        with pytest.raises(RuntimeError, match="has no jobs: its block was left"):
            group.as_completed()


# Time -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["timeout", "deadline", "both"])
async def test_the_time_of_a_group_bounds_each_of_its_jobs(how: str, clock: Clock) -> None:
    async with WorkerPool(max_workers=1) as pool:
        bounds = {
            "timeout": {"timeout": 0.2},
            "deadline": {"deadline": await now() + 0.2},
            "both": {"timeout": 0.9, "deadline": await now() + 0.2},
        }[how]
        clock.start()
        with pytest.raises(ExceptionGroup) as caught:
            async with pool.group(until="all_ended", **bounds) as group:
                await group.submit(sleep, FOREVER)
                queued = await group.submit(sleep, FOREVER)
                await group.submit(sleep, FOREVER, deadline=await now() + 0.1)
                assert remaining() == pytest.approx(0.2, abs=clock.tolerance)
        assert types(caught.value) == [JobTimeout] * 3
        assert clock.shows(0.2)
        assert queued.state is JobState.TIMED_OUT
        assert remaining() is None


async def test_the_time_of_a_group_bounds_jobs_that_others_submit_to_it_and_groups_in_it(clock: Clock) -> None:
    async def outsider() -> None:
        await submitted.wait()
        await group.submit(sleep, FOREVER)

    submitted = asyncio.Event()
    async with WorkerPool() as pool:
        other = asyncio.create_task(outsider())
        clock.start()
        with pytest.raises(ExceptionGroup) as caught:
            async with pool.group(timeout=0.2, until="all_ended") as around, pool.group(until="all_ended") as group:
                submitted.set()
                await other
                await around.submit(sleep, FOREVER)
        assert types(caught.value) == [JobTimeout, ExceptionGroup]
        assert clock.shows(0.2)


async def test_the_tighter_deadline_around_a_group_counts(clock: Clock) -> None:
    async with WorkerPool() as pool:
        clock.start()
        with deadline_scope(await now() + 0.1), pytest.raises(ExceptionGroup):
            async with pool.group(timeout=5) as group:
                await group.submit(sleep, FOREVER)
        assert clock.shows(0.1)


# Inside a job (R9) ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["end", "as_completed", "first_success"])
async def test_a_job_lends_its_place_to_the_jobs_of_its_groups(how: str) -> None:
    async def tree(depth: int) -> int:
        if not depth:
            return 1
        total = 0
        async with pool.group(until="first_success" if how == "first_success" else "first_error") as group:
            handles = [await group.submit(tree, depth - 1) for _ in range(2)]
            if how == "as_completed":
                async for handle in group.as_completed():
                    stats = pool.stats()
                    assert stats.running - stats.lending <= 1
                    total += handle.result()
        if how == "first_success":
            return int(group.result())
        return total or sum(handle.result() for handle in handles)

    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=None) as pool:
        assert await pool.run(tree, 3) == (1 if how == "first_success" else 8)
        assert (pool.stats().running, pool.stats().lending) == (0, 0)


async def test_a_job_has_its_place_back_before_any_that_is_queued() -> None:
    order: list[str] = []

    async def note(what: str) -> None:
        order.append(what)

    async def parent() -> None:
        async with pool.group() as group:
            await group.submit(note, "member")
        order.append("parent")

    async with WorkerPool(max_workers=1) as pool:
        first = await pool.submit(parent)
        await turns(1)
        later = [await pool.submit(note, "other") for _ in range(2)]
        await first
        for handle in later:
            await handle
    assert order.index("parent") == order.index("member") + 1


async def test_an_error_in_a_group_of_a_job_is_the_jobs_and_a_job_that_is_cancelled_cancels_its_group() -> None:
    inner: list[JobHandle[Any]] = []

    async def parent(seconds: float) -> None:
        async with pool.group() as group:
            inner.append(await group.submit(sleep, FOREVER))
            await group.submit(sleep, seconds)
            await group.submit(fail, ValueError("no"), timeout=None) if not seconds else None

    async with WorkerPool() as pool:
        with pytest.raises(ExceptionGroup):
            await pool.run(parent, 0)
        handle = await pool.submit(parent, FOREVER)
        await turns()
        handle.cancel()
        await handle.wait()
        assert handle.state is JobState.CANCELLED
        assert [job.state for job in inner] == [JobState.CANCELLED] * 2
        assert balanced(pool)
        assert pool.stats().lending == 0


@pytest.mark.parametrize("how", ["end", "as_completed", "late", "late nowait", "late shared"])
async def test_a_job_that_would_wait_for_ever_for_one_of_its_group_is_told_so(how: str) -> None:
    async def late(group: Group) -> None:
        await asyncio.sleep(0.01)
        if how == "late":
            await group.submit(echo, 2, key="k")
        else:
            group.submit_nowait(echo, 2, key="k", coalesce=how == "late shared")

    async def parent() -> None:
        async with pool.group() as group:
            if "late" in how:
                await group.submit(late, group)
            else:
                await group.submit(echo, 1, key="k")
                await group.submit(echo, 2, key="k")
            if how == "as_completed":
                async for _ in group.as_completed():
                    pass

    async with WorkerPool(max_workers=2) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            await pool.run(parent, key="k")
        assert types(caught.value) == [RuntimeError]
        assert ("waits for itself" if how == "late shared" else "has the same key ('k')") in str(caught.value.exceptions[0])
        assert balanced(pool)
        await pool.wait_idle()


async def test_jobs_that_wait_for_each_other_by_way_of_a_group_are_told_so() -> None:
    async def member(parent: JobHandle[Any]) -> None:
        await asyncio.sleep(0.01)
        await parent

    async def parent() -> None:
        me = current_job()
        assert me is not None
        async with pool.group() as group:
            await group.submit(echo, 1)
            await group.submit(member, me)

    async with WorkerPool() as pool:
        with pytest.raises(ExceptionGroup) as caught:
            await pool.run(parent)
        assert "which waits for it" in str(caught.value.exceptions[0])


async def test_a_group_in_a_task_of_a_job_lends_the_jobs_place() -> None:
    async def helper(how: str) -> None:
        async with pool.group() as group:
            await group.submit(echo, 1)
            if how == "as_completed":
                assert [handle.result() async for handle in group.as_completed()] == [1]

    async def parent(how: str) -> None:
        await asyncio.create_task(helper(how))

    async with WorkerPool(max_workers=1) as pool:
        for how in ("end", "as_completed"):
            await pool.run(parent, how)


async def test_where_too_many_lend_their_places_the_end_of_a_block_is_refused_and_its_jobs_are_cancelled() -> None:
    async def parent() -> Any:
        async with pool.group() as group:
            handles.append(await group.submit(echo, 1))

    handles: list[JobHandle[Any]] = []
    gate = Gate()
    async with WorkerPool(max_workers=2, max_lending=1) as pool:
        lender = await pool.submit(lambda: pool.run(gate))
        await turns()
        other = await pool.submit(gate)
        handle = await pool.submit(parent)
        other.cancel()
        with pytest.raises(ExceptionGroup) as caught:
            await handle
        assert types(caught.value) == [PoolOverloaded]
        assert handles[0].state is JobState.CANCELLED
        gate.open()
        await lender


@pytest.mark.realtime
@pytest.mark.parametrize("how", ["end", "as_completed"])
async def test_a_job_goes_on_whose_last_member_comes_to_its_end_in_the_moment_in_which_it_lends_its_place(how: str) -> None:
    async def parent() -> None:
        async with pool.group(until="all_ended") as group:
            await group.submit(echo, 1, deadline=await now() + 0.01)
            time.sleep(0.02)  # nobody has had the time to notice
            if how == "as_completed":
                assert [handle.state async for handle in group.as_completed()] == [JobState.TIMED_OUT]

    async with WorkerPool(max_workers=1) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            await pool.run(parent)
        assert types(caught.value) == [JobTimeout]
        assert pool.stats().lending == 0


# Jobs that are shared ---------------------------------------------------------------------------------------------------


async def test_a_job_that_others_have_joined_is_left_to_them() -> None:
    async with WorkerPool() as pool:
        with pytest.raises(ExceptionGroup):
            async with pool.group() as group:
                mine = await group.submit(sleep, 0.1, "shared", key="k", coalesce=True)
                theirs = await pool.submit(sleep, 0.1, key="k", coalesce=True)
                assert theirs is mine
                raise LookupError
        assert not theirs.done()
        assert await theirs == "shared"


async def test_a_job_that_only_the_group_has_joined_is_cancelled_and_counts_once() -> None:
    async with WorkerPool() as pool:
        with pytest.raises(ExceptionGroup):
            async with pool.group() as group:
                handles = [await group.submit(sleep, FOREVER, key="k", coalesce=True) for _ in range(3)]
                raise LookupError
        assert {handle.state for handle in handles} == {JobState.CANCELLED}
        async with pool.group() as group:
            for _ in range(3):
                await group.submit(echo, 1, key="k", coalesce=True)
            assert len([handle async for handle in group.as_completed()]) == 1


async def test_an_observer_may_cancel_the_others_when_a_group_cancels_one() -> None:
    class Cancels(Observer):
        def job_ended(self, event: JobEnded, /) -> None:
            for handle in handles:
                handle.cancel()

    handles: list[JobHandle[Any]] = []
    async with WorkerPool(max_workers=1, observers=[Cancels()]) as pool:
        with pytest.raises(ExceptionGroup) as caught:
            async with pool.group() as group:
                hold = await group.submit(sleep, FOREVER)
                handles.extend([await group.submit(echo, number) for number in range(3)])
                raise LookupError
        assert types(caught.value) == [LookupError]
        assert {handle.state for handle in [hold, *handles]} == {JobState.CANCELLED}


# With other pools -------------------------------------------------------------------------------------------------------


async def test_a_group_of_an_inline_pool_works() -> None:
    async with InlinePool() as pool:
        async with pool.group() as group:
            handle = await group.submit(echo, 1)
            later = group.submit_nowait(echo, 2)
            assert handle.result() == 1
            assert [each.result() async for each in group.as_completed()] == [1, 2]
        assert later.result() == 2
        with pytest.raises(ExceptionGroup) as caught:
            async with pool.group() as group:
                await group.submit(fail, ValueError("no"))
                await asyncio.sleep(FOREVER)
        assert types(caught.value) == [ValueError]


async def test_a_group_of_a_pool_whose_callers_run_what_it_has_no_room_for() -> None:
    async with WorkerPool(max_workers=1, queue_size=0, overload="caller_runs") as pool, pool.group() as group:
        for number in range(3):
            await group.submit(sleep, 0.1, number)
        assert sorted([handle.result() async for handle in group.as_completed()]) == [0, 1, 2]


async def test_a_job_that_its_caller_runs_ends_although_the_group_was_left_meanwhile() -> None:
    async def outsider() -> None:
        await group.submit(sleep, 0.1)

    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, overload="caller_runs") as pool:
        await pool.submit(gate)
        async with pool.group() as group:
            task = asyncio.create_task(outsider())
            await turns()
        with pytest.raises(RuntimeError, match="its block was left"):
            await task
        assert pool.stats().succeeded == 1
        gate.open()


# Nothing left -----------------------------------------------------------------------------------------------------------


async def test_a_group_that_was_left_keeps_no_job() -> None:
    class Result:
        pass

    async def make() -> Result:
        return Result()

    async with WorkerPool() as pool:
        async with pool.group() as group:
            handle = await group.submit(make)
        reference = weakref.ref(handle.result())
        gc.disable()
        try:
            del handle
            assert reference() is None
        finally:
            gc.enable()


async def test_an_error_that_has_left_a_block_is_in_no_cycle_of_the_groups() -> None:
    class Thing(ValueError):
        pass

    async def use() -> weakref.ref[Thing]:
        error = Thing()
        reference = weakref.ref(error)
        try:
            async with pool.group(until="all_ended") as group:
                await group.submit(fail, error)
                del error
        except* Thing:
            pass
        return reference

    async with WorkerPool() as pool:
        await use()
        gc.collect()
        gc.disable()
        try:
            reference = await use()
            await turns()
            pool.failures()
            assert gc.collect() >= 0
            assert reference() is None
        finally:
            gc.enable()


# The wrong place --------------------------------------------------------------------------------------------------------


async def test_what_is_submitted_before_or_after_the_block_is_refused() -> None:
    async with WorkerPool() as pool:
        group = pool.group()
        with pytest.raises(RuntimeError, match=r"was not entered: async with pool\.group\(\) as group"):
            await group.submit(echo, 1)
        with pytest.raises(RuntimeError, match="was not entered"):
            group.as_completed()
        with pytest.raises(RuntimeError, match="is not entered"):
            await group.__aexit__(None, None, None)
        async with group:
            pass
        for submit in (group.submit, group.submit_nowait):
            with pytest.raises(RuntimeError, match="its block was left; submit inside of it, or to the pool"):
                await submit(echo, 1)
        with pytest.raises(RuntimeError, match=r"was entered before: .* make a new one with pool\.group\(\)"):
            await group.__aenter__()
        with pytest.raises(RuntimeError, match="is not entered"):
            await group.__aexit__(None, None, None)
        assert pool.stats().accepted == 0


async def test_what_is_submitted_to_a_group_that_is_stopped_is_refused() -> None:
    async with WorkerPool() as pool:
        with pytest.raises(ExceptionGroup) as caught:
            async with pool.group() as group:
                await group.submit(fail, ValueError("no"))
                try:
                    await asyncio.sleep(FOREVER)
                finally:
                    await group.submit(echo, 1)
        assert types(caught.value) == [ValueError, RuntimeError]
        assert "takes no more jobs: it is cancelling those that it has" in str(caught.value.exceptions[1])


@pytest.mark.parametrize("closing", [True, False])
async def test_a_job_that_comes_to_be_accepted_when_the_group_is_stopped_or_left_is_cancelled(closing: bool) -> None:
    calls: list[int] = []

    async def note() -> None:
        calls.append(1)

    async def outsider() -> None:
        await group.submit(note)

    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=None) as pool:
        holder = await pool.submit(gate)
        async with pool.group() as group:
            task = asyncio.create_task(outsider())
            await turns()
        gate.open()
        with pytest.raises(RuntimeError, match="its block was left"):
            await task
        await holder
        assert not calls
        assert pool.stats().cancelled == 1


async def test_a_group_needs_an_open_pool_and_a_task() -> None:
    pool = WorkerPool()
    with pytest.raises(RuntimeError, match=r"WorkerPool\.group\(\) needs a pool that was entered"):
        await pool.group().__aenter__()
    async with pool:
        entering = pool.group().__aenter__()
        outcome: list[BaseException] = []

        def outside() -> None:
            try:
                entering.send(None)
            except RuntimeError as error:
                outcome.append(error)

        asyncio.get_running_loop().call_soon(outside)
        await turns(2)
        assert "must be entered in a task" in str(outcome[0])
    with pytest.raises(PoolClosed):
        await pool.group().__aenter__()


async def test_a_block_that_is_left_in_another_task_is_refused_and_its_jobs_are_cancelled() -> None:
    async with WorkerPool() as pool:
        group = await pool.group().__aenter__()
        handle = await group.submit(sleep, FOREVER)
        with pytest.raises(RuntimeError, match="must be left in the task that entered it: its jobs were cancelled"):
            await asyncio.create_task(group.__aexit__(None, None, None))
        await handle.wait()
        assert handle.state is JobState.CANCELLED


@pytest.mark.parametrize("bad", ["first", "", None, "FIRST_ERROR", 1])
async def test_a_mode_that_there_is_not_is_refused(bad: Any) -> None:
    async with WorkerPool() as pool:
        with pytest.raises(ValueError, match="until must be one of 'first_error', 'all_ended', 'first_success', got"):
            pool.group(until=bad)


async def test_a_bad_time_is_refused() -> None:
    async with WorkerPool() as pool:
        with pytest.raises(ValueError, match=r"timeout must be a number of seconds above 0 .*None \(no limit\), got 0"):
            pool.group(timeout=0)
        with pytest.raises(TypeError, match="deadline must be a finite loop time"):
            await pool.group(deadline="soon").__aenter__()  # type: ignore[arg-type]
        async with pool.group(timeout=1) as group:
            with pytest.raises(ValueError, match="deadline must be a finite loop time"):
                await group.submit(echo, 1, deadline=float("nan"))


@pytest.mark.parametrize("submit", ["submit", "submit_nowait"])
async def test_a_coroutine_is_refused(submit: str) -> None:
    async with WorkerPool() as pool, pool.group() as group:
        call: Callable[..., Any] = getattr(group, submit)
        with pytest.raises(TypeError, match="fn must be an async function, got the coroutine"):
            await call(echo(1))
