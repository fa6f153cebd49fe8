"""Any ASGI application: pools that live as long as it does. For those that have no module of their own here.

from weirpool.integrations.asgi import install, pool_of

application = install(application, Pools(lambda: WorkerPool(max_workers=32)))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ._asgi import WithPools
from ._pools import DEFAULT, KEY, TWICE, OpenPools, Pools, checked_pools, of_app

if TYPE_CHECKING:
    from typing import Unpack

    from weirpool import WorkerPool

    from ._requests import App, ASGIOptions

__all__ = ["install", "pool_of", "pools_of"]


def install(app: App, pools: Pools, **options: Unpack[ASGIOptions]) -> App:
    """Return an application that has pools: serve it instead of the one that is given.

    They are opened after the application's own lifespan has started, if it has one, and closed before that ends. A request
    that ends with an error of a pool is answered: 503 with `Retry-After` when it is full or closing, 504 when the job had no
    time left, as `application/problem+json`.

    The server has to support the lifespan protocol; Daphne does not.

    Args:
        app: an ASGI application.
        pools: which pools it has.
        **options: what there is to say of requests; see `ASGIOptions`.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
        RuntimeError: this was done before.
    """
    checked_pools(pools)
    if not callable(app):
        raise TypeError(f"app must be an ASGI application, got {app!r:.80}")
    if isinstance(app, WithPools):
        raise RuntimeError(TWICE)  # noqa: TRY004
    return WithPools(app, pools, options)


def pools_of(request: Any) -> OpenPools:
    """Return the pools of the application that a request is for.

    Args:
        request: an ASGI scope, or what has one as its `scope`: a request of Django's, for instance.

    Raises:
        RuntimeError: it has none.
    """
    scope = request if isinstance(request, Mapping) else getattr(request, "scope", {})
    return of_app(scope.get("state", {}).get(KEY))


def pool_of(request: Any, name: str = DEFAULT) -> WorkerPool:
    """Return a pool of the application that a request is for; see `pools_of`.

    Raises:
        RuntimeError: the application has no pools.
        ValueError: it has none of this name.
    """
    return pools_of(request).pool(name)
