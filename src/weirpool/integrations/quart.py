"""Quart: pools that live as long as the application, and are answered for.

from weirpool.integrations.quart import background, current_pool, install

app = Quart(__name__)
install(app, Pools(lambda: WorkerPool(max_workers=32)))

@app.post("/mail/<to>")
async def send(to):
    return background(current_pool(), deliver, to)
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVarTuple

from quart import Response, current_app, has_request_context, request

from weirpool import PoolError

from ._http import SubmitOptions, accepted, answer_to
from ._pools import DEFAULT, KEY, TWICE, OpenPools, Pools, checked_pools, of_app
from ._requests import RequestTime, ServingRequests

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Unpack

    from quart import Quart

    from weirpool import WorkerPool

    from ._requests import RequestOptions

__all__ = ["background", "current_pool", "current_pools", "install"]

Ts = TypeVarTuple("Ts")


def install(app: Quart, pools: Pools, **options: Unpack[RequestOptions]) -> None:
    """Give an application its pools, by `while_serving` and an error handler.

    Call it after those `while_serving` whose things the jobs use, and before those that submit jobs: they are started in
    order, and stopped in the reverse order. A request that ends with an error of a pool is answered: 503 with `Retry-After`
    when it is full or closing, 504 when the job had no time left, as `application/problem+json`; an error handler of your own
    for `PoolError`, or for one of its kinds, takes precedence.

    Quart cancels a handler whose client has gone, and with it the job that it awaits by `WorkerPool.run`.

    Args:
        app: an application that has not started.
        pools: which pools it has.
        **options: what there is to say of requests; see `RequestOptions`.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
        RuntimeError: the application has started, or this was done before.
    """
    checked_pools(pools)
    time = RequestTime(options)
    if KEY in app.extensions:
        raise RuntimeError(TWICE)
    if hasattr(app, "shutdown_event") and not app.shutdown_event.is_set():
        raise RuntimeError("install() must be called before the application starts: where it is made")
    app.extensions[KEY] = None

    if time:
        app.asgi_app = ServingRequests(app.asgi_app, time=time, cancel=False)  # type: ignore[assignment]  # as Quart says
    app.while_serving(lambda: _Life(app, pools))  # type: ignore[type-var]  # all that it needs is __anext__
    if PoolError not in app.error_handler_spec[None][None]:
        app.register_error_handler(PoolError, _answer)


def current_pools() -> OpenPools:
    """Return the pools of the application that is at work here, Quart's `current_app`.

    Raises:
        RuntimeError: it has none.
    """
    return of_app(current_app.extensions.get(KEY))


def current_pool(name: str = DEFAULT) -> WorkerPool:
    """Return a pool of the application that is at work here, Quart's `current_app`.

    Raises:
        RuntimeError: the application has no pools.
        ValueError: it has none of this name.
    """
    return current_pools().pool(name)


def background(
    pool: WorkerPool, fn: Callable[[*Ts], Awaitable[object]], /, *args: *Ts, **options: Unpack[SubmitOptions]
) -> Response:
    """Submit a job that outlives its request, and return the answer: 202, with the job's number and its pool's name.

    When the pool is full, `PoolOverloaded` is raised instead, and the client told to try again; the request's deadline is
    not the job's.

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
    return Response(json.dumps(accepted(pool, fn, args, options)), 202, content_type="application/json")


class _Life:
    """Open the pools at the first step and close them at the second, as a `while_serving` generator does; any number of times.

    A generator would serve for one life only, and tests start an application again and again. Nor does the number of
    steps say which this is: of a start that has failed there may be no second one, or it is the first.
    """

    def __init__(self, app: Quart, pools: Pools) -> None:
        self._app = app
        self._pools = pools

    async def __anext__(self) -> None:
        if not self._app.shutdown_event.is_set():
            self._app.extensions[KEY] = await self._pools.open().__aenter__()
            return
        opened = self._app.extensions[KEY]
        if opened is not None:  # else they could not be opened
            try:
                await opened.__aexit__(None, None, None)
            finally:
                self._app.extensions[KEY] = None
        raise StopAsyncIteration


async def _answer(error: PoolError) -> Response:
    answer = answer_to(error, request.http_version) if has_request_context() else None  # else it is a websocket
    if answer is None:
        raise error
    return Response(answer.body, answer.status, answer.headers)
