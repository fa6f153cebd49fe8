"""A client that goes: when that cancels who serves it, and when not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.frameworks.apps import Starlette
from weirpool.integrations._disconnect import Watched


class Server:
    """What a server is to an application; the test says what is received."""

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.taken = 0
        self.lost = False
        self.sent: list[Any] = []

    def body(self, *parts: bytes, more: bool = False) -> None:
        for number, part in enumerate(parts, 1):
            self.incoming.put_nowait({"type": "http.request", "body": part, "more_body": more or number < len(parts)})

    def go(self) -> None:
        self.incoming.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> Any:
        message = await self.incoming.get()
        self.taken += 1
        if isinstance(message, Exception):
            raise message
        return message

    async def send(self, message: Any) -> None:
        if self.lost:
            raise OSError("the connection is lost")
        self.sent.append(message)

    async def serve(self, app: Any) -> None:
        await Watched(self.receive, self.send).serve(app, {"type": "http"})


@pytest.fixture
async def server() -> Server:
    return Server()


async def forever(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.Event().wait()


async def test_the_body_comes_through_whole_and_no_more_than_two_parts_are_read_ahead(server: Server) -> None:
    server.body(b"a", b"b", b"c", b"d")
    read: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.1)
        assert server.taken == 2
        read.extend([(await receive())["body"] for _ in range(4)])

    await server.serve(app)
    assert read == [b"a", b"b", b"c", b"d"]


async def test_who_does_not_read_the_body_is_cancelled_all_the_same(server: Server) -> None:
    server.body(b"")
    server.go()
    await server.serve(forever)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # nor does a cancellation come later


async def test_a_server_that_fails_has_lost_the_client(server: Server) -> None:
    server.incoming.put_nowait(ConnectionResetError())
    await server.serve(forever)


async def test_who_waits_for_the_client_is_told_that_it_has_gone_again_and_again(server: Server) -> None:
    heard = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asyncio.get_running_loop().call_later(0.1, server.go)
        try:
            heard.append(await receive())
        except asyncio.CancelledError:
            heard.extend([await receive(), await receive()])

    await server.serve(app)
    assert heard == [{"type": "http.disconnect"}] * 2


async def test_after_the_answer_the_client_may_go(server: Server) -> None:
    server.body(b"")
    done = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})
        server.go()
        await asyncio.sleep(0.1)  # as a task in Starlette's background does
        done.append(await receive())
        done.append(await receive())

    await server.serve(app)
    assert [message["type"] for message in done] == ["http.request", "http.disconnect"]
    assert len(server.sent) == 3


async def test_a_file_that_the_server_sends_by_its_path_is_an_answer(server: Server) -> None:
    done = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": __file__})
        server.go()
        await asyncio.sleep(0.1)
        done.append(True)

    await server.serve(app)
    assert done == [True]


async def test_half_an_answer_stays_one_when_the_client_has_gone(server: Server) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        server.go()
        await asyncio.Event().wait()

    await server.serve(app)
    assert [message.get("status") for message in server.sent] == [200]


async def test_a_server_may_refuse_what_is_sent_to_a_client_that_has_gone(server: Server) -> None:
    server.go()
    server.lost = True
    await server.serve(forever)
    assert server.sent == []


async def test_middleware_that_wants_an_answer_gets_one_though_the_client_has_gone(server: Server) -> None:
    Starlette().available()
    from starlette.middleware.base import BaseHTTPMiddleware

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await Watched(receive, send).serve(forever, scope)

    async def pass_on(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    server.go()
    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await BaseHTTPMiddleware(app, pass_on)(scope, server.receive, server.send)
    assert server.sent[0]["status"] == 499


async def test_who_swallows_the_cancellation_may_end_as_it_likes(server: Server) -> None:
    server.go()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    await server.serve(app)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancellation_by_somebody_else_goes_on(server: Server) -> None:
    for both in (False, True):
        serving = asyncio.create_task(server.serve(forever))
        await asyncio.sleep(0.1)
        if both:
            server.go()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving


async def test_a_failure_goes_on(server: Server) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await server.serve(app)
