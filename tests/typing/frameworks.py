"""R21 in frameworks: what mypy and pyright must accept, and what they must refuse; as in `api`. Never run."""

# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedCoroutine=false, reportUnusedExpression=false

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

from starlette.responses import JSONResponse

from weirpool import WorkerPool
from weirpool.integrations import OpenPools, Pools, aiohttp, check_budget, fastapi, starlette

if TYPE_CHECKING:
    from aiohttp import web
    from fastapi import FastAPI
    from starlette.applications import Starlette
    from starlette.requests import Request


async def deliver(event: str, attempt: int) -> str:
    raise NotImplementedError


async def right(app: FastAPI, plain: Starlette, site: web.Application, request: Request, pool: WorkerPool) -> None:
    pools = Pools(WorkerPool, mail=lambda: WorkerPool(name="mail"), drain_delay=5, budget={"server_timeout": None})
    fastapi.install(app, pools, request_timeout=5, cancel_on_disconnect=True)
    starlette.install(app, pools)
    starlette.install(plain, pools, deadline_header="Request-Timeout")
    aiohttp.install(site, pools, request_timeout=None)
    assert_type(starlette.pool_of(request, "mail"), WorkerPool)
    assert_type(starlette.background(pool, deliver, "a", 1, timeout=3, key="a"), JSONResponse)
    assert_type(check_budget(20, server_timeout=5), list[str])
    async with pools.open() as opened:
        assert_type(opened, OpenPools)
        assert_type(opened.pool(), WorkerPool)
        await opened.leave(5)


async def endpoint(pool: fastapi.Pool, pools: fastapi.AppPools) -> None:
    assert_type(pool, WorkerPool)
    assert_type(pools, OpenPools)


def wrong(app: FastAPI, site: web.Application, pool: WorkerPool, pools: Pools) -> None:
    Pools(pool)  # type: ignore[arg-type]
    Pools(mail=pool)  # type: ignore[arg-type]
    Pools(WorkerPool, budget={"grace": 1})  # type: ignore[arg-type]
    fastapi.install(app, pool)  # type: ignore[arg-type]
    fastapi.install(app, pools, timeout=5)  # type: ignore[call-arg]
    aiohttp.install(site, pools, cancel_on_disconnect=True)  # type: ignore[call-arg]
    starlette.background(pool, deliver, "a")  # type: ignore[arg-type]
    starlette.background(pool, deliver, "a", 1, time_out=3)  # type: ignore[call-arg]
    starlette.background(pool, deliver, "a", 1, timeout="3")  # type: ignore[arg-type]
    check_budget("20", server_timeout=5)  # type: ignore[arg-type]
