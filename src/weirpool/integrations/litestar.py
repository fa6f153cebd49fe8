"""Litestar: pools that live as long as the application, as dependencies of its handlers.

from weirpool.integrations.litestar import Pool, PoolsPlugin, background


@post("/mail/{to:str}")
async def send(to: FromPath[str], pool: Pool) -> Response[dict[str, object]]:
    return background(pool, deliver, to)


app = Litestar([send], plugins=[PoolsPlugin(Pools(lambda: WorkerPool(max_workers=32)))])
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVarTuple

from litestar import Litestar, Response
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.plugins import InitPlugin

from weirpool import PoolError, WorkerPool

from ._http import SubmitOptions, accepted, answer_to
from ._pools import DEFAULT, KEY, TWICE, OpenPools, Pools, checked_pools, of_app
from ._requests import ASGIOptions, refuse_nonsense, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import Unpack

    from litestar import Request
    from litestar.config.app import AppConfig

__all__ = ["Pool", "PoolsPlugin", "background", "pool_of", "pools_of"]

Ts = TypeVarTuple("Ts")

Pool: TypeAlias = NamedDependency[WorkerPool]
"""A pool, as a dependency: which, its parameter's name says."""


class PoolsPlugin(InitPlugin):
    """Give an application its pools.

    They are opened after the application's own `lifespan` managers have started, and closed before those end. Handlers ask for
    them by the name of a parameter: `pool: Pool` is the one without a name, and `mail_pool: Pool` the one that is called
    "mail". A request that ends with an error of a pool is answered: 503 with `Retry-After` when it is full or closing,
    504 when the job had no time left, as `application/problem+json`; an exception handler of your own for `PoolError`, or for
    one of its kinds, takes precedence.

    Args:
        pools: which pools it has.
        **options: what there is to say of requests; see `ASGIOptions`.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
    """

    def __init__(self, pools: Pools, **options: Unpack[ASGIOptions]) -> None:
        self._pools = checked_pools(pools)
        self._options = options
        refuse_nonsense(options)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add to an application's configuration what its pools need.

        Raises:
            RuntimeError: the application has another such plugin.
        """
        if any(isinstance(plugin, PoolsPlugin) and plugin is not self for plugin in app_config.plugins):
            raise RuntimeError(TWICE.replace("install() was called twice for", "PoolsPlugin was given twice to"))
        app_config.middleware.append(self._serving)
        app_config.lifespan.append(self._life)
        app_config.exception_handlers = {PoolError: _answer, **app_config.exception_handlers}
        for name in self._pools.names:
            app_config.dependencies.setdefault("pool" if name == DEFAULT else f"{name}_pool", Provide(_provider(name)))
        return app_config

    def _serving(self, app: Any) -> Any:
        return serving(app, self._options)

    @asynccontextmanager
    async def _life(self, app: Litestar) -> AsyncIterator[None]:
        async with self._pools.open() as opened:
            app.state[KEY] = opened
            yield
        del app.state[KEY]


def pools_of(app: Litestar) -> OpenPools:
    """Return the pools of an application.

    Raises:
        RuntimeError: it has none.
    """
    return of_app(app.state.get(KEY))


def pool_of(app: Litestar, name: str = DEFAULT) -> WorkerPool:
    """Return a pool of an application.

    Raises:
        RuntimeError: the application has no pools.
        ValueError: it has none of this name.
    """
    return pools_of(app).pool(name)


def background(
    pool: WorkerPool, fn: Callable[[*Ts], Awaitable[object]], /, *args: *Ts, **options: Unpack[SubmitOptions]
) -> Response[dict[str, Any]]:
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
    return Response(accepted(pool, fn, args, options), status_code=202)


def _provider(name: str) -> Callable[[State], Awaitable[WorkerPool]]:
    async def provide(state: State) -> WorkerPool:
        return of_app(state.get(KEY)).pool(name)

    provide.__annotations__ = {"state": State, "return": WorkerPool}  # Litestar resolves them, and not from here
    return provide


def _answer(request: Request[Any, Any, Any], error: PoolError) -> Response[bytes]:
    answer = answer_to(error, request.scope.get("http_version", "1.1"))
    if answer is None:
        raise error
    headers = dict(answer.headers)
    return Response(answer.body, status_code=answer.status, media_type=headers.pop("content-type"), headers=headers)
