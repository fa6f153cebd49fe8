"""Metrics: what arrives at the SDK adds up to the pools' books, under the names, units and attributes that are documented."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import re
import subprocess
import sys
import threading
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.trace import NoOpTracerProvider

from tests.support import FOREVER, Gate, Stubborn, balanced, echo, fail, sleep, turns
from weirpool import (
    JobCancelled,
    JobHandle,
    JobState,
    JobTimeout,
    PoolClosed,
    PoolOverloaded,
    PoolState,
    WorkerPool,
    _telemetry,
)
from weirpool.telemetry import _otel as otel

from .support import Meters, Traces

HISTOGRAMS = {"weirpool.job.duration": "s", "weirpool.job.time_in_queue": "s"}


@pytest.fixture
def meters() -> Meters:
    return Meters()


# What is exported --------------------------------------------------------------------------------------------------------


@pytest.mark.complains
async def test_the_exported_counts_add_up_to_the_books(meters: Meters) -> None:
    stubborn = Stubborn()
    async with WorkerPool(
        max_workers=3, queue_size=3, submit_timeout=0, cancel_grace=0.05, name="a", meter_provider=meters.provider
    ) as pool:
        for error in (ValueError("no"), ExceptionGroup("one", [KeyError("k")])):
            with pytest.raises(type(error)):
                await pool.run(fail, error)
        assert await pool.run(echo, 1) == 1
        with pytest.raises(JobTimeout):
            await pool.run(sleep, FOREVER, timeout=0.01)
        with pytest.raises(JobTimeout):
            await pool.run(stubborn, timeout=0.01)
        gate = Gate()
        jobs = [await pool.submit(gate) for _ in range(6)]
        jobs[5].cancel()
        await pool.submit(gate)
        with pytest.raises(PoolOverloaded):
            await pool.submit(gate)
        await turns()
        jobs[0].cancel()
        await jobs[0].wait()

        def value(name: str, **attributes: str) -> Any:
            return meters.value(name, "a", **attributes)

        stats = pool.stats()
        assert value("weirpool.submissions", weirpool_submission_result="accepted") == stats.accepted == 12
        assert value("weirpool.submissions", weirpool_submission_result="overloaded") == 1
        ended = {attributes["weirpool.job.outcome"]: count for attributes, count in meters.points("weirpool.job.completed")}
        assert ended == {"succeeded": 1, "failed": 2, "timed_out": 1, "abandoned": 1, "cancelled": 2}
        active, queued = value("weirpool.job.active"), value("weirpool.queue.size")
        assert (active, queued) == (stats.running, stats.queued) == (3, 2)
        assert stats.accepted == sum(ended.values()) + active + queued
        assert value("weirpool.job.abandoned") == value("weirpool.job.stray") == 1
        ran = {
            (attributes["weirpool.job.outcome"], attributes.get("error.type")): count
            for attributes, count in meters.points("weirpool.job.duration")
        }
        assert ran == {
            ("succeeded", None): 1,
            ("failed", "ValueError"): 1,
            ("failed", "KeyError"): 1,
            ("timed_out", "timeout"): 1,
            ("abandoned", "abandoned"): 1,
            ("cancelled", None): 1,
        }, "all but the one that was cancelled in the queue"
        gate.open()
        await stubborn.release()
        assert balanced(pool)


@pytest.mark.complains
async def test_of_a_hundred_thousand_jobs_in_two_pools_none_is_missing_from_what_is_exported(meters: Meters) -> None:
    dice = random.Random(6)
    submitted = 50_000
    handles: list[JobHandle[None]] = []

    async def job(kind: float) -> None:
        if kind < 0.1:
            raise ValueError
        await asyncio.sleep(0)

    async def drive(pool: WorkerPool) -> None:
        for number in range(submitted):
            try:
                handle = pool.submit_nowait(job, dice.random())
            except PoolOverloaded:
                await turns(3)
            else:
                handles.append(handle)
                if dice.random() < 0.1:
                    handle.cancel()
            if not number % 10_000:
                assert_balanced(pool.name)
                await asyncio.sleep(0)

    def exported(metric: str, pool: str, by: str = "") -> dict[Any, Any]:
        return {
            attributes.get(by): value
            for attributes, value in meters.points(metric)
            if attributes["weirpool.pool.name"] == pool
        }

    def assert_balanced(name: str) -> None:
        accepted = exported("weirpool.submissions", name, "weirpool.submission.result")["accepted"]
        ended = exported("weirpool.job.completed", name, "weirpool.job.outcome")
        (queued,), (active,) = (exported(metric, name).values() for metric in ("weirpool.queue.size", "weirpool.job.active"))
        assert accepted == sum(ended.values()) + queued + active

    options: Any = {"queue_size": 200, "meter_provider": meters.provider}
    async with WorkerPool(max_workers=20, name="a", **options) as a, WorkerPool(max_workers=3, name="b", **options) as b:
        await asyncio.gather(drive(a), drive(b))
        for pool in (a, b):
            await pool.wait_idle()
            stats = pool.stats()
            submissions = exported("weirpool.submissions", pool.name, "weirpool.submission.result")
            assert submissions == {
                "accepted": stats.accepted,
                "overloaded": stats.refused["full"],
                "closed": 0,
                "cancelled": 0,
            }
            assert sum(submissions.values()) == submitted
            ended = exported("weirpool.job.completed", pool.name, "weirpool.job.outcome")
            assert min(ended["succeeded"], ended["failed"], ended["cancelled"], submissions["overloaded"]) > 100
            assert sum(ended.values()) == stats.accepted
            # The histogram has those that have started: of the cancelled, these are a part.
            recorded = exported("weirpool.job.duration", pool.name, "weirpool.job.outcome")
            assert (recorded["succeeded"], recorded["failed"]) == (ended["succeeded"], ended["failed"])
            assert recorded.get("cancelled", 0) <= ended["cancelled"]
    for handle in handles:
        with suppress(JobCancelled):
            handle.exception()  # else each is logged, as nobody has looked at it


async def test_places_queue_and_limits_are_observed(meters: Meters) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=3, queue_size=7, name="a", meter_provider=meters.provider) as pool:
        for _ in range(2):
            await pool.submit(gate)
        await asyncio.sleep(0.1)
        assert meters.value("weirpool.worker.count", "a", weirpool_worker_state="busy") == 2
        assert meters.value("weirpool.worker.count", "a", weirpool_worker_state="idle") == 1
        assert meters.value("weirpool.worker.limit", "a") == 3
        assert meters.value("weirpool.queue.limit", "a") == 7
        assert meters.value("weirpool.job.unfinished.duration", "a") == pytest.approx(0.2, abs=0.05)
        assert meters.value("weirpool.job.unfinished.oldest", "a") == pytest.approx(0.1, abs=0.05)
        gate.open()


async def test_who_waits_and_who_was_turned_away_is_counted(meters: Meters) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, name="a", meter_provider=meters.provider) as pool:
        await pool.submit(gate)
        waiting = [asyncio.create_task(pool.submit(gate)) for _ in range(2)]
        await turns()
        assert meters.value("weirpool.submission.waiting", "a") == 2
        waiting[0].cancel()
        await turns()
        assert meters.value("weirpool.submissions", "a", weirpool_submission_result="cancelled") == 1
        pool.close_intake()
        with pytest.raises(PoolClosed):
            await waiting[1]
        assert meters.value("weirpool.submissions", "a", weirpool_submission_result="closed") == 1
        gate.open()


async def test_the_time_in_queue_is_a_histogram_if_that_is_wanted(meters: Meters) -> None:
    for name, wanted in (("a", True), ("b", False)):
        async with WorkerPool(
            max_workers=1, name=name, meter_provider=meters.provider, time_in_queue_histogram=wanted
        ) as pool:
            for _ in range(3):
                pool.submit_nowait(sleep, 0.02)
    assert meters.points("weirpool.job.time_in_queue") == [({"weirpool.pool.name": "a"}, 3)]
    (point,) = meters.metrics()["weirpool.job.time_in_queue"].data.data_points
    assert point.explicit_bounds == otel._SHORT  # type: ignore[union-attr]
    assert {point.explicit_bounds for point in meters.metrics()["weirpool.job.duration"].data.data_points} == {otel._LONG}  # type: ignore[union-attr]


async def test_the_scope_says_who_exports_and_by_which_conventions(meters: Meters) -> None:
    async with WorkerPool(meter_provider=meters.provider):
        (scope,) = set(meters.scopes())
    assert (scope.name, scope.version) == ("weirpool", version("weirpool"))
    assert scope.schema_url.startswith("https://opentelemetry.io/schemas/")


async def test_two_pools_are_both_seen_and_those_of_one_name_are_one(meters: Meters) -> None:
    async with (
        WorkerPool(name="a", meter_provider=meters.provider) as a,
        WorkerPool(name="b", meter_provider=meters.provider) as b,
        WorkerPool(name="b", meter_provider=meters.provider) as other,
    ):
        for pool, number in ((a, 1), (b, 2), (other, 3)):
            for _ in range(number):
                await pool.run(echo, 1)
        assert meters.value("weirpool.submissions", "a", weirpool_submission_result="accepted") == 1
        assert meters.value("weirpool.submissions", "b", weirpool_submission_result="accepted") == 5
        assert meters.value("weirpool.worker.limit", "b") == 200


async def test_a_pool_that_is_dropped_vanishes(meters: Meters) -> None:
    async with WorkerPool(name="a", meter_provider=meters.provider) as pool:
        await pool.run(echo, 1)
    assert meters.value("weirpool.submissions", "a", weirpool_submission_result="accepted") == 1, "closed, and still there"
    del pool
    gc.collect()
    assert meters.points("weirpool.submissions") == []


async def test_another_thread_may_collect(meters: Meters) -> None:
    async with WorkerPool(max_workers=5, meter_provider=meters.provider) as pool:
        stop = threading.Event()
        failed: list[BaseException] = []

        def collect() -> None:
            while not stop.is_set():
                try:
                    meters.metrics()
                    pool.stats()
                except BaseException as error:
                    failed.append(error)

        thread = threading.Thread(target=collect)
        thread.start()
        try:
            await asyncio.gather(*(pool.run(echo, n) for n in range(500)))
        finally:
            stop.set()
            thread.join()
        assert not failed


# Names --------------------------------------------------------------------------------------------------------------------


@pytest.mark.complains
async def test_names_and_units_follow_the_rules_of_the_conventions(meters: Meters) -> None:
    """https://opentelemetry.io/docs/specs/semconv/general/naming/ and .../general/metrics/."""
    async with WorkerPool(meter_provider=meters.provider, time_in_queue_histogram=True) as pool:
        await pool.run(echo, 1)
        exported = meters.metrics()
    assert set(exported) == {*HISTOGRAMS, *(observed.name for observed in otel.OBSERVED)}
    for name, metric in exported.items():
        assert re.fullmatch(r"weirpool(\.[a-z][a-z0-9_]*)+", name)
        assert (metric.description or "").endswith(".")
        assert re.fullmatch(r"s|\{[a-z]+\}", metric.unit or ""), "seconds, or what is counted, in the singular"
        assert not re.search(r"total|seconds|_count$", name), "neither kind nor unit is in the name"
        attributes = {key for point in metric.data.data_points for key in (point.attributes or {})}
        assert "weirpool.pool.name" in attributes
        assert not attributes & set(exported), "an attribute is not called as a metric"
        assert not any(other != name and other.startswith(f"{name}.") for other in exported), "nor is a namespace"
        for key in attributes - {"error.type"}:
            assert re.fullmatch(r"weirpool\.[a-z]+\.[a-z_]+", key)


# On by itself, or not at all ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("providers", [{}, {"meter_provider": NoOpMeterProvider(), "tracer_provider": NoOpTracerProvider()}])
async def test_without_a_provider_there_is_no_telemetry(providers: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    async with WorkerPool(**providers) as pool:
        assert pool._crew.telemetry is None
    assert metrics.get_meter_provider() is not None
    monkeypatch.delitem(sys.modules, "opentelemetry")
    async with WorkerPool() as pool:
        assert pool._crew.telemetry is None


async def test_the_applications_own_providers_are_used(monkeypatch: pytest.MonkeyPatch, meters: Meters) -> None:
    traces = Traces()
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: meters.provider)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: traces.provider)
    async with WorkerPool(name="a") as pool:
        await pool.run(echo, 1)
        assert meters.value("weirpool.submissions", "a", weirpool_submission_result="accepted") == 1
    assert [span.name for span in traces.spans()] == ["echo"]


def test_importing_weirpool_and_using_it_imports_no_opentelemetry() -> None:
    program = """
import asyncio, sys
from weirpool import WorkerPool
async def main():
    async with WorkerPool() as pool:
        await pool.run(asyncio.sleep, 0)
asyncio.run(main())
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("argument", "bad", "says"),
    [
        ("meter_provider", 7, "must be a provider, which has get_meter(), or None"),
        ("tracer_provider", Meters, "must be a provider, which has get_tracer(), or None"),
        ("trace", "always", "must be one of 'auto', 'parent', 'link', 'off', got 'always'"),
        ("trace", None, "must be one of"),
        ("time_in_queue_histogram", 1, "must be True or False, got 1"),
    ],
)
def test_what_makes_no_sense_is_refused(argument: str, bad: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(f"{argument} {says}")):
        WorkerPool(**{argument: bad})


# Failures of the exporter -------------------------------------------------------------------------------------------------


@pytest.mark.complains
async def test_an_exporter_that_raises_harms_no_job_and_is_not_asked_again(
    meters: Meters, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    class Broken:
        def record(self, *arguments: Any) -> None:
            calls.append(arguments)
            raise RuntimeError("no export today")

    async with WorkerPool(meter_provider=meters.provider) as pool:
        telemetry: Any = pool._crew.telemetry
        telemetry._duration = Broken()
        for n in range(3):
            assert await pool.run(echo, n) == n
    assert len(calls) == 1
    (record,) = [record for record in caplog.records if record.name == "weirpool.telemetry"]
    assert record.levelno == logging.ERROR
    assert "are off from now on" in record.getMessage()


async def test_however_many_errors_there_are_attributes_do_not_pile_up(meters: Meters) -> None:
    async with WorkerPool(meter_provider=meters.provider) as pool:
        for number in range(30):
            with pytest.raises(Exception, match="x"):
                await pool.run(fail, type(f"Error{number}", (Exception,), {})("x"))
        telemetry: Any = pool._crew.telemetry
        assert len(telemetry._attributes) == 37
        telemetry._attributes.update({(None, number): {} for number in range(2000)})
        before = len(telemetry._attributes)
        with pytest.raises(KeyError):
            await pool.run(fail, KeyError("x"))
        assert len(telemetry._attributes) == before


async def test_in_another_thread_the_counts_of_a_collection_add_up_too(meters: Meters) -> None:
    wrong: list[Any] = []
    collections = 0
    done = threading.Event()

    def collect() -> None:
        nonlocal collections
        while not done.is_set():
            metrics = meters.metrics()
            if "weirpool.submissions" not in metrics:
                continue

            def points(name: str, metrics: Any = metrics) -> dict[Any, Any]:
                return {tuple(point.attributes.values()): point.value for point in metrics[name].data.data_points}

            collections += 1
            accepted = points("weirpool.submissions")[("a", "accepted")]
            rest = [points(f"weirpool.{name}") for name in ("job.completed", "job.active", "queue.size")]
            if accepted != sum(sum(values.values()) for values in rest):
                wrong.append((accepted, rest))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        async with WorkerPool(max_workers=10, name="a", meter_provider=meters.provider) as pool:
            thread = threading.Thread(target=collect)
            thread.start()
            while collections < 30:
                await asyncio.gather(*(pool.run(echo, number) for number in range(200)))
            done.set()
            await asyncio.to_thread(thread.join)
    finally:
        done.set()
        sys.setswitchinterval(before)
    assert not wrong


async def test_the_sums_of_pools_of_one_name_do_not_fall_while_one_is_left(meters: Meters) -> None:
    async def runs(jobs: int) -> WorkerPool:
        async with WorkerPool(name="a", meter_provider=meters.provider) as pool:
            for _ in range(jobs):
                await pool.run(echo, 1)
        return pool

    def completed() -> Any:
        return meters.value("weirpool.job.completed", "a", weirpool_job_outcome="succeeded")

    stays = await runs(1)
    for number in range(1, 4):
        gone = await runs(10)
        assert completed() == 1 + 10 * number
        del gone
        gc.collect()
        assert completed() == 1 + 10 * number
    assert meters.value("weirpool.worker.limit", "a") == 0, "closed pools have no workers"
    del stays
    gc.collect()
    assert not meters.points("weirpool.job.completed")
    again = await runs(2)
    assert completed() == 2
    del again


@pytest.mark.complains
async def test_a_provider_that_fails_keeps_no_pool_from_opening(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MeterProvider):
        def get_meter(self, *arguments: Any, **options: Any) -> Any:
            raise OSError("no")

    async with WorkerPool(meter_provider=Broken(shutdown_on_exit=False)) as pool:
        assert await pool.run(echo, 1) == 1
    assert [record.event for record in caplog.records if record.name == "weirpool.telemetry"] == ["weirpool.telemetry.failed"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("accepted", "reads"), [([1], 1), ([2, 2, 1], 3), ([2] * 20, 11)])
async def test_what_is_read_while_the_pool_counts_is_read_again(accepted: list[int], reads: int) -> None:
    class Books:
        """Those of a pool, whose first count is changed while they are read."""

        ends = {JobState.SUCCEEDED: 1}  # noqa: RUF012
        refused: dict[str, int] = {}  # noqa: RUF012
        queued = running = lending = strays = 0
        pool = PoolState.OPEN
        asked = 0

        @property
        def accepted(self) -> int:
            self.asked += 1
            return accepted[self.asked - 1]

    class Nobody:
        places = waiting = 0

        def ages(self) -> list[float]:
            return []

    books: Any = Books()
    pool, nobody = WorkerPool(), Nobody()
    reading = _telemetry._reader(pool._settings, books, nobody, nobody)()
    assert (books.asked, reading.accepted) == (reads, accepted[reads - 1])


async def test_a_job_whose_function_was_never_called_has_no_duration(meters: Meters) -> None:
    async with WorkerPool(max_workers=1, name="a", meter_provider=meters.provider) as pool:
        first = await pool.submit(sleep, 0.1)
        second = await pool.submit(sleep, 1)
        await first
        second.cancel()
        await second.wait()
        assert {attributes["weirpool.job.outcome"]: n for attributes, n in meters.points("weirpool.job.duration")} == {
            "succeeded": 1
        }


async def test_a_group_in_a_group_in_a_group_has_a_type_all_the_same(meters: Meters) -> None:
    error: Exception = ValueError("inside")
    for _ in range(20):
        error = ExceptionGroup("one", [error])
    async with WorkerPool(name="a", meter_provider=meters.provider) as pool:
        with pytest.raises(ExceptionGroup):
            await pool.run(fail, error)
        ((attributes, _),) = meters.points("weirpool.job.duration")
    assert attributes["error.type"] == "ExceptionGroup"
