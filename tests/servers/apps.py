"""One small app for each framework, all with the same routes.

    POST /jobs/{n}   submit job n, and answer 202
    POST /wait/{n}   run job n before the others, and answer 200 when it has returned
    GET /account     how the pool of this process is doing

Each is a function without arguments, which a server calls in the process that serves (the "factory" of its command line).
`python -m tests.servers.apps FD SECONDS` serves aiohttp's by its own runner.
"""

from __future__ import annotations

import os
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.servers.service import Service
from weirpool import PoolClosed, PoolOverloaded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from weirpool import WorkerPool

FIRST = -100  # the priority of those jobs whose answer somebody waits for


def starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    service = Service()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        try:
            async with service.pool() as pool:
                yield {"pool": pool}
        finally:
            service.leave()

    async def submit(request: Request) -> JSONResponse:
        number = int(request.path_params["n"])
        handle = await request.state.pool.submit(service.job(number), number, name=str(number))
        return JSONResponse({"job": handle.id}, 202)

    async def wait(request: Request) -> JSONResponse:
        number = int(request.path_params["n"])
        return JSONResponse(await request.state.pool.run(service.job(number), number, name=str(number), priority=FIRST))

    async def account(_: Request) -> JSONResponse:
        return JSONResponse(service.account())

    async def refused(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse(str(error), 503)

    return Starlette(
        routes=[Route("/jobs/{n}", submit, methods=["POST"]), Route("/wait/{n}", wait, methods=["POST"]), Route("/account", account)],
        lifespan=lifespan,
        exception_handlers={PoolClosed: refused, PoolOverloaded: refused},
    )


def fastapi() -> Any:
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse

    service = Service()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        try:
            async with service.pool() as pool:
                yield {"pool": pool}
        finally:
            service.leave()

    app = FastAPI(lifespan=lifespan)

    async def submit(n: int, request: Request) -> Any:
        return {"job": (await request.state.pool.submit(service.job(n), n, name=str(n))).id}

    async def wait(n: int, request: Request) -> Any:
        return await request.state.pool.run(service.job(n), n, name=str(n), priority=FIRST)

    async def account() -> Any:
        return service.account()

    async def refused(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse(str(error), 503)

    for route in (submit, wait):
        route.__annotations__ = {"n": int, "request": Request}
    app.add_api_route("/jobs/{n}", submit, methods=["POST"], status_code=202)
    app.add_api_route("/wait/{n}", wait, methods=["POST"])
    app.add_api_route("/account", account)
    app.add_exception_handler(PoolClosed, refused)
    app.add_exception_handler(PoolOverloaded, refused)
    return app


POOL = "pool"


def aiohttp() -> web.Application:
    from aiohttp import web

    service = Service()
    opened: dict[str, WorkerPool] = {}

    async def pool_context(_: web.Application) -> AsyncIterator[None]:
        try:
            async with service.pool() as opened[POOL]:
                yield
        finally:
            service.leave()

    async def submit(request: web.Request) -> web.Response:
        number = int(request.match_info["n"])
        handle = await opened[POOL].submit(service.job(number), number, name=str(number))
        return web.json_response({"job": handle.id}, status=202)

    async def wait(request: web.Request) -> web.Response:
        number = int(request.match_info["n"])
        return web.json_response(await opened[POOL].run(service.job(number), number, name=str(number), priority=FIRST))

    async def account(_: web.Request) -> web.Response:
        return web.json_response(service.account())

    @web.middleware
    async def refusals(request: web.Request, handler: Any) -> Any:
        try:
            return await handler(request)
        except (PoolClosed, PoolOverloaded) as error:
            raise web.HTTPServiceUnavailable from error

    app = web.Application(middlewares=[refusals])
    app.cleanup_ctx.append(pool_context)
    app.add_routes([web.post("/jobs/{n}", submit), web.post("/wait/{n}", wait), web.get("/account", account)])
    return app


def main() -> None:
    """Serve aiohttp's app."""
    from aiohttp import web

    fd, seconds = int(sys.argv[1]), float(sys.argv[2])
    web.run_app(aiohttp(), sock=socket.socket(fileno=os.dup(fd)), print=None, shutdown_timeout=seconds, access_log=None)


if __name__ == "__main__":
    main()
