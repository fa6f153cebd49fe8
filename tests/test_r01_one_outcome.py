"""R1: every accepted job ends in exactly one way, the books balance at every instant, and refusals leave nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import FOREVER, Gate, Stubborn, adds_up, balanced, echo, fail, refusals, sleep, turns
from weirpool import JobCancelled, JobState, JobTimeout, PoolClosed, PoolOverloaded, WorkerPool


async def test_a_job_that_returns_has_succeeded() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(echo, 7)
        assert await handle == 7
    assert handle.state is JobState.SUCCEEDED
    assert handle.exception() is None


async def test_a_job_that_raises_has_failed_with_its_own_exception() -> None:
    error = ValueError("mine")
    async with WorkerPool() as pool:
        handle = await pool.submit(fail, error)
        with pytest.raises(ValueError, match="mine") as caught:
            await handle
    assert caught.value is error
    assert handle.state is JobState.FAILED


async def test_a_job_whose_time_runs_out_has_timed_out() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(sleep, FOREVER, timeout=0.1)
        with pytest.raises(JobTimeout):
            await handle
    assert handle.state is JobState.TIMED_OUT


async def test_a_job_that_is_cancelled_is_cancelled() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(sleep, FOREVER)
        await turns()
        handle.cancel()
        with pytest.raises(JobCancelled):
            await handle
    assert handle.state is JobState.CANCELLED


@pytest.mark.complains
async def test_a_job_that_does_not_end_is_abandoned() -> None:
    async with WorkerPool(cancel_grace=0.1) as pool:
        job = Stubborn()
        handle = await pool.submit(job)
        await job.started.wait()
        handle.cancel()
        with pytest.raises(JobCancelled):
            await handle
        assert handle.state is JobState.ABANDONED
        await job.release()
        assert handle.state is JobState.ABANDONED, "an outcome never changes"


@pytest.mark.complains
async def test_the_books_balance_whenever_one_looks_under_mixed_load() -> None:
    watched = 0
    stop = False
    stubborn = Stubborn()

    async def watch() -> None:
        nonlocal watched
        while not stop:
            assert balanced(pool), pool.stats()
            watched += 1
            await asyncio.sleep(0.0005)  # virtual time stands still while the loop is busy

    async with WorkerPool(max_workers=3, queue_size=4, cancel_grace=0.05, submit_timeout=None) as pool:
        watcher = asyncio.create_task(watch())
        handles = []
        for i in range(40):
            kind = i % 5
            if kind == 0:
                handle = await pool.submit(echo, i)
            elif kind == 1:
                handle = await pool.submit(fail, KeyError(i))
            elif kind == 2:
                handle = await pool.submit(sleep, FOREVER, timeout=0.01)
            elif kind == 3:
                handle = await pool.submit(sleep, FOREVER)
                asyncio.get_running_loop().call_later(0.01, handle.cancel)
            else:
                handle = await pool.submit(sleep, 0.001)
            handles.append(handle)
        handles.append(await pool.submit(stubborn, timeout=0.01))
        for handle in handles:
            await handle.wait()
        stats = pool.stats()
        assert (stats.succeeded, stats.failed, stats.timed_out, stats.cancelled, stats.abandoned) == (16, 8, 8, 8, 1)
        for handle in handles:
            handle.exception()
        stop = True
        await watcher
        await stubborn.release()
    assert watched > 40
    assert adds_up(pool.report)


async def test_refusals_are_counted_apart_by_reason_and_leave_nothing_behind() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=0.05) as pool:
        await pool.submit(gate)
        before = pool.stats()
        with pytest.raises(PoolOverloaded) as full:
            pool.submit_nowait(echo, 1)
        with pytest.raises(PoolOverloaded) as late:
            await pool.submit(echo, 1)
        impatient = asyncio.create_task(pool.submit(echo, 1))
        await turns()
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        gate.open()
        await turns()
        pool.close_intake()
        with pytest.raises(PoolClosed):
            await pool.submit(echo, 1)
        after = pool.stats()
    assert (full.value.reason, late.value.reason) == ("full", "timeout")
    assert after.refused == refusals(full=1, timeout=1, cancelled=1, closed=1)
    assert after.accepted == before.accepted == 1
    assert after.waiting == 0
