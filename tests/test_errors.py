"""Errors have one root, say what to do, keep what they know through copies and pickles, and name a time to try again."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import pickle
from typing import Any

import pytest

from tests.support import FOREVER, Gate, Stubborn, echo, sleep, turns
from weirpool import JobCancelled, JobTimeout, PoolClosed, PoolError, PoolOverloaded, WorkerPool

ERRORS: list[tuple[PoolError, dict[str, Any], str]] = [
    (PoolClosed("webhooks"), {"pool": "webhooks"}, "pool 'webhooks' takes no more jobs: its intake is closed"),
    (
        PoolOverloaded("webhooks", "full", depth=1000, limit=1000, retry_after=7),
        {"pool": "webhooks", "reason": "full", "depth": 1000, "limit": 1000, "waited": 0.0, "retry_after": 7},
        "pool 'webhooks' is full (1000 jobs may wait); try again in about 7 s",
    ),
    (
        PoolOverloaded("webhooks", "timeout", depth=0, limit=0, waited=1.5, retry_after=60),
        {"pool": "webhooks", "reason": "timeout", "depth": 0, "limit": 0, "waited": 1.5, "retry_after": 60},
        "pool 'webhooks' had no room for 1.5 s (0 jobs may wait); try again in about 60 s",
    ),
    (
        JobCancelled("deliver#7", "shutdown"),
        {"job": "deliver#7", "reason": "shutdown", "abandoned": False},
        "job 'deliver#7' was cancelled (shutdown)",
    ),
    (
        JobCancelled("deliver#7", "cancel", abandoned=True),
        {"job": "deliver#7", "reason": "cancel", "abandoned": True},
        "job 'deliver#7' was cancelled (cancel), did not end in its grace and was abandoned",
    ),
    (
        JobTimeout("deliver#7", 5, "running"),
        {"job": "deliver#7", "timeout": 5, "phase": "running", "abandoned": False},
        "job 'deliver#7' ran out of its 5 s while running",
    ),
    (
        JobTimeout("deliver#7", 0.25, "queued", abandoned=True),
        {"job": "deliver#7", "timeout": 0.25, "phase": "queued", "abandoned": True},
        "job 'deliver#7' ran out of its 0.25 s while queued, did not end in its grace and was abandoned",
    ),
]
each_error = pytest.mark.parametrize(("error", "attributes", "text"), ERRORS, ids=lambda value: getattr(value, "reason", None))


# The tree -------------------------------------------------------------------------------------------------------------


def test_all_errors_have_one_root_and_it_is_an_ordinary_exception() -> None:
    assert PoolError.__bases__ == (Exception,)
    for kind in (PoolClosed, PoolOverloaded, JobCancelled):
        assert kind.__bases__ == (PoolError,)
    assert JobTimeout.__bases__ == (PoolError, TimeoutError)


def test_a_job_that_timed_out_can_be_caught_as_any_other_timeout() -> None:
    assert issubclass(JobTimeout, TimeoutError)
    assert issubclass(JobTimeout, asyncio.TimeoutError)
    assert issubclass(JobTimeout, concurrent.futures.TimeoutError)


def test_a_cancelled_job_does_not_look_as_if_its_awaiter_was_cancelled() -> None:
    assert not issubclass(JobCancelled, asyncio.CancelledError)
    assert not issubclass(JobCancelled, concurrent.futures.CancelledError)
    assert issubclass(JobCancelled, Exception)


@each_error
def test_an_error_says_what_it_knows(error: PoolError, attributes: dict[str, Any], text: str) -> None:
    assert str(error) == text
    assert vars(error) == attributes
    assert error.args == (text,)
    assert type(error).__name__ in repr(error)


# Copies ---------------------------------------------------------------------------------------------------------------


@each_error
def test_an_error_survives_every_way_of_copying(error: PoolError, attributes: dict[str, Any], text: str) -> None:
    copies = [pickle.loads(pickle.dumps(error, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for twin in [*copies, copy.copy(error), copy.deepcopy(error), error.again()]:
        assert twin is not error
        assert type(twin) is type(error)
        assert str(twin) == text
        assert vars(twin) == attributes
        assert twin.args == error.args
        assert isinstance(twin, TimeoutError) == isinstance(error, TimeoutError)


def test_a_copy_has_a_life_of_its_own() -> None:
    error = JobTimeout("deliver#7", 5, "running")
    error.__cause__ = ValueError("why")
    twin = error.again()
    assert twin.__cause__ is error.__cause__
    try:
        raise twin
    except JobTimeout:
        twin.add_note("seen")
    assert error.__traceback__ is None
    assert not hasattr(error, "__notes__")


def test_copies_of_an_error_with_notes_do_not_share_them() -> None:
    error = JobCancelled("deliver#7", "cancel")
    error.add_note("from the job")
    for twin in (error.again(), copy.copy(error)):
        twin.add_note("from one awaiter")
        assert error.__notes__ == ["from the job"]


def test_an_error_of_a_subclass_keeps_what_that_added() -> None:
    class Mine(PoolOverloaded):
        def __init__(self, tenant: str) -> None:
            super().__init__("webhooks", "full", depth=3, limit=3)
            self.tenant = tenant

    twin = copy.copy(Mine("acme"))
    assert type(twin) is Mine
    assert (twin.tenant, twin.queue_size) == ("acme", 3)


async def test_awaiters_of_one_handle_get_errors_of_their_own() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(sleep, FOREVER, timeout=0.01)
        tasks = [asyncio.ensure_future(handle) for _ in range(2)]
        await asyncio.wait(tasks)
        first, second = (task.exception() for task in tasks)
    assert isinstance(first, JobTimeout)
    assert isinstance(second, JobTimeout)
    assert first is not second
    assert str(first) == str(second)


async def test_what_an_awaiter_was_handling_shows_in_the_error_that_it_gets() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(sleep, FOREVER, timeout=0.01)
        await handle.wait()
        with pytest.raises(JobTimeout) as caught:
            await handle
    assert caught.value.__cause__ is None
    assert not caught.value.__suppress_context__


async def test_errors_that_really_happened_can_be_sent_to_another_process() -> None:
    gate = Gate()
    errors: list[BaseException] = []

    async def collect(awaitable: Any) -> None:
        try:
            await awaitable
        except PoolError as error:
            errors.append(error)

    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=0.01) as pool:
        await collect(pool.run(sleep, FOREVER, timeout=0.01))
        await pool.submit(gate)
        handle = await pool.submit(echo, 1)
        await collect(pool.submit(echo, 1))
        handle.cancel()
        await collect(handle)
        gate.open()
    await collect(pool.submit(echo, 1))
    assert [type(error) for error in errors] == [JobTimeout, PoolOverloaded, JobCancelled, PoolClosed]
    for error in errors:
        twin = pickle.loads(pickle.dumps(error))
        assert (type(twin), str(twin), vars(twin)) == (type(error), str(error), vars(error))


# What they say of what happened ---------------------------------------------------------------------------------------


async def test_an_overloaded_pool_says_why_how_large_its_queue_is_and_how_long_one_has_waited() -> None:
    gate = Gate()
    await asyncio.sleep(0.3)  # the loop's clock does not begin when one begins to wait
    async with WorkerPool(max_workers=1, queue_size=2, submit_timeout=0.2, name="webhooks") as pool:
        for _ in range(3):
            await pool.submit(gate)
        with pytest.raises(PoolOverloaded) as at_once:
            pool.submit_nowait(echo, 1)
        with pytest.raises(PoolOverloaded) as later:
            await pool.submit(echo, 1)
        gate.open()
    assert vars(at_once.value) | {"retry_after": 0} == {
        "pool": "webhooks",
        "reason": "full",
        "depth": 2,
        "limit": 2,
        "waited": 0.0,
        "retry_after": 0,
    }
    assert later.value.reason == "timeout"
    assert later.value.waited == pytest.approx(0.2, abs=0.09)


async def test_a_submit_timeout_of_zero_is_full_at_once() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=0) as pool:
        await pool.submit(gate)
        with pytest.raises(PoolOverloaded) as caught:
            await pool.submit(echo, 1)
        gate.open()
    assert (caught.value.reason, caught.value.waited) == ("full", 0.0)


# Try again in ---------------------------------------------------------------------------------------------------------


async def retry_after(pool: WorkerPool) -> int:
    """Return when a pool that is full says to try again."""
    with pytest.raises(PoolOverloaded) as caught:
        pool.submit_nowait(echo, 1)
    assert type(caught.value.retry_after) is int
    assert 1 <= caught.value.retry_after <= 60
    return caught.value.retry_after


async def test_the_time_to_try_again_is_at_least_a_second() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        await pool.submit(gate)
        assert await retry_after(pool) == 1
        gate.open()


@pytest.mark.virtual
async def test_the_time_to_try_again_follows_the_rate_at_which_jobs_have_been_ending() -> None:
    for seconds_per_job, queued in ((1.0, 10), (0.5, 10), (2.0, 10), (1.0, 5), (0.1, 10), (1.0, 100)):
        async with WorkerPool(max_workers=1, queue_size=queued, submit_timeout=None, shutdown_timeout=FOREVER) as pool:

            async def keep_full(pool: WorkerPool = pool, seconds: float = seconds_per_job) -> None:
                while True:
                    await pool.submit(sleep, seconds)

            submitter = asyncio.create_task(keep_full())
            await asyncio.sleep(8.05)
            assert pool.stats().queued == queued
            expected = min(60, (queued + 2) * seconds_per_job)  # all that wait, the submitter in line, and me
            tolerance = 1 + 0.3 * expected if expected < 60 else 0
            assert await retry_after(pool) == pytest.approx(expected, abs=tolerance)
            submitter.cancel()
            await turns()
            pool.close_intake()


@pytest.mark.virtual
async def test_the_time_to_try_again_forgets_how_fast_it_once_was() -> None:
    pace = 0.1
    async with WorkerPool(max_workers=1, queue_size=4, submit_timeout=None, shutdown_timeout=FOREVER) as pool:

        async def keep_full() -> None:
            while True:
                await pool.submit(sleep, pace)

        submitter = asyncio.create_task(keep_full())
        for _ in range(40):
            await asyncio.sleep(1)
            fast = await retry_after(pool)
        pace = 4.0
        for _ in range(60):
            await asyncio.sleep(1)
            slow = await retry_after(pool)
        submitter.cancel()
        await turns()
    assert fast == 1
    assert slow == pytest.approx(6 * 4, rel=0.35)


@pytest.mark.virtual
async def test_the_time_to_try_again_does_not_count_the_time_before_the_pool_was_busy() -> None:
    async with WorkerPool(max_workers=1, queue_size=10, shutdown_timeout=FOREVER) as pool:
        await pool.run(echo, 1)
        await asyncio.sleep(8)
        for _ in range(11):
            await pool.submit(sleep, 0.5)
        await asyncio.sleep(2.1)
        for _ in range(4):
            await pool.submit(sleep, 0.5)
        assert await retry_after(pool) == 6  # eleven at two a second, me among them
        in_line = [asyncio.create_task(pool.submit(echo, n)) for n in range(3)]
        await turns()
        assert await retry_after(pool) == 8  # fourteen
        await asyncio.gather(*in_line)


@pytest.mark.virtual
async def test_the_time_to_try_again_grows_while_nothing_ends_at_all_and_is_never_more_than_a_minute() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=1) as pool:
        await pool.submit(gate)
        await pool.submit(gate)
        seen = []
        for _ in range(20):
            seen.append(await retry_after(pool))
            await asyncio.sleep(5)
        gate.open()
    assert seen == pytest.approx([max(1, min(60, 5 * number)) for number in range(20)], abs=1)


@pytest.mark.virtual
@pytest.mark.parametrize("busy", [3, 10.5, 47])
async def test_the_time_to_try_again_grows_steadily_when_jobs_stop_ending_and_recovers_when_they_go_on(busy: float) -> None:
    stopped = asyncio.Event()
    stopped.set()

    async def job() -> None:
        await asyncio.sleep(0.1)
        await stopped.wait()

    async with WorkerPool(max_workers=1, queue_size=4, submit_timeout=None, shutdown_timeout=FOREVER) as pool:

        async def keep_full() -> None:
            while True:
                await pool.submit(job)

        async def watch(seconds: int) -> list[int]:
            seen = []
            for _ in range(seconds):
                await asyncio.sleep(1)
                seen.append(await retry_after(pool))
            return seen

        submitter = asyncio.create_task(keep_full())
        await asyncio.sleep(busy % 1)
        assert set((await watch(int(busy)))[1:]) == {1}
        stopped.clear()
        seen = await watch(100)
        assert seen == sorted(seen), "it does not swing"
        assert all(seconds >= min(60, number - 12) for number, seconds in enumerate(seen)), "nor is it too sure"
        assert seen[80:] == [60] * 20
        stopped.set()
        assert (await watch(30))[-1] == 1
        submitter.cancel()
        await turns()


@pytest.mark.complains
async def test_the_time_to_try_again_is_known_to_a_pool_whose_jobs_are_all_abandoned() -> None:
    job, gate = Stubborn(), Gate()
    async with WorkerPool(max_workers=1, queue_size=0, cancel_grace=0.01) as pool:
        handle = await pool.submit(job, timeout=0.01)
        await handle.wait()
        await pool.submit(gate)
        assert await retry_after(pool) >= 1
        gate.open()
        await job.release()
