"""What is particular to a framework: its own test client, its own idioms, and the mistakes that can be made in it."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from typing import Annotated, Any

import pytest

from tests.frameworks.apps import Aiohttp, Django, FastAPI, Litestar, Quart, Starlette, Work
from tests.frameworks.client import StartFailedError, served
from tests.support import echo
from weirpool import PoolClosed, PoolError, WorkerPool
from weirpool.integrations import Pools

pytestmark = pytest.mark.realtime


Pool = int  # of this module, as another might have one of asyncpg: what Litestar's handlers in here mean by it


def one() -> Pools:
    return Pools(lambda: WorkerPool(shutdown_timeout=5, cancel_grace=0.2))


@pytest.fixture
def work() -> Work:
    made = Work()
    made.gate.set()
    return made


# FastAPI and Starlette --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("framework", [FastAPI(), Starlette()], ids=["fastapi", "starlette"])
def test_the_test_client_of_starlette_opens_and_closes_the_pools(framework: Any, work: Work) -> None:
    framework.available()
    from starlette.testclient import TestClient

    app = framework.build(one(), work)
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/run").json() == {"result": "job"}
            assert client.post("/background").json() == {"job": 2, "pool": "pool"}
    assert work.log == ["up", "job", "background", "down"] * 2


def fastapi() -> Any:
    FastAPI().available()
    from weirpool.integrations import fastapi

    return fastapi


async def test_an_endpoint_that_asks_for_a_pool_that_there_is_not_keeps_the_application_from_starting() -> None:
    ours = fastapi()
    from fastapi import APIRouter, Depends
    from fastapi import FastAPI as App

    def nested(pool: Annotated[WorkerPool, Depends(ours.pool_named("post"))]) -> None:
        pytest.fail("it has started")

    nested.__annotations__ = {"pool": Annotated[WorkerPool, Depends(ours.pool_named("post"))]}
    router = APIRouter(dependencies=[Depends(nested)])
    router.get("/a")(lambda: None)
    app = App()
    app.include_router(router, prefix="/b")
    ours.install(app, Pools(WorkerPool, mail=WorkerPool))
    with pytest.raises(StartFailedError) as caught:
        async with served(app):
            pytest.fail("it has started")
    assert "given ('default', 'mail'), got 'post'" in str(caught.value.__cause__)


async def test_the_prestop_hook_makes_the_application_leave() -> None:
    ours = fastapi()
    from fastapi import FastAPI as App

    from weirpool.integrations.status import StatusPage

    app, pools = App(), one()

    async def prestop(opened: Any) -> None:
        await opened.leave(0.01)

    prestop.__annotations__ = {"opened": ours.AppPools}
    app.get("/prestop", status_code=204)(prestop)
    app.mount("/pools", StatusPage(pools))
    ours.install(app, pools)
    async with served(app) as client:
        assert (await client.ask("/pools/ready")).status == 200
        assert (await client.ask("/prestop")).status == 204
        assert (await client.ask("/pools/ready")).status == 503


def test_a_plain_def_that_submits_is_told_how() -> None:
    ours = fastapi()
    from fastapi import FastAPI as App
    from starlette.testclient import TestClient

    app = App()

    def endpoint(pool: Any) -> Any:
        return ours.background(pool, echo, 1)

    endpoint.__annotations__ = {"pool": ours.Pool}
    app.get("/")(endpoint)
    ours.install(app, one())
    with TestClient(app) as client, pytest.raises(RuntimeError, match="a plain def runs in a thread"):
        client.get("/")


def test_websockets_have_pools_and_the_errors_of_those_are_errors() -> None:
    ours = fastapi()
    from fastapi import FastAPI as App
    from fastapi import WebSocket
    from starlette.testclient import TestClient

    app = App()

    async def talk(websocket: WebSocket, pool: Any) -> None:
        await websocket.accept()
        await websocket.send_json(await pool.run(echo, 1))
        raise PoolClosed("a")

    talk.__annotations__ = {"websocket": WebSocket, "pool": ours.Pool}
    app.websocket("/")(talk)
    ours.install(app, one())
    with pytest.raises(PoolClosed), TestClient(app) as client, client.websocket_connect("/") as socket:
        assert socket.receive_json() == 1
        socket.receive_json()


async def test_an_application_in_another_has_its_pools_and_answers_for_them(work: Work) -> None:
    ours = fastapi()
    from fastapi import FastAPI as App

    outer, inner_pools, outer_pools = App(), one(), one()
    inner = FastAPI().build(inner_pools, work)
    outer.mount("/inner", inner)
    ours.install(outer, outer_pools)
    work.error = PoolClosed("a")
    async with served(outer) as client:
        assert (await client.ask("/inner/run")).json == {"result": "job"}
        assert list(outer_pools) == [work.pool]
        assert list(inner_pools) == []
        reply = await client.ask("/inner/raise")
        assert (reply.status, reply.json["reason"]) == (503, "closing")


async def test_installing_twice_or_too_late_is_refused(work: Work) -> None:
    for framework in (FastAPI(), Starlette()):
        framework.available()
        from weirpool.integrations.starlette import install

        app = framework.build(one(), work)
        with pytest.raises(RuntimeError, match="called twice for one application"):
            install(app, one())
        app = framework.build(None, work)
        async with served(app):
            with pytest.raises(RuntimeError, match="before the application starts"):
                install(app, one())


def test_tests_of_an_application_may_replace_its_pools() -> None:
    ours = fastapi()
    from fastapi import Depends
    from fastapi import FastAPI as App
    from starlette.testclient import TestClient

    app = App()

    async def endpoint(pool: Any, mail: Any) -> Any:
        return [pool, mail]

    endpoint.__annotations__ = {"pool": ours.Pool, "mail": Annotated[WorkerPool, Depends(ours.pool_named("mail"))]}
    app.get("/", response_model=None)(endpoint)
    ours.install(app, Pools(WorkerPool, mail=WorkerPool))
    app.dependency_overrides[ours.pool_named()] = lambda: "another"
    app.dependency_overrides[ours.pool_named("mail")] = lambda: "other mail"
    with TestClient(app) as client:
        assert client.get("/").json() == ["another", "other mail"]


# Litestar -----------------------------------------------------------------------------------------------------------------


def test_the_test_client_of_litestar_opens_and_closes_the_pools(work: Work) -> None:
    Litestar().available()
    from litestar.testing import TestClient

    app = Litestar().build(one(), work)
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/run").json() == {"result": "job"}
    assert work.log == ["up", "job", "down"] * 2


def test_two_plugins_are_refused() -> None:
    Litestar().available()
    from litestar import Litestar as App

    from weirpool.integrations.litestar import PoolsPlugin

    with pytest.raises(RuntimeError, match="PoolsPlugin was given twice to one application"):
        App([], plugins=[PoolsPlugin(one()), PoolsPlugin(one())])


@pytest.mark.filterwarnings("ignore:.*inferred style")  # which Litestar would have called otherwise
def test_what_the_names_of_a_users_module_mean_is_the_users() -> None:
    Litestar().available()
    from litestar import Litestar as App
    from litestar import get
    from litestar.testing import TestClient

    from weirpool.integrations.litestar import PoolsPlugin

    @get("/")
    async def handler(size: Pool) -> int:  # which is a string, as of all annotations here
        return size

    with TestClient(App([handler], plugins=[PoolsPlugin(one())])) as client:
        assert client.get("/?size=3").json() == 3
    App([], plugins=[PoolsPlugin(one())], signature_namespace={"Error": PoolError})


async def test_litestars_application_has_the_pools_outside_of_handlers(work: Work) -> None:
    Litestar().available()
    from weirpool.integrations.litestar import pool_of

    pools = one()
    app = Litestar().build(pools, work)
    async with served(app):
        assert [pool_of(app)] == list(pools)
    with pytest.raises(RuntimeError, match=r"call install\(app, pools\)"):
        pool_of(app)


# Quart --------------------------------------------------------------------------------------------------------------------


async def test_the_test_app_of_quart_opens_and_closes_the_pools(work: Work) -> None:
    Quart().available()
    from quart import Quart as App

    from weirpool.integrations.quart import current_pool, install

    app = App("again")

    @app.get("/")
    async def run() -> Any:
        return await work.run(current_pool())

    install(app, one())
    with pytest.raises(RuntimeError, match="called twice for one application"):
        install(app, one())
    for _ in range(2):
        async with app.test_app() as test_app:
            response = await test_app.test_client().get("/")
            assert await response.get_json() == {"result": "job"}


@pytest.mark.complains
async def test_the_errors_of_pools_in_quarts_websockets_are_errors() -> None:
    Quart().available()
    from quart import Quart as App
    from quart import got_websocket_exception
    from quart.testing import WebsocketResponseError

    from weirpool.integrations.quart import install

    app, seen = App("websockets"), []

    @app.websocket("/")
    async def talk() -> None:
        raise PoolClosed("a")

    async def see(_: Any, exception: Exception) -> None:
        seen.append(exception)

    install(app, one())
    with got_websocket_exception.connected_to(see, app):
        async with app.test_app() as running:
            with pytest.raises(WebsocketResponseError):
                async with running.test_client().websocket("/") as socket:
                    await socket.receive()
    assert [type(error) for error in seen] == [PoolClosed]


@pytest.mark.complains
@pytest.mark.parametrize("shutdown", [False, True], ids=["no shutdown", "shutdown"])
async def test_quart_starts_after_a_start_that_failed(shutdown: bool) -> None:
    Quart().available()
    from quart import Quart as App

    from weirpool.integrations.quart import current_pool, install

    for fails in ("before", "itself"):
        made: list[WorkerPool] = []
        app, failing = App("again"), [True]

        @app.before_serving
        async def before(fails: str = fails, failing: list[bool] = failing) -> None:
            if fails == "before" and failing.pop():
                raise ConnectionError("no")

        def make(fails: str = fails, failing: list[bool] = failing, made: list[WorkerPool] = made) -> WorkerPool:
            if fails == "itself" and failing.pop():
                raise ConnectionError("no")
            made.append(WorkerPool())
            return made[-1]

        install(app, Pools(make))
        with pytest.raises(ConnectionError):
            await app.startup()
        if shutdown:
            await app.shutdown()
        failing[:] = [False, False]
        await app.startup()
        async with app.app_context():
            assert [current_pool()] == made
        await app.shutdown()


async def test_quart_refuses_pools_once_it_has_started() -> None:
    Quart().available()
    from quart import Quart as App

    from weirpool.integrations.quart import install

    app = App("late")
    async with app.test_app():
        with pytest.raises(RuntimeError, match="before the application starts"):
            install(app, one())
    install(app, one())
    async with app.test_app():
        pass


# Django -------------------------------------------------------------------------------------------------------------------


def test_djangos_middleware_serves_plain_views_too() -> None:
    Django().available()
    Django().build(None, Work())  # which configures Django
    from django.http import HttpRequest, HttpResponse

    from weirpool.integrations.django import PoolErrors

    middleware = PoolErrors(lambda _: HttpResponse(b"plain"))
    assert middleware(HttpRequest()).content == b"plain"
    answer = middleware.process_exception(HttpRequest(), PoolClosed("a"))
    assert answer is not None
    assert (answer.status_code, answer.headers["Connection"]) == (503, "close")


# aiohttp ------------------------------------------------------------------------------------------------------------------


async def test_the_subapplications_of_aiohttp_have_its_pools(work: Work) -> None:
    Aiohttp().available()
    from aiohttp import web

    app, inner = Aiohttp().build(one(), work), Aiohttp().build(None, work)
    app.add_subapp("/inner", inner)
    async with Aiohttp().served(app) as client:
        assert (await client.ask("/inner/run")).json == {"result": "job"}
    from weirpool.integrations.aiohttp import install

    with pytest.raises(RuntimeError, match="called twice for one application"):
        install(Aiohttp().build(one(), work), one())
    other = web.Application()
    async with Aiohttp().served(other):
        with pytest.raises(RuntimeError, match="before the application starts"):
            install(other, one())


async def test_what_feeds_a_pool_of_aiohttp_has_the_application_only() -> None:
    Aiohttp().available()
    from aiohttp import web

    from weirpool.integrations.aiohttp import install, pool_of

    app, pools, fed = web.Application(), one(), []

    async def feed(app: web.Application) -> Any:
        fed.append(await pool_of(app).run(echo, 1))
        yield

    with pytest.raises(RuntimeError, match=r"call install\(app, pools\)"):
        pool_of(app)
    install(app, pools)
    app.cleanup_ctx.append(feed)
    async with Aiohttp().served(app):
        assert fed == [1]
        assert [pool_of(app)] == list(pools)


@pytest.mark.complains
async def test_half_an_answer_of_aiohttp_is_not_followed_by_another() -> None:
    Aiohttp().available()
    from aiohttp import ClientPayloadError, web
    from aiohttp.test_utils import TestClient, TestServer

    from weirpool.integrations.aiohttp import install

    app = web.Application()
    install(app, one())

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        raise PoolClosed("a")

    app.router.add_get("/", stream)
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/")
        assert response.status == 200
        with pytest.raises(ClientPayloadError):
            await response.read()


# Clients that go, on real servers -----------------------------------------------------------------------------------------


async def ask_and_go(port: int, work: Work) -> None:
    """Ask, wait until the job runs, and close the connection."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /run HTTP/1.1\r\nHost: here\r\n\r\n")
    await work.inside.wait()
    writer.close()
    await writer.wait_closed()
    pool = work.pool
    assert pool is not None
    async with asyncio.timeout(10):
        await pool.wait_idle()
    assert pool.stats().cancelled == 1


async def test_aiohttps_own_server_cancels_the_job_of_a_client_that_goes() -> None:
    Aiohttp().available()
    from aiohttp import web

    work = Work()
    runner = web.AppRunner(Aiohttp().build(one(), work), handler_cancellation=True)
    await runner.setup()
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        await web.SockSite(runner, listening).start()
        await ask_and_go(listening.getsockname()[1], work)
        await runner.cleanup()


@pytest.mark.parametrize("framework", [FastAPI(), Litestar(), Quart()], ids=["fastapi", "litestar", "quart"])
async def test_under_uvicorn_the_job_of_a_client_that_goes_is_cancelled(framework: Any) -> None:
    framework.available()
    import uvicorn

    work = Work()
    app = framework.build(one(), work, **({} if framework.cancels else {"cancel_on_disconnect": True}))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        serving = asyncio.create_task(server._serve([listening]))
        await ask_and_go(listening.getsockname()[1], work)
        server.should_exit = True
        await serving
    assert work.log == ["up", "cancelled", "down"]
