"""Many runs of one program: shuffled, with every fault at every step; and the shortest way to repeat one that failed."""

from __future__ import annotations

import gc
import itertools
import random
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ._run import Run, run
from ._schedule import Fault, Schedule

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Iterator, Sequence

    from ._loop import DeterministicLoop
    from ._run import Main

__all__ = ["Explored", "ScheduleFailed", "explore", "fault_pairs", "orders", "quick_garbage", "shrink", "single_faults"]


class ScheduleFailed(AssertionError):
    """A program went wrong on some schedule; `run` says on which, and `run.error` how."""

    def __init__(self, failed: Run, found: Schedule) -> None:
        super().__init__(failed, found)
        self.run = failed
        self.found = found

    def __str__(self) -> str:
        error = self.run.error
        return (
            f"{type(error).__name__}: {error}\n"
            f"repeat this with weirpool.testing.run(main, {str(self.run.schedule)!r}), "
            f"{self.run.steps} steps; found on {str(self.found)!r}"
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
    max_steps: int = 100_000,
) -> Explored:
    """Run a program on many schedules, and fail with a line that repeats the failure.

    First in the order of the stock event loop; then with each task cancelled before each step; then in shuffled orders.

    Args:
        main: the program, an async function without arguments. All that it uses it must make itself.
        seeds: how many shuffled orders of each policy, or their seeds.
        policies: of "random" (any order) and "pct" (random priorities, which hold single tasks back for long).
        jitter: in how many of a hundred decisions of shuffled orders the clock runs ahead of the work.
        faults: whether to cancel each task, and all at once, before each step of the stock order.
        actions: what else may happen before each step: names in `DeterministicLoop.actions`, which the program has to fill.
        pairs: how many random pairs of such faults to try as well.
        tolerate: what `main` may raise when something has been done to it, beside `CancelledError`.
        max_steps: how many callbacks a run may take before it counts as a livelock.

    Returns:
        How much was explored.

    Raises:
        ScheduleFailed: the program went wrong; the schedule has been made as short as possible.
    """
    runs = steps = 0
    dice = range(seeds) if isinstance(seeds, int) else seeds
    plain = Schedule()

    def all_schedules() -> Iterator[Schedule]:
        yield plain
        if faults or actions:
            singles = list(single_faults(main, plain, cancel=faults, actions=actions, max_steps=max_steps))
            yield from singles
            yield from fault_pairs(singles, pairs)
        yield from orders(dice, policies, jitter)

    with quick_garbage():
        for schedule in all_schedules():
            result = run(main, schedule, tolerate=tolerate, max_steps=max_steps)
            runs += 1
            steps += result.steps
            if result.error is not None:
                shortest = shrink(main, result, tolerate=tolerate, max_steps=max_steps)
                raise ScheduleFailed(shortest, schedule) from shortest.error
    return Explored(runs, steps)


def orders(seeds: Iterable[int], policies: Collection[str], jitter: int = 0) -> Iterator[Schedule]:
    """Yield a schedule for each seed and policy."""
    for seed, policy in itertools.product(seeds, policies):
        yield Schedule(policy, seed, jitter)


def single_faults(
    main: Main,
    schedule: Schedule,
    *,
    cancel: bool = True,
    actions: Collection[str] = (),
    max_steps: int = 100_000,
) -> Iterator[Schedule]:
    """Yield a schedule for everything that can happen before each step of a program: each cancellation, each action.

    Args:
        main: the program, which is run once to see which steps it takes, and which tasks there are to cancel.
        schedule: the order in which its callbacks run.
        cancel: whether to cancel tasks: each alone, and all at once.
        actions: names of what else can happen.
        max_steps: how many callbacks a run may take.
    """
    alive: list[tuple[int, ...]] = []

    def look(loop: DeterministicLoop) -> None:
        alive.append(tuple(loop.tasks()))

    run(main, schedule, max_steps=max_steps, before_step=look)
    for step, tasks in enumerate(alive, 1):
        if cancel:
            yield replace(schedule, faults=(Fault(step, "cancel-all"),))
            for task in tasks:
                yield replace(schedule, faults=(Fault(step, "cancel", task),))
        for action in actions:
            yield replace(schedule, faults=(Fault(step, action),))


def fault_pairs(singles: Sequence[Schedule], count: int, seed: int = 0) -> Iterator[Schedule]:
    """Yield random pairs of single faults."""
    dice = random.Random(seed)
    for _ in range(count):
        first, second = dice.choice(singles), dice.choice(singles)
        yield replace(first, faults=first.faults + second.faults)


def shrink(
    main: Main,
    failed: Run,
    *,
    attempts: int = 400,
    tolerate: tuple[type[BaseException], ...] = (),
    max_steps: int = 100_000,
) -> Run:
    """Return the simplest run found that fails as the given one does.

    It takes the choices that the policy made and drops as many as it can, by halves (A. Zeller, "Yesterday, my program worked.
    Today, it does not. Why?", ESEC/FSE 1999), so that the order is the stock one but where it matters; then the faults.

    Args:
        main: the program.
        failed: a run of it that failed.
        attempts: how many runs this may take.
        tolerate: what `main` may raise when something has been done to it.
        max_steps: how many callbacks a run may take.
    """
    tries = iter(range(attempts))

    def still_fails(schedule: Schedule) -> Run | None:
        if next(tries, None) is None:
            return None
        again = run(main, schedule, tolerate=tolerate, max_steps=max_steps)
        return again if _alike(again.error, failed.error) else None

    best = failed
    for index in reversed(range(len(failed.schedule.faults))):
        kept = best.schedule.faults[:index] + best.schedule.faults[index + 1 :]
        best = still_fails(replace(best.schedule, faults=kept)) or best
    faults = best.schedule.faults
    scripted = still_fails(Schedule("script", script=dict(best.deviations), faults=faults)) if best.deviations else None
    if scripted is None:
        return best
    best = scripted
    size = len(best.deviations)
    while size:
        items = list(best.schedule.script.items())
        for start in range(0, len(items), size):
            fewer = dict(items[:start] + items[start + size :])
            shorter = still_fails(Schedule("script", script=fewer, faults=faults))
            if shorter is not None:
                best = shorter
                break
        else:
            size //= 2
            continue
        size = min(size, len(best.schedule.script))
    return best


def _alike(error: BaseException | None, other: BaseException | None) -> bool:
    return error is not None and _kind(error) == _kind(other)


def _kind(error: BaseException | None) -> tuple[object, str]:
    first_line = str(error).partition("\n")[0]
    return type(error), re.sub(r"\d+", "", first_line)


@contextmanager
def quick_garbage() -> Generator[None, None, None]:
    """Exempt what exists by now from garbage collection, which takes place after each run and should cost little."""
    if gc.get_freeze_count():  # somebody else has done so
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
