"""What does a job cost that nobody waits for?

Measured: 100,000 jobs that yield to the loop once, 100 workers, a deadline of 30 s on each, room for every job to wait. What
the library returns for a job is dropped at once. It ends when the last job has run.

Fair because all contestants run in one process, in turn, round by round (A B C A B C ...), and only ratios within one round
count. The jobs themselves count down to the end, for all in the same way. The queue workers, written by hand for jobs that
nobody awaits, make no futures. `floor` awaits one job after the other. A bare semaphore needs callers, and takes no part.
The garbage collector stays on; what one leaves behind is collected before the next begins.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from measuring.bars import FORGET
from measuring.command import Command
from measuring.field import Field
from measuring.report import Report, Table
from measuring.rounds import interleaved

if TYPE_CHECKING:
    import argparse

    from measuring.contestant import Contestant

WORKERS = 100
DEADLINE = 30.0


class Countdown:
    """Know when the last of so many jobs has run."""

    def __init__(self, jobs: int) -> None:
        self.left = jobs
        self.over = asyncio.Event()

    async def job(self, _: int) -> None:
        """Yield to the loop once."""
        await asyncio.sleep(0)
        self.left -= 1
        if not self.left:
            self.over.set()


async def timed(contestant: Contestant, jobs: int) -> float:
    """Return the microseconds per job."""
    countdown = Countdown(jobs)
    start = time.perf_counter()
    await contestant.fire(countdown.job, range(jobs))
    await countdown.over.wait()
    return (time.perf_counter() - start) / jobs * 1e6


async def measure(field: Field, rounds: int, jobs: int) -> dict[str, list[float]]:
    """Time all of them."""
    async with AsyncExitStack() as stack:
        runs = {}
        for name, kind in field.contestants.items():
            contestant = await stack.enter_async_context(kind(workers=WORKERS, waiting=jobs, deadline=DEADLINE))
            runs[name] = partial(timed, contestant, jobs)
        return await interleaved(rounds, runs)


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 7, 3, "rounds of each")
COMMAND.number("jobs", 100_000, 10_000, "jobs per round")
COMMAND.peers()


def answer(options: argparse.Namespace) -> Report:
    """Measure."""
    report = COMMAND.report(options)
    field = Field.of("fire", peers=options.peers)
    report.left_out = field.left_out
    times = asyncio.run(measure(field, options.rounds, options.jobs))
    report.tables.append(Table(FORGET, "us per job", times, over="weirpool"))
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
