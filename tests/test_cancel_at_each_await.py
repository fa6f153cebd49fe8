"""Cancel a task after 0, 1, 2, ... turns of the loop, until it ends before it is hit; whatever the turn, nothing may be lost.

A scenario takes the turn at which to strike and says whether it hit. None of them waits for a timer, so every turn of the
loop is one step of the scenario. (R1, R2, R3, R7, R15, R17; and `cancelling()` of the user's task stays the user's.)
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import Gate, Stubborn, adds_up, balanced, echo, turns
from weirpool import JobCancelled, JobHandle, JobState, PoolError, PoolOverloaded, PoolState, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

SOON = 2.0
"""Seconds in which everything has ended that is going to."""


async def at_each_turn(scenario: Callable[[int], Awaitable[bool]], at_least: int) -> None:
    """Play a scenario with a strike at each turn, until there is nothing left to hit; it must have been hit often enough."""
    for turn in range(200):
        before = asyncio.all_tasks()
        hit = await scenario(turn)
        await turns(2)
        left = asyncio.all_tasks() - before
        assert not left, f"left behind by a strike at turn {turn}: {left}"
        if not hit:
            assert turn >= at_least, f"the scenario was over after {turn} turns: it tests less than it should"
            return
    raise AssertionError("the scenario does not end")


async def strike(task: asyncio.Task[Any], turn: int) -> bool:
    """Cancel a task after so many turns; say whether it was still there."""
    for _ in range(turn):
        if task.done():
            return False
        await asyncio.sleep(0)
    return task.cancel()


async def all_end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Wait for tasks that are to end soon."""
    _, pending = await asyncio.wait(set(tasks), timeout=SOON)
    for task in pending:
        task.cancel()
    assert not pending, f"still there: {pending}"


async def capacity(pool: WorkerPool) -> int:
    """Say how many jobs fit into an idle pool."""
    gate = Gate()
    handles = []
    try:
        while True:
            handles.append(pool.submit_nowait(gate))
    except PoolOverloaded:
        pass
    gate.open()
    for handle in handles:
        await handle
    return len(handles)


async def busy(number: int) -> str:
    """Take some turns, and as many to clean up."""
    try:
        for _ in range(number):
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        for _ in range(number):
            await asyncio.sleep(0)
        raise
    return "done"


async def after(number: int, call: Callable[[], object]) -> None:
    """Call something after some turns."""
    await turns(number)
    call()


async def tolerant(call: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Take whatever the pool says."""
    try:
        return await call(*args)
    except PoolError as error:
        return error


def struck(task: asyncio.Task[Any], hit: bool, before: int = 0) -> bool:
    """Say whether a task ended as a strike must end it: the cancellation was passed on, and was not counted off or on."""
    return task.done() and task.cancelled() is hit and task.cancelling() == before + hit


# A submitter -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("queue_size", [0, 1])
@pytest.mark.parametrize("patience", [None, 60.0])
async def test_a_submitter_that_is_cancelled_at_any_turn_leaves_no_trace(queue_size: int, patience: float | None) -> None:
    async def scenario(turn: int) -> bool:
        gate = Gate()
        async with WorkerPool(max_workers=1, queue_size=queue_size, submit_timeout=patience) as pool:
            handles: list[JobHandle[Any]] = [pool.submit_nowait(gate)]
            handles += [pool.submit_nowait(busy, 2) for _ in range(queue_size)]
            mine = asyncio.create_task(pool.submit(echo, "mine"))
            behind = asyncio.create_task(pool.submit(echo, "behind"))
            opener = asyncio.create_task(after(5, gate.open))
            hit = await strike(mine, turn)
            assert balanced(pool)
            await all_end([mine, behind, opener])
            assert struck(mine, hit)
            assert await behind.result() == "behind"
            if not hit:
                assert await mine.result() == "mine"
            stats = pool.stats()
            assert balanced(pool)
            assert (stats.waiting, stats.queued) == (0, 0)
            assert stats.accepted == len(handles) + 2 - hit
            assert stats.refused["cancelled"] <= 1
            assert await capacity(pool) == 1 + queue_size
        assert adds_up(pool.report)
        return hit

    await at_each_turn(scenario, at_least=5)


async def test_submitters_that_are_all_cancelled_at_any_turn_leave_all_room_free() -> None:
    async def scenario(turn: int) -> bool:
        gate = Gate()
        async with WorkerPool(max_workers=2, queue_size=1, submit_timeout=None) as pool:
            for _ in range(3):
                pool.submit_nowait(gate)
            submitting = [asyncio.create_task(pool.submit(busy, 1)) for _ in range(5)]
            opener = asyncio.create_task(after(4, gate.open))
            for _ in range(turn):
                await asyncio.sleep(0)
            hits = [task.cancel() for task in submitting]
            assert balanced(pool)
            await all_end([*submitting, opener])
            for task, hit in zip(submitting, hits, strict=True):
                assert struck(task, hit)
                if not hit:
                    await task.result()
            assert pool.stats().accepted == 3 + hits.count(False)
            assert await capacity(pool) == 3
        return any(hits)

    await at_each_turn(scenario, at_least=5)


async def test_a_submitter_that_is_cancelled_as_the_pool_closes_gets_an_answer_and_leaves_no_trace() -> None:
    async def scenario(turn: int) -> bool:
        gate = Gate()
        async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=None) as pool:
            pool.submit_nowait(gate)
            mine = asyncio.create_task(tolerant(pool.submit, echo, "mine"))
            closer = asyncio.create_task(after(3, pool.close_intake))
            hit = await strike(mine, turn)
            await all_end([mine, closer])
            assert struck(mine, hit)
            assert pool.stats().accepted == 1
            assert pool.stats().waiting == 0
            gate.open()
        return hit

    await at_each_turn(scenario, at_least=3)


# run() -------------------------------------------------------------------------------------------------------------------


class Job:
    """A job that says whether it is running."""

    def __init__(self) -> None:
        self.inside = False
        self.starts = 0

    async def __call__(self) -> str:
        self.inside = True
        self.starts += 1
        try:
            return await busy(4)
        finally:
            self.inside = False


@pytest.mark.parametrize("place", ["free", "queued", "none"])
@pytest.mark.parametrize("timeout", [None, 60.0])
async def test_run_that_is_cancelled_at_any_turn_takes_its_job_along(place: str, timeout: float | None) -> None:
    cancelled = 0

    async def scenario(turn: int) -> bool:
        nonlocal cancelled
        job = Job()
        inside_at_the_end: list[bool] = []

        async def user() -> str:
            try:
                return await pool.run(job, timeout=timeout)
            finally:
                inside_at_the_end.append(job.inside)

        async with WorkerPool(max_workers=1, queue_size=int(place == "queued"), submit_timeout=None) as pool:
            if place != "free":
                pool.submit_nowait(busy, 4)
            mine = asyncio.create_task(user())
            hit = await strike(mine, turn)
            await all_end([mine])
            assert struck(mine, hit)
            assert balanced(pool)
            stats = pool.stats()
            assert stats.running - (place != "free" and not stats.succeeded) == stats.queued == stats.waiting == 0
            assert not any(inside_at_the_end), "run() returned while its job was running"
            assert job.starts <= 1
            if not hit:
                assert mine.result() == "done"
            elif stats.accepted > (place != "free"):
                assert stats.cancelled == 1 or job.starts, "it may have ended just then, but it may not have been left alone"
                cancelled += stats.cancelled
            await turns(8)
            assert await capacity(pool) == 1 + (place == "queued")
        return hit

    await at_each_turn(scenario, at_least=5)
    assert cancelled >= 3


@pytest.mark.parametrize("gap", [1, 2, 3])
async def test_run_that_is_cancelled_twice_waits_for_its_job_all_the_same(gap: int) -> None:
    async def scenario(turn: int) -> bool:
        job = Job()
        inside_at_the_end: list[bool] = []

        async def user() -> None:
            try:
                await pool.run(job)
            finally:
                inside_at_the_end.append(job.inside)

        async with WorkerPool(max_workers=1, queue_size=0) as pool:
            mine = asyncio.create_task(user())
            hit = await strike(mine, turn)
            again = hit and await strike(mine, gap)
            await all_end([mine])
            assert mine.cancelled() is hit
            assert mine.cancelling() == hit + again
            assert not any(inside_at_the_end)
            assert await capacity(pool) == 1
        return hit

    await at_each_turn(scenario, at_least=5)


@pytest.mark.complains
async def test_run_that_is_cancelled_as_its_job_fails_does_not_lose_the_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        await turns(2)
        raise LookupError

    async def scenario(turn: int) -> bool:
        caplog.clear()
        async with WorkerPool(max_workers=1) as pool:

            async def user() -> str:
                try:
                    await pool.run(fails)
                except LookupError:
                    return "told"
                return "never"

            mine = asyncio.create_task(user())
            hit = await strike(mine, turn)
            await all_end([mine])
            assert struck(mine, hit)
            failed = pool.stats().failed
            del mine
        logged = sum(record.name == "weirpool.job" for record in caplog.records)
        assert logged == (failed if hit else 0), "told to somebody, or logged once"
        return hit

    await at_each_turn(scenario, at_least=3)


# A handle's awaiter ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["await", "wait"])
async def test_an_awaiter_that_is_cancelled_at_any_turn_touches_nobody_else(how: str) -> None:
    async def scenario(turn: int) -> bool:
        async with WorkerPool(max_workers=1) as pool:
            handle = pool.submit_nowait(busy, 5)

            async def awaiter() -> Any:
                return await (handle if how == "await" else handle.wait())

            mine, other = asyncio.create_task(awaiter()), asyncio.create_task(awaiter())
            hit = await strike(mine, turn)
            await all_end([mine, other])
            assert struck(mine, hit)
            assert struck(other, hit=False)
            assert handle.state is JobState.SUCCEEDED
            assert await handle == "done"
            assert balanced(pool)
        return hit

    await at_each_turn(scenario, at_least=5)


# Closing and opening -----------------------------------------------------------------------------------------------------


@pytest.mark.complains
@pytest.mark.parametrize("gap", [0, 1, 2, 5])
async def test_aclose_that_is_cancelled_at_any_turn_still_closes_and_reports(gap: int) -> None:
    async def scenario(turn: int) -> bool:
        pool = WorkerPool(max_workers=2, queue_size=2, submit_timeout=None, shutdown_timeout=1, cancel_grace=0.5)
        await pool.__aenter__()
        handles = [pool.submit_nowait(busy, number) for number in (3, 9, 4, 2)]
        submitting = asyncio.create_task(tolerant(pool.submit, echo, 1))
        await asyncio.sleep(0)
        mine = asyncio.create_task(pool.aclose())
        other = asyncio.create_task(pool.aclose())
        hit = await strike(mine, turn)
        again = bool(gap) and hit and await strike(mine, gap)
        await all_end([mine, other, submitting])
        assert mine.cancelled() is hit
        assert mine.cancelling() == hit + again
        assert struck(other, hit=False)
        assert pool.state is PoolState.CLOSED
        assert other.result() is pool.report
        assert adds_up(pool.report)
        assert balanced(pool)
        assert all(handle.done() for handle in handles)
        assert pool.report is not None
        assert (pool.report.abandoned, pool.report.strays) == (0, ())
        return hit

    await at_each_turn(scenario, at_least=8)


@pytest.mark.complains
async def test_a_block_that_is_cancelled_at_any_turn_closes_its_pool() -> None:
    async def scenario(turn: int) -> bool:
        pool = WorkerPool(max_workers=1, queue_size=3, shutdown_timeout=1, cancel_grace=0.5)
        handles: list[JobHandle[Any]] = []

        async def user() -> None:
            async with pool:
                handles.append(pool.submit_nowait(busy, 3))
                handles.append(pool.submit_nowait(busy, 2))
                await handles[0]

        mine = asyncio.create_task(user())
        hit = await strike(mine, turn)
        await all_end([mine])
        assert struck(mine, hit)
        assert pool.state in ({PoolState.CLOSED} if turn else {PoolState.CLOSED, PoolState.NEW})
        assert all(handle.done() for handle in handles)
        if pool.state is PoolState.CLOSED:
            assert adds_up(pool.report)
        return hit

    await at_each_turn(scenario, at_least=8)


# The pool's own tasks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [None, 60.0])
@pytest.mark.parametrize("direct", [True, False])
async def test_a_job_whose_task_is_cancelled_at_any_turn_ends_once_and_gives_its_place_on(
    timeout: float | None, direct: bool
) -> None:
    async def scenario(turn: int) -> bool:
        async with WorkerPool(max_workers=1, queue_size=2) as pool:
            job = Job()
            if not direct:
                pool.submit_nowait(busy, 1)
            handle = pool.submit_nowait(job, timeout=timeout, name="victim")
            while handle.state is JobState.QUEUED:
                await asyncio.sleep(0)
            following = pool.submit_nowait(echo, "next")
            [task] = [task for task in asyncio.all_tasks() if task.get_name() == "victim"]
            hit = await strike(task, turn)
            await all_end([task])
            assert balanced(pool)
            if hit:
                with pytest.raises(JobCancelled) as caught:
                    await handle
                assert caught.value.reason == "task"
            else:
                assert await handle == "done"
            assert not job.inside
            assert await following == "next"
            assert await capacity(pool) == 3
        assert adds_up(pool.report)
        return hit

    await at_each_turn(scenario, at_least=5)


@pytest.mark.parametrize("first", ["handle", "stranger"])
async def test_a_job_that_is_cancelled_by_its_handle_and_by_a_stranger_at_any_turns_ends_once(first: str) -> None:
    async def scenario(turn: int) -> bool:
        async with WorkerPool(max_workers=1, queue_size=1, cancel_grace=1) as pool:
            handle = pool.submit_nowait(busy, 4, timeout=60, name="victim")
            following = pool.submit_nowait(echo, "next")
            [task] = [task for task in asyncio.all_tasks() if task.get_name() == "victim"]
            calls: list[Callable[[], bool]] = [handle.cancel, task.cancel]
            if first == "stranger":
                calls.reverse()
            await turns(2)
            calls[0]()
            for _ in range(turn):
                await asyncio.sleep(0)
            hit = calls[1]()
            await handle.wait()
            assert handle.state is JobState.CANCELLED
            assert balanced(pool)
            assert await following == "next"
            assert await capacity(pool) == 2
        return hit

    await at_each_turn(scenario, at_least=3)


@pytest.mark.complains
async def test_a_pool_whose_own_task_is_cancelled_at_any_turn_closes_and_accounts() -> None:
    async def scenario(turn: int) -> bool:
        pool = WorkerPool(max_workers=2, queue_size=2, submit_timeout=None, shutdown_timeout=1, cancel_grace=0.5)
        handles: list[JobHandle[Any]] = []
        ends: list[Any] = []

        async def user() -> None:
            try:
                async with pool:
                    handles.extend(pool.submit_nowait(busy, number) for number in (3, 6, 4))
                    ends.append(await tolerant(pool.run, busy, 2))
            except (PoolError, RuntimeError) as error:
                ends.append(error)

        mine = asyncio.create_task(user())
        await asyncio.sleep(0)
        supervisor = own_task(pool)
        hit = await strike(supervisor, turn)
        await all_end([mine, supervisor])
        assert struck(mine, hit=False)
        assert ends, "the user was told nothing"
        assert pool.state is PoolState.CLOSED
        assert adds_up(pool.report)
        assert all(handle.done() for handle in handles)
        return hit

    await at_each_turn(scenario, at_least=8)


def own_task(pool: WorkerPool) -> asyncio.Task[Any]:
    """Return the pool's own task."""
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == f"weirpool:{pool.name}"]
    return task


@pytest.mark.complains
async def test_a_pool_whose_own_task_is_cancelled_cancels_its_jobs_at_once_though_nobody_closes_it() -> None:
    pool = WorkerPool()
    await pool.__aenter__()
    handle = await pool.submit(asyncio.sleep, 3600)
    await asyncio.sleep(0)
    own_task(pool).cancel()
    await handle.wait()
    assert handle.state is JobState.CANCELLED
    assert (await pool.aclose()).cancelled_running == 1


@pytest.mark.complains
async def test_a_pool_whose_own_task_is_cancelled_does_not_disturb_the_cleanup_of_a_cancelled_job() -> None:
    async def cleans_up() -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)
        return "clean"

    pool = WorkerPool()
    await pool.__aenter__()
    handle = await pool.submit(cleans_up)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    handle.cancel()
    await asyncio.sleep(0.01)
    own_task(pool).cancel()
    assert await handle == "clean"
    await pool.aclose()


# All tasks at once, as the end of asyncio.run does -----------------------------------------------------------------------


@pytest.mark.complains
@pytest.mark.parametrize("seed", range(3))
async def test_all_tasks_cancelled_at_any_turn_leave_a_closed_pool_and_nothing_else(seed: int) -> None:
    dice = random.Random(seed)

    async def scenario(turn: int) -> bool:
        before = asyncio.all_tasks()
        pool = WorkerPool(max_workers=2, queue_size=1, submit_timeout=60, shutdown_timeout=1, cancel_grace=0.5)
        handles: list[JobHandle[Any]] = []

        async def family() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(busy(3))
                group.create_task(busy(5))

        async def submitter() -> None:
            handles.append(await pool.submit(busy, 2, timeout=60))
            await handles[-1].wait()

        async def main() -> None:
            async with pool, asyncio.TaskGroup() as group:
                handles.append(pool.submit_nowait(family))
                handles.append(pool.submit_nowait(busy, 3))
                group.create_task(tolerant(pool.run, busy, 2))
                group.create_task(tolerant(submitter))
                group.create_task(tolerant(submitter))
                await tolerant(pool.run, busy, 1)
            await pool.aclose()

        mine = asyncio.create_task(main())
        for _ in range(turn):
            await asyncio.sleep(0)
        victims = list(asyncio.all_tasks() - before)
        dice.shuffle(victims)
        hits = [task.cancel() for task in victims]
        hit = any(hits)
        await all_end([mine, *victims])
        await turns(2)
        assert not asyncio.all_tasks() - before
        assert pool.state in ({PoolState.CLOSED} if turn else {PoolState.CLOSED, PoolState.NEW})
        if pool.report is not None:
            assert adds_up(pool.report)
            assert not pool.report.strays
        assert all(handle.done() for handle in handles)
        assert balanced(pool)
        return hit

    await at_each_turn(scenario, at_least=12)


@pytest.mark.complains
async def test_all_tasks_cancelled_at_any_turn_with_a_stubborn_job_among_them_end_within_the_grace() -> None:
    async def scenario(turn: int) -> bool:
        before = asyncio.all_tasks()
        stubborn = Stubborn()
        pool = WorkerPool(max_workers=2, queue_size=1, shutdown_timeout=0.02, cancel_grace=0.01)
        handles: list[JobHandle[Any]] = []

        async def main() -> None:
            async with pool:
                handles.append(pool.submit_nowait(stubborn))
                handles.append(pool.submit_nowait(busy, 3))
                handles.append(pool.submit_nowait(busy, 3))
                await handles[1].wait()
                await handles[2].wait()

        mine = asyncio.create_task(main())
        for _ in range(turn):
            await asyncio.sleep(0)
        victims = asyncio.all_tasks() - before
        hits = [task.cancel() for task in victims]
        hit = any(hits)
        await all_end([mine])
        assert pool.state in ({PoolState.CLOSED} if turn else {PoolState.CLOSED, PoolState.NEW})
        assert all(handle.done() for handle in handles)
        if pool.report is not None:
            assert adds_up(pool.report)
            assert len(pool.report.strays) == pool.report.abandoned == pool.stats().strays
        if stubborn.started.is_set():
            await stubborn.release()
        await turns(3)
        assert pool.stats().strays == 0
        return hit and turn < 30  # from some turn on all that is left is the wait for the stubborn one

    await at_each_turn(scenario, at_least=8)


# A task that has been cancelled before -----------------------------------------------------------------------------------


async def test_a_cancellation_that_the_user_swallowed_before_stays_the_users() -> None:
    """Its count of one is neither taken for a new cancellation, nor counted off, by any call."""
    counts: list[int] = []

    async def user() -> list[Any]:
        task = asyncio.current_task()
        assert task is not None
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            counts.append(task.cancelling())
        async with WorkerPool(max_workers=1, queue_size=0) as pool:
            counts.append(task.cancelling())
            results = [await pool.run(echo, 1)]
            handle = await pool.submit(busy, 3)
            waited = await pool.submit(echo, 2)  # has to wait for room
            counts.append(task.cancelling())
            results += [await handle, await waited]
            counts.append(task.cancelling())
        counts.append(task.cancelling())
        return results

    task = asyncio.create_task(user())
    await turns()
    task.cancel()
    assert await task == [1, "done", 2]
    assert counts == [1] * 5


async def test_a_timeout_of_the_users_around_any_call_is_a_timeout_to_the_user() -> None:
    task = asyncio.current_task()
    assert task is not None
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=None) as pool:
        handle = await pool.submit(gate)
        calls: list[Callable[[], Awaitable[Any]]] = [
            lambda: pool.submit(echo, 1),
            lambda: pool.run(echo, 1),
            handle.wait,
            lambda: handle,
        ]
        for call in calls:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await call()
            assert task.cancelling() == 0
        gate.open()
