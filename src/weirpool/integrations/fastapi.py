"""FastAPI: pools that live as long as the application, as dependencies of its endpoints.

from weirpool.integrations.fastapi import Pool, background, install, pool_named

app = FastAPI(lifespan=...)
install(app, Pools(lambda: WorkerPool(max_workers=32), mail=lambda: WorkerPool(name="mail")))
Mail = Annotated[WorkerPool, Depends(pool_named("mail"))]

@app.post("/mail/{to}")
async def send(to: str, pool: Pool): ...
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from fastapi import Depends
from fastapi.requests import HTTPConnection  # noqa: TC002  # FastAPI resolves annotations

from weirpool import WorkerPool

from ._pools import DEFAULT, OpenPools
from .starlette import background, install_checked, pool_of, pools_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator
    from typing import Unpack

    from fastapi import FastAPI
    from fastapi.dependencies.models import Dependant

    from ._pools import Pools
    from ._requests import ASGIOptions

__all__ = ["AppPools", "Pool", "background", "install", "pool_named"]


@dataclass(frozen=True)
class _Named:
    """A dependency: the application's pool of this name. Equal to its like, for `dependency_overrides`."""

    name: str

    async def __call__(self, connection: HTTPConnection) -> WorkerPool:
        return pool_of(connection, self.name)


def install(app: FastAPI, pools: Pools, **options: Unpack[ASGIOptions]) -> None:
    """Give an application its pools.

    They are opened after the application's own lifespan has started and closed before it ends, so that jobs may use what
    that holds. A request that ends with an error of a pool is answered: 503 with `Retry-After` when it is full or closing, 504
    when the job had no time left, as `application/problem+json`; an exception handler of your own for `PoolError`, or for one
    of its kinds, takes precedence. An endpoint that asks for a pool that there is not keeps the application from starting.

    An application that is mounted in another needs this, too, if its endpoints are to be answered for; the pools are those of
    the outermost, as that is the only one whose lifespan runs.

    Args:
        app: an application that has not started.
        pools: which pools it has.
        **options: what there is to say of requests; see `ASGIOptions`.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
        RuntimeError: the application has started, or this was done before.
    """

    def check() -> None:
        for name in _asked_for(app.routes):
            pools.check(name)

    install_checked(app, pools, options, check)


def pool_named(name: str = DEFAULT) -> Callable[[HTTPConnection], Awaitable[WorkerPool]]:
    """Return a dependency: the application's pool of this name, as in `Annotated[WorkerPool, Depends(pool_named("mail"))]`.

    It is equal to any other of this name, so that tests can replace it: `app.dependency_overrides[pool_named("mail")] = ...`.
    That of `Pool` is `pool_named()`.
    """
    return _Named(name)


def _asked_for(routes: Iterable[Any]) -> Iterator[str]:
    """Yield the names of the pools that endpoints depend on, as far as FastAPI shows them before a request."""
    for route in routes:
        if (router := getattr(route, "original_router", None)) is not None:  # of one that was included, from 0.137 on
            yield from _asked_for(router.routes)
        if (dependant := getattr(route, "dependant", None)) is not None:
            yield from _depended_on(dependant)


def _depended_on(dependant: Dependant) -> Iterator[str]:
    for needed in dependant.dependencies:
        if isinstance(needed.call, _Named):
            yield needed.call.name
        yield from _depended_on(needed)


async def _pools(connection: HTTPConnection) -> OpenPools:
    return pools_of(connection)


Pool: TypeAlias = Annotated[WorkerPool, Depends(pool_named(DEFAULT))]
"""The application's pool that has no name, as a dependency."""

AppPools: TypeAlias = Annotated[OpenPools, Depends(_pools)]
"""All pools of the application, as a dependency: to `leave`, for instance."""
