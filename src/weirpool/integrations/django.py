"""Django, served over ASGI: pools that live as long as the application, which knows no lifespan of its own.

# asgi.py
from weirpool.integrations.django import install

application = install(get_asgi_application(), Pools(lambda: WorkerPool(max_workers=32)))

# settings.py
MIDDLEWARE = [..., "weirpool.integrations.django.PoolErrors"]

# views.py
async def send(request, to):
    return background(pool_of(request), deliver, to)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVarTuple

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpResponse, JsonResponse

from weirpool import PoolError

from ._http import SubmitOptions, accepted, answer_to
from ._requests import RequestTime
from .asgi import install as _install
from .asgi import pool_of, pools_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Unpack

    from django.http import HttpRequest

    from weirpool import WorkerPool

    from ._pools import Pools
    from ._requests import App, RequestOptions

__all__ = ["PoolErrors", "background", "install", "pool_of", "pools_of"]

Ts = TypeVarTuple("Ts")


def install(app: App, pools: Pools, **options: Unpack[RequestOptions]) -> App:
    """Return an application that has pools: serve it instead of the one that is given.

    The server has to support the lifespan protocol; Daphne does not. What is answered when a pool is full, `PoolErrors` says.
    Django cancels a view whose client has gone, and with it the job that it awaits by `WorkerPool.run`.

    Args:
        app: what `get_asgi_application()` returns.
        pools: which pools it has.
        **options: what there is to say of requests; see `RequestOptions`.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
        RuntimeError: this was done before.
    """
    RequestTime(options)
    return _install(app, pools, **options)


class PoolErrors:
    """Answer for the pools, as a middleware: 503 with `Retry-After` when one is full or closing, 504 when a job was late.

    Without it Django makes a 500 of them, before anything around it can see them.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Pass a request on."""
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return what is answered to an error of a pool."""
        if not isinstance(exception, PoolError):
            return None
        scope = getattr(request, "scope", {})
        answer = answer_to(exception, scope.get("http_version", "1.1"))
        return None if answer is None else HttpResponse(answer.body, status=answer.status, headers=answer.headers)


def background(
    pool: WorkerPool, fn: Callable[[*Ts], Awaitable[object]], /, *args: *Ts, **options: Unpack[SubmitOptions]
) -> JsonResponse:
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
        RuntimeError: called from another thread, as by a view that is a plain `def`.
    """
    return JsonResponse(accepted(pool, fn, args, options), status=202)
