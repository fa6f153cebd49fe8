"""Rule 2: closing ends in bound, whatever the jobs do (R8, R13)."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.contrast.against import against
from tests.contrast.stage import Deaf, play, turns
from tests.support import Stubborn
from weirpool import WorkerPool

if TYPE_CHECKING:
    from tests.contrast.pools import Pool

BUDGET = 5.0


@against("stubborn", "weirpool", "aiojobs", "aiolibs-executor", "asyncio-pool", "anyio", "stdlib", "taskiq", "SAQ")
def test_closing_ends_in_bound_with_a_job_that_swallows_cancellations(library: type[Pool]) -> str:
    return ", ".join(play(partial(_closed, library, swallowed)) for swallowed in (1, 2, 10, math.inf))


async def _closed(library: type[Pool], swallowed: float) -> str:
    time = asyncio.get_running_loop().time
    async with library(budget=BUDGET) as pool:
        await pool.submit(Deaf(swallowed))
        await turns()
        began = time()
    return "in bound" if time() - began <= BUDGET + 1e-6 else "too late"


@pytest.mark.complains
async def test_weirpool_names_what_it_has_given_up_on() -> None:
    job = Stubborn()
    async with WorkerPool(shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        await pool.submit(job, name="the deaf one")
    assert pool.report is not None
    assert [stray.name for stray in pool.report.strays] == ["the deaf one"]
    await job.release()
