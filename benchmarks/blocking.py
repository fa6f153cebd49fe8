"""What does it cost to call a plain function in a thread, and in a process?

Measured: callers, as many as there are workers, each of which calls a function that does next to nothing, awaits its result
and calls again: `pool.run(in_thread(fn), ...)` and `pool.run(in_process(fn), ...)`, next to anyio's `to_thread` and
`to_process` with a limiter of as many tokens, and to `loop.run_in_executor` with an executor of as many threads or processes.
And how long the first call in a process takes, which starts it.

Fair because all run in one process, in turn, round by round, on the same loop; only ratios within one round count. Processes
are started anew in all three, not forked, and are there when the measured rounds begin. Nobody but weirpool has a queue that
is bounded, deadlines that are kept, and an account.
"""

from __future__ import annotations

import asyncio
import operator
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_process, to_thread

from measuring.command import Command
from measuring.report import Report, Table
from measuring.rounds import interleaved
from weirpool import WorkerPool, in_process, in_thread

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable

    Call = Callable[[], Awaitable[Any]]

THREADS = 16
PROCESSES = 2
DEADLINE = 30.0


async def timed(call: Call, callers: int, calls: int) -> float:
    """Return the microseconds per call."""
    each = max(1, calls // callers)

    async def caller() -> None:
        for _ in range(each):
            await call()

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    return (time.perf_counter() - start) / (each * callers) * 1e6


async def first(call: Call) -> float:
    """Return the milliseconds that one call takes."""
    start = time.perf_counter()
    await call()
    return (time.perf_counter() - start) * 1e3


def by_executor(executor: Executor) -> Call:
    """Return a call of the standard library's."""
    loop = asyncio.get_running_loop()
    return lambda: loop.run_in_executor(executor, operator.neg, 7)


def spawning() -> ProcessPoolExecutor:
    """Return an executor that starts its processes anew."""
    return ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn"))


async def threads(rounds: int, calls: int) -> dict[str, list[float]]:
    """Time calls in threads."""
    limiter = anyio.CapacityLimiter(THREADS)
    with ThreadPoolExecutor(THREADS) as executor:
        async with WorkerPool(max_workers=THREADS, job_timeout=DEADLINE) as pool:
            job = in_thread(operator.neg)
            ways: dict[str, Call] = {
                "weirpool": lambda: pool.run(job, 7),
                "anyio": lambda: to_thread.run_sync(operator.neg, 7, limiter=limiter),
                "run_in_executor": by_executor(executor),
            }
            return await interleaved(rounds, {name: partial(timed, way, THREADS, calls) for name, way in ways.items()})


async def processes(rounds: int, calls: int) -> dict[str, list[float]]:
    """Time calls in processes."""
    limiter = anyio.CapacityLimiter(PROCESSES)
    with spawning() as executor:
        async with WorkerPool(max_workers=PROCESSES, job_timeout=DEADLINE) as pool:
            job = in_process(operator.neg)
            ways: dict[str, Call] = {
                "weirpool": lambda: pool.run(job, 7),
                "anyio": lambda: to_process.run_sync(operator.neg, 7, cancellable=True, limiter=limiter),
                "run_in_executor": by_executor(executor),
            }
            return await interleaved(rounds, {name: partial(timed, way, PROCESSES, calls) for name, way in ways.items()})


async def starts(rounds: int) -> dict[str, list[float]]:
    """Time first calls, each in a process that is started for it."""

    async def of_weirpool() -> float:
        async with WorkerPool() as pool:
            return await first(lambda: pool.run(in_process(operator.neg), 7))

    async def of_an_executor() -> float:
        async with AsyncExitStack() as stack:
            return await first(by_executor(stack.enter_context(spawning())))

    def of_anyio() -> float:
        async def call() -> float:
            return await first(lambda: to_process.run_sync(operator.neg, 7))

        return asyncio.run(call())  # whose worker is gone with the loop

    async def on_a_loop_of_its_own() -> float:
        return await asyncio.to_thread(of_anyio)

    return await interleaved(
        rounds, {"weirpool": of_weirpool, "anyio": on_a_loop_of_its_own, "run_in_executor": of_an_executor}
    )


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 15, 3, "rounds of each")
COMMAND.number("calls", 4_000, 800, "calls per round")


def answer(options: argparse.Namespace) -> Report:
    """Measure threads and processes."""
    report = COMMAND.report(options)
    for title, unit, measure in (
        (f"in one of {THREADS} threads", "us per call", partial(threads, options.rounds, options.calls)),
        (f"in one of {PROCESSES} processes", "us per call", partial(processes, options.rounds, options.calls)),
        ("the first call in a process", "ms", partial(starts, options.rounds)),
    ):
        report.tables.append(Table(title, unit, asyncio.run(measure()), over="weirpool"))
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
