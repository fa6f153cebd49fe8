"""One run: what counts as a failure, which faults there are, and that nothing of it is left behind."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import warnings
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from weirpool.testing import Complaint, Deadlock, DeterministicLoop, Fault, Livelock, Run, Schedule, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def nothing_changed() -> Iterator[None]:
    before = gc.isenabled(), sys.unraisablehook, warnings.filters[:], warnings.showwarning
    yield
    assert (gc.isenabled(), sys.unraisablehook, warnings.filters[:], warnings.showwarning) == before
    gc.collect()
    assert not [thing for thing in gc.get_objects() if isinstance(thing, DeterministicLoop) and not thing.is_closed()]


def complaint(result: Run) -> str:
    """Return what the only thing wrong with a run was."""
    assert isinstance(result.error, Complaint)
    return str(result.error)


async def fine() -> None:
    await asyncio.sleep(1)


async def stuck() -> None:
    await asyncio.Event().wait()


# What counts as a failure -----------------------------------------------------------------------------------------------


def test_a_program_without_fault_is_fine() -> None:
    result = run(fine)
    assert result == Run(Schedule(), 6, None, {})  # two of them are the end
    result.check()


def test_what_main_raises_is_the_error() -> None:
    async def main() -> None:
        raise ValueError("x")

    result = run(main)
    assert repr(result.error) == "ValueError('x')"
    with pytest.raises(ValueError, match="x"):
        result.check()


def test_an_exit_is_an_error_too() -> None:
    async def main() -> None:
        sys.exit("enough")

    assert repr(run(main).error) == "SystemExit('enough')"


def test_a_keyboard_interrupt_ends_everything() -> None:
    async def main() -> None:
        task = asyncio.create_task(stuck())
        await asyncio.sleep(0)
        assert not task.done()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(main)


def test_a_keyboard_interrupt_at_the_end_of_the_run_ends_everything() -> None:
    async def interrupted() -> None:
        try:
            await stuck()
        finally:
            raise KeyboardInterrupt

    async def main() -> None:
        asyncio.create_task(interrupted())
        await asyncio.sleep(0)

    with pytest.raises(KeyboardInterrupt):
        run(main)


def test_deadlock_and_livelock_are_errors() -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    assert isinstance(run(stuck).error, Deadlock)
    assert isinstance(run(spin, max_steps=50).error, Livelock)


async def unretrieved() -> None:
    asyncio.get_running_loop().create_future().set_exception(ValueError("unseen"))


async def unretrieved_in_a_cycle() -> None:
    error = ValueError("unseen")
    error.future = future = asyncio.get_running_loop().create_future()  # type: ignore[attr-defined]
    future.set_exception(error)


async def unretrieved_task() -> None:
    async def fail() -> None:
        raise ValueError("unseen")

    asyncio.create_task(fail())
    await asyncio.sleep(1)


async def unretrieved_although_it_collected_garbage() -> None:
    error = ValueError("unseen")
    error.future = future = asyncio.get_running_loop().create_future()  # type: ignore[attr-defined]
    gc.collect()
    future.set_exception(error)


async def failing_callback() -> None:
    asyncio.get_running_loop().call_soon([].pop)
    await asyncio.sleep(0)


async def never_awaited() -> None:
    fine()  # type: ignore[unused-coroutine]


async def warned() -> None:
    warnings.warn("careful", DeprecationWarning, stacklevel=1)


async def failing_destructor() -> None:
    class Thing:
        def __del__(self) -> None:
            raise ValueError("in a destructor")

    Thing()


async def failing_destructor_of_what_an_action_holds() -> None:
    class Thing:
        def __del__(self) -> None:
            raise ValueError("in a destructor")

        def close(self) -> None: ...

    DeterministicLoop.running().actions["close"] = Thing().close


async def destroyed_while_pending() -> None:
    async def wait_for_oneself() -> None:
        await asyncio.get_running_loop().create_future()

    asyncio.create_task(wait_for_oneself())
    await asyncio.sleep(1)
    gc.collect()


async def failing_when_cancelled() -> None:
    async def clumsy() -> None:
        try:
            await asyncio.sleep(99)
        finally:
            raise ValueError("at the end")

    task = asyncio.create_task(clumsy())
    await asyncio.sleep(1)
    assert not task.done()


async def failing_generator() -> None:
    async def numbers() -> Any:
        try:
            yield 1
        finally:
            raise ValueError("in a generator")

    generator = numbers()
    DeterministicLoop.running().actions["keep"] = generator
    await anext(generator)


@pytest.mark.parametrize("schedule", ["fifo", "random:1", "pct:1", "pct:1~50"])
@pytest.mark.parametrize(
    ("main", "said"),
    [
        (unretrieved, "exception was never retrieved: ValueError('unseen')"),
        (unretrieved_in_a_cycle, "exception was never retrieved: ValueError('unseen')"),
        (unretrieved_task, "exception was never retrieved: ValueError('unseen')"),
        (unretrieved_although_it_collected_garbage, "exception was never retrieved: ValueError('unseen')"),
        (failing_callback, "Exception in callback list.pop(): IndexError('pop from empty list')"),
        (never_awaited, "RuntimeWarning: coroutine 'fine' was never awaited"),
        (warned, "DeprecationWarning: careful"),
        (failing_destructor, "ValueError('in a destructor')"),
        (failing_destructor_of_what_an_action_holds, "ValueError('in a destructor')"),
        (destroyed_while_pending, "Task was destroyed but it is pending!"),
        (failing_when_cancelled, "exception was never retrieved: ValueError('at the end')"),
        (failing_generator, "an error occurred during closing of asynchronous generator"),
    ],
)
def test_what_asyncio_or_python_complain_about_is_an_error(main: Any, said: str, schedule: str) -> None:
    assert said in complaint(run(main, schedule))


def test_a_program_can_filter_warnings_that_it_cannot_help() -> None:
    async def main() -> None:
        warnings.filterwarnings("ignore", "careful")
        await warned()

    assert run(main).error is None
    assert complaint(run(warned)) == "DeprecationWarning: careful"


def test_what_else_was_complained_about_is_noted_on_an_error() -> None:
    async def main() -> None:
        await unretrieved_task()
        await stuck()

    error = run(main).error
    assert isinstance(error, Deadlock)
    assert [note.partition(" ")[2] for note in error.__notes__] == ["exception was never retrieved: ValueError('unseen')"]


def test_garbage_of_others_is_not_held_against_a_program() -> None:
    class Cyclic:
        def __init__(self) -> None:
            self.cycle = self
            self.warn = warnings.warn

        def __del__(self) -> None:
            self.warn("not yours", ResourceWarning, stacklevel=1)

    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        Cyclic()
        assert run(fine).error is None
        gc.collect()


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_at_the_end_only(enabled: bool) -> None:
    seen = []

    async def main() -> None:
        seen.append(gc.isenabled())

    assert gc.isenabled()
    try:
        if not enabled:
            gc.disable()
        run(main)
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
    assert seen == [False]


# The end ----------------------------------------------------------------------------------------------------------------


def test_what_main_leaves_behind_is_cancelled_and_waited_for() -> None:
    ended: list[tuple[str, float]] = []

    async def linger(name: str) -> None:
        try:
            await asyncio.sleep(99)
        finally:
            await asyncio.sleep(2)
            ended.append((name, asyncio.get_running_loop().time()))

    async def main() -> None:
        tasks = [asyncio.create_task(linger("one")), asyncio.Task(linger("two"), loop=asyncio.get_running_loop())]
        await asyncio.sleep(1)
        assert not any(task.done() for task in tasks)

    assert run(main).error is None
    assert ended == [("one", 3), ("two", 3)]


def test_a_task_that_the_end_of_the_program_does_not_end_is_a_deadlock() -> None:
    async def stubborn() -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await stuck()

    async def main() -> None:
        asyncio.create_task(stubborn())
        await asyncio.sleep(0)

    error = run(main).error
    assert isinstance(error, Deadlock)
    assert "  2 Task-2: " in str(error)
    assert "stubborn (line " in str(error)


def test_a_task_that_spins_for_ever_after_the_end_is_a_livelock() -> None:
    async def spin() -> None:
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)

    async def main() -> None:
        asyncio.create_task(spin())
        await asyncio.sleep(0)

    assert isinstance(run(main).error, Livelock)


def test_a_task_that_is_begun_when_the_program_ends_is_complained_about() -> None:
    async def begin_another() -> None:
        try:
            await stuck()
        finally:
            DeterministicLoop.running().actions["keep"] = asyncio.create_task(stuck(), name="late")  # type: ignore[assignment]

    async def main() -> None:
        asyncio.create_task(begin_another())
        await asyncio.sleep(0)

    said = complaint(run(main))
    assert said.startswith("these were begun when the program had ended, and would never end:\n  4 late: ")


def test_whoever_cancels_all_tasks_at_the_end_does_not_end_the_test_run() -> None:
    async def spiteful() -> None:
        try:
            await stuck()
        finally:
            for task in asyncio.all_tasks():
                task.cancel()

    async def main() -> None:
        asyncio.create_task(spiteful())
        await asyncio.sleep(0)

    assert isinstance(run(main).error, asyncio.CancelledError)


def test_the_steps_of_an_end_are_on_top_of_what_the_program_may_take() -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(fine()) for _ in range(20)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)

    assert run(main, max_steps=25).error is None


def test_a_program_that_failed_can_put_its_things_away() -> None:
    put_away = []

    async def tidy(name: str, takes: float) -> None:
        try:
            await stuck()
        finally:
            await asyncio.sleep(takes)
            put_away.append(name)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(tidy("child", 1))
            await tidy("main", 2)

    assert isinstance(run(main).error, Deadlock)
    assert put_away == ["child", "main"]


def test_a_failed_run_tells_what_happened_up_to_the_failure() -> None:
    async def main() -> None:
        await asyncio.gather(*(stuck() for _ in range(20)))

    result = run(main, "random:1")
    assert isinstance(result.error, Deadlock)
    assert result.steps == 21
    assert max(result.deviations) < 21


def test_what_cannot_be_ended_at_all_is_closed_and_keeps_quiet(recwarn: pytest.WarningsRecorder) -> None:
    closed = []

    async def shameless() -> None:
        for attempt in range(5):
            try:
                await stuck()
            except BaseException as error:
                closed.append((attempt, type(error)))
        while True:
            with suppress(asyncio.CancelledError):
                await stuck()

    result = run(shameless)
    assert isinstance(result.error, Deadlock)
    assert not hasattr(result.error, "__notes__")
    assert [kind for _, kind in closed] == [asyncio.CancelledError] + [GeneratorExit] * 4
    gc.collect()
    assert not recwarn.list


def test_what_does_not_even_let_itself_be_closed_is_given_up() -> None:
    async def immortal() -> None:
        for _ in range(150):
            with suppress(BaseException):
                await stuck()

    assert isinstance(run(immortal).error, Deadlock)


def test_nothing_of_a_run_is_left() -> None:
    class Thing: ...

    things: list[weakref.ref[Thing]] = []

    async def main() -> None:
        loop = DeterministicLoop.running()
        thing = Thing()
        things.append(weakref.ref(thing))
        things.append(weakref.ref(loop))  # type: ignore[arg-type]
        loop.after_step = lambda: hash(thing)
        loop.actions["thing"] = lambda: thing
        loop.call_later(99, print, thing)
        loop.call_soon(print, thing).cancel()
        await asyncio.sleep(1)
        await asyncio.to_thread(len, "")

    for schedule in ("fifo", "random:1", "pct:1~5", "script:1=1", "fifo @2:cancel:1"):
        assert run(main, schedule).error is None
    gc.collect()
    assert [thing() for thing in things] == [None] * 10


def test_what_a_failed_run_held_is_released_at_once() -> None:
    class Thing:
        def __del__(self) -> None:
            warnings.warn("not closed", ResourceWarning, stacklevel=1)

    async def main() -> None:
        thing = Thing()
        raise ValueError(type(thing))

    result = run(main)
    assert isinstance(result.error, ValueError)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del result
        gc.collect()
    assert not caught


# The thread is told that it can't wake the loop, if it asks before that is closed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.realtime
def test_threads_of_anyio_end_with_the_program_and_what_waits_for_them_is_a_deadlock() -> None:
    from anyio import to_thread

    async def main() -> None:
        await to_thread.run_sync(release.wait)

    release = threading.Event()
    result = run(main)
    release.set()
    assert isinstance(result.error, Deadlock)
    assert "there are no threads" in str(result.error)
    assert "to_thread" in str(result.error) or "run_sync" in str(result.error)
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and "AnyIO" in thread.name:
            thread.join(5)
            assert not thread.is_alive()


# Faults -----------------------------------------------------------------------------------------------------------------


async def two_tasks() -> None:
    """Make a task, number 2, and wait for it."""
    seen = DeterministicLoop.running().actions

    async def child() -> None:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            seen["child was cancelled"] = print
            raise

    task = asyncio.create_task(child())
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        seen["main was cancelled"] = print
        raise


def happened(main: Callable[[], Any], schedule: str, **options: Any) -> tuple[Run, set[str]]:
    """Return a run and the actions that its program had at last."""
    seen: set[str] = set()
    return run(main, schedule, before_step=lambda loop: seen.update(loop.actions), **options), seen


@pytest.mark.parametrize(
    ("schedule", "effects"),
    [
        ("fifo", set()),
        ("fifo @3:cancel:2", {"child was cancelled"}),
        ("fifo @3:cancel:1", {"main was cancelled"}),
        ("fifo @3:cancel-all", {"child was cancelled", "main was cancelled"}),
        ("fifo @3:cancel:9", set()),
        ("fifo @99:cancel:1", set()),
        ("fifo @3:unknown", set()),
    ],
)
def test_a_fault_happens_before_its_step(schedule: str, effects: set[str]) -> None:
    result, seen = happened(two_tasks, schedule)
    assert result.error is None
    assert seen == effects


def test_an_action_is_what_the_program_says() -> None:
    done: list[float] = []

    async def main() -> None:
        loop = DeterministicLoop.running()
        loop.actions["close"] = lambda: done.append(loop.steps)
        await asyncio.sleep(1)

    assert run(main, "fifo @1:close @2:close @2:close").error is None
    assert done == [2, 2]


def test_an_action_that_fails_is_an_error() -> None:
    async def main() -> None:
        DeterministicLoop.running().actions["close"] = [].pop
        await asyncio.sleep(1)

    assert isinstance(run(main, "fifo @2:close", tolerate=(IndexError,)).error, IndexError)


@pytest.mark.parametrize("schedule", ["fifo @2:cancel:1", "fifo @2:cancel-all"])
def test_an_action_that_is_called_like_a_cancellation_is_an_error(schedule: str) -> None:
    name = schedule.split(":")[1]

    async def main() -> None:
        DeterministicLoop.running().actions[name] = print
        await asyncio.sleep(1)

    error = run(main, schedule).error
    assert isinstance(error, ValueError)
    assert str(error) == (
        f"loop.actions must have names other than {name!r}, which cancels tasks and would never call <built-in function print>"
    )


def test_a_program_with_a_hook_of_its_own_has_its_faults_all_the_same() -> None:
    steps = []

    async def main() -> None:
        loop = DeterministicLoop.running()
        loop.before_step = lambda: steps.append(loop.steps)
        await two_tasks()

    result, seen = happened(main, "fifo @3:cancel:2")
    assert result.error is None
    assert seen == {"child was cancelled"}
    assert steps == list(range(2, 1 + steps[-1]))


async def cancelled_into(error: BaseException) -> None:
    try:
        await asyncio.sleep(1)
    except asyncio.CancelledError:
        raise error from None


@pytest.mark.parametrize(
    ("error", "tolerated"),
    [
        (OSError(), True),
        (TimeoutError(), True),
        (asyncio.CancelledError(), True),
        (ValueError(), False),
        (ExceptionGroup("", [OSError(), ExceptionGroup("", [TimeoutError()])]), True),
        (BaseExceptionGroup("", [OSError(), asyncio.CancelledError()]), True),
        (ExceptionGroup("", [OSError(), ValueError()]), False),
    ],
)
def test_main_may_raise_what_is_tolerated_when_something_was_done_to_it(error: BaseException, tolerated: bool) -> None:
    result = run(lambda: cancelled_into(error), "fifo @2:cancel:1", tolerate=(OSError,))
    assert result.error is (None if tolerated else error)


def test_nothing_is_tolerated_when_nothing_was_done() -> None:
    async def main() -> None:
        raise OSError

    async def cancelled() -> None:
        raise asyncio.CancelledError

    assert isinstance(run(main, "random:5", tolerate=(OSError,)).error, OSError)
    assert isinstance(run(cancelled).error, asyncio.CancelledError)


def test_only_main_is_tolerated() -> None:
    def broken() -> None:
        raise OSError("invariant")

    async def main() -> None:
        loop = DeterministicLoop.running()
        await asyncio.sleep(1)
        loop.after_step = broken

    async def exits_elsewhere() -> None:
        asyncio.get_running_loop().call_soon(sys.exit, 5)
        await asyncio.sleep(1)

    def cancelled_then_broken() -> Any:
        async def main() -> None:
            try:
                await asyncio.sleep(1)
            finally:
                DeterministicLoop.running().after_step = broken

        return main()

    anything = (Exception, SystemExit)
    assert isinstance(run(stuck, "fifo @9:cancel:1", tolerate=anything).error, Deadlock)
    assert isinstance(run(main, "fifo @9:cancel:1", tolerate=anything).error, OSError)
    assert isinstance(run(cancelled_then_broken, "fifo @2:cancel:1", tolerate=anything).error, OSError)
    assert isinstance(run(exits_elsewhere, "fifo @9:cancel:1", tolerate=anything).error, SystemExit)


def test_before_each_step_somebody_may_look() -> None:
    steps = []
    result = run(fine, before_step=lambda loop: steps.append((loop.steps, list(loop.tasks()))))
    assert steps == [(1, [1]), (2, [1]), (3, [1]), (4, [])][: len(steps)]
    assert result.error is None


# Bad arguments ----------------------------------------------------------------------------------------------------------


async def test_a_run_inside_a_running_loop_is_refused() -> None:
    with pytest.raises(RuntimeError, match="an event loop is running here, and run\\(\\) makes one of its own"):
        run(fine)


def test_a_coroutine_is_no_main() -> None:
    coroutine = fine()
    with pytest.raises(TypeError, match=r"main must be an async function, got a coroutine: pass main, not main\(\)"):
        run(coroutine)  # type: ignore[arg-type]


def test_a_plain_function_is_no_main() -> None:
    with pytest.raises(TypeError, match=r"main must be an async function, got <function .*which returned 5"):
        run(lambda: 5)  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"schedule": "nonsense"}, ValueError, "a schedule looks like .* got 'nonsense'"),
        ({"schedule": 5}, TypeError, "schedule must be a Schedule or its text, got 5"),
        ({"max_steps": 0}, ValueError, "max_steps must be an int of at least 1, got 0"),
        ({"max_steps": 1.5}, TypeError, r"max_steps must be an int of at least 1, got 1.5 \(float\)"),
        ({"tolerate": OSError}, TypeError, r"tolerate must be a tuple of exception classes, such as \(OSError,\), got <class"),
        ({"tolerate": (5,)}, TypeError, r"tolerate must be a tuple of exception classes, such as \(OSError,\), got \(5,\)"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        run(fine, **arguments)


def test_a_fault_is_a_value() -> None:
    assert Fault(1, "close") == Fault(1, "close")
    assert len({Fault(1, "cancel", 2), Fault(1, "cancel", 2)}) == 1


def test_anyio_is_at_home() -> None:
    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 5)
            with anyio.move_on_after(1):
                await anyio.sleep_forever()
            group.cancel_scope.cancel()

    for schedule in ("fifo", "random:1", "pct:1~10", "fifo @3:cancel:2"):
        assert run(main, schedule).error is None
