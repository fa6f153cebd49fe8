"""Rule 8: a job that awaits something cancelled ends with that, and the others run on (R5, R7)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.contrast.against import against

if TYPE_CHECKING:
    from tests.contrast.pools import Pool


class Jobs:
    """A job that awaits what has been cancelled meanwhile, and two others."""

    def __init__(self) -> None:
        self.others = 0

    async def unlucky(self) -> None:
        await asyncio.sleep(1)
        connection = asyncio.get_running_loop().create_future()
        connection.cancel()
        await connection

    async def other(self) -> None:
        await asyncio.sleep(2)
        self.others += 1

    def outcome(self, *, ended: bool) -> str:
        return f"{'ended' if ended else 'never ends'}, others run" if self.others == 2 else "others lost, no error"


@against("cancelled_inside", "weirpool", "aiojobs", "aiolibs-executor", "asyncio-pool", "anyio", "stdlib")
async def test_a_cancellation_from_inside_a_job_is_its_own(library: type[Pool]) -> str:
    jobs = Jobs()
    async with library(workers=3, budget=50) as pool:
        handle = await pool.submit(jobs.unlucky)
        await pool.submit(jobs.other)
        await pool.submit(jobs.other)
        result = asyncio.create_task(pool.result(handle))
        await asyncio.wait([result], timeout=20)
    return jobs.outcome(ended=result.done())


@against("cancelled_inside", "taskiq")
async def test_a_cancellation_from_inside_a_task_is_its_own(library: type[Pool]) -> str:
    jobs = Jobs()
    async with library(workers=3, budget=50) as pool:
        task = await pool.submit(jobs.unlucky)
        await pool.submit(jobs.other)
        await pool.submit(jobs.other)
        await asyncio.sleep(5)
        ended = await task.is_ready()
    return jobs.outcome(ended=ended)


@against("cancelled_inside", "aiometer")
async def test_a_cancellation_from_inside_a_function_is_its_own(aiometer: Any) -> str:
    jobs = Jobs()
    await aiometer.run_all([partial(fn) for fn in (jobs.unlucky, jobs.other, jobs.other)])
    return jobs.outcome(ended=True)
