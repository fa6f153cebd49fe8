"""R14: `aclose()` returns a `ShutdownReport` that accounts for every job, names what still runs, and adds up (R1)."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import typing
from typing import TYPE_CHECKING

import pytest

from tests.support import FOREVER, Clock, Gate, Stubborn, adds_up, echo, fail, refusals, sleep, turns
from weirpool import PoolClosed, PoolOverloaded, ShutdownReport, WorkerPool
from weirpool.events import Stray

if TYPE_CHECKING:
    from collections.abc import Iterable


def line_of(source: str) -> str:
    """Return "file:line" of the only line in this file that ends in `source`."""
    with open(__file__) as file:  # noqa: PTH123
        (number,) = (number for number, line in enumerate(file, 1) if line.rstrip().endswith(source) and "line_of" not in line)
    return f"{__file__}:{number}"


async def test_the_report_of_a_pool_that_did_nothing_is_all_zeros() -> None:
    async with WorkerPool(name="idle") as pool:
        report = await pool.aclose()
    assert report == ShutdownReport(
        pool="idle",
        accepted=0,
        succeeded=0,
        failed=0,
        timed_out=0,
        cancelled_queued=0,
        cancelled_running=0,
        abandoned=0,
        refused=refusals(),
        strays=(),
        drained=0,
        drain_seconds=0.0 if report.drain_seconds == 0 else report.drain_seconds,
        cancel_seconds=0.0,
    )


@pytest.mark.complains
async def test_the_report_counts_each_kind_of_end_and_its_numbers_add_up(clock: Clock) -> None:
    stubborn, gate = Stubborn(), Gate()
    async with WorkerPool(max_workers=4, queue_size=3, submit_timeout=0.01, shutdown_timeout=0.4, cancel_grace=0.1) as pool:
        handles = [await pool.submit(echo, i) for i in range(3)]
        handles += [await pool.submit(fail, KeyError(i)) for i in range(2)]
        await asyncio.gather(*(handle.wait() for handle in handles))
        late = await pool.submit(sleep, FOREVER, timeout=0.01)
        await late.wait()
        cancelled = await pool.submit(sleep, FOREVER)
        await turns()
        cancelled.cancel()
        await cancelled.wait()
        await pool.submit(stubborn)  # abandoned
        for _ in range(2):
            await pool.submit(gate)  # cancelled while running
        drained = await pool.submit(sleep, 0.05)  # drained, and so is the one in the queue that follows it
        for i in range(3):
            await pool.submit(sleep, 0.05 if i == 0 else FOREVER)  # then one is cancelled while running, one in the queue
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(echo, 1)
        with pytest.raises(PoolOverloaded):
            await pool.submit(echo, 1)
        clock.start()
        report = await pool.aclose()
        with pytest.raises(PoolClosed):
            pool.submit_nowait(echo, 1)
    assert report.accepted == 14
    assert report.succeeded == 3 + 2
    assert report.failed == 2
    assert report.timed_out == 1
    assert report.cancelled_queued == 1
    assert report.cancelled_running == 1 + 2 + 1
    assert report.cancelled == 5
    assert report.abandoned == 1
    assert report.drained == 2
    assert report.refused == refusals(full=1, timeout=1)
    assert report.drain_seconds == pytest.approx(0.3, abs=clock.tolerance)
    assert report.cancel_seconds == pytest.approx(0.1, abs=clock.tolerance)
    assert adds_up(report)
    assert drained.done()
    for handle in [*handles, late]:
        handle.exception()
    await stubborn.release()


@pytest.mark.complains
async def test_the_report_and_the_statistics_tell_the_same() -> None:
    stubborn = Stubborn()
    async with WorkerPool(max_workers=2, shutdown_timeout=0.1, cancel_grace=0.05) as pool:
        await pool.submit(stubborn)
        for _ in range(4):
            await pool.submit(echo, 1)
        await pool.submit(sleep, FOREVER)
        await pool.submit(sleep, FOREVER)
        report = await pool.aclose()
    stats = pool.stats()
    for name in ("accepted", "succeeded", "failed", "timed_out", "cancelled", "abandoned", "refused"):
        assert getattr(stats, name) == getattr(report, name), name
    assert stats.strays == len(report.strays)
    assert (stats.queued, stats.running, stats.waiting) == (0, 0, 0)
    assert stats.ended == stats.accepted == 7
    await stubborn.release()


async def test_pool_report_is_what_aclose_returned_and_none_before() -> None:
    async with WorkerPool() as pool:
        seen = [pool.report]
        closing = asyncio.create_task(pool.aclose())
        await asyncio.sleep(0)
        seen.append(pool.report)
        report = await closing
        seen.append(pool.report)
    seen.append(pool.report)
    assert seen[0] is seen[1] is None
    assert seen[2] is seen[3] is report


async def test_a_pool_that_was_closed_without_having_been_entered_has_a_report_too() -> None:
    pool = WorkerPool(name="unused")
    report = await pool.aclose()
    assert report.accepted == 0
    assert report.pool == "unused"
    assert pool.report == report


@pytest.mark.complains
async def test_each_job_that_still_runs_is_named_with_the_line_where_it_hangs() -> None:
    released = asyncio.Event()

    async def inner() -> None:
        while not released.is_set():
            try:
                await released.wait()  # hangs in here
            except asyncio.CancelledError:
                continue

    async def outer() -> None:
        await inner()  # called from here

    async with WorkerPool(shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        handle = await pool.submit(outer, name="delivery-7")
        for i in range(3):
            await pool.submit(echo, i)
        report = await pool.aclose()
    (stray,) = report.strays
    assert isinstance(stray, Stray)
    assert (stray.id, stray.name, stray.reason) == (handle.id, "delivery-7", "shutdown")
    called_from, hangs_in = stray.stack
    assert called_from.startswith(f"{line_of('# called from here')} in ")
    assert hangs_in.startswith(f"{line_of('# hangs in here')} in ")
    assert "outer" in called_from
    assert "inner" in hangs_in
    assert hangs_in in str(stray)
    assert "delivery-7" in str(stray)
    assert str(stray) in str(report)
    released.set()
    await turns()


@pytest.mark.complains
async def test_a_stray_says_why_it_was_to_end_and_for_how_long_it_has_been_running(clock: Clock) -> None:
    jobs = [Stubborn() for _ in range(3)]
    await asyncio.sleep(0.1)  # the loop's clock does not begin when a job does
    async with WorkerPool(shutdown_timeout=0.5, cancel_grace=0.1) as pool:
        await pool.submit(jobs[0], timeout=0.05)
        cancelled = await pool.submit(jobs[1])
        await pool.submit(jobs[2])
        await turns()
        cancelled.cancel()
        report = await pool.aclose()
    assert sorted((stray.id, stray.reason) for stray in report.strays) == [(1, "deadline"), (2, "cancel"), (3, "shutdown")]
    for stray in report.strays:
        assert stray.running_for == pytest.approx(0.5, abs=clock.tolerance)
    for job in jobs:
        await job.release()


@pytest.mark.complains
async def test_an_abandoned_job_that_has_ended_by_then_is_counted_and_not_named() -> None:
    job = Stubborn()
    async with WorkerPool(cancel_grace=0.05) as pool:
        handle = await pool.submit(job, timeout=0.05)
        await handle.wait()
        await job.release()
        report = await pool.aclose()
    assert (report.abandoned, report.strays) == (1, ())
    assert adds_up(report)


@pytest.mark.complains
async def test_the_report_is_the_truth_of_its_moment_and_does_not_change_later() -> None:
    job = Stubborn()
    async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.1) as pool:
        await pool.submit(job)
        report = await pool.aclose()
    text = str(report)
    await job.release()
    with pytest.raises(PoolClosed):
        pool.submit_nowait(echo, 1)
    assert pool.report is report
    assert str(report) == text
    assert report.refused["closed"] == 0
    assert pool.stats().refused["closed"] == 1


@pytest.mark.complains
async def test_jobs_that_ended_before_closing_or_after_being_cancelled_are_not_called_drained() -> None:
    async def saves() -> str:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            return "saved"
        return "never"

    async with WorkerPool(shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        assert await pool.run(echo, 1) == 1
        await pool.submit(saves)
        await pool.submit(sleep, 0.05)
        report = await pool.aclose()
    assert (report.succeeded, report.drained) == (3, 1)


async def test_jobs_that_end_between_close_intake_and_aclose_are_called_drained(clock: Clock) -> None:
    async with WorkerPool() as pool:
        assert await pool.run(echo, 1) == 1
        handle = await pool.submit(sleep, 0.1)
        pool.close_intake()
        await handle
        report = await pool.aclose()
    assert (report.succeeded, report.drained) == (2, 1)


async def test_the_drain_is_counted_from_the_first_who_closes(clock: Clock) -> None:
    async with WorkerPool() as pool:
        await pool.submit(sleep, 0.3)
        first = asyncio.create_task(pool.aclose())
        await asyncio.sleep(0.2)
        report = await pool.aclose()
        assert await first is report
    assert report.drain_seconds == pytest.approx(0.3, abs=clock.tolerance)


async def test_what_was_cancelled_is_the_sum_of_queued_and_running() -> None:
    report = await WorkerPool().aclose()
    assert dataclasses.replace(report, cancelled_queued=1, cancelled_running=2).cancelled == 3


def test_a_stray_whose_place_is_unknown_says_so() -> None:
    stray = Stray(id=1, name="deliver#1", reason="shutdown", running_for=1.5, stack=())
    assert str(stray) == "deliver#1 (running for 1.5 s, shutdown) at an unknown place"


async def test_a_report_is_frozen() -> None:
    async with WorkerPool() as pool:
        report = await pool.aclose()
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.accepted = 7  # type: ignore[misc]
    assert not hasattr(report, "__dict__")


def test_a_report_has_nothing_but_what_it_says_and_a_sum() -> None:
    names = {name for name in dir(ShutdownReport) if not name.startswith("_")}
    assert names == {field.name for field in dataclasses.fields(ShutdownReport)} | {"cancelled"}


async def test_a_report_has_the_types_that_it_declares() -> None:
    async with WorkerPool() as pool:
        await pool.run(echo, 1)
        report = await pool.aclose()
    hints = typing.get_type_hints(ShutdownReport)
    assert set(hints) == {field.name for field in dataclasses.fields(report)}
    for name in (
        "accepted",
        "succeeded",
        "failed",
        "timed_out",
        "cancelled_queued",
        "cancelled_running",
        "abandoned",
        "drained",
    ):
        assert hints[name] is int
        assert type(getattr(report, name)) is int
    assert type(report.drain_seconds) is type(report.cancel_seconds) is float
    assert type(report.strays) is tuple


def _numbers(text: str) -> Iterable[int]:
    return (int(word) for word in text.split() if word.isdigit())


async def test_the_text_of_a_report_is_a_sum_that_is_right() -> None:
    async with WorkerPool(name="webhooks") as pool:
        for i in range(3):
            await pool.submit(echo, i)
        failing = await pool.submit(fail, ValueError("mine"))
        report = await pool.aclose()
    failing.exception()
    text = str(report)
    assert text.startswith("pool 'webhooks' closed: 4 accepted = 3 succeeded + 1 failed")
    accepted, *ends = _numbers(text.partition("(")[0])
    assert accepted == sum(ends) == 4


async def test_the_report_is_logged_as_information_when_all_jobs_ended_by_themselves(caplog: pytest.LogCaptureFixture) -> None:
    async with WorkerPool() as pool:
        await pool.run(echo, 1)
    (record,) = [record for record in caplog.records if vars(record).get("event") == "weirpool.pool.closed"]
    assert record.levelno == logging.INFO
    assert record.getMessage() == str(pool.report)


@pytest.mark.complains
async def test_the_report_is_logged_once_as_a_warning_when_jobs_had_to_be_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.05) as pool:
        await pool.submit(sleep, FOREVER)
        await asyncio.gather(pool.aclose(), pool.aclose())
    (record,) = [record for record in caplog.records if vars(record).get("event") == "weirpool.pool.closed"]
    assert record.levelno == logging.WARNING
    assert record.getMessage() == str(pool.report)


async def test_a_pool_whose_report_cannot_be_logged_is_closed_all_the_same() -> None:
    def broken(record: logging.LogRecord) -> bool:
        raise OSError("no space left on device")

    logger = logging.getLogger("weirpool.pool")
    logger.addFilter(broken)
    try:
        async with WorkerPool() as pool:
            assert await pool.run(echo, 1) == 1
    finally:
        logger.removeFilter(broken)
    assert adds_up(pool.report)
