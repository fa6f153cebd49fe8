"""What does an item cost that goes through `pool.map`, and does its memory stay flat?

Measured: (1) 100,000 items, each of which yields to the loop once, 100 at once, each with a deadline of 30 s, from the first
item to the last result, which come as the jobs end (weirpool: in the order of the items, too): against aiometer's `amap`, and
against what one writes with anyio: a `CapacityLimiter` acquired before each task of a task group is started, which bounds what
waits. (2) windows of different sizes. (3) A million items of an endless async source: by how much what the process has in
memory is larger after all of them than after the first 10,000.

Fair because all contestants run in one process, in turn, round by round (A B C A B C ...), and only ratios within one round
count. All take results in an `async for`, or a list that each job appends to (anyio, which has no results). aiometer takes a
list, and is given one. The memory is measured in a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from measuring.apart import apart
from measuring.bars import MAP, MAP_MEMORY
from measuring.command import Command
from measuring.contestant import within
from measuring.report import Report, Table
from measuring.rounds import interleaved
from weirpool import WorkerPool

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Callable

WORKERS = 100
DEADLINE = 30.0
WINDOWS = (100, 150, 200, 400, 1000)
EARLY = 10_000


async def job(number: int) -> int:
    """Yield to the loop once."""
    await asyncio.sleep(0)
    return number


def per_item(since: float, items: int, results: int) -> float:
    """Return the microseconds per item."""
    taken = time.perf_counter() - since
    if results != items:
        raise AssertionError(f"{results:,} results of {items:,} items")
    return taken / items * 1e6


async def through_map(pool: WorkerPool, items: int, *, is_async: bool = False, **options: Any) -> float:
    """Map in a pool that is open."""

    async def source() -> AsyncIterator[int]:
        for number in range(items):
            yield number

    start, results = time.perf_counter(), 0
    async for _ in pool.map(job, source() if is_async else range(items), **options):
        results += 1
    return per_item(start, items, results)


async def through_amap(amap: Callable[..., Any], items: int) -> float:
    """Map with aiometer."""
    start, results = time.perf_counter(), 0
    async with amap(partial(within, DEADLINE, job), list(range(items)), max_at_once=WORKERS) as stream:
        async for _ in stream:
            results += 1
    return per_item(start, items, results)


async def through_anyio(items: int) -> float:
    """Map with anyio, as one writes it by hand."""
    results: list[int] = []
    limiter = anyio.CapacityLimiter(WORKERS)

    async def one(number: int) -> None:
        try:
            with anyio.fail_after(DEADLINE):
                results.append(await job(number))
        finally:
            limiter.release_on_behalf_of(number)

    start = time.perf_counter()
    async with anyio.create_task_group() as group:
        for number in range(items):
            await limiter.acquire_on_behalf_of(number)
            group.start_soon(one, number)
    return per_item(start, items, len(results))


async def measure(rounds: int, items: int, peers: list[str], left_out: dict[str, str]) -> tuple[dict[str, list[float]], ...]:
    """Time all of them, and then the windows."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(WorkerPool(max_workers=WORKERS, job_timeout=DEADLINE))
        runs: dict[str, Any] = {
            "weirpool": partial(through_map, pool, items, ordered=False),
            "weirpool, ordered": partial(through_map, pool, items),
            "weirpool, async source": partial(through_map, pool, items, is_async=True),
        }
        if "anyio" in peers:
            runs["anyio"] = partial(through_anyio, items)
        if "aiometer" in peers:
            try:
                import aiometer  # noqa: PLC0415  # may be missing
            except ModuleNotFoundError:
                left_out["aiometer"] = "not installed"
            else:
                runs["aiometer"] = partial(through_amap, aiometer.amap, items)
        windows = {f"window of {size:,}": partial(through_map, pool, items, window=size) for size in WINDOWS}
        return await interleaved(rounds, runs), await interleaved(rounds, windows)


def resident() -> float:
    """Return the megabytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def growth(tell: Callable[[float], None], items: int) -> None:
    """Tell by how many megabytes the process grows while it maps an endless async source."""

    async def endless() -> AsyncIterator[int]:
        for number in itertools.count():
            await asyncio.sleep(0)
            yield number

    async def main() -> None:
        before = 0.0
        async with WorkerPool(max_workers=WORKERS) as pool, pool.map(job, endless()) as results:
            async for number in results:
                if number in {min(EARLY, items // 2), items - 1}:
                    gc.collect()
                    if before:
                        tell(resident() - before)
                        break
                    before = resident()

    asyncio.run(main())


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 5, 2, "rounds of each")
COMMAND.number("items", 100_000, 10_000, "items per round")
COMMAND.number("endless", 1_000_000, 50_000, "how many items of the endless source are taken")
COMMAND.peers()


def answer(options: argparse.Namespace) -> Report:
    """Measure the time per item, then the windows, then the memory."""
    report = COMMAND.report(options)
    left_out: dict[str, str] = {}
    times, windows = asyncio.run(measure(options.rounds, options.items, options.peers, left_out))
    report.left_out = left_out
    report.tables.append(Table(MAP, "us per item", times, over="weirpool"))
    report.tables.append(Table("windows", "us per item", windows))
    if Path("/proc/self/statm").exists():
        grown = [max(0.0, apart(growth, options.endless)) for _ in range(options.rounds)]
        report.tables.append(Table(MAP_MEMORY, "MB", {"weirpool": grown}))
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
