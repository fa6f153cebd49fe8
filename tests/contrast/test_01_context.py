"""Rule 1: a queued job sees the context variables of its own submitter (R4)."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING

from tests.contrast.against import against

if TYPE_CHECKING:
    from tests.contrast.pools import Pool

REQUEST: ContextVar[str] = ContextVar("REQUEST", default="nobody's")


@against("context", "weirpool", "aiojobs", "aiolibs-executor", "asyncio-pool", "anyio", "stdlib")
async def test_each_job_sees_the_context_of_its_own_submitter(library: type[Pool]) -> str:
    seen: list[str] = []

    async def job() -> None:
        await asyncio.sleep(1)
        seen.append(REQUEST.get())

    async def request(name: str) -> None:
        REQUEST.set(name)
        await pool.submit(job)

    async with library(workers=1) as pool:
        await asyncio.gather(*(asyncio.create_task(request(name)) for name in ("one", "two", "three")))
        await asyncio.sleep(4)
    return ", ".join(seen)
