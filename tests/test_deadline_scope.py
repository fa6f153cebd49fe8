"""A deadline for code whose jobs have to keep to it: `deadline_scope` (R6)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support import FOREVER, Clock, Gate, sleep
from weirpool import JobTimeout, WorkerPool, current_job, deadline_scope, remaining


async def left() -> float | None:
    return remaining()


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_a_job_that_is_submitted_in_the_block_gets_no_more_time_than_that(clock: Clock) -> None:
    async with WorkerPool() as pool:
        clock.start()
        with deadline_scope(now() + 2):
            handle = await pool.submit(sleep, FOREVER)
            with pytest.raises(JobTimeout) as caught:
                await pool.run(sleep, FOREVER, timeout=5)
        assert clock.shows(2)
        assert caught.value.phase == "running"
        with pytest.raises(JobTimeout):
            await handle


async def test_time_in_the_queue_counts() -> None:
    async with WorkerPool(max_workers=1) as pool:
        gate = Gate()
        await pool.submit(gate)
        with deadline_scope(now() + 1), pytest.raises(JobTimeout) as caught:
            await pool.run(sleep, 0)
        assert caught.value.phase == "queued"
        gate.open()


async def test_the_tightest_deadline_counts(clock: Clock) -> None:
    async with WorkerPool(job_timeout=9) as pool:
        for scope, timeout, deadline, expected in [(2, 3, 4, 2), (3, 2, 4, 2), (4, 3, 2, 2), (FOREVER, None, None, FOREVER)]:
            with deadline_scope(now() + scope):
                job = pool.run(left, timeout=timeout, deadline=None if deadline is None else now() + deadline)
                assert await job == pytest.approx(expected, abs=clock.tolerance)


async def test_remaining_says_what_is_left_of_it_outside_of_any_job(clock: Clock) -> None:
    assert remaining() is None
    with deadline_scope(now() + 2):
        assert remaining() == pytest.approx(2, abs=clock.tolerance)
        await asyncio.sleep(1)
        assert remaining() == pytest.approx(1, abs=clock.tolerance)
        await asyncio.sleep(3)
        assert remaining() == 0
    assert remaining() is None


async def test_a_block_within_another_makes_it_only_tighter(clock: Clock) -> None:
    with deadline_scope(now() + 2):
        with deadline_scope(now() + 5):
            assert remaining() == pytest.approx(2, abs=clock.tolerance)
        with deadline_scope(now() + 1):
            assert remaining() == pytest.approx(1, abs=clock.tolerance)
        assert remaining() == pytest.approx(2, abs=clock.tolerance)


async def test_none_lets_jobs_outlive_what_submits_them() -> None:
    async with WorkerPool() as pool:
        with deadline_scope(now() + 2), deadline_scope(None):
            assert remaining() is None
            assert await pool.run(left) is None
        with deadline_scope(None), deadline_scope(now() + 2):
            assert remaining() is not None


async def test_a_job_keeps_to_its_own_deadline_too_whatever_the_block_says(clock: Clock) -> None:
    async with WorkerPool() as pool:

        async def parent(deadline: float | None) -> Any:
            with deadline_scope(deadline):
                assert current_job() is not None
                return remaining(), await pool.run(left)

        for deadline, expected in [(now() + 9, 3), (None, 3), (now() + 1, 1)]:
            outside, inside = await pool.run(parent, deadline, timeout=3)
            assert outside == pytest.approx(expected, abs=clock.tolerance)
            assert inside == pytest.approx(expected, abs=clock.tolerance)


async def test_a_job_in_the_block_lends_its_place_while_it_waits_for_its_own_pool() -> None:
    """R9."""
    async with WorkerPool(max_workers=1, queue_size=1) as pool:

        async def parent() -> Any:
            with deadline_scope(now() + 60):
                return await pool.run(sleep, 0, "child"), await (await pool.submit(sleep, 0, "another"))

        assert await pool.run(parent) == ("child", "another")


async def test_a_pool_is_not_closed_from_a_block_in_one_of_its_jobs() -> None:
    """R15."""
    async with WorkerPool() as pool:

        async def parent() -> None:
            with deadline_scope(now() + 60):
                await pool.aclose()

        with pytest.raises(RuntimeError, match="would wait for itself"):
            await pool.run(parent)


async def test_tasks_that_the_block_starts_keep_to_it_and_what_comes_after_it_does_not(clock: Clock) -> None:
    async with WorkerPool() as pool:
        with deadline_scope(now() + 2):
            task = asyncio.create_task(pool.run(left))
        assert await task == pytest.approx(2, abs=clock.tolerance)
        assert await pool.run(left) is None


async def test_a_job_of_the_block_that_waited_does_not_extend_it(clock: Clock) -> None:
    """What the job itself submits inherits the deadline from it."""
    async with WorkerPool(max_workers=2) as pool:
        with deadline_scope(now() + 2):
            handle = await pool.submit(pool.run, left)
        assert await handle == pytest.approx(2, abs=clock.tolerance)


def test_on_another_loop_which_has_another_clock_it_does_not_count() -> None:
    async def other() -> tuple[float | None, float | None]:
        async with WorkerPool() as pool:
            return remaining(), await pool.run(left)

    async def main() -> None:
        import contextvars

        with deadline_scope(now() + 60):
            context = contextvars.copy_context()
        loop = asyncio.new_event_loop()
        try:
            inside = await asyncio.to_thread(context.run, loop.run_until_complete, other())
        finally:
            loop.close()
        assert inside[1] is None

    asyncio.run(main())


def test_it_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError, match="needs a running event loop"), deadline_scope(1.0):
        pass


async def test_bad_deadlines_are_refused() -> None:
    nonsense: Any
    for nonsense in ("soon", float("nan"), float("inf"), True, now() + 1e12):
        with pytest.raises((TypeError, ValueError), match="deadline must be a finite loop time"), deadline_scope(nonsense):
            pass
    assert remaining() is None
