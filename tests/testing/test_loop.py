"""The deterministic loop does what asyncio's loops do, in virtual time and one thread, and says clearly what it can't do."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from contextlib import nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from weirpool.testing import ADVANCE, Deadlock, DeterministicLoop, Livelock, NumberedTask, Script

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def loop() -> Iterator[DeterministicLoop]:
    loop = DeterministicLoop()
    yield loop
    loop.close()
    assert loop.complaints == []


# Time -------------------------------------------------------------------------------------------------------------------


def test_time_is_virtual_and_moves_only_to_the_next_timer(loop: DeterministicLoop) -> None:
    times = []

    async def main() -> None:
        times.append(loop.time())
        await asyncio.sleep(0)
        times.append(loop.time())
        await asyncio.sleep(86_400)
        times.append(loop.time())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.25):
                await asyncio.sleep(1)
        times.append(loop.time())

    loop.run_until_complete(main())
    assert times == [0, 0, 86_400, 86_400.25]


def test_what_is_due_at_the_same_time_comes_in_the_order_in_which_it_was_set(loop: DeterministicLoop) -> None:
    seen: list[int] = []
    for number in range(20):
        loop.call_at(1, seen.append, number)
    loop.call_at(0.5, seen.append, -1)
    loop.run_until_complete(_sleep(2))
    assert seen == [-1, *range(20)]


async def _sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


def test_a_timer_in_the_past_fires_at_once_and_does_not_turn_the_clock_back(loop: DeterministicLoop) -> None:
    seen: list[float] = []

    async def main() -> None:
        await asyncio.sleep(5)
        for when in (3, -1, -math.inf):
            loop.call_at(when, lambda: seen.append(loop.time()))
        await asyncio.sleep(1)

    loop.run_until_complete(main())
    assert seen == [5, 5, 5]
    assert loop.time() == 6


def test_a_timer_at_infinity_never_fires(loop: DeterministicLoop) -> None:
    async def main() -> None:
        async with asyncio.timeout(math.inf):
            await asyncio.sleep(1)
        assert loop.timers() == []
        await asyncio.sleep(math.inf)

    task = loop.create_task(main())
    with pytest.raises(Deadlock):
        loop.run_until_complete(task)
    assert loop.time() == 1
    _end(loop, task)


def _end(loop: DeterministicLoop, *tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.wait(tasks))


def test_a_cancelled_timer_does_not_fire_and_does_not_move_the_clock(loop: DeterministicLoop) -> None:
    seen: list[int] = []
    timers = [loop.call_at(when, seen.append, when) for when in (1, 2, 3)]
    timers[0].cancel()
    timers[2].cancel()
    assert [timer.when() for timer in loop.timers()] == [2]
    loop.call_soon(loop.stop)
    loop.run_forever()
    with pytest.raises(Deadlock):
        loop.run_forever()
    assert seen == [2]
    assert loop.time() == 2


def test_the_clock_can_be_told_to_run_on_when_all_timers_have_just_been_cancelled() -> None:
    loop = DeterministicLoop(Script({1: ADVANCE}))
    timer = loop.call_later(5, print, "never")
    loop.call_soon(timer.cancel)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert loop.deviations == {1: ADVANCE}
    assert loop.time() == 0


def test_blocking_makes_what_is_due_meanwhile_late(loop: DeterministicLoop) -> None:
    seen = []
    loop.call_at(1, lambda: seen.append(loop.time()))

    async def main() -> None:
        loop.block(5)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert seen == [5]


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf])
def test_time_can_be_blocked_by_a_sensible_number_of_seconds_only(loop: DeterministicLoop, seconds: float) -> None:
    with pytest.raises(ValueError, match=f"seconds must be .* at least 0, got {seconds}"):
        loop.block(seconds)
    assert loop.time() == 0


def test_nan_is_no_time(loop: DeterministicLoop) -> None:
    with pytest.raises(ValueError, match="when must be a number, got nan"):
        loop.call_later(math.nan, print)


# Turns ------------------------------------------------------------------------------------------------------------------


def test_steps_are_counted_and_hooks_are_called_around_each(loop: DeterministicLoop) -> None:
    seen: list[object] = []
    loop.before_step = lambda: seen.append(("before", loop.steps))
    loop.after_step = lambda: seen.append(("after", loop.steps))
    loop.call_soon(seen.append, "first")
    loop.call_soon(seen.append, "cancelled").cancel()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [("before", 1), "first", ("after", 1), ("before", 2), ("after", 2)]
    assert loop.steps == 2


@pytest.mark.parametrize("hook", ["before_step", "after_step"])
def test_what_a_hook_raises_ends_the_run_and_the_loop_can_go_on(loop: DeterministicLoop, hook: str) -> None:
    def broken() -> None:
        setattr(loop, hook, None)
        raise ArithmeticError

    task = loop.create_task(_sleep(1))
    loop.call_soon(lambda: setattr(loop, hook, broken))
    loop.call_soon(print)
    with pytest.raises(ArithmeticError):
        loop.run_until_complete(task)
    loop.run_until_complete(task)
    assert loop.time() == 1


def test_a_step_that_a_hook_cancels_is_not_taken(loop: DeterministicLoop) -> None:
    seen: list[int] = []
    handle = loop.call_soon(seen.append, 1)
    loop.before_step = handle.cancel
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == []
    assert loop.steps == 2


def test_stopping_ends_the_round_and_no_more(loop: DeterministicLoop) -> None:
    seen: list[str] = []
    loop.call_soon(loop.stop)
    loop.call_soon(loop.call_soon, seen.append, "next round")
    loop.call_soon(seen.append, "same round")
    loop.run_forever()
    assert seen == ["same round"]
    loop.stop()
    loop.run_forever()
    assert seen == ["same round", "next round"]
    loop.stop()
    loop.run_forever()  # with nothing to do


def test_a_loop_can_be_run_again_and_again(loop: DeterministicLoop) -> None:
    for _ in range(3):
        loop.run_until_complete(_sleep(1))
    assert loop.time() == 3
    loop.close()
    loop.close()


@pytest.mark.parametrize("call", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_a_closed_loop_takes_nothing(call: str) -> None:
    loop = DeterministicLoop()
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        getattr(loop, call)(*([] if "soon" in call else [1]), print)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.create_task(None)


def test_closing_forgets_timers() -> None:
    loop = DeterministicLoop()
    loop.call_later(1, print)
    loop.close()
    assert loop.timers() == []


def test_idle_means_that_nothing_is_ready(loop: DeterministicLoop) -> None:
    seen = [loop.idle]
    loop.call_later(1, print)
    seen.append(loop.idle)
    handle = loop.call_soon(print)
    seen.append(loop.idle)
    handle.cancel()
    assert [*seen, loop.idle] == [True, True, False, True]


def test_the_running_loop_is_found_and_no_other_kind() -> None:
    async def main() -> DeterministicLoop:
        return DeterministicLoop.running()

    loop = DeterministicLoop()
    assert loop.run_until_complete(main()) is loop
    loop.close()
    with pytest.raises(RuntimeError, match="no running event loop"):
        DeterministicLoop.running()
    with asyncio.Runner() as runner, pytest.raises(RuntimeError, match="must be run on a DeterministicLoop, not on a "):
        runner.run(main())


@pytest.mark.parametrize("max_steps", [0, -1])
def test_a_loop_that_may_take_no_step_is_refused(max_steps: int) -> None:
    with pytest.raises(ValueError, match=f"max_steps must be an int of at least 1, got {max_steps}"):
        DeterministicLoop(max_steps=max_steps)


# Deadlock and livelock --------------------------------------------------------------------------------------------------


def test_a_deadlock_is_an_error_that_tells_where_each_task_waits(loop: DeterministicLoop) -> None:
    async def inner() -> None:
        await asyncio.Event().wait()

    async def outer() -> None:
        await inner()

    async def generator() -> Any:
        await inner()
        yield 1

    async def over_a_generator() -> None:
        async for _ in generator():
            pass

    tasks = [loop.create_task(outer(), name="one"), loop.create_task(over_a_generator()), loop.create_task(_sleep(1))]
    with pytest.raises(Deadlock) as caught:
        loop.run_until_complete(tasks[0])
    first, *lines = str(caught.value).split("\n")
    assert first == "nothing can happen any more (there are no threads and no I/O here), and these wait:"
    assert len(lines) == 2
    assert "  1 one: " in lines[0]
    assert "outer (line " in lines[0]
    assert lines[0].index("outer") < lines[0].index("inner") < lines[0].index("Event.wait")
    assert lines[1].startswith("  2 Task-2: ")
    assert "over_a_generator" in lines[1]
    _end(loop, *tasks)


def test_a_task_that_has_not_begun_says_so(loop: DeterministicLoop) -> None:
    task = loop.create_task(_sleep(0))
    assert loop.stacks() == "  1 Task-1: _sleep (line " + loop.stacks().partition("(line ")[2]
    loop.run_until_complete(task)
    assert loop.stacks() == ""


def test_a_program_that_goes_round_in_circles_is_stopped() -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    loop = DeterministicLoop(max_steps=1000)
    task = loop.create_task(spin(), name="spinner")
    with pytest.raises(Livelock, match=r"no end after 1000 steps; these have not ended:\n  1 spinner: .*spin \(line "):
        loop.run_until_complete(task)
    loop.max_steps += 10
    _end(loop, task)
    loop.close()


# Tasks ------------------------------------------------------------------------------------------------------------------


def test_tasks_are_known_by_number_while_they_last(loop: DeterministicLoop) -> None:
    async def main() -> None:
        assert list(loop.tasks()) == [1]
        tasks = [asyncio.create_task(_sleep(delay)) for delay in (3, 1, 2)]
        assert loop.tasks() == {1: asyncio.current_task(), 2: tasks[0], 3: tasks[1], 4: tasks[2]}
        assert [task.get_name() for task in tasks] == ["Task-2", "Task-3", "Task-4"]
        assert [hash(task) for task in tasks] == [2, 3, 4]
        await asyncio.sleep(1.5)
        assert list(loop.tasks()) == [1, 2, 4]
        await asyncio.gather(*tasks)

    loop.run_until_complete(loop.create_task(main(), name="main"))
    assert loop.tasks() == {}


def test_futures_are_numbered_apart_from_tasks(loop: DeterministicLoop) -> None:
    futures = [loop.create_future() for _ in range(3)]
    assert [hash(future) for future in futures] == [1, 2, 3]
    assert len(set(futures)) == 3


def test_what_is_no_coroutine_makes_no_task(loop: DeterministicLoop) -> None:
    with pytest.raises(TypeError, match="a coroutine was expected, got 5"):
        loop.create_task(5)
    assert loop.tasks() == {}


def test_tasks_of_another_factory_are_known_too(loop: DeterministicLoop) -> None:
    def factory(loop: Any, coro: Any, **options: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=loop, **options)

    async def main() -> None:
        loop.set_task_factory(factory)
        assert loop.get_task_factory() is factory
        task = asyncio.create_task(_sleep(9), name="foreign")
        assert loop.tasks() == {1: asyncio.current_task(), 2: task}
        assert " 2 foreign: " in loop.stacks()
        task.cancel()
        loop.set_task_factory(None)
        assert hash(asyncio.create_task(_sleep(0))) == 3
        await asyncio.wait([task])

    loop.run_until_complete(main())


def test_a_factory_can_make_numbered_tasks(loop: DeterministicLoop) -> None:
    def factory(loop: Any, coro: Any, **options: Any) -> NumberedTask:
        async def wrapper() -> Any:
            return await coro

        return NumberedTask(wrapper(), loop=loop, **options)

    async def main() -> None:
        loop.set_task_factory(factory)
        tasks = [asyncio.create_task(_echo(number)) for number in range(3)]
        assert [hash(task) for task in tasks] == [2, 3, 4] == list(loop.tasks())[1:]
        assert await asyncio.gather(*tasks) == [0, 1, 2]

    loop.run_until_complete(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_eager_tasks_are_numbered_too(loop: DeterministicLoop) -> None:
    begun = []

    async def child() -> None:
        begun.append(hash(asyncio.current_task()))
        await asyncio.create_task(asyncio.sleep(1))

    async def main() -> None:
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        tasks = [asyncio.create_task(child()) for _ in range(3)]
        assert begun == [2, 4, 6]  # and each of them has begun another
        assert list(loop.tasks()) == [1, 2, 3, 4, 5, 6, 7]
        await asyncio.gather(*tasks)

    loop.run_until_complete(main())


# Threads, executors, I/O ------------------------------------------------------------------------------------------------


def test_call_soon_threadsafe_is_call_soon_in_this_thread(loop: DeterministicLoop) -> None:
    seen: list[int] = []
    loop.call_soon_threadsafe(seen.append, 1)

    async def main() -> None:
        loop.call_soon_threadsafe(seen.append, 2)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert seen == [1, 2]


@pytest.mark.realtime
def test_another_thread_is_told_that_it_cannot_wake_the_loop(loop: DeterministicLoop) -> None:
    refused: list[str] = []

    def elsewhere() -> None:
        with pytest.raises(RuntimeError) as caught:
            loop.call_soon_threadsafe(print)
        refused.append(str(caught.value))

    async def main() -> None:
        thread = threading.Thread(target=elsewhere, name="elsewhere")
        thread.start()
        thread.join()

    loop.run_until_complete(main())
    assert "another thread (elsewhere) called call_soon_threadsafe(), but threads can't wake a DeterministicLoop" in refused[0]
    assert loop.idle


def test_a_function_in_an_executor_is_called_in_this_thread_as_if_in_another(loop: DeterministicLoop) -> None:
    async def main() -> None:
        assert await asyncio.to_thread(threading.get_ident) == threading.get_ident()
        with pytest.raises(RuntimeError, match="no running event loop"):
            await loop.run_in_executor(None, asyncio.get_running_loop)
        assert asyncio.get_running_loop() is loop
        assert await asyncio.to_thread(lambda: asyncio.run(_echo(5))) == 5

        seen: list[int] = []
        number.set(5)
        await loop.run_in_executor(None, lambda: seen.append(number.get()))
        await asyncio.to_thread(lambda: seen.append(number.get()))
        assert seen == [0, 5]  # the first as a thread would see it, and the second as asyncio.to_thread() wants it

    number = ContextVar("number", default=0)
    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())


async def _echo(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


@pytest.mark.parametrize("kind", [ValueError, asyncio.CancelledError, GeneratorExit])
def test_what_a_function_in_an_executor_raises_comes_to_who_awaits_it(
    loop: DeterministicLoop, kind: type[BaseException]
) -> None:
    def fail() -> None:
        raise kind

    async def main() -> None:
        with pytest.raises(kind):
            await loop.run_in_executor(None, fail)

    loop.run_until_complete(main())


def test_a_stop_iteration_in_an_executor_becomes_a_runtime_error(loop: DeterministicLoop) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await loop.run_in_executor(None, next, iter([]))

    loop.run_until_complete(main())


def test_an_exit_in_an_executor_ends_the_run(loop: DeterministicLoop) -> None:
    loop.run_in_executor(None, sys.exit, 5)
    with pytest.raises(SystemExit):
        loop.run_forever()


def test_a_function_in_an_executor_that_has_been_cancelled_is_not_called(loop: DeterministicLoop) -> None:
    loop.run_in_executor(None, print, "never").cancel()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert loop.steps == 2


def test_all_that_a_loop_could_do_and_this_one_cannot_says_that_there_is_no_io(loop: DeterministicLoop) -> None:
    unsupported = {
        name
        for name in dir(asyncio.AbstractEventLoop)
        if not name.startswith("_")
        and getattr(DeterministicLoop, name).__qualname__.partition(".")[0] in {"AbstractEventLoop", "_refusal"}
    }
    assert {
        "add_reader",
        "add_signal_handler",
        "create_connection",
        "getaddrinfo",
        "sock_recv",
        "subprocess_exec",
    } <= unsupported
    for name in unsupported:
        with pytest.raises(NotImplementedError, match=rf"{name}\(\) was called, but there is no I/O on a DeterministicLoop"):
            getattr(loop, name)("an", argument=1)


def test_programs_that_want_io_are_told_so(loop: DeterministicLoop) -> None:
    async def processes() -> None:
        await asyncio.create_subprocess_exec("true")

    for program in (
        asyncio.open_connection("localhost", 1),
        asyncio.start_server(print, "localhost", 1),
        processes(),
        anyio.connect_tcp("localhost", 1),
        anyio.run_process("true"),
    ):
        with pytest.raises(NotImplementedError, match="there is no I/O on a DeterministicLoop"):
            loop.run_until_complete(program)


# In company -------------------------------------------------------------------------------------------------------------


def test_anyio_works(loop: DeterministicLoop) -> None:
    async def main() -> float:
        done = anyio.Event()
        send, receive = anyio.create_memory_object_stream[int](1)
        async with anyio.create_task_group() as group, send, receive:
            group.start_soon(anyio.sleep, 1)
            group.start_soon(send.send, 5)
            assert await receive.receive() == 5
            group.start_soon(_set_later, done)
            await done.wait()
        with pytest.raises(TimeoutError), anyio.fail_after(3):
            await anyio.sleep_forever()
        with anyio.move_on_after(4) as scope:
            await anyio.sleep(5)
        assert scope.cancelled_caught
        return anyio.current_time()

    assert loop.run_until_complete(main()) == 9


async def _set_later(event: anyio.Event) -> None:
    await anyio.sleep(2)
    event.set()


def test_a_runner_can_be_given_such_loops() -> None:
    left = []

    async def leave() -> None:
        try:
            await asyncio.sleep(99)
        finally:
            left.append(asyncio.get_running_loop().time())

    async def main() -> float:
        task = asyncio.create_task(leave())
        await asyncio.to_thread(len, "")
        await asyncio.sleep(5)
        assert not task.done()
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=DeterministicLoop) as runner:
        assert runner.run(main()) == 5
        assert runner.run(main()) == 10
    assert left == [10, 10]


def test_errors_are_taken_down_unless_the_program_has_a_handler_of_its_own() -> None:
    loop = DeterministicLoop()
    loop.call_exception_handler({"message": "no exception"})
    loop.call_exception_handler({"message": "bad", "exception": ValueError("x")})
    seen: list[str] = []
    loop.set_exception_handler(lambda _, context: seen.append(context["message"]))
    loop.call_exception_handler({"message": "for the program"})
    assert loop.complaints == ["no exception", "bad: ValueError('x')"]
    assert seen == ["for the program"]
    loop.close()


def test_an_error_that_cannot_be_shown_is_taken_down_nevertheless() -> None:
    class Unspeakable(Exception):
        def __repr__(self) -> str:
            raise RuntimeError

    loop = DeterministicLoop()
    loop.call_exception_handler({"message": "bad", "exception": Unspeakable()})
    loop.close()
    assert loop.complaints == ["bad: <Unspeakable whose repr() failed>"]


def test_debug_mode_changes_no_step_and_finds_bad_callbacks() -> None:
    def steps(debug: bool) -> int:
        loop = DeterministicLoop()
        loop.set_debug(debug)

        async def main() -> None:
            async with asyncio.timeout(9), asyncio.TaskGroup() as group:
                for delay in range(5):
                    group.create_task(_sleep(delay))
            await asyncio.to_thread(len, "")

        loop.run_until_complete(main())
        bad: Any = _sleep if debug else print
        with pytest.raises(TypeError, match="coroutines cannot be used") if debug else nullcontext():
            loop.call_later(1, bad)
        loop.close()
        assert loop.complaints == []
        return loop.steps

    assert steps(debug=True) == steps(debug=False)


def test_asynchronous_generators_are_closed_in_the_order_in_which_they_came(loop: DeterministicLoop) -> None:
    closed = []

    async def count(number: int) -> Any:
        try:
            yield number
        finally:
            closed.append(number)

    async def main(generators: list[Any]) -> None:
        for generator in generators:
            await anext(generator)
        generators.pop(5)  # which is closed when it is no longer held
        await asyncio.sleep(1)
        assert closed == [5]

    generators = [count(number) for number in range(20)]
    loop.run_until_complete(main(generators))
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert closed == [5, *(number for number in range(20) if number != 5)]


def test_a_keyboard_interrupt_in_a_task_goes_through(loop: DeterministicLoop) -> None:
    async def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(main())
