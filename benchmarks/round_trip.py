"""What does one job cost, next to the same call under a bare semaphore?

Measured: 200 callers, each awaiting one call after the other, 100 at once, a deadline of 30 s on each call, a job that
yields to the loop once. `bare` is the least that a careful person writes by hand, an `asyncio.Semaphore` and an
`asyncio.timeout` around the call, in the caller's own task: no queue bound, no isolation, no shutdown, no account.
`weirpool` is `await (await pool.submit(job, timeout=30))` with everything on: deadline, context, handle.

Fair because both run in one process, in turn, round by round (A B A B ...), and only the ratio of neighbouring rounds
counts: what slows this machine down slows both. The garbage collector stays on, as in a service.

    python benchmarks/round_trip.py [--rounds N] [--calls N] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from weirpool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CALLERS = 200
WORKERS = 100
DEADLINE = 30.0


async def job() -> None:
    """Yield to the loop once, as a job that waits for something does at least."""
    await asyncio.sleep(0)


async def timed(call: Callable[[], Awaitable[None]], calls: int) -> float:
    """Return the microseconds per call of `calls` calls by 200 callers."""

    async def caller() -> None:
        for _ in range(calls // CALLERS):
            await call()

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(caller())
    return (time.perf_counter() - start) / calls * 1e6


async def measure(rounds: int, calls: int) -> dict[str, list[float]]:
    """Time both, round by round."""
    semaphore = asyncio.Semaphore(WORKERS)

    async def bare() -> None:
        async with semaphore, asyncio.timeout(DEADLINE):
            await job()

    async with WorkerPool(max_workers=WORKERS) as pool:

        async def pooled() -> None:
            await (await pool.submit(job, timeout=DEADLINE))

        contestants: dict[str, Callable[[], Awaitable[None]]] = {"bare": bare, "weirpool": pooled}
        for call in contestants.values():
            await timed(call, calls)
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, call in contestants.items():
                times[name].append(await timed(call, calls))
    return times


def main() -> None:
    """Measure, and print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each (15)")
    parser.add_argument("--calls", type=int, default=20_000, help="calls per round (20,000)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    times = asyncio.run(measure(options.rounds, options.calls))
    ratios = [ours / bare for ours, bare in zip(times["weirpool"], times["bare"], strict=True)]
    result = {
        "python": platform.python_version(),
        "rounds": options.rounds,
        "calls": options.calls,
        "us_per_call": {name: round(statistics.median(values), 2) for name, values in times.items()},
        "ratio": round(statistics.median(ratios), 3),
        "ratio_quartiles": [round(q, 3) for q in statistics.quantiles(ratios, n=4)],
    }
    print(f"Python {result['python']}, {options.rounds} rounds of {options.calls} calls, medians")
    for name, values in times.items():
        print(f"  {name:10} {statistics.median(values):7.2f} us per call")
    print(f"  weirpool / bare: {result['ratio']} (quartiles {', '.join(map(str, result['ratio_quartiles']))})")
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
