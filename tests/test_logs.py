"""Logs: each record has a stable event name and fields; what happens often is said seldom; no line per job."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from typing import Any

import pytest

from tests.support import Gate, Stubborn, echo, fail, sleep, turns
from weirpool import PoolOverloaded, WorkerPool
from weirpool.events import Observer
from weirpool.policies import Decision


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str]]:
    """Return what was logged: logger, level and event."""
    return [
        (record.name, record.levelname, vars(record).get("event", "?"))
        for record in caplog.records
        if record.name.startswith("weirpool.")
    ]


def fields(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    """Return what the records of an event say beside their message."""
    usual = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
    return [
        {key: value for key, value in vars(record).items() if key not in usual}
        for record in caplog.records
        if vars(record).get("event") == event
    ]


async def test_a_pools_life_is_two_lines_however_much_it_does(caplog: pytest.LogCaptureFixture) -> None:
    async with WorkerPool(max_workers=5, queue_size=7, name="a") as pool:
        for n in range(200):
            await pool.run(echo, n)
    assert said(caplog) == [
        ("weirpool.pool", "INFO", "weirpool.pool.opened"),
        ("weirpool.pool", "INFO", "weirpool.pool.closed"),
    ]
    assert fields(caplog, "weirpool.pool.opened") == [
        {"event": "weirpool.pool.opened", "pool": "a", "workers": 5, "queue_size": 7}
    ]
    (closed,) = fields(caplog, "weirpool.pool.closed")
    assert (closed["pool"], closed["accepted"], closed["succeeded"], closed["abandoned"]) == ("a", 200, 200, 0)


async def test_refusals_are_said_at_once_and_then_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, name="a", overload="reject") as pool:
        await pool.submit(gate)
        for _ in range(100):
            with pytest.raises(PoolOverloaded):
                await pool.submit(gate)
        (first,) = fields(caplog, "weirpool.submission.refused")
        assert (first["pool"], first["reason"], first["limit"], first["refusals"]) == ("a", "full", 0, 1)
        assert ("weirpool.admission", "WARNING", "weirpool.submission.refused") in said(caplog)
        gate.open()


@pytest.mark.virtual
async def test_how_many_were_refused_meanwhile_is_said_next_time(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, overload="reject") as pool:
        await pool.submit(gate)
        for pause in (9.0, 2.0, 0.0):
            for _ in range(5):
                with pytest.raises(PoolOverloaded):
                    await pool.submit(gate)
            await asyncio.sleep(pause)
        assert [refused["refusals"] for refused in fields(caplog, "weirpool.submission.refused")] == [1, 10]
        gate.open()


@pytest.mark.virtual
async def test_changes_of_size_are_said_and_those_of_a_policy_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    class Up:
        interval, on_submit, while_idle = 1.0, False, True

        def controller(self) -> Any:
            return self

        def decide(self, load: Any, /) -> Decision:
            return Decision(load.workers + 1, "more")

    async with WorkerPool(min_workers=1, max_workers=100, scaling=Up()) as pool:
        await pool.submit(sleep, 25)
        await pool.resize(max_workers=50)
        await pool.resize(max_workers=50, min_workers=5)
        await pool.wait_idle()
    resized = [(each["was"], each["now"], each["reason"], each["changes"]) for each in fields(caplog, "weirpool.pool.resized")]
    assert resized[0] == (1, 5, "resize", 1)
    assert [reason for _, _, reason, _ in resized[1:]] == ["more"] * (len(resized) - 1)
    assert 2 <= len(resized) <= 5
    assert sum(changes for *_, changes in resized) <= 27


@pytest.mark.complains
async def test_failures_strays_and_observers_that_raise_have_names_and_fields(caplog: pytest.LogCaptureFixture) -> None:
    class Raises(Observer):
        def job_accepted(self, event: object) -> None:
            raise RuntimeError

    stubborn = Stubborn()
    async with WorkerPool(cancel_grace=0.01, name="a") as pool:
        await (await pool.submit(fail, ValueError("no"), name="fails")).wait()
        job = await pool.submit(stubborn, name="hangs")
        await turns()
        job.cancel()
        await job.wait()
        await stubborn.release()
        await turns()
    async with WorkerPool(name="a", observers=[Raises()]) as pool:
        await pool.run(echo, 1)
    gc.collect()
    assert fields(caplog, "weirpool.job.failed") == [{"event": "weirpool.job.failed", "pool": "a", "job": "fails"}]
    assert fields(caplog, "weirpool.job.abandoned") == [
        {"event": "weirpool.job.abandoned", "pool": "a", "job": "hangs", "job_id": 2, "reason": "cancel"}
    ]
    (dropped,) = fields(caplog, "weirpool.observer.dropped")
    assert (dropped["pool"], dropped["hook"]) == ("a", "job_accepted")
    assert dropped["observer"].endswith("Raises")


@pytest.mark.complains
async def test_a_logging_handler_that_raises_harms_nothing() -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no logs today")

    logger, handler = logging.getLogger("weirpool"), Broken()
    logger.addHandler(handler)
    try:
        gate = Gate()
        async with WorkerPool(min_workers=1, max_workers=2, queue_size=0, overload="reject") as pool:
            for _ in range(2):
                await pool.submit(gate)
            with pytest.raises(PoolOverloaded):
                await pool.submit(gate)
            gate.open()
    finally:
        logger.removeHandler(handler)


async def test_a_refusal_holds_no_reference_cycle() -> None:
    """R17: its traceback has the frames that it went through."""
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        await pool.submit(gate)
        gc.disable()
        try:
            try:
                pool.submit_nowait(gate)
            except PoolOverloaded as error:
                gone = weakref.ref(error)
            assert gone() is None
        finally:
            gc.enable()
        gate.open()


@pytest.mark.complains
async def test_a_failure_is_logged_where_the_applications_records_have_such_a_field_of_their_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    factory = logging.getLogRecordFactory()

    def make(*arguments: Any, **options: Any) -> logging.LogRecord:
        record = factory(*arguments, **options)
        record.job = "theirs"
        return record

    logging.setLogRecordFactory(make)
    try:
        async with WorkerPool() as pool:
            await (await pool.submit(fail, ValueError("no"))).wait()
    finally:
        logging.setLogRecordFactory(factory)
    (record,) = [record for record in caplog.records if record.name == "weirpool.job"]
    assert "nobody asked why" in record.getMessage()
