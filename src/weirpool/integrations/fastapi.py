"""FastAPI: pools that live as long as the application, as dependencies of its endpoints.

from weirpool.integrations.fastapi import Pool, background, install, pool_named

app = FastAPI(lifespan=...)
install(app, Pools(lambda: WorkerPool(max_workers=32), mail=lambda: WorkerPool(name="mail")))
Mail = Annotated[WorkerPool, Depends(pool_named("mail"))]

@app.post("/mail/{to}")
async def send(to: str, pool: Pool): ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from fastapi import Depends
from fastapi.requests import HTTPConnection

from weirpool import WorkerPool

from ._pools import DEFAULT, OpenPools
from .starlette import background, install, pool_of, pools_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["AppPools", "Pool", "background", "install", "pool_named"]


def pool_named(name: str) -> Callable[[HTTPConnection], Awaitable[WorkerPool]]:
    """Return a dependency: the application's pool of this name, as in `Annotated[WorkerPool, Depends(pool_named("mail"))]`."""

    async def pool(connection: HTTPConnection) -> WorkerPool:
        return pool_of(connection, name)

    return pool


async def _pools(connection: HTTPConnection) -> OpenPools:
    return pools_of(connection)


Pool: TypeAlias = Annotated[WorkerPool, Depends(pool_named(DEFAULT))]
"""The application's pool that has no name, as a dependency."""

AppPools: TypeAlias = Annotated[OpenPools, Depends(_pools)]
"""All pools of the application, as a dependency: to `leave`, for instance."""
