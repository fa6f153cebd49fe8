"""R5: no exception of a job stops a worker, another job or the pool; it goes to the handle, or once to the log."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import gc
import logging
import time
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests import conftest
from tests.support import FOREVER, Gate, Stubborn, adds_up, balanced, echo, fail, sleep, turns
from weirpool import JobCancelled, JobHandle, JobState, PoolError, PoolOverloaded, PoolState, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator


class OurCancelled(asyncio.CancelledError):
    """What libraries derive from CancelledError."""


class Nasty(Exception):
    """An exception that fights back when it is looked at."""

    def _refuse(self, *_: Any) -> NoReturn:
        raise RuntimeError("do not look at me")

    __str__ = __repr__ = __eq__ = __hash__ = _refuse


class Empty(Exception):
    """An exception that is false."""

    def __len__(self) -> int:
        return 0


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    """An exception whose attributes can't be set, `__traceback__` and `__context__` among them."""

    number: int = 7


class Slotted(Exception):
    """An exception that refuses new attributes."""

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(name)


ERRORS: list[Callable[[], BaseException]] = [
    ValueError,
    TimeoutError,
    MemoryError,
    RecursionError,
    StopAsyncIteration,
    GeneratorExit,
    BaseException,
    concurrent.futures.CancelledError,
    asyncio.InvalidStateError,
    lambda: PoolError("mine"),
    lambda: ExceptionGroup("many", [ValueError(), KeyError()]),
    lambda: BaseExceptionGroup("mixed", [asyncio.CancelledError(), ValueError(), GeneratorExit()]),
    Nasty,
    Empty,
    Frozen,
    Slotted,
]
NAMES = [
    *("ValueError", "TimeoutError", "MemoryError", "RecursionError", "StopAsyncIteration", "GeneratorExit", "BaseException"),
    *("futures.CancelledError", "InvalidStateError", "PoolError", "ExceptionGroup", "BaseExceptionGroup"),
    *("Nasty", "Empty", "Frozen", "Slotted"),
]

each_error = pytest.mark.parametrize("make", ERRORS, ids=NAMES)


async def end_of(handle: JobHandle[Any]) -> Any:
    """Return what awaiting a handle returns or raises."""
    try:
        return await handle
    except BaseException as error:
        return error


def where_raised(error: BaseException) -> list[str]:
    """Return the functions that the traceback of an exception goes through."""
    return [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]


def records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what was logged about jobs."""
    return [record for record in caplog.records if record.name == "weirpool.job"]


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Switch the garbage collector off: what must happen now must not need it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# Every kind of exception -------------------------------------------------------------------------------------------------


@each_error
async def test_an_exception_goes_to_the_handle_and_hurts_nobody_else(make: Callable[[], BaseException]) -> None:
    error = make()
    gate = Gate()
    async with WorkerPool(max_workers=2, shutdown_timeout=0.5, cancel_grace=0.1) as pool:
        neighbour = await pool.submit(gate, "fine")
        failing = await pool.submit(fail, error)
        queued = await pool.submit(echo, "next")
        assert await end_of(failing) is error
        assert failing.state is JobState.FAILED
        assert failing.exception() is error
        assert "fail" in where_raised(error), "the traceback tells where the job raised"
        assert await queued == "next"
        assert neighbour.state is JobState.RUNNING
        gate.open()
        assert await neighbour == "fine"
        assert pool.state is PoolState.OPEN
        assert balanced(pool)
    assert adds_up(pool.report)


@each_error
async def test_an_exception_goes_through_run(make: Callable[[], BaseException]) -> None:
    error = make()
    async with WorkerPool(max_workers=1, shutdown_timeout=0.5, cancel_grace=0.1) as pool:
        caught: BaseException | None = None
        try:
            await pool.run(fail, error)
        except BaseException as raised:
            caught = raised
        assert caught is error
        assert await pool.run(echo, 1) == 1


@pytest.mark.complains
@each_error
async def test_an_exception_that_nobody_retrieves_is_logged_once_with_its_traceback(
    make: Callable[[], BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async with WorkerPool(name="mill", shutdown_timeout=0.5, cancel_grace=0.1) as pool:
        await pool.submit(fail, make(), name="grind")
    gc.collect()
    [record] = records(caplog)
    assert record.levelno == logging.ERROR
    assert "grind" in record.getMessage()
    assert "mill" in record.getMessage()
    assert record.exc_info
    assert record.exc_info[1] is not None
    assert "fail" in where_raised(record.exc_info[1])
    assert "support.py" in logging.Formatter().format(record)


async def test_a_stop_iteration_of_a_job_becomes_the_runtime_error_that_python_makes_of_it() -> None:
    async with WorkerPool(max_workers=1) as pool:
        handle = await pool.submit(fail, StopIteration(1))
        with pytest.raises(RuntimeError, match="StopIteration"):
            await handle
        assert handle.state is JobState.FAILED
        assert await pool.run(echo, 1) == 1


@pytest.mark.parametrize("make", [asyncio.CancelledError, OurCancelled])
async def test_a_cancelled_error_of_a_job_cancels_neither_its_awaiter_nor_its_neighbours(
    make: Callable[[], BaseException],
) -> None:
    async with WorkerPool(max_workers=2) as pool:
        neighbour = await pool.submit(sleep, 0.02, "fine")
        handle = await pool.submit(fail, make())
        queued = await pool.submit(echo, "next")
        with pytest.raises(JobCancelled):
            await handle
        assert handle.state is JobState.CANCELLED
        assert await queued == "next"
        assert await neighbour == "fine"
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()


async def test_a_job_whose_children_fail_does_not_touch_its_neighbours() -> None:
    async def family() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleep(FOREVER))
            group.create_task(fail(ValueError("child")))

    async with WorkerPool() as pool:
        neighbour = await pool.submit(sleep, 0.02, "fine")
        handle = await pool.submit(family)
        error = await end_of(handle)
        assert isinstance(error, ExceptionGroup)
        assert await neighbour == "fine"


async def test_many_failures_at_once_leave_every_worker_alive() -> None:
    async with WorkerPool(max_workers=3, queue_size=200) as pool:
        handles = [pool.submit_nowait(fail, ERRORS[number % 6]()) for number in range(100)]
        ends = await asyncio.gather(*map(end_of, handles))
        assert all(isinstance(end, BaseException) for end in ends)
        gate = Gate()
        for _ in range(3):
            pool.submit_nowait(gate)
        await turns()
        assert gate.inside == 3
        gate.open()


@pytest.mark.parametrize("nested", [False, True])
async def test_an_error_of_another_pool_that_a_job_passes_on_is_the_jobs_own(nested: bool) -> None:
    """It is the exception itself, with the traceback that leads to the job, not a copy of what the pool would raise."""
    full = WorkerPool(max_workers=1, queue_size=0, name="inner")
    errors: list[BaseException] = []

    async def overload() -> None:
        try:
            full.submit_nowait(echo, 1)
        except PoolOverloaded as error:
            errors.append(error)
            raise

    async def relay() -> None:
        await outer.run(overload)

    gate = Gate()
    async with full, WorkerPool(name="outer") as outer:
        await full.submit(gate)
        with pytest.raises(PoolOverloaded) as caught:
            await outer.run(relay if nested else overload)
        gate.open()
    assert "overload" in where_raised(caught.value)
    assert caught.value.pool == "inner"
    assert caught.value is errors[0]


# What a job may return instead of a coroutine ----------------------------------------------------------------------------


async def test_a_job_that_returns_no_awaitable_has_failed_with_advice() -> None:
    async with WorkerPool() as pool:
        handle: JobHandle[Any] = await pool.submit(lambda: 7)  # type: ignore[arg-type,return-value]
        with pytest.raises(
            TypeError, match=r"int.*on the event loop.*in_thread\(fn\), in_process\(fn\) or in_interpreter\(fn\)"
        ):
            await handle
        assert handle.state is JobState.FAILED
        assert await pool.run(echo, 1) == 1


async def test_a_plain_function_that_raises_has_failed() -> None:
    def broken() -> Any:
        raise LookupError("before any coroutine")

    async with WorkerPool() as pool:
        handle: JobHandle[Any] = await pool.submit(broken)
        with pytest.raises(LookupError, match="before"):
            await handle
        assert handle.state is JobState.FAILED


async def test_wrong_arguments_are_the_jobs_failure() -> None:
    async with WorkerPool() as pool:
        handle: JobHandle[Any] = await pool.submit(echo, 1, 2)  # type: ignore[call-arg,arg-type,unused-ignore]
        with pytest.raises(TypeError, match="argument"):
            await handle


async def test_any_awaitable_will_do() -> None:
    class Custom:
        def __await__(self) -> Generator[Any, None, str]:
            yield from asyncio.sleep(0).__await__()
            return "custom"

    loop = asyncio.get_running_loop()
    future = loop.create_future()
    loop.call_later(0.01, future.set_result, "future")
    async with WorkerPool() as pool:
        assert await pool.run(lambda: Custom()) == "custom"
        assert await pool.run(lambda: future) == "future"
        assert await pool.run(lambda: asyncio.ensure_future(echo("task"))) == "task"


async def test_a_job_that_yields_nonsense_has_failed() -> None:
    class Nonsense:
        def __await__(self) -> Generator[Any, None, None]:
            yield "not a future"

    async with WorkerPool() as pool:
        with pytest.raises(RuntimeError):
            await pool.run(lambda: Nonsense())
        assert await pool.run(echo, 1) == 1


@pytest.mark.parametrize("tidy", [True, False])
async def test_a_task_that_cannot_be_made_is_the_jobs_failure(tidy: bool) -> None:
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    gate = Gate()

    def broken(_: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> NoReturn:
        if tidy:
            coro.close()
        raise OSError("no more tasks")

    async with WorkerPool(max_workers=1, queue_size=3) as pool:
        await pool.submit(gate)
        handles: list[JobHandle[Any]] = [await pool.submit(echo, number) for number in range(2)]
        await turns()
        loop.set_task_factory(broken)
        try:
            gate.open()
            for handle in handles:
                await handle.wait()
            handles.append(await pool.submit(echo, 2))
        finally:
            loop.set_task_factory(before)
        for handle in handles:
            assert handle.state is JobState.FAILED
            assert isinstance(handle.exception(), OSError)
        assert balanced(pool)
        assert await pool.run(echo, 3) == 3


@pytest.mark.complains
async def test_a_task_that_cannot_be_made_does_not_end_the_drain_before_those_behind_it_have_run() -> None:
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    gate, stubborn = Gate(), Stubborn()

    def broken(_: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> NoReturn:
        loop.set_task_factory(before)  # the next one can be made
        raise OSError("no more tasks")

    async with WorkerPool(max_workers=1, cancel_grace=0.05) as pool:
        stray = await pool.submit(stubborn, timeout=0.01)
        await stray.wait()
        await pool.submit(gate)
        unlucky, lucky = [await pool.submit(echo, number) for number in range(2)]
        closing = asyncio.ensure_future(pool.aclose())
        await turns()
        loop.set_task_factory(broken)
        try:
            gate.open()
            report = await closing
        finally:
            loop.set_task_factory(before)
        assert isinstance(unlucky.exception(), OSError)
        assert await lucky == 1
        assert (report.succeeded, report.failed, report.abandoned) == (2, 1, 1)
    await stubborn.release()


async def test_many_tasks_that_cannot_be_made_fail_one_after_the_other_not_one_inside_the_other() -> None:
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    gate = Gate()

    def broken(_: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> NoReturn:
        raise OSError("no more tasks")

    async with WorkerPool(max_workers=1, queue_size=2000) as pool:
        await pool.submit(gate)
        handles = [pool.submit_nowait(echo, number) for number in range(2000)]
        await turns()
        loop.set_task_factory(broken)
        try:
            gate.open()
            await handles[-1].wait()
        finally:
            loop.set_task_factory(before)
        assert all(isinstance(handle.exception(), OSError) for handle in handles)
        assert await pool.run(echo, 1) == 1


# KeyboardInterrupt and SystemExit ----------------------------------------------------------------------------------------


def own_loop() -> asyncio.AbstractEventLoop:
    """Return a loop of the kind under test, in real time."""
    make = {"eager": conftest._eager_loop, "uvloop": conftest._uvloop}.get(conftest.LOOP, asyncio.new_event_loop)
    return make()


@pytest.mark.realtime
@pytest.mark.complains
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_goes_to_the_handle_and_to_the_loop_and_the_pool_closes_in_bound(kind: type[BaseException]) -> None:
    error = kind()
    pools: list[WorkerPool] = []
    handles: list[JobHandle[Any]] = []

    async def main() -> None:
        async with WorkerPool(max_workers=2, shutdown_timeout=0.4, cancel_grace=0.2) as pool:
            pools.append(pool)
            handles.append(await pool.submit(sleep, FOREVER))
            handles.append(await pool.submit(fail, error))
            handles.append(await pool.submit(sleep, FOREVER))
            await handles[0]

    since = time.monotonic()
    with pytest.raises(kind) as caught, asyncio.Runner(loop_factory=own_loop) as runner:
        runner.run(main())
    assert caught.value is error
    assert time.monotonic() - since < 1.5
    assert [handle.state for handle in handles] == [JobState.CANCELLED, JobState.FAILED, JobState.CANCELLED]
    assert handles[1].exception() is error
    assert pools[0].state is PoolState.CLOSED
    assert adds_up(pools[0].report)


@pytest.mark.realtime
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_stops_run_forever_after_the_handle_was_settled_and_the_pool_goes_on_if_the_loop_does(
    kind: type[BaseException],
) -> None:
    error = kind()
    loop = own_loop()
    try:
        pool = loop.run_until_complete(WorkerPool(max_workers=1, queue_size=2).__aenter__())

        async def submit() -> list[JobHandle[Any]]:
            return [await pool.submit(fail, error), await pool.submit(echo, "next")]

        failing, following = loop.run_until_complete(submit())
        with pytest.raises(kind) as caught:
            loop.run_forever()
        assert caught.value is error
        assert failing.state is JobState.FAILED
        assert failing.exception() is error

        async def finish() -> Any:
            result = await following
            await pool.aclose()
            return result

        assert loop.run_until_complete(finish()) == "next"
        assert adds_up(pool.report)
    finally:
        loop.close()


@pytest.mark.realtime
def test_an_interrupt_while_a_job_cleans_up_after_its_deadline_reaches_the_loop_too() -> None:
    async def job() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            raise KeyboardInterrupt

    loop = own_loop()
    try:
        pool = loop.run_until_complete(WorkerPool().__aenter__())
        handle = loop.run_until_complete(pool.submit(job, timeout=0.01))
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert handle.state is JobState.TIMED_OUT
        error = handle.exception()
        assert error is not None
        assert isinstance(error.__cause__, KeyboardInterrupt)
        loop.run_until_complete(pool.aclose())
    finally:
        loop.close()


# A failure that nobody retrieves -----------------------------------------------------------------------------------------


@pytest.mark.complains
@pytest.mark.usefixtures("no_gc")
async def test_a_failure_whose_handle_was_dropped_before_is_logged_at_once(caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()

    async def job() -> None:
        await gate()
        raise ValueError

    async with WorkerPool() as pool:
        pool.submit_nowait(job)
        await turns()
        assert not records(caplog)
        gate.open()
        await turns()
        assert len(records(caplog)) == 1
    assert len(records(caplog)) == 1


@pytest.mark.complains
@pytest.mark.usefixtures("no_gc")
async def test_a_failure_whose_handle_is_dropped_after_is_logged_then(caplog: pytest.LogCaptureFixture) -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(fail, ValueError())
        await turns()
        assert handle.done()
        assert not records(caplog), "somebody may still ask"
        del handle
        await turns(1)
        assert len(records(caplog)) == 1


@pytest.mark.complains
@pytest.mark.usefixtures("no_gc")
async def test_a_failure_whose_handle_outlives_the_pool_is_logged_when_it_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(fail, ValueError())
    assert not records(caplog)
    del handle
    assert len(records(caplog)) == 1


@pytest.mark.complains
@pytest.mark.usefixtures("no_gc")
async def test_a_failure_is_logged_at_once_even_if_a_child_task_outlives_the_job(caplog: pytest.LogCaptureFixture) -> None:
    children: list[asyncio.Task[Any]] = []

    async def job() -> None:
        children.append(asyncio.create_task(sleep(FOREVER)))
        await asyncio.sleep(0)
        raise ValueError

    async with WorkerPool() as pool:
        pool.submit_nowait(job)
        await turns()
        assert len(records(caplog)) == 1
        children[0].cancel()
    assert len(records(caplog)) == 1


@pytest.mark.complains
@pytest.mark.usefixtures("no_gc")
async def test_a_timeout_that_nobody_retrieves_is_a_failure_that_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(sleep, FOREVER, timeout=0.02)
        await pool.submit(echo, 1, deadline=loop.time() + 0.01)
        await asyncio.sleep(0.05)
        assert [record.levelno for record in records(caplog)] == [logging.ERROR] * 2
        assert all("JobTimeout" in logging.Formatter().format(record) for record in records(caplog))


async def test_a_cancelled_job_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async with WorkerPool(max_workers=1) as pool:
        running = await pool.submit(sleep, FOREVER)
        queued = await pool.submit(sleep, FOREVER)
        await turns()
        queued.cancel()
        running.cancel()
        await pool.submit(fail, asyncio.CancelledError())
        del running, queued
    gc.collect()
    assert not records(caplog)


@pytest.mark.complains
@pytest.mark.parametrize("how", ["deadline", "cancel"])
async def test_an_abandoned_job_is_logged_once_though_nobody_retrieves_it(how: str, caplog: pytest.LogCaptureFixture) -> None:
    stubborn = Stubborn()
    async with WorkerPool(cancel_grace=0.02) as pool:
        handle = await pool.submit(stubborn, timeout=0.02 if how == "deadline" else None)
        await stubborn.started.wait()
        if how == "cancel":
            handle.cancel()
        await handle.wait()
        del handle
        await stubborn.release()
    gc.collect()
    assert len(records(caplog)) == 1


@pytest.mark.parametrize("how", ["await", "result", "exception", "run", "gather", "one of two handles"])
async def test_a_failure_that_was_retrieved_is_not_logged(how: str) -> None:
    error = ValueError()
    async with WorkerPool() as pool:
        if how == "run":
            with pytest.raises(ValueError):
                await pool.run(fail, error)
            return
        handle = await pool.submit(fail, error)
        if how == "await":
            with pytest.raises(ValueError):
                await handle
        elif how == "gather":
            ends = await asyncio.gather(end_of(handle), end_of(handle))
            assert ends[0] is ends[1] is error
        else:
            await handle.wait()
            if how == "result":
                with pytest.raises(ValueError):
                    handle.result()
            else:
                assert handle.exception() is error
    # the fixture `quiet` collects the garbage, and then looks at the log


@pytest.mark.complains
async def test_waiting_for_the_end_is_not_retrieving_the_failure(caplog: pytest.LogCaptureFixture) -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(fail, ValueError())
        await handle.wait()
        assert repr(handle)
        assert handle.done()
        del handle
    gc.collect()
    assert len(records(caplog)) == 1


@pytest.mark.complains
async def test_an_awaiter_that_is_cancelled_as_the_job_fails_has_not_retrieved_the_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(fail, ValueError())
        awaiting = asyncio.create_task(end_of(handle))
        while not handle.done():
            await asyncio.sleep(0)
        awaiting.cancel()  # it has been woken, but has not taken its step yet
        del handle
        assert isinstance(await awaiting, asyncio.CancelledError)
        del awaiting
    gc.collect()
    assert len(records(caplog)) == 1


@pytest.mark.complains
async def test_a_job_that_fails_after_its_run_was_cancelled_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def job() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            raise ValueError("while cleaning up")

    async with WorkerPool() as pool:
        running = asyncio.create_task(pool.run(job))
        await turns()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        del running
    gc.collect()
    [record] = records(caplog)
    assert "while cleaning up" in logging.Formatter().format(record)


@pytest.mark.complains
async def test_a_job_that_fails_while_the_pool_closes_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def job() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            raise ValueError

    async with WorkerPool(shutdown_timeout=0.02, cancel_grace=0.02) as pool:
        await pool.submit(job)
        await turns()
    gc.collect()
    assert len(records(caplog)) == 1
    assert pool.report is not None
    assert pool.report.failed == 1
