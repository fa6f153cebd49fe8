"""An InlinePool runs each job before `submit` returns, one at a time, and is the real pool in all else."""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import Gate, adds_up, echo, fail, sleep, turns
from weirpool import JobCancelled, JobState, JobTimeout, PoolClosed, WorkerPool, current_job
from weirpool.policies import Retry
from weirpool.testing import DeterministicLoop, InlinePool, Submitted, explore

if TYPE_CHECKING:
    from tests.support import Clock


async def test_submit_returns_when_the_job_has_ended() -> None:
    async with InlinePool() as pool:
        handle = await pool.submit(echo, 5)
        assert handle.done()
        assert await handle == 5
        assert await pool.run(echo, 6) == 6
    assert adds_up(pool.report)


async def test_it_is_a_worker_pool() -> None:
    async def takes_a_pool(pool: WorkerPool) -> int:
        handle = await pool.submit(sleep, 1, 3)
        four: int = await pool.run(sleep, 1, 4, timeout=5, name="four")
        three: int = await handle
        return three + four

    async with InlinePool(name="inline") as pool:
        assert await takes_a_pool(pool) == 7
        stats = pool.stats()
        assert (stats.name, stats.accepted, stats.succeeded, stats.queued, stats.running) == ("inline", 2, 2, 0, 0)
        assert pool.submitted[1].handle.name == "four"


async def test_what_a_job_raises_is_in_its_handle_and_run_raises_it() -> None:
    async with InlinePool() as pool:
        handle = await pool.submit(fail, ValueError("no"))
        assert handle.state is JobState.FAILED
        with pytest.raises(ValueError, match="no"):
            await handle
        with pytest.raises(ValueError, match="yes"):
            await pool.run(fail, ValueError("yes"))


@pytest.mark.complains
async def test_a_failure_that_nobody_looks_at_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with InlinePool() as pool:
        await pool.submit(fail, ValueError("no"))
        pool._submitted.clear()
        assert "failed and nobody asked why" in caplog.text


async def test_jobs_of_several_submitters_run_one_at_a_time_in_the_order_in_which_they_were_submitted() -> None:
    order: list[str] = []

    async def job(name: str) -> None:
        order.append(f"{name} begins")
        await asyncio.sleep(1)
        order.append(f"{name} ends")

    async with InlinePool(max_workers=10) as pool:
        await asyncio.gather(*(pool.submit(job, name) for name in "abc"))
    assert order == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends"]


async def test_submit_nowait_leaves_a_job_for_later_ahead_of_those_that_are_submitted_after_it() -> None:
    order: list[int] = []

    async def job(number: int) -> None:
        order.append(number)

    async with InlinePool(queue_size=0) as pool:
        handles = [pool.submit_nowait(job, number) for number in range(100)]
        assert order == []
        await pool.submit(job, 100)
        assert order == list(range(101))
        pool.submit_nowait(job, 101)
        await pool.wait_idle()
        assert order[-1] == 101
    assert all(handle.done() for handle in handles)
    assert [it.handle for it in pool.submitted[:100]] == handles


async def test_what_was_submitted_is_recorded_with_its_arguments_and_options_parents_first() -> None:
    async def parent(pool: WorkerPool) -> None:
        await pool.submit(echo, "child", timeout=3)

    async with InlinePool() as pool:
        handle = await pool.submit(parent, pool, name="the parent")
        with pytest.raises(ValueError):
            await pool.submit(echo, 1, timeout=-1)
        await pool.run(echo, 2, timeout=None, priority=1)
    first, second, third = pool.submitted
    assert first == Submitted(parent, (pool,), {"name": "the parent"}, handle)
    assert (second.fn, second.args, second.options) == (echo, ("child",), {"timeout": 3})
    assert (third.fn, third.args, third.options) == (echo, (2,), {"timeout": None, "priority": 1}), "not what run() adds"


async def test_a_job_that_submits_another_waits_for_its_end() -> None:
    order: list[str] = []

    async def job(pool: WorkerPool, depth: int) -> None:
        order.append(f"down {depth}")
        if depth:
            handle = await pool.submit(job, pool, depth - 1, key="the same")
            assert handle.done()
        order.append(f"up {depth}")

    async with InlinePool() as pool:
        await pool.submit(job, pool, 3, key="the same")
    assert order == ["down 3", "down 2", "down 1", "down 0", "up 0", "up 1", "up 2", "up 3"]


async def test_a_job_has_a_task_a_context_and_a_deadline_of_its_own(clock: Clock) -> None:
    variable = contextvars.ContextVar("variable", default=0)

    async def job() -> Any:
        variable.set(variable.get() + 1)
        return variable.get(), asyncio.current_task(), current_job()

    async with InlinePool(job_timeout=0.2) as pool:
        variable.set(5)
        handle = await pool.submit(job)
        assert variable.get() == 5
        value, task, job_of_it = await handle
        assert value == 6
        assert task is not asyncio.current_task()
        assert job_of_it is handle
        clock.start()
        late = await pool.submit(sleep, 10)
        assert clock.shows(0.2)
        with pytest.raises(JobTimeout):
            await late
        with pytest.raises(JobTimeout):
            await pool.run(sleep, 10, timeout=0.1)


async def test_cancelling_submit_cancels_the_job_and_waits_for_it() -> None:
    gate, cleaned = Gate(), asyncio.Event()

    async def job() -> None:
        try:
            await gate()
        finally:
            await asyncio.sleep(0.1)
            cleaned.set()

    async with InlinePool() as pool:
        for submit in (pool.submit, pool.run):
            cleaned.clear()
            task = asyncio.create_task(submit(job))
            await turns()
            assert gate.inside == 1
            task.cancel()
            await turns()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert cleaned.is_set()
    assert [it.handle.state for it in pool.submitted] == [JobState.CANCELLED] * 2


async def test_a_timeout_around_submit_is_that_timeout() -> None:
    async with InlinePool() as pool:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await pool.submit(sleep, 10)
        assert pool.submitted[0].handle.state is JobState.CANCELLED


async def test_a_job_that_is_cancelled_by_somebody_else_ends_submit_without_cancelling_it() -> None:
    async with InlinePool() as pool:
        task = asyncio.create_task(pool.submit(sleep, 10))
        await turns()
        pool.submitted[0].handle.cancel()
        with pytest.raises(JobCancelled):
            await (await task)


async def test_submissions_that_share_a_job_share_it_until_the_last_of_them_is_cancelled() -> None:
    async with InlinePool() as pool:
        one, two = (asyncio.create_task(pool.submit(sleep, 10, key="a", coalesce=True)) for _ in range(2))
        await turns()
        first, second = pool.submitted
        assert first.handle is second.handle
        one.cancel()
        await asyncio.wait([one])
        assert not first.handle.done()
        two.cancel()
        await asyncio.wait([two])
        assert first.handle.state is JobState.CANCELLED


async def test_a_job_that_joins_itself_gets_its_handle_at_once() -> None:
    async def job(pool: WorkerPool) -> None:
        joined = await pool.submit(job, pool, key="a", coalesce=True)
        assert joined is current_job()
        assert not joined.done()

    async with InlinePool() as pool:
        await (await pool.submit(job, pool, key="a", coalesce=True))


async def test_retries_are_made_before_submit_returns() -> None:
    attempts = iter([ValueError(), None])

    async def job() -> str:
        error = next(attempts)
        if error is not None:
            raise error
        return "at last"

    async with InlinePool() as pool:
        handle = await pool.submit(job, retry=Retry(attempts=3))
        assert handle.result() == "at last"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"max_workers": 0}, ValueError, "max_workers must be an int of at least 1"),
        ({"queue_size": -1}, ValueError, "queue_size must be"),
        ({"overload": "hope"}, ValueError, "overload must be"),
        ({"min_workers": 5, "max_workers": 2}, ValueError, "min_workers must be at most max_workers"),
        ({"name": 5}, TypeError, "name must be"),
        ({"workers": 5}, TypeError, "unexpected keyword argument 'workers'"),
    ],
)
def test_options_are_checked_as_those_of_the_pool_that_it_stands_for(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        InlinePool(**options)


async def test_submissions_are_checked_and_refused_and_not_recorded() -> None:
    pool = InlinePool()
    with pytest.raises(RuntimeError, match="needs a pool that was entered"):
        await pool.submit(echo, 1)
    async with pool:
        with pytest.raises(TypeError, match="pass the function and its arguments"):
            await pool.submit(echo(1))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="timeout must be"):
            pool.submit_nowait(echo, 1, timeout=float("nan"))
        with pytest.raises(TypeError, match="tmeout"):
            await pool.submit(echo, 1, tmeout=5)  # type: ignore[call-arg]
    with pytest.raises(PoolClosed):
        await pool.submit(echo, 1)
    assert pool.submitted == ()


async def test_resizing_checks_the_numbers_and_changes_nothing() -> None:
    async with InlinePool(min_workers=2, max_workers=8) as pool:
        await pool.resize(max_workers=4)
        assert pool.stats().max_workers == 1
        with pytest.raises(ValueError, match="at most max_workers"):
            await pool.resize(min_workers=5)
        with pytest.raises(ValueError, match="max_workers must be"):
            await pool.resize(max_workers=0)
        with pytest.raises(TypeError, match="needs min_workers"):
            await pool.resize()
    with pytest.raises(PoolClosed):
        await pool.resize(max_workers=4)


async def test_while_it_is_paused_submit_waits() -> None:
    async with InlinePool(submit_timeout=0) as pool:
        pool.pause()
        task = asyncio.create_task(pool.submit(echo, 1))
        await turns()
        assert not task.done()
        pool.resume()
        assert (await task).result() == 1


@pytest.mark.complains
def test_on_every_schedule_a_job_has_ended_when_submit_returns() -> None:
    async def main() -> None:
        running = 0

        async def job() -> None:
            nonlocal running
            running += 1
            assert running == 1
            try:
                await asyncio.sleep(1)
            finally:
                running -= 1

        async def submitter(pool: WorkerPool) -> None:
            with suppress(PoolClosed):  # as main was cancelled
                assert (await pool.submit(job)).done()

        assert isinstance(asyncio.get_running_loop(), DeterministicLoop)
        async with InlinePool() as pool:
            await asyncio.wait([asyncio.create_task(submitter(pool)) for _ in range(3)])
        assert adds_up(pool.report)

    # RuntimeError: whoever is cancelled while it opens a pool is told that it is not open.
    explore(main, tolerate=(PoolClosed, RuntimeError), seeds=20)
