"""The explorer tries what it says, finds what is wrong, and says it with the shortest line that repeats it."""

from __future__ import annotations

import asyncio
import itertools
import re
from typing import TYPE_CHECKING, Any

import pytest

import weirpool.testing
from weirpool.testing import (
    Complaint,
    Deadlock,
    DeterministicLoop,
    Explored,
    Fault,
    Livelock,
    Run,
    Schedule,
    ScheduleFailed,
    explore,
    fault_pairs,
    orders,
    run,
    shrink,
    single_faults,
)

if TYPE_CHECKING:
    from collections.abc import Callable


# Programs ---------------------------------------------------------------------------------------------------------------


async def one_turn() -> None:
    """Take three steps: to the sleep, from there to the end, and the stop of the loop."""
    await asyncio.sleep(0)


async def two_tasks() -> None:
    """Take five steps: main to its wait, the child, its callback that wakes main, main, and the stop of the loop."""
    await asyncio.wait([asyncio.create_task(asyncio.sleep(0, 5), name="child")])


async def lost_update() -> None:
    """Read, then write, with a turn between: right only if the second reads after the first has written."""
    account = 0

    async def deposit(turns_before: int) -> None:
        nonlocal account
        for _ in range(turns_before):
            await asyncio.sleep(0)
        before = account
        await asyncio.sleep(0)
        account = before + 1

    await asyncio.gather(deposit(0), deposit(2))
    assert account == 2


async def stranded_consumer() -> None:
    """Let a consumer wait for an item if it looks just before the producer says that there are no more."""
    queue: asyncio.Queue[int] = asyncio.Queue()
    closed = asyncio.Event()

    async def consume() -> None:
        while not closed.is_set():
            await queue.get()
            await asyncio.sleep(0)

    async def produce() -> None:
        queue.put_nowait(1)
        await asyncio.sleep(0)
        closed.set()

    await asyncio.gather(produce(), consume())


async def in_order() -> None:
    """Fail if the first is not the first: the smallest race there is."""
    seen: list[int] = []

    async def note(number: int) -> None:
        seen.append(number)

    await asyncio.gather(note(0), note(1), note(2))
    assert seen[0] == 0


async def uncancellable() -> None:
    """Fail if the second task is cancelled."""
    task = asyncio.create_task(asyncio.sleep(1))
    await asyncio.wait([task])
    assert not task.cancelled()


async def with_actions() -> None:
    loop = DeterministicLoop.running()
    closed = []
    await asyncio.sleep(0)
    loop.actions["close"] = lambda: closed.append(1)
    await asyncio.sleep(0)
    loop.actions["open"] = closed.clear
    await asyncio.sleep(0)


async def noisy() -> None:
    asyncio.get_running_loop().create_future().set_exception(ValueError(id(object())))


# What is tried ----------------------------------------------------------------------------------------------------------


def texts(schedules: Any) -> list[str]:
    return [str(schedule) for schedule in schedules]


def test_single_faults_are_those_that_one_counts_by_hand() -> None:
    assert texts(single_faults(one_turn, Schedule())) == ["fifo @1:cancel:1", "fifo @2:cancel:1"]
    assert texts(single_faults(two_tasks, Schedule("random", 5, 1)))[:1] == ["random:5~1 @1:cancel:1"]
    assert texts(single_faults(two_tasks, Schedule())) == [
        "fifo @1:cancel:1",  # before main has begun
        *("fifo @2:cancel:1", "fifo @2:cancel:2", "fifo @2:cancel-all"),  # the child is about to begin
        *("fifo @3:cancel:1", "fifo @3:cancel:2", "fifo @3:cancel-all"),  # the child is about to go on
        "fifo @4:cancel:1",  # the child has ended, and main is about to be told
        "fifo @5:cancel:1",  # main is about to go on
    ]


def test_actions_are_tried_at_each_step_at_which_they_are_possible() -> None:
    faults = texts(single_faults(with_actions, Schedule(), cancel=False, actions=["open", "close"]))
    assert faults == ["fifo @3:close", "fifo @4:open", "fifo @4:close", "fifo @5:open", "fifo @5:close"]


def test_faults_that_a_schedule_has_already_stay_in_front_of_the_new_ones() -> None:
    faults = texts(single_faults(two_tasks, "fifo @2:cancel:2"))
    assert faults == [
        "fifo @2:cancel:2 @1:cancel:1",
        *("fifo @2:cancel:2 @2:cancel:1", "fifo @2:cancel:2 @2:cancel:2", "fifo @2:cancel:2 @2:cancel-all"),
        "fifo @2:cancel:2 @3:cancel:1",  # the child has been cancelled before it began
        "fifo @2:cancel:2 @4:cancel:1",
    ]
    assert faults == texts(single_faults(two_tasks, Schedule.parse("fifo @2:cancel:2")))


def test_pairs_have_the_faults_that_their_schedule_has_already_once() -> None:
    singles = list(single_faults(two_tasks, "fifo @2:cancel:2"))
    pairs = list(fault_pairs(singles, 50))
    for pair in pairs:
        base, first, second = pair.faults
        assert base == Fault(2, "cancel", 2)
        assert {Schedule(faults=(base, first)), Schedule(faults=(base, second))} <= set(singles)
        assert first.step <= second.step
    assert pairs == list(fault_pairs(single_faults(two_tasks, "fifo @2:cancel:2"), 50))
    assert len(set(pairs)) > 10


def test_actions_are_read_once() -> None:
    faults = texts(single_faults(with_actions, Schedule(), cancel=False, actions=iter(["open"])))  # type: ignore[arg-type]
    assert faults == ["fifo @4:open", "fifo @5:open"]


def test_pairs_are_drawn_from_the_single_faults_the_earlier_first() -> None:
    singles = list(single_faults(two_tasks, Schedule()))
    pairs = list(fault_pairs(singles, 50))
    assert len(pairs) == 50
    assert pairs == list(fault_pairs(singles, 50))
    assert pairs != list(fault_pairs(singles, 50, seed=1))
    for pair in pairs:
        assert {Schedule(faults=(fault,)) for fault in pair.faults} <= set(singles)
        assert pair.faults[0].step <= pair.faults[1].step


def test_orders_are_all_seeds_of_all_policies() -> None:
    assert texts(orders([3, 5], ("random", "pct"), 10)) == ["random:3~10", "pct:3~10", "random:5~10", "pct:5~10"]


def test_exploring_is_the_stock_order_then_faults_then_pairs_then_other_orders() -> None:
    tried: list[list[int]] = []

    async def main() -> None:
        tried.append([])
        await two_tasks()

    seen = explore(main, seeds=[1, 2, 3], pairs=5)
    # The last of 9 single faults of two_tasks makes main end at its next step; all but the first let it begin.
    assert seen.runs == 1 + 9 + 5 + 3 * 2
    assert len(tried) >= 1 + 8 + 3 * 2
    assert explore(one_turn, seeds=0, faults=False) == Explored(runs=1, steps=5)
    assert explore(one_turn, seeds=4, policies=["pct"], faults=False) == Explored(runs=5, steps=25)
    assert explore(with_actions, seeds=0, faults=False, actions=["close"]).runs == 1 + 3
    assert explore(one_turn, seeds=0, faults=False, pairs=5).runs == 1


def test_all_of_a_program_that_is_right_is_fine() -> None:
    async def main() -> None:
        lock, seen = asyncio.Lock(), 0

        async def add() -> None:
            nonlocal seen
            async with lock:
                before = seen
                await asyncio.sleep(0.1)
                seen = before + 1

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(add())
        assert seen == 3

    assert explore(main, seeds=20, jitter=10, pairs=20, tolerate=(AssertionError,)).steps > 1000


# What is found, and how short it is -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("main", "options", "kind", "shortest"),
    [
        (in_order, {"faults": False}, AssertionError, r"script:1=[12]"),
        (lost_update, {"faults": False}, AssertionError, r"script:\d+=\d+(,\d+=\d+){0,2}"),
        (stranded_consumer, {"faults": False}, Deadlock, r"script:\d+=\d+(,\d+=\d+)?"),
        (uncancellable, {}, AssertionError, r"fifo @2:cancel:2"),
        (noisy, {}, Complaint, "fifo"),
    ],
)
def test_a_mistake_is_found_and_told_with_the_shortest_line(
    main: Any, options: dict[str, Any], kind: type[Exception], shortest: str
) -> None:
    with pytest.raises(ScheduleFailed) as caught:
        explore(main, **options)
    failed = caught.value
    assert isinstance(failed.run.error, kind)
    assert failed.__cause__ is failed.run.error
    assert re.fullmatch(shortest, str(failed.run.schedule))
    if failed.run.schedule.policy == "script":
        for decision in failed.run.schedule.script:  # nothing can be left out
            script = {key: value for key, value in failed.run.schedule.script.items() if key != decision}
            assert run(main, Schedule("script", script=script)).error is None


@pytest.mark.parametrize("main", [in_order, lost_update, stranded_consumer, uncancellable, noisy])
def test_the_line_repeats_the_failure_as_pasted(main: Any) -> None:
    with pytest.raises(ScheduleFailed) as caught:
        explore(main)
    error = caught.value.run.error
    assert error is not None
    first, *_, line, found = str(caught.value).split("\n")
    assert first.startswith(f"{type(error).__name__}: ")
    assert re.fullmatch(r"found on '.+', repeated in \d+ steps", found)
    code = line.removeprefix("repeat this with ")
    assert code != line
    with pytest.raises(type(error)):
        eval(code, {"weirpool": weirpool, "main": main})


def test_what_was_found_on_is_told_too() -> None:
    with pytest.raises(ScheduleFailed) as caught:
        explore(in_order, faults=False)
    found = caught.value.found
    assert found.policy == "random"
    assert f"found on '{found}'" in str(caught.value)
    assert isinstance(run(in_order, found).error, AssertionError)


class Refused(Exception):
    class Nested(Exception):
        pass


async def refused_when_cancelled() -> None:
    try:
        await asyncio.sleep(1)
    except asyncio.CancelledError:
        raise Refused from None


async def counts_to_five() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def replay(failed: ScheduleFailed, main: Any) -> None:
    """Do what the line of a failure says, as a test does into which it was pasted."""
    line = re.search(r"^repeat this with (.*)$", str(failed), re.MULTILINE)
    assert line is not None
    eval(line[1], {"weirpool": weirpool, "main": main, "Refused": Refused})


def test_the_line_allows_as_many_steps_as_the_exploration_did() -> None:
    with pytest.raises(ScheduleFailed, match=r"run\(main, 'fifo', max_steps=5\)\.check\(\)\n") as caught:
        explore(counts_to_five, max_steps=5)
    with pytest.raises(Livelock):
        replay(caught.value, counts_to_five)
    assert run(counts_to_five).error is None


def test_the_line_tolerates_what_the_exploration_did() -> None:
    async def main() -> None:
        try:
            await refused_when_cancelled()
        finally:
            assert mended

    mended = False
    with pytest.raises(ScheduleFailed, match=r"run\(main, 'fifo', tolerate=\(Refused,\)\)\.check\(\)\n") as caught:
        explore(main, tolerate=(Refused,))
    with pytest.raises(AssertionError):
        replay(caught.value, main)
    mended = True
    explore(main, tolerate=(Refused,))
    replay(caught.value, main)


def test_the_line_names_exceptions_as_a_test_does() -> None:
    class LocalError(Exception):
        class InnerError(Exception):
            pass

    async def main() -> None:
        await asyncio.sleep(0)
        raise ArithmeticError

    kinds = (Refused.Nested, OSError, LocalError.InnerError)
    names = r"\(Refused\.Nested, OSError, LocalError\.InnerError\)"
    with pytest.raises(ScheduleFailed, match=rf"run\(main, 'fifo', tolerate={names}, max_steps=70\)\.check\(\)\n"):
        explore(main, tolerate=kinds, max_steps=70)


def failing_on(*failures: int, errors: tuple[Exception, ...] = ()) -> Any:
    """Make a program that depends on how often it has been run, which no schedule can repeat."""
    runs = itertools.count(1)

    async def main() -> None:
        number = next(runs)
        await asyncio.sleep(0)
        if number in failures:
            raise errors[failures.index(number)] if errors else AssertionError("unlucky")

    return main


@pytest.mark.parametrize("failures", [(5,), (5, 6)])  # the sixth run is the first attempt to shrink the fifth
def test_a_failure_that_does_not_repeat_is_told_as_such(failures: tuple[int, ...]) -> None:
    with pytest.raises(ScheduleFailed) as caught:
        explore(failing_on(*failures), faults=False)
    failed = caught.value
    assert failed.again.error is None
    error, verdict, found = str(failed).split("\n")
    assert error == "AssertionError: unlucky"
    assert verdict.startswith("this does not repeat: the program depends on something outside the loop (")
    line = re.escape(f"weirpool.testing.run(main, '{failed.run.schedule}').check()")
    assert re.fullmatch(rf"found on {str(failed.found)!r}, failed in \d+ steps; then {line} passed", found)


def test_a_failure_that_is_another_one_each_time_is_told_as_such() -> None:
    errors = (ValueError("this"), OSError("that\nin detail"), OSError("that\nin detail"), OSError("that\nin detail"))
    with pytest.raises(ScheduleFailed) as caught:
        explore(failing_on(1, 2, 3, 4, errors=errors))
    error, verdict, found = str(caught.value).split("\n")
    assert error == "ValueError: this"
    assert verdict.startswith("this repeats in another way: the program depends on something outside the loop (")
    assert found.endswith("; then weirpool.testing.run(main, 'fifo').check() raised OSError: that")


def test_a_failure_of_what_earlier_runs_have_left_is_told_as_such() -> None:
    with pytest.raises(ScheduleFailed) as caught:
        explore(failing_on(*range(5, 20)))
    error, verdict, found = str(caught.value).split("\n")
    assert error == "AssertionError: unlucky"
    assert verdict.startswith("this fails on 'fifo' now, which passed at first: the program depends on something outside")
    assert found.endswith("; then weirpool.testing.run(main, 'fifo').check() raised AssertionError: unlucky")


def test_a_failure_that_repeats_says_what_repeating_it_came_to() -> None:
    with pytest.raises(ScheduleFailed) as caught:
        explore(in_order, faults=False)
    assert isinstance(caught.value.again.error, AssertionError)
    assert f"repeat this with {caught.value.line}\n" in str(caught.value)


def test_a_deadlock_is_found_in_a_program_that_a_plain_test_passes() -> None:
    assert run(stranded_consumer).error is None
    with pytest.raises(ScheduleFailed, match=r"Deadlock: nothing can happen any more(.|\n)*stranded_consumer"):
        explore(stranded_consumer, faults=False)


def test_an_order_that_needs_two_choices_is_shrunk_to_these() -> None:
    async def main() -> None:
        seen = []

        async def note(number: int) -> None:
            seen.append(number)

        await asyncio.gather(*(note(number) for number in range(5)))
        assert seen != [4, 3, 0, 1, 2]

    failed = run(main, "script:0=0,1=4,2=3,3=0,4=0,9=0")
    assert failed.error is not None
    assert str(shrink(main, failed).schedule) == "script:1=4,2=3"


def test_a_clock_that_runs_ahead_is_shrunk_to_where_it_matters() -> None:
    async def main() -> None:
        async def work() -> None:
            for _ in range(5):
                await asyncio.sleep(0)

        async with asyncio.timeout(1):
            await work()

    failed = run(main, "random:1~60")
    assert isinstance(failed.error, TimeoutError)
    assert re.fullmatch(r"script:\d+=-1", str(shrink(main, failed).schedule))


def test_faults_that_are_not_needed_are_dropped() -> None:
    needless = (Fault(1, "close"), Fault(2, "cancel", 2), Fault(3, "cancel", 9), Fault(4, "cancel", 9))
    failed = run(uncancellable, Schedule("random", 3, faults=needless))
    assert isinstance(failed.error, AssertionError)
    assert str(shrink(uncancellable, failed).schedule) == "fifo @2:cancel:2"
    failed = run(noisy, Schedule("pct", 3, faults=needless))
    assert str(shrink(noisy, failed).schedule) == "fifo"


def test_a_fault_that_needs_its_order_keeps_both() -> None:
    async def main() -> None:
        order: list[str] = []

        async def first() -> None:
            order.append("first")

        async def second() -> None:
            order.append("second")
            await asyncio.sleep(1)

        tasks = [asyncio.create_task(first()), asyncio.create_task(second())]
        await asyncio.wait(tasks)
        assert not (order == ["second"] and tasks[0].cancelled())

    failed = run(main, "script:0=0,1=1,2=0 @3:cancel:2 @4:cancel:2")
    assert isinstance(failed.error, AssertionError)
    shortest = shrink(main, failed)
    assert str(shortest.schedule) == "script:1=1 @3:cancel:2"
    assert isinstance(run(main, shortest.schedule).error, AssertionError)


def test_shrinking_ends_when_it_has_no_more_attempts() -> None:
    runs = 0

    def main() -> Any:
        nonlocal runs
        runs += 1
        return lost_update()

    failed = next(
        result
        for seed in range(100)
        if (result := run(main, f"random:{seed}")).error is not None and len(result.deviations) > 3
    )
    for attempts in (0, 1, 3):
        runs = 0
        assert shrink(main, failed, attempts=attempts).error is not None
        assert runs == attempts


def test_what_does_not_fail_again_is_not_shrunk() -> None:
    failed = run(main := failing_on(1), "random:7 @9:close")
    assert failed.error is not None
    assert shrink(main, failed) is failed


def test_another_mistake_is_not_mistaken_for_the_one_to_shrink() -> None:
    async def main() -> None:
        seen: list[int] = []

        async def note(number: int) -> None:
            seen.append(number)

        await asyncio.gather(*(note(number) for number in range(3)))
        if seen == [1, 2, 0]:
            raise ValueError("this")
        if seen != [0, 1, 2]:
            raise ValueError("that")

    failed = run(main, "script:0=0,1=1,2=1,3=0")
    assert str(failed.error) == "this"
    assert str(shrink(main, failed).schedule) == "script:1=1,2=1"


def test_errors_that_differ_in_numbers_addresses_and_further_lines_are_alike() -> None:
    details = itertools.cycle(["one thing", "another"])

    async def main() -> None:
        try:
            await in_order()
        except AssertionError:
            raise ValueError(f"{object()} number {id(object())}\n{next(details)}") from None

    with pytest.raises(ScheduleFailed) as caught:
        explore(main, faults=False)
    assert re.fullmatch(r"script:1=[12]", str(caught.value.run.schedule))


def test_an_error_that_cannot_be_shown_is_told_nevertheless() -> None:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    async def main() -> None:
        raise UnspeakableError

    with pytest.raises(ScheduleFailed, match=r"UnspeakableError: str\(\) failed\nrepeat this with .*'fifo'"):
        explore(main)


def test_a_livelock_is_found_and_stays_one_when_shrunk() -> None:
    async def main() -> None:
        done = False

        async def spin() -> None:
            while not done:
                await asyncio.sleep(0)

        async def end() -> None:
            nonlocal done
            done = True

        await asyncio.wait([asyncio.create_task(spin()), asyncio.create_task(end())])

    with pytest.raises(ScheduleFailed) as caught:
        explore(main, seeds=0, max_steps=200)
    assert isinstance(caught.value.run.error, Livelock)
    assert str(caught.value.run.schedule) == "fifo @2:cancel:3"


def test_what_is_tolerated_is_tolerated_while_shrinking() -> None:
    async def main() -> None:
        try:
            await in_order()
        except asyncio.CancelledError:
            raise OSError from None

    with pytest.raises(ScheduleFailed) as caught:
        explore(main, tolerate=(OSError,))
    assert isinstance(caught.value.run.error, AssertionError)


# Bad arguments ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"seeds": -1}, ValueError, "seeds must be an int of at least 0, got -1"),
        ({"seeds": True}, TypeError, r"seeds must be an int of at least 0, got True \(bool\)"),
        ({"seeds": "12"}, TypeError, r"seeds must be an int \(how many\) or an iterable of ints, got '12' \(str\)"),
        ({"seeds": None}, TypeError, r"seeds must be an int \(how many\) or an iterable of ints, got None"),
        ({"seeds": [0.5]}, TypeError, r"seed must be an int of at least 0, got 0.5 \(float\)"),
        ({"seeds": [-5]}, ValueError, "seed must be an int of at least 0, got -5"),
        ({"policies": "pct"}, TypeError, r"policies must be a collection of str, such as \('close',\), got 'pct' \(str\)"),
        ({"policies": 5}, TypeError, r"policies must be a collection of str, such as .*, got 5 \(int\)"),
        ({"policies": [5]}, TypeError, r"policies must be a collection of str, such as .*, got 5 \(int\) in it"),
        ({"policies": ["pctt"]}, ValueError, "policy must be one of fifo, random, pct, script, got 'pctt'"),
        ({"jitter": 101}, ValueError, "jitter must be an int of at least 0 and at most 100, got 101"),
        ({"actions": "close"}, TypeError, "actions must be a collection of str, .*, got 'close'"),
        ({"pairs": -1}, ValueError, "pairs must be an int of at least 0, got -1"),
        ({"tolerate": [OSError]}, TypeError, "tolerate must be a tuple of exception classes"),
        ({"max_steps": 0}, ValueError, "max_steps must be an int of at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_run(
    arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    def main() -> Any:
        raise ArithmeticError

    with pytest.raises(kind, match=message):
        explore(main, **arguments)


@pytest.mark.parametrize("actions", [["closing"], ["close", "closing"]])
def test_an_action_that_the_program_never_has_is_refused(actions: list[str]) -> None:
    with pytest.raises(ValueError, match=r"main puts into loop.actions, \['close', 'open'\], got \['closing'\]"):
        explore(with_actions, actions=actions)


@pytest.mark.parametrize("taken", ["cancel", "cancel-all"])
@pytest.mark.parametrize("call", [explore, lambda main, actions: single_faults(main, Schedule(), actions=actions)])
def test_an_action_that_is_called_like_a_cancellation_is_refused_before_anything_is_run(call: Any, taken: str) -> None:
    def main() -> Any:
        raise ArithmeticError

    names = re.escape(f"({taken!r}, 'close')")
    with pytest.raises(ValueError, match=rf"actions must be names other than 'cancel' and 'cancel-all', .*, got {names}"):
        call(main, actions=[taken, "close"])


@pytest.mark.parametrize(
    ("singles", "count", "kind", "message"),
    [
        ([], 1, ValueError, "singles must be one fault or more, got none"),
        ([Schedule()], 1, ValueError, r"singles must be schedules with a fault each, as .*, got 'fifo' in it"),
        (["fifo @1:close"], 0, TypeError, r"singles must be schedules .*, got 'fifo @1:close' \(str\) in it"),
        (None, 1, TypeError, r"singles must be schedules .*, got None \(NoneType\)"),
        ([], -1, ValueError, "count must be an int of at least 0, got -1"),
    ],
)
def test_pairs_of_what_is_no_fault_are_refused(singles: Any, count: int, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        fault_pairs(singles, count)


def test_no_pairs_of_nothing_are_nothing() -> None:
    assert list(fault_pairs([], 0)) == []


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((run(one_turn),), ValueError, "failed must be a Run that failed, got one that passed, on 'fifo'"),
        ((None,), TypeError, r"failed must be a Run that failed, got None \(NoneType\)"),
        ((ScheduleFailed,), TypeError, r"failed must be a Run that failed, got <class"),
    ],
)
def test_what_has_not_failed_cannot_be_shrunk(arguments: tuple[Any, ...], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        shrink(one_turn, *arguments)


def test_shrinking_takes_a_number_of_attempts() -> None:
    with pytest.raises(ValueError, match="attempts must be an int of at least 0, got -1"):
        shrink(noisy, run(noisy), attempts=-1)


@pytest.mark.parametrize("schedule", [None, 5, ("fifo",)])
def test_single_faults_are_those_of_a_schedule(schedule: Any) -> None:
    with pytest.raises(TypeError, match="schedule must be a Schedule or its text, got"):
        single_faults(one_turn, schedule)


@pytest.mark.parametrize("call", [explore, run])
def test_a_coroutine_is_no_main(call: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match="pass main, not main"):
        call(one_turn())


def test_a_run_is_an_answer() -> None:
    assert run(one_turn, "random:5") == Run(Schedule("random", 5), 5, None, {})
