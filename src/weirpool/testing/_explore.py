"""Many runs of one program: shuffled, and with every fault at every step."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ._checks import exception_types, names, shown, whole
from ._loop import MAX_STEPS
from ._run import Run, run
from ._schedule import Fault, Schedule, action_names, as_schedule
from ._shrink import alike, shrink, text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ._loop import DeterministicLoop
    from ._run import Main

__all__ = ["Explored", "ScheduleFailed", "explore", "fault_pairs", "orders", "single_faults"]


class ScheduleFailed(AssertionError):
    """A program went wrong on some schedule; `run` says on which, and `run.error` how.

    `found` is the schedule before it was shortened, `again` what came of one more run on the shortened one, and `line` the
    call that does such a run.
    """

    def __init__(self, failed: Run, found: Schedule, again: Run, line: str) -> None:
        super().__init__(failed, found, again, line)
        self.run = failed
        self.found = found
        self.again = again
        self.line = line

    def __str__(self) -> str:
        failure = f"{type(self.run.error).__name__}: {text(self.run.error)}"
        found, error = f"found on {str(self.found)!r}", self.again.error
        if error is None:
            verdict = "this does not repeat"
        elif not alike(error, self.run.error):
            verdict = "this repeats in another way"
        elif self.run.schedule == Schedule() != self.found:  # which `explore` has tried first
            verdict = f"this fails on '{self.run.schedule}' now, which passed at first"
        else:
            return f"{failure}\nrepeat this with {self.line}\n{found}, repeated in {self.run.steps} steps"
        outcome = "passed" if error is None else f"raised {type(error).__name__}: " + text(error).partition("\n")[0]
        return (
            f"{failure}\n"
            f"{verdict}: the program depends on something outside the loop (real time, chance, what earlier runs left)\n"
            f"{found}, failed in {self.run.steps} steps; then {self.line} {outcome}"
        )


@dataclass(frozen=True, slots=True)
class Explored:
    """How much was explored.

    Args:
        runs: how many times the program was run.
        steps: how many callbacks that were, in all.
    """

    runs: int
    steps: int


def explore(
    main: Main,
    *,
    seeds: int | Iterable[int] = 100,
    policies: Collection[str] = ("random", "pct"),
    jitter: int = 0,
    faults: bool = True,
    actions: Collection[str] = (),
    pairs: int = 0,
    tolerate: tuple[type[BaseException], ...] = (),
    max_steps: int = MAX_STEPS,
) -> Explored:
    """Run a program on many schedules, and fail with a line that repeats the failure.

    First in the order of the stock event loop; then with each task cancelled before each step; then in shuffled orders.

    Args:
        main: the program, an async function without arguments. All that it uses it must make itself.
        seeds: how many shuffled orders of each policy, or their seeds.
        policies: of "random" (any order) and "pct" (random priorities, which hold single tasks back for long).
        jitter: in how many of a hundred decisions of shuffled orders the clock runs ahead of the work.
        faults: whether to cancel each task, and all at once, before each step of the stock order.
        actions: what else may happen before each step: names in `DeterministicLoop.actions`, which the program has to fill;
            not "cancel" or "cancel-all".
        pairs: how many random pairs of such faults to try as well.
        tolerate: what `main` may raise when something has been done to it, beside `CancelledError`.
        max_steps: how many callbacks a run may take before it counts as a livelock.

    Returns:
        How much was explored.

    Raises:
        ScheduleFailed: the program went wrong; the schedule has been made as short as a few hundred runs could make it.
    """
    exception_types("tolerate", tolerate)
    whole("pairs", pairs, 0)
    shuffled = list(orders(_seeds(seeds), policies, jitter))
    actions = action_names(actions)
    runs = steps = 0

    def all_schedules() -> Iterator[Schedule]:
        yield Schedule()
        if faults or actions:
            singles = list(single_faults(main, Schedule(), cancel=faults, actions=actions, max_steps=max_steps))
            yield from singles
            yield from fault_pairs(singles, pairs)
        yield from shuffled

    for schedule in all_schedules():
        result = run(main, schedule, tolerate=tolerate, max_steps=max_steps)
        runs += 1
        steps += result.steps
        if result.error is not None:
            shortest = shrink(main, result, tolerate=tolerate, max_steps=max_steps)
            again = run(main, shortest.schedule, tolerate=tolerate, max_steps=max_steps)
            line = _line(shortest.schedule, tolerate, max_steps)
            raise ScheduleFailed(shortest, schedule, again, line) from shortest.error
    return Explored(runs, steps)


def _line(schedule: Schedule, tolerate: tuple[type[BaseException], ...], max_steps: int) -> str:
    """Return the call that does a run of `explore` again, as it is written in a test."""
    options = ""
    if tolerate:
        kinds = [kind.__qualname__.rpartition("<locals>.")[2] for kind in tolerate]
        options += f", tolerate=({', '.join(kinds)}{',' if len(kinds) == 1 else ''})"
    if max_steps != MAX_STEPS:
        options += f", max_steps={max_steps:d}"
    return f"weirpool.testing.run(main, {str(schedule)!r}{options}).check()"


def _seeds(seeds: object) -> Iterable[int]:
    if isinstance(seeds, Iterable) and not isinstance(seeds, str):
        return seeds
    if isinstance(seeds, int):
        whole("seeds", seeds, 0)
        return range(seeds)
    raise TypeError(f"seeds must be an int (how many) or an iterable of ints, got {shown(seeds)} ({type(seeds).__name__})")


def orders(seeds: Iterable[int], policies: Collection[str], jitter: int = 0) -> Iterator[Schedule]:
    """Yield a schedule for each seed and policy."""
    for seed, policy in itertools.product(seeds, names("policies", policies)):
        yield Schedule(policy, seed, jitter)


def single_faults(
    main: Main,
    schedule: Schedule | str,
    *,
    cancel: bool = True,
    actions: Collection[str] = (),
    max_steps: int = MAX_STEPS,
) -> Iterator[Schedule]:
    """Yield a schedule for everything that can happen before each step of a program: each cancellation, each action.

    Args:
        main: the program, which is run once to see which steps it takes, and which tasks there are to cancel.
        schedule: the order in which its callbacks run, or its text. Its faults happen, too: each new one is put after them.
        cancel: whether to cancel tasks: each alone, and all at once (where there are several).
        actions: names of what else can happen; not "cancel" or "cancel-all".
        max_steps: how many callbacks a run may take.
    """
    return _each_fault(main, as_schedule(schedule), cancel, action_names(actions), max_steps)


def _each_fault(main: Main, schedule: Schedule, cancel: bool, actions: tuple[str, ...], max_steps: int) -> Iterator[Schedule]:
    seen: list[tuple[list[int], set[str]]] = []

    def look(loop: DeterministicLoop) -> None:
        seen.append((list(loop.tasks()), set(loop.actions)))

    run(main, schedule, max_steps=max_steps, before_step=look)
    known = set().union(*(possible for _, possible in seen))
    if missing := set(actions) - known:
        raise ValueError(f"actions must be names that main puts into loop.actions, {sorted(known)}, got {sorted(missing)}")
    for step, (alive, possible) in enumerate(seen, 1):
        faults = [Fault(step, action) for action in actions if action in possible]
        if cancel:
            faults += [Fault(step, "cancel", task) for task in alive]
            if len(alive) > 1:
                faults.append(Fault(step, "cancel-all"))
        for fault in faults:
            yield replace(schedule, faults=(*schedule.faults, fault))


def fault_pairs(singles: Iterable[Schedule], count: int, seed: int = 0) -> Iterator[Schedule]:
    """Yield random pairs of single faults, the earlier first.

    Args:
        singles: what `single_faults` yields for a schedule: the last fault of each is the single one, and all those before
            it, which each of them has, stay.
        count: how many pairs.
        seed: of the generator that draws them.
    """
    whole("count", count, 0)
    drawn = list(_with_faults(singles))
    if count and not drawn:
        raise ValueError("singles must be one fault or more, got none")
    return _each_pair(drawn, count, random.Random(seed))


def _with_faults(singles: object) -> Iterator[Schedule]:
    rule = "singles must be schedules with a fault each, as single_faults() yields them"
    if not isinstance(singles, Iterable):
        raise TypeError(f"{rule}, got {shown(singles)} ({type(singles).__name__})")
    for single in singles:
        if not isinstance(single, Schedule):
            raise TypeError(f"{rule}, got {shown(single)} ({type(single).__name__}) in it")
        if not single.faults:
            raise ValueError(f"{rule}, got {str(single)!r} in it")
        yield single


def _each_pair(singles: list[Schedule], count: int, dice: random.Random) -> Iterator[Schedule]:
    for _ in range(count):
        first, second = sorted(dice.choices(singles, k=2), key=lambda single: single.faults[-1].step)
        yield replace(first, faults=(*first.faults, second.faults[-1]))
