"""Rule 3: who waits for room when the pool closes gets an error, and that job never runs (R10)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.contrast.against import against
from tests.contrast.stage import FOREVER, turns

if TYPE_CHECKING:
    from tests.contrast.pools import Pool


@against("blocked_submit", "weirpool", "aiojobs", "aiolibs-executor", "asyncio-pool")
async def test_a_blocked_submit_gets_an_error_when_the_pool_closes(library: type[Pool]) -> str:
    ran: list[int] = []

    async def job(number: int) -> None:
        ran.append(number)
        await asyncio.sleep(FOREVER)

    async with library(workers=1, waiting=1) as pool:
        for number in range(3):
            blocked = asyncio.create_task(pool.submit_when_there_is_room(job, number))
            await turns()
            if not blocked.done():
                break
        assert not blocked.done()
        assert ran == [0]
    await asyncio.wait([blocked], timeout=1)
    outcome = "still waits" if not blocked.done() else "an error" if blocked.exception() else "accepted"
    return f"{outcome}, {'run after closing' if number in ran else 'not run'}"
