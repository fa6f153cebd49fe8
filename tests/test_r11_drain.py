"""R11: what was accepted, queued or running, is run to its end while closing, within `shutdown_timeout - cancel_grace`."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import FOREVER, Clock, Gate, Stubborn, adds_up, balanced, echo, fail, sleep, turns
from weirpool import JobCancelled, JobState, JobTimeout, PoolState, WorkerPool


async def test_jobs_that_run_and_jobs_that_wait_are_run_to_their_end() -> None:
    started: list[int] = []

    async def job(number: int) -> int:
        started.append(number)
        await asyncio.sleep(0.01)
        return number * number

    async with WorkerPool(max_workers=2, queue_size=10) as pool:
        handles = [await pool.submit(job, i) for i in range(10)]
        await turns()
        assert (pool.stats().running, pool.stats().queued) == (2, 8)
        report = await pool.aclose()
    assert [await handle for handle in handles] == [i * i for i in range(10)]
    assert (report.accepted, report.succeeded, report.drained) == (10, 10, 10)
    assert started == sorted(started), "draining keeps the order (R3)"


async def test_the_bounds_hold_while_a_pool_drains() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=3, queue_size=9) as pool:
        for i in range(12):
            await pool.submit(gate, i)
        closing = asyncio.create_task(pool.aclose())
        await turns()
        assert pool.state is PoolState.DRAINING
        assert (pool.stats().running, pool.stats().queued) == (3, 9)
        gate.open()
        while pool.stats().ended < 12:
            assert balanced(pool)
            await asyncio.sleep(0)
        await closing
    assert gate.most_inside == 3


async def test_a_drained_pool_closes_as_soon_as_its_last_job_has_ended(clock: Clock) -> None:
    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(sleep, 0.1)
        await pool.submit(sleep, 0.1)
        clock.start()
        report = await pool.aclose()
        assert clock.shows(0.2)
    assert report.succeeded == 2
    assert report.drain_seconds == pytest.approx(0.2, abs=clock.tolerance)
    assert report.cancel_seconds == 0


async def test_an_idle_pool_closes_at_once(clock: Clock) -> None:
    async with WorkerPool() as pool:
        assert await pool.run(echo, 1) == 1
        clock.start()
        report = await pool.aclose()
        assert clock.shows(0)
    assert report.drained == 0


@pytest.mark.complains
async def test_jobs_are_cancelled_when_the_budget_less_the_grace_is_over_and_not_before(clock: Clock) -> None:
    cancelled_at = 0.0

    async def slow() -> None:
        nonlocal cancelled_at
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            cancelled_at = clock.passed
            raise

    async with WorkerPool(shutdown_timeout=0.5, cancel_grace=0.2) as pool:
        in_time = await pool.submit(sleep, 0.299 - clock.tolerance, "in time")
        too_slow = await pool.submit(slow)
        clock.start()
        report = await pool.aclose()
    assert await in_time == "in time"
    assert cancelled_at == pytest.approx(0.3, abs=clock.tolerance)
    with pytest.raises(JobCancelled) as caught:
        await too_slow
    assert caught.value.reason == "shutdown"
    assert (report.succeeded, report.cancelled_running, report.drained) == (1, 1, 1)
    assert report.drain_seconds == pytest.approx(0.3, abs=clock.tolerance)


@pytest.mark.virtual
@pytest.mark.complains
async def test_by_default_jobs_have_eighteen_seconds_to_end(clock: Clock) -> None:
    async with WorkerPool(max_workers=1) as pool:
        first = await pool.submit(sleep, 17.9)
        second = await pool.submit(sleep, 0.2)
        clock.start()
        await pool.aclose()
        assert clock.shows(18.0)
    assert (first.state, second.state) == (JobState.SUCCEEDED, JobState.CANCELLED)


async def test_a_job_that_fails_while_the_pool_drains_fails_alone() -> None:
    error = ValueError("mine")
    async with WorkerPool(max_workers=1) as pool:
        before = await pool.submit(echo, 1)
        failing = await pool.submit(fail, error)
        after = await pool.submit(echo, 2)
        await pool.aclose()
    assert (await before, await after) == (1, 2)
    assert failing.exception() is error


async def test_deadlines_hold_while_the_pool_drains_for_running_and_for_queued_jobs(clock: Clock) -> None:
    loop = asyncio.get_running_loop()
    async with WorkerPool(max_workers=1) as pool:
        running = await pool.submit(sleep, FOREVER, timeout=0.2)
        queued = await pool.submit(sleep, 0.01, deadline=loop.time() + 0.1)
        last = await pool.submit(sleep, 0.01, "last")
        clock.start()
        await pool.aclose()
        assert clock.shows(0.21)
    assert await last == "last"
    for handle, phase in ((running, "running"), (queued, "queued")):
        with pytest.raises(JobTimeout) as caught:
            await handle
        assert caught.value.phase == phase


async def test_a_job_can_be_cancelled_by_its_handle_while_the_pool_drains(clock: Clock) -> None:
    async with WorkerPool(max_workers=1) as pool:
        running = await pool.submit(sleep, FOREVER)
        queued = await pool.submit(sleep, FOREVER)
        clock.start()
        closing = asyncio.create_task(pool.aclose())
        await turns()
        assert queued.cancel()
        assert running.cancel()
        report = await closing
        assert clock.shows(0)
    assert (report.cancelled_queued, report.cancelled_running, report.drained) == (1, 1, 2)


async def test_whoever_awaits_a_job_gets_its_result_while_the_pool_drains() -> None:
    async with WorkerPool(max_workers=1) as pool:
        waiters = [asyncio.ensure_future(pool.run(sleep, 0.01, i)) for i in range(4)]
        await turns()
        report = await pool.aclose()
    assert await asyncio.gather(*waiters) == [0, 1, 2, 3]
    assert report.succeeded == 4


@pytest.mark.complains
async def test_a_job_that_was_abandoned_earlier_does_not_hold_up_the_drain(clock: Clock) -> None:
    job = Stubborn()
    async with WorkerPool(max_workers=1, cancel_grace=0.05) as pool:
        handle = await pool.submit(job, timeout=0.05)
        await handle.wait()
        assert handle.state is JobState.ABANDONED
        await pool.submit(sleep, 0.1)
        clock.start()
        report = await pool.aclose()
        assert clock.shows(0.1)
    assert (report.succeeded, report.abandoned) == (1, 1)
    await job.release()


@pytest.mark.complains
async def test_a_job_that_is_abandoned_while_the_pool_drains_gives_its_place_to_the_next(clock: Clock) -> None:
    job = Stubborn()
    async with WorkerPool(max_workers=1, cancel_grace=0.05) as pool:
        stubborn = await pool.submit(job, timeout=0.1)
        queued = await pool.submit(sleep, 0.1, "ran")
        clock.start()
        report = await pool.aclose()
        assert clock.shows(0.25)
    assert await queued == "ran"
    assert stubborn.state is JobState.ABANDONED
    assert adds_up(report)
    assert (report.drained, len(report.strays), report.cancel_seconds) == (2, 1, 0)
    await job.release()
