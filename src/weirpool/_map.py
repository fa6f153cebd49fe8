"""`pool.map`: what it returns, and what it makes of its arguments."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from . import _checks
from ._checks import running_loop
from ._flow import Flow
from ._progress import MapProgress, Tally
from ._show import type_name

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from types import TracebackType

    from ._admission import Admission
    from ._crew import Crew
    from ._job import Job

__all__ = ["Failed", "MapProgress", "MapResults", "mapped"]

T_co = TypeVar("T_co", covariant=True)
I_co = TypeVar("I_co", covariant=True)

_MOST = 1_000_000_000_000


@dataclass(frozen=True, slots=True)
class Failed(Generic[I_co]):
    """Stand for an item whose job did not succeed, among the results of `pool.map(..., on_error="return")`.

    Attributes:
        item: the item.
        index: its place in the source, counted from 0.
        error: what awaiting the job would raise: what the job raised, or `JobTimeout` or `JobCancelled`.
    """

    item: I_co
    index: int
    error: BaseException


class MapResults(AsyncIterator[T_co], Generic[T_co]):
    """Iterate over the results of `WorkerPool.map`, which is what makes it; read by one task at a time.

    Nothing is read or submitted before the first result is asked for. When the loop over it is left early (`break`, an
    exception, a cancellation), what is left is cancelled in the loop's next turn, and the source is closed. To *wait* until
    that is done, and so be sure that nothing runs any more, leave an `async with` block::

        async with pool.map(fetch, urls) as results:
            async for page in results:
                ...
    """

    __slots__ = ("__weakref__", "_flow", "_loop")

    closes_as_a_source = True  # when it is what another map reads

    def __init__(self, flow: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._flow: Any = flow
        self._loop = loop

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        _checks.on_loop("reading the results of WorkerPool.map()", self._loop)
        result: T_co = await self._flow.next()
        return result

    async def aclose(self) -> None:
        """Cancel what is left, wait until it has ended (or was abandoned, after `cancel_grace`), and close the source.

        A source that ignores its cancellation is left alone after `cancel_grace`, too, and named in the log. Doing this again
        changes nothing. Being cancelled meanwhile is passed on when all has ended.

        Raises:
            RuntimeError: called from another thread or event loop.
            BaseException: what closing the source has raised.
        """
        if not self._flow.over:
            _checks.on_loop("MapResults.aclose()", self._loop)
            await self._flow.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if self._flow.over or self._loop.is_closed():
            return
        if running_loop() is self._loop:
            # Jobs are not cancelled now: the garbage collector may have come in the midst of whatever the pool does.
            self._flow.close_source()
            self._loop.call_soon(self._flow.drop, context=Context())
        else:  # the garbage collector has come in another thread
            with contextlib.suppress(RuntimeError):  # it has just been closed
                self._loop.call_soon_threadsafe(self._flow.drop)

    def __repr__(self) -> str:
        return f"<MapResults {'over' if self._flow.over else 'open'}>"


for _public in (Failed, MapProgress, MapResults):
    _public.__module__ = "weirpool"


def mapped(
    fn: Any,
    items: Any,
    make: Callable[..., Job],
    admission: Admission,
    crew: Crew,
    loop: asyncio.AbstractEventLoop,
    *,
    ordered: bool,
    on_error: Any,
    window: int | None,
    name: Any,
    priority: Any,
    key: Any,
    total: int | None,
    progress: Any,
    workers: int,
    grace: float,
) -> MapResults[Any]:
    """Check the arguments of a map, as far as its jobs will not, and make it.

    Args:
        fn: the function of each job.
        items: what it is called with.
        make: makes the job of an item, of that and its name, priority and key; and checks these.
        admission: the way into the pool.
        crew: who runs the pool's jobs.
        loop: the pool's event loop.
        ordered: see `WorkerPool.map`; as the others.
        on_error: see there.
        window: see there.
        name: see there.
        priority: see there.
        key: see there.
        total: see there.
        progress: see there.
        workers: how many jobs the pool runs at once.
        grace: how long what was cancelled may take to end, in seconds.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
    """
    _checks.job_function(fn)
    ordered = _checks.flag("ordered", ordered)
    on_error = _checks.one_of("on_error", on_error, ("raise", "return", "skip"))
    window = max(2, 2 * workers) if window is None else _checks.whole("window", window, "items", 1, 1_000_000)
    if total is not None:
        total = _checks.whole("total", total, "items", 0, _MOST)
    if progress is not None and (not callable(progress) or isinstance(progress, type) or _checks.is_async(progress)):
        got = f"got {_checks.shown(progress)} ({type_name(progress)})"
        raise TypeError(f"progress must be a plain function (it is called with a MapProgress and never awaited), {got}")
    naming, ranking, keying = (each if callable(each) else None for each in (name, priority, key))

    def job(item: Any) -> Job:
        return make(
            item,
            name if naming is None else naming(item),
            priority if ranking is None else ranking(item),
            key if keying is None else keying(item),
        )

    make(  # checked now, with all that does not depend on the item; it is the record of a job that will never be
        None, None if naming else name, 0 if ranking else priority, None if keying else key
    )
    is_async = isinstance(items, AsyncIterable)
    source = _iterator(items, is_async=is_async)
    if total is None and progress is not None:
        total = _length(items)
    context = copy_context()
    tally = None
    if progress is not None:
        tally = Tally(progress, total, skips=on_error == "skip", pool=crew.name, loop=loop, context=context.copy())
    flow = Flow(
        source,
        job,
        admission,
        crew,
        loop,
        is_async=is_async,
        context=context,
        window=window,
        ordered=ordered,
        on_error=on_error,
        failed=Failed,
        tally=tally,
        grace=grace,
    )
    return MapResults(flow, loop)


def _iterator(items: Any, *, is_async: bool) -> Any:
    """Return an iterator over the items."""
    try:
        return aiter(items) if is_async else iter(items)
    except TypeError as error:
        got = f"got {_checks.shown(items)} ({type_name(items)})"
        raise TypeError(f"items must be an iterable or an async iterable, {got}") from error


def _length(items: Any) -> int | None:
    """Return how many items there are, if they say so."""
    try:
        return len(items)
    except Exception:
        return None
