"""Starlette: pools that live as long as the application, and are answered for.

from weirpool.integrations.starlette import background, install, pool_of

app = Starlette(routes=[...], lifespan=...)
install(app, Pools(lambda: WorkerPool(max_workers=32)))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVarTuple

from starlette.responses import JSONResponse, Response

from weirpool import PoolError

from ._asgi import WithPools
from ._http import SubmitOptions, accepted, answer_to
from ._pools import DEFAULT, KEY, TWICE, OpenPools, Pools, checked_pools, of_app
from ._requests import ASGIOptions, refuse_nonsense

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Unpack

    from starlette.applications import Starlette
    from starlette.requests import HTTPConnection

    from weirpool import WorkerPool

__all__ = ["background", "install", "pool_of", "pools_of"]

Ts = TypeVarTuple("Ts")


def install(app: Starlette, pools: Pools, **options: Unpack[ASGIOptions]) -> None:
    """Give an application its pools.

    They are opened after the application's own lifespan has started and closed before it ends, so that jobs may use what
    that holds. A request that ends with an error of a pool is answered: 503 with `Retry-After` when it is full or closing, 504
    when the job had no time left, as `application/problem+json`; an exception handler of your own for `PoolError`, or for one
    of its kinds, takes precedence.

    An application that is mounted in another needs this, too, if its handlers are to be answered for; the pools are those of
    the outermost, as that is the only one whose lifespan runs.

    Args:
        app: a Starlette or FastAPI application that has not started.
        pools: which pools it has.
        **options: what there is to say of requests; see `ASGIOptions`.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
        RuntimeError: the application has started, or this was done before.
    """
    install_checked(app, pools, options)


def pools_of(request: HTTPConnection) -> OpenPools:
    """Return the pools of the application that a request, or a websocket, is for.

    Raises:
        RuntimeError: it has none.
    """
    return of_app(request.scope.get("state", {}).get(KEY))


def pool_of(request: HTTPConnection, name: str = DEFAULT) -> WorkerPool:
    """Return a pool of the application that a request, or a websocket, is for.

    Raises:
        RuntimeError: the application has no pools.
        ValueError: it has none of this name.
    """
    return pools_of(request).pool(name)


def background(
    pool: WorkerPool, fn: Callable[[*Ts], Awaitable[object]], /, *args: *Ts, **options: Unpack[SubmitOptions]
) -> JSONResponse:
    """Submit a job that outlives its request, and return the answer: 202, with the job's number and its pool's name.

    What Starlette's `BackgroundTask` does without a bound. When the pool is full, `PoolOverloaded` is raised instead, and the
    client told to try again; the request's deadline is not the job's.

    Args:
        pool: the pool.
        fn: an async function.
        *args: its arguments.
        **options: of `WorkerPool.submit_nowait`.

    Raises:
        PoolOverloaded: there is no room.
        PoolClosed: the pool is closing or closed.
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
        RuntimeError: called from another thread, as by a handler that is a plain `def`.
    """
    return JSONResponse(accepted(pool, fn, args, options), 202)


def install_checked(
    app: Starlette, pools: Pools, options: Mapping[str, Any], check: Callable[[], None] = lambda: None
) -> None:
    """Do what `install` does, and have something checked when the application starts."""
    checked_pools(pools)
    refuse_nonsense(options)  # here, and not when the application starts
    if app.middleware_stack is not None:
        raise RuntimeError("install() must be called before the application starts: where it is made")
    installed: list[object] = [middleware.cls for middleware in app.user_middleware]
    if WithPools in installed:
        raise RuntimeError(TWICE)
    app.add_middleware(WithPools, pools=pools, options=options, check=check)
    app.exception_handlers.setdefault(PoolError, _answer)


async def _answer(connection: HTTPConnection, error: Exception) -> Response:
    answer = None
    if isinstance(error, PoolError) and connection.scope["type"] == "http":
        answer = answer_to(error, connection.scope.get("http_version", "1.1"))
    if answer is None:
        raise error
    return Response(answer.body, answer.status, answer.headers)
