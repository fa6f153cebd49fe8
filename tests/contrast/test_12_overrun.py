"""Rule 12: when the time for closing is over, no further job starts and none is left running (R12, R13)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.contrast.against import against
from tests.contrast.stage import turns

if TYPE_CHECKING:
    from tests.contrast.pools import Pool


@against("overrun", "weirpool", "aiojobs", "aiolibs-executor", "asyncio-pool", "anyio", "stdlib", "taskiq", "SAQ")
async def test_nothing_starts_or_runs_on_when_the_time_is_over(library: type[Pool]) -> str:
    started = running = 0

    async def job() -> None:
        nonlocal started, running
        started += 1
        running += 1
        try:
            await asyncio.sleep(30)
        finally:
            running -= 1

    async with library(workers=1, budget=5) as pool:
        for _ in range(3):
            await pool.submit(job)
        await turns(20)
        assert started == 1
    left = running
    await asyncio.sleep(300)
    return f"{started - 1 or 'none'} started, {left or 'none'} left"
