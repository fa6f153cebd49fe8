"""Does a deep queue cost more, per job or per byte, than a shallow one?

Measured: (1) the memory of a queued job, its handle included and its own arguments not; (2) the time to start a job from the
queue and settle it, behind 1,000 waiting jobs and behind 1,000,000.

Fair because both pools live in one process and take turns, segment by segment (a blocker in the queue ends each segment),
so only the ratio of neighbouring segments counts. The garbage collector stays on. Memory is what the process got from the
system (resident set), divided by the number of jobs.

    python benchmarks/depth.py [--deep N] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import platform
import statistics
import time
from collections import deque
from pathlib import Path

from weirpool import JobHandle, WorkerPool

SHALLOW = 1_000
SEGMENT = 500
ROUNDS = 40


async def job(number: int) -> int:
    """Yield to the loop once."""
    await asyncio.sleep(0)
    return number


def resident() -> int:
    """Return the bytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Line:
    """A pool of one worker, whose queue is worked off one segment at a time."""

    def __init__(self, pool: WorkerPool) -> None:
        self.pool = pool
        self.blockers: deque[asyncio.Event] = deque()
        self.reached = asyncio.Event()

    async def start(self) -> None:
        """Occupy the worker."""
        self.block()
        await self.reached.wait()

    def block(self) -> None:
        """Put a blocker at the end of the queue."""
        event = asyncio.Event()
        self.blockers.append(event)
        self.pool.submit_nowait(self._wait, event)

    async def _wait(self, event: asyncio.Event) -> None:
        self.reached.set()
        await event.wait()

    def fill(self, jobs: int) -> None:
        """Queue a number of jobs, a blocker after each segment."""
        for number in range(jobs):
            self.pool.submit_nowait(job, number, timeout=3600)
            if number % SEGMENT == SEGMENT - 1:
                self.block()

    async def segment(self) -> float:
        """Work off one segment; return the microseconds per job."""
        self.reached.clear()
        start = time.perf_counter()
        self.blockers.popleft().set()
        await self.reached.wait()
        return (time.perf_counter() - start) / SEGMENT * 1e6


async def memory(jobs: int) -> float:
    """Return the bytes that one queued job takes, with its handle and without its own arguments."""
    numbers = list(range(jobs))
    handles: list[JobHandle[int] | None] = [None] * jobs
    async with WorkerPool(max_workers=1, queue_size=jobs) as pool:
        line = Line(pool)
        await line.start()
        gc.collect()
        before = resident()
        for index, number in enumerate(numbers):
            handles[index] = pool.submit_nowait(job, number, timeout=3600)
        taken = resident() - before
        await pool.aclose(timeout=0)
    return taken / jobs


async def times(jobs: int) -> dict[str, list[float]]:
    """Time the segments of a shallow and a deep queue in turn."""
    async with (
        WorkerPool(max_workers=1, queue_size=2 * SHALLOW) as few,
        WorkerPool(max_workers=1, queue_size=2 * jobs) as many,
    ):
        shallow, deep = Line(few), Line(many)
        for line, depth in ((shallow, SHALLOW), (deep, jobs)):
            await line.start()
            line.fill(depth)
        result: dict[str, list[float]] = {"shallow": [], "deep": []}
        for _ in range(ROUNDS):
            result["shallow"].append(await shallow.segment())
            result["deep"].append(await deep.segment())
            shallow.fill(SEGMENT)
            deep.fill(SEGMENT)
        await asyncio.gather(few.aclose(timeout=0), many.aclose(timeout=0))
    return result


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deep", type=int, default=1_000_000, help="how many jobs wait in the deep queue (1,000,000)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    logging.disable()  # the pools are closed with a million jobs in the queue, and would say so
    bytes_per_job = asyncio.run(memory(options.deep))
    segments = asyncio.run(times(options.deep))
    ratios = [deep / shallow for deep, shallow in zip(segments["deep"], segments["shallow"], strict=True)]
    result = {
        "python": platform.python_version(),
        "jobs": options.deep,
        "bytes_per_queued_job": round(bytes_per_job),
        "us_per_job": {name: round(statistics.median(values), 2) for name, values in segments.items()},
        "ratio": round(statistics.median(ratios), 3),
    }
    print(f"Python {result['python']}, {options.deep:,} queued jobs")
    print(f"  {bytes_per_job:7.0f} bytes per queued job, with its handle, without its own arguments")
    for name, values in segments.items():
        print(f"  {statistics.median(values):7.2f} us to start and settle a job from the {name} queue")
    print(f"  deep / shallow: {result['ratio']}")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
