"""Places that only an unlucky moment, a broken environment or a bug of ours leads to."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import time
import weakref
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import FOREVER, Clock, Gate, Stubborn, adds_up, balanced, echo, sleep, turns
from weirpool import JobCancelled, JobHandle, JobState, JobTimeout, PoolState, WorkerPool, cli
from weirpool._exits import raise_in_loop
from weirpool._run import Run
from weirpool._runner import run_job
from weirpool.events import JobEnded, JobStarted, Observer, PoolMoved

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from weirpool._job import Job


# Opening ------------------------------------------------------------------------------------------------------------------


async def test_a_pool_that_is_still_being_opened_takes_no_jobs_and_says_so() -> None:
    pool = WorkerPool()
    opening = asyncio.create_task(pool.__aenter__())
    await asyncio.sleep(0)
    if pool.state is PoolState.NEW:  # with eager tasks it is open by now
        with pytest.raises(RuntimeError, match="still being opened"):
            pool.submit_nowait(echo, 1)
    await opening
    assert await pool.run(echo, 1) == 1
    await pool.aclose()


async def test_a_pool_that_is_closed_while_it_is_being_opened_is_closed(clock: Clock) -> None:
    pool = WorkerPool()
    opening = asyncio.create_task(pool.__aenter__())
    await asyncio.sleep(0)
    eager = pool.state is PoolState.OPEN
    report = await pool.aclose()
    assert (report.accepted, report.drained, report.cancel_seconds) == (0, 0, 0)
    assert report.drain_seconds == pytest.approx(0, abs=clock.tolerance)
    assert pool.state is PoolState.CLOSED
    if eager:
        await opening
    else:
        with pytest.raises(RuntimeError, match="before it was open"):
            await opening


async def test_a_pool_that_is_closed_while_it_is_being_opened_is_closed_when_its_opener_is_told() -> None:
    pool = WorkerPool()
    refused_in: list[PoolState] = []

    async def enter() -> None:
        try:
            await pool.__aenter__()
        except RuntimeError:
            refused_in.append(pool.state)

    opening = asyncio.create_task(enter())
    await asyncio.sleep(0)
    closing = pool.aclose()
    with contextlib.suppress(StopIteration):
        closing.send(None)
    await opening
    closing.close()
    assert refused_in in ([PoolState.CLOSED], [])  # with eager tasks it was open by then
    await pool.aclose()


async def test_a_pool_whose_own_task_is_cancelled_while_it_is_being_opened_has_not_drained_anything(clock: Clock) -> None:
    await asyncio.sleep(0.2)  # the loop's clock does not begin when a pool does
    pool = WorkerPool()
    before = asyncio.all_tasks()
    refused_in: list[PoolState] = []

    async def enter() -> None:
        try:
            await pool.__aenter__()
        except RuntimeError:
            refused_in.append(pool.state)

    opening = asyncio.create_task(enter())
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - before - {opening}:
        task.cancel()
    await opening
    assert refused_in in ([PoolState.CLOSED], [])  # with eager tasks it was open by then
    report = await pool.aclose()
    assert report.drained == 0
    assert report.drain_seconds == pytest.approx(0, abs=clock.tolerance)


@pytest.mark.parametrize("kind", [LookupError, KeyboardInterrupt])
async def test_a_pool_that_could_not_be_opened_can_be_opened_later(kind: type[BaseException]) -> None:
    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()

    def broken(*_: Any, **__: Any) -> Any:
        raise kind("no tasks today")

    pool = WorkerPool()
    loop.set_task_factory(broken)
    try:
        with pytest.raises(kind, match="no tasks today"):
            await pool.__aenter__()
    finally:
        loop.set_task_factory(factory)
    async with pool:
        assert await pool.run(echo, 1) == 1


class Starts(Observer):
    """Note who is started, and see that nobody else is said to have run."""

    def __init__(self, started: list[int]) -> None:
        self.started = started

    def job_started(self, event: JobStarted) -> None:
        self.started.append(event.id)

    def job_ended(self, event: JobEnded) -> None:
        assert (event.ran_for is not None) is (event.id in self.started)


# Time ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.realtime
async def test_a_job_whose_deadline_has_passed_is_not_started_though_its_timer_is_late() -> None:
    """The job before it blocks the loop beyond the deadline, and ends before the loop gets to its timers."""

    async def blocks() -> None:
        time.sleep(0.05)

    started: list[int] = []
    async with WorkerPool(max_workers=1, observers=[Starts(started)]) as pool:
        first = await pool.submit(blocks)
        late = await pool.submit(echo, 1, deadline=asyncio.get_running_loop().time() + 0.01)
        await first
        with pytest.raises(JobTimeout) as caught:
            await late
        assert caught.value.phase == "queued"
        assert balanced(pool)
    assert started == [1]


@pytest.mark.parametrize("later", [False, True])
async def test_a_job_that_gets_a_place_in_the_moment_of_its_deadline_is_not_started(later: bool) -> None:
    started: list[int] = []
    loop = asyncio.get_running_loop()
    async with WorkerPool(max_workers=1, observers=[Starts(started)]) as pool:
        gate = asyncio.Event()
        at = loop.time() + 0.1
        if not later:
            loop.call_at(at, gate.set)
        await pool.submit(gate.wait)
        late = await pool.submit(echo, 1, deadline=at)
        if later:
            loop.call_at(at, gate.set)
        with pytest.raises(JobTimeout):
            await late
    assert started == [1]


async def test_a_job_that_was_submitted_in_the_moment_of_its_deadline_is_not_started() -> None:
    started: list[int] = []
    async with WorkerPool(max_workers=1, observers=[Starts(started)]) as pool:
        gate = asyncio.Event()
        await pool.submit(gate.wait)
        await turns()
        gate.set()
        late = pool.submit_nowait(echo, 1, deadline=asyncio.get_running_loop().time())
        with pytest.raises(JobTimeout):
            await late
    assert started == [1]


EARLY = 0.002


@pytest.fixture
async def early(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.TimerHandle]:
    """Have the pool's timer fire once a little before its time, as some loops do; show its timers."""
    loop: Any = asyncio.get_running_loop()
    call_at = loop.call_at
    timers: list[asyncio.TimerHandle] = []

    def hasty(when: float, callback: Callable[..., Any], *args: Any, **options: Any) -> asyncio.TimerHandle:
        own = callback.__name__ == "_look"
        handle: asyncio.TimerHandle = call_at(when - EARLY * (own and not timers), callback, *args, **options)
        if own:
            timers.append(handle)
        return handle

    monkeypatch.setattr(loop, "call_at", hasty)
    return timers


@pytest.mark.virtual
@pytest.mark.complains
@pytest.mark.usefixtures("early")
async def test_a_job_whose_deadline_comes_early_by_the_loops_clock_has_its_grace_from_then_on(clock: Clock) -> None:
    job = Stubborn()
    async with WorkerPool(cancel_grace=0.2) as pool:
        clock.start()
        handle = await pool.submit(job, timeout=0.1)
        await handle.wait()
        assert 0.3 - 2 * EARLY <= clock.passed <= 0.3
        assert job.cancellations == 1
        with pytest.raises(JobTimeout):
            await handle
        await job.release()


@pytest.mark.virtual
@pytest.mark.complains
@pytest.mark.usefixtures("early")
async def test_a_job_that_is_cancelled_just_when_the_pool_sees_its_deadline_early_has_all_its_grace(clock: Clock) -> None:
    job, loop = Stubborn(), asyncio.get_running_loop()
    async with WorkerPool(cancel_grace=0.2) as pool:
        clock.start()
        handle = await pool.submit(job, timeout=0.1)
        await turns()
        loop.call_at(loop.time() + 0.1 - EARLY, handle.cancel)
        await handle.wait()
        assert 0.3 - 2 * EARLY <= clock.passed <= 0.3
        assert job.cancellations == 1
        with pytest.raises(JobTimeout):
            await handle
        await job.release()


@pytest.mark.virtual
async def test_a_job_that_ends_just_when_the_pool_sees_its_deadline_early_leaves_an_idle_pool_without_a_timer(
    early: list[asyncio.TimerHandle],
) -> None:
    loop, gate = asyncio.get_running_loop(), asyncio.Event()
    async with WorkerPool() as pool:
        loop.call_at(loop.time() + 0.1 - EARLY, gate.set)
        with pytest.raises(JobTimeout):
            await pool.run(gate.wait, timeout=0.1)
        assert early
        assert [timer for timer in early if not timer.cancelled() and timer.when() > loop.time()] == []


@pytest.mark.complains
async def test_a_queued_job_with_a_deadline_is_cancelled_with_the_pool() -> None:
    async with WorkerPool(max_workers=1, shutdown_timeout=0.1, cancel_grace=0.1) as pool:
        await pool.submit(sleep, FOREVER)
        queued = await pool.submit(echo, 1, deadline=asyncio.get_running_loop().time() + FOREVER)
    assert queued.state is JobState.CANCELLED
    assert adds_up(pool.report)


@pytest.mark.complains
async def test_a_job_in_the_midst_of_a_timeout_of_its_own_is_cancelled_like_any_other(clock: Clock) -> None:
    """Its task is being cancelled already, for the scope inside; the pool's cancellation must not be lost for that."""

    async def job() -> None:
        try:
            async with asyncio.timeout(0.01):
                try:
                    await asyncio.sleep(FOREVER)
                finally:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pass
        await asyncio.sleep(FOREVER)

    async with WorkerPool(shutdown_timeout=0.4, cancel_grace=0.4) as pool:
        handle = await pool.submit(job)
        await asyncio.sleep(0.03)
        clock.start()
    assert clock.shows(0)
    assert handle.state is JobState.CANCELLED


@pytest.mark.complains
async def test_a_job_that_undoes_its_cancellation_by_the_end_of_asyncio_run_is_cancelled_halfway_through_its_grace(
    clock: Clock,
) -> None:
    async def undoes_the_first() -> None:
        me = asyncio.current_task()
        assert me is not None
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            me.uncancel()
        await asyncio.sleep(FOREVER)

    pool = WorkerPool(shutdown_timeout=0.4, cancel_grace=0.4, name="webhooks")
    await pool.__aenter__()
    handle = await pool.submit(undoes_the_first, name="undoes the first")
    await turns()
    clock.start()
    tasks = {task.get_name(): task for task in asyncio.all_tasks()}
    tasks["weirpool:webhooks"].cancel()
    tasks["undoes the first"].cancel()
    await handle.wait()
    assert clock.shows(0.2)
    assert handle.state is JobState.CANCELLED
    await pool.aclose()


@pytest.mark.virtual  # two timers at the same moment, in this order
async def test_a_job_that_goes_on_in_the_turn_in_which_its_deadline_is_noticed_is_late() -> None:
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    async with WorkerPool() as pool:
        loop.call_at(loop.time() + 0.1, event.set)  # before the pool's timer, so that the job is woken before it is cancelled
        handle = await pool.submit(event.wait, timeout=0.1)
        await handle.wait()
        assert handle.state is JobState.TIMED_OUT
        assert isinstance(handle.exception(), JobTimeout)


@pytest.mark.virtual  # two timers at the same moment, in this order
async def test_a_timeout_of_a_jobs_own_that_comes_together_with_its_deadline_is_that() -> None:
    loop = asyncio.get_running_loop()
    async with WorkerPool() as pool:
        own = loop.create_future()
        loop.call_at(loop.time() + 0.1, own.set_exception, TimeoutError("its own"))
        handle = await pool.submit(lambda: own, timeout=0.1)
        await handle.wait()
        assert handle.state is JobState.TIMED_OUT
        error = handle.exception()
        assert isinstance(error, JobTimeout)
        assert str(error.__cause__) == "its own"


@pytest.mark.virtual  # two timers at the same moment, in this order
@pytest.mark.parametrize("how", ["cancel", "shutdown"])
async def test_who_cancels_a_job_after_its_deadline_has_been_noticed_is_too_late(how: str) -> None:
    loop = asyncio.get_running_loop()
    async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.1) as pool:
        gate = Gate()
        handles: list[JobHandle[Any]] = []

        def late() -> None:
            if how == "cancel":
                handles[0].cancel()
            else:
                pool._crew.cancel_all("shutdown")

        loop.call_at(loop.time() + 0.1, loop.call_soon, late)
        handles.append(await pool.submit(gate, timeout=0.1))
        await handles[0].wait()
        assert isinstance(handles[0].exception(), JobTimeout)
        assert handles[0].state is JobState.TIMED_OUT


@pytest.mark.complains
async def test_a_deadline_that_is_looked_at_twice_before_it_hits_its_job_hits_it_once() -> None:
    """As happens on a loop that does not run callbacks in the order in which it was given them."""
    stubborn = Stubborn()
    async with WorkerPool(cancel_grace=0.05) as pool:
        handle: Any = await pool.submit(stubborn, timeout=FOREVER)
        await stubborn.started.wait()
        for _ in range(2):
            pool._crew._overdue(handle)
        await handle.wait()
        assert stubborn.cancellations == 1
        assert isinstance(handle.exception(), JobTimeout)
        await stubborn.release()


# Closing ------------------------------------------------------------------------------------------------------------------


async def test_an_observer_may_cancel_the_last_job_when_it_hears_that_the_pool_will() -> None:
    class Hasty(Observer):
        def pool_moved(self, event: PoolMoved) -> None:
            if event.now is PoolState.CANCELLING:
                queued.cancel()

    gate = Gate()
    queued: JobHandle[Any]
    pool = WorkerPool(max_workers=1, observers=[Hasty()])
    async with pool:
        handle = await pool.submit(gate)
        queued = await pool.submit(echo, 1)
        # Keeps the place occupied for the books, with nothing that runs: the queued job is the last.
        gate.open()
        pool._crew.steering.most_strays, pool._crew.limit = -1, 0
        await handle
        closing = asyncio.create_task(pool.aclose())
        await turns()
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
    assert queued.state is JobState.CANCELLED
    assert pool.state is PoolState.CLOSED
    assert adds_up(pool.report)


@pytest.mark.complains
async def test_a_bug_in_the_pool_is_logged_and_the_pool_closes_in_bound(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with WorkerPool(shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        settle = pool._crew.settle

        def once(job: Job, state: JobState, outcome: Any) -> None:
            monkeypatch.setattr(pool._crew, "settle", settle)
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(pool._crew, "settle", once)
        handle = await pool.submit(echo, 1)
        await handle.wait()
        assert handle.done()
    assert pool.state is PoolState.CLOSED
    [record] = [record for record in caplog.records if "failed from within" in record.getMessage()]
    assert record.exc_info
    assert isinstance(record.exc_info[1], BaseExceptionGroup)


# Task factories -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def tasks_made_by(make: Callable[..., Any]) -> Iterator[None]:
    """Have `make` called with the coroutine of each task that is made meanwhile."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(lambda loop, coro, **options: make(coro, **options))
    try:
        yield
    finally:
        loop.set_task_factory(before)


def plain(coro: Any, **options: Any) -> asyncio.Task[Any]:
    """Make a task."""
    return asyncio.Task(coro, **options)


async def test_what_a_task_factory_has_put_around_a_job_is_cancelled_when_the_time_to_drain_is_over(clock: Clock) -> None:
    ends = []

    async def lingers(coro: Any) -> None:
        try:
            await coro
        finally:
            try:
                await asyncio.sleep(FOREVER)
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise

    async with WorkerPool(shutdown_timeout=0.4, cancel_grace=0.2) as pool:
        with tasks_made_by(lambda coro, **options: plain(lingers(coro), **options)):
            assert await pool.run(echo, 1) == 1
        clock.start()
    assert clock.shows(0.2)
    assert ends == ["cancelled"]
    assert adds_up(pool.report)


async def test_the_place_of_a_job_whose_task_can_not_be_made_goes_to_whoever_waits_and_keeps_no_closing_waiting(
    clock: Clock,
) -> None:
    gate, refused = Gate(), 0

    def refuses_the_first(coro: Any, **options: Any) -> Any:
        nonlocal refused
        refused += 1
        if refused == 1:
            coro.close()
            raise RuntimeError("no tasks today")
        return plain(coro, **options)

    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=None) as pool:
        await pool.submit(gate)
        waiting = [asyncio.create_task(pool.submit(echo, 1)), asyncio.create_task(pool.submit(sleep, 0.1))]
        await turns()
        with tasks_made_by(refuses_the_first):
            gate.open()
            handles: list[JobHandle[Any]] = [await task for task in waiting]
        clock.start()
    assert clock.shows(0.1)
    assert [handle.state for handle in handles] == [JobState.FAILED, JobState.SUCCEEDED]
    handles[0].exception()


@pytest.mark.parametrize("queued", [False, True])
async def test_a_job_whose_task_can_not_be_made_is_never_said_to_have_started(queued: bool) -> None:
    started: list[int] = []
    gate = Gate()

    def refuses(coro: Any, **_: Any) -> Any:
        coro.close()
        raise RuntimeError("no tasks today")

    async with WorkerPool(max_workers=1, observers=[Starts(started)]) as pool:
        first = await pool.submit(gate) if queued else None
        with tasks_made_by(refuses):
            refused = await pool.submit(echo, 1)
            if first is not None:
                gate.open()
                await first
            await refused.wait()
        assert refused.state is JobState.FAILED
        refused.exception()
        assert refused.id not in started
        assert await pool.run(echo, 2) == 2


@pytest.mark.complains
async def test_a_stray_that_never_came_to_its_job_is_counted_off_when_it_ends() -> None:
    wrapper = Stubborn()
    async with WorkerPool(cancel_grace=0.05) as pool:
        with tasks_made_by(lambda coro, **options: plain(wrapper(), **options)):
            handle = await pool.submit(echo, 1)
        await turns()
        handle.cancel()
        await handle.wait()
        assert (handle.state, pool.stats().strays) == (JobState.ABANDONED, 1)
        await wrapper.release()
        assert pool.stats().strays == 0


async def test_a_job_whose_task_a_stranger_cancels_before_its_first_step_says_so_under_any_task_factory() -> None:
    async with WorkerPool() as pool:
        before = asyncio.all_tasks()
        with tasks_made_by(plain):
            handle = await pool.submit(sleep, FOREVER)
        for task in asyncio.all_tasks() - before:
            task.cancel()
        with pytest.raises(JobCancelled) as caught:
            await handle
        assert caught.value.reason == "task"


async def test_a_job_that_is_cancelled_before_its_first_step_says_so_under_any_task_factory() -> None:
    async with WorkerPool() as pool:
        with tasks_made_by(plain):
            handle = await pool.submit(sleep, FOREVER)
        handle.cancel()
        with pytest.raises(JobCancelled) as caught:
            await handle
        assert caught.value.reason == "cancel"


async def test_a_job_whose_task_is_refused_by_a_cancellation_is_cancelled_for_that() -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise asyncio.CancelledError

    async with WorkerPool() as pool:
        with tasks_made_by(refuse):
            handle = await pool.submit(echo, 1)
        with pytest.raises(JobCancelled) as caught:
            await handle
        assert caught.value.reason == "task"


async def test_the_context_of_a_job_that_has_ended_is_not_kept_by_the_next_under_any_task_factory() -> None:
    class Request:
        pass

    current: ContextVar[Request] = ContextVar("current")
    gate = Gate()
    async with WorkerPool(max_workers=1) as pool:

        def submit_first() -> weakref.ref[Request]:
            request = Request()
            current.set(request)
            pool.submit_nowait(echo, 1)
            return weakref.ref(request)

        with tasks_made_by(plain):
            reference = Context().run(submit_first)
            await pool.submit(gate)
            await turns(10)
        assert gate.inside == 1
        gc.collect()
        assert reference() is None
        gate.open()


@pytest.mark.realtime
def test_an_exit_that_a_loop_never_came_to_does_not_hide_that_of_the_next_loop() -> None:
    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        raise_in_loop(first, SystemExit(1))
        raise_in_loop(second, SystemExit(2))
        with pytest.raises(SystemExit, match="2"):
            second.run_forever()
        with pytest.raises(SystemExit, match="1"):
            first.run_forever()
    finally:
        first.close()
        second.close()


# Small things -------------------------------------------------------------------------------------------------------------


def test_a_job_never_runs_inside_the_making_of_its_task() -> None:
    """An eager task factory steps a task while it is made; then the job waits for the loop once more."""

    class Crew:
        name = "pool"
        spawning = True
        settled: Any = None

        def settle(self, *outcome: Any) -> None:
            self.settled = outcome

        def leave(self, task: Any) -> None:
            assert task is None

    class Accepted:
        accepted_at = 0.0

    crew: Any = Crew()
    job: Any = Accepted()
    coroutine: Any = run_job(job, Run.of(job), crew, True)
    assert coroutine.send(None) is None
    assert coroutine.send(None) is None, "it goes on giving way as long as it is inside"
    coroutine.close()
    assert crew.settled is None, "and leaves it to the maker of the task to settle a job that got none"


@pytest.mark.realtime
def test_more_signals_do_not_disturb_the_cleaning_up_that_the_first_has_begun() -> None:
    cleaned_up = []

    async def main() -> int:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(FOREVER)
        finally:
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(0.05)
            cleaned_up.append(True)
        return 0

    assert cli._until_done(main()) == 128 + signal.SIGINT
    assert cleaned_up


@pytest.mark.complains
def test_a_bug_that_strikes_when_a_job_is_destroyed_with_its_loop_is_raised_and_no_task_group_is_told() -> None:
    class Crew:
        name = "pool"
        spawning = False
        loop: Any = None

        def failure(self, *of_what: Any) -> None:
            """Make nothing of it."""

        def settle(self, *outcome: Any) -> None:
            raise ZeroDivisionError("a bug")

    class Lost:
        accepted_at = 0.0
        status = JobState.RUNNING

    crew: Any = Crew()
    crew.loop = asyncio.new_event_loop()
    job: Any = Lost()
    job.name = "lost"
    coroutine: Any = run_job(job, Run.of(job), crew, True)
    coroutine.send(None)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        coroutine.close()
    crew.loop.close()


@pytest.mark.complains
async def test_the_stack_of_a_job_that_hangs_very_deep_is_cut_off() -> None:
    stubborn = Stubborn()

    async def deep(depth: int) -> None:
        await (stubborn() if depth == 0 else deep(depth - 1))

    async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.1) as pool:
        await pool.submit(deep, 200)
        await stubborn.started.wait()
    assert pool.report is not None
    assert 50 < len(pool.report.strays[0].stack) <= 100
    await stubborn.release()


async def test_a_pool_has_a_name_and_its_signature_says_what_the_default_timeout_is() -> None:
    assert WorkerPool(name="mail").name == "mail"
    assert WorkerPool().name == "pool"
    defaults = WorkerPool.submit.__kwdefaults__
    assert defaults is not None
    assert repr(defaults["timeout"]) == "the pool's job_timeout"


# The command line ---------------------------------------------------------------------------------------------------------


def demo(monkeypatch: pytest.MonkeyPatch, run: Callable[[Any], Coroutine[Any, Any, int]], *options: str) -> int:
    """Run `weirpool demo` with something else in its place."""
    pytest.importorskip("fastapi", reason="missing: pip install 'weirpool[demo]'")
    monkeypatch.setattr("weirpool.demo.run.run", run)
    return cli.main(["demo", *options])


def test_ctrl_c_before_the_loop_runs_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(_: Any) -> Any:
        raise KeyboardInterrupt

    assert demo(monkeypatch, run) == 128 + signal.SIGINT


def test_a_grace_within_the_budget_is_taken_as_given(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(settings: Any) -> int:
        assert settings.cancel_grace == 1.5
        return 0

    assert demo(monkeypatch, run, "--shutdown-timeout", "3", "--cancel-grace", "1.5") == 0


def test_a_child_that_fails_makes_exit_status_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def run(_: Any) -> int:
        from weirpool.demo.children import ChildError

        raise ExceptionGroup("", [ChildError("the receiver has died")])

    assert demo(monkeypatch, run) == 1
    assert "the receiver has died" in capsys.readouterr().err


def test_a_cancellation_that_no_signal_caused_is_not_taken_for_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(_: Any) -> int:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        demo(monkeypatch, run)
