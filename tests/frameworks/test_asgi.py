"""Any ASGI application: what becomes of its own lifespan, and of what has begun."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.frameworks.apps import Bare, Work
from tests.frameworks.client import AsgiClient, Reply, StartFailedError, served
from tests.support import Gate
from weirpool import PoolClosed, PoolState, WorkerPool
from weirpool.integrations import Pools
from weirpool.integrations.asgi import install, pool_of, pools_of


def one() -> Pools:
    return Pools(lambda: WorkerPool(shutdown_timeout=0.5, cancel_grace=0.1))


class WithLife:
    """An application that has a lifespan, written by hand.

    Attributes:
        log: what has happened.
        pool: that of the last request.
    """

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.log: list[str] = []
        self.pool: WorkerPool | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            self.pool = pool_of(scope)
            raise PoolClosed("a")
        self.log.append((await receive())["type"])
        if self.failing == "raises":
            raise ValueError("no")
        if self.failing:
            await send({"type": "lifespan.startup.failed", "message": "no"})
            return
        await send({"type": "lifespan.startup.complete"})
        self.log.append((await receive())["type"])
        assert self.pool is None or self.pool.state is PoolState.CLOSED
        await send({"type": "lifespan.shutdown.complete"})


async def test_pools_are_open_after_the_lifespan_has_begun_and_closed_before_it_ends() -> None:
    app = WithLife()
    async with served(install(app, one())) as client:
        assert app.log == ["lifespan.startup"]
        assert (await client.ask("/")).status == 503
        assert app.pool is not None
        assert app.pool.state is PoolState.OPEN
    assert app.log == ["lifespan.startup", "lifespan.shutdown"]


@pytest.mark.parametrize("failing", ["raises", "says so"])
async def test_where_the_application_does_not_start_no_pool_is_opened(failing: str) -> None:
    made: list[WorkerPool] = []

    def make() -> WorkerPool:
        made.append(WorkerPool())
        return made[-1]

    with pytest.raises(StartFailedError) as caught:
        async with served(install(WithLife(failing), Pools(make))):
            pytest.fail("it has started")
    assert caught.value.args[0]["type"] == "lifespan.startup.failed"
    assert made == []


@pytest.mark.complains
async def test_a_server_that_cancels_the_lifespan_cancels_the_jobs() -> None:
    pools, gate = one(), Gate()
    said: asyncio.Queue[Any] = asyncio.Queue()
    told: asyncio.Queue[Any] = asyncio.Queue()
    told.put_nowait({"type": "lifespan.startup"})
    life = asyncio.ensure_future(install(WithLife(), pools)({"type": "lifespan"}, told.get, said.put))
    await said.get()
    (pool,) = pools
    await pool.submit(gate)
    await asyncio.sleep(0.1)
    life.cancel()
    with pytest.raises(asyncio.CancelledError):
        await life
    assert (pool.state, pool.stats().cancelled) == (PoolState.CLOSED, 1)


async def test_while_the_pools_close_requests_are_told_so() -> None:
    gate = Gate()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await pool_of(scope).submit(gate)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    replies: list[Reply] = []

    async def ask(client: AsgiClient) -> None:
        await asyncio.sleep(0.1)
        replies.append(await client.ask("/"))
        gate.open()

    async with served(install(app, one())) as client:
        assert (await client.ask("/")).status == 204
        asking = asyncio.create_task(ask(client))
    await asking
    assert (replies[0].status, replies[0].json["reason"]) == (503, "closing")


async def test_an_answer_that_has_begun_is_not_begun_again() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise PoolClosed("a")

    async with served(install(app, one())) as client:
        reply = await client.ask("/")
    assert reply.status == 200
    assert isinstance(reply.error, PoolClosed)


async def test_head_is_answered_without_a_body() -> None:
    work = Work()
    work.error = PoolClosed("a")
    async with served(Bare().build(one(), work, deadline_header="Request-Timeout")) as client:
        for headers, status in (({}, 503), ({"Request-Timeout": "x"}, 400)):
            reply = await client.ask("/raise", "HEAD", headers=headers)
            assert (reply.status, reply.body) == (status, b"")
            assert int(reply.headers["content-length"]) > 0


async def test_websockets_have_the_pools_and_no_answers() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "websocket"
        assert pools_of(scope).names == ("default",)
        raise PoolClosed("a")

    wrapped = install(app, one(), request_timeout=1, cancel_on_disconnect=True)
    async with served(wrapped) as client:
        with pytest.raises(PoolClosed):
            await wrapped({"type": "websocket", "state": client.state}, None, None)


async def test_of_applications_in_each_other_the_outermost_has_the_pools() -> None:
    seen: list[WorkerPool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        seen.append(pool_of(scope))
        raise PoolClosed("a")

    inner = install(app, one())

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await inner(scope, receive, send)

    pools = one()
    async with served(install(outer, pools)) as client:
        assert (await client.ask("/")).status == 503
        assert seen == list(pools)


def test_wrong_places_are_refused() -> None:
    app = install(WithLife(), one())
    with pytest.raises(RuntimeError, match="called twice for one application"):
        install(app, one())
    with pytest.raises(TypeError, match="app must be an ASGI application, got 3"):
        install(3, one())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cancel_on_disconnect must be True or False, got 1"):
        install(WithLife(), one(), cancel_on_disconnect=1)  # type: ignore[arg-type]
    for request in ({}, {"type": "http"}, object()):
        with pytest.raises(RuntimeError, match=r"call install\(app, pools\) where the application is made"):
            pool_of(request)
