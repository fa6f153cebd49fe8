"""Campaigns: which scenarios are run on which schedules, and what comes of it.

A case is a line of text (scenario, seed, schedule), and running one again gives the same result anywhere.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from weirpool.testing import DeterministicLoop, NumberedTask, Run, Schedule, fault_pairs, orders, run, shrink, single_faults

from . import elastic_scenarios
from .scenarios import SCENARIOS
from .world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Sequence

__all__ = ["ACTIONS", "FACTORIES", "Case", "Profile", "Tally", "cases", "explore_cases", "push", "simplest"]

# What can happen to a pool from outside, beside a cancellation.
ACTIONS = ("close", "close-now", "close-intake", "cancel-handles", "raise-in-observer", "block")
STEERING = ("fewer", "more", "pause", "resume")
STEERED = ("mixed", "close_full", "putters", "nesting", "keyed", "overloaded")

# The scenarios of pools that change, and of jobs that depend on each other.
ELASTIC = [name for name, function in SCENARIOS.items() if function.__module__ == elastic_scenarios.__name__]

MAX_STEPS = 20_000


@dataclass(frozen=True, slots=True)
class Case:
    """One run of a scenario."""

    scenario: str
    seed: int
    schedule: Schedule

    @classmethod
    def parse(cls, line: str) -> Self:
        """Return the case that a line describes."""
        scenario, seed, schedule = line.split(maxsplit=2)
        return cls(scenario, int(seed), Schedule.parse(schedule))

    def __str__(self) -> str:
        return f"{self.scenario} {self.seed} {self.schedule}"

    @property
    def main(self) -> Callable[[], Coroutine[object, object, None]]:
        """The program."""
        return functools.partial(play, self.scenario, self.seed, tuple(fault.step for fault in self.schedule.faults))

    def run(self) -> Run:
        """Run it."""
        return run(self.main, self.schedule, max_steps=MAX_STEPS)


async def play(scenario: str, seed: int, faults: Sequence[int] = ()) -> None:
    """Play a scenario, from furnishing the world to its end; "eager/mixed" is `mixed` with a task factory of that kind.

    Args:
        scenario: its name.
        seed: of its dice.
        faults: the steps before which something may be done to it. What is done there, it finds out for itself.
    """
    factory, _, name = scenario.rpartition("/")
    DeterministicLoop.running().set_task_factory(FACTORIES[factory])
    world = World(seed, faults)
    SCENARIOS[name](world)
    await world.play()


def _wrapping(loop: Any, coro: Coroutine[Any, Any, Any], **options: Any) -> NumberedTask:
    """Make a task as instrumentation does: of a coroutine that awaits the one that was given."""

    async def wrapper() -> Any:
        return await coro

    task = NumberedTask(wrapper(), loop=loop, **options)
    task.add_done_callback(lambda _: coro.close())  # if it was cancelled before the wrapper came to it
    return task


FACTORIES: dict[str, Any] = {"": None, "eager": getattr(asyncio, "eager_task_factory", None), "wrapped": _wrapping}


def simplest(case: Case, failed: Run) -> tuple[Case, Run]:
    """Return the simplest case found that fails as this one did."""
    shortest = shrink(case.main, failed, max_steps=MAX_STEPS)
    return Case(case.scenario, case.seed, shortest.schedule), shortest


@dataclass(frozen=True, slots=True)
class Profile:
    """How much is tried.

    Args:
        seeds: of the scenarios; each is run in the stock order and in one order of each policy.
        policies: the shuffled orders.
        jitter: in how many of a hundred decisions the clock runs ahead, in one more shuffled order per other seed; 0: none.
        every_fault: for how many of the seeds every single fault is tried at every step of the stock order.
        shuffled_faults: and for how many of a shuffled one.
        pairs: how many random pairs of faults per seed with faults.
        tasks: by which kind of factory tasks are made: "" (the stock way), "wrapped/" or "eager/".
        scenarios: which are run; by default all.
        faulty: and which of these get faults; by default all.
        actions: what else may happen there than cancellations.
        cancel: whether tasks are cancelled there.
    """

    seeds: Sequence[int]
    policies: Collection[str] = ("random", "pct")
    jitter: int = 10
    every_fault: int = 0
    shuffled_faults: int = 0
    pairs: int = 0
    tasks: str = ""
    scenarios: Collection[str] = tuple(SCENARIOS)
    faulty: Collection[str] = tuple(SCENARIOS)
    actions: Collection[str] = ACTIONS
    cancel: bool = True


def push(first_seed: int = 0) -> list[Profile]:
    """Return what every push runs."""
    seeds = range(first_seed, first_seed + 300)
    wrapped = Profile(seeds[:10], every_fault=1, tasks="wrapped/", faulty=("errors", "same_tick", "stubborn_jobs"))
    basic = [name for name in SCENARIOS if name not in ELASTIC]
    steered = Profile(seeds[:1], (), 0, every_fault=1, pairs=15, actions=STEERING, cancel=False, scenarios=STEERED)
    return [
        Profile(seeds, every_fault=1, pairs=15, scenarios=basic),
        Profile(seeds[:40], every_fault=1, pairs=5, actions=("close",), scenarios=ELASTIC),
        wrapped,
        steered,
    ]


def cases(profile: Profile, scenarios: Collection[str] = ()) -> Iterator[Case]:
    """Yield the cases of a profile: the orders of all seeds and scenarios, then the faults."""
    names = [profile.tasks + name for name in scenarios or profile.scenarios]
    for seed, name in itertools.product(profile.seeds, names):
        for order in _orders(profile, seed):
            yield Case(name, seed, order)
    stock = [(seed, Schedule()) for seed in profile.seeds[: profile.every_fault]]
    shuffled = [(seed, Schedule("random", seed)) for seed in profile.seeds[: profile.shuffled_faults]]
    faulty = [name for name in names if name.removeprefix(profile.tasks) in profile.faulty]
    for (seed, order), name in itertools.product(stock + shuffled, faulty):
        singles = list(
            single_faults(
                Case(name, seed, order).main, order, cancel=profile.cancel, actions=profile.actions, max_steps=MAX_STEPS
            )
        )
        for schedule in itertools.chain(singles, fault_pairs(singles, profile.pairs, seed)):
            yield Case(name, seed, schedule)


def _orders(profile: Profile, seed: int) -> Iterator[Schedule]:
    yield Schedule()
    yield from orders([seed], profile.policies)
    if profile.jitter and seed % 2 == 0:
        yield Schedule("random", seed, profile.jitter)


@dataclass
class Tally:
    """What came of many runs."""

    runs: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[Case, Run]] = field(default_factory=list)
    seconds: float = 0.0


def explore_cases(some: Iterable[Case], *, max_steps: float = float("inf"), max_failures: int = 1) -> Tally:
    """Run cases until there are no more, so many steps have been taken, or so many have failed."""
    tally = Tally()
    began = time.perf_counter()
    taken = 0
    for case in some:
        result = case.run()
        tally.runs[case.scenario] += 1
        tally.steps[case.scenario] += result.steps
        taken += result.steps
        if result.error is not None:
            tally.failures.append((case, result))
        if taken >= max_steps or len(tally.failures) >= max_failures:
            break
    tally.seconds = time.perf_counter() - began
    return tally
