"""Find the pools that a piece of code has opened and not closed, and the jobs that it has left running."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from weirpool import PoolState, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable
    from types import FrameType

__all__ = ["PoolWatch", "PoolsLeaked", "no_pool_leaks"]

_OURS = str(Path(__file__).parents[1])
_ASYNCIO = str(Path(asyncio.__file__).parent)
_ADVICE = (
    "Close a pool where it is opened: async with WorkerPool(...) as pool, or await pool.aclose() after a fixture's yield. "
    "A job has to end when it is cancelled."
)
_MOST_JOBS = 10
_TO_PUT_AWAY = 0.1  # seconds, for jobs that nobody waits for to react to their cancellation


class PoolsLeaked(AssertionError):
    """Pools were left open, or jobs of theirs left running."""


@contextmanager
def no_pool_leaks() -> Generator[None, None, None]:
    """Fail if the block leaves a pool open that it has opened, or a job running that its pool has abandoned.

    ::

        with no_pool_leaks():
            asyncio.run(main())

    A pool is closed by leaving its `async with` or by `aclose()`; that its event loop ends does not count. What is left open
    is closed before this raises, and its jobs are cancelled, unless the loop is closed or is running. If the block itself
    raises, that is all that is raised. Pytest's fixture of this name is in `weirpool.testing.pytest_plugin`.

    Raises:
        PoolsLeaked: names each such pool, where it was opened, and where its jobs are.
    """
    with PoolWatch() as watch:
        yield
        leaks = watch.leaks()
    if leaks:
        raise PoolsLeaked(text(leaks))


def text(leaks: Iterable[str]) -> str:
    """Return what to say of leaks, and what to do about them."""
    return "\n".join([*leaks, _ADVICE])


@dataclass(slots=True)
class _Opened:
    """What is known of a pool that was opened."""

    pool: WorkerPool
    loop: asyncio.AbstractEventLoop
    where: str
    closed: bool = False
    running: tuple[object, ...] = ()
    strays: tuple[object, ...] = ()

    def look(self) -> None:
        """See what jobs run, unless that can't be seen: the loop is closed, or runs in another thread."""
        here = asyncio._get_running_loop()  # noqa: SLF001
        if self.loop.is_closed() or (self.loop.is_running() and self.loop is not here):
            return
        asyncio._set_running_loop(self.loop)  # noqa: SLF001  # it only stands still between the steps of a test
        try:
            self.running, self.strays = self.pool.running(_MOST_JOBS), self.pool.strays(_MOST_JOBS)
        finally:
            asyncio._set_running_loop(here)  # noqa: SLF001

    @property
    def leaks(self) -> bool:
        """Whether it was not closed, or jobs of its still run or did so when that was looked at last."""
        return not self.closed or bool(self.strays) or self.pool.stats().strays > 0


class PoolWatch:
    """Watch which pools are opened and which are closed, from entering it until leaving it.

    It stands in for two methods of WorkerPool meanwhile, as that alone tells a pool that was closed from one whose event loop
    has ended, with everything on it. What has been left open is closed when this is left, and watches around this one do not
    hear of it.

    Attributes:
        paused: whether what is opened now is not this one's concern.
    """

    def __init__(self) -> None:
        self.paused = False
        self._looked = False
        self._opened: dict[int, _Opened] = {}  # a pool that is dropped while it is open is kept, and found

    def __enter__(self) -> Self:
        if not _watches:
            _watch_methods()
        _watches.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _watches.remove(self)
        for opened in self._opened.values():
            _put_away(opened)
            for outer in _watches:
                outer.forget(opened.pool)
        if not _watches:
            _unwatch_methods()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # "was never closed": that has been said
            self._opened.clear()

    def leaks(self) -> list[str]:
        """Return a text on each pool that is not closed now, or whose jobs still run."""
        self.look()
        return [_described(it) for it in self._opened.values() if it.leaks]

    def look(self) -> None:
        """See what jobs run now. To be called before what comes next ends the event loops, and the jobs with them."""
        self._looked = True
        for opened in self._opened.values():
            opened.look()

    def opened(self, pool: WorkerPool, where: str) -> None:
        """Note that a pool was opened."""
        if not self.paused:
            self._opened[id(pool)] = _Opened(pool, asyncio.get_running_loop(), where)

    def closed(self, pool: WorkerPool) -> None:
        """Note that a pool was closed."""
        opened = self._opened.get(id(pool))
        if opened is not None:
            opened.closed = True
            if not pool.stats().strays:
                self.forget(pool)
            elif self._looked:  # else they may end before that
                opened.look()

    def forget(self, pool: WorkerPool) -> None:
        """Have no more to do with a pool."""
        self._opened.pop(id(pool), None)


_watches: list[PoolWatch] = []
_methods: dict[str, Any] = {}


def _watch_methods() -> None:
    enter: Callable[[WorkerPool], Awaitable[WorkerPool]] = WorkerPool.__aenter__
    close: Callable[..., Awaitable[Any]] = WorkerPool.aclose

    async def __aenter__(self: WorkerPool) -> WorkerPool:  # noqa: N807
        where = _caller(inspect.currentframe())
        entered = await enter(self)
        for watch in _watches:
            watch.opened(self, where)
        return entered

    async def aclose(self: WorkerPool, **options: Any) -> Any:
        try:
            return await close(self, **options)
        finally:
            if self.state is PoolState.CLOSED:  # else it was refused
                for watch in _watches:
                    watch.closed(self)

    _methods.update(__aenter__=enter, aclose=close)
    for instead in (__aenter__, aclose):
        setattr(WorkerPool, instead.__name__, instead)


def _unwatch_methods() -> None:
    while _methods:
        setattr(WorkerPool, *_methods.popitem())


def _caller(frame: FrameType | None) -> str:
    """Return where the pool was entered, as far as the calls tell: not if a task was made of its `__aenter__()`."""
    while frame is not None and frame.f_code.co_filename.startswith((_OURS, contextlib.__file__)):
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename.startswith(_ASYNCIO):
        return ""
    return f", opened at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname},"


def _described(it: _Opened) -> str:
    pool, stats, report = it.pool, it.pool.stats(), it.pool.report
    about = f"pool {pool.name!r}{it.where}"
    if it.closed:
        jobs = it.strays or (() if report is None else report.strays)
        return "\n".join([f"{about} was closed, but jobs that it has abandoned still run:", *_lines("abandoned", jobs)])
    how = f"and is {stats.state.value}: " if report is None else "until its event loop ended: "
    if report is None:
        how += f"{stats.running} running, {stats.queued} queued, {stats.waiting} waiting for room, {stats.strays} abandoned"
    else:
        how += str(report)
    return "\n".join([f"{about} was never closed, {how}", *_lines("running", it.running), *_lines("abandoned", it.strays)])


def _lines(what: str, jobs: Iterable[object]) -> list[str]:
    return [f"  {what}: {job}" for job in jobs]


def _put_away(it: _Opened) -> None:
    """Close a pool that nobody has closed, so that it does not run on in what comes next on its loop."""
    here = asyncio._get_running_loop()  # noqa: SLF001
    if not it.closed and here is None and not it.loop.is_closed() and not it.loop.is_running():
        with suppress(Exception):  # a loop may be unable to go on, which is not for this to say
            it.loop.run_until_complete(it.pool.aclose(timeout=_TO_PUT_AWAY))
