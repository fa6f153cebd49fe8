"""What all ASGI applications have in common: pools that open after the application has started and close before it stops."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from weirpool import PoolError

from ._http import answer_to
from ._pools import KEY, OpenPools, Pools
from ._requests import send_answer, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._requests import App, Message, Receive, Scope, Send

__all__ = ["WithPools"]


class WithPools:
    """Wrap an ASGI application: its pools, and what is answered when they say no.

    Args:
        app: an ASGI application, which may or may not take part in the lifespan protocol.
        pools: which pools it has.
        options: see `ASGIOptions`.
        check: called before the pools are opened, to refuse what makes no sense.
    """

    def __init__(self, app: App, pools: Pools, options: Mapping[str, Any], check: Callable[[], None] = lambda: None) -> None:
        self._app = serving(app, options)
        self._pools = pools
        self._check = check
        self._opened: OpenPools | None = None  # for servers and test clients that have no state for the lifespan

    def open(self) -> OpenPools:
        """Return fresh pools."""
        self._check()
        return self._pools.open()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the application."""
        if scope["type"] == "lifespan":
            await _Life(self, scope, receive, send).run()
        else:
            await self._request(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope.setdefault("state", {})
        if self._opened is not None:
            state.setdefault(KEY, self._opened)
        begun = False

        async def note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, note)
        except PoolError as error:
            answer = None if begun or scope["type"] != "http" else answer_to(error, scope.get("http_version", "1.1"))
            if answer is None:
                raise
            await send_answer(answer, scope, send)


class _Life:
    """Go between a server and an application while that starts and stops."""

    def __init__(self, owner: WithPools, scope: Scope, receive: Receive, send: Send) -> None:
        self._owner = owner
        self._scope = scope
        self._receive_from_server = receive
        self._send_to_server = send
        self._asked = self._answered = False
        self._stack = AsyncExitStack()

    async def run(self) -> None:
        """Run the application's own lifespan, if it has one, and the pools inside of it."""
        async with self._stack:  # left by an exception: the server has cancelled this, for instance
            try:
                await self._between()
            except Exception as error:
                if not self._answered:  # or the server would take it for an application without a lifespan, and serve it
                    await self._send({"type": "lifespan.startup.failed", "message": repr(error)})
                raise

    async def _between(self) -> None:
        try:
            await self._owner._app(self._scope, self._receive, self._send)  # noqa: SLF001
        except Exception:
            if self._asked:
                raise
        if self._asked:
            return
        # As the specification has it, who raises instead of asking has no lifespan; Django, for instance.
        await self._receive()
        await self._send({"type": "lifespan.startup.complete"})
        await self._receive()
        await self._send({"type": "lifespan.shutdown.complete"})

    async def _receive(self) -> Message:
        self._asked = True
        try:
            message = await self._receive_from_server()
        except BaseException as error:
            # Cancelled, as gunicorn's worker does it on Ctrl-C. The application must not be the first to hear of that: it
            # would let go of what its jobs use while they clean up.
            await self._stack.__aexit__(type(error), error, error.__traceback__)
            raise
        if message["type"] == "lifespan.shutdown":
            await self._stack.aclose()
        return message

    async def _send(self, message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            await self._open()
        self._answered = True
        await self._send_to_server(message)

    async def _open(self) -> None:
        self._stack.callback(self._forget)  # when they are closed: until then, requests are told that they close
        opened = await self._stack.enter_async_context(self._owner.open())
        self._owner._opened = opened  # noqa: SLF001
        self._scope.get("state", {})[KEY] = opened

    def _forget(self) -> None:
        self._owner._opened = None  # noqa: SLF001
        self._scope.get("state", {}).pop(KEY, None)
