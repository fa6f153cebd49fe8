"""The pool that everybody writes: a queue, workers, a closed flag, join, cancel. For comparison, under the same explorer.

It is written as one finds it in tutorials, and on the stock loop with a plain test it works.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from weirpool.testing import Deadlock, DeterministicLoop, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["TextbookPool", "close_while_submitting", "outcomes"]


class TextbookPool:
    """Run jobs in workers, inline."""

    def __init__(self, workers: int, size: int) -> None:
        self._queue: asyncio.Queue[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]]] = asyncio.Queue(size)
        self._workers = [asyncio.create_task(self._work()) for _ in range(workers)]
        self._closed = False

    async def _work(self) -> None:
        while True:
            job, result = await self._queue.get()
            try:
                result.set_result(await job())
            except Exception as error:
                result.set_exception(error)
            finally:
                self._queue.task_done()

    async def submit(self, job: Callable[[], Awaitable[Any]]) -> asyncio.Future[Any]:
        """Queue a job, when there is room."""
        if self._closed:
            raise RuntimeError("closed")
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await self._queue.put((job, result))
        return result

    async def close(self) -> None:
        """Finish what is queued, and stop."""
        self._closed = True
        await self._queue.join()
        for worker in self._workers:
            worker.cancel()


async def close_while_submitting() -> None:
    """Close the pool while four submitters are at it; each job that was accepted has to end."""
    pool = TextbookPool(2, 2)
    accepted: list[asyncio.Future[Any]] = []

    async def job() -> int:
        await asyncio.sleep(0)
        return 1

    async def submitter() -> None:
        for _ in range(3):
            try:
                accepted.append(await pool.submit(job))
            except RuntimeError:
                return

    submitters = [asyncio.create_task(submitter()) for _ in range(4)]
    await asyncio.sleep(0)
    await pool.close()
    await asyncio.gather(*submitters)
    loop = DeterministicLoop.running()
    while not loop.idle:
        await asyncio.sleep(0)
    assert all(result.done() for result in accepted), "a job that was accepted is lost"


def outcomes(runs: int) -> Counter[str]:
    """Say what happens in so many shuffled orders."""
    counter: Counter[str] = Counter()
    for seed in range(runs):
        error = run(close_while_submitting, f"random:{seed}").error
        counter["hangs" if isinstance(error, Deadlock) else "loses a job" if error else "works"] += 1
    return counter
