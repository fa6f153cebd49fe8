"""The page: what is answered to which request, over ASGI and in aiohttp."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import math
import re
from collections.abc import Iterable
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from weirpool import WorkerPool

from .._pools import OpenPools, Pools
from ._controls import ACTIONS, LONGEST_BODY, Refused, act, check_origin
from ._numbers import brief, numbers, readiness

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping

    from aiohttp import web

__all__ = ["StatusPage"]

# A server that goes waits for the responses that are under way (Hypercorn for 3 s). An endless one would keep it from going;
# when one has ended, the browser asks for the next by itself.
_STREAM = 2.5  # seconds
_FRESH = 0.5

_NOTHING: tuple[float, dict[str, Any], bytes] = (-math.inf, {}, b"")
_JSON = "application/json"
_ALWAYS = {"cache-control": "no-store", "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


class _Answer(NamedTuple):
    """A response; without a body it is a stream of events."""

    status: int
    kind: str
    body: bytes | None
    more: Mapping[str, str] = {}

    @property
    def headers(self) -> dict[str, str]:
        """Its headers."""
        return {"content-type": self.kind, **_ALWAYS, **self.more}


class StatusPage:
    """Show what pools are doing on a page, and as JSON.

    An ASGI application, to be mounted under a path of a service, and a handler for aiohttp. It is never served by itself, and
    whoever may see it is told the names of jobs and the messages of exceptions: mount it behind your own authentication. It
    keeps the pools that it is given alive. Under its path:

    - `/`: the page, or JSON for whoever accepts that rather than HTML, or asks for `?format=json`;
    - `/events`: the same JSON as server-sent events, one each `interval`;
    - `/ready`: 200 if all pools accept jobs, else 503;
    - `/live`: 200;
    - `/pause`, `/resume`, `/resize`, `/cancel`: what the buttons of the page do.

    Args:
        pools: what to show: a pool, several, or a function that returns them, called each time, for pools that are made later.
            Or the `Pools` of an application: whichever of them are open, and `/ready` is 503 from when it is about to stop.
        controls: whether the page has buttons to pause, resume and resize a pool and to cancel a job.
        interval: how often the page is told of changes, in seconds.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        pools: WorkerPool | Pools | Iterable[WorkerPool] | Callable[[], Iterable[WorkerPool]],
        *,
        controls: bool = False,
        interval: float = 1.0,
    ) -> None:
        if type(controls) is not bool:
            raise TypeError(f"controls must be True or False, got {controls!r:.80}")
        if type(interval) not in (int, float):
            raise TypeError(f"interval must be a number of seconds, got {interval!r:.80}")
        if not 0.05 <= interval <= 60:
            raise ValueError(f"interval must be from 0.05 to 60 seconds, got {interval!r:.80}")
        self._pools = _returning(pools)
        self._ready = pools if isinstance(pools, (Pools, OpenPools)) else None
        self._controls = controls
        self._interval = float(interval)
        self._html, self._policy = _document(controls=controls)
        self._said = _NOTHING

    # What is answered -------------------------------------------------------------------------------------------------------

    async def _answer(
        self, method: str, path: str, query: str, headers: Mapping[str, str], read: Callable[[], Awaitable[bytes]]
    ) -> _Answer:
        name = path.strip("/")
        try:
            if name in ACTIONS:
                return await self._act(method, name, headers, read)
            if name not in {"", "events", "ready", "live"}:
                return _said(404, {"error": "there is no such page"})
            if method not in {"GET", "HEAD"}:
                return _said(405, {"error": "only GET and HEAD are allowed here"}, allow="GET, HEAD")
            return self._show(name, query, headers)
        except Refused as refusal:
            return _said(refusal.status, {"error": str(refusal)})

    def _show(self, name: str, query: str, headers: Mapping[str, str]) -> _Answer:
        if name == "events":
            self._now()  # if that raises, it should before the response has begun
            return _Answer(200, "text/event-stream", None, {"x-accel-buffering": "no"})
        if name == "live":
            return _said(200, {"live": True})
        if name == "ready":
            ready, states = readiness(self._pools())
            if self._ready is not None:
                ready = self._ready.ready
            return _said(200 if ready else 503, {"ready": ready, "pools": states})
        if "format=json" in query.split("&") or _prefers_json(headers.get("accept", "")):
            return _Answer(200, _JSON, _dumped(self._now()[0]), {"vary": "accept"})
        return _Answer(
            200,
            "text/html; charset=utf-8",
            self._html,
            {"content-security-policy": self._policy, "x-frame-options": "DENY", "vary": "accept"},
        )

    async def _act(self, method: str, name: str, headers: Mapping[str, str], read: Callable[[], Awaitable[bytes]]) -> _Answer:
        if method != "POST":
            return _said(405, {"error": "only POST is allowed here"}, allow="POST")
        if not self._controls:
            raise Refused(403, "the controls are off: StatusPage(..., controls=True)")
        check_origin(headers)
        done = await act(name, await read(), self._pools())
        self._said = _NOTHING  # what everybody sees next has the change in it
        return _said(200, {"done": done})

    def _now(self) -> tuple[dict[str, Any], bytes]:
        """Return the numbers of this moment, and as an event, or those that somebody else has been told just before."""
        at, said, event = self._said
        now = asyncio.get_running_loop().time()
        if now - at >= min(self._interval / 2, _FRESH):
            said = numbers(self._pools()) | {"interval": self._interval}
            event = b"data: " + _dumped(brief(said)) + b"\n\n"
            self._said = (now, said, event)
        return said, event

    async def _events(self, wait: Callable[[float], Awaitable[bool]]) -> AsyncIterator[bytes]:
        """Yield an event each interval, for some seconds; `wait` says whether somebody still listens."""
        yield f"retry: {self._interval * 1000:.0f}\n\n".encode()  # milliseconds: the next stream goes on where this one ends
        loop = asyncio.get_running_loop()
        ends = loop.time() + _STREAM
        while True:
            yield self._now()[1]
            if loop.time() + self._interval > ends or not await wait(self._interval):
                return

    # ASGI -------------------------------------------------------------------------------------------------------------------

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer one request over ASGI."""
        if scope["type"] == "lifespan":  # served by itself
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        path, root = scope["path"], scope.get("root_path", "").rstrip("/")
        if f"{path}/".startswith(f"{root}/"):
            path = path[len(root) :]
        query = scope.get("query_string", b"").decode("latin-1")
        if not path:  # else the page's own links would lead to somewhere else
            here = quote(root.rpartition("/")[2]) + "/" + (query and f"?{query}")
            answer = _said(307, {"error": "the page is at this address with a slash at its end"}, location=here)
        else:
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            answer = await self._answer(scope["method"], path, query, headers, lambda: _read(receive))
        named = answer.headers
        if answer.body is not None:
            named["content-length"] = str(len(answer.body))
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()],
            }
        )
        if answer.body is not None:
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})
            return
        if scope["method"] != "HEAD":
            await self._stream(receive, send)
        await send({"type": "http.response.body", "body": b""})

    async def _stream(
        self,
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        watch = asyncio.ensure_future(gone())

        async def wait(seconds: float) -> bool:
            await asyncio.wait({watch}, timeout=seconds)
            return not watch.done()

        try:
            async for event in self._events(wait):
                await send({"type": "http.response.body", "body": event, "more_body": True})
        finally:
            watch.cancel()

    # aiohttp ----------------------------------------------------------------------------------------------------------------

    async def aiohttp(self, request: web.Request) -> web.StreamResponse:
        """Answer one request in aiohttp, as the handler of a route "/any/path/{tail:.*}" for all methods.

        Raises:
            RuntimeError: the route has no `{tail:.*}`.
        """
        from aiohttp import web  # noqa: PLC0415  # whoever has such a request has it

        tail = request.match_info.get("tail")
        if tail is None:
            raise RuntimeError('the route of StatusPage.aiohttp must end in "/{tail:.*}", for all methods ("*")')
        headers = {name.lower(): value for name, value in request.headers.items()}

        async def read() -> bytes:
            return await _limited(request.content.iter_any())

        answer = await self._answer(request.method, tail, request.query_string, headers, read)
        if answer.body is not None:
            return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        await response.prepare(request)

        async def wait(seconds: float) -> bool:
            await asyncio.sleep(seconds)
            return request.transport is not None and not request.transport.is_closing()

        if request.method != "HEAD":
            async for event in self._events(wait):
                await response.write(event)
        return response


def _returning(pools: Any) -> Callable[[], tuple[WorkerPool, ...]]:
    if callable(pools) and not isinstance(pools, WorkerPool):
        return lambda: _checked(pools())
    if isinstance(pools, Pools):
        return lambda: tuple(pools)
    kept = _checked(pools)
    return lambda: kept


def _checked(pools: Any) -> tuple[WorkerPool, ...]:
    kept = (pools,) if isinstance(pools, WorkerPool) or not isinstance(pools, Iterable) else tuple(pools)
    for pool in kept:
        if not isinstance(pool, WorkerPool):
            raise TypeError(f"pools must be pools, or a function that returns them, got {pool!r:.80}")
    return kept


def _document(*, controls: bool) -> tuple[bytes, str]:
    """Return the page and its content security policy, which allows the page's own style and script by what is in them."""
    template = files("weirpool.integrations.status").joinpath("page.html").read_text(encoding="utf-8")
    html = template.replace("{controls}", "on" if controls else "off")

    def digest(tag: str) -> str:
        content = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)[0]
        return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()

    policy = (
        f"default-src 'none'; style-src 'sha256-{digest('style')}'; script-src 'sha256-{digest('script')}'; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html.encode(), policy


def _prefers_json(accept: str) -> bool:
    weights: dict[str, float] = {}
    for entry in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        quality = next((parameter[2:] for parameter in parameters if re.fullmatch(r"q=[01](\.\d*)?", parameter)), "1")
        weights.setdefault(kind, float(quality))  # RFC 9110, 12.4.2
    kinds = sorted((kind for kind in weights if kind in (_JSON, "text/html")), key=lambda kind: -weights[kind])
    return bool(kinds) and kinds[0] == _JSON and weights[_JSON] > 0


def _dumped(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _said(status: int, value: object, **headers: str) -> _Answer:
    return _Answer(status, _JSON, _dumped(value), headers)


async def _lifespan(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]], send: Callable[[MutableMapping[str, Any]], Awaitable[None]]
) -> None:
    for event in ("lifespan.startup", "lifespan.shutdown"):
        while (await receive())["type"] != event:
            pass
        await send({"type": f"{event}.complete"})


async def _read(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> bytes:
    async def chunks() -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "the body is not complete")
            yield message.get("body", b"")
            more = message.get("more_body", False)

    return await _limited(chunks())


async def _limited(chunks: AsyncIterator[bytes]) -> bytes:
    body = b""
    async for chunk in chunks:
        body += chunk
        if len(body) > LONGEST_BODY:
            raise Refused(413, f"the body must be of {LONGEST_BODY} bytes at most")
    return body
