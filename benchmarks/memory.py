"""How much memory does a queued job take, and an idle worker?

Measured: (1) bytes per queued job, with its deadline and with what the library returns for it, without the job's own
arguments: what the process got from the system for it (resident set), divided by the number of jobs. (2) bytes per idle
worker: what Python's allocator holds for a pool of 10,000 workers, each of which has run a job and now has none, less what it
held before the pool was there, divided by the number of workers.

Fair because each is measured in a process of its own, whose memory nobody has used before, and where all jobs have got as far
as they can: a task for each job waits at its semaphore. Some 70 bytes of what is counted for an idle worker are asyncio's own,
whose tables have grown for as many tasks: that is what those show who have no workers (`TaskGroup + Semaphore`).
"""

from __future__ import annotations

import asyncio
import gc
import os
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring.apart import apart
from measuring.command import Command
from measuring.field import CONTESTANTS, Field
from measuring.report import Report, Table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

DEADLINE = 3600.0
JOB, WORKER = "queued job", "idle worker"


async def job(_: int) -> None:
    """Yield to the loop once."""
    await asyncio.sleep(0)


def resident() -> int:
    """Return the bytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _turns() -> None:
    """Let every task get as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def queued(name: str, jobs: int, tell: Callable[[float], None]) -> None:
    """Tell how many bytes one queued job takes."""
    numbers = list(range(jobs))
    handles: list[Any] = [None] * jobs
    async with CONTESTANTS[name](workers=1, waiting=jobs + 1, deadline=DEADLINE) as contestant:
        await contestant.post(asyncio.Event().wait)
        await _turns()
        gc.collect()
        before = resident()
        for index, number in enumerate(numbers):
            handles[index] = await contestant.post(job, number)
        await _turns()
        tell((resident() - before) / jobs)


async def idle(name: str, workers: int, tell: Callable[[float], None]) -> None:
    """Tell how many bytes one idle worker takes."""
    for first in (True, False):  # tables of the loop's own, which never shrink, have grown when the second one is made
        if not first:
            await _turns()
            gc.collect()
            tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        async with CONTESTANTS[name](workers=workers, waiting=workers, deadline=DEADLINE) as contestant:
            barrier = asyncio.Event()
            for _ in range(workers):
                await contestant.post(barrier.wait)
            await _turns()
            barrier.set()
            await _turns()
            del barrier
            gc.collect()
            if not first:
                tell((tracemalloc.get_traced_memory()[0] - before) / workers)


def measured(tell: Callable[[float], None], title: str, name: str, number: int) -> None:
    """Measure one figure of one contestant."""
    asyncio.run({JOB: queued, WORKER: idle}[title](name, number, tell))


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 3, 1, "processes for each figure")
COMMAND.number("jobs", 200_000, 50_000, "how many jobs wait")
COMMAND.number("workers", 10_000, 2_000, "how many workers are idle")
COMMAND.peers()


def answer(options: argparse.Namespace) -> Report:
    """Measure each contestant."""
    report = COMMAND.report(options)
    field = Field.of("post", peers=options.peers)
    report.left_out = field.left_out
    for title, number in ((JOB, options.jobs), (WORKER, options.workers)):
        rounds: dict[str, list[float]] = {name: [] for name in field.contestants}
        for _ in range(options.rounds):
            for name, figures in rounds.items():
                figures.append(apart(measured, title, name, number))
        report.tables.append(Table(title, "bytes", rounds, over="weirpool" if title == JOB else None))
    return report


if __name__ == "__main__":
    if not Path("/proc/self/statm").exists():
        COMMAND.parser.error("how much memory a process has is read from /proc, which this system lacks")
    COMMAND.main(answer)
