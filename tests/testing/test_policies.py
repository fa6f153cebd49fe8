"""Each policy decides as it says: anything at random, one task held back for long, the clock ahead of the work, a script."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from weirpool.testing import ADVANCE, Deadlock, DeterministicLoop, Fifo, Jitter, Policy, Priorities, Script, Shuffle, run

if TYPE_CHECKING:
    from collections.abc import Callable


def order(policy: Policy, tasks: int = 4) -> tuple[int, ...]:
    """Return the order in which tasks that are ready together run on a policy."""
    seen: list[int] = []

    async def one(number: int) -> None:
        seen.append(number)

    async def main() -> None:
        await asyncio.gather(*(one(number) for number in range(tasks)))

    loop = DeterministicLoop(policy)
    loop.run_until_complete(main())
    loop.close()
    return tuple(seen)


def test_fifo_is_the_order_of_arrival() -> None:
    assert order(Fifo()) == (0, 1, 2, 3)


@pytest.mark.parametrize("policy", [Shuffle, Priorities])
def test_every_order_turns_up(policy: Callable[[int], Policy]) -> None:
    assert len({order(policy(seed)) for seed in range(400)}) == 24


@pytest.mark.parametrize("policy", [Shuffle, Priorities])
def test_a_seed_decides_the_same_each_time(policy: Callable[[int], Policy]) -> None:
    assert order(policy(17), tasks=50) == order(policy(17), tasks=50)
    assert order(policy(17), tasks=50) != order(policy(18), tasks=50)


async def held_back() -> None:
    """Fail if one task is held back while another takes eighty turns."""
    flag = asyncio.Event()

    async def quick() -> None:
        flag.set()

    async def slow() -> None:
        for _ in range(80):
            await asyncio.sleep(0)
        assert flag.is_set()

    await asyncio.gather(slow(), quick())


def test_priorities_hold_a_task_back_for_long_and_shuffling_does_not() -> None:
    def found(policy: str) -> int:
        return sum(run(held_back, f"{policy}:{seed}").error is not None for seed in range(50))

    assert found("random") == 0
    assert found("pct") > 5


async def spinning() -> None:
    """Wait by spinning, in two tasks, for a third that takes a few turns."""
    done = False

    async def spin() -> None:
        while not done:
            await asyncio.sleep(0)

    async def work() -> None:
        nonlocal done
        for _ in range(3):
            await asyncio.sleep(0)
        done = True

    await asyncio.gather(spin(), work(), spin())


async def playing_table_tennis() -> None:
    """Wait, in two tasks that wake each other, for a third."""
    here, there = asyncio.Event(), asyncio.Event()
    done = False

    async def player(mine: asyncio.Event, yours: asyncio.Event) -> None:
        while not done:
            await mine.wait()
            mine.clear()
            yours.set()

    async def umpire() -> None:
        nonlocal done
        await asyncio.sleep(0)
        done = True
        here.set()
        there.set()

    here.set()
    await asyncio.gather(player(here, there), player(there, here), umpire())


@pytest.mark.parametrize("main", [spinning, playing_table_tennis])
@pytest.mark.parametrize("policy", ["random", "pct"])
def test_nobody_is_held_back_for_ever_by_others_that_spin(main: Callable[[], object], policy: str) -> None:
    for seed in range(50):
        assert run(main, f"{policy}:{seed}", max_steps=5000).error is None  # type: ignore[arg-type]


def test_tasks_of_a_foreign_class_and_callbacks_of_every_kind_have_priorities_too() -> None:
    seen: list[str] = []

    async def task(name: str) -> None:
        seen.append(name)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks = [asyncio.Task(task(name), loop=loop, name=name) for name in "ab"]
        loop.call_soon(seen.append, "c")
        loop.call_soon(partial(seen.append, "d"))
        loop.call_soon(lambda: seen.append("e"))
        await asyncio.sleep(1)
        await asyncio.wait(tasks)

    orders = set()
    for seed in range(50):
        assert run(main, f"pct:{seed}").error is None
        orders.add(tuple(seen))
        seen.clear()
    assert {frozenset(order) for order in orders} == {frozenset("abcde")}
    assert len(orders) > 20


async def working_against_the_clock() -> None:
    """Fail if a timer of a second fires during work that takes no time."""
    work = asyncio.create_task(held_back())
    done, _ = await asyncio.wait([work], timeout=1)
    assert done


def test_with_jitter_timers_fire_while_there_is_work() -> None:
    assert run(working_against_the_clock, "fifo").error is None
    late = [seed for seed in range(20) if run(working_against_the_clock, f"fifo:{seed}~5").error is not None]
    assert len(late) > 10
    assert run(working_against_the_clock, "fifo:0~100").error is not None


def test_jitter_without_timers_changes_nothing() -> None:
    assert order(Jitter(Fifo(), 1.0, 0)) == (0, 1, 2, 3)


def test_a_script_chooses_what_it_says_and_else_the_first() -> None:
    assert order(Script({})) == (0, 1, 2, 3)
    assert order(Script({1: 2})) == (2, 0, 1, 3)
    assert order(Script({1: 3, 3: 1})) == (3, 0, 2, 1)


def test_a_script_for_another_program_chooses_the_nearest_there_is() -> None:
    assert order(Script({1: 99})) == (3, 0, 1, 2)
    assert order(Script({1: ADVANCE})) == (0, 1, 2, 3)
    assert Script({0: ADVANCE}).choose([], False) == 0


def test_what_was_decided_can_be_replayed_as_a_script() -> None:
    for policy in (Shuffle(3), Priorities(3), Jitter(Shuffle(3), 0.2, 3)):
        traces = []
        deviations: dict[int, int] = {}
        for again in (policy, None):
            trace: list[object] = []
            loop = DeterministicLoop(again or Script(deviations))

            async def one(number: int, trace: list[object] = trace, loop: DeterministicLoop = loop) -> None:
                for turn in range(3):
                    await asyncio.sleep(number % 3)
                    trace.append((number, turn, loop.time()))

            async def main() -> None:
                await asyncio.gather(*(one(number) for number in range(10)))

            loop.run_until_complete(main())
            loop.close()
            traces.append(trace)
            deviations = loop.deviations
        assert traces[0] == traces[1]
        assert deviations


def test_a_policy_of_ones_own_will_do() -> None:
    class Last:
        def choose(self, ready: object, timers: bool, /) -> int:
            return -2 if timers else len(ready) - 1  # type: ignore[arg-type]

    assert order(Last()) == (3, 2, 1, 0)


def test_a_deadlock_is_one_on_every_policy() -> None:
    async def main() -> None:
        await asyncio.gather(asyncio.Event().wait(), asyncio.sleep(1), asyncio.sleep(0))

    for schedule in ("fifo", "random:1", "pct:2", "pct:2~50", "script:3=1"):
        assert isinstance(run(main, schedule).error, Deadlock)
