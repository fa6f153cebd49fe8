"""Call a function in a thread, and stay with it until that has ended.

anyio brings the threads; whoever is cancelled while he waits for one leaves anyio's `run_sync` at once, and the thread to
itself. A job must not: the thread is what its place stands for. So whoever waits here outlasts his cancellation, and a job
whose thread goes on is like any that ignores its cancellation: it gets its grace, is abandoned, and is a stray until its
thread ends.
"""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from asyncio import CancelledError
from contextlib import suppress
from contextvars import Context
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from ._errors import is_a, traceback_of
from ._lending import outlast
from ._show import function_name
from ._stack import line_of
from ._waiting import release

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Call", "in_a_thread"]

# anyio would take its own of 40 otherwise. The bound is the pool's: a job has a place by the time it comes here. There is one
# for each loop, as making one for each call takes three times as long.
_unlimited: RunVar[CapacityLimiter] = RunVar("weirpool.unlimited")


class Call:
    """One call of a function in a thread: whether it has begun and is over, and what came of it.

    Args:
        fn: the function.
        args: its positional arguments.
        keywords: the others.
        loop: the loop of whoever waits.
    """

    __slots__ = ("_args", "_fn", "_keywords", "_lock", "_loop", "_thread", "_waiter", "error", "over", "result", "withdrawn")

    def __init__(
        self, fn: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._fn, self._args, self._keywords = fn, args, keywords
        self._loop = loop
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.withdrawn = False
        self.over = False
        self.result: Any = None
        self.error: BaseException | None = None

    def __call__(self) -> None:
        """Make the call, in the thread, unless it has been withdrawn by now."""
        with self._lock:
            if self.withdrawn:
                return
            self._thread = threading.get_ident()
        try:
            self.result = self._fn(*self._args, **self._keywords)
        except BaseException as error:  # all of them are the job's
            self.error = BaseException.with_traceback(error, _next(error))  # past any method of its class
        with self._lock:
            self.over = True
            waiter = self._waiter
        if waiter is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(release, waiter, context=Context())

    def withdraw(self) -> bool:
        """See to it that the call will not be made; say whether that is so: it may have begun."""
        with self._lock:
            self.withdrawn = self._thread is None
        return self.withdrawn

    async def ended(self) -> None:
        """Wait until the call is over, after it has begun and anyio has left it to itself."""
        waiter: asyncio.Future[None] = asyncio.Future()
        with self._lock:
            if self.over:
                return
            self._waiter = waiter
        await waiter

    def where(self) -> tuple[str, ...]:
        """Return the calls that the function is in, outermost first; nothing if it is not running."""
        lines: list[str] = []
        frame = None if self._thread is None else sys._current_frames().get(self._thread)  # noqa: SLF001  # documented
        while frame is not None and frame.f_code is not _CALL:
            lines.append(line_of(frame))
            frame = frame.f_back
        if frame is None or self.over:  # its thread does something else by now, or has ended
            return ()
        return tuple(reversed(lines)) or (f"<built-in> in {function_name(self._fn)}",)


_CALL = Call.__call__.__code__


async def in_a_thread(
    fn: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any], stands: Callable[[], bool]
) -> Any:
    """Call a function in a thread, and return or raise what it does.

    Cancelled, it tells the function (`anyio.from_thread.check_cancelled` raises there), and waits until that has ended all the
    same. It does not wait for a thread that has not begun.

    Args:
        fn: the function.
        args: its positional arguments.
        keywords: the others.
        stands: asked whether what the function returned or raised stands although the waiter has been cancelled.
    """
    work = Call(fn, args, keywords, asyncio.get_running_loop())  # by this name `_stack` finds it, to tell where the thread is
    cancelled: BaseException | None = None
    error: BaseException | None = None
    try:
        with CancelScope() as scope:
            try:
                await to_thread.run_sync(work, limiter=_limiter())
            except CancelledError as cancellation:
                if work.withdraw():
                    raise
                cancelled = cancellation
                scope.cancel()  # for the thread to see, and for what it has sent to the loop; not for this task, which is ...
                await outlast(work.ended, lambda: work.over)  # ... in a shield from here until it leaves the scope
        error, work.error = work.error, None
        result, work.result = work.result, None
        if cancelled is not None and is_a(error, CancelledError):  # it has heard of it
            raise cancelled
        if cancelled is not None and not stands():
            raise cancelled from error
        if error is not None:
            raise error
        if type(result) is CoroutineType:
            result.close()
            raise TypeError(f"{function_name(fn)} has returned a coroutine: it is async already, submit it as it is")
        return result
    finally:
        del cancelled, error  # the traceback of each holds this frame


def _limiter() -> CapacityLimiter:
    try:
        return _unlimited.get()
    except LookupError:
        limiter = CapacityLimiter(math.inf)
        _unlimited.set(limiter)
        return limiter


def _next(error: BaseException) -> Any:
    """Return the traceback of an exception without its outermost frame."""
    traceback = traceback_of(error)
    return None if traceback is None else traceback.tb_next
