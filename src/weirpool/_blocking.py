"""Make jobs of plain functions, which block: in a thread, in a process, or in an interpreter.

What each of these needs is loaded when the first function is wrapped: most pools run async functions only.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from . import _checks
from ._run import CURRENT
from ._show import function_name, innermost

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["in_thread"]

P = ParamSpec("P")
T = TypeVar("T")


def in_thread(fn: Callable[P, T], /) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return an async function that calls a plain one in a thread: `await pool.run(in_thread(resize), path, 200)`.

    There are as many threads as jobs that run, and no other bound. Context variables are carried: `current_job()` and
    `remaining()` work in the thread.

    Nobody can cancel a thread. Cancelled, a job goes on until its function returns: within the pool's `cancel_grace` that
    stands as it does for any job; after that the job is abandoned, and a stray until the thread ends. A function may look
    itself, by calling `anyio.from_thread.check_cancelled()` now and then: it raises once the job is to end.

    Awaited elsewhere than as a job, it waits for the thread, too, and is cancelled after that.

    Args:
        fn: the function. What it takes, the returned one takes.

    Raises:
        TypeError: `fn` is no function, or an async one, which needs no thread.
    """
    from ._threads import in_a_thread  # noqa: PLC0415

    _checks.blocking_function("in_thread", fn)

    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        result: T = await in_a_thread(fn, args, kwargs, lambda: _is_the_job(call))
        return result

    return _like(fn, call)


def _is_the_job(call: Callable[..., Any]) -> bool:
    """Say whether a wrapped function is what the current job consists of, and not something that an async one calls.

    What that does next is not to be done once it has been cancelled, so it has to be told.
    """
    run = CURRENT.get()
    if run is None or run.job is None or run.task is not asyncio.current_task():
        return False
    return innermost(run.job.fn) is call


def _like(fn: Callable[..., Any], call: Any) -> Any:
    """Give a function the name and the looks of the one that it wraps."""
    call.__wrapped__ = fn
    call.__qualname__ = function_name(fn)
    call.__name__ = call.__qualname__.rpartition(".")[2]
    inner = innermost(fn)
    call.__module__ = getattr(inner, "__module__", None)
    call.__doc__ = getattr(inner, "__doc__", None)
    return call
