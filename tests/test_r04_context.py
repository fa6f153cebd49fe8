"""R4: a job sees its submitter's contextvars as they were at submit, and no other job's; it is a task of its own."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import weakref
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace

from tests.support import FOREVER, Gate, Stubborn, echo, sleep, turns
from weirpool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

VAR: ContextVar[Any] = ContextVar("VAR", default="nobody's")


async def look() -> Any:
    """Return what the job sees, after a turn of the loop."""
    await asyncio.sleep(0)
    return VAR.get()


async def task_name() -> str:
    """Return the name of the task that runs this."""
    task = asyncio.current_task()
    assert task is not None
    return task.get_name()


class Thing:
    """A thing that can be referred to weakly."""


# The submitter's context -------------------------------------------------------------------------------------------------


async def test_a_job_sees_the_contextvars_of_its_submitter() -> None:
    async with WorkerPool() as pool:
        VAR.set("submitter's")
        assert await pool.run(look) == "submitter's"
        assert await pool.submit_nowait(look) == "submitter's"
        assert await (await pool.submit(look)) == "submitter's"


async def test_a_job_does_not_see_the_context_of_whoever_opened_the_pool() -> None:
    VAR.set("opener's")
    async with WorkerPool() as pool:
        assert await asyncio.create_task(pool.run(look), context=Context()) == "nobody's"
        child = asyncio.create_task(pool.run(look), context=Context())
        assert await child == "nobody's"


async def test_a_job_sees_the_contextvars_as_they_were_at_submit() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(gate)
        VAR.set("at submit")
        queued = await pool.submit(look)
        VAR.set("later")
        gate.open()
        assert await queued == "at submit"


async def test_a_job_whose_submitter_had_to_wait_sees_the_contextvars_as_they_were_at_submit() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        await pool.submit(gate)
        context = copy_context()
        context.run(VAR.set, "at submit")
        submitting = asyncio.create_task(pool.submit(look), context=context)
        await turns()
        context.run(VAR.set, "later")  # as a callback in that task's context would
        gate.open()
        assert await (await submitting) == "at submit"


async def test_what_a_job_sets_stays_in_the_job() -> None:
    async def tamper(value: str) -> Any:
        VAR.set(value)
        await asyncio.sleep(0)
        return VAR.get()

    VAR.set("submitter's")
    async with WorkerPool(max_workers=1) as pool:
        assert await pool.run(tamper, "job's") == "job's"
        assert VAR.get() == "submitter's"
        assert await pool.run(look) == "submitter's"


async def test_jobs_in_one_place_do_not_see_each_others_contextvars() -> None:
    async def serve(user: int) -> tuple[Any, Any]:
        before = VAR.get()
        VAR.set(f"changed by {user}")
        await asyncio.sleep(0)
        return before, VAR.get()

    async def request(user: int) -> tuple[Any, Any]:
        VAR.set(f"user {user}")
        return await pool.run(serve, user)

    async with WorkerPool(max_workers=3) as pool:
        seen = await asyncio.gather(*(request(user) for user in range(300)))
    assert seen == [(f"user {user}", f"changed by {user}") for user in range(300)]


async def test_a_job_started_by_the_end_of_another_does_not_see_the_others_context() -> None:
    async def first() -> None:
        VAR.set("first's")
        await asyncio.sleep(0)

    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(first)
        assert await pool.submit_nowait(look) == "nobody's"


async def test_a_job_started_by_a_timer_or_a_cancellation_sees_its_submitters_context() -> None:
    VAR.set("submitter's")
    async with WorkerPool(max_workers=1) as pool:
        timing_out = await pool.submit(sleep, FOREVER, timeout=0.01)
        late = await pool.submit(sleep, FOREVER, deadline=asyncio.get_running_loop().time() + 0.005)
        after_timeout = await pool.submit(look)
        VAR.set("somebody's")
        with pytest.raises(TimeoutError):
            await timing_out
        assert await after_timeout == "submitter's"
        assert isinstance(late.exception(), TimeoutError)

        running = await pool.submit(sleep, FOREVER)
        after_cancel = await pool.submit(look)
        context = copy_context()
        context.run(VAR.set, "canceller's")
        context.run(running.cancel)
        assert await after_cancel == "somebody's"


async def test_children_of_a_job_see_the_jobs_context() -> None:
    async def parent() -> Any:
        VAR.set("job's")
        return await asyncio.create_task(look())

    async with WorkerPool() as pool:
        assert await pool.run(parent) == "job's"


async def test_a_job_of_a_job_sees_the_inner_submitters_context() -> None:
    async def parent() -> Any:
        VAR.set("outer job's")
        return await pool.run(look)

    VAR.set("submitter's")
    async with WorkerPool() as pool:
        assert await pool.run(parent) == "outer job's"


async def test_the_trace_of_a_request_goes_to_its_job_and_to_no_other() -> None:
    def span(number: int) -> trace.Span:
        return trace.NonRecordingSpan(trace.SpanContext(number, number, is_remote=False))

    async def current_trace() -> int:
        await asyncio.sleep(0)
        return trace.get_current_span().get_span_context().trace_id

    async def request(number: int) -> int:
        with trace.use_span(span(number)):
            return await pool.run(current_trace)

    async with WorkerPool(max_workers=2) as pool:
        assert await asyncio.gather(*(request(number) for number in range(1, 50))) == list(range(1, 50))
        assert await pool.run(current_trace) == 0, "a trace leaked into a job that was submitted outside of any"


async def test_a_pool_does_not_keep_the_context_of_whoever_opened_it() -> None:
    thing = Thing()
    gone = weakref.ref(thing)
    context = Context()
    context.run(VAR.set, thing)
    pool = WorkerPool()
    await asyncio.create_task(pool.__aenter__(), context=context)
    try:
        del context, thing
        await turns()
        gc.collect()
        assert gone() is None
    finally:
        await pool.aclose()


async def test_a_pool_does_not_keep_the_context_of_a_job_that_has_ended() -> None:
    """What a request has put into its context must not live on because the next job happens to be running."""
    thing = Thing()
    gone = weakref.ref(thing)
    context = Context()
    context.run(VAR.set, thing)
    first, second = Gate(), Gate()
    async with WorkerPool(max_workers=1) as pool:
        ended = await asyncio.create_task(pool.submit(first), context=context)
        await asyncio.create_task(pool.submit(second), context=Context())
        await turns()
        first.open()
        await ended
        await turns()
        assert second.inside == 1
        del context, thing, ended, first
        gc.collect()
        freed = gone() is None
        second.open()
    assert freed


async def test_the_timer_of_a_pool_does_not_keep_the_context_of_a_job_that_has_ended() -> None:
    thing = Thing()
    gone = weakref.ref(thing)
    context = Context()
    context.run(VAR.set, thing)
    gate = Gate()
    async with WorkerPool(max_workers=1) as pool:
        await asyncio.create_task(pool.submit(gate), context=Context())
        deadline = asyncio.get_running_loop().time() + FOREVER
        # Queued, because a running job has a timer of its own, whose context asyncio keeps for some time after its end.
        ended = await asyncio.create_task(pool.submit(echo, 1, deadline=deadline), context=context)
        ended.cancel()
        await turns()
        del context, thing, ended
        gc.collect()
        freed = gone() is None
        gate.open()
    assert freed


@pytest.mark.complains
async def test_the_log_of_an_abandoned_job_is_not_written_in_the_context_of_another() -> None:
    """Log filters take request and trace ids from the context: a wrong one is worse than none."""
    seen: list[Any] = []

    class Filter(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            seen.append(VAR.get())
            return True

    async def job(context_of: str, job: Any, timeout: float) -> None:
        VAR.set(context_of)
        await pool.submit(job, timeout=timeout)

    logger, the_filter = logging.getLogger("weirpool.job"), Filter()
    stubborn, innocent = Stubborn(), Gate()
    async with WorkerPool(cancel_grace=0.02) as pool:
        await asyncio.create_task(job("stubborn's", stubborn, 0.05))
        await asyncio.create_task(job("innocent's", innocent, 0.03))  # whose earlier limit sets the timer
        innocent.open()
        logger.addFilter(the_filter)
        try:
            await asyncio.sleep(0.1)
        finally:
            logger.removeFilter(the_filter)
            await stubborn.release()
    assert seen
    assert "innocent's" not in seen


# A task of its own -------------------------------------------------------------------------------------------------------


async def test_each_job_is_a_task_of_its_own() -> None:
    async def who() -> asyncio.Task[Any] | None:
        await asyncio.sleep(0)
        return asyncio.current_task()

    async with WorkerPool(max_workers=1) as pool:
        tasks = [await pool.run(who) for _ in range(5)]
    assert len(set(tasks)) == 5
    assert None not in tasks
    assert asyncio.current_task() not in tasks


async def test_a_job_does_not_run_inside_submit() -> None:
    log: list[str] = []

    async def job() -> None:
        log.append("job")

    async with WorkerPool() as pool:
        await pool.submit(job)
        log.append("submitted")
        pool.submit_nowait(job)
        log.append("submitted")
        await turns()
        assert sorted(log[:2]) != ["job", "job"]
        assert log[0] == "submitted"
    assert log.count("job") == 2


async def test_many_short_jobs_do_not_run_inside_one_another() -> None:
    """Else a thousand jobs that never suspend would nest as deep."""

    async def job() -> None:
        pass

    async with WorkerPool(max_workers=1, queue_size=3000) as pool:
        handles = [pool.submit_nowait(job) for _ in range(3000)]
        await handles[-1]
        assert pool.stats().succeeded == 3000


async def test_the_task_of_a_job_has_the_jobs_name() -> None:
    async with WorkerPool() as pool:
        named = await pool.submit(task_name, name="invoice 7")
        assert (await named, named.name) == ("invoice 7", "invoice 7")
        unnamed = await pool.submit(task_name)
        assert (await unnamed, unnamed.name) == ("task_name#2", "task_name#2")


async def test_a_job_that_had_to_wait_has_the_same_name_before_during_and_after() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(gate)
        handle = await pool.submit(task_name)
        before = handle.name
        gate.open()
        assert await handle == before == handle.name == "task_name#2"


class Mailer:
    """Things that can be submitted, and have names."""

    async def send(self) -> str:
        return await task_name()

    @classmethod
    async def broadcast(cls) -> str:
        return await task_name()

    @staticmethod
    async def ping() -> str:
        return await task_name()

    async def __call__(self) -> str:
        return await task_name()


async def name_of(*args: Any, **options: Any) -> str:
    """Return the name of its task, whatever it is called with."""
    return await task_name()


def _functions() -> list[tuple[Callable[[], Awaitable[str]], str]]:
    """List callables with the name that a job gets from each."""
    return [
        (task_name, "task_name"),
        (Mailer().send, "Mailer.send"),
        (Mailer.broadcast, "Mailer.broadcast"),
        (Mailer.ping, "Mailer.ping"),
        (Mailer(), "Mailer"),
        (lambda: task_name(), "_functions.<locals>.<lambda>"),
        (functools.partial(name_of, 1), "name_of"),
        (functools.partial(functools.partial(name_of, 1), x=2), "name_of"),
        (functools.partial(Mailer().send), "Mailer.send"),
        (functools.partial(Mailer()), "Mailer"),
    ]


@pytest.mark.parametrize(("fn", "name"), _functions())
async def test_the_default_name_tells_the_function_and_the_number(fn: Callable[[], Awaitable[str]], name: str) -> None:
    async with WorkerPool() as pool:
        await pool.submit(echo, 0)
        handle = await pool.submit(fn)
        assert handle.name == f"{name}#2"
        assert await handle == handle.name


async def test_a_callable_with_an_odd_name_gets_that_of_its_type() -> None:
    class Odd:
        def __init__(self) -> None:
            self.__qualname__ = 3

        async def __call__(self) -> str:
            return await task_name()

    async with WorkerPool() as pool:
        assert (await pool.run(Odd())).endswith("Odd#1")


async def test_a_callable_whose_name_cannot_be_read_leaves_the_books_balanced() -> None:
    """As a proxy that is used outside of its context."""

    class Proxy:
        def __getattr__(self, attribute: str) -> Any:
            if attribute == "__qualname__":
                raise RuntimeError("outside of its context")
            raise AttributeError(attribute)

        async def __call__(self) -> int:
            return 1

    async with WorkerPool(max_workers=1, shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        try:
            result = await pool.run(Proxy())
        except RuntimeError:
            assert (pool.stats().accepted, pool.stats().running) == (0, 0), "a refusal leaves nothing behind"
        else:
            assert result == 1
        assert await pool.run(echo, 2) == 2
