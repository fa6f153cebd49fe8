"""What does an item cost that goes through `pool.batch`, and what does putting items together save?

Measured: 500 callers at once, each of which hands in 100 items, one after the other, to a function that takes a list and
yields to the loop once; batches of up to 100, which wait for 5 ms at most. Against what one writes by hand: a list of items
and futures, a timer, and a task for each batch, with a semaphore around the call. And against `pool.run`, with a job for each.

Fair because all contestants run in one process, in turn, round by round (A B C A B C ...), and only ratios within one round
count. What the downstream would take is left out: it is the same for each call, and a call for each item makes a hundred times
as many.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from measuring.command import Command
from measuring.report import Report, Table
from measuring.rounds import interleaved
from weirpool import WorkerPool

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable

CALLERS = 500
SIZE = 100
WAIT = 0.005
WORKERS = 100


async def bulk(items: list[int]) -> list[int]:
    """Yield to the loop once."""
    await asyncio.sleep(0)
    return items


async def single(item: int) -> int:
    """Yield to the loop once."""
    await asyncio.sleep(0)
    return item


class ByHand:
    """Put items together, without a bound for what waits, a deadline or an end."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, asyncio.Future[int]]] = []
        self.timer: asyncio.TimerHandle | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.limit = asyncio.Semaphore(WORKERS)

    async def __call__(self, item: int) -> int:
        """Return the result of an item."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        self.waiting.append((item, future))
        if len(self.waiting) >= SIZE:
            self.submit()
        elif self.timer is None:
            self.timer = loop.call_later(WAIT, self.submit)
        return await future

    def submit(self) -> None:
        """Start a task for what waits."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        waiting, self.waiting = self.waiting, []
        task = asyncio.ensure_future(self.run(waiting))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def run(self, waiting: list[tuple[int, asyncio.Future[int]]]) -> None:
        """Call the function, and hand out what it returns."""
        async with self.limit:
            results = await bulk([item for item, _ in waiting])
        for (_, future), result in zip(waiting, results, strict=True):
            if not future.done():
                future.set_result(result)


async def through(call: Callable[[int], Awaitable[int]], items: int) -> float:
    """Return the microseconds per item."""
    each = max(1, items // CALLERS)
    right = 0

    async def caller(first: int) -> None:
        nonlocal right
        for item in range(first, first + each):
            result = await call(item)
            right += result == item

    start = time.perf_counter()
    await asyncio.gather(*(caller(number * each) for number in range(CALLERS)))
    taken = time.perf_counter() - start
    if right != each * CALLERS:
        raise AssertionError(f"{right:,} right results of {each * CALLERS:,}")
    return taken / right * 1e6


async def measure(rounds: int, items: int) -> dict[str, list[float]]:
    """Time all of them."""
    async with WorkerPool(max_workers=WORKERS) as pool, pool.batch(bulk, max_size=SIZE, max_wait=WAIT) as batch:
        runs: dict[str, Any] = {
            "weirpool, batch": partial(through, batch, items),
            "by hand": partial(through, ByHand(), items),
            "weirpool, a job for each": partial(through, lambda item: pool.run(single, item), items),
        }
        return await interleaved(rounds, runs)


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 5, 2, "rounds of each")
COMMAND.number("items", 50_000, 5_000, "items per round")


def answer(options: argparse.Namespace) -> Report:
    """Measure the time per item."""
    report = COMMAND.report(options)
    times = asyncio.run(measure(options.rounds, options.items))
    report.tables.append(Table("items in batches", "us per item", times, over="weirpool, batch"))
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
