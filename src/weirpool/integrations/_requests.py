"""How much time a request has, and what becomes of it when its client goes: settings of `install`, and an ASGI middleware."""

from __future__ import annotations

import asyncio
import re
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypedDict

from weirpool import deadline_scope

from ._budget import seconds
from ._disconnect import Watched
from ._http import Answer, problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence

    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Any, Any, Any], Awaitable[None]]

__all__ = [
    "ASGIOptions",
    "BadDeadlineError",
    "RequestOptions",
    "RequestTime",
    "ServingRequests",
    "refuse_nonsense",
    "send_answer",
    "serving",
]

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_LONGEST = 86_400.0


class RequestOptions(TypedDict, total=False):
    """How much time requests have; all in seconds.

    The jobs that a request submits never get more, queueing included, and `remaining()` says what is left, to pass on
    downstream. The handler is not interrupted. Jobs that `background` submits are none of its.

    Attributes:
        request_timeout: how long a request may take that does not say so itself; None: there is no limit, the default.
        deadline_header: the header by which a client may say how long it will wait, "Request-Timeout" for instance: a number
            of seconds, or of milliseconds if its name ends in "-ms", as Envoy's "x-envoy-expected-rq-timeout-ms" does. What is
            no such number is answered with 400. None: there is none, the default.
        max_request_timeout: what a client can ask for at most; asking for more gets this. By default `request_timeout`.
    """

    request_timeout: float | None
    deadline_header: str | None
    max_request_timeout: float | None


class ASGIOptions(RequestOptions, total=False):
    """What there is to say of requests; see `RequestOptions`.

    Attributes:
        cancel_on_disconnect: whether a handler is cancelled when its client goes before it has been answered, and with it the
            jobs that it awaits by `WorkerPool.run`; by default False. What must be done all the same belongs in a job of its
            own: `background`, or `submit`, whose jobs are not cancelled with those who await them.
    """

    cancel_on_disconnect: bool


class BadDeadlineError(Exception):
    """Say that a request has a deadline that makes no sense.

    Attributes:
        answer: what is answered.
    """

    def __init__(self, header: str) -> None:
        unit = "milliseconds" if header.lower().endswith("-ms") else "seconds"
        super().__init__(f"the header {header} must be one number of {unit}")
        self.answer: Answer = problem(400, "deadline", f"The header {header} must be one number of {unit}, such as 1.5.")


class RequestTime:
    """How much time requests have: the options, checked.

    Args:
        options: see `RequestOptions`.

    Raises:
        TypeError: an option is of the wrong kind, or there is no such option.
        ValueError: an option is out of its range.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        unknown = [name for name in options if name not in RequestOptions.__annotations__]
        if unknown:
            known = ", ".join(RequestOptions.__annotations__)
            said = f"install() has the options {known}, got {', '.join(map(repr, unknown))}"
            if unknown == ["cancel_on_disconnect"]:
                said += (
                    "; handlers whose client has gone are cancelled by Quart and Django in any case, and by aiohttp if "
                    "web.run_app() or AppRunner() is told so: handler_cancellation=True"
                )
            raise TypeError(said)
        self._usual = _above_0("request_timeout", options.get("request_timeout"))
        most = _above_0("max_request_timeout", options.get("max_request_timeout"))
        header = options.get("deadline_header")
        if header is not None and (type(header) is not str or not _HEADER.fullmatch(header)):
            kind = ValueError if type(header) is str else TypeError
            raise kind(f'deadline_header must be the name of a header, "Request-Timeout" for instance, got {header!r:.80}')
        if most is not None and header is None:
            raise ValueError(f"max_request_timeout must be None where no deadline_header is given, got {most!r}")
        if most is not None and self._usual is not None and most < self._usual:
            raise ValueError(f"max_request_timeout must be at least request_timeout ({self._usual!r} s), got {most!r}")
        self._most = most or self._usual or _LONGEST
        self.header: str | None = header

    def __bool__(self) -> bool:
        return self.header is not None or self._usual is not None

    def scope(self, values: Sequence[str]) -> AbstractContextManager[None]:
        """Return the block in which a request is served, with the values of its deadline header.

        Raises:
            BadDeadlineError: they are no number.
        """
        timeout = self._usual
        if values and self.header is not None:
            value = values[0].strip(" \t")
            if len(values) > 1 or not _SECONDS.fullmatch(value):
                raise BadDeadlineError(self.header)
            timeout = min(float(value) / (1000 if self.header.lower().endswith("-ms") else 1), self._most)
        if timeout is None:
            return nullcontext()
        return deadline_scope(asyncio.get_running_loop().time() + timeout)


class ServingRequests:
    """Wrap an ASGI application: hold its requests to their time, and cancel those whose client has gone.

    Args:
        app: an ASGI application.
        time: how much time requests have.
        cancel: whether a request is cancelled whose client has gone.
    """

    def __init__(self, app: App, *, time: RequestTime, cancel: bool) -> None:
        self._app = app
        self._time = time
        self._header = (time.header or "").lower().encode("latin-1")
        self._cancel = cancel

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; what else there is, is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            within = self._time.scope([value.decode("latin-1") for name, value in scope["headers"] if name == self._header])
        except BadDeadlineError as error:
            await send_answer(error.answer, scope, send)
            return
        with within:
            if self._cancel:
                await Watched(receive, send).serve(self._app, scope)
            else:
                await self._app(scope, receive, send)


def serving(app: App, options: Mapping[str, Any]) -> App:
    """Return an application that does what the options say, which is itself if they say nothing; see `ASGIOptions`."""
    rest = dict(options)
    cancel = rest.pop("cancel_on_disconnect", False)
    if type(cancel) is not bool:
        raise TypeError(f"cancel_on_disconnect must be True or False, got {cancel!r:.80}")
    time = RequestTime(rest)
    return ServingRequests(app, time=time, cancel=cancel) if cancel or time else app


def refuse_nonsense(options: Mapping[str, Any]) -> None:
    """Refuse options that make no sense, where there is no application yet that they are for; see `serving`."""
    serving(_nowhere, options)


async def send_answer(answer: Answer, scope: Scope, send: Send) -> None:
    """Answer a request over ASGI."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})


async def _nowhere(*_: Any) -> None: ...


def _above_0(name: str, value: object) -> float | None:
    if value is None:
        return None
    number = seconds(name, value)
    if not number:
        raise ValueError(f"{name} must be above 0, got {value!r:.80}")
    return number
