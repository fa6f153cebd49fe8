"""aiohttp: pools that live as long as the application, and are answered for.

from weirpool.integrations.aiohttp import background, install, pool_of

app = web.Application()
install(app, Pools(lambda: WorkerPool(max_workers=32)))

async def send(request):
    return background(pool_of(request), deliver, request.match_info["to"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVarTuple

from aiohttp import web

from weirpool import PoolError

from ._http import SubmitOptions, accepted, answer_to
from ._pools import DEFAULT, TWICE, OpenPools, Pools, checked_pools, of_app
from ._requests import BadDeadlineError, RequestTime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import Unpack

    from weirpool import WorkerPool

    from ._requests import RequestOptions

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

__all__ = ["background", "install", "pool_of", "pools_of"]

Ts = TypeVarTuple("Ts")


class _Place:
    """Where an application has its open pools: once it has started, its own state can't be changed."""

    opened: OpenPools | None = None


_PLACE: Final = web.AppKey("weirpool", _Place)


def install(app: web.Application, pools: Pools, **options: Unpack[RequestOptions]) -> None:
    """Give an application its pools, by a `cleanup_ctx` and a middleware.

    Call it after those `cleanup_ctx` whose things the jobs use, and before those that submit jobs: they are started in order,
    and stopped in the reverse order. A request that ends with an error of a pool is answered: 503 with `Retry-After` when it
    is full or closing, 504 when the job had no time left, as `application/problem+json`; a middleware that is added later, or
    a handler, may catch `PoolError`, or one of its kinds, before.

    Its subapplications have the same pools. `web.run_app(app, handler_cancellation=True)` cancels a handler whose client
    has gone, and with it the job that it awaits by `WorkerPool.run`.

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
    if app.frozen:
        raise RuntimeError("install() must be called before the application starts: where it is made")
    if _PLACE in app:
        raise RuntimeError(TWICE)
    place = app[_PLACE] = _Place()

    async def life(_: web.Application) -> AsyncIterator[None]:
        async with pools.open() as place.opened:
            yield
        place.opened = None

    app.cleanup_ctx.append(life)
    app.middlewares.append(_answering(time))


def pools_of(request: web.Request | web.Application) -> OpenPools:
    """Return the pools of the application that a request is for, or of the one that that is a part of.

    Args:
        request: a request; or the application itself, for what has none, such as a `cleanup_ctx`.

    Raises:
        RuntimeError: it has none.
    """
    place = request.get(_PLACE) if isinstance(request, web.Application) else request.config_dict.get(_PLACE)
    return of_app(place and place.opened)


def pool_of(request: web.Request | web.Application, name: str = DEFAULT) -> WorkerPool:
    """Return a pool of the application that a request is for; see `pools_of`.

    Raises:
        RuntimeError: the application has no pools.
        ValueError: it has none of this name.
    """
    return pools_of(request).pool(name)


def background(
    pool: WorkerPool, fn: Callable[[*Ts], Awaitable[object]], /, *args: *Ts, **options: Unpack[SubmitOptions]
) -> web.Response:
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
    """
    return web.json_response(accepted(pool, fn, args, options), status=202)


def _answering(time: RequestTime) -> Any:
    @web.middleware
    async def answering(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            with time.scope(request.headers.getall(time.header, []) if time.header else []):
                return await handler(request)
        except BadDeadlineError as error:
            answer = error.answer
        except PoolError as error:
            said = answer_to(error, f"{request.version.major}")
            if said is None or request.writer.output_size > 0:  # half of another answer has been sent
                raise
            answer = said
        response = web.Response(status=answer.status, headers=answer.headers, body=answer.body)
        if answer.closes:
            response.force_close()
        return response

    return answering
