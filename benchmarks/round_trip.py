"""What does one job cost, submitted and awaited?

Measured: 200 callers, each of which submits one job after the other and awaits its result, 100 workers, a job that yields to
the loop once; with a deadline of 30 s on each job, and without any.

Fair because all contestants run in one process, in turn, round by round (A B C A B C ...), and only ratios within one round
count: what slows this machine down slows all. Each does what its documentation says and a competent user writes
(measuring/standard.py, measuring/libraries.py): `Semaphore` is the least that one writes by hand, in the caller's own task,
without queue bound, isolation, shutdown or account; `floor` has not even a limit; weirpool has everything on. The garbage
collector stays on, as in a service. aiometer can't submit, and takes no part.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from measuring.bars import ROUND_TRIP
from measuring.command import Command
from measuring.field import Field
from measuring.report import Report, Table
from measuring.rounds import interleaved

if TYPE_CHECKING:
    import argparse

    from measuring.contestant import Contestant

CALLERS = 200
WORKERS = 100
DEADLINE = 30.0


async def job() -> None:
    """Yield to the loop once, as a job that waits for something does at least."""
    await asyncio.sleep(0)


async def timed(contestant: Contestant, calls: int) -> float:
    """Return the microseconds per call."""

    async def caller() -> None:
        for _ in range(calls // CALLERS):
            await contestant.call(job)

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(caller())
    return (time.perf_counter() - start) / (calls // CALLERS * CALLERS) * 1e6


async def measure(field: Field, rounds: int, calls: int, deadline: float | None) -> dict[str, list[float]]:
    """Time all of them."""
    async with AsyncExitStack() as stack:
        runs = {
            name: partial(
                timed, await stack.enter_async_context(kind(workers=WORKERS, deadline=deadline)), max(calls, CALLERS)
            )
            for name, kind in field.contestants.items()
        }
        return await interleaved(rounds, runs)


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 30, 7, "rounds of each")
COMMAND.number("calls", 10_000, 4_000, "calls per round")
COMMAND.peers()


def answer(options: argparse.Namespace) -> Report:
    """Measure with a deadline and without."""
    report = COMMAND.report(options)
    field = Field.of("call", peers=options.peers)
    report.left_out = field.left_out
    for title, deadline in ((ROUND_TRIP, DEADLINE), ("without a deadline", None)):
        times = asyncio.run(measure(field, options.rounds, options.calls, deadline))
        report.tables.append(Table(title, "us per job", times, over="weirpool"))
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
