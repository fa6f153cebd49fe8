"""What does it cost to run a job of the pool from another thread?

Measured: threads, one and then several, that each run one job after the other and wait for its result; a job yields to the
loop once. By `pool.from_thread.run`; by `pool.from_thread.submit` and the result of its future, which waits twice, for the job
to be accepted and for its end; by what one writes by hand, `asyncio.run_coroutine_threadsafe(pool.run(...))` and its result;
and by that without a pool, of the job itself, with no limit.

Fair because all run in one process, in turn, round by round, on the same loop and the same pool, and only ratios within one
round count. Most of each is the way there and back between two threads, which differs from machine to machine.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from measuring.command import Command
from measuring.report import Report, Table
from measuring.rounds import interleaved
from weirpool import WorkerPool

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

WORKERS = 100


async def job() -> None:
    """Yield to the loop once, as a job that waits for something does at least."""
    await asyncio.sleep(0)


async def timed(threads: ThreadPoolExecutor, number: int, calls: int, call: Callable[[], None]) -> float:
    """Return the microseconds per call, of so many threads at once."""

    def caller() -> None:
        for _ in range(calls // number):
            call()

    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    await asyncio.gather(*(loop.run_in_executor(threads, caller) for _ in range(number)))
    return (time.perf_counter() - start) / (calls // number * number) * 1e6


async def measure(rounds: int, calls: int, number: int) -> dict[str, list[float]]:
    """Time all of them."""
    loop = asyncio.get_running_loop()
    async with WorkerPool(max_workers=WORKERS) as pool:
        view = pool.from_thread
        ways: dict[str, Callable[[], None]] = {
            "from_thread.run": lambda: view.run(job),
            "from_thread.submit": lambda: view.submit(job).result(),
            "run_coroutine_threadsafe": lambda: asyncio.run_coroutine_threadsafe(pool.run(job), loop).result(),
            "without a pool": lambda: asyncio.run_coroutine_threadsafe(job(), loop).result(),
        }
        with ThreadPoolExecutor(number) as threads:
            runs = {name: partial(timed, threads, number, max(calls, number), way) for name, way in ways.items()}
            return await interleaved(rounds, runs)


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 20, 5, "rounds of each")
COMMAND.number("calls", 4_000, 1_000, "calls per round")
COMMAND.number("threads", 8, 8, "how many threads call, where several do")


def answer(options: argparse.Namespace) -> Report:
    """Measure one thread, and several."""
    report = COMMAND.report(options)
    for title, number in (("one thread", 1), ("several threads", options.threads)):
        times = asyncio.run(measure(options.rounds, options.calls, number))
        report.tables.append(Table(title, "us per job", times, over="from_thread.run"))
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
