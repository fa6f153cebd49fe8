"""A server and a client in one, for ASGI applications: in the test's own event loop, so that the test may look inside."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Reply:
    """What has been answered.

    Attributes:
        error: what the application has raised at its server.
    """

    def __init__(self, status: int, headers: dict[str, str], body: bytes, error: BaseException | None = None) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.body = body
        self.error = error

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One request to an application, which the client may end before it is answered."""

    def __init__(self, body: tuple[bytes, ...]) -> None:
        self._body = list(body)
        self._gone = asyncio.Event()
        self.sent: list[Any] = []

    def disconnect(self) -> None:
        """Go."""
        self._gone.set()

    async def receive(self) -> Any:
        if self._body:
            part = self._body.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self._body)}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._gone.set()  # as servers do

    def reply(self, error: BaseException | None) -> Reply:
        if not self.sent:
            return Reply(0, {}, b"", error)
        start, *bodies = self.sent
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return Reply(start["status"], headers, b"".join(message.get("body", b"") for message in bodies), error)


class AsgiClient:
    """Ask an ASGI application that is being served."""

    def __init__(self, app: Any, state: dict[str, Any] | None) -> None:
        self.app = app
        self.state = state

    async def ask(
        self,
        path: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: tuple[bytes, ...] = (b"",),
        connection: Connection | None = None,
        version: str = "1.1",
    ) -> Reply:
        """Make a request, and return what is answered."""
        connection = connection or Connection(body)
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"here"), *((k.lower().encode(), v.encode()) for k, v in (headers or {}).items())],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        if self.state is not None:
            scope["state"] = dict(self.state)
        error = None
        try:
            await self.app(scope, connection.receive, connection.send)
        except Exception as raised:
            error = raised
        return connection.reply(error)


class StartFailedError(Exception):
    """Say that the application did not start."""


@asynccontextmanager
async def served(app: Any, *, state: bool = True) -> AsyncIterator[AsgiClient]:
    """Serve an ASGI application; `state` is whether the server has one for the lifespan."""
    told: asyncio.Queue[Any] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    scope: dict[str, Any] = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
    if state:
        scope["state"] = {}
    life = asyncio.ensure_future(app(scope, told.get, said.put))
    life.add_done_callback(lambda _: said.put_nowait({"type": "end"}))
    told.put_nowait({"type": "lifespan.startup"})
    answer = await said.get()
    if answer["type"] != "lifespan.startup.complete":
        told.put_nowait({"type": "lifespan.shutdown"})  # as some servers do even then
        await asyncio.wait([life])
        raise StartFailedError(answer) from life.exception()
    try:
        yield AsgiClient(app, scope.get("state"))
    finally:
        told.put_nowait({"type": "lifespan.shutdown"})
        answer = await said.get()
        await life
    assert answer["type"] == "lifespan.shutdown.complete", answer
