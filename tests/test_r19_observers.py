"""R19: observers hear what happens, synchronously and in order; one that raises is dropped and logged; others are unhurt."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import logging
import random
import typing
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import FOREVER, Clock, Gate, Stubborn, adds_up, balanced, echo, fail, sleep, turns
from weirpool import JobCancelled, JobState, JobTimeout, PoolClosed, PoolOverloaded, PoolState, WorkerPool, current_job
from weirpool.events import JobAccepted, JobEnded, JobStarted, Observer, PoolMoved, StrayEnded, SubmitRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from weirpool import JobHandle

HOOKS = ["job_accepted", "job_started", "job_ended", "stray_ended", "submit_refused", "pool_moved"]
NEW, OPEN, DRAINING, CANCELLING, CLOSED = PoolState


class Recorder(Observer):
    """Keep every event."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def job_accepted(self, event: JobAccepted, /) -> None:
        self.events.append(event)

    def job_started(self, event: JobStarted, /) -> None:
        self.events.append(event)

    def job_ended(self, event: JobEnded, /) -> None:
        self.events.append(event)

    def stray_ended(self, event: StrayEnded, /) -> None:
        self.events.append(event)

    def submit_refused(self, event: SubmitRefused, /) -> None:
        self.events.append(event)

    def pool_moved(self, event: PoolMoved, /) -> None:
        self.events.append(event)

    def of(self, *kinds: type) -> list[Any]:
        """Return the events of some kinds."""
        return [event for event in self.events if isinstance(event, kinds)]

    def told(self) -> list[str]:
        """Return the events in short."""
        return [_short(event) for event in self.events]


def _short(event: Any) -> str:
    if isinstance(event, PoolMoved):
        return f"pool {event.now.value}"
    if isinstance(event, SubmitRefused):
        return f"refused {event.reason}"
    what = {JobAccepted: "accepted", JobStarted: "started", JobEnded: "ended", StrayEnded: "stray ended"}[type(event)]
    return f"{event.id} {what}"


def raising(hook: str, error: BaseException) -> Any:
    """Make an observer that raises in one hook, and counts the calls of that and of another."""

    def hear(self: Any, event: object, /) -> None:
        self.calls += 1
        raise error

    def hear_too(self: Any, event: object, /) -> None:
        self.others += 1

    other = "job_ended" if hook != "job_ended" else "job_accepted"
    kind = type("Raising", (Observer,), {hook: hear, other: hear_too, "calls": 0, "others": 0})
    return kind()


async def all_hooks(pool: WorkerPool) -> None:
    """Have each event happen, at least once, in a pool with one worker, no queue and a short grace."""
    job = Stubborn()
    handle = await pool.submit(job, timeout=0.01)
    with pytest.raises(PoolOverloaded):
        pool.submit_nowait(echo, 1)
    await handle.wait()
    await job.release()
    assert await pool.run(echo, 1) == 1


# What they hear -------------------------------------------------------------------------------------------------------


async def test_observers_hear_the_life_of_a_job_and_of_its_pool_in_order() -> None:
    ears = Recorder()
    async with WorkerPool(observers=[ears]) as pool:
        await pool.run(echo, 1)
    assert ears.told() == ["pool open", "1 accepted", "1 started", "1 ended", "pool draining", "pool closed"]


async def test_a_job_that_waits_is_accepted_at_once_and_started_after_the_one_whose_place_it_gets() -> None:
    ears = Recorder()
    async with WorkerPool(max_workers=1, observers=[ears]) as pool:
        handles = [await pool.submit(echo, i) for i in range(3)]
        for handle in handles:
            await handle
    assert ears.told() == [
        "pool open",
        "1 accepted",
        "1 started",
        "2 accepted",
        "3 accepted",
        "1 ended",
        "2 started",
        "2 ended",
        "3 started",
        "3 ended",
        "pool draining",
        "pool closed",
    ]


async def test_submit_returns_only_after_observers_have_heard_of_it_and_before_the_job_runs() -> None:
    ears = Recorder()

    async def job() -> list[str]:
        return ears.told()

    async with WorkerPool(observers=[ears]) as pool:
        handle = pool.submit_nowait(job)
        assert ears.told()[1:] == ["1 accepted", "1 started"]
        assert (await handle)[1:] == ["1 accepted", "1 started"]


async def test_each_event_says_which_pool_and_which_job_and_how_long_it_took(clock: Clock) -> None:
    ears = Recorder()
    async with WorkerPool(max_workers=1, name="webhooks", observers=[ears]) as pool:
        await pool.submit(sleep, 0.2, name="first")
        await pool.submit(sleep, 0.1, name="second")
    assert all(event.pool == "webhooks" for event in ears.events)
    assert ears.of(JobAccepted) == [JobAccepted("webhooks", 1, "first"), JobAccepted("webhooks", 2, "second")]
    assert [(e.id, e.name) for e in ears.of(JobStarted)] == [(1, "first"), (2, "second")]
    assert [e.queued_for for e in ears.of(JobStarted)] == pytest.approx([0, 0.2], abs=clock.tolerance)
    assert [(e.id, e.name, e.state, e.error) for e in ears.of(JobEnded)] == [
        (1, "first", JobState.SUCCEEDED, None),
        (2, "second", JobState.SUCCEEDED, None),
    ]
    assert [e.ran_for for e in ears.of(JobEnded)] == pytest.approx([0.2, 0.1], abs=clock.tolerance)


async def test_the_names_in_events_are_those_of_the_handles_and_the_tasks() -> None:
    ears = Recorder()
    names = []

    async def job() -> None:
        task, handle = asyncio.current_task(), current_job()
        assert task is not None
        assert handle is not None
        names.extend([task.get_name(), handle.name])

    async with WorkerPool(max_workers=1, observers=[ears]) as pool:
        await pool.submit(echo, 1)
        handle = await pool.submit(job)
        await handle
    names += [event.name for event in ears.of(JobAccepted, JobStarted, JobEnded) if event.id == 2]
    assert set(names) == {handle.name}
    assert len(names) == 5


@pytest.mark.complains
async def test_observers_hear_of_each_kind_of_end_and_its_error() -> None:
    ears, error, stubborn = Recorder(), ValueError("mine"), Stubborn()
    async with WorkerPool(cancel_grace=0.02, observers=[ears]) as pool:
        await pool.run(echo, error)
        failed = await pool.submit(fail, error)
        await failed.wait()
        late = await pool.submit(sleep, FOREVER, timeout=0.01)
        await late.wait()
        cancelled = await pool.submit(sleep, FOREVER)
        await turns()
        cancelled.cancel()
        await cancelled.wait()
        abandoned = await pool.submit(stubborn)
        await turns()
        abandoned.cancel()
        await abandoned.wait()
        heard = ears.of(JobEnded)
        assert [event.state.value for event in heard] == ["succeeded", "failed", "timed_out", "cancelled", "abandoned"]
        assert heard[0].error is None, "a result that is an exception is no error"
        assert heard[1].error is error
        assert isinstance(heard[2].error, JobTimeout)
        assert isinstance(heard[3].error, JobCancelled)
        assert isinstance(heard[4].error, JobCancelled)
        assert heard[4].error.abandoned
        assert ears.of(StrayEnded) == []
        await stubborn.release()
        assert ears.of(StrayEnded) == [StrayEnded("pool", 5, abandoned.name)]
        assert len(ears.of(JobEnded)) == 5, "an end is told once"
        failed.exception()
        late.exception()


async def test_a_job_that_never_started_has_no_time_that_it_ran_for(clock: Clock) -> None:
    ears, gate = Recorder(), Gate()
    loop = asyncio.get_running_loop()
    async with WorkerPool(max_workers=1, observers=[ears]) as pool:
        await pool.submit(gate)
        cancelled = await pool.submit(echo, 1)
        late = await pool.submit(echo, 1, deadline=loop.time() + 0.01)
        cancelled.cancel()
        await late.wait()
        late.exception()
        gate.open()
    assert [event.id for event in ears.of(JobStarted)] == [1]
    assert [(e.id, e.state.value, e.ran_for) for e in ears.of(JobEnded)[:2]] == [
        (2, "cancelled", None),
        (3, "timed_out", None),
    ]
    assert isinstance(ears.of(JobEnded)[1].error, JobTimeout)


async def test_observers_hear_why_each_submission_was_refused() -> None:
    ears, gate = Recorder(), Gate()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=0.02, observers=[ears]) as pool:
        await pool.submit(gate)
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(echo, 1)
        with pytest.raises(PoolOverloaded):
            await pool.submit(echo, 1)
        impatient = asyncio.create_task(pool.submit(echo, 1))
        await turns()
        impatient.cancel()
        await asyncio.wait([impatient])
        waiting = asyncio.create_task(pool.submit(echo, 1))
        await turns()
        pool.close_intake()
        with pytest.raises(PoolClosed):
            await waiting
        gate.open()
    assert [event.reason for event in ears.of(SubmitRefused)] == ["full", "timeout", "cancelled", "closed"]
    assert [event.id for event in ears.of(JobAccepted)] == [1]


async def test_a_job_that_starts_says_how_long_it_was_queued() -> None:
    ears = Recorder()
    await asyncio.sleep(0.2)  # the loop's clock does not begin when a job is accepted
    async with WorkerPool(max_workers=1, observers=[ears]) as pool:
        await pool.submit(sleep, 0.1)
        await pool.run(echo, 1)
    assert [event.queued_for for event in ears.of(JobStarted)] == pytest.approx([0.0, 0.1], abs=0.05)


@pytest.mark.complains
async def test_an_observer_is_dropped_even_if_that_cannot_be_logged() -> None:
    def broken(record: logging.LogRecord) -> bool:
        raise OSError("no space left on device")

    class Bad(Observer):
        calls = 0

        def job_accepted(self, event: JobAccepted, /) -> None:
            self.calls += 1
            raise ValueError("bad observer")

    bad, logger = Bad(), logging.getLogger("weirpool.observer")
    logger.addFilter(broken)
    try:
        async with WorkerPool(observers=[bad]) as pool:
            assert [await pool.run(echo, number) for number in range(2)] == [0, 1]
    finally:
        logger.removeFilter(broken)
    assert bad.calls == 1


async def test_a_pool_that_has_nothing_to_cancel_does_not_move_to_cancelling() -> None:
    ears = Recorder()
    pool = WorkerPool(observers=[ears])
    await pool.__aenter__()
    closing = asyncio.create_task(pool.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    assert [event.now for event in ears.of(PoolMoved)] == [OPEN, DRAINING, CLOSED]


@pytest.mark.complains
async def test_observers_hear_each_move_of_the_pool_once() -> None:
    ears = Recorder()
    async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.05, observers=[ears]) as pool:
        await pool.submit(sleep, FOREVER)
        pool.close_intake()
        pool.close_intake()
        await asyncio.gather(pool.aclose(), pool.aclose())
    assert [(event.was, event.now) for event in ears.of(PoolMoved)] == [
        (NEW, OPEN),
        (OPEN, DRAINING),
        (DRAINING, CANCELLING),
        (CANCELLING, CLOSED),
    ]


async def test_the_report_is_there_when_observers_hear_that_the_pool_is_closed() -> None:
    reports = []

    class Closed(Observer):
        def pool_moved(self, event: PoolMoved, /) -> None:
            if event.now is CLOSED:
                reports.append(pool.report)

    async with WorkerPool(observers=[Closed()]) as pool:
        pass
    assert reports == [pool.report]
    assert pool.report is not None


@pytest.mark.complains
async def test_what_observers_hear_adds_up_to_the_statistics() -> None:
    ears = Recorder()
    async with WorkerPool(max_workers=2, queue_size=3, shutdown_timeout=0.2, cancel_grace=0.1, observers=[ears]) as pool:
        for i in range(30):
            try:
                kind = i % 4
                if kind == 0:
                    pool.submit_nowait(echo, i)
                elif kind == 1:
                    pool.submit_nowait(fail, KeyError(i)).cancel()
                elif kind == 2:
                    pool.submit_nowait(sleep, FOREVER, timeout=0.01).cancel()
                else:
                    pool.submit_nowait(sleep, 0.01)
            except PoolOverloaded:
                await asyncio.sleep(0.003)
        for _ in range(5):
            await pool.submit(sleep, FOREVER)
    stats = pool.stats()
    assert len(ears.of(JobAccepted)) == len(ears.of(JobEnded)) == stats.accepted
    ended = [event.state for event in ears.of(JobEnded)]
    assert ended.count(JobState.SUCCEEDED) == stats.succeeded > 0
    assert ended.count(JobState.CANCELLED) == stats.cancelled > 0
    assert len(ears.of(SubmitRefused)) == sum(stats.refused.values()) > 0
    assert sum(event.ran_for is not None for event in ears.of(JobEnded)) == len(ears.of(JobStarted))


async def test_the_books_balance_and_the_bounds_hold_whenever_an_observer_looks() -> None:
    looked = 0

    class Looks(Recorder):
        def __getattribute__(self, name: str) -> Any:
            if name in HOOKS:
                return self.look
            return super().__getattribute__(name)

        def look(self, event: object, /) -> None:
            nonlocal looked
            looked += 1
            assert balanced(pool), (event, pool.stats())

    pool = WorkerPool(max_workers=2, queue_size=2, submit_timeout=None, observers=[Looks()])
    async with pool:
        for i in range(20):
            await pool.submit(echo, i)
    assert looked == 20 * 3 + 3


@pytest.mark.complains
async def test_several_observers_hear_the_same_in_the_order_in_which_they_were_given() -> None:
    order: list[str] = []

    class Named(Observer):
        def __init__(self, name: str) -> None:
            self.name = name

        def job_ended(self, event: JobEnded, /) -> None:
            order.append(self.name)

    async with WorkerPool(observers=[Named("a"), Named("b"), Named("c")]) as pool:
        await pool.run(echo, 1)
        await pool.run(echo, 1)
    assert order == ["a", "b", "c"] * 2


def test_events_are_frozen_and_typed() -> None:
    events: list[Any] = [
        JobAccepted("pool", 1, "job"),
        JobStarted("pool", 1, "job", 0.0),
        JobEnded("pool", 1, "job", JobState.SUCCEEDED, 0.0, None),
        StrayEnded("pool", 1, "job"),
        SubmitRefused("pool", "full"),
        PoolMoved("pool", NEW, OPEN),
    ]
    for event in events:
        hints = typing.get_type_hints(type(event))
        assert not hasattr(event, "__dict__")
        for field in dataclasses.fields(event):
            assert field.name in hints
            assert f"{field.name}={getattr(event, field.name)!r}" in repr(event)
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(event, field.name, None)


# What they cost -------------------------------------------------------------------------------------------------------


@pytest.mark.complains
async def test_only_hooks_that_are_overridden_are_called_and_no_event_is_made_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []
    for kind in (JobAccepted, JobStarted, JobEnded, StrayEnded, SubmitRefused, PoolMoved):

        def noted(*args: Any, kind: Any = kind) -> Any:
            made.append(kind.__name__)
            return kind(*args)

        monkeypatch.setattr(f"weirpool._observers.{kind.__name__}", noted)

    class OnlyEnds(Observer):
        def job_ended(self, event: JobEnded, /) -> None:
            assert isinstance(event, JobEnded)

    async with WorkerPool(max_workers=1, queue_size=0, cancel_grace=0.01, observers=[OnlyEnds()]) as pool:
        await all_hooks(pool)
    assert made == ["JobEnded", "JobEnded"]
    made.clear()
    async with WorkerPool(max_workers=1, queue_size=0, cancel_grace=0.01, observers=[Recorder(), Recorder()]) as pool:
        await all_hooks(pool)
    assert set(made) == {"JobAccepted", "JobStarted", "JobEnded", "StrayEnded", "SubmitRefused", "PoolMoved"}
    assert made.count("JobEnded") == 2, "one event for all who hear it"


@pytest.mark.complains
async def test_a_pool_without_observers_has_nothing_to_tell_them_with(monkeypatch: pytest.MonkeyPatch) -> None:
    class Never:
        def __init__(self, *args: object) -> None:
            pytest.fail("a pool without observers made something for them")

    monkeypatch.setattr("weirpool._observers.Observers", Never)
    async with WorkerPool(max_workers=1, queue_size=0, cancel_grace=0.01) as pool:
        await all_hooks(pool)


def test_a_hook_that_is_async_by_mistake_is_refused_since_nobody_would_await_it() -> None:
    class Async(Observer):
        async def job_ended(self, event: JobEnded, /) -> None:  # type: ignore[override]
            raise NotImplementedError

    with pytest.raises(TypeError, match=r"Async\) as number 1: its job_ended must be a plain function.*never awaited"):
        WorkerPool(observers=[Observer(), Async()])


# One that raises ------------------------------------------------------------------------------------------------------


def dropped(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what was said about observers."""
    return [record for record in caplog.records if record.name == "weirpool.observer"]


@pytest.mark.complains
@pytest.mark.parametrize("hook", HOOKS)
async def test_an_observer_that_raises_is_dropped_and_logged_once_and_nobody_else_is_hurt(
    caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    before, after, error = Recorder(), Recorder(), ValueError("in the hook")
    broken = raising(hook, error)
    observers = [before, broken, after]
    async with WorkerPool(max_workers=1, queue_size=0, cancel_grace=0.01, name="webhooks", observers=observers) as pool:
        await all_hooks(pool)
        await all_hooks(pool)
    assert adds_up(pool.report)
    assert (pool.stats().succeeded, pool.stats().abandoned) == (2, 2)
    assert broken.calls == 1
    (record,) = dropped(caplog)
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    for part in ("Raising", "'webhooks'", hook, "dropped"):
        assert part in record.getMessage()
    assert before.told() == after.told()
    assert {type(event) for event in before.events} == set(map(type, all_kinds()))


def all_kinds() -> list[Any]:
    """Return one event of each kind."""
    return [
        JobAccepted("pool", 1, "job"),
        JobStarted("pool", 1, "job", 0.0),
        JobEnded("pool", 1, "job", JobState.SUCCEEDED, 0.0, None),
        StrayEnded("pool", 1, "job"),
        SubmitRefused("pool", "full"),
        PoolMoved("pool", NEW, OPEN),
    ]


@pytest.mark.complains
async def test_an_observer_that_is_dropped_hears_nothing_any_more_in_any_hook() -> None:
    broken = raising("job_started", ValueError())
    async with WorkerPool(observers=[broken]) as pool:
        for i in range(3):
            await pool.run(echo, i)
    assert (broken.calls, broken.others) == (1, 0)


@pytest.mark.complains
async def test_an_observer_that_raises_in_one_pool_is_still_heard_in_another() -> None:
    broken = raising("job_started", ValueError())
    async with WorkerPool(observers=[broken]) as first, WorkerPool(observers=[broken]) as second:
        await first.run(echo, 1)
        await second.run(echo, 1)
    assert broken.calls == 2


class Homemade(BaseException):
    """Not an `Exception`."""


@pytest.mark.complains
@pytest.mark.parametrize("hook", HOOKS)
async def test_whatever_an_observer_raises_reaches_neither_submitter_nor_job_nor_pool(
    caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    for error in (Homemade(), asyncio.CancelledError(), GeneratorExit(), StopIteration()):
        broken = raising(hook, error)
        caplog.clear()
        async with WorkerPool(max_workers=1, queue_size=0, cancel_grace=0.01, observers=[broken]) as pool:
            await all_hooks(pool)
        assert adds_up(pool.report)
        assert pool.stats().succeeded == 1
        assert len(dropped(caplog)) == broken.calls == 1


@pytest.mark.complains
async def test_an_observer_whose_exception_cannot_be_shown_is_dropped_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise ValueError

        __repr__ = __str__

    broken = raising("job_started", Unspeakable())
    async with WorkerPool(observers=[broken]) as pool:
        assert await pool.run(echo, 1) == 1
        assert await pool.run(echo, 2) == 2
    assert broken.calls == 1
    assert len(dropped(caplog)) == 1


@pytest.mark.complains
@pytest.mark.parametrize("form", ["static", "callable"])
async def test_a_hook_that_is_no_method_may_raise_too(caplog: pytest.LogCaptureFixture, form: str) -> None:
    # Such a hook has no __self__ that would say whose it is.
    calls = []

    class Hook:
        def __call__(self, event: object) -> None:
            plain(event)

    def plain(event: object) -> None:
        calls.append(event)
        raise ValueError("in the hook")

    hook = staticmethod(plain) if form == "static" else Hook()
    odd = type("Odd", (Observer,), {"job_started": hook})()
    ears = Recorder()
    async with WorkerPool(observers=[odd, ears]) as pool:
        assert await pool.run(echo, 1) == 1
        assert await pool.run(echo, 2) == 2
    assert len(calls) == 1
    assert len(dropped(caplog)) == 1
    assert len(ears.of(JobEnded)) == 2


def on_a_loop_of_its_own(main: Callable[[], Coroutine[Any, Any, None]], error: type[BaseException]) -> None:
    """Run until an exception stops the loop, and then to the end, as the end of `asyncio.run` would."""
    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(main())
        with pytest.raises(error):
            loop.run_until_complete(task)
        loop.run_until_complete(asyncio.wait_for(task, 10))
    finally:
        loop.close()


@pytest.mark.realtime
@pytest.mark.complains
@pytest.mark.parametrize("hook", ["job_accepted", "job_started", "job_ended", "submit_refused", "pool_moved"])
def test_ctrl_c_in_a_hook_stops_the_loop_as_always_and_hurts_no_job(hook: str) -> None:
    pools: list[WorkerPool] = []

    async def main() -> None:
        async with WorkerPool(max_workers=1, queue_size=0, observers=[raising(hook, error("in the hook"))]) as pool:
            pools.append(pool)
            handle = await pool.submit(sleep, 0.01, "done")
            with pytest.raises(PoolOverloaded):
                pool.submit_nowait(echo, 1)
            assert await handle == "done"

    for error in (KeyboardInterrupt, SystemExit):
        on_a_loop_of_its_own(main, error)
    assert len(pools) == 2
    for pool in pools:
        assert adds_up(pool.report)
        assert pool.stats().succeeded == 1


# One that calls the pool ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["job_accepted", "job_started", "job_ended"])
async def test_a_hook_may_submit_another_job(hook: str) -> None:
    handles: list[JobHandle[Any]] = []

    submitted = 0

    def submit_another(self: Observer, event: Any, /) -> None:
        nonlocal submitted
        if submitted < 5:
            submitted += 1
            handles.append(pool.submit_nowait(echo, "another"))

    kind = type("Submits", (Observer,), {hook: submit_another})
    async with WorkerPool(max_workers=2, queue_size=20, observers=[kind()]) as pool:
        assert await pool.run(echo, 1) == 1
        while pool.stats().running or len(handles) < 5:
            await asyncio.sleep(0)
            assert balanced(pool)
    assert [await handle for handle in handles] == ["another"] * 5
    assert pool.stats().succeeded == 6


async def test_a_hook_that_submits_when_a_place_becomes_free_does_not_overtake_the_queue() -> None:
    started: list[str] = []

    async def job(name: str) -> None:
        started.append(name)

    class Submits(Observer):
        done = False

        def job_ended(self, event: JobEnded, /) -> None:
            if not self.done:
                self.done = True
                pool.submit_nowait(job, "from the hook")

    async with WorkerPool(max_workers=1, queue_size=5, observers=[Submits()]) as pool:
        for name in ("first", "second", "third"):
            await pool.submit(job, name)
        await turns(20)
    assert started == ["first", "second", "third", "from the hook"]


async def test_a_hook_that_submits_does_not_overtake_those_who_wait_for_room() -> None:
    gate = Gate()
    outcomes: list[str] = []

    class Submits(Observer):
        def job_ended(self, event: JobEnded, /) -> None:
            if event.id == 1:
                try:
                    pool.submit_nowait(echo, 1)
                except PoolOverloaded as error:
                    outcomes.append(error.reason)

    async with WorkerPool(max_workers=1, queue_size=0, observers=[Submits()]) as pool:
        await pool.submit(gate)
        waiting = asyncio.create_task(pool.submit(echo, "waited"))
        await turns()
        gate.open()
        assert await (await waiting) == "waited"
    assert outcomes == ["full"]


@pytest.mark.parametrize("hook", ["job_accepted", "job_started", "job_ended", "submit_refused"])
async def test_a_hook_may_close_the_intake(hook: str) -> None:
    def close(self: Observer, event: object, /) -> None:
        pool.close_intake()

    kind = type("Closes", (Observer,), {hook: close})
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=1, observers=[kind()]) as pool:
        handle = await pool.submit(gate, "first")
        if hook == "submit_refused":
            await pool.submit(gate)
            waiting = asyncio.create_task(pool.submit(echo, 1))
            await turns()
            with pytest.raises(PoolOverloaded):
                pool.submit_nowait(echo, 1)
            with pytest.raises(PoolClosed):
                await waiting
        gate.open()
        assert await handle == "first"
        assert pool.state is DRAINING
        with pytest.raises(PoolClosed):
            pool.submit_nowait(echo, 1)
    assert adds_up(pool.report)


@pytest.mark.parametrize("hook", ["job_accepted", "job_started", "job_ended", "stray_ended", "submit_refused", "pool_moved"])
@pytest.mark.complains
async def test_a_hook_may_cancel_any_job(hook: str) -> None:
    victims: list[JobHandle[Any]] = []

    def cancel(self: Observer, event: object, /) -> None:
        for victim in victims:
            victim.cancel()

    kind = type("Cancels", (Observer,), {hook: cancel})
    async with WorkerPool(max_workers=2, queue_size=1, submit_timeout=0.01, observers=[kind()], cancel_grace=0.1) as pool:
        running = await pool.submit(sleep, FOREVER)
        job = Stubborn()
        abandoned = await pool.submit(job, timeout=0.01)
        queued = await pool.submit(sleep, FOREVER)
        await turns()
        victims += [queued, running]
        if hook == "submit_refused":
            with pytest.raises(PoolOverloaded):
                pool.submit_nowait(echo, 1)
        elif hook in {"job_accepted", "job_started"}:
            queued.cancel()
            await (await pool.submit(echo, 1))
        elif hook == "pool_moved":
            pool.close_intake()
        await abandoned.wait()
        await job.release()
        await asyncio.gather(queued.wait(), running.wait())
        assert balanced(pool)
    assert (queued.state, running.state) == (JobState.CANCELLED, JobState.CANCELLED)
    assert adds_up(pool.report)


@pytest.mark.complains
async def test_a_hook_that_does_whatever_it_likes_at_every_event_never_unbalances_the_books() -> None:
    class Chaos(Observer):
        def __init__(self, seed: int) -> None:
            self.random = random.Random(seed)
            self.handles: list[JobHandle[Any]] = []
            self.depth = 0

        def act(self, event: object, /) -> None:
            assert balanced(pool), (event, pool.stats())
            if self.depth > 3:
                return
            self.depth += 1
            for _ in range(self.random.randrange(3)):
                with contextlib.suppress(PoolClosed, PoolOverloaded):
                    chance = self.random.random()
                    if chance < 0.4:
                        self.handles.append(pool.submit_nowait(self.random.choice([_sleeps, _fails, _hangs])))
                    elif chance < 0.97 and self.handles:
                        self.random.choice(self.handles).cancel()
                    elif pool.stats().ended > 30:
                        pool.close_intake()
            self.depth -= 1

        job_accepted = job_started = job_ended = stray_ended = submit_refused = pool_moved = act

    async def _sleeps() -> None:
        await asyncio.sleep(0.001)

    async def _fails() -> None:
        await asyncio.sleep(0)
        raise KeyError

    async def _hangs() -> None:
        await asyncio.sleep(FOREVER)

    ends: set[str] = set()
    for seed in range(25):
        chaos = Chaos(seed)
        pool = WorkerPool(
            max_workers=2, queue_size=3, submit_timeout=0.01, shutdown_timeout=0.004, cancel_grace=0.002, observers=[chaos]
        )
        async with pool:
            for _ in range(12):
                with contextlib.suppress(PoolClosed, PoolOverloaded):
                    chaos.handles.append(await pool.submit(chaos.random.choice([_sleeps, _fails, _hangs])))
        assert adds_up(pool.report)
        assert balanced(pool)
        assert len(chaos.handles) == pool.stats().accepted
        assert all(handle.done() for handle in chaos.handles)
        for handle in chaos.handles:
            handle.exception()
        ends |= {handle.state.value for handle in chaos.handles}
    assert ends == {"succeeded", "failed", "cancelled"}


@pytest.mark.complains
async def test_a_hook_may_start_the_closing_in_a_task_of_its_own() -> None:
    tasks: list[asyncio.Task[object]] = []

    class Closes(Observer):
        def job_ended(self, event: JobEnded, /) -> None:
            if event.state is JobState.FAILED and not tasks:
                loop = asyncio.get_running_loop()
                tasks.append(loop.create_task(pool.aclose(), context=contextvars.Context()))

    async with WorkerPool(observers=[Closes()]) as pool:
        handle = await pool.submit(fail, ValueError())
        await handle.wait()
        handle.exception()
        assert await tasks[0] is pool.report


@pytest.mark.complains
async def test_an_observer_that_was_dropped_meanwhile_is_not_told_the_event_that_is_still_being_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Submits(Observer):
        done = False

        def job_accepted(self, event: JobAccepted, /) -> None:
            if not self.done:
                self.done = True
                pool.submit_nowait(echo, 1)  # so the other one hears of job 2 before it hears of job 1

    broken = raising("job_accepted", ValueError())
    async with WorkerPool(observers=[Submits(), broken]) as pool:
        await pool.run(echo, 1)
    assert broken.calls == 1
    assert len(dropped(caplog)) == 1


@pytest.mark.complains
async def test_an_observer_that_raises_after_what_it_called_made_it_raise_already_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Submits(Observer):
        depth = 0

        def job_accepted(self, event: JobAccepted, /) -> None:
            self.depth += 1
            if self.depth == 1:
                pool.submit_nowait(echo, 1)
            raise ValueError

    async with WorkerPool(observers=[Submits()]) as pool:
        await pool.run(echo, 1)
    assert len(dropped(caplog)) == 1


# Where they are called ------------------------------------------------------------------------------------------------


@pytest.mark.complains
async def test_what_the_pools_timer_tells_is_not_told_in_the_context_of_some_other_submitter() -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
    heard: dict[str, str] = {}

    class Ears(Observer):
        def job_ended(self, event: JobEnded, /) -> None:
            if event.state is JobState.TIMED_OUT:
                heard[event.name] = request.get()

    async def submit(name: str, due: float) -> None:
        request.set(name)
        handle = await pool.submit(echo, name, deadline=asyncio.get_running_loop().time() + due, name=name)
        await handle.wait()
        handle.exception()

    gate = Gate()
    async with WorkerPool(max_workers=1, observers=[Ears()]) as pool:
        await pool.submit(gate)
        await asyncio.gather(submit("a", 0.05), submit("b", 0.05), submit("c", 0.05))
        gate.open()
    for name, seen in heard.items():
        assert seen in {name, "none"}, f"the end of request {name} was told in the context of request {seen}"
    assert set(heard) == {"a", "b", "c"}


@pytest.mark.complains
async def test_what_the_closing_tells_when_its_time_is_over_is_not_told_in_the_context_of_whoever_closes() -> None:
    request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")
    heard: list[str] = []

    class Ears(Observer):
        def job_ended(self, event: JobEnded, /) -> None:
            if event.ran_for is None:
                heard.append(request.get())

    async with WorkerPool(max_workers=1, shutdown_timeout=0.1, cancel_grace=0.05, observers=[Ears()]) as pool:
        await pool.submit(sleep, FOREVER)
        await pool.submit(sleep, FOREVER)
        request.set("closer")
        await pool.aclose()
    assert heard == ["none"]
