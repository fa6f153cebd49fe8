"""Fail if weirpool has become a lot slower: the regression guard of CI.

Measured: the round trip with a deadline against the bare semaphore (round_trip.py), and a job from a queue of 100,000 against
one from a queue of 1,000 (depth.py), with small numbers.

Robust because each is the median of paired ratios, which a busy machine changes little; because the limits (GUARD in
measuring/bars.py) are far beyond what is measured; and because a limit that is exceeded is measured once more, for twice as
long, and only the second exceeding is a failure.

Exit status: 1 if a ratio is beyond its limit twice, else 0.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from typing import TYPE_CHECKING

import depth
import round_trip
from measuring.bars import GUARD, ROUND_TRIP, Bar, judge, verdicts
from measuring.command import count
from measuring.field import Field
from measuring.report import Report, Table, described, machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from measuring.bars import Verdict

CALLS = 4_000
DEPTHS = (1_000, 100_000)


def _round_trip(rounds: int) -> Table:
    field = Field.of("call", peers=["Semaphore"])
    times = asyncio.run(round_trip.measure(field, rounds, CALLS, round_trip.DEADLINE))
    return Table(ROUND_TRIP, "us per job", times, over="weirpool")


def _depth(rounds: int) -> Table:
    return depth.ratios("weirpool", DEPTHS, 2 * rounds)


MEASURES: dict[str, Callable[[int], Table]] = {"round_trip": _round_trip, "depth": _depth}


def guarded(bar: Bar, rounds: int) -> Verdict:
    """Measure one ratio; once more, if it is beyond its limit."""
    verdict = _measured(bar, rounds)
    return verdict if verdict.held else _measured(bar, 2 * rounds)


def _measured(bar: Bar, rounds: int) -> Verdict:
    table = MEASURES[bar.question](rounds)
    print(f"{bar.question}: ", "\n  ".join(table.lines()), sep="", flush=True)
    return judge(bar, Report(bar.question, bar.what, {}, [table]))


def main() -> None:
    """Measure all, and fail if one has failed."""
    parser = argparse.ArgumentParser(
        prog="guard.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=count, default=15, metavar="N", help="rounds of each (15)")
    options = parser.parse_args()
    logging.disable()  # pools that are closed with jobs in the queue would say so
    print(described(machine()))
    found = [guarded(bar, options.rounds) for bar in GUARD]
    print("", verdicts(found), sep="\n")
    if not all(verdict.held for verdict in found):
        sys.exit("a lot slower than it was: see the limits in benchmarks/measuring/bars.py")


if __name__ == "__main__":
    main()
