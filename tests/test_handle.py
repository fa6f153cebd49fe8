"""The handle: await, result, exception, wait, done, state, name and repr, for one awaiter and for many."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
import traceback
import weakref
from typing import Any

import pytest

from tests.support import FOREVER, Gate, Stubborn, echo, fail, sleep, turns
from weirpool import JobCancelled, JobHandle, JobState, JobTimeout, WorkerPool, _handle, current_job


def frames(error: BaseException) -> list[str]:
    """Return the functions that the traceback of an exception goes through."""
    return [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]


async def end_of(handle: JobHandle[Any]) -> Any:
    """Return what awaiting a handle returns or raises."""
    try:
        return await handle
    except Exception as error:
        return error


# Looking at it -----------------------------------------------------------------------------------------------------------


async def test_a_handle_says_where_its_job_is() -> None:
    first, second = Gate(), Gate()
    async with WorkerPool(max_workers=1) as pool:
        running = await pool.submit(first, "one")
        handle = await pool.submit(second, "two", name="second job")
        assert (handle.id, handle.name, handle.state, handle.done()) == (2, "second job", JobState.QUEUED, False)
        assert repr(handle) == "<JobHandle second job queued>"
        first.open()
        await running
        assert (handle.state, handle.done()) == (JobState.RUNNING, False)
        assert repr(handle) == "<JobHandle second job running>"
        second.open()
        await handle
        assert (handle.id, handle.name, handle.state, handle.done()) == (2, "second job", JobState.SUCCEEDED, True)
        assert repr(handle) == "<JobHandle second job succeeded>"


@pytest.mark.parametrize("queued", [True, False])
async def test_a_job_that_has_not_ended_has_no_outcome_yet(queued: bool) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1) as pool:
        if queued:
            await pool.submit(gate)
        handle = await pool.submit(gate)
        state = "queued" if queued else "running"
        with pytest.raises(asyncio.InvalidStateError, match=state):
            handle.result()
        with pytest.raises(asyncio.InvalidStateError, match=state):
            handle.exception()
        gate.open()


async def test_a_result_can_be_had_any_number_of_times() -> None:
    value = object()
    async with WorkerPool() as pool:
        handle = await pool.submit(echo, value)
        assert await handle is value
        assert await handle is value
        assert handle.result() is value
        assert handle.exception() is None
    assert await handle is value, "also after the pool has closed"


@pytest.mark.parametrize(
    "result", [None, ValueError("as a value"), JobTimeout("job", 1.0, "running"), asyncio.CancelledError()]
)
async def test_a_result_may_be_anything_even_an_exception(result: Any) -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(echo, result)
        assert await handle is result
        assert handle.exception() is None
        assert handle.state is JobState.SUCCEEDED


async def test_wait_raises_nothing_of_the_jobs() -> None:
    async with WorkerPool() as pool:
        handles = [
            await pool.submit(echo, 1),
            await pool.submit(fail, ValueError()),
            await pool.submit(sleep, FOREVER, timeout=0.02),
            await pool.submit(sleep, FOREVER),
        ]
        await turns()
        handles[3].cancel()
        for handle in handles:
            await handle.wait()
            assert handle.done()
            await handle.wait()  # has ended: returns at once
            handle.exception()


async def test_exception_tells_without_raising() -> None:
    error = ValueError()
    async with WorkerPool() as pool:
        failed = await pool.submit(fail, error)
        late = await pool.submit(sleep, FOREVER, timeout=0.02)
        cancelled = await pool.submit(sleep, FOREVER)
        await turns()
        cancelled.cancel()
        for handle in (failed, late, cancelled):
            await handle.wait()
        assert failed.exception() is error
        assert isinstance(late.exception(), JobTimeout)
        assert isinstance(cancelled.exception(), JobCancelled)


async def test_result_raises_what_await_raises() -> None:
    error = ValueError()
    async with WorkerPool() as pool:
        handle = await pool.submit(fail, error)
        with pytest.raises(ValueError) as awaited:
            await handle
        with pytest.raises(ValueError) as asked:
            handle.result()
    assert awaited.value is asked.value is error


# Several awaiters --------------------------------------------------------------------------------------------------------


async def test_everybody_who_awaits_a_job_gets_its_result() -> None:
    gate = Gate()
    async with WorkerPool() as pool:
        handle = await pool.submit(gate, "done")
        tasks = [asyncio.create_task(end_of(handle)) for _ in range(100)]
        await turns()
        for task in tasks[::3]:
            task.cancel()
        await turns()
        gate.open()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for number, end in enumerate(ends):
        if number % 3:
            assert end == "done"
        else:
            assert isinstance(end, asyncio.CancelledError)


@pytest.mark.parametrize("how", ["await", "wait"])
async def test_awaiters_that_have_gone_are_forgotten(how: str) -> None:
    gate = Gate()

    async def awaiter() -> None:
        await (handle if how == "await" else handle.wait())

    async with WorkerPool() as pool:
        handle = await pool.submit(gate, "done")
        stays = asyncio.create_task(end_of(handle))
        gone = []
        for _ in range(20):
            task = asyncio.create_task(awaiter())
            await turns(2)
            task.cancel()
            await asyncio.wait([task])
            gone.append(weakref.ref(task))
            del task
        gc.collect()
        assert not any(reference() for reference in gone)
        job: Any = handle
        assert job.waiters is None or not isinstance(job.waiters, list) or len(job.waiters) == 1
        gate.open()
        assert await stays == "done"


async def test_awaiters_are_woken_in_the_order_in_which_they_came() -> None:
    gate = Gate()
    order: list[int] = []

    async def awaiter(number: int) -> None:
        await handle
        order.append(number)

    async with WorkerPool() as pool:
        handle = await pool.submit(gate)
        tasks = [asyncio.create_task(awaiter(number)) for number in range(10)]
        await turns()
        gate.open()
        await asyncio.gather(*tasks)
    assert order == list(range(10))


async def test_an_exception_does_not_gather_what_its_awaiters_were_handling() -> None:
    error = ValueError("the job's")
    contexts: list[BaseException | None] = []

    async def awaiter(number: int) -> None:
        try:
            raise KeyError(number)
        except KeyError:
            try:
                await handle
            except ValueError as caught:
                contexts.append(caught.__context__)

    async with WorkerPool() as pool:
        handle = await pool.submit(fail, error)
        await asyncio.gather(*(awaiter(number) for number in range(3)))
        await awaiter(3)
        try:
            raise KeyError(4)
        except KeyError:
            with pytest.raises(ValueError):
                handle.result()
    assert error.__context__ is None
    assert contexts[0] is None or isinstance(contexts[0], KeyError)


async def test_an_exception_keeps_the_context_and_cause_that_the_job_gave_it() -> None:
    async def job() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    async def implicit() -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second")  # noqa: B904

    async with WorkerPool() as pool:
        for function in (job, implicit):
            handle = await pool.submit(function)
            for _ in range(3):
                try:
                    raise IndexError
                except IndexError:
                    error = await end_of(handle)
                assert isinstance(error.__context__, KeyError)
                assert isinstance(error.__cause__, KeyError) is (function is job)


async def test_a_traceback_does_not_grow_from_awaiter_to_awaiter() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(fail, ValueError())
        lengths = []
        for _ in range(20):
            error = await end_of(handle)
            lengths.append(len(frames(error)))
        assert len(set(lengths)) == 1, lengths
        assert "fail" in frames(error), "it tells where the job raised"
        asked = handle.exception()
        assert asked is not None
        assert len(frames(asked)) <= lengths[0]


async def test_a_traceback_does_not_show_the_inside_of_the_pool() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(fail, ValueError())
        await handle.wait()
        error = handle.exception()
        assert error is not None
        assert frames(error) == ["fail"]


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_each_awaiter_gets_an_error_of_the_pool_to_itself(how: str) -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(sleep, FOREVER, timeout=0.02 if how == "timeout" else None)
        await turns()
        if how == "cancel":
            handle.cancel()
        errors = await asyncio.gather(*(end_of(handle) for _ in range(3)))
        errors.append(handle.exception())
        assert len({id(error) for error in errors}) == 4
        assert len({(type(error), str(error), tuple(sorted(error.__dict__))) for error in errors}) == 1


async def test_a_raised_exception_does_not_keep_its_awaiter_alive() -> None:
    """Neither the frames of who awaited it first, nor what was in them."""

    class Thing:
        pass

    async def awaiter(handle: JobHandle[Any]) -> weakref.ref[Thing]:
        thing = Thing()
        with pytest.raises(ValueError):
            await handle
        return weakref.ref(thing)

    async with WorkerPool() as pool:
        handle = await pool.submit(fail, ValueError())
        gone = await awaiter(handle)
        await end_of(handle)
        gc.collect()
        assert gone() is None


async def test_a_dropped_failure_needs_no_garbage_collector() -> None:
    class Mine(Exception):
        pass

    async def job() -> None:
        raise Mine

    gc.collect()
    gc.disable()
    try:
        async with WorkerPool() as pool:
            for how in ("await", "result", "run"):
                handle = None if how == "run" else await pool.submit(job)
                try:
                    if handle is None:
                        await pool.run(job)
                    elif how == "await":
                        await handle
                    else:
                        await handle.wait()
                        handle.result()
                except Mine as caught:
                    gone = weakref.ref(caught)
                del handle  # this frame is in the traceback, so a handle in it would be a cycle of our own
                assert gone() is None, how
    finally:
        gc.enable()


# Where it can be awaited -------------------------------------------------------------------------------------------------


async def test_a_job_that_waits_for_itself_is_told_so() -> None:
    handles: list[JobHandle[Any]] = []
    errors: list[BaseException] = []

    async def job() -> str:
        for handle in (handles[0], current_job()):
            assert handle is not None
            for waiting in (handle, handle.wait()):
                try:
                    await waiting
                except RuntimeError as error:
                    errors.append(error)
        return "went on"

    async with WorkerPool() as pool:
        handles.append(await pool.submit(job))
        assert await handles[0] == "went on"
    assert len(errors) == 4
    assert all("itself" in str(error) for error in errors)


async def test_a_handle_can_be_awaited_in_a_job_of_another_pool() -> None:
    async def relay() -> Any:
        return await handle

    async with WorkerPool() as one, WorkerPool() as other:
        handle = await one.submit(sleep, 0.01, "done")
        assert await other.run(relay) == "done"


async def test_a_handle_can_be_given_to_gather_wait_for_and_as_completed() -> None:
    async with WorkerPool() as pool:
        handles = [await pool.submit(sleep, 0.01 * (3 - number), number) for number in range(3)]
        assert await asyncio.gather(*handles) == [0, 1, 2]
        assert await asyncio.wait_for(handles[0], 1) == 0
        assert sorted([await each for each in asyncio.as_completed(handles)]) == [0, 1, 2]


@pytest.mark.realtime
async def test_another_event_loop_is_told_that_it_cannot_wait_or_cancel() -> None:
    gate = Gate()
    errors: list[BaseException] = []

    async def elsewhere(handle: JobHandle[Any]) -> None:
        try:
            await handle
        except RuntimeError as error:
            errors.append(error)
        try:
            await handle.wait()
        except RuntimeError as error:
            errors.append(error)
        try:
            handle.cancel()
        except RuntimeError as error:
            errors.append(error)

    async with WorkerPool() as pool:
        handle = await pool.submit(gate, "done")
        await turns()
        thread = threading.Thread(target=lambda: asyncio.run(elsewhere(handle)))
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0.01)
        try:
            threading_error: BaseException | None = None
            await asyncio.to_thread(handle.cancel)
        except RuntimeError as error:
            threading_error = error
        assert threading_error is not None
        assert handle.state is JobState.RUNNING
        gate.open()
        assert await handle == "done"
    assert len(errors) == 3
    assert all("another event loop" in str(error) for error in errors)


@pytest.mark.realtime
async def test_the_outcome_of_an_ended_job_can_be_had_anywhere() -> None:
    async def elsewhere(handle: JobHandle[Any]) -> Any:
        await handle.wait()
        assert handle.cancel() is False
        return await handle

    async with WorkerPool() as pool:
        handle = await pool.submit(echo, "done")
        await handle
        assert await asyncio.to_thread(lambda: asyncio.run(elsewhere(handle))) == "done"


# What it holds -----------------------------------------------------------------------------------------------------------


async def test_a_dropped_handle_leaves_its_job_alone() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1) as pool:
        for _ in range(3):
            await pool.submit(gate)
        gc.collect()
        await turns()
        gate.open()
    assert pool.report is not None
    assert pool.report.succeeded == 3


async def test_a_kept_handle_keeps_neither_the_pool_nor_the_jobs_arguments() -> None:
    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)

    async def job(_: Thing) -> int:
        await asyncio.sleep(0)
        return 7

    pool = WorkerPool()
    async with pool:
        handles = [await pool.submit(job, thing), await pool.submit(job, thing, timeout=FOREVER)]
        for handle in handles:
            await handle
        del thing
        await turns()
        gc.collect()
        assert gone() is None
    pool_gone = weakref.ref(pool)
    del pool
    gc.collect()
    assert pool_gone() is None
    assert handles[0].result() == 7


@pytest.mark.complains
async def test_an_abandoned_jobs_handle_is_as_good_as_any() -> None:
    stubborn = Stubborn()
    async with WorkerPool(cancel_grace=0.02) as pool:
        handle = await pool.submit(stubborn, name="stubborn")
        await stubborn.started.wait()
        handle.cancel()
        await handle.wait()
        assert handle.done()
        assert repr(handle) == "<JobHandle stubborn abandoned>"
        with pytest.raises(JobCancelled):
            handle.result()
        await stubborn.release()


async def test_a_task_that_a_job_has_started_may_wait_for_the_job() -> None:
    children: list[asyncio.Task[Any]] = []

    async def child() -> Any:
        handle = current_job()
        assert handle is not None
        return await handle

    async def parent() -> str:
        children.append(asyncio.create_task(child()))
        await asyncio.sleep(0.01)
        return "done"

    async with WorkerPool() as pool:
        await pool.run(parent)
        assert await children[0] == "done"


@pytest.mark.virtual
async def test_a_waiter_is_kept_neither_when_it_has_gone_nor_when_the_job_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Any]] = []

    def noted() -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.Future()
        made.append(weakref.ref(future))
        return future

    gate = Gate()
    async with WorkerPool() as pool:
        handle = await pool.submit(gate)
        await turns()
        monkeypatch.setattr(_handle, "Future", noted)
        gone = asyncio.create_task(handle.wait())
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        del gone
        waits = asyncio.create_task(handle.wait())
        await asyncio.sleep(0)
        monkeypatch.undo()
        gc.collect()
        assert len(made) >= 2
        assert len([1 for reference in made if reference() is not None]) == 1
        gate.open()
        await waits
        del waits
        gc.collect()
        assert [reference() for reference in made if reference() is not None] == []
        assert handle.done()


async def test_a_copy_of_a_handle_is_that_handle_and_none_can_be_made_or_pickled() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1) as pool:
        handle = await pool.submit(gate, 7)
        assert copy.copy(handle) is handle
        assert copy.deepcopy([handle]) == [handle]
        with pytest.raises(TypeError, match=r"a JobHandle is what WorkerPool\.submit\(\) returns"):
            JobHandle()
        with pytest.raises(TypeError, match="can't be pickled"):
            pickle.dumps(handle)
        gate.open()
        assert await handle == 7
