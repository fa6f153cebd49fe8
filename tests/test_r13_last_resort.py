"""R13, if weirpool itself has a bug: the pool is closed in time all the same, and nobody is left waiting.

Each test plants a bug. `tests/proof/test_internal_faults.py` has a failure at each line instead.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import FOREVER, Clock, Gate, Stubborn, adds_up, balanced, echo, sleep, turns
from weirpool import JobCancelled, JobState, PoolClosed, PoolState, WorkerPool, _closing
from weirpool._admission import Admission
from weirpool._closing import Closing
from weirpool._crew import Crew
from weirpool._job import Job
from weirpool._lifecycle import Ledger
from weirpool._queue import JobQueue
from weirpool.testing import DeterministicLoop, run

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.complains

SURE = 0.011
"""How long the last resort waits to be sure that closing has come to a standstill."""


class Bug(Exception):
    """What a bug in weirpool raises."""


@pytest.fixture
async def raised() -> list[BaseException]:
    """Return what the loop's exception handler is told from now on."""
    errors: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["exception"]))
    return errors


def plant(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, *, after: bool = False, times: int = 1) -> None:
    """Have a method or function raise, the first few times that it is called; after it has done its work or instead."""
    method: Callable[..., Any] = getattr(owner, name)
    left = times

    def fails(*args: Any, **options: Any) -> Any:
        nonlocal left
        if not left:
            return method(*args, **options)
        left -= 1
        if after:
            method(*args, **options)
        raise Bug(name)

    monkeypatch.setattr(owner, name, fails)


def confessions(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the pool has logged of its own bugs."""
    return [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]


@pytest.mark.parametrize("name", ["escalate", "_halfway", "_give_up", "_close", "_wake"])
async def test_the_pool_is_closed_in_time_if_a_step_of_closing_fails(
    monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
    raised: list[BaseException],
    name: str,
) -> None:
    plant(monkeypatch, Closing, name)
    job = Stubborn()
    pool = WorkerPool(max_workers=1, shutdown_timeout=0.4, cancel_grace=0.2)
    await pool.__aenter__()
    running, queued = await pool.submit(job), await pool.submit(echo, 1)
    clock.start()
    report = await pool.aclose()
    assert clock.passed <= 0.4 + SURE + clock.tolerance
    assert pool.state is PoolState.CLOSED
    assert (running.state, queued.state) == (JobState.ABANDONED, JobState.CANCELLED)
    assert adds_up(report)
    assert balanced(pool)
    assert pool.report is report
    assert [type(error) for error in raised] == [Bug]
    await job.release()
    assert pool.stats().strays == 0


async def test_jobs_that_a_bug_has_kept_from_being_cancelled_are_cancelled_at_last(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, raised: list[BaseException]
) -> None:
    plant(monkeypatch, Crew, "cancel_all")
    pool = WorkerPool(shutdown_timeout=0.4, cancel_grace=0.2)
    await pool.__aenter__()
    handle = await pool.submit(sleep, FOREVER)
    clock.start()
    report = await pool.aclose()
    assert clock.shows(0.4)
    assert handle.state is JobState.ABANDONED
    assert [stray.id for stray in report.strays] == [handle.id]
    await turns()
    assert pool.stats().strays == 0
    assert len(raised) == 1


async def test_a_job_that_is_lost_on_its_way_from_the_queue_to_its_place_ends_with_the_pool(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plant(monkeypatch, JobQueue, "take", after=True)
    pool = WorkerPool(max_workers=1)
    await pool.__aenter__()
    first, lost = await pool.submit(echo, 1), await pool.submit(echo, 2)
    with pytest.raises(JobCancelled, match="shutdown"):
        await lost
    assert await first == 1
    report = await pool.aclose()
    assert (report.succeeded, report.cancelled_queued, report.accepted) == (1, 1, 2)
    assert ["failed from within" in text for text in confessions(caplog)] == [True, False]
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("after", [False, True])
async def test_a_job_whose_end_fails_ends_and_the_others_are_cancelled_at_once(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, after: bool
) -> None:
    gate = Gate()
    pool = WorkerPool(max_workers=2)
    await pool.__aenter__()
    handles = [await pool.submit(echo, 1), await pool.submit(gate), await pool.submit(gate)]
    plant(monkeypatch, Ledger, "end", after=after)
    clock.start()
    waits = await asyncio.gather(*handles, return_exceptions=True)
    await turns()
    assert clock.shows(0)
    assert pool.state is PoolState.CLOSED
    assert handles[1].state is JobState.CANCELLED
    assert handles[2].done()
    assert handles[0].state in ({JobState.SUCCEEDED} if after else {JobState.CANCELLED, JobState.FAILED})
    assert waits[0] == 1 if after else isinstance(waits[0], asyncio.InvalidStateError)
    assert balanced(pool)
    assert adds_up(pool.report)
    with pytest.raises(PoolClosed):
        await pool.submit(echo, 1)


async def test_a_job_whose_end_is_only_half_in_the_books_keeps_its_outcome_and_the_books_balance(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    end, job = Ledger.end, Stubborn()

    def ends_half_way(self: Ledger, job: Any, to: JobState, outcome: Any) -> None:
        monkeypatch.setattr(Ledger, "end", end)
        job.outcome, job.status = outcome, to
        raise Bug

    pool = WorkerPool(max_workers=2, cancel_grace=0.2)
    await pool.__aenter__()
    half, stubborn = await pool.submit(echo, 1), await pool.submit(job)
    monkeypatch.setattr(Ledger, "end", ends_half_way)
    clock.start()
    assert await half == 1
    await stubborn.wait()
    report = await pool.aclose()
    assert clock.passed <= 0.2 + SURE + clock.tolerance
    assert await half == 1
    assert (report.accepted, report.abandoned, len(report.strays)) == (2, 2, 1)
    assert balanced(pool)
    await job.release()
    assert pool.stats().strays == 0


async def test_a_submission_that_fails_half_way_is_in_the_report_as_abandoned(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    pool = WorkerPool(shutdown_timeout=0.4, cancel_grace=0.2)
    await pool.__aenter__()
    plant(monkeypatch, Crew, "begin")
    with pytest.raises(Bug):
        await pool.submit(echo, 1)
    assert await pool.run(echo, 2) == 2
    clock.start()
    report = await pool.aclose()
    assert clock.passed <= 0.4 + clock.tolerance
    assert (report.accepted, report.succeeded, report.cancelled + report.abandoned) == (2, 1, 1)
    assert "ends 1 jobs" in confessions(caplog)[0]


async def test_submitters_that_wait_are_turned_away_by_the_last_resort(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, raised: list[BaseException]
) -> None:
    job = Stubborn()
    pool = WorkerPool(max_workers=1, queue_size=0, submit_timeout=None, shutdown_timeout=0.4, cancel_grace=0.2)
    await pool.__aenter__()
    handle = await pool.submit(job)
    waiting = asyncio.create_task(pool.submit(echo, 1))
    await turns()
    plant(monkeypatch, Admission, "close")
    with pytest.raises(Bug):
        await pool.aclose()
    plant(monkeypatch, Closing, "escalate")
    clock.start()
    await asyncio.wait([waiting])
    assert 0.4 <= clock.passed <= 0.4 + SURE + clock.tolerance
    assert isinstance(waiting.exception(), PoolClosed)
    assert pool.state is PoolState.CLOSED
    assert handle.state is JobState.ABANDONED
    assert balanced(pool)
    assert not raised
    await job.release()


async def test_a_caller_of_aclose_that_gets_a_bug_may_call_it_again(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    pool = WorkerPool()
    await pool.__aenter__()
    handle = await pool.submit(sleep, 0.1)
    plant(monkeypatch, Closing, "close_intake")
    with pytest.raises(Bug):
        await pool.aclose()
    clock.start()
    report = await pool.aclose()
    assert clock.shows(0.1)
    assert handle.state is JobState.SUCCEEDED
    assert report.drained == 1


async def test_the_tightest_bound_counts_for_the_last_resort_too(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, raised: list[BaseException]
) -> None:
    plant(monkeypatch, Closing, "escalate")
    pool = WorkerPool(shutdown_timeout=FOREVER, cancel_grace=0.2)
    await pool.__aenter__()
    await pool.submit(sleep, FOREVER)
    closers = [asyncio.create_task(pool.aclose(timeout=timeout)) for timeout in (None, 0.3, 100)]
    clock.start()
    await asyncio.wait(closers)
    assert 0.3 <= clock.passed <= 0.3 + SURE + clock.tolerance
    assert len(raised) == 1
    await turns()


async def test_a_closer_that_is_cancelled_waits_for_the_grace_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    plant(monkeypatch, Closing, "_alarm")
    job = Stubborn()
    pool = WorkerPool(shutdown_timeout=FOREVER, cancel_grace=0.2)
    await pool.__aenter__()
    await pool.submit(job)
    clock.start()
    with pytest.raises(Bug):
        await pool.aclose()
    closer = asyncio.create_task(pool.aclose())
    await turns()
    plant(monkeypatch, Crew, "cancel_all")
    closer.cancel()
    with pytest.raises((Bug, asyncio.CancelledError)):
        await closer
    await pool.aclose()
    assert clock.passed <= 0.2 + SURE + clock.tolerance
    await job.release()


async def test_a_job_that_can_not_be_ended_at_all_does_not_keep_the_others_from_it(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, raised: list[BaseException]
) -> None:
    end = Job.end

    def fails_for_one(self: Job, *args: Any) -> None:
        if self.label == "cursed":
            raise Bug
        end(self, *args)

    pool = WorkerPool(max_workers=1, shutdown_timeout=0.4, cancel_grace=0.2)
    await pool.__aenter__()
    handles = [await pool.submit(sleep, FOREVER, name=name) for name in ("a", "cursed", "c")]
    monkeypatch.setattr(Job, "end", fails_for_one)
    clock.start()
    report = await pool.aclose()
    assert clock.passed <= 0.4 + SURE + clock.tolerance
    assert [handle.done() for handle in handles] == [True, False, True]
    assert adds_up(report)
    assert balanced(pool)
    assert raised
    await turns()


async def test_if_not_even_the_last_resort_works_closing_raises_and_may_be_tried_again(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, raised: list[BaseException]
) -> None:
    plant(monkeypatch, _closing, "account", times=3)
    pool = WorkerPool(shutdown_timeout=0.4, cancel_grace=0.2)
    await pool.__aenter__()
    assert await pool.run(echo, 1) == 1
    for _ in range(2):
        clock.start()
        with pytest.raises(AssertionError):
            await pool.aclose()
        assert clock.passed <= 0.4 + SURE + clock.tolerance
    report = await pool.aclose()
    assert clock.passed <= 2 * (0.4 + SURE) + clock.tolerance
    assert report.succeeded == 1
    assert len(raised) == 3


async def test_a_logging_handler_that_raises_does_not_keep_the_pool_from_closing(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, raised: list[BaseException]
) -> None:
    def refuses(record: logging.LogRecord) -> bool:
        raise OSError(record)

    plant(monkeypatch, Closing, "escalate")
    pool = WorkerPool(shutdown_timeout=0.4, cancel_grace=0.2)
    await pool.__aenter__()
    await pool.submit(sleep, FOREVER)
    log = logging.getLogger("weirpool.pool")
    log.addFilter(refuses)
    try:
        clock.start()
        await pool.aclose()
    finally:
        log.removeFilter(refuses)
    assert 0.4 <= clock.passed <= 0.4 + SURE + clock.tolerance
    assert len(raised) == 1
    await turns()


@pytest.mark.parametrize("grace", [0.0, 0.05])
@pytest.mark.parametrize("stall", [0.0, 1.0])
def test_a_loop_that_is_late_is_no_bug(caplog: pytest.LogCaptureFixture, grace: float, stall: float) -> None:
    """Each turn of it takes longer than the last resort waits, or it stands still for longer than the whole budget."""

    async def tidies() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.001)

    async def close(fn: Callable[[], Any] | None, timeout: float) -> None:
        loop = DeterministicLoop.running()

        def hog() -> None:
            loop.block(0.02)
            if pool.state is not PoolState.CLOSED:
                loop.call_soon(hog)

        async with WorkerPool(shutdown_timeout=FOREVER, cancel_grace=grace) as pool:
            if fn is not None:
                await pool.submit(fn)
            if stall:
                loop.call_later(timeout / 2, loop.block, stall)
            else:
                loop.call_soon(hog)
            assert adds_up(await pool.aclose(timeout=timeout))

    for timeout in range(0, 300, 5):
        for fn in (None, tidies, lambda: asyncio.sleep(0.1), lambda: echo(1)):
            result = run(lambda fn=fn, timeout=timeout: close(fn, timeout / 1000))  # type: ignore[misc]
            assert result.error is None
    assert not confessions(caplog)
