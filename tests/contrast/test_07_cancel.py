"""Rule 7: cancelling queued jobs and whoever awaits one breaks neither the limit nor the closing (R2, R7)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from tests.contrast.against import against
from tests.contrast.stage import play, turns

if TYPE_CHECKING:
    from tests.contrast.pools import Pool


@against("cancel", "weirpool", "aiojobs", "aiolibs-executor", "asyncio-pool", "anyio", "stdlib")
def test_cancelling_queued_jobs_leaves_the_limit_and_the_closing_alone(library: type[Pool]) -> str:
    return f"{play(partial(_some_of_the_queue, library))}, {play(partial(_all_before_their_first_step, library))}"


async def _some_of_the_queue(library: type[Pool]) -> str:
    running = most = 0

    async def job() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await asyncio.sleep(1)
        finally:
            running -= 1

    async with library(workers=1, budget=50) as pool:
        handles = [await pool.submit(job) for _ in range(5)]
        await turns()
        waiter = asyncio.create_task(pool.result(handles[3]))
        await turns()
        waiter.cancel()
        await pool.cancel(handles[4])
        await pool.cancel(handles[2])
    return f"{most} at once"


async def _all_before_their_first_step(library: type[Pool]) -> str:
    time = asyncio.get_running_loop().time
    async with library(workers=1, budget=50) as pool:
        handles = [await pool.submit(asyncio.sleep, 0) for _ in range(5)]
        await asyncio.gather(*(pool.cancel(handle) for handle in handles))
        began = time()
    return "closes" if time() - began < 1 else "never closes"
