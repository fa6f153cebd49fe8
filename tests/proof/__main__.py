"""Run the proof: `python -m tests.proof`.

::

python -m tests.proof                              what every push runs
python -m tests.proof --profile nightly            ten million steps
python -m tests.proof --profile release            a hundred million
python -m tests.proof --replay "putters 5 random:17 @41:cancel:5"
python -m tests.proof --planted                    which method finds which planted bug
python -m tests.proof --internal                   weirpool itself fails, at each line of its core
"""

from __future__ import annotations

import argparse
import itertools
import logging
import math
import platform
import sys
import traceback
from typing import TYPE_CHECKING

from .campaign import FACTORIES, Case, Profile, Tally, cases, explore_cases, push, simplest
from .internal_faults import PROGRAMS, inject_all, lines_of
from .planted import BUGS
from .scenarios import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONG_STEPS = {"nightly": 1e7, "release": 1e8}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description="Prove the pool, on every schedule in reach.")
    parser.add_argument("--profile", choices=["push", *LONG_STEPS], default="push", help="how much; default: push")
    parser.add_argument("--first-seed", type=int, default=0, help="where a profile begins; give another for fresh schedules")
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS), default=[], help="only this (repeatable)")
    parser.add_argument("--replay", metavar="CASE", help="run one case again and show what goes wrong")
    parser.add_argument("--planted", action="store_true", help="plant bugs, and show which method finds them")
    parser.add_argument("--internal", action="store_true", help="raise in place of each line of weirpool, each time it is run")
    options = parser.parse_args(arguments)
    logging.getLogger("weirpool").addHandler(logging.NullHandler())
    logging.getLogger("weirpool").propagate = False
    if options.replay:
        return replay(Case.parse(options.replay))
    if options.planted:
        return plant()
    if options.internal:
        return fail_inside()
    return prove(options.profile, options.first_seed, options.scenario)


def prove(name: str, first_seed: int, scenarios: Sequence[str]) -> int:
    """Run a profile, and show how much that was and what failed."""
    profiles = push(first_seed) if name == "push" else endless(first_seed)
    chosen = itertools.chain.from_iterable(cases(profile, scenarios) for profile in profiles)
    tally = explore_cases(chosen, max_steps=LONG_STEPS.get(name, math.inf), max_failures=10)
    show(tally, f"{name}, from seed {first_seed}")
    for case, failed in tally.failures:
        simple, shortest = simplest(case, failed)
        print(f"\nFAILED {case}\n  {type(failed.error).__name__}: {failed.error}")
        print(f'  python -m tests.proof --replay "{simple}"   # {shortest.steps} steps')
    return bool(tally.failures)


def endless(first_seed: int) -> Iterator[Profile]:
    """Yield profiles with fresh seeds, by all kinds of task factories."""
    kinds = [f"{kind}/" if kind else "" for kind, factory in FACTORIES.items() if factory is not None or not kind]
    for seed in itertools.count(first_seed, 50):
        yield Profile(range(seed, seed + 50), every_fault=1, shuffled_faults=1, pairs=200)
        for tasks in kinds[1:]:
            yield Profile(range(seed, seed + 10), every_fault=1, tasks=tasks)


def show(tally: Tally, title: str) -> None:
    """Print how much was run."""
    print(f"{'scenario':<16}{'runs':>10}{'steps':>12}")
    for scenario, runs in sorted(tally.runs.items()):
        print(f"{scenario:<16}{runs:>10,}{tally.steps[scenario]:>12,}")
    runs, steps = tally.runs.total(), tally.steps.total()
    print(f"{'all':<16}{runs:>10,}{steps:>12,}")
    print(
        f"\n{title}: {runs:,} runs, {steps:,} steps, {len(tally.failures)} failures, {tally.seconds:.0f} s "
        f"(Python {platform.python_version()}, {steps / max(tally.seconds, 1e-9):,.0f} steps/s)"
    )


def replay(case: Case) -> int:
    """Run one case, and show what goes wrong."""
    result = case.run()
    print(f"{case}: {result.steps} steps")
    if result.error is None:
        print("nothing went wrong")
        return 0
    traceback.print_exception(result.error, file=sys.stdout)
    return 1


METHODS = {
    "a plain test": Profile([0], policies=(), jitter=0),
    "300 seeds, stock order": Profile(range(300), policies=(), jitter=0),
    "300 seeds, shuffled": Profile(range(300)),
    "every fault, 2 seeds": Profile(range(2), policies=(), jitter=0, every_fault=2),
}


def plant() -> int:
    """Plant each bug and show after how many runs each method finds it."""
    missed = 0
    for bug in BUGS:
        print(f"\n{bug.what}")
        found = False
        with bug.planted():
            for method, profile in METHODS.items():
                tally = explore_cases(cases(profile))
                if tally.failures:
                    found = True
                    case, failed = tally.failures[0]
                    simple, _ = simplest(case, failed)
                    print(f"  {method:<24}found in run {tally.runs.total():,}: {simple}\n{'':<28}{_first_line(failed.error)}")
                else:
                    print(f"  {method:<24}not found in {tally.runs.total():,} runs")
        missed += not found
    print(f"\n{len(BUGS) - missed} of {len(BUGS)} found")
    return bool(missed)


def fail_inside() -> int:
    """Raise in place of each line of the core, each time that it is run."""
    numbers = {program: range(1, len(lines_of(program)) + 1) for program in PROGRAMS}
    counts, failures = inject_all(numbers)
    for program, count in counts.items():
        print(f"{program:<20}{count:>8,} of {len(numbers[program]):,}")
    for failure in failures:
        print(f"FAILED {failure}")
    print(f"\n{counts.total():,} failures injected, {len(failures)} of them did harm")
    return bool(failures)


def _first_line(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:120]


if __name__ == "__main__":
    sys.exit(main())
