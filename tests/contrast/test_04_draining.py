"""Rule 4: no job is accepted any more while the pool drains (R10)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.contrast.against import against

if TYPE_CHECKING:
    from tests.contrast.pools import Pool


@against("draining", "weirpool", "aiojobs", "aiolibs-executor", "asyncio-pool", "anyio", "stdlib")
async def test_a_submit_during_the_drain_is_refused(library: type[Pool]) -> str:
    async def too_late() -> str:
        await asyncio.sleep(1)
        try:
            await pool.submit(asyncio.sleep, 0)
        except Exception:
            return "refused"
        return "accepted"

    async with library(workers=2, budget=50) as pool:
        await pool.submit(asyncio.sleep, 2)
        late = asyncio.create_task(too_late())
    return await late
