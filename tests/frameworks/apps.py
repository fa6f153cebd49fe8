"""The same small service in every framework, for the one contract that all of them keep."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from tests.frameworks.client import Connection, Reply, served
from weirpool import PoolError, WorkerPool, remaining

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from weirpool.integrations import Pools


class Work:
    """What a service does, and what a test may look at.

    Attributes:
        log: what has happened, in order.
        gate: jobs wait for it, where they are to.
        error: what `/raise` raises.
    """

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.gate = asyncio.Event()
        self.inside = asyncio.Event()
        self.error: BaseException = ValueError("nothing")
        self.pool: WorkerPool | None = None

    async def job(self, name: str = "job") -> str:
        self.inside.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        self.log.append(name)
        return name

    async def left(self) -> float | None:
        return remaining()

    async def note(self) -> None:
        self.log.append(remaining())

    # The routes; each framework passes its pool.

    async def run(self, pool: WorkerPool) -> dict[str, Any]:
        self.pool = pool
        return {"result": await pool.run(self.job)}

    async def times(self, pool: WorkerPool) -> dict[str, Any]:
        return {"handler": remaining(), "job": await pool.run(self.left)}

    async def fail(self) -> dict[str, Any]:
        raise self.error


class Framework:
    """One of them: how the service is made in it, and served."""

    package: ClassVar[str]
    asgi: ClassVar[bool] = True
    cancels: ClassVar[bool] = False  # whether handlers are cancelled when their client goes, without being asked to
    raises: ClassVar[bool] = True  # whether what nobody handles comes out of the application
    restarts: ClassVar[bool] = True  # whether an application may start again
    has_lifespan: ClassVar[bool] = True

    def build(self, pools: Pools | None, work: Work, *, own: bool = False, **options: Any) -> Any:
        """Return the service; `own` is whether it answers errors of pools by itself."""
        raise NotImplementedError

    @asynccontextmanager
    async def served(self, app: Any, *, state: bool = True) -> AsyncIterator[Any]:
        """Serve it."""
        async with served(app, state=state) as client:
            yield client

    def available(self) -> None:
        """Skip the test where the framework is not installed."""
        if importlib.util.find_spec(self.package) is None:
            pytest.skip("missing: pip install 'weirpool[frameworks]'")


class Starlette(Framework):
    package = "starlette"

    def build(self, pools: Pools | None, work: Work, *, own: bool = False, **options: Any) -> Any:
        from starlette.applications import Starlette as App
        from starlette.responses import JSONResponse
        from starlette.routing import Route

        from weirpool.integrations.starlette import background, install, pool_of

        @asynccontextmanager
        async def lifespan(app):
            work.log.append("up")
            yield {"mine": 1}
            work.log.append("down")

        async def post(request):
            return background(pool_of(request), work.job, "background")

        async def note(request):
            return background(pool_of(request), work.note)

        async def run(request):
            return JSONResponse(await work.run(pool_of(request)))

        async def times(request):
            assert request.state.mine == 1
            return JSONResponse(await work.times(pool_of(request)))

        async def mail(request):
            return JSONResponse({"name": pool_of(request, "mail").name})

        async def fail(request):
            return JSONResponse(await work.fail())

        routes = [
            Route("/background", post, methods=["POST"]),
            Route("/note", note, methods=["POST"]),
            Route("/run", run, methods=["GET", "POST"]),
            Route("/times", times),
            Route("/mail", mail),
            Route("/raise", fail),
        ]
        app = App(routes=routes, lifespan=lifespan)
        if pools is not None:
            install(app, pools, **options)
        if own:

            async def mine(request, error):
                return JSONResponse({"mine": True}, 418)

            app.add_exception_handler(PoolError, mine)
        return app


class FastAPI(Framework):
    package = "fastapi"

    def build(self, pools: Pools | None, work: Work, *, own: bool = False, **options: Any) -> Any:
        from typing import Annotated

        from fastapi import Depends
        from fastapi import FastAPI as App
        from fastapi.responses import JSONResponse

        from weirpool.integrations.fastapi import Pool, background, install, pool_named

        @asynccontextmanager
        async def lifespan(app):
            work.log.append("up")
            yield
            work.log.append("down")

        app = App(lifespan=lifespan)

        async def post(pool: Pool):
            return background(pool, work.job, "background")

        async def note(pool: Pool):
            return background(pool, work.note)

        async def run(pool: Pool):
            return await work.run(pool)

        async def times(pool: Pool):
            return await work.times(pool)

        async def mail(pool: Annotated[WorkerPool, Depends(pool_named("mail"))]):
            return {"name": pool.name}

        async def fail():
            return await work.fail()

        for function in (post, note, run, times, mail):  # the annotations are strings, and of names in here
            function.__annotations__ = {"pool": Pool}
        mail.__annotations__ = {"pool": Annotated[WorkerPool, Depends(pool_named("mail"))]}
        app.post("/background")(post)
        app.post("/note")(note)
        app.api_route("/run", methods=["GET", "POST"])(run)
        app.get("/times")(times)
        if pools is None or "mail" in pools.names:
            app.get("/mail")(mail)
        app.get("/raise")(fail)
        if pools is not None:
            install(app, pools, **options)
        if own:

            @app.exception_handler(PoolError)
            async def mine(request, error):
                return JSONResponse({"mine": True}, 418)

        return app


class Litestar(Framework):
    package = "litestar"
    raises = False

    def build(self, pools: Pools | None, work: Work, *, own: bool = False, **options: Any) -> Any:
        from litestar import Litestar as App
        from litestar import Response, get, post, route

        from weirpool.integrations.litestar import Pool, PoolsPlugin, background, pool_of

        @asynccontextmanager
        async def lifespan(app):
            work.log.append("up")
            yield
            work.log.append("down")

        names = {"Pool": Pool, "Response": Response, "Any": Any}

        async def back(pool: Pool) -> Response[dict[str, Any]]:
            return background(pool, work.job, "background")

        async def note(pool: Pool) -> Response[dict[str, Any]]:
            return background(pool, work.note)

        async def run(pool: Pool) -> dict[str, Any]:
            return await work.run(pool)

        async def times(pool: Pool) -> dict[str, Any]:
            return await work.times(pool)

        async def mail(mail_pool: Pool) -> dict[str, Any]:
            return {"name": mail_pool.name}

        async def fail() -> dict[str, Any]:
            return await work.fail()

        async def bare() -> dict[str, Any]:
            return {"name": pool_of(app).name}

        def mine(request, error):
            return Response({"mine": True}, status_code=418)

        handlers: list[Any] = [
            post("/background")(back),
            post("/note")(note),
            route("/run", http_method=["GET", "POST"], status_code=200)(run),
            get("/times")(times),
            get("/raise")(fail),
        ]
        if pools is not None and "mail" in pools.names:
            handlers.append(get("/mail")(mail))
        if pools is None:
            handlers = [get("/run")(bare)]
        app = App(
            handlers,
            lifespan=[lifespan],
            plugins=[] if pools is None else [PoolsPlugin(pools, **options)],
            exception_handlers={PoolError: mine} if own else {},
            signature_namespace=names,
            openapi_config=None,
            logging_config=None,
        )
        return app


class Quart(Framework):
    package = "quart"
    cancels = True
    raises = False
    restarts = False  # its own while_serving generators don't

    def build(self, pools: Pools | None, work: Work, *, own: bool = False, **options: Any) -> Any:
        from quart import Quart as App

        from weirpool.integrations.quart import background, current_pool, install

        app = App("service")

        @app.while_serving
        async def lifespan():
            work.log.append("up")
            yield
            work.log.append("down")

        @app.post("/background")
        async def post():
            return background(current_pool(), work.job, "background")

        @app.post("/note")
        async def note():
            return background(current_pool(), work.note)

        @app.route("/run", methods=["GET", "POST"])
        async def run():
            return await work.run(current_pool())

        @app.get("/times")
        async def times():
            return await work.times(current_pool())

        @app.get("/mail")
        async def mail():
            return {"name": current_pool("mail").name}

        @app.get("/raise")
        async def fail():
            return await work.fail()

        if own:

            @app.errorhandler(PoolError)
            async def mine(error):
                return {"mine": True}, 418

        if pools is not None:
            install(app, pools, **options)
        return app


class Aiohttp(Framework):
    package = "aiohttp"
    asgi = False
    raises = False
    restarts = False

    def build(self, pools: Pools | None, work: Work, *, own: bool = False, **options: Any) -> Any:
        from aiohttp import web

        from weirpool.integrations.aiohttp import background, install, pool_of

        async def lifespan(app):
            work.log.append("up")
            yield
            work.log.append("down")

        async def post(request):
            return background(pool_of(request), work.job, "background")

        async def note(request):
            return background(pool_of(request), work.note)

        async def run(request):
            return web.json_response(await work.run(pool_of(request)))

        async def times(request):
            return web.json_response(await work.times(pool_of(request)))

        async def mail(request):
            return web.json_response({"name": pool_of(request, "mail").name})

        async def fail(request):
            return web.json_response(await work.fail())

        app = web.Application()
        app.cleanup_ctx.append(lifespan)
        if pools is not None:
            install(app, pools, **options)
        if own:

            @web.middleware
            async def mine(request, handler):
                try:
                    return await handler(request)
                except PoolError:
                    return web.json_response({"mine": True}, status=418)

            app.middlewares.append(mine)
        app.add_routes(
            [
                web.post("/background", post),
                web.post("/note", note),
                web.get("/run", run),
                web.post("/run", run),
                web.get("/times", times),
                web.get("/mail", mail),
                web.get("/raise", fail),
            ]
        )
        return app

    @asynccontextmanager
    async def served(self, app: Any, *, state: bool = True) -> AsyncIterator[Any]:
        from aiohttp.test_utils import TestClient, TestServer

        class Client:
            async def ask(self, path, method="GET", headers=None, body=(b"",), version="1.1"):
                async with client.request(method, path, headers=headers, data=b"".join(body)) as response:
                    return Reply(response.status, dict(response.headers), await response.read())

        async with TestClient(TestServer(app)) as client:
            yield Client()


class Bare(Framework):
    """An ASGI application that is nothing but that, and knows of no lifespan."""

    package = "weirpool"
    has_lifespan = False

    def build(self, pools: Pools | None, work: Work, *, own: bool = False, **options: Any) -> Any:
        import json

        from weirpool.integrations.asgi import install, pool_of
        from weirpool.integrations.starlette import background

        async def app(scope, receive, send):
            assert scope["type"] == "http", "it knows nothing else"
            status = 200
            try:
                match scope["path"]:
                    case "/background":
                        answer, status = json.loads(bytes(background(pool_of(scope), work.job, "background").body)), 202
                    case "/note":
                        answer, status = json.loads(bytes(background(pool_of(scope), work.note).body)), 202
                    case "/run":
                        answer = await work.run(pool_of(scope))
                    case "/times":
                        answer = await work.times(pool_of(scope))
                    case "/mail":
                        answer = {"name": pool_of(scope, "mail").name}
                    case _:
                        answer = await work.fail()
            except PoolError:
                if not own:
                    raise
                answer, status = {"mine": True}, 418
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

        return app if pools is None else install(app, pools, **options)


class Django(Framework):
    package = "django"
    has_lifespan = False
    cancels = True
    raises = False

    def build(self, pools: Pools | None, work: Work, *, own: bool = False, **options: Any) -> Any:
        import django
        from django.conf import settings
        from django.core.handlers.asgi import ASGIHandler
        from django.http import JsonResponse
        from django.urls import path

        from weirpool.integrations.django import background, install, pool_of

        async def post(request):
            return background(pool_of(request), work.job, "background")

        async def note(request):
            return background(pool_of(request), work.note)

        async def run(request):
            return JsonResponse(await work.run(pool_of(request)))

        async def times(request):
            return JsonResponse(await work.times(pool_of(request)))

        async def mail(request):
            return JsonResponse({"name": pool_of(request, "mail").name})

        async def fail(request):
            try:
                return JsonResponse(await work.fail())
            except PoolError:
                if not own:
                    raise
                return JsonResponse({"mine": True}, status=418)

        class Urls:
            urlpatterns: ClassVar[Any] = [
                path("background", post),
                path("note", note),
                path("run", run),
                path("times", times),
                path("mail", mail),
                path("raise", fail),
            ]

        if not settings.configured:
            settings.configure(
                ALLOWED_HOSTS=["*"],
                SECRET_KEY="x",
                ROOT_URLCONF=Urls,
                MIDDLEWARE=["weirpool.integrations.django.PoolErrors"],
                LOGGING_CONFIG=None,
            )
            django.setup()
        logging.getLogger("django.request").disabled = True  # it says of each 503 that it is one
        from django.urls import clear_url_caches, set_urlconf

        settings.ROOT_URLCONF = Urls
        clear_url_caches()
        set_urlconf(None)
        app = ASGIHandler()
        return app if pools is None else install(app, pools, **options)


FRAMEWORKS: list[Framework] = [Starlette(), FastAPI(), Litestar(), Quart(), Aiohttp(), Django(), Bare()]
ASGI = [framework for framework in FRAMEWORKS if framework.asgi]

__all__ = ["ASGI", "FRAMEWORKS", "Connection", "Framework", "Reply", "Work"]
