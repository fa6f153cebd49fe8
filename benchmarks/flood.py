"""What does a job cost when one producer submits many, and then awaits them all?

Measured: 100,000 jobs that yield to the loop once, 100 workers, from the first submission to the last result; with room for
every job to wait, with a deadline of 30 s on each and without, and with room for 1,000, where the producer has to wait for
it (only for those who have a bound on what waits).

Fair because all contestants run in one process, in turn, round by round (A B C A B C ...), and only ratios within one round
count. Each submits and awaits in the way that it documents for a batch (measuring/standard.py, measuring/libraries.py).
`floor` awaits one job after the other. A bare semaphore needs callers, and takes no part; its form for a batch is
`TaskGroup + Semaphore`. The garbage collector stays on; what one leaves behind is collected before the next begins.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from measuring.bars import FLOOD
from measuring.command import Command
from measuring.field import Field
from measuring.report import Report, Table
from measuring.rounds import interleaved

if TYPE_CHECKING:
    import argparse

    from measuring.contestant import Contestant

WORKERS = 100
DEADLINE = 30.0
ROOM = 1_000
BOUNDED = ("weirpool", "Queue workers", "aiojobs", "aiometer", "aiolibs-executor")


async def job(number: int) -> int:
    """Yield to the loop once."""
    await asyncio.sleep(0)
    return number


async def timed(contestant: Contestant, jobs: int) -> float:
    """Return the microseconds per job."""
    arguments = range(jobs)
    start = time.perf_counter()
    results = await contestant.flood(job, arguments)
    taken = time.perf_counter() - start
    if len(results) != jobs:
        raise AssertionError(f"{contestant.name}: {len(results):,} results of {jobs:,} jobs")
    return taken / jobs * 1e6


async def measure(field: Field, rounds: int, jobs: int, waiting: int, deadline: float | None) -> dict[str, list[float]]:
    """Time all of them."""
    async with AsyncExitStack() as stack:
        runs = {}
        for name, kind in field.contestants.items():
            contestant = await stack.enter_async_context(kind(workers=WORKERS, waiting=waiting, deadline=deadline))
            runs[name] = partial(timed, contestant, jobs)
        return await interleaved(rounds, runs)


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 7, 3, "rounds of each")
COMMAND.number("jobs", 100_000, 10_000, "jobs per round")
COMMAND.peers()


def answer(options: argparse.Namespace) -> Report:
    """Measure in three cases; in one, if it has to be quick."""
    report = COMMAND.report(options)
    everyone = Field.of("flood", peers=options.peers)
    bounded = Field({name: kind for name, kind in everyone.contestants.items() if name in BOUNDED})
    report.left_out = everyone.left_out
    cases = [
        (FLOOD, everyone, options.jobs, DEADLINE),
        ("without a deadline", everyone, options.jobs, None),
        ("with a deadline, and room for 1,000", bounded, ROOM, DEADLINE),
    ]
    for title, field, waiting, deadline in cases[: 1 if options.quick else None]:
        times = asyncio.run(measure(field, options.rounds, options.jobs, waiting, deadline))
        report.tables.append(Table(title, "us per job", times, over="weirpool"))
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
