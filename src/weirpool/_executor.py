"""A pool as a `concurrent.futures.Executor`, for `loop.run_in_executor` and for libraries that take one."""

from __future__ import annotations

import threading
from asyncio import CancelledError
from concurrent.futures import Executor
from concurrent.futures import wait as _wait
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from . import _checks
from ._checks import running_loop
from ._errors import PoolClosed
from ._job_future import JobFuture
from ._show import function_name
from ._threads import in_a_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

__all__ = ["PoolExecutor"]

P = ParamSpec("P")
T = TypeVar("T")


class PoolExecutor(Executor):
    """Run each call as a job of a pool: a plain function in a thread (`in_thread`), an async one on the pool's event loop.

    It is what `pool.from_thread.executor()` returns, and does what the standard library says of executors: its futures are
    pending, running, finished; one that runs can't be cancelled. What it runs are jobs all the same: they are bounded and
    counted by the pool, and end by its deadlines. A job that the pool cancels ends its future with `JobCancelled`.

    `submit` blocks while the pool is full, for its `submit_timeout` at most, and then raises `PoolOverloaded`; on a thread in
    which an event loop runs it does not wait for room. `map` submits all its calls before it returns, as it does there.
    """

    # Of any type, as what these are is of the inside, and would be public if it stood in this signature.
    def __init__(self, pool: str, cross: Callable[[], Any], start: Callable[..., Any], wishes: Any) -> None:
        self._pool = pool
        self._cross = cross
        self._start = start
        self._wishes = wishes
        self._lock = threading.Lock()
        self._futures: set[JobFuture[Any]] = set()
        self._down = False

    @overload
    def submit(self, fn: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...
    @overload
    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a call accepted as a job, and return its future.

        Args:
            fn: a function, plain or async; of an async one the future has the result, not the coroutine.
            *args: its arguments.
            **kwargs: its keyword arguments.

        Raises:
            PoolOverloaded: there was no room within the pool's `submit_timeout`, or there is none, where an event loop runs.
            RuntimeError: the executor was shut down, the pool is closing or closed, or it was not entered.
            TypeError: `fn` is no function, or one of a generator.
        """
        job = _Work(fn, args, kwargs)
        try:
            future: JobFuture[Any] = JobFuture(self._cross())
            with self._lock:
                if self._down:
                    raise RuntimeError("cannot schedule new futures after shutdown")
                self._futures.add(future)
            future.add_done_callback(self._done)
            job.future = future
            try:
                started: Future[Any] = self._start(job, (), self._wishes._replace(patient=running_loop() is None), future)
                return started  # noqa: TRY300
            except BaseException:
                self._done(future)
                raise
        except PoolClosed as closed:
            raise RuntimeError(
                f"cannot schedule new futures after shutdown of pool {self._pool!r}, or of its event loop"
            ) from closed

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # as in the base
        """Take no more calls; the pool goes on, and so do the jobs.

        Args:
            wait: whether to wait until all that was submitted here has ended.
            cancel_futures: whether to cancel what has not begun.

        Raises:
            RuntimeError: this is the pool's event loop, which would stand still while it waits.
        """
        with self._lock:
            left = tuple(self._futures)
            if wait and left and running_loop() is self._cross().loop:
                raise RuntimeError(
                    "shutdown() would wait on the pool's own event loop, which would stand still for ever: "
                    "call shutdown(wait=False), or await asyncio.to_thread(executor.shutdown)"
                )
            self._down = True
        if cancel_futures:
            for future in left:
                future.cancel()
        if wait:
            for future in left:
                future.ended(None)  # so that a job that waits lends its place
            _wait(left)

    def _done(self, future: Any) -> None:
        with self._lock:
            self._futures.discard(future)


class _Work:
    """A job's function that tells the future when it is begun; to the eye it is the function that it calls."""

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self._is_async = _checks.is_async(fn)
        if not self._is_async:
            _checks.blocking_function("submit", fn)
        self._fn, self._args, self._keywords = fn, args, keywords
        self.__qualname__ = function_name(fn)
        self.future: JobFuture[Any]

    def __call__(self) -> Any:
        """Return what runs the job."""
        if not self.future.start():
            raise CancelledError
        if self._is_async:
            return self._fn(*self._args, **self._keywords)
        return in_a_thread(self._fn, self._args, self._keywords, _it_stands)  # as `in_thread`, made for one call


def _it_stands() -> bool:
    return True
