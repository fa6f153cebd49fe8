"""Does a deep queue cost more per job than a shallow one?

Measured: the time to start a job from the queue, run it (it yields to the loop once) and settle it, behind 1,000 waiting jobs
and behind up to 1,000,000; one worker, a deadline on each job.

Fair because the queues of all depths live in one process and take turns, segment by segment (a blocker in the queue ends each
segment), so only the ratio of neighbouring segments counts. Each contestant is compared with itself only, in a process of its
own. Those with no queue of their own (a task for each job waits for a semaphore) take part, too: their queue is the
semaphore's. The garbage collector stays on.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from measuring.apart import apart
from measuring.command import Command
from measuring.field import CONTESTANTS, Field
from measuring.report import Report, Table
from measuring.rounds import interleaved

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from measuring.contestant import Contestant

SEGMENT = 500
DEADLINE = 3600.0
# A task for each job takes more memory than many machines have for a million of them.
DEEPEST_OF_TASKS = 100_000
QUEUES = ("weirpool", "Queue workers", "aiojobs", "aiolibs-executor")


async def job(number: int) -> int:
    """Yield to the loop once."""
    await asyncio.sleep(0)
    return number


class Line:
    """One worker, whose queue is worked off one segment at a time."""

    def __init__(self, contestant: Contestant, depth: int) -> None:
        self.contestant = contestant
        self.depth = depth
        self.blockers: deque[asyncio.Event] = deque()
        self.reached = asyncio.Event()

    async def start(self) -> None:
        """Occupy the worker, and fill the queue."""
        await self._block()
        await self.reached.wait()
        await self._fill(self.depth)

    async def _block(self) -> None:
        event = asyncio.Event()
        self.blockers.append(event)
        await self.contestant.post(self._wait, event)

    async def _wait(self, event: asyncio.Event) -> None:
        self.reached.set()
        await event.wait()

    async def _fill(self, jobs: int) -> None:
        """Queue so many jobs, a blocker after each segment."""
        for number in range(jobs):
            await self.contestant.post(job, number)
            if number % SEGMENT == SEGMENT - 1:
                await self._block()
        await asyncio.sleep(0)  # to let each get into the queue where it is a task that does so

    async def segment(self) -> float:
        """Work off one segment, and fill it up again; return the microseconds per job of the former."""
        self.reached.clear()
        start = time.perf_counter()
        self.blockers.popleft().set()
        await self.reached.wait()
        taken = time.perf_counter() - start
        await self._fill(SEGMENT)
        return taken / SEGMENT * 1e6


async def times(tell: Callable[[dict[str, list[float]]], None], name: str, depths: Sequence[int], rounds: int) -> None:
    """Time the segments of queues of several depths in turn."""
    async with AsyncExitStack() as stack:
        lines = {}
        for depth in depths:
            contestant = CONTESTANTS[name](workers=1, waiting=2 * depth + 2 * SEGMENT, deadline=DEADLINE)
            lines[f"{depth:,}"] = Line(await stack.enter_async_context(contestant), depth)
        for line in lines.values():
            await line.start()
        runs = {depth: line.segment for depth, line in lines.items()}
        tell(await interleaved(rounds, runs, collect=False))


def measured(tell: Callable[[dict[str, list[float]]], None], name: str, depths: Sequence[int], rounds: int) -> None:
    """Time one contestant."""
    asyncio.run(times(tell, name, depths, rounds))


def ratios(name: str, depths: Sequence[int], rounds: int) -> Table:
    """Time one contestant in a process of its own."""
    return Table(name, "us per job", apart(measured, name, depths, rounds), under=f"{depths[0]:,}")


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 40, 20, "segments of each depth")
COMMAND.numbers("depths", (1_000, 10_000, 100_000, 1_000_000), (1_000, 1_000_000), "how many jobs wait")
COMMAND.peers()


def answer(options: argparse.Namespace) -> Report:
    """Measure each contestant; only weirpool, if it has to be quick."""
    report = COMMAND.report(options)
    field = Field.of("post", peers=() if options.quick else options.peers)
    report.left_out = field.left_out
    for name in field.contestants:
        deepest = max(options.depths) if name in QUEUES else DEEPEST_OF_TASKS
        depths = [depth for depth in sorted(options.depths) if depth <= deepest]
        if depths:
            report.tables.append(ratios(name, depths, options.rounds))
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
