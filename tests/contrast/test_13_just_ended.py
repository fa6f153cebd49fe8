"""Rule 13: closing at the very moment at which a job ends comes to an end (R13)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from tests.contrast.against import against
from tests.contrast.stage import play, turns

if TYPE_CHECKING:
    from tests.contrast.pools import Aiojobs, Pool


@against("just_ended", "weirpool", "aiolibs-executor", "asyncio-pool", "anyio", "stdlib", "taskiq", "SAQ")
def test_closing_when_a_job_has_just_ended_comes_to_an_end(library: type[Pool]) -> str:
    return " and ".join(sorted({play(partial(_closed, library, late)) for late in range(6)}))


async def _closed(library: type[Pool], late: int) -> str:
    async with library(workers=1) as pool:
        await pool.submit(asyncio.sleep, 1)
        await turns()
        await asyncio.sleep(1)  # the job's timer was set before this one
        await turns(late)
    return "closes"


@against("just_ended", "aiojobs")
def test_closing_when_a_shielded_task_has_just_ended_comes_to_an_end(library: type[Aiojobs]) -> str:
    return play(partial(_closed_with_a_shield, library))


async def _closed_with_a_shield(library: type[Aiojobs]) -> str:
    async with library() as pool:
        task = asyncio.create_task(asyncio.sleep(0))
        pool.scheduler.shield(task)
        while not task.done():
            await asyncio.sleep(0)
    return "closes"
