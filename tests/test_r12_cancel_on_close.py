"""R12: when the time to drain is over, queued jobs never start, running ones are cancelled once, and have their grace."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.support import FOREVER, Clock, Gate, Stubborn, adds_up, balanced, sleep, turns
from weirpool import JobCancelled, JobState, JobTimeout, PoolState, WorkerPool

if TYPE_CHECKING:
    from weirpool import JobHandle

pytestmark = pytest.mark.complains  # closing says so in the log when it had to cancel jobs


class Tidy:
    """A job that needs some time to clean up when it is cancelled, and counts how often it is."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.started = 0
        self.cancellations = 0
        self.tidied = False

    async def __call__(self) -> None:
        self.started += 1
        try:
            await asyncio.sleep(FOREVER)
        finally:
            self.cancellations += 1
            try:
                await asyncio.sleep(self.seconds)
                self.tidied = True
            except asyncio.CancelledError:
                self.cancellations += 1
                raise


async def test_queued_jobs_are_cancelled_and_never_start() -> None:
    running, queued = Tidy(0), [Tidy(0) for _ in range(5)]
    async with WorkerPool(max_workers=1, shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        await pool.submit(running)
        handles = [await pool.submit(job) for job in queued]
        report = await pool.aclose()
    assert running.started == 1
    assert [job.started for job in queued] == [0] * 5
    for handle in handles:
        assert handle.state is JobState.CANCELLED
        with pytest.raises(JobCancelled) as caught:
            await handle
        assert (caught.value.reason, caught.value.abandoned) == ("shutdown", False)
    assert (report.cancelled_queued, report.cancelled_running) == (5, 1)


async def test_no_queued_job_gets_the_place_of_one_that_ends_the_moment_it_is_cancelled() -> None:
    jobs = [Tidy(0) for _ in range(20)]
    async with WorkerPool(max_workers=4, queue_size=16, shutdown_timeout=0.1, cancel_grace=0.1) as pool:
        for job in jobs:
            await pool.submit(job)
        await turns()
        report = await pool.aclose()
    assert sum(job.started for job in jobs) == 4
    assert (report.cancelled_queued, report.cancelled_running) == (16, 4)


async def test_a_running_job_is_cancelled_once_and_may_use_its_grace_to_clean_up(clock: Clock) -> None:
    job = Tidy(0.15)
    async with WorkerPool(shutdown_timeout=0.4, cancel_grace=0.3) as pool:
        handle = await pool.submit(job)
        clock.start()
        report = await pool.aclose()
        assert clock.shows(0.1 + 0.15)
    assert (job.cancellations, job.tidied) == (1, True)
    with pytest.raises(JobCancelled) as caught:
        await handle
    assert (caught.value.reason, caught.value.abandoned) == ("shutdown", False)
    assert report.cancelled_running == 1
    assert report.drain_seconds == pytest.approx(0.1, abs=clock.tolerance)
    assert report.cancel_seconds == pytest.approx(0.15, abs=clock.tolerance)


async def test_a_pool_whose_jobs_end_when_they_are_cancelled_closes_without_waiting_for_the_grace(clock: Clock) -> None:
    async with WorkerPool(shutdown_timeout=FOREVER, cancel_grace=FOREVER - 0.1) as pool:
        for _ in range(3):
            await pool.submit(sleep, FOREVER)
        clock.start()
        report = await pool.aclose()
        assert clock.shows(0.1)
    assert report.cancelled_running == 3


async def test_what_a_job_returns_or_raises_in_its_grace_stands() -> None:
    error = ValueError("could not save")

    async def saves() -> str:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
        return "saved"

    async def cannot_save() -> None:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            raise error from None

    async with WorkerPool(shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        first, second = await pool.submit(saves), await pool.submit(cannot_save)
        report = await pool.aclose()
    assert await first == "saved"
    assert second.exception() is error
    assert (report.succeeded, report.failed, report.drained) == (1, 1, 0)


async def test_what_still_runs_after_its_grace_is_abandoned(clock: Clock) -> None:
    job = Stubborn()
    async with WorkerPool(shutdown_timeout=0.3, cancel_grace=0.2) as pool:
        handle = await pool.submit(job)
        clock.start()
        report = await pool.aclose()
        assert clock.shows(0.3)
    assert handle.state is JobState.ABANDONED
    with pytest.raises(JobCancelled, match="was abandoned") as caught:
        await handle
    assert (caught.value.reason, caught.value.abandoned) == ("shutdown", True)
    assert job.cancellations == 1
    assert report.abandoned == pool.stats().strays == 1
    await job.release()
    assert pool.stats().strays == 0
    assert handle.state is JobState.ABANDONED
    assert report.abandoned == 1


async def test_each_job_has_its_own_end_when_some_are_tidy_and_some_are_stubborn() -> None:
    stubborn, tidy, slow = Stubborn(), Tidy(0.05), Tidy(FOREVER)
    async with WorkerPool(max_workers=3, shutdown_timeout=0.3, cancel_grace=0.2) as pool:
        handles: list[JobHandle[object]] = [await pool.submit(job) for job in (stubborn, tidy, slow, tidy)]
        await pool.aclose()
        assert balanced(pool)
    assert [handle.state.value for handle in handles] == ["abandoned", "cancelled", "abandoned", "cancelled"]
    assert (tidy.started, tidy.tidied) == (1, True)
    assert slow.cancellations == 1, "the job is given up, not cancelled again"
    assert adds_up(pool.report)
    await stubborn.release()
    for task in asyncio.all_tasks():
        if task.get_name() == handles[2].name:
            task.cancel()
    await turns(10)
    assert pool.stats().strays == 0


async def test_a_job_that_is_already_over_its_deadline_is_not_cancelled_a_second_time() -> None:
    loop = asyncio.get_running_loop()
    job, tidy = Stubborn(), Tidy(0.2)
    async with WorkerPool(shutdown_timeout=0.5, cancel_grace=0.3) as pool:
        stubborn = await pool.submit(job, timeout=0.1)
        late = await pool.submit(tidy, deadline=loop.time() + 0.1)
        await pool.aclose()
    assert job.cancellations == 1
    assert (tidy.cancellations, tidy.tidied) == (1, True)
    with pytest.raises(JobTimeout) as abandoned:
        await stubborn
    assert abandoned.value.abandoned
    with pytest.raises(JobTimeout) as caught:
        await late
    assert not caught.value.abandoned
    await job.release()


async def test_a_job_that_its_handle_has_cancelled_is_not_cancelled_a_second_time() -> None:
    tidy = Tidy(0.2)
    async with WorkerPool(shutdown_timeout=0.3, cancel_grace=0.25) as pool:
        handle = await pool.submit(tidy)
        await turns()
        handle.cancel()
        await pool.aclose()
    assert (tidy.cancellations, tidy.tidied) == (1, True)
    with pytest.raises(JobCancelled) as caught:
        await handle
    assert caught.value.reason == "cancel"


async def test_a_deadline_does_not_disturb_a_job_that_cleans_up() -> None:
    tidy = Tidy(0.2)
    async with WorkerPool(shutdown_timeout=0.4, cancel_grace=0.3) as pool:
        handle = await pool.submit(tidy, timeout=0.15)
        await pool.aclose()
    assert (tidy.cancellations, tidy.tidied) == (1, True)
    assert handle.state is JobState.CANCELLED


async def test_a_job_that_has_not_taken_its_first_step_is_cancelled_and_accounted_for() -> None:
    job = Tidy(0)
    pool = WorkerPool()
    with pytest.raises(asyncio.CancelledError):
        async with pool:
            handle = await pool.submit(job)
            raise asyncio.CancelledError
    assert handle.state is JobState.CANCELLED
    assert job.started == job.cancellations
    assert adds_up(pool.report)


async def test_the_pool_says_that_it_is_cancelling() -> None:
    gate = Gate()

    async def look() -> None:
        try:
            await gate()
        finally:
            states.append(pool.state)

    states: list[PoolState] = []
    async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.05) as pool:
        await pool.submit(look)
        await pool.aclose()
    assert states == [PoolState.CANCELLING]


async def test_whoever_awaits_a_handle_or_a_run_hears_that_the_job_was_cancelled_and_is_not_cancelled_himself() -> None:
    async with WorkerPool(max_workers=1, shutdown_timeout=0.1, cancel_grace=0.1) as pool:
        handle = await pool.submit(sleep, FOREVER)
        awaiting = asyncio.ensure_future(handle)
        running = asyncio.create_task(pool.run(sleep, FOREVER))
        await turns()
        await pool.aclose()
    for error in await asyncio.gather(awaiting, running, return_exceptions=True):
        assert type(error) is JobCancelled
        assert error.reason == "shutdown"
    assert not awaiting.cancelled()
    assert not running.cancelled()


async def test_a_job_that_once_swallowed_a_cancellation_of_its_own_is_cancelled_like_any_other(clock: Clock) -> None:
    told = []

    async def with_a_timeout_as_in_the_old_days() -> None:
        me = asyncio.current_task()
        assert me is not None
        asyncio.get_running_loop().call_later(0.05, me.cancel)
        with contextlib.suppress(asyncio.CancelledError):  # and nobody calls uncancel()
            await asyncio.sleep(FOREVER)
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            told.append(clock.shows(0.2))
            raise

    async with WorkerPool(shutdown_timeout=0.4, cancel_grace=0.2) as pool:
        handle = await pool.submit(with_a_timeout_as_in_the_old_days)
        await asyncio.sleep(0.1)
        clock.start()
    assert told == [True]
    assert handle.state is JobState.CANCELLED
