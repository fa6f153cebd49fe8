"""What is answered over HTTP: to a submission that was accepted, and to what the pool says no to (RFC 9457)."""

from __future__ import annotations

import json
import math
import random
from asyncio import _get_running_loop as running_loop  # which does not raise where none runs
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from weirpool import JobCancelled, JobTimeout, PoolClosed, PoolError, PoolOverloaded, deadline_scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from weirpool import WorkerPool
    from weirpool.policies import Retry

__all__ = ["Answer", "SubmitOptions", "accepted", "answer_to", "problem"]

PROBLEM = "application/problem+json"


class SubmitOptions(TypedDict, total=False):
    """The options of `WorkerPool.submit_nowait`, which says what they are."""

    timeout: float | None
    deadline: float | None
    name: str | None
    priority: int
    key: str | int | bytes | UUID | tuple[object, ...] | None
    coalesce: bool
    retry: Retry | None


class Answer(NamedTuple):
    """A response, before it is a framework's.

    Attributes:
        status: 503, for instance.
        headers: among them its content type.
        body: JSON.
        closes: whether the connection should be closed, where that is HTTP/1.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    closes: bool = False

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as ASGI has them, with the length."""
        named = {**self.headers, "content-length": str(len(self.body))}
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]


def answer_to(error: PoolError, http_version: str) -> Answer | None:
    """Return what is answered when a request ends with an error of a pool; None: it is not for the client to know.

    Full: 503 and when to try again. Closing: the same, and the next request should go to another process. No time left: 504.
    """
    closes = http_version.startswith("1")  # HTTP/2 has no such header, and forbids it (RFC 9113, 8.2.2)
    if isinstance(error, PoolOverloaded):
        detail = "The service has as much to do as it can take. Try again later."
        return problem(503, "overloaded", detail, retry_after=error.retry_after)
    if isinstance(error, PoolClosed) or (isinstance(error, JobCancelled) and error.reason == "shutdown"):
        return problem(
            503, "closing", "This instance of the service is shutting down. Try again.", retry_after=1, closes=closes
        )
    if isinstance(error, JobTimeout):
        return problem(504, "timeout", "The work did not end in the time that it had.")
    return None


def problem(status: int, reason: str, detail: str, *, retry_after: int | None = None, closes: bool = False) -> Answer:
    """Return a problem as RFC 9457 has it; `reason` is an extension, which a program can tell problems by."""
    headers = {"content-type": PROBLEM, "cache-control": "no-store"}
    if retry_after is not None:
        # All who are refused in one second should not be back in one second.
        headers["retry-after"] = str(random.randint(retry_after, retry_after + math.ceil(retry_after / 2)))  # noqa: S311
    if closes:
        headers["connection"] = "close"
    said = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, "reason": reason}
    return Answer(status, headers, json.dumps(said).encode(), closes)


def accepted(
    pool: WorkerPool, fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...], options: SubmitOptions
) -> dict[str, Any]:
    """Submit a job that outlives its request, and return what is answered with status 202."""
    if running_loop() is None:
        raise RuntimeError(
            "background() must be called on the event loop, by a handler that is an async function; "
            "one that is a plain def runs in a thread, where pool.from_thread.submit() is for"
        )
    with deadline_scope(None):  # the request's deadline is not the job's
        handle = pool.submit_nowait(fn, *args, **options)
    return {"job": handle.id, "pool": pool.name}
