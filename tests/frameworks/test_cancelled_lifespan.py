"""A server that cancels the lifespan: the pools are closed before the application lets go of what their jobs use."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from weirpool import JobState, WorkerPool
from weirpool.integrations import Pools
from weirpool.integrations.asgi import install, pool_of


@pytest.mark.virtual
@pytest.mark.complains  # of the job that had to be cancelled
async def test_jobs_clean_up_while_the_application_still_has_what_they_use() -> None:
    open_pool: list[WorkerPool] = []
    happened: list[str] = []
    state: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        try:
            await send({"type": "lifespan.startup.complete"})
            open_pool.append(pool_of(scope))
            await receive()
        finally:
            happened.append("the database is closed")

    async def job() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.5)
            happened.append("the job has cleaned up")

    async def receive() -> Any:
        return await messages.get()

    async def send(_: Any) -> None: ...

    messages: asyncio.Queue[Any] = asyncio.Queue()
    messages.put_nowait({"type": "lifespan.startup"})
    served = install(app, Pools(lambda: WorkerPool(cancel_grace=1)))
    serving = asyncio.ensure_future(served({"type": "lifespan", "state": state}, receive, send))
    while not open_pool:
        await asyncio.sleep(0)
    handle = open_pool[0].submit_nowait(job)
    await asyncio.sleep(1)
    serving.cancel()
    await asyncio.wait([serving])
    assert serving.cancelled()
    assert handle.state is JobState.CANCELLED
    assert open_pool[0].report is not None
    assert happened == ["the job has cleaned up", "the database is closed"]
    assert state == {}
