"""`in_thread`: a plain function as a job, whose thread is what its place stands for (R2, R4, R5, R6, R7, R8)."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import anyio.from_thread
import pytest

from tests.blocking import functions
from tests.blocking.support import Blocking, until
from tests.support import adds_up, sleep, turns
from weirpool import JobCancelled, JobState, JobTimeout, PoolOverloaded, WorkerPool, current_job, in_thread, remaining
from weirpool._threads import Call
from weirpool.policies import Retry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support import Clock
    from weirpool import JobHandle

pytestmark = pytest.mark.realtime

LATE = pytest.mark.complains  # about a job that is abandoned


@pytest.fixture
async def blocking() -> AsyncIterator[Blocking]:
    """Give a test a function that blocks, and let it go at the end."""
    made = Blocking()
    yield made
    made.released.set()
    if made.calls:
        await until(made.ended)
        await asyncio.sleep(0.01)  # what its thread has sent to the loop arrives


async def late(pool: WorkerPool, blocking: Blocking) -> JobHandle[Any]:
    """Return a job in a thread that has begun and whose time will soon be over: on a busy machine it may not begin before."""
    timeout = 0.05
    while True:
        handle = await pool.submit(in_thread(blocking), timeout=timeout)
        while not blocking.begun.is_set() and handle.state is not JobState.TIMED_OUT:
            await asyncio.sleep(0.001)
        if blocking.begun.is_set():
            return handle
        handle.exception()  # or it would be logged
        timeout *= 2


def check() -> None:
    """Look whether the job is to end, for ever."""
    while True:
        anyio.from_thread.check_cancelled()
        time.sleep(0.001)


# What it is -----------------------------------------------------------------------------------------------------------------


async def test_a_plain_function_runs_in_a_thread_and_its_result_is_the_jobs() -> None:
    async with WorkerPool() as pool:
        assert await pool.run(in_thread(functions.echo), 7) == 7
        assert await pool.run(functools.partial(in_thread(functions.echo), times=2), 7) == [7, 7]
        assert await pool.run(in_thread(functools.partial(functions.echo, times=2)), 7) == [7, 7]
        assert await pool.run(in_thread(threading.get_ident)) != threading.get_ident()
        assert await pool.run(in_thread(list), "ab") == ["a", "b"]


async def test_the_job_has_the_name_of_the_function() -> None:
    async with WorkerPool() as pool:
        for fn, name in (
            (functions.echo, "echo"),
            (functools.partial(functions.echo, times=1), "echo"),
            (threading.get_ident, "get_ident"),
            (Blocking().released.is_set, "Event.is_set"),
        ):
            handle = await pool.submit(in_thread(fn))
            assert handle.name == f"{name}#{handle.id}"
            await handle
    wrapped: Any = in_thread(functions.seen)
    assert (wrapped.__name__, wrapped.__module__, wrapped.__wrapped__) == ("seen", functions.__name__, functions.seen)


async def test_context_variables_are_carried_and_what_a_job_can_ask_of_itself() -> None:
    functions.VAR.set("of the submitter")

    def ask() -> tuple[Any, ...]:
        job = current_job()
        assert job is not None
        return job.name, remaining(), functions.VAR.get()

    async with WorkerPool() as pool:
        name, left, value = await pool.run(in_thread(ask), timeout=30, name="asking")
    assert (name, value) == ("asking", "of the submitter")
    assert 29 < left <= 30


async def test_what_the_function_raises_is_raised_with_its_own_lines_and_not_those_of_the_thread() -> None:
    async with WorkerPool() as pool:
        with pytest.raises(ValueError, match="wrong") as caught:
            await pool.run(in_thread(functions.fail), "wrong")
        assert caught.traceback[-1].name == "fail"
        assert "__call__" not in [entry.name for entry in caught.traceback]
        with pytest.raises(RuntimeError, match="StopIteration"):
            await pool.run(in_thread(next), iter(()))
        with pytest.raises(BaseException, match="bare") as bare:
            await pool.run(in_thread(functions.fail_bare))
        assert type(bare.value) is BaseException
        assert pool.stats().failed == 3


async def test_a_failure_leaves_no_reference_cycle() -> None:
    class Mine(Exception):
        pass

    def fail() -> None:
        raise Mine

    async with WorkerPool() as pool:
        gc.collect()
        gc.disable()
        try:
            handle = await pool.submit(in_thread(fail))
            await handle.wait()
            error = handle.exception()
            assert type(error) is Mine
            reference = weakref.ref(error)
            del error, handle
            await turns()
            assert reference() is None
        finally:
            gc.enable()


@pytest.mark.complains  # that nobody asked for it
def test_sys_exit_in_a_thread_ends_the_program_as_in_any_job() -> None:
    def leave() -> None:
        raise SystemExit(5)

    async def main() -> None:
        async with WorkerPool() as pool:
            await pool.submit(in_thread(leave))

    with pytest.raises(SystemExit) as caught:
        asyncio.run(main())
    assert caught.value.code == 5


# How many -------------------------------------------------------------------------------------------------------------------


async def test_the_bound_is_the_pools_and_not_anyios_forty() -> None:
    all_at_once = threading.Barrier(50)
    async with WorkerPool(max_workers=50) as pool:
        handles = [await pool.submit(in_thread(all_at_once.wait), 30) for _ in range(50)]
        assert sorted([await handle for handle in handles]) == [*range(50)]


async def test_never_more_threads_run_than_there_are_places() -> None:
    lock, inside, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.002)
        with lock:
            inside -= 1

    async with WorkerPool(max_workers=2) as pool:
        for _ in range(10):
            await pool.submit(in_thread(work))
    assert most == 2


# When it is cancelled -------------------------------------------------------------------------------------------------------


async def test_a_job_whose_thread_returns_in_its_grace_has_timed_out_and_ran_until_then(blocking: Blocking) -> None:
    async with WorkerPool(cancel_grace=20, shutdown_timeout=30) as pool:
        handle = await late(pool, blocking)
        while pool.running()[0].ending != "deadline":
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        assert (handle.state, pool.stats().running) == (JobState.RUNNING, 1)
        blocking.released.set()
        with pytest.raises(JobTimeout) as caught:
            await handle
        assert not caught.value.abandoned
        assert handle.state is JobState.TIMED_OUT


async def test_what_a_cancelled_jobs_thread_returns_in_its_grace_stands_and_so_does_what_it_raises(blocking: Blocking) -> None:
    async with WorkerPool(cancel_grace=20, shutdown_timeout=30) as pool:
        handle = await pool.submit(in_thread(blocking))
        await until(blocking.begun)
        handle.cancel()
        await turns()
        assert handle.state is JobState.RUNNING
        blocking.released.set()
        assert await handle == "late"

        failing = Blocking(ValueError("late"))
        handle = await pool.submit(functools.partial(in_thread(failing), 1))
        await until(failing.begun)
        handle.cancel()
        failing.released.set()
        with pytest.raises(ValueError, match="late"):
            await handle


async def test_so_it_does_for_a_job_that_may_be_tried_again(blocking: Blocking) -> None:
    async with WorkerPool(cancel_grace=20, shutdown_timeout=30) as pool:
        handle = await pool.submit(in_thread(blocking), retry=Retry(attempts=3))
        await until(blocking.begun)
        handle.cancel()
        blocking.released.set()
        assert await handle == "late"


@LATE
async def test_a_job_whose_thread_goes_on_is_abandoned_and_a_stray_until_that_ends(
    blocking: Blocking, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with WorkerPool(max_workers=1, cancel_grace=0.1) as pool:
        handle = await late(pool, blocking)
        with pytest.raises(JobTimeout) as caught:
            await handle
        assert caught.value.abandoned
        assert handle.state is JobState.ABANDONED
        assert await pool.run(in_thread(functions.echo), 1) == 1, "its place is free"
        assert pool.stats().strays == 1
        (logged,) = [record.getMessage() for record in caplog.records if record.name == "weirpool.job"]
        assert "it hangs at" in logged
        assert f"in {Blocking.__call__.__qualname__}: assert self.released.wait" in logged
        blocking.released.set()
        await until(blocking.ended)
        while pool.stats().strays:
            await asyncio.sleep(0.001)
    assert adds_up(pool.report)


@LATE
async def test_places_and_max_strays_bound_the_threads(blocking: Blocking) -> None:
    async with WorkerPool(max_workers=1, max_strays=0, cancel_grace=0, submit_timeout=0, queue_size=0) as pool:
        handle = await pool.submit(in_thread(blocking))
        await until(blocking.begun)
        handle.cancel()
        with pytest.raises(JobCancelled) as caught:
            await handle
        assert caught.value.abandoned
        with pytest.raises(PoolOverloaded) as refused:
            await pool.submit(in_thread(functions.echo))
        assert refused.value.reason == "strays"
        blocking.released.set()
        while pool.stats().strays:
            await asyncio.sleep(0.001)
        assert await pool.run(in_thread(functions.echo), 1) == 1


@pytest.mark.parametrize("how", ["deadline", "cancel", "shutdown"])
@LATE
async def test_a_function_that_looks_whether_it_is_to_end_ends_its_job_at_once(how: str, clock: Clock) -> None:
    async with WorkerPool(cancel_grace=20, shutdown_timeout=20) as pool:
        clock.start()
        handle = await pool.submit(in_thread(check), timeout=0.05 if how == "deadline" else None)
        await asyncio.sleep(0.02)
        if how == "cancel":
            handle.cancel()
        if how == "shutdown":
            await pool.aclose()
        with pytest.raises(JobTimeout if how == "deadline" else JobCancelled) as caught:
            await handle
        error: Any = caught.value
        assert not error.abandoned
        assert clock.passed < 10, "its grace would be 20 seconds"
        if how != "deadline":
            assert error.reason == how


async def test_what_the_thread_waits_for_on_the_loop_is_cancelled_with_the_job() -> None:
    begun = threading.Event()
    seen: list[str] = []

    async def on_the_loop() -> None:
        begun.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async with WorkerPool(cancel_grace=20, shutdown_timeout=30) as pool:
        handle = await pool.submit(in_thread(lambda: anyio.from_thread.run(on_the_loop)))
        await until(begun)
        handle.cancel()
        await handle.wait()
        assert handle.exception() is not None
    assert seen == ["cancelled"]


async def test_a_job_that_is_cancelled_before_its_thread_has_begun_never_calls_the_function(blocking: Blocking) -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(in_thread(blocking))
        await turns(1)
        handle.cancel()
        with pytest.raises(JobCancelled):
            await handle
    assert blocking.calls == 0


async def test_a_call_that_is_withdrawn_before_its_thread_comes_to_it_is_not_made(blocking: Blocking) -> None:
    call = Call(blocking, (), {}, asyncio.get_running_loop())
    assert call.withdraw()
    call()
    assert blocking.calls == 0
    assert call.where() == ()


async def test_a_call_that_is_over_need_not_be_waited_for_and_can_not_be_withdrawn() -> None:
    call = Call(functions.echo, (7,), {}, asyncio.get_running_loop())
    await asyncio.to_thread(call)
    assert not call.withdraw()
    await call.ended()
    assert (call.result, call.where()) == (7, ())


async def test_a_thread_that_outlives_its_loop_ends_quietly(blocking: Blocking) -> None:
    loop = asyncio.new_event_loop()
    call = Call(blocking, (), {}, loop)
    thread = threading.Thread(target=call)
    thread.start()
    await until(blocking.begun)
    waiting = call.ended()
    waiting.send(None)
    waiting.close()
    loop.close()
    blocking.released.set()
    await asyncio.to_thread(thread.join)  # an error in the thread would be a warning, and fail this
    assert call.over


async def test_a_waiter_that_has_gone_is_not_told(blocking: Blocking) -> None:
    call = Call(blocking, (), {}, asyncio.get_running_loop())
    thread = threading.Thread(target=call)
    thread.start()
    await until(blocking.begun)
    waiting = asyncio.create_task(call.ended())
    await turns()
    waiting.cancel()
    await turns()
    blocking.released.set()
    await asyncio.to_thread(thread.join)
    await turns()
    assert waiting.cancelled()


# Not as a job ---------------------------------------------------------------------------------------------------------------


async def test_an_async_job_that_is_cancelled_in_it_waits_for_the_thread_and_goes_no_further(blocking: Blocking) -> None:
    steps: list[Any] = []

    async def job() -> None:
        steps.append("first")
        steps.append(await in_thread(blocking)())
        steps.append("never")

    async with WorkerPool(cancel_grace=20, shutdown_timeout=30) as pool:
        handle = await pool.submit(job)
        await until(blocking.begun)
        handle.cancel()
        await turns()
        assert handle.state is JobState.RUNNING
        blocking.released.set()
        with pytest.raises(JobCancelled):
            await handle
    assert steps == ["first"]


async def test_outside_of_any_job_it_is_awaited_and_cancelled_after_its_thread() -> None:
    assert await in_thread(functions.echo)(7, times=2) == [7, 7]
    blocking = Blocking(ValueError("late"))
    task = asyncio.create_task(in_thread(blocking)())
    await until(blocking.begun)
    task.cancel()
    await turns()
    task.cancel()
    await turns()
    assert not task.done()
    blocking.released.set()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.__cause__ is blocking.outcome
    assert task.cancelling() == 2


async def test_the_scopes_of_anyio_and_the_timeouts_of_asyncio_wait_for_the_thread_which_hears_of_them() -> None:
    with anyio.move_on_after(0.02) as scope:
        await in_thread(check)()
    assert scope.cancelled_caught
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await in_thread(check)()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


# Where it is ----------------------------------------------------------------------------------------------------------------


async def test_the_line_of_a_job_is_that_of_its_thread(blocking: Blocking) -> None:
    lock = threading.Lock()
    lock.acquire()

    async def job() -> None:
        await in_thread(blocking)()

    async with WorkerPool() as pool:
        await pool.submit(job)
        await until(blocking.begun)
        await pool.submit(in_thread(lock.acquire))
        try:
            async with asyncio.timeout(30):
                while "released.wait" not in str(pool.running()[0].stack) or "<built-in>" not in str(pool.running()[1].stack):
                    await asyncio.sleep(0.001)
            inside, built_in = (running.stack for running in pool.running())
        finally:
            lock.release()  # or its thread would never end
        outer, function, *_ = inside
        assert ".job: await in_thread(blocking)()" in outer
        assert f"in {Blocking.__call__.__qualname__}: assert self.released.wait" in function
        assert built_in == ("<built-in> in lock.acquire",)
        blocking.released.set()


async def test_before_its_thread_has_begun_the_line_is_that_of_the_wait() -> None:
    async with WorkerPool() as pool:
        await pool.submit(in_thread(functions.echo))
        await turns(1)
        assert "in_a_thread" in pool.running()[0].stack[1]


# Bad input ------------------------------------------------------------------------------------------------------------------


async def _stream() -> AsyncIterator[int]:
    yield 1


class Async:
    """An object that is called as an async function is."""

    async def __call__(self) -> None: ...


NOT_PLAIN: dict[str, tuple[Any, str]] = {
    "async function": (functions.already, "got the async function already: it is async already: submit it as it is"),
    "partial of one": (functools.partial(functions.already), "got the async function already"),
    "object with an async call": (Async(), "got the async function Async"),
    "wrapped": (in_thread(functions.echo), "got the async function echo"),
    "generator function": (functions.stream, "got the generator function stream: wrap it in one that consumes it"),
    "async generator function": (_stream, "got the generator function _stream"),
    "result": (7, "got 7 (int): pass the function and its arguments apart, submit(in_thread(fn), ...)"),
    "None": (None, "got None (NoneType)"),
}


@pytest.mark.parametrize(("thing", "says"), NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_what_is_no_plain_function_is_refused(thing: Any, says: str) -> None:
    with pytest.raises(TypeError) as caught:
        in_thread(thing)
    assert str(caught.value).startswith("in_thread() takes a plain function, got ")
    assert says in str(caught.value)


def test_a_coroutine_is_refused_and_closed() -> None:
    coroutine: Any = sleep(1)
    with pytest.raises(TypeError, match=r"got the coroutine sleep\(\.\.\.\): it is async already: submit\(sleep, \.\.\.\)"):
        in_thread(coroutine)
    assert coroutine.cr_frame is None, "or it would warn that it was never awaited"


async def test_a_function_that_turns_out_to_be_async_fails_its_job_and_says_so() -> None:
    async with WorkerPool() as pool:
        with pytest.raises(TypeError, match=r"<lambda> has returned a coroutine: it is async already, submit it as it is"):
            await pool.run(in_thread(lambda: functions.already()))  # type: ignore[unused-coroutine]


async def test_a_plain_function_submitted_bare_is_told_of_all_three() -> None:
    async with WorkerPool() as pool:
        for fn in (functions.echo, time.sleep, functools.partial(functions.echo, times=2)):
            with pytest.raises(
                TypeError, match=r"on the event loop; submit a plain one as in_thread\(fn\), in_process\(fn\) or"
            ):
                await pool.run(fn, 0)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"got the class <class 'list'>: a plain function or a class goes in as in_thread"):
            await pool.run(list)  # type: ignore[arg-type]
