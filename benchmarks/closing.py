"""How long does it take to cancel everything and close?

Measured: the seconds from the order to cancel until the contestant is closed and no task of its own is left, with 1,000 jobs
running, each of which ends as soon as it is cancelled, and 10,000 or 100,000 in the queue; a deadline on each.

Fair because each gives the order in the way that it documents: weirpool `aclose` with a timeout that is all grace, aiojobs
`close`, asyncio-pool `cancel`, anyio its cancel scope, a `TaskGroup` by an exception, aiolibs-executor `shutdown` without
waiting, queue workers by emptying the queue and cancelling the workers. All run in one process, in turn, each time on a new
loop. Nobody but weirpool gives an account of what became of the jobs. `TaskGroup + Semaphore` is not asked to close with
100,000 in the queue, which takes it minutes: it cancels its tasks in any order, and each leaves the semaphore's line by a
search.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING

from measuring.command import Command
from measuring.field import Field
from measuring.report import Report, Table

if TYPE_CHECKING:
    import argparse

    from measuring.contestant import Contestant

DEADLINE = 3600.0
QUADRATIC = "TaskGroup + Semaphore"
MOST = 10_000  # jobs that it is asked to cancel


class Work:
    """Jobs that run until they are cancelled."""

    def __init__(self) -> None:
        self.running = 0

    async def job(self, _: int) -> None:
        """Wait to be cancelled."""
        self.running += 1
        try:
            await asyncio.sleep(DEADLINE)
        finally:
            self.running -= 1


async def timed(kind: type[Contestant], running: int, queued: int) -> float:
    """Return the seconds that closing takes."""
    work = Work()
    before = asyncio.all_tasks()
    async with kind(workers=running, waiting=queued + running, deadline=DEADLINE) as contestant:
        for number in range(running + queued):
            await contestant.post(work.job, number)
        for _ in range(10):
            await asyncio.sleep(0)  # every job has got as far as it can
        if work.running != running:
            raise AssertionError(f"{contestant.name}: {work.running:,} jobs run instead of {running:,}")
        gc.collect()
        start = time.perf_counter()
        await contestant.abort()
    while asyncio.all_tasks() - before:
        await asyncio.sleep(0)
    taken = time.perf_counter() - start
    if work.running:
        raise AssertionError(f"{contestant.name}: {work.running:,} jobs still run")
    return taken


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 3, 1, "rounds of each")
COMMAND.number("running", 1_000, 1_000, "how many jobs run")
COMMAND.numbers("queued", (10_000, 100_000), (10_000,), "how many jobs are queued")
COMMAND.peers()


def answer(options: argparse.Namespace) -> Report:
    """Measure each contestant."""
    report = COMMAND.report(options)
    field = Field.of("abort", peers=options.peers)
    report.left_out = field.left_out
    for queued in options.queued:
        names = [name for name in field.contestants if name != QUADRATIC or queued <= MOST]
        rounds: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(options.rounds):
            for name in names:
                gc.collect()
                rounds[name].append(asyncio.run(timed(field.contestants[name], options.running, queued)))
        report.tables.append(Table(f"{queued:,} queued", "s", rounds, over="weirpool"))
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
