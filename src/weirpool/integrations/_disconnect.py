"""A request whose client may go: who serves it is cancelled then."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]

__all__ = ["Watched"]

_GONE = {"type": "http.disconnect"}


class Watched:
    """Stand between a server and an application, and read ahead of it, to hear when the client goes.

    An application hears of that only if it asks, which one that waits for a job does not. A part of the body is read ahead,
    and no more: a client that sends faster than the application reads is held up as ever, and not watched meanwhile.

    Args:
        receive: the server's.
        send: the server's.
    """

    def __init__(self, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
        self._receive = receive
        self._send = send
        self._messages: asyncio.Queue[Message] = asyncio.Queue(1)
        self._begun = self._answered = False
        self._gone = False
        self._cancelled = False

    async def serve(self, app: Callable[[Any, Any, Any], Awaitable[None]], scope: MutableMapping[str, Any]) -> None:
        """Have the application serve the request; return when it has, or when it has been cancelled for want of a client."""
        task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        watch = asyncio.ensure_future(self._watch(task))
        try:
            await app(scope, self.receive, self.send)
        except asyncio.CancelledError:
            if not self._cancelled or task.cancelling() > before + 1:  # somebody else has cancelled this, too
                raise
        finally:
            watch.cancel()
            if self._cancelled:
                task.uncancel()
        if self._cancelled and not self._begun:
            # Nobody reads it. But a middleware may be around this that takes no answer for a failure: Starlette's
            # BaseHTTPMiddleware, which `@app.middleware("http")` is.
            with suppress(OSError):  # which servers may raise: the client has gone
                await self._send({"type": "http.response.start", "status": 499, "headers": []})
                await self._send({"type": "http.response.body", "body": b""})

    async def _watch(self, task: asyncio.Task[Any]) -> None:
        while True:
            try:
                message = await self._receive()
            except Exception:  # of a server that has lost the connection
                message = dict(_GONE)
            if message["type"] == "http.disconnect":
                break
            await self._messages.put(message)
        self._gone = True
        if self._messages.empty():
            self._messages.put_nowait(message)  # for whoever waits for one
        if not self._answered:
            self._cancelled = True
            task.cancel("the client has gone")

    async def receive(self) -> Message:
        """Return what the server has received."""
        if self._gone and self._messages.empty():
            return dict(_GONE)
        return await self._messages.get()

    async def send(self, message: Message) -> None:
        """Send something to the client; after the end of the answer, the client may go."""
        self._begun = True
        kind = message["type"]
        if (kind == "http.response.body" and not message.get("more_body", False)) or kind == "http.response.pathsend":
            self._answered = True
        await self._send(message)
