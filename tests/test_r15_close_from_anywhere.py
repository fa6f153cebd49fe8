"""R15: `aclose()` is idempotent, works from any task, for several at once and when it is cancelled, but not from a job."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import FOREVER, Clock, Gate, Stubborn, adds_up, echo, sleep, turns
from weirpool import JobHandle, JobState, PoolClosed, PoolState, ShutdownReport, WorkerPool
from weirpool.events import Observer, PoolMoved
from weirpool.testing import DeterministicLoop, run

if TYPE_CHECKING:
    from collections.abc import Coroutine


async def test_closing_twice_gives_the_same_report() -> None:
    async with WorkerPool() as pool:
        await pool.run(echo, 1)
        first = await pool.aclose()
        second = await pool.aclose()
    assert first is second is pool.report
    assert await pool.aclose() is first


def test_a_pool_can_be_asked_for_its_report_again_when_its_loop_has_gone() -> None:
    pool = WorkerPool()

    async def work() -> ShutdownReport:
        async with pool:
            await pool.run(echo, 1)
            return await pool.aclose()

    loops = [asyncio.new_event_loop() for _ in range(2)]
    first = loops[0].run_until_complete(work())
    loops[0].close()
    assert loops[1].run_until_complete(pool.aclose()) is first
    loops[1].close()


@pytest.mark.complains
async def test_a_tighter_timeout_counts_even_if_it_comes_from_within_the_step_that_cancels_the_jobs(clock: Clock) -> None:
    class Hurry(Observer):
        def pool_moved(self, event: PoolMoved) -> None:
            if event.now is PoolState.CANCELLING:
                self.closing = pool.aclose(timeout=0.1)
                self.closing.send(None)

    hurry, job = Hurry(), Stubborn()
    async with WorkerPool(observers=[hurry], shutdown_timeout=1, cancel_grace=1) as pool:
        await pool.submit(job)
        clock.start()
        await pool.aclose()
        assert clock.shows(0.1)
    hurry.closing.close()
    await job.release()


@pytest.mark.complains
async def test_a_looser_timeout_that_comes_while_jobs_are_being_cancelled_does_not_count(clock: Clock) -> None:
    job = Stubborn()
    async with WorkerPool(cancel_grace=1) as pool:
        await pool.submit(job)
        clock.start()
        first = asyncio.create_task(pool.aclose(timeout=0.4))
        await asyncio.sleep(0.1)
        assert pool.state is PoolState.CANCELLING
        await pool.aclose(timeout=3)
        assert clock.shows(0.4)
        await first
    await job.release()


async def test_several_who_close_at_once_all_get_the_same_report(clock: Clock) -> None:
    async with WorkerPool() as pool:
        await pool.submit(sleep, 0.2)
        clock.start()
        reports = await asyncio.gather(*(pool.aclose() for _ in range(5)))
        assert clock.shows(0.2)
    assert len({id(report) for report in reports}) == 1
    assert reports[0].drained == 1


@pytest.mark.complains
@pytest.mark.parametrize("tightest_is", ["first", "last"])
async def test_of_several_timeouts_the_tightest_counts(clock: Clock, tightest_is: str) -> None:
    job = Stubborn()
    async with WorkerPool(cancel_grace=0.1) as pool:
        await pool.submit(job)
        clock.start()
        timeouts = [0.3, None, FOREVER]
        if tightest_is == "last":
            timeouts.reverse()
        reports = await asyncio.gather(*(pool.aclose(timeout=timeout) for timeout in timeouts))
        assert clock.shows(0.3)
    assert reports[0] is reports[1] is reports[2]
    assert reports[0].drain_seconds == pytest.approx(0.2, abs=clock.tolerance)
    await job.release()


@pytest.mark.complains
async def test_whoever_comes_later_with_less_patience_is_served_in_his_time(clock: Clock) -> None:
    job = Stubborn()
    async with WorkerPool(shutdown_timeout=FOREVER, cancel_grace=0.1) as pool:
        await pool.submit(job)
        clock.start()
        patient = asyncio.create_task(pool.aclose())
        await asyncio.sleep(0.1)
        report = await pool.aclose(timeout=0.2)
        assert clock.shows(0.3)
        assert await patient is report
    await job.release()


@pytest.mark.complains
async def test_whoever_comes_while_jobs_have_their_grace_can_still_shorten_it(clock: Clock) -> None:
    job = Stubborn()
    async with WorkerPool(shutdown_timeout=FOREVER, cancel_grace=FOREVER) as pool:
        await pool.submit(job)
        clock.start()
        patient = asyncio.create_task(pool.aclose())
        await asyncio.sleep(0.1)
        assert pool.state is PoolState.CANCELLING
        report = await pool.aclose(timeout=0.1)
        assert clock.shows(0.2)
        assert await patient is report
    assert job.cancellations == 1
    await job.release()


async def test_a_pool_may_be_entered_in_one_task_and_closed_in_another() -> None:
    pool = WorkerPool()
    entering = asyncio.create_task(pool.__aenter__())
    assert await entering is pool
    await turns()
    assert await asyncio.create_task(pool.run(echo, 1)) == 1
    handle = await pool.submit(sleep, 0.05, "drained")
    report = await asyncio.create_task(pool.aclose())
    assert report.succeeded == 2
    assert await handle == "drained"


async def test_a_pool_may_be_closed_after_the_task_that_entered_it_was_cancelled() -> None:
    pool = WorkerPool()

    async def enter_and_stay() -> None:
        await pool.__aenter__()
        await asyncio.sleep(FOREVER)

    owner = asyncio.create_task(enter_and_stay())
    await turns()
    owner.cancel()
    await asyncio.wait([owner])
    assert pool.state is PoolState.OPEN
    assert await pool.run(echo, 1) == 1
    report = await pool.aclose()
    assert report.succeeded == 1


@pytest.mark.realtime
async def test_a_signal_handler_may_start_a_task_that_closes_the_pool() -> None:
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[object]] = []
    async with WorkerPool() as pool:
        await pool.submit(sleep, 0.05)
        loop.add_signal_handler(signal.SIGUSR1, lambda: tasks.append(loop.create_task(pool.aclose())))
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            while not tasks:
                await asyncio.sleep(0.001)
            with pytest.raises(PoolClosed):
                for _ in range(10):
                    await pool.submit(echo, 1)
                    await asyncio.sleep(0)
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)
        assert await tasks[0] is pool.report
    assert adds_up(pool.report)


async def test_closing_in_the_block_and_leaving_it_are_one_closing(clock: Clock) -> None:
    clock.start()
    async with WorkerPool() as pool:
        await pool.submit(sleep, 0.2)
        report = await pool.aclose()
    assert clock.shows(0.2)
    assert pool.report is report


async def test_a_pool_that_was_never_entered_can_be_closed_and_stays_closed() -> None:
    pool = WorkerPool()
    first = await pool.aclose()
    assert pool.state is PoolState.CLOSED
    assert first.accepted == 0
    assert await pool.aclose() == first
    with pytest.raises(RuntimeError, match="is used once"):
        async with pool:
            pytest.fail("a closed pool was entered")


# Cancelling aclose() --------------------------------------------------------------------------------------------------


async def cancelled_after(seconds: float, call: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
    """Run a call in a task, cancel it after some time, and wait for its end."""
    task = asyncio.ensure_future(call)
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.wait([task])
    return task


@pytest.mark.complains
async def test_cancelling_aclose_cancels_the_jobs_at_once_and_then_the_caller(clock: Clock) -> None:
    async with WorkerPool(max_workers=1) as pool:
        running = await pool.submit(sleep, FOREVER)
        queued = await pool.submit(sleep, FOREVER)
        clock.start()
        task = await cancelled_after(0.1, pool.aclose())
        assert clock.shows(0.1)
        assert task.cancelled()
        assert pool.state is PoolState.CLOSED, "the call comes back only when nothing is left"
    assert (running.state, queued.state) == (JobState.CANCELLED, JobState.CANCELLED)
    assert adds_up(pool.report)


@pytest.mark.complains
async def test_cancelling_aclose_leaves_the_jobs_their_grace_and_no_more(clock: Clock) -> None:
    job, tidied = Stubborn(), []

    async def tidies() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.1)
            tidied.append(True)

    async with WorkerPool(cancel_grace=0.2) as pool:
        handle = await pool.submit(job)
        await pool.submit(tidies)
        clock.start()
        task = await cancelled_after(0.1, pool.aclose())
        assert clock.shows(0.3)
        assert task.cancelled()
    assert tidied == [True]
    assert job.cancellations == 1
    assert handle.state is JobState.ABANDONED
    await job.release()


@pytest.mark.complains
async def test_cancelling_aclose_again_and_again_neither_hurts_nor_helps(clock: Clock) -> None:
    job = Stubborn()
    async with WorkerPool(cancel_grace=0.2) as pool:
        await pool.submit(job)
        clock.start()
        task = asyncio.create_task(pool.aclose())
        for _ in range(4):
            await asyncio.sleep(0.025)
            task.cancel()
        await asyncio.wait([task])
        assert clock.shows(0.025 + 0.2)
    assert job.cancellations == 1
    assert pool.state is PoolState.CLOSED
    await job.release()


@pytest.mark.complains
async def test_cancelling_one_of_several_closers_escalates_and_the_others_get_the_report(clock: Clock) -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(sleep, FOREVER)
        clock.start()
        patient = asyncio.create_task(pool.aclose())
        impatient = await cancelled_after(0.1, pool.aclose())
        report = await patient
        assert clock.shows(0.1)
    assert impatient.cancelled()
    assert report.cancelled_running == 1
    assert handle.state is JobState.CANCELLED


@pytest.mark.complains
async def test_a_timeout_around_aclose_ends_it_early_and_leaves_the_caller_uncancelled(clock: Clock) -> None:
    async with WorkerPool() as pool:
        await pool.submit(sleep, FOREVER)
        clock.start()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await pool.aclose()
        assert clock.shows(0.1)
        assert pool.state is PoolState.CLOSED
    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0


@pytest.mark.complains
async def test_a_call_of_aclose_that_is_cancelled_in_any_turn_leaves_nothing_behind() -> None:
    cancelled = 0
    for moment in range(16):
        gate = Gate()
        async with WorkerPool(max_workers=1) as pool:
            handles: list[JobHandle[Any]] = [await pool.submit(gate), await pool.submit(echo, 1)]
            await turns()
            closing = asyncio.create_task(pool.aclose())
            if moment >= 4:
                await turns(2)
                gate.open()
            await turns(moment % 12)
            closing.cancel()
            await asyncio.wait([closing])
            if closing.cancelled():
                cancelled += 1
                if moment > 0:  # else it was never called
                    assert pool.state is PoolState.CLOSED
            gate.open()
        assert adds_up(pool.report)
        assert all(handle.done() for handle in handles)
    assert 2 <= cancelled < 16


async def test_cancelling_aclose_of_a_pool_without_jobs_is_passed_on() -> None:
    async with WorkerPool() as pool:
        task = asyncio.create_task(pool.aclose())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert pool.state is PoolState.CLOSED


# From inside ----------------------------------------------------------------------------------------------------------


async def test_a_job_that_closes_its_own_pool_is_told_that_it_would_wait_for_itself() -> None:
    async with WorkerPool(name="webhooks") as pool:
        with pytest.raises(RuntimeError, match=r"aclose\(\) was called from a job of .*webhooks.*close_intake\(\)"):
            await pool.run(pool.aclose)
        assert pool.state is PoolState.OPEN, "nothing has changed"
        assert await pool.run(echo, 1) == 1


async def test_a_job_cannot_leave_the_block_of_its_own_pool_either() -> None:
    async with WorkerPool() as pool:
        with pytest.raises(RuntimeError, match="from a job of"):
            await pool.run(pool.__aexit__, None, None, None)
        assert pool.state is PoolState.OPEN


async def test_a_task_that_a_job_waits_for_cannot_close_the_pool_either() -> None:
    async def job() -> None:
        await asyncio.create_task(pool.aclose())

    async with WorkerPool() as pool:
        with pytest.raises(RuntimeError, match="from a job of"):
            await pool.run(job)
        assert pool.state is PoolState.OPEN, "nothing has changed"


async def test_a_task_that_outlives_the_job_which_started_it_may_close_the_pool() -> None:
    tasks = []
    gate = Gate()

    async def close_later() -> object:
        await gate()
        return await pool.aclose()

    async def job() -> None:
        tasks.append(asyncio.create_task(close_later()))

    async with WorkerPool() as pool:
        await pool.run(job)
        gate.open()
        assert await tasks[0] is pool.report


async def test_a_job_may_close_another_pool() -> None:
    async with WorkerPool(name="outer") as outer, WorkerPool(name="inner") as inner:
        handle = await inner.submit(sleep, 0.05)
        report = await outer.run(inner.aclose)
        assert report is inner.report
        assert handle.done()
        assert outer.state is PoolState.OPEN


def closed_after_a_stall(timeout: float) -> tuple[float, ShutdownReport]:
    """Let the loop be blocked while a pool gives its jobs their grace, close it once more, and say what that took."""
    outcome = []

    async def main() -> None:
        loop = DeterministicLoop.running()
        released = asyncio.Event()

        async def cleans_up() -> None:
            try:
                await released.wait()
            except asyncio.CancelledError:
                await asyncio.sleep(0.4)
                raise

        pool = await WorkerPool(shutdown_timeout=1, cancel_grace=1).__aenter__()
        await pool.submit(cleans_up)
        await asyncio.sleep(0)
        closing = asyncio.create_task(pool.aclose())
        await asyncio.sleep(0)
        loop.block(5)
        began = loop.time()
        report = await pool.aclose(timeout=timeout)
        outcome.append((loop.time() - began, report))
        await closing

    run(main).check()
    return outcome[0]


@pytest.mark.complains
def test_who_closes_after_the_loop_was_blocked_is_held_up_no_longer_than_asked_for() -> None:
    took, report = closed_after_a_stall(0)
    assert took == pytest.approx(0, abs=1e-6)
    assert report.abandoned == 1


@pytest.mark.complains
def test_who_closes_after_the_loop_was_blocked_does_not_take_from_the_jobs_what_is_left_of_their_grace() -> None:
    took, report = closed_after_a_stall(5)
    assert took == pytest.approx(0.4, abs=1e-6)
    assert (report.cancelled, report.abandoned) == (1, 0)
