"""`def` endpoints of FastAPI, which run in threads, submit to the pool of their application."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.threads.support import PATIENCE
from weirpool import WorkerPool

pytest.importorskip("fastapi", reason="missing: pip install fastapi")
import aiohttp
import anyio.to_thread
import uvicorn
from fastapi import FastAPI, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.realtime

REQUESTS, JOBS, AT_ONCE = 500, 20, 64


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = AT_ONCE  # FastAPI's `def` endpoints share 40 otherwise
    async with WorkerPool(max_workers=50, queue_size=100, submit_timeout=None) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan)
delivered: list[int] = []
all_in = threading.Barrier(AT_ONCE)


async def deliver(number: int) -> int:
    await asyncio.sleep(0.001)
    delivered.append(number)
    return number


@app.get("/{first}")
def submit(first: int, request: Request) -> list[int]:
    if first < AT_ONCE * JOBS:
        all_in.wait(PATIENCE)  # so that there is no doubt that as many are here at once
    pool: WorkerPool = request.app.state.pool
    futures = [pool.from_thread.submit(deliver, number) for number in range(first, first + JOBS - 1)]
    last = pool.from_thread.run(deliver, first + JOBS - 1)
    return [*(future.result() for future in futures), last]


async def test_def_endpoints_submit_64_at_once_10_000_jobs_and_none_is_lost() -> None:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on", access_log=False))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        assert not serving.done()
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    answered: list[int] = []
    firsts = iter(range(0, REQUESTS * JOBS, JOBS))
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=aiohttp.TCPConnector(limit=0)) as client:

        async def caller() -> None:
            for first in firsts:
                async with client.get(f"/{first}") as response:
                    assert response.status == 200
                    answered.extend(await response.json())

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(caller())
    pool: WorkerPool = app.state.pool
    server.should_exit = True
    await serving
    assert sorted(answered) == sorted(delivered) == [*range(REQUESTS * JOBS)]
    assert pool.report is not None
    assert (pool.report.accepted, pool.report.succeeded) == (REQUESTS * JOBS, REQUESTS * JOBS)
