"""R13: `aclose()` returns within `shutdown_timeout`, whatever the jobs do; there is one budget, not one per job."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import FOREVER, Clock, Gate, Stubborn, adds_up, balanced, fail, sleep, turns
from weirpool import JobState, PoolState, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.complains  # closing says so in the log when it had to cancel or abandon jobs


async def test_many_stubborn_jobs_cost_one_budget(clock: Clock) -> None:
    jobs = [Stubborn() for _ in range(20)]
    async with WorkerPool(shutdown_timeout=0.3, cancel_grace=0.1) as pool:
        for job in jobs:
            await pool.submit(job)
        clock.start()
        report = await pool.aclose()
        assert clock.shows(0.3)
    assert report.abandoned == len(report.strays) == 20
    for job in jobs:
        await job.release()


async def test_a_queue_full_of_stubborn_jobs_costs_one_budget(clock: Clock) -> None:
    jobs = [Stubborn() for _ in range(50)]
    async with WorkerPool(max_workers=2, shutdown_timeout=0.3, cancel_grace=0.1) as pool:
        for job in jobs:
            await pool.submit(job)
        clock.start()
        report = await pool.aclose()
        assert clock.shows(0.3)
    assert (report.abandoned, report.cancelled_queued) == (2, 48)
    for job in jobs[:2]:
        await job.release()


async def test_leaving_the_block_is_bounded_too(clock: Clock) -> None:
    job = Stubborn()
    clock.start()
    async with WorkerPool(shutdown_timeout=0.3, cancel_grace=0.1) as pool:
        await pool.submit(job)
    assert clock.shows(0.3)
    assert pool.state is PoolState.CLOSED
    await job.release()


async def _cleans_up_for_ever() -> None:
    try:
        await asyncio.sleep(FOREVER)
    finally:
        await asyncio.sleep(FOREVER)


async def _works_on_in_another_task() -> None:
    task = asyncio.create_task(asyncio.sleep(FOREVER))
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.done():
                raise


async def _waits_in_a_task_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_cleans_up_for_ever())


async def _begins_again() -> None:
    while True:
        try:
            async with asyncio.timeout(0.04):
                await asyncio.sleep(FOREVER)
        except (TimeoutError, asyncio.CancelledError):
            if not released.is_set():
                continue
            raise


released: asyncio.Event


@pytest.mark.parametrize("job", [_cleans_up_for_ever, _works_on_in_another_task, _waits_in_a_task_group, _begins_again])
async def test_closing_is_bounded_whatever_a_job_does_with_its_cancellation(
    clock: Clock, job: Callable[[], Awaitable[None]]
) -> None:
    global released
    released = asyncio.Event()
    before = asyncio.all_tasks()
    async with WorkerPool(shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        handle = await pool.submit(job)
        clock.start()
        report = await pool.aclose()
        assert clock.shows(0.2)
    assert handle.state is JobState.ABANDONED
    assert adds_up(report)
    released.set()
    while left := asyncio.all_tasks() - before:
        for task in left:
            task.cancel()
        await turns(2)
    assert pool.stats().strays == 0


@pytest.mark.realtime
async def test_a_job_that_blocked_the_loop_delays_the_end_but_the_others_still_have_their_grace() -> None:
    tidied = []

    async def blocks() -> None:
        await asyncio.sleep(0.01)
        time.sleep(0.3)

    async def tidies() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.02)
            tidied.append(True)

    async with WorkerPool(shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        await pool.submit(blocks)
        await pool.submit(tidies)
        report = await pool.aclose()
    assert tidied == [True]
    assert (report.succeeded, report.cancelled_running) == (1, 1)


@pytest.mark.realtime
async def test_a_job_that_blocks_the_loop_during_the_grace_leaves_the_others_half_of_it() -> None:
    tidied = []

    async def blocks() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            time.sleep(0.35)

    async def tidies() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.03)
            tidied.append(True)

    async with WorkerPool(shutdown_timeout=0.4, cancel_grace=0.3) as pool:
        await pool.submit(blocks)
        await pool.submit(tidies)
        report = await pool.aclose()
    assert tidied == [True]
    assert report.cancelled_running == 2


async def test_the_timeout_of_aclose_replaces_the_pools(clock: Clock) -> None:
    job = Stubborn()
    async with WorkerPool(shutdown_timeout=FOREVER, cancel_grace=0.1) as pool:
        await pool.submit(job)
        clock.start()
        report = await pool.aclose(timeout=0.3)
        assert clock.shows(0.3)
    assert report.drain_seconds == pytest.approx(0.2, abs=clock.tolerance)
    assert report.cancel_seconds == pytest.approx(0.1, abs=clock.tolerance)
    await job.release()


async def test_the_timeout_of_aclose_may_be_longer_than_the_pools(clock: Clock) -> None:
    async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.05) as pool:
        handle = await pool.submit(sleep, 0.3, "done")
        clock.start()
        await pool.aclose(timeout=FOREVER)
        assert clock.shows(0.3)
    assert await handle == "done"


async def test_a_timeout_shorter_than_the_grace_is_all_grace(clock: Clock) -> None:
    job = Stubborn()
    async with WorkerPool(shutdown_timeout=FOREVER, cancel_grace=10.0) as pool:
        await pool.submit(job)
        queued = await pool.submit(sleep, 0.15)
        clock.start()
        report = await pool.aclose(timeout=0.2)
        assert clock.shows(0.2)
    assert queued.state is JobState.CANCELLED
    assert report.drain_seconds == pytest.approx(0, abs=clock.tolerance)
    await job.release()


@pytest.mark.parametrize("options", [{"shutdown_timeout": 0, "cancel_grace": 0}, {}])
async def test_a_timeout_of_zero_waits_for_nothing(clock: Clock, options: dict[str, float]) -> None:
    job = Stubborn()
    async with WorkerPool(max_workers=1, **options) as pool:  # type: ignore[arg-type]
        stubborn = await pool.submit(job)
        queued = await pool.submit(sleep, 0.1)
        await turns()
        clock.start()
        report = await pool.aclose(timeout=None if options else 0)
        assert clock.shows(0)
    assert stubborn.state is JobState.ABANDONED
    assert queued.state is JobState.CANCELLED
    assert job.cancellations == 1
    assert adds_up(report)
    await job.release()


async def test_a_grace_of_zero_leaves_the_whole_budget_to_the_drain(clock: Clock) -> None:
    job = Stubborn()
    async with WorkerPool(shutdown_timeout=0.2, cancel_grace=0) as pool:
        done = await pool.submit(sleep, 0.19 - clock.tolerance)
        await pool.submit(job)
        clock.start()
        report = await pool.aclose()
        assert clock.shows(0.2)
    assert done.state is JobState.SUCCEEDED
    assert report.abandoned == 1
    await job.release()


async def test_strays_of_earlier_do_not_count_against_the_budget(clock: Clock) -> None:
    old, new = Stubborn(), Stubborn()
    async with WorkerPool(shutdown_timeout=0.3, cancel_grace=0.1) as pool:
        handle = await pool.submit(old)
        await turns()
        handle.cancel()
        await handle.wait()
        await pool.submit(new)
        clock.start()
        report = await pool.aclose()
        assert clock.shows(0.3)
    assert len(report.strays) == 2
    await old.release()
    await new.release()


async def test_with_nothing_but_strays_closing_takes_no_time(clock: Clock) -> None:
    job = Stubborn()
    async with WorkerPool(cancel_grace=0.05) as pool:
        handle = await pool.submit(job, timeout=0.05)
        await handle.wait()
        clock.start()
        report = await pool.aclose()
        assert clock.shows(0)
    assert len(report.strays) == 1
    await job.release()


async def test_a_job_cancelled_just_before_the_end_does_not_prolong_it(clock: Clock) -> None:
    job = Stubborn()
    async with WorkerPool(shutdown_timeout=0.3, cancel_grace=0.2) as pool:
        handle = await pool.submit(job)
        clock.start()
        asyncio.get_running_loop().call_later(0.09, handle.cancel)  # its own grace would last beyond
        await pool.aclose()
        assert clock.passed <= 0.3 + clock.tolerance
    assert handle.state is JobState.ABANDONED
    await job.release()


async def test_jobs_that_keep_ending_at_the_last_moment_do_not_prolong_the_end(clock: Clock) -> None:
    async def deaf() -> None:
        ended = asyncio.Event()
        asyncio.get_running_loop().call_later(0.07, ended.set)
        while not ended.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await ended.wait()

    async with WorkerPool(max_workers=2, shutdown_timeout=0.25, cancel_grace=0.05) as pool:
        for _ in range(20):
            await pool.submit(deaf)
        clock.start()
        report = await pool.aclose()
        assert clock.passed <= 0.25 + clock.tolerance
    assert report.succeeded >= 4
    assert adds_up(report)
    await asyncio.sleep(0.1)


@pytest.mark.virtual
async def test_by_default_closing_takes_twenty_seconds_at_most(clock: Clock) -> None:
    job = Stubborn()
    async with WorkerPool() as pool:
        await pool.submit(job)
        clock.start()
        report = await pool.aclose()
        assert clock.shows(20.0)
    assert report.drain_seconds == pytest.approx(18.0)
    assert report.cancel_seconds == pytest.approx(2.0)
    await job.release()


async def test_a_full_house_of_every_kind_of_job_is_closed_in_time_and_accounted_for(clock: Clock) -> None:
    gate, stubborn = Gate(), [Stubborn() for _ in range(3)]
    async with WorkerPool(max_workers=8, queue_size=100, shutdown_timeout=0.3, cancel_grace=0.1, submit_timeout=0) as pool:
        handles = []
        for i in range(90):
            kind = i % 6
            if kind == 0:
                handles.append(pool.submit_nowait(sleep, 0.01))
            elif kind == 1:
                handles.append(pool.submit_nowait(fail, KeyError(i)))
            elif kind == 2:
                handles.append(pool.submit_nowait(sleep, FOREVER, timeout=0.02))
            elif kind == 3 and i < 20:
                handles.append(pool.submit_nowait(stubborn[i // 6]))
            elif kind == 4:
                handles.append(pool.submit_nowait(_cleans_up_quickly))
            else:
                handles.append(pool.submit_nowait(gate))
        clock.start()
        report = await pool.aclose()
        assert clock.shows(0.3)
        assert balanced(pool)
    assert all(handle.done() for handle in handles)
    assert adds_up(report)
    assert report.accepted == 90
    for handle in handles:
        handle.exception()
    for job in stubborn:
        if job.started.is_set():
            await job.release()


async def _cleans_up_quickly() -> None:
    try:
        await asyncio.sleep(FOREVER)
    finally:
        await asyncio.sleep(0.01)
