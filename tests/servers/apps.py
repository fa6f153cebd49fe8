"""One small app for each framework, all with the same routes, each with weirpool's `install` as its users have it.

    POST /jobs/{n}   submit job n, and answer 202
    POST /wait/{n}   run job n before the others, and answer 200 when it has returned
    GET /account     how the pool of this process is doing

Each is a function without arguments, which a server calls in the process that serves (the "factory" of its command line).
`python -m tests.servers.apps FD` serves aiohttp's by its own runner.
"""
# No `from __future__ import annotations`: frameworks read annotations, and these are of what is imported within a function.

import os
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from tests.servers.service import REQUESTS, Service
from weirpool.integrations import Pools

FIRST = -100  # the priority of those jobs whose answer somebody waits for


@asynccontextmanager
async def account_for(service: Service) -> AsyncGenerator[None, None]:
    """Account for the pool when it has been closed: to be entered before it is opened."""
    try:
        yield
    finally:
        service.leave()


def starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from weirpool.integrations.starlette import background, install, pool_of

    service = Service()

    async def submit(request: Request) -> JSONResponse:
        number = int(request.path_params["n"])
        return background(pool_of(request), service.job(number), number, name=str(number))

    async def wait(request: Request) -> JSONResponse:
        number = int(request.path_params["n"])
        return JSONResponse(await pool_of(request).run(service.job(number), number, name=str(number), priority=FIRST))

    async def account(_: Request) -> JSONResponse:
        return JSONResponse(service.account())

    app = Starlette(
        routes=[
            Route("/jobs/{n}", submit, methods=["POST"]),
            Route("/wait/{n}", wait, methods=["POST"]),
            Route("/account", account),
        ],
        lifespan=lambda _: account_for(service),
    )
    install(app, Pools(service.pool, budget=service.budget), request_timeout=service.request_timeout)
    return app


def fastapi() -> Any:
    from fastapi import FastAPI

    from weirpool.integrations.fastapi import Pool, background, install

    service = Service()
    app = FastAPI(lifespan=lambda _: account_for(service))
    install(app, Pools(service.pool, budget=service.budget), request_timeout=service.request_timeout)

    @app.post("/jobs/{n}", status_code=202)
    async def submit(n: int, pool: Pool) -> Any:
        return background(pool, service.job(n), n, name=str(n))

    @app.post("/wait/{n}")
    async def wait(n: int, pool: Pool) -> int:
        return await pool.run(service.job(n), n, name=str(n), priority=FIRST)

    @app.get("/account")
    async def account() -> dict[str, Any]:
        return service.account()

    return app


def litestar() -> Any:
    from litestar import Litestar, Response, get, post
    from litestar.params import FromPath

    from weirpool.integrations.litestar import Pool, PoolsPlugin, background

    service = Service()

    @post("/jobs/{n:int}")
    async def submit(n: FromPath[int], pool: Pool) -> Response[dict[str, object]]:
        return background(pool, service.job(n), n, name=str(n))

    @post("/wait/{n:int}", status_code=200)
    async def wait(n: FromPath[int], pool: Pool) -> int:
        return await pool.run(service.job(n), n, name=str(n), priority=FIRST)

    @get("/account")
    async def account() -> dict[str, Any]:
        return service.account()

    plugin = PoolsPlugin(Pools(service.pool, budget=service.budget), request_timeout=service.request_timeout)
    return Litestar([submit, wait, account], plugins=[plugin], lifespan=[account_for(service)])


def quart() -> Any:
    from quart import Quart, jsonify

    from weirpool.integrations.quart import background, current_pool, install

    service = Service()
    app = Quart("tests.servers.apps")

    @app.while_serving
    async def lifespan() -> AsyncGenerator[None, None]:
        async with account_for(service):
            yield

    install(app, Pools(service.pool, budget=service.budget), request_timeout=service.request_timeout)

    @app.post("/jobs/<int:n>")
    async def submit(n: int) -> Any:
        return background(current_pool(), service.job(n), n, name=str(n))

    @app.post("/wait/<int:n>")
    async def wait(n: int) -> Any:
        return jsonify(await current_pool().run(service.job(n), n, name=str(n), priority=FIRST))

    @app.get("/account")
    async def account() -> Any:
        return jsonify(service.account())

    return app


def django() -> Any:
    """Return Django in the generic ASGI wrapper, with a lifespan of its own within that, since Django has none."""
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.http import HttpRequest, HttpResponse, JsonResponse
    from django.urls import path

    from weirpool.integrations.django import background, install, pool_of

    service = Service()

    async def submit(request: HttpRequest, n: int) -> HttpResponse:
        return background(pool_of(request), service.job(n), n, name=str(n))

    async def wait(request: HttpRequest, n: int) -> HttpResponse:
        number = await pool_of(request).run(service.job(n), n, name=str(n), priority=FIRST)
        return JsonResponse(number, safe=False)

    async def account(_: HttpRequest) -> HttpResponse:
        return JsonResponse(service.account())

    routes = (path("jobs/<int:n>", submit), path("wait/<int:n>", wait), path("account", account))
    settings.configure(
        ALLOWED_HOSTS=["*"], SECRET_KEY="x", ROOT_URLCONF=routes, MIDDLEWARE=["weirpool.integrations.django.PoolErrors"]
    )
    handler = get_asgi_application()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await handler(scope, receive, send)
            return
        await receive()
        async with account_for(service):
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    return install(app, Pools(service.pool, budget=service.budget), request_timeout=service.request_timeout)


def aiohttp() -> Any:
    from aiohttp import web

    from weirpool.integrations.aiohttp import background, install, pool_of

    service = Service()

    async def context(_: web.Application) -> AsyncGenerator[None, None]:
        async with account_for(service):
            yield

    async def submit(request: web.Request) -> web.Response:
        number = int(request.match_info["n"])
        return background(pool_of(request), service.job(number), number, name=str(number))

    async def wait(request: web.Request) -> web.Response:
        number = int(request.match_info["n"])
        return web.json_response(await pool_of(request).run(service.job(number), number, name=str(number), priority=FIRST))

    async def account(_: web.Request) -> web.Response:
        return web.json_response(service.account())

    app = web.Application()
    app.cleanup_ctx.append(context)
    install(app, Pools(service.pool, budget=service.budget), request_timeout=service.request_timeout)
    app.add_routes([web.post("/jobs/{n}", submit), web.post("/wait/{n}", wait), web.get("/account", account)])
    return app


async def aiohttp_runner() -> Any:
    """Return aiohttp's app in a runner that has a time of its own, for gunicorn: see docs/servers.md."""
    from aiohttp import web

    return web.AppRunner(aiohttp(), shutdown_timeout=float(os.environ[REQUESTS]))


def main() -> None:
    """Serve aiohttp's app."""
    from aiohttp import web

    listening = socket.socket(fileno=int(sys.argv[1]))
    web.run_app(aiohttp(), sock=listening, print=None, access_log=None, shutdown_timeout=float(os.environ[REQUESTS]))


if __name__ == "__main__":
    main()
