"""R17: after closing nothing of the pool is alive, and no job, argument, result or exception is held, then or before."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import threading
import warnings
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import FOREVER, Gate, Stubborn, echo, sleep, turns
from weirpool import JobCancelled, JobHandle, JobState, JobTimeout, PoolClosed, PoolOverloaded, PoolState, WorkerPool
from weirpool.events import Observer, PoolMoved

if TYPE_CHECKING:
    from collections.abc import Iterator


class Thing:
    """Something to hold a weak reference to."""


class Mine(Exception):
    """A job's own exception, which can be weakly referenced."""


class Work:
    """A job of its own object, which ends in the way that it was told."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.made: list[weakref.ref[Any]] = []
        self.started = asyncio.Event()

    async def __call__(self, argument: Thing) -> Thing:
        self.started.set()
        if self.how == "fail":
            await asyncio.sleep(0)
            raise Mine(argument)
        if self.how == "hang":
            await asyncio.sleep(FOREVER)
        await asyncio.sleep(0)
        result = Thing()
        self.made.append(weakref.ref(result))
        return result


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Leave everything to reference counting: what dies now was in no cycle."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def live_timers() -> list[asyncio.TimerHandle]:
    """Return what the stock loop would still wake up for; looptime has none of its own in between."""
    loop: Any = asyncio.get_running_loop()
    if not hasattr(loop, "_scheduled"):
        pytest.skip("only the stock loop shows its timers")
    return [timer for timer in loop._scheduled if not timer.cancelled()]


def alive(references: list[weakref.ref[Any]]) -> list[Any]:
    """Return the things that have not died."""
    return [thing for reference in references if (thing := reference()) is not None]


async def looked_at(*handle: JobHandle[Any]) -> list[weakref.ref[Any]]:
    """Await a handle and return weak references to whatever came out.

    A frame that is in the traceback of an exception, or that called one which is, and keeps the handle of the job makes a
    cycle, as with any future. That one is not the pool's, so this frame lets go of the handle before it awaits it.
    """
    handles = list(handle)
    del handle
    try:
        return [weakref.ref(await handles.pop())]
    except Mine as error:
        return [weakref.ref(error), weakref.ref(error.args[0])]
    except (JobTimeout, JobCancelled) as error:
        return [weakref.ref(error)]


# Each of these takes an open pool with one worker and room for one job, has one job ended in some way and returns weak
# references to all that the job had to do with; nothing else remembers it.


async def succeeds(pool: WorkerPool) -> list[weakref.ref[Any]]:
    work, argument = Work("return"), Thing()
    handle = await pool.submit(work, argument)
    return [weakref.ref(work), weakref.ref(argument), *await looked_at(handle), *work.made]


async def fails(pool: WorkerPool) -> list[weakref.ref[Any]]:
    work, argument = Work("fail"), Thing()
    return [weakref.ref(work), weakref.ref(argument), *await looked_at(await pool.submit(work, argument))]


async def fails_and_is_looked_at_by_several(pool: WorkerPool) -> list[weakref.ref[Any]]:
    work, argument = Work("fail"), Thing()
    handle = await pool.submit(work, argument)
    found = await asyncio.gather(*(looked_at(handle) for _ in range(3)))
    assert isinstance(handle.exception(), Mine)
    return [weakref.ref(work), weakref.ref(argument), *found[0], *found[1], *found[2]]


async def times_out(pool: WorkerPool) -> list[weakref.ref[Any]]:
    work, argument = Work("hang"), Thing()
    handle = await pool.submit(work, argument, timeout=0.01)
    return [weakref.ref(work), weakref.ref(argument), *await looked_at(handle)]


async def times_out_in_the_queue(pool: WorkerPool) -> list[weakref.ref[Any]]:
    gate, work, argument = Gate(), Work("hang"), Thing()
    first = await pool.submit(gate)
    handle = await pool.submit(work, argument, deadline=asyncio.get_running_loop().time() + 0.01)
    found = await looked_at(handle)
    assert not work.started.is_set()
    gate.open()
    await first
    return [weakref.ref(work), weakref.ref(argument), *found]


async def is_cancelled(pool: WorkerPool) -> list[weakref.ref[Any]]:
    work, argument = Work("hang"), Thing()
    handle = await pool.submit(work, argument)
    await work.started.wait()
    handle.cancel()
    return [weakref.ref(work), weakref.ref(argument), *await looked_at(handle)]


async def is_cancelled_in_the_queue(pool: WorkerPool) -> list[weakref.ref[Any]]:
    gate, work, argument = Gate(), Work("hang"), Thing()
    first = await pool.submit(gate)
    handle = await pool.submit(work, argument)
    handle.cancel()
    found = await looked_at(handle)
    gate.open()
    await first
    return [weakref.ref(work), weakref.ref(argument), *found]


async def runs(pool: WorkerPool) -> list[weakref.ref[Any]]:
    work, argument = Work("return"), Thing()
    return [weakref.ref(work), weakref.ref(argument), weakref.ref(await pool.run(work, argument)), *work.made]


async def run_fails(pool: WorkerPool) -> list[weakref.ref[Any]]:
    work, argument = Work("fail"), Thing()
    try:
        await pool.run(work, argument)
    except Mine as error:
        return [weakref.ref(work), weakref.ref(argument), weakref.ref(error)]
    raise AssertionError


async def run_times_out(pool: WorkerPool) -> list[weakref.ref[Any]]:
    work, argument = Work("hang"), Thing()
    try:
        await pool.run(work, argument, timeout=0.01)
    except JobTimeout as error:
        return [weakref.ref(work), weakref.ref(argument), weakref.ref(error)]
    raise AssertionError


async def run_is_cancelled(pool: WorkerPool) -> list[weakref.ref[Any]]:
    work, argument = Work("hang"), Thing()
    task = asyncio.create_task(pool.run(work, argument))
    await work.started.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return [weakref.ref(work), weakref.ref(argument)]


async def is_refused(pool: WorkerPool) -> list[weakref.ref[Any]]:
    gate, work, argument = Gate(), Work("return"), Thing()
    handles = [await pool.submit(gate) for _ in range(2)]
    with contextlib.suppress(PoolOverloaded):
        pool.submit_nowait(work, argument)
    with contextlib.suppress(PoolOverloaded):
        await pool.submit(work, argument)
    gate.open()
    for handle in handles:
        await handle
    assert pool.stats().refused["full"] == pool.stats().refused["timeout"] > 0
    return [weakref.ref(work), weakref.ref(argument)]


async def is_cancelled_while_it_waits_for_room(pool: WorkerPool) -> list[weakref.ref[Any]]:
    gate, work, argument = Gate(), Work("return"), Thing()
    handles = [await pool.submit(gate) for _ in range(2)]
    task = asyncio.create_task(pool.submit(work, argument))
    await turns()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    gate.open()
    for handle in handles:
        await handle
    return [weakref.ref(work), weakref.ref(argument)]


ENDS = [
    succeeds,
    fails,
    fails_and_is_looked_at_by_several,
    times_out,
    times_out_in_the_queue,
    is_cancelled,
    is_cancelled_in_the_queue,
    runs,
    run_fails,
    run_times_out,
    run_is_cancelled,
    is_refused,
    is_cancelled_while_it_waits_for_room,
]


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_all_that_a_job_had_to_do_with_dies_with_its_last_handle_while_the_pool_is_open(end: Any) -> None:
    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=0.01) as pool:
        references = await end(pool)
        await turns()
        assert len(references) >= 2
        assert alive(references) == []
        assert pool.state is PoolState.OPEN


@pytest.mark.usefixtures("no_gc")
async def test_an_open_pool_that_is_busy_holds_nothing_of_the_jobs_that_have_ended() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=2, queue_size=5, submit_timeout=0.01) as pool:
        await pool.submit(gate, timeout=FOREVER)
        for end in (succeeds, fails, times_out, is_cancelled):
            references = await end(pool)
            await turns()
            assert alive(references) == [], end.__name__
        gate.open()


@pytest.mark.usefixtures("no_gc")
async def test_a_handle_that_is_kept_keeps_the_outcome_and_neither_the_function_nor_its_arguments() -> None:
    work, argument = Work("return"), Thing()
    references: list[weakref.ref[Any]] = [weakref.ref(work), weakref.ref(argument)]
    async with WorkerPool() as pool:
        before = asyncio.all_tasks()
        handle = await pool.submit(work, argument, timeout=FOREVER)
        references += [weakref.ref(task) for task in asyncio.all_tasks() - before]
        assert len(references) == 3
        del work, argument
        result = await handle
        await turns()
        assert alive(references) == []
        assert await handle is result


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("kept", ["handle", "task"])
async def test_a_frame_that_awaits_a_failed_job_and_keeps_its_handle_is_in_a_cycle_as_with_a_task(kept: str) -> None:
    async def keeps(pool: WorkerPool) -> weakref.ref[Mine]:
        job = Work("fail")
        waited: Any = await pool.submit(job, Thing()) if kept == "handle" else asyncio.create_task(job(Thing()))
        try:
            await waited
        except Mine as error:
            return weakref.ref(error)
        raise AssertionError

    async def lets_go(pool: WorkerPool) -> weakref.ref[Mine]:
        waited = await pool.submit(Work("fail"), Thing())
        try:
            await waited
        except Mine as error:
            return weakref.ref(error)
        finally:
            del waited
        raise AssertionError

    async def runs(pool: WorkerPool) -> weakref.ref[Mine]:
        try:
            await pool.run(Work("fail"), Thing())
        except Mine as error:
            return weakref.ref(error)
        raise AssertionError

    async with WorkerPool() as pool:
        error = await keeps(pool)
        await turns()
        assert error() is not None
        gc.collect()
        assert error() is None
        for way in (lets_go, runs):
            error = await way(pool)
            await turns()
            assert error() is None


@pytest.mark.usefixtures("no_gc")
async def test_a_job_in_the_queue_lets_go_of_everything_the_moment_it_is_cancelled() -> None:
    gate, work, argument = Gate(), Work("return"), Thing()
    references: list[weakref.ref[Any]] = [weakref.ref(work), weakref.ref(argument)]
    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(gate)
        for _ in range(10):
            await pool.submit(echo, 1)
        handle = await pool.submit(work, argument)
        del work, argument
        handle.cancel()
        assert alive(references) == []
        gate.open()


@pytest.mark.usefixtures("no_gc")
async def test_the_context_of_a_submitter_is_not_kept_longer_than_its_job() -> None:
    variable: contextvars.ContextVar[Thing | None] = contextvars.ContextVar("variable", default=None)
    references: list[weakref.ref[Any]] = []

    async def request() -> None:
        thing = Thing()
        references.append(weakref.ref(thing))
        variable.set(thing)
        await pool.run(echo, 1)
        queued = [await pool.submit(echo, i) for i in range(3)]
        for handle in queued:
            await handle

    async with WorkerPool(max_workers=1) as pool:
        await asyncio.create_task(request())
        await turns()
        assert alive(references) == []


@pytest.mark.usefixtures("no_gc")
async def test_the_timer_of_a_pool_does_not_keep_the_context_of_a_submitter() -> None:
    variable: contextvars.ContextVar[Thing | None] = contextvars.ContextVar("variable", default=None)
    references: list[weakref.ref[Any]] = []
    gate = Gate()

    async def request() -> None:
        thing = Thing()
        references.append(weakref.ref(thing))
        variable.set(thing)
        handle = await pool.submit(echo, 1, deadline=asyncio.get_running_loop().time() + FOREVER)
        handle.cancel()

    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(gate)
        await asyncio.create_task(request())
        await turns()
        assert alive(references) == []
        gate.open()


@pytest.mark.usefixtures("no_gc")
async def test_the_context_of_whoever_enters_a_pool_is_not_kept_by_it() -> None:
    variable: contextvars.ContextVar[Thing | None] = contextvars.ContextVar("variable", default=None)
    references: list[weakref.ref[Any]] = []
    pool = WorkerPool()

    async def enter() -> None:
        thing = Thing()
        references.append(weakref.ref(thing))
        variable.set(thing)
        await pool.__aenter__()

    await asyncio.create_task(enter())
    await turns()
    assert pool.state is PoolState.OPEN
    assert alive(references) == []
    await pool.aclose()


@pytest.mark.usefixtures("no_gc")
async def test_the_context_of_whoever_closes_a_pool_is_not_kept_by_it() -> None:
    variable: contextvars.ContextVar[Thing | None] = contextvars.ContextVar("variable", default=None)
    references: list[weakref.ref[Any]] = []
    gate = Gate()

    async def close(pool: WorkerPool) -> None:
        thing = Thing()
        references.append(weakref.ref(thing))
        variable.set(thing)
        await pool.aclose()

    async with WorkerPool() as pool:
        await pool.submit(gate)
        closing = asyncio.create_task(close(pool))
        await turns()
        gate.open()
        await closing
        del closing
        await turns()
        assert alive(references) == []


@pytest.mark.usefixtures("no_gc")
@pytest.mark.complains
async def test_a_stray_is_held_until_it_ends_and_no_longer() -> None:
    async def abandoned(pool: WorkerPool) -> tuple[Stubborn, weakref.ref[Any]]:
        job = Stubborn()
        handle = await pool.submit(job, timeout=0.01)
        found = await looked_at(handle)
        assert handle.state is JobState.ABANDONED
        return job, found[0]

    async with WorkerPool(cancel_grace=0.01) as pool:
        job, error = await abandoned(pool)
        assert error() is None
        reference = weakref.ref(job)
        await job.release()
        del job
        await turns()
        assert reference() is None
        assert pool.stats().strays == 0


# No cycles ------------------------------------------------------------------------------------------------------------


async def _succeed(pool: WorkerPool) -> None:
    await pool.run(echo, 1)


async def _fail(pool: WorkerPool) -> None:
    with contextlib.suppress(Mine):
        await pool.run(Work("fail"), Thing())


async def _time_out(pool: WorkerPool) -> None:
    with contextlib.suppress(JobTimeout):
        await pool.run(sleep, FOREVER, timeout=0.001)


async def _succeed_within_a_timeout(pool: WorkerPool) -> None:
    await pool.run(echo, 1, timeout=FOREVER)


async def _time_out_in_the_queue(pool: WorkerPool) -> None:
    await times_out_in_the_queue(pool)


async def _cancel(pool: WorkerPool) -> None:
    handle = await pool.submit(sleep, FOREVER)
    await turns()
    handle.cancel()
    with contextlib.suppress(JobCancelled):
        await handle


async def _cancel_in_the_queue(pool: WorkerPool) -> None:
    await is_cancelled_in_the_queue(pool)


async def _wait_for_room(pool: WorkerPool) -> None:
    gate = Gate()
    handles = [await pool.submit(gate) for _ in range(2)]
    task = asyncio.create_task(pool.submit(echo, 1))
    await turns()
    gate.open()
    for handle in (*handles, await task):
        await handle


async def _be_refused(pool: WorkerPool) -> None:
    await is_refused(pool)


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize(
    "way",
    [
        _succeed,
        _fail,
        _time_out,
        _succeed_within_a_timeout,
        _time_out_in_the_queue,
        _cancel,
        _cancel_in_the_queue,
        _wait_for_room,
        _be_refused,
    ],
    ids=lambda way: way.__name__.lstrip("_"),
)
async def test_a_job_leaves_no_reference_cycle(way: Any) -> None:
    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=0.01) as pool:
        for _ in range(2):
            await way(pool)  # whatever is made once is made now
        await turns()
        gc.collect()
        for _ in range(5):
            await way(pool)
        await turns()
        assert gc.collect() == 0


# After closing --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_gc")
@pytest.mark.complains
@pytest.mark.parametrize("kind", ["drained", "cancelled", "cancelled in the queue"])
async def test_a_closed_pool_holds_nothing_of_its_last_jobs(kind: str) -> None:
    async def closed(pool: WorkerPool) -> list[weakref.ref[Any]]:
        if kind == "cancelled in the queue":
            await pool.submit(sleep, FOREVER)
        work, argument = Work("return" if kind == "drained" else "hang"), Thing()
        handle = await pool.submit(work, argument)
        await pool.aclose()
        return [weakref.ref(work), weakref.ref(argument), *await looked_at(handle), *work.made]

    async with WorkerPool(max_workers=1, shutdown_timeout=0.1, cancel_grace=0.1) as pool:
        references = await closed(pool)
        await turns()
        assert alive(references) == []
    assert pool.state is PoolState.CLOSED


async def test_no_task_is_left_after_closing() -> None:
    before = asyncio.all_tasks()
    async with WorkerPool(max_workers=2) as pool:
        for i in range(5):
            await pool.submit(echo, i)
        assert len(asyncio.all_tasks()) > len(before)
    assert asyncio.all_tasks() == before


@pytest.mark.complains
async def test_no_task_is_left_after_cancelling_but_those_of_the_strays() -> None:
    before = asyncio.all_tasks()
    job = Stubborn()
    async with WorkerPool(max_workers=3, shutdown_timeout=0.1, cancel_grace=0.05) as pool:
        await pool.submit(job, name="stray")
        for _ in range(5):
            await pool.submit(sleep, FOREVER)
    left = asyncio.all_tasks() - before
    assert len(left) == 2, "the stray and the task group that owns it"
    assert "stray" in {task.get_name() for task in left}
    assert pool.report is not None
    assert [stray.name for stray in pool.report.strays] == ["stray"]
    await job.release()
    assert asyncio.all_tasks() == before


async def _drained(pool: WorkerPool) -> None:
    for i in range(4):
        await pool.submit(echo, i, timeout=FOREVER)


async def _with_deadlines_of_all_kinds(pool: WorkerPool) -> None:
    loop = asyncio.get_running_loop()
    await pool.submit(sleep, 0.01, deadline=loop.time() + FOREVER)
    late = await pool.submit(sleep, FOREVER, timeout=0.01)
    expired = await pool.submit(sleep, 0.01, deadline=loop.time() + 0.001)
    cancelled = await pool.submit(sleep, 0.01, deadline=loop.time() + FOREVER)
    cancelled.cancel()
    for handle in (late, expired):
        await handle.wait()
        handle.exception()


async def _cancelled(pool: WorkerPool) -> None:
    for _ in range(4):
        await pool.submit(sleep, FOREVER, timeout=FOREVER)


async def _with_submitters_that_wait(pool: WorkerPool) -> None:
    for _ in range(4):
        await pool.submit(sleep, 0.01)
    waiting = [asyncio.create_task(pool.submit(sleep, 0.01)) for _ in range(3)]
    await turns()
    pool.close_intake()
    refused = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(error) for error in refused] == [PoolClosed] * 3


@pytest.mark.complains
@pytest.mark.parametrize("load", [_drained, _with_deadlines_of_all_kinds, _cancelled, _with_submitters_that_wait])
async def test_no_timer_is_left_after_closing(load: Any) -> None:
    before = live_timers()
    async with WorkerPool(max_workers=1, queue_size=3, shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        await load(pool)
        await pool.aclose()
        assert set(live_timers()) <= set(before)


@pytest.mark.complains
async def test_no_timer_is_left_after_closing_a_pool_with_nothing_but_a_stray() -> None:
    before, job = live_timers(), Stubborn()
    async with WorkerPool(cancel_grace=0.01) as pool:
        handle = await pool.submit(job, timeout=0.01)
        await handle.wait()
        await pool.aclose()
        assert set(live_timers()) <= set(before)
    await job.release()


async def test_no_timer_is_left_after_closing_with_less_and_less_patience() -> None:
    before = live_timers()
    gate = Gate()
    async with WorkerPool() as pool:
        await pool.submit(gate)
        closing = [asyncio.create_task(pool.aclose(timeout=timeout)) for timeout in (40, 30, None)]
        await turns()
        gate.open()
        await asyncio.gather(*closing)
        assert set(live_timers()) <= set(before)


@pytest.mark.complains
async def test_no_timer_is_left_after_closing_with_a_stray() -> None:
    before = live_timers()
    job = Stubborn()
    async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.05) as pool:
        await pool.submit(job, timeout=FOREVER)
        await pool.submit(job)
        await pool.aclose()
        assert set(live_timers()) <= set(before)
    await job.release()


async def test_no_callback_is_left_after_closing() -> None:
    loop: Any = asyncio.get_running_loop()
    if not hasattr(loop, "_ready"):
        pytest.skip("only the stock loop shows its callbacks")
    async with WorkerPool() as pool:
        for i in range(3):
            await pool.submit(echo, i)
        await pool.aclose()
        await asyncio.sleep(0)
        assert not [call for call in loop._ready if not call.cancelled()]


async def test_a_pool_starts_no_thread() -> None:
    before = threading.enumerate()
    async with WorkerPool() as pool:
        await pool.run(echo, 1)
        assert threading.enumerate() == before
    assert threading.enumerate() == before


async def test_pools_that_were_closed_do_not_pile_up() -> None:
    references = []
    for _ in range(3):
        async with WorkerPool() as pool:
            await pool.run(echo, 1)
        references.append(weakref.ref(pool))
    del pool
    await turns()
    gc.collect()
    assert alive(references) == []


# Nothing warns --------------------------------------------------------------------------------------------------------


@pytest.mark.complains
async def test_nothing_warns_whichever_way_jobs_end_and_whoever_looks(caplog: pytest.LogCaptureFixture) -> None:
    def looks_away() -> list[str]:
        """Return what was said after all references have gone."""
        gc.collect()
        return [r.getMessage() for r in caplog.records if r.name == "asyncio" or "nobody asked" in r.getMessage()]

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for exception in (None, asyncio.CancelledError()):
            with contextlib.suppress(asyncio.CancelledError):
                async with WorkerPool(max_workers=2, shutdown_timeout=0.1, cancel_grace=0.05) as pool:
                    for _ in range(3):
                        await pool.submit(echo, 1)
                    cancelled = await pool.submit(sleep, FOREVER)
                    cancelled.cancel()
                    late = await pool.submit(sleep, FOREVER, timeout=0.01)
                    await late.wait()
                    late.exception()
                    for _ in range(4):
                        await pool.submit(sleep, FOREVER)
                    if exception is not None:
                        raise exception
        await turns()
        said = looks_away()
    assert said == []
    assert [str(warning.message) for warning in warned] == []


@pytest.mark.complains
async def test_nothing_warns_when_a_stray_that_outlives_its_pool_ends_badly(caplog: pytest.LogCaptureFixture) -> None:
    released = asyncio.Event()

    async def stray() -> None:
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()
        raise ValueError("too late")

    async with WorkerPool(shutdown_timeout=0.05, cancel_grace=0.05) as pool:
        await pool.submit(stray)
    caplog.clear()
    released.set()
    await turns()
    gc.collect()
    assert pool.stats().strays == 0
    assert [record.getMessage() for record in caplog.records] == []


async def test_nobody_who_waited_for_the_end_is_kept_by_a_closed_pool() -> None:
    async with WorkerPool() as pool:
        await pool.submit(sleep, 0.05)
        await asyncio.gather(*(pool.aclose() for _ in range(3)))
    assert pool._closing is not None
    assert pool._closing._waiters == set()


# Left open ------------------------------------------------------------------------------------------------------------


async def test_a_pool_that_is_dropped_while_it_is_open_says_so() -> None:
    before = asyncio.all_tasks()
    pool = await WorkerPool(name="forgotten").__aenter__()
    await pool.run(echo, 1)
    with pytest.warns(ResourceWarning, match=r"<WorkerPool 'forgotten' open: .*> was never closed") as warned:
        del pool
    assert warned[0].filename == __file__, "it shows where the pool was dropped"
    assert isinstance(warned[0].source, WorkerPool), "tracemalloc shows where it was made"
    warned.clear()
    gc.collect()
    await turns()
    assert asyncio.all_tasks() == before


@pytest.mark.realtime
async def test_a_pool_that_is_dropped_on_another_thread_only_warns() -> None:
    before = asyncio.all_tasks()
    pools = [await WorkerPool(name="forgotten").__aenter__()]
    with pytest.warns(ResourceWarning, match="was never closed") as warned:
        await asyncio.to_thread(pools.clear)
    warned.clear()
    for task in asyncio.all_tasks() - before:
        task.cancel()
    await turns()
    assert asyncio.all_tasks() == before


async def test_a_pool_that_is_dropped_where_warnings_are_errors_lets_its_own_task_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raised = []
    monkeypatch.setattr("sys.unraisablehook", lambda args: raised.append(args.exc_type))
    before = asyncio.all_tasks()
    pool = await WorkerPool(name="forgotten").__aenter__()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del pool
    assert raised == [ResourceWarning]
    await turns()
    assert asyncio.all_tasks() == before


@pytest.mark.complains
async def test_a_pool_that_is_dropped_while_it_is_being_closed_closes(caplog: pytest.LogCaptureFixture) -> None:
    before = asyncio.all_tasks()
    stubborn = Stubborn()
    pool = await WorkerPool(shutdown_timeout=0.2, cancel_grace=0.1, name="forgotten").__aenter__()
    handle = await pool.submit(stubborn)
    await stubborn.started.wait()
    closing = pool.aclose()
    closing.send(None)
    closing.close()
    del closing
    with pytest.warns(ResourceWarning, match="was never closed") as warned:
        del pool
    warned.clear()
    await handle.wait()
    assert handle.state is JobState.ABANDONED
    await asyncio.sleep(0.1)
    await stubborn.release()
    await turns()
    assert asyncio.all_tasks() == before
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.CRITICAL] == []


async def test_a_pool_that_is_dropped_while_its_jobs_run_lets_them_end_and_then_its_own_task() -> None:
    before = asyncio.all_tasks()
    gate = Gate()
    pool = await WorkerPool(max_workers=1, name="forgotten").__aenter__()
    handles = [await pool.submit(gate), await pool.submit(echo, 2)]
    with pytest.warns(ResourceWarning, match="was never closed") as warned:
        del pool
    warned.clear()
    gc.collect()
    await turns()
    gate.open()
    assert await handles[1] == 2
    await turns()
    gc.collect()
    assert asyncio.all_tasks() == before


async def test_a_pool_that_was_closed_or_never_opened_is_dropped_silently(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pool = WorkerPool()
        del pool
        async with WorkerPool() as pool:
            pass
        del pool
        with pytest.raises(ValueError):
            WorkerPool(max_workers=0)
        gc.collect()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.usefixtures("no_gc")
async def test_the_context_of_a_submitter_that_waits_is_not_kept_by_its_patience() -> None:
    variable: contextvars.ContextVar[Thing | None] = contextvars.ContextVar("variable", default=None)
    references: list[weakref.ref[Any]] = []
    # A cancelled timer goes when it is its turn, and its turn is not before that of this one.
    earlier = asyncio.get_running_loop().call_later(FOREVER / 2, int)
    gate = Gate()

    async def request() -> None:
        thing = Thing()
        references.append(weakref.ref(thing))
        variable.set(thing)
        await pool.submit(echo, 1)

    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=FOREVER) as pool:
        await pool.submit(gate)
        waiting = asyncio.create_task(request())
        await turns()
        gate.open()
        await waiting
        del waiting
        await turns()
        assert alive(references) == []
    earlier.cancel()


@pytest.mark.virtual
@pytest.mark.complains
async def test_no_timer_is_left_if_an_observer_cancels_the_last_job_beside_a_stray() -> None:
    class Cancels(Observer):
        def pool_moved(self, event: PoolMoved, /) -> None:
            if event.now is PoolState.CANCELLING:
                queued.cancel()

    before = live_timers()
    stubborn = Stubborn()
    pool = WorkerPool(max_workers=2, shutdown_timeout=5, cancel_grace=1, observers=[Cancels()])
    await pool.__aenter__()
    stray = await pool.submit(stubborn)
    await stubborn.started.wait()
    stray.cancel()
    await stray.wait()
    pool.pause()
    queued = await pool.submit(sleep, FOREVER)
    report = await pool.aclose(timeout=1)
    assert (report.abandoned, report.cancelled) == (1, 1)
    assert live_timers() == before
    await stubborn.release()
