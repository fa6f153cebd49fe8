"""R9: a job that waits for its own pool lends its place meanwhile, so that no nesting brings a pool to a standstill.

While it waits it does not count for R2; before it goes on it has a place again, ahead of the queue.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import FOREVER, Clock, Gate, Stubborn, balanced, echo, sleep, turns
from weirpool import JobCancelled, JobHandle, JobState, JobTimeout, PoolOverloaded, WorkerPool, current_job
from weirpool._lending import Loan
from weirpool.events import JobStarted, Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def placed(pool: WorkerPool) -> int:
    """Return how many jobs hold a place."""
    stats = pool.stats()
    return stats.running - stats.lending


# Getting on ---------------------------------------------------------------------------------------------------------------

HOW = pytest.mark.parametrize("how", ["run", "submit", "submit and wait", "nowait"])
QUEUES = pytest.mark.parametrize("queue_size", [0, 1, 200])


async def descend(pool: WorkerPool, how: str, depth: int) -> int:
    """Recurse through the pool."""
    assert placed(pool) <= 1
    if not depth:
        return 0
    if how == "run":
        below = await pool.run(descend, pool, how, depth - 1)
    else:
        handle = await pool.submit(descend, pool, how, depth - 1)
        assert placed(pool) <= 1
        if how == "submit and wait":
            await handle.wait()
        below = await handle
    assert placed(pool) <= 1
    job = current_job()
    assert job is not None
    assert job.state is JobState.RUNNING
    return below + 1


@QUEUES
@pytest.mark.parametrize("how", ["run", "submit", "submit and wait"])
async def test_a_recursion_of_a_hundred_levels_ends_with_one_worker(how: str, queue_size: int) -> None:
    async with WorkerPool(max_workers=1, queue_size=queue_size) as pool:
        assert await pool.run(descend, pool, how, 100) == 100
        assert pool.stats().lending == 0
        assert balanced(pool)


async def test_a_job_that_waits_for_many_at_once_gets_on_with_one_worker() -> None:
    async def fan(depth: int) -> int:
        assert placed(pool) <= 1
        if not depth:
            return 1
        return sum(await asyncio.gather(*(pool.run(fan, depth - 1) for _ in range(3))))

    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=None) as pool:
        assert await pool.run(fan, 4) == 81
        assert (pool.stats().running, pool.stats().lending) == (0, 0)


async def test_a_full_queue_does_not_keep_a_job_from_submitting() -> None:
    async def parent() -> Any:
        handle = await pool.submit(echo, 7)
        return await handle

    async with WorkerPool(max_workers=1, queue_size=2) as pool:
        first = await pool.submit(parent)
        others = [await pool.submit(echo, n) for n in range(2)]
        assert await first == 7
        assert [await other for other in others] == [0, 1]


async def test_two_pools_that_wait_for_each_other_get_on() -> None:
    async def ping(n: int) -> int:
        assert placed(a) <= 1
        return 1 + await b.run(pong, n - 1) if n else 0

    async def pong(n: int) -> int:
        assert placed(b) <= 1
        return 1 + await (await a.submit(ping, n - 1)) if n else 0

    async with WorkerPool(max_workers=1, queue_size=0, name="a") as a, WorkerPool(max_workers=1, queue_size=0, name="b") as b:
        assert await a.run(ping, 50) == 50
        assert (a.stats().lending, b.stats().lending) == (0, 0)


async def test_a_job_that_only_waits_for_another_pool_keeps_its_place() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, name="a") as a, WorkerPool(name="b") as b:
        parent = await a.submit(lambda: b.run(gate))
        await turns()
        assert (a.stats().running, a.stats().lending) == (1, 0)
        gate.open()
        await parent


async def test_a_job_that_waits_for_nobody_keeps_its_place_whatever_descends_from_it() -> None:
    """It has started one in another pool that waits for its own, and does not wait for that: nothing stands still."""
    gate = Gate()

    async def parent() -> None:
        await b.submit(lambda: a.run(echo, 1))
        await gate()

    async with WorkerPool(max_workers=1, name="a") as a, WorkerPool(name="b") as b:
        job = await a.submit(parent)
        await turns(20)
        assert (a.stats().running, a.stats().lending, a.stats().queued) == (1, 0, 1)
        gate.open()
        await job
        await a.wait_idle()


async def test_a_job_lends_its_place_once_it_comes_to_wait_for_a_job_that_waits_for_its_pool() -> None:
    """In this order: first the other waits, and then the job for the other."""
    gate = Gate()

    async def parent() -> Any:
        handle = await b.submit(lambda: a.run(echo, 7))
        await gate()
        return await handle

    async with WorkerPool(max_workers=1, name="a") as a, WorkerPool(max_workers=1, name="b") as b:
        job = await a.submit(parent)
        await turns(20)
        gate.open()
        assert await job == 7


# Places -------------------------------------------------------------------------------------------------------------------


async def test_a_job_that_waits_for_its_pool_is_running_and_does_not_hold_a_place() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1) as pool:
        parent = await pool.submit(lambda: pool.run(gate))
        await turns()
        stats = pool.stats()
        assert (stats.running, stats.lending, stats.queued) == (2, 1, 0)
        assert parent.state is JobState.RUNNING
        assert balanced(pool)
        gate.open()
        await parent


async def test_a_place_that_is_lent_goes_to_who_is_first_in_the_queue() -> None:
    started: list[int] = []

    async def note(number: int) -> None:
        started.append(number)

    async def parent() -> None:
        await (await pool.submit(note, 3))

    async with WorkerPool(max_workers=1) as pool:
        jobs: list[JobHandle[Any]] = [await pool.submit(parent), *[await pool.submit(note, n) for n in (1, 2)]]
        for job in jobs:
            await job
    assert started == [1, 2, 3]


async def test_a_job_has_its_place_back_before_any_that_is_queued_starts() -> None:
    order: list[str] = []
    gate = Gate()

    async def parent() -> None:
        await pool.run(gate)
        order.append("parent")
        await asyncio.sleep(0)

    async def other() -> None:
        order.append("other")

    async with WorkerPool(max_workers=1) as pool:
        job = await pool.submit(parent)
        await turns()
        later = await pool.submit(other)
        gate.open()
        await job
        await later
    assert order == ["parent", "other"]


async def test_jobs_get_their_places_back_in_the_order_in_which_they_come_to_want_them() -> None:
    order: list[int] = []
    gates = [Gate() for _ in range(3)]
    hold = Gate()

    async def parent(number: int) -> None:
        await pool.run(gates[number])
        order.append(number)

    async with WorkerPool(max_workers=3, queue_size=10) as pool:
        parents = [await pool.submit(parent, n) for n in range(3)]
        await turns()
        assert pool.stats().lending == 3
        holders = [await pool.submit(hold) for _ in range(3)]
        for number in (2, 0, 1):
            gates[number].open()
            await turns()
        hold.open()
        for job in [*parents, *holders]:
            await job
    assert order == [2, 0, 1]


async def test_a_reserved_place_that_a_job_takes_back_is_given_to_the_first_in_line_as_soon_as_there_is_one() -> None:
    gate = Gate()

    async def parent() -> None:
        await pool.run(gate)
        await asyncio.sleep(0.1)

    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=5.0) as pool:
        job = await pool.submit(parent)
        await turns()
        waiting = [asyncio.create_task(pool.submit(echo, n)) for n in range(3)]
        await turns()
        assert pool.stats().waiting == 3
        gate.open()
        await job
        handles = [await task for task in waiting]
        assert [handle.id for handle in handles] == sorted(handle.id for handle in handles)


async def test_a_job_with_tasks_of_its_own_lends_its_place_while_any_of_them_waits() -> None:
    gates = [Gate(), Gate()]

    async def parent() -> None:
        async with asyncio.TaskGroup() as group:
            for gate in gates:
                group.create_task(pool.run(gate))

    async with WorkerPool(max_workers=2) as pool:
        job = await pool.submit(parent)
        await turns()
        assert pool.stats().lending == 1
        gates[0].open()
        await turns()
        assert pool.stats().lending == 1
        gates[1].open()
        await job
        assert pool.stats().lending == 0


async def test_a_task_that_outlives_its_job_lends_nothing() -> None:
    gate = Gate()
    tasks: list[asyncio.Task[int]] = []

    async def parent() -> None:
        tasks.append(asyncio.create_task(pool.run(echo, 1)))

    async with WorkerPool(max_workers=1) as pool:
        await pool.run(parent)
        gate.open()
        assert await tasks[0] == 1
        assert (pool.stats().running, pool.stats().lending) == (0, 0)


async def test_a_task_that_waits_for_the_pool_when_its_job_ends_leaves_the_books_in_order() -> None:
    gate = Gate()
    tasks: list[asyncio.Task[Any]] = []

    async def parent() -> None:
        tasks.append(asyncio.create_task(pool.run(gate)))
        await asyncio.sleep(0.1)

    async with WorkerPool(max_workers=2) as pool:
        await pool.run(parent)
        assert (pool.stats().running, pool.stats().lending) == (1, 0)
        gate.open()
        await tasks[0]
        assert balanced(pool)
        assert (pool.stats().running, pool.stats().lending) == (0, 0)


# Being cancelled ------------------------------------------------------------------------------------------------------------


async def test_a_job_that_is_cancelled_while_it_waits_cleans_up_at_once_and_the_books_stay_in_order() -> None:
    cleaned: list[int] = []
    gate = Gate()

    async def parent() -> None:
        try:
            await (await pool.submit(gate))
        finally:
            cleaned.append(pool.stats().lending)

    async with WorkerPool(max_workers=1) as pool:
        job = await pool.submit(parent)
        await turns()
        job.cancel()
        with pytest.raises(JobCancelled):
            await job
        assert cleaned == [1]  # the other holds the only place
        assert (pool.stats().running, pool.stats().lending) == (1, 0)
        assert balanced(pool)
        gate.open()


async def test_a_job_that_is_cancelled_while_it_waits_for_room_leaves_nothing() -> None:
    gate = Gate()

    async def parent() -> None:
        await pool.submit(echo, 1)

    async with WorkerPool(max_workers=2, queue_size=0) as pool:
        jobs = [await pool.submit(parent)]
        await pool.submit(gate)
        pool.pause()
        await turns()
        assert (pool.stats().lending, pool.stats().waiting) == (1, 1)
        jobs[0].cancel()
        await jobs[0].wait()
        assert (pool.stats().lending, pool.stats().waiting, pool.stats().accepted) == (0, 0, 2)
        pool.resume()
        gate.open()


@pytest.mark.complains
async def test_a_job_whose_time_ends_while_it_lends_its_place_is_timed_out() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1) as pool:
        job = await pool.submit(lambda: pool.run(gate), timeout=0.1)
        with pytest.raises(JobTimeout):
            await job
        await pool.wait_idle()
        assert (pool.stats().timed_out, pool.stats().lending) == (2, 0)  # the deadline is inherited


@pytest.mark.complains
async def test_a_stubborn_job_that_lends_its_place_is_abandoned_like_any_other() -> None:
    stubborn = Stubborn()

    async def parent() -> None:
        try:
            await pool.run(sleep, FOREVER)
        finally:
            await stubborn()

    async with WorkerPool(max_workers=1, cancel_grace=0.05) as pool:
        job = await pool.submit(parent)
        await turns()
        job.cancel()
        await job.wait()
        assert job.state is JobState.ABANDONED
        assert (pool.stats().running, pool.stats().lending, pool.stats().strays) == (0, 0, 1)
        assert await pool.run(echo, 1) == 1
        await stubborn.release()


async def test_a_submitter_that_is_cancelled_when_its_job_is_accepted_leaves_no_job_that_nobody_has_a_handle_of() -> None:
    hold, ran = Gate(), Gate()

    async def parent() -> None:
        await pool.submit(ran, name="child")

    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        job = await pool.submit(parent)
        await turns()  # its child has been accepted, in its place: it waits to have that back
        assert (pool.stats().running, pool.stats().lending) == (2, 1)
        job.cancel()
        await job.wait()
        await pool.wait_idle()
        assert pool.stats().cancelled == 2
        hold.open()


async def test_a_run_that_is_cancelled_while_its_job_waits_for_its_place_waits_for_what_it_has_submitted() -> None:
    ended: list[str] = []

    async def child() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.05)
            ended.append("child")

    async def parent() -> None:
        try:
            await pool.run(child)
        finally:
            ended.append("run")

    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        job = await pool.submit(parent)
        await turns()
        job.cancel()
        await job.wait()
        assert ended == ["child", "run"]


@pytest.mark.complains
async def test_closing_a_pool_whose_jobs_wait_for_each_other_ends_in_bound(clock: Clock) -> None:
    async with WorkerPool(max_workers=1, shutdown_timeout=0.3, cancel_grace=0.1) as pool:
        await pool.submit(lambda: pool.run(sleep, FOREVER))
        await turns()
        clock.start()
    assert clock.passed <= 0.3 + clock.tolerance
    assert pool.report is not None
    assert pool.report.cancelled_running == 2


# What is there when the place has been lent --------------------------------------------------------------------------------


@pytest.mark.realtime
async def test_a_job_may_wait_for_one_whose_time_is_over_when_it_comes_to_that() -> None:
    async def parent() -> str:
        child = pool.submit_nowait(echo, 1, deadline=asyncio.get_running_loop().time() + 0.01)
        time.sleep(0.05)  # it computes, and then lends its place to a job that is too late
        with pytest.raises(JobTimeout):
            await child
        return "told"

    async with WorkerPool(max_workers=1) as pool:
        assert await pool.run(parent) == "told"
        assert balanced(pool)


async def test_a_job_may_wait_for_one_that_an_observer_cancels_when_it_lends_its_place() -> None:
    class Canceller(Observer):
        def job_started(self, event: JobStarted) -> None:
            if event.name == "first":
                second.cancel()

    second: Any = None

    async def parent() -> str:
        nonlocal second
        pool.submit_nowait(echo, 1, name="first")
        second = pool.submit_nowait(echo, 2)
        with pytest.raises(JobCancelled):
            await second
        return "told"

    async with WorkerPool(max_workers=1, observers=[Canceller()]) as pool:
        assert await pool.run(parent) == "told"


async def test_a_job_that_waits_for_one_whose_task_can_not_be_made_has_its_place_back() -> None:
    gate = Gate()
    failing: list[bool] = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
        if failing:
            raise RuntimeError("no tasks today")
        return asyncio.Task(coro, loop=loop, **options)

    async def parent() -> str:
        pool.submit_nowait(gate)
        unmade = pool.submit_nowait(echo, 1)
        with pytest.raises(RuntimeError, match="no tasks today"):
            await unmade
        return "told"

    async with WorkerPool(max_workers=1) as pool:
        asyncio.get_running_loop().set_task_factory(factory)
        job = await pool.submit(parent)
        await turns()
        failing.append(True)
        gate.open()
        await turns()
        failing.clear()
        assert await job == "told"
        asyncio.get_running_loop().set_task_factory(None)


# What comes of it otherwise -----------------------------------------------------------------------------------------------


async def test_a_job_whose_submission_is_refused_has_its_place_again_when_it_hears_of_it() -> None:
    seen: list[tuple[int, int]] = []

    async def parent() -> None:
        await asyncio.sleep(0.02)
        with pytest.raises(PoolOverloaded):
            await pool.submit(sleep, 0.3)
        seen.append((placed(pool), pool.stats().lending))

    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=0.05) as pool:
        job = await pool.submit(parent)
        await pool.submit(sleep, 0.3)
        others = [asyncio.create_task(pool.submit(sleep, 0.3)) for _ in range(2)]  # in line before it
        await job
        assert seen == [(1, 0)]
        await asyncio.gather(*others, return_exceptions=True)


async def test_a_jobs_own_time_limit_on_a_wait_does_not_get_it_past_the_bound() -> None:
    """As a Condition has its lock again before its `wait` is cancelled."""
    live = most = 0

    async def parent() -> None:
        nonlocal live, most
        child = pool.submit_nowait(sleep, 0.2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await child
        assert (pool.stats().running - pool.stats().lending) == 1
        live += 1
        most = max(most, live)
        await asyncio.sleep(0.01)
        live -= 1

    async with WorkerPool(max_workers=1) as pool:
        for _ in range(5):
            pool.submit_nowait(parent)
        await pool.wait_idle()
        assert pool.stats().succeeded == 10
        assert most == 1


async def test_a_run_that_is_cancelled_by_a_jobs_own_time_limit_cancels_and_gives_the_place_back() -> None:
    async def parent() -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await pool.run(sleep, FOREVER)
        assert (placed(pool), pool.stats().lending) == (1, 0)
        return "goes on"

    async with WorkerPool(max_workers=1) as pool:
        assert await pool.run(parent) == "goes on"
        assert pool.stats().cancelled == 1


async def test_a_group_of_a_jobs_own_that_fails_waits_for_the_place() -> None:
    gate = Gate()

    async def boom() -> None:
        await asyncio.sleep(0.01)
        raise KeyError

    async def parent(child: JobHandle[Any]) -> str:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child.wait())
                group.create_task(boom())
        except* KeyError:
            pass
        assert (placed(pool), pool.stats().lending) == (1, 0)
        return "goes on"

    async with WorkerPool(max_workers=1) as pool:
        child = await pool.submit(gate)
        job = await pool.submit(parent, child)
        await asyncio.sleep(0.05)
        gate.open()
        assert await job == "goes on"


async def test_what_a_task_that_a_job_has_left_behind_waits_for_lends_no_place() -> None:
    """R2: when another pool comes to wait for the job's, the job has no place any more to lend."""
    gate = Gate()
    tasks: list[asyncio.Task[None]] = []

    async def leaver(child: JobHandle[Any]) -> None:
        tasks.append(asyncio.create_task(child.wait()))
        await asyncio.sleep(0.01)

    async with WorkerPool(max_workers=1, name="a") as a, WorkerPool(max_workers=2, name="b") as b:
        child = await b.submit(gate)
        await a.run(leaver, child)
        await b.run(lambda: a.run(echo, 1))
        gate.open()
        await tasks[0]
        assert (a.stats().running, a.stats().lending) == (0, 0)
        assert balanced(a)
        await a.wait_idle()


async def test_a_wait_whose_coroutine_is_closed_is_over() -> None:
    gate = Gate()

    async def parent() -> None:
        child = await pool.submit(gate)
        for waiting in (child.wait(), pool.run(gate)):
            steps: Any = waiting
            steps.send(None)
            assert pool.stats().lending == 1
            steps.close()

    async with WorkerPool(max_workers=3) as pool:
        await pool.run(parent)
        assert (pool.stats().lending, balanced(pool)) == (0, True)
        gate.open()


async def test_a_task_that_a_job_has_left_behind_may_run_jobs_and_be_cancelled() -> None:
    tasks: list[asyncio.Task[Any]] = []

    async def leaver() -> None:
        tasks.append(asyncio.create_task(later()))

    async def later() -> None:
        await asyncio.sleep(0.01)
        await pool.run(sleep, FOREVER)

    async with WorkerPool() as pool:
        await pool.run(leaver)
        await asyncio.sleep(0.02)
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        assert (pool.stats().running, pool.stats().cancelled) == (0, 1)


# Bounds -------------------------------------------------------------------------------------------------------------------


async def nest(pool: WorkerPool) -> None:
    """Nest until it is refused."""
    await pool.run(nest, pool)


@pytest.mark.parametrize("queue_size", [0, 10])
async def test_an_endless_recursion_is_refused_with_a_reason(queue_size: int) -> None:
    async with WorkerPool(max_workers=1, queue_size=queue_size, max_lending=20) as pool:
        with pytest.raises(PoolOverloaded) as refused:
            await pool.run(nest, pool)
        assert (refused.value.reason, refused.value.depth, refused.value.limit) == ("nesting", 20, 20)
        # Without a queue it is the submission that is refused, else the wait for what was accepted, which is then cancelled.
        assert pool.stats().refused["nesting"] + pool.stats().cancelled == 1
        assert "20 jobs that wait for it from inside" in str(refused.value)
        assert pool.stats().lending == 0


@pytest.mark.parametrize("ask", [lambda pool: pool.submit(echo, 1), lambda pool: pool.run(echo, 1)])
async def test_where_no_job_may_lend_its_place_a_full_pool_refuses_those_inside(
    ask: Callable[[WorkerPool], Coroutine[Any, Any, Any]],
) -> None:
    async with WorkerPool(max_workers=1, queue_size=0, max_lending=0) as pool:
        with pytest.raises(PoolOverloaded) as refused:
            await pool.run(lambda: ask(pool))
        assert refused.value.reason == "nesting"
        assert pool.stats().refused["nesting"] == 1
        assert pool.stats().accepted == 1


async def test_a_wait_for_a_handle_that_is_refused_does_not_touch_the_job() -> None:
    gate = Gate()

    async def parent() -> None:
        handle = await pool.submit(gate)
        with pytest.raises(PoolOverloaded):
            await handle
        with pytest.raises(PoolOverloaded):
            await handle.wait()

    async with WorkerPool(max_workers=2, max_lending=0) as pool:
        await pool.run(parent)
        assert pool.stats().running == 1
        gate.open()


async def test_a_job_that_waits_for_itself_is_told_so() -> None:
    async def mine() -> None:
        job = current_job()
        assert job is not None
        with pytest.raises(RuntimeError, match="waits for itself"):
            await job

    async with WorkerPool() as pool:
        await pool.run(mine)


async def test_a_patient_job_whose_submission_times_out_hears_so() -> None:
    gate = Gate()

    async def parent() -> str:
        try:
            await pool.submit(echo, 1)
        except PoolOverloaded as error:
            return error.reason
        return "accepted"

    async with WorkerPool(max_workers=2, queue_size=0, submit_timeout=0.1) as pool:
        job = await pool.submit(parent)
        pool.pause()
        assert await job == "timeout"
        pool.resume()
        gate.open()


async def test_who_has_been_woken_already_is_not_woken_again() -> None:
    lending: Any = None
    loan = Loan(lending)
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    woken.set_result(None)
    loan._back.append(woken)
    loan.wake()
