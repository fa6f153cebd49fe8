"""Traces: a span per job, where it belongs, current inside the job, and nothing of what the job is about."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind, StatusCode

from tests.support import FOREVER, Gate, Stubborn, echo, fail, sleep, turns
from weirpool import JobCancelled, JobTimeout, WorkerPool
from weirpool.events import JobAccepted, Observer

from .support import Meters, Traces, attributes


@pytest.fixture
def traces() -> Traces:
    return Traces()


async def inner() -> Any:
    """Return the current span's context."""
    await asyncio.sleep(0)
    return trace.get_current_span().get_span_context()


async def test_a_job_that_run_awaits_is_a_child_and_current_inside(traces: Traces) -> None:
    async with WorkerPool(tracer_provider=traces.provider) as pool:
        with traces.tracer.start_as_current_span("request") as request:
            seen = await pool.run(inner)
            assert trace.get_current_span() is request, "and not in the submitter's context"
    span = traces.span("inner")
    assert span.context == seen
    assert span.parent == request.get_span_context()
    assert (span.kind, span.status.status_code) == (SpanKind.INTERNAL, StatusCode.UNSET)
    assert span.links == ()


async def test_a_job_of_a_group_is_a_child_as_its_block_waits_for_it(traces: Traces) -> None:
    async with WorkerPool(tracer_provider=traces.provider) as pool:
        with traces.tracer.start_as_current_span("request") as request:
            async with pool.group() as group:
                await group.submit(inner)
                await pool.submit(echo, 1)
    assert traces.span("inner").parent == request.get_span_context()
    assert traces.span("echo").parent is None


@pytest.mark.realtime
async def test_a_job_that_a_thread_runs_is_a_child_of_the_span_there(traces: Traces) -> None:
    async with WorkerPool(tracer_provider=traces.provider) as pool:

        def thread() -> Any:
            with traces.tracer.start_as_current_span("request") as request:
                assert pool.from_thread.run(inner) is not None
                return request.get_span_context()

        request = await asyncio.to_thread(thread)
    assert traces.span("inner").parent == request


async def test_a_job_that_nobody_awaits_has_a_trace_of_its_own_with_a_link(traces: Traces) -> None:
    async with WorkerPool(tracer_provider=traces.provider) as pool:
        with traces.tracer.start_as_current_span("request") as request:
            await pool.submit(inner)
    span = traces.span("inner")
    assert span.parent is None
    assert [link.context for link in span.links] == [request.get_span_context()]
    assert span.context.trace_id != request.get_span_context().trace_id


async def test_a_job_whose_handle_is_awaited_when_it_starts_is_a_child(traces: Traces) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, tracer_provider=traces.provider) as pool:
        await pool.submit(gate)
        with traces.tracer.start_as_current_span("request") as request:
            handle = await pool.submit(inner)
            task = asyncio.create_task(handle.wait())
            await turns()
            gate.open()
            await task
    assert traces.span("inner").parent == request.get_span_context()


@pytest.mark.parametrize(("mode", "child"), [("parent", True), ("link", False)])
async def test_where_spans_belong_can_be_said(mode: Any, child: bool, traces: Traces) -> None:
    async with WorkerPool(tracer_provider=traces.provider, trace=mode) as pool:
        with traces.tracer.start_as_current_span("request") as request:
            await pool.run(inner)
            await pool.submit(echo, 1)
    for name in ("inner", "echo"):
        span = traces.span(name)
        assert (span.parent == request.get_span_context()) is child
        assert bool(span.links) is not child


async def test_spans_can_be_turned_off(traces: Traces) -> None:
    async with WorkerPool(tracer_provider=traces.provider, trace="off") as pool:
        with traces.tracer.start_as_current_span("request") as request:
            assert await pool.run(inner) == request.get_span_context(), "the submitter's, as ever"
    assert [span.name for span in traces.spans()] == ["request"]


async def test_a_job_without_a_submitters_span_is_a_root(traces: Traces) -> None:
    async with WorkerPool(tracer_provider=traces.provider) as pool:
        await pool.run(echo, 1)
        await pool.submit(inner)
    for span in traces.spans():
        assert (span.parent, span.links) == (None, ())


async def test_nested_jobs_are_under_each_other_and_what_is_left_behind_is_not(traces: Traces) -> None:
    async def outer() -> None:
        await pool.run(inner)
        await pool.submit(echo, 1)

    async with WorkerPool(tracer_provider=traces.provider) as pool:
        await pool.run(outer)
    span = traces.span("outer")
    assert traces.span("inner").parent == span.context
    assert traces.span("echo").parent is None
    assert [link.context for link in traces.span("echo").links] == [span.context]


async def test_baggage_reaches_the_job(traces: Traces) -> None:
    async def look() -> object:
        return baggage.get_baggage("tenant")

    async with WorkerPool(tracer_provider=traces.provider) as pool:
        token = context.attach(baggage.set_baggage("tenant", "seven"))
        try:
            assert await pool.run(look) == "seven"
            assert await (await pool.submit(look)) == "seven"
        finally:
            context.detach(token)


@pytest.mark.complains
async def test_a_span_says_what_ran_how_long_it_waited_and_how_it_ended(traces: Traces) -> None:
    stubborn = Stubborn()
    async with WorkerPool(max_workers=1, name="a", cancel_grace=0.02, tracer_provider=traces.provider) as pool:
        first = await pool.submit(sleep, 0.1)
        await pool.run(echo, 1)
        with pytest.raises(ConnectionError):
            await pool.run(fail, ConnectionError("secret of the customer"))
        with pytest.raises(JobTimeout):
            await pool.run(sleep, FOREVER, timeout=0.01, name="job of seven")
        gate = Gate()
        job = await pool.submit(gate)
        await turns()
        job.cancel()
        with pytest.raises(JobCancelled):
            await job
        with pytest.raises(JobTimeout):
            await pool.run(stubborn, timeout=0.01)
        await stubborn.release()
        await first
    waited = attributes(traces.span("echo"))
    assert waited["weirpool.job.time_in_queue"] == pytest.approx(0.1, abs=0.05)
    assert {key: value for key, value in waited.items() if key != "weirpool.job.time_in_queue"} == {
        "weirpool.pool.name": "a",
        "weirpool.job.id": 2,
        "weirpool.job.outcome": "succeeded",
        "code.function.name": "tests.support.echo",
    }
    said = [
        (span.name, attributes(span)["weirpool.job.outcome"], attributes(span).get("error.type"), span.status.status_code)
        for span in traces.spans()
    ]
    assert said == [
        ("sleep", "succeeded", None, StatusCode.UNSET),
        ("echo", "succeeded", None, StatusCode.UNSET),
        ("fail", "failed", "ConnectionError", StatusCode.ERROR),
        ("sleep", "timed_out", "timeout", StatusCode.ERROR),
        ("Gate", "cancelled", None, StatusCode.UNSET),
        ("Stubborn", "abandoned", "abandoned", StatusCode.ERROR),
    ]
    for span in traces.spans():
        assert (span.events, span.status.description) == ((), None)
        assert "secret" not in span.to_json()


async def test_a_job_that_never_starts_has_no_span(traces: Traces) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, tracer_provider=traces.provider) as pool:
        await pool.submit(gate)
        (await pool.submit(echo, 1)).cancel()
        gate.open()
    assert [span.name for span in traces.spans()] == ["Gate"]


async def test_a_job_whose_task_can_not_be_made_has_a_span_that_says_so(traces: Traces) -> None:
    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> Any:
        raise RuntimeError("no tasks today")

    loop = asyncio.get_running_loop()
    async with WorkerPool(tracer_provider=traces.provider) as pool:
        loop.set_task_factory(factory)
        with pytest.raises(RuntimeError, match="no tasks today"):
            await pool.run(echo, 1)
        loop.set_task_factory(None)
        telemetry: Any = pool._crew.telemetry
        assert telemetry._spans == {}
    assert attributes(traces.span("echo"))["error.type"] == "RuntimeError"


@pytest.mark.complains
async def test_a_tracer_that_raises_harms_no_job(traces: Traces) -> None:
    class Broken:
        def start_span(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("no spans today")

    async with WorkerPool(tracer_provider=traces.provider) as pool:
        telemetry: Any = pool._crew.telemetry
        telemetry._tracer = Broken()
        assert await pool.run(echo, 1) == 1
        assert telemetry.tracing is False
        assert await pool.run(echo, 2) == 2


async def test_what_is_measured_of_a_traced_job_leads_to_its_trace(traces: Traces) -> None:
    meters = Meters()
    async with WorkerPool(tracer_provider=traces.provider, meter_provider=meters.provider) as pool:
        await pool.run(echo, 1)
    (point,) = meters.metrics()["weirpool.job.duration"].data.data_points
    (exemplar,) = point.exemplars
    assert exemplar.trace_id == traces.span("echo").context.trace_id


@pytest.mark.parametrize("kind", ["retry", "partial"])
async def test_a_span_has_the_name_of_the_function_whatever_is_around_it(kind: str, traces: Traces) -> None:
    import functools

    options: dict[str, Any] = {}
    job: Any = functools.partial(echo, 1)
    if kind == "retry":
        pytest.importorskip("tenacity", reason="missing: pip install tenacity")
        from weirpool.policies import Retry

        options["retry"] = Retry()
    async with WorkerPool(tracer_provider=traces.provider) as pool:
        await pool.run(job, **options)
    assert attributes(traces.span("echo"))["code.function.name"] == "tests.support.echo"


async def test_a_job_whose_task_has_to_be_made_anew_has_one_span(traces: Traces, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    create_task = loop.create_task

    def wrapping(coroutine: Any, **options: Any) -> Any:
        async def wrapped() -> Any:
            return await coroutine

        return create_task(wrapped(), **options)

    async with WorkerPool(tracer_provider=traces.provider) as pool:
        monkeypatch.setattr(loop, "create_task", wrapping)
        pool._crew._direct = False  # as it is if somebody's instrumentation came before the pool
        handle = await pool.submit(inner)
        assert await handle == traces.span("inner").context
        monkeypatch.undo()


class Fails(SpanProcessor):
    """A span processor that raises."""

    def __init__(self, error: BaseException, when: str) -> None:
        self.error = error
        self.when = when

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        if self.when == "start":
            raise self.error

    def on_end(self, span: Any) -> None:
        if self.when == "end":
            raise self.error


class Exits(BaseException):
    """What nobody catches."""


@pytest.mark.complains
@pytest.mark.parametrize("when", ["start", "end"])
@pytest.mark.parametrize("error", [ValueError("no"), Exits()])
async def test_an_exporter_that_raises_anything_costs_no_job_and_no_place(error: BaseException, when: str) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Fails(error, when))
    async with WorkerPool(max_workers=1, tracer_provider=provider) as pool:
        assert await pool.run(echo, 1) == 1
        assert await pool.run(echo, 2) == 2
        assert (pool.stats().running, pool.stats().succeeded) == (0, 2)


@pytest.mark.complains
async def test_spans_that_are_open_when_an_exporter_fails_are_ended(traces: Traces) -> None:
    gate = Gate()
    async with WorkerPool(tracer_provider=traces.provider) as pool:
        await pool.submit(gate)
        await turns()
        failing = Fails(ValueError("no"), "start")
        traces.provider.add_span_processor(failing)
        await pool.run(echo, 1)
        failing.when = ""
        gate.open()
    assert [span.name for span in traces.spans()] == ["Gate"]


async def test_hostile_exceptions_and_callables_turn_nothing_off(traces: Traces) -> None:
    class Liar(Exception):
        @property  # type: ignore[misc]
        def __class__(self) -> Any:
            raise ZeroDivisionError

    class Endless(ExceptionGroup[Exception]):
        @property
        def exceptions(self) -> tuple[Exception, ...]:
            raise ZeroDivisionError

    class Guard(type):
        def __getattribute__(cls, name: str) -> Any:
            if name in {"__module__", "__qualname__"}:
                raise ZeroDivisionError
            return super().__getattribute__(name)

    class Guarded(Exception, metaclass=Guard):
        pass

    class Proxy:
        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError

        async def __call__(self) -> int:
            return 1

    class Nowhere:
        @property
        def __module__(self) -> str:  # type: ignore[override]
            raise ZeroDivisionError

        async def __call__(self) -> int:
            return 1

    async with WorkerPool(tracer_provider=traces.provider) as pool:
        for error in (Liar(), Endless("x", [ValueError()]), Guarded()):
            handle = await pool.submit(fail, error)
            await handle.wait()
            assert handle.exception() is error
        for callable_ in (Proxy(), Nowhere()):
            assert await pool.run(callable_) == 1
        assert pool._telemetry is not None
        assert pool._telemetry.tracing
    types = [attributes(span).get("error.type") for span in traces.spans()]
    assert [kind and kind.rpartition(".")[2] for kind in types] == ["Liar", "ValueError", "Guarded", None, None]


async def test_who_has_stopped_waiting_is_no_parent(traces: Traces) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, tracer_provider=traces.provider) as pool:
        await pool.submit(gate)
        with traces.tracer.start_as_current_span("request"):
            handle = await pool.submit(inner)
        tasks = [asyncio.create_task(handle.wait()) for _ in range(2)]
        await turns()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        gate.open()
        await pool.wait_idle()
    assert traces.span("inner").parent is None


async def test_what_an_observer_submits_while_somebody_runs_a_job_is_not_awaited(traces: Traces) -> None:
    class Submits(Observer):
        def job_accepted(self, event: JobAccepted) -> None:
            if event.name == "first":
                pool.submit_nowait(inner, name="second")

    async with WorkerPool(tracer_provider=traces.provider, observers=[Submits()]) as pool:
        with traces.tracer.start_as_current_span("request") as request:
            await pool.run(echo, 1, name="first")
        await pool.wait_idle()
    assert traces.span("inner").parent is None
    assert traces.span("echo").parent == request.get_span_context()


async def test_a_run_that_is_closed_elsewhere_while_it_waits_for_room_ends(traces: Traces) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, tracer_provider=traces.provider) as pool:
        await pool.submit(gate)
        coroutine = pool.run(echo, 1)
        coroutine.send(None)
        contextvars.Context().run(coroutine.close)
        gate.open()


@pytest.mark.complains
def test_an_exit_that_comes_up_in_an_exporter_ends_the_loop_and_not_the_job() -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(Fails(KeyboardInterrupt(), "end"))
    seen: list[Any] = []

    async def main() -> None:
        async with WorkerPool(tracer_provider=provider) as pool:
            handle = await pool.submit(echo, 1)
            try:
                await asyncio.sleep(FOREVER)
            finally:
                seen.append(await handle)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert seen == [1]


@pytest.mark.complains
async def test_the_span_of_a_job_that_a_bug_has_lost_is_ended_too(traces: Traces) -> None:
    async with WorkerPool(tracer_provider=traces.provider, shutdown_timeout=0.3, cancel_grace=0.1) as pool:
        handle = await pool.submit(sleep, FOREVER)
        await turns()
        pool._crew._runs.clear()
    assert attributes(traces.span("sleep"))["weirpool.job.outcome"] == "abandoned"
    await handle.wait()
