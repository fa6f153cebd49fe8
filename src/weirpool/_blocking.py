"""Make jobs of plain functions, which block: in a thread, in a process, or in an interpreter.

What each of these needs is loaded when the first function is wrapped: most pools run async functions only.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from . import _checks
from ._deadline import remaining
from ._lending import inside
from ._run import current_run
from ._show import function_name, innermost

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ._job import JobOwner

__all__ = ["in_interpreter", "in_process", "in_thread"]

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


def in_process(fn: Callable[P, T], /) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return an async function that calls a plain one in a process of its own: `await pool.run(in_process(render), page)`.

    There are as many processes as jobs that run, and no other bound. They start when they are needed, are kept for the next
    job, and are gone when the pool has closed.

    At its deadline, when it is cancelled, and when the pool closes, the job's process is killed with what that has started, so
    even a function that is stuck in C ends. A process that dies (`os._exit`, `sys.exit`, out of memory) fails its job, with
    `anyio.BrokenWorkerProcess`, and no other.

    The function, its arguments and its result are pickled. Nothing else is carried but what `remaining()` returns: context
    variables, and whatever else is in the memory of this process, have other values there.

    Awaited elsewhere than in a job, each call has a process that ends with it.

    Args:
        fn: the function, of the top level of a module. What it takes, the returned one takes.

    Raises:
        TypeError: `fn` is no function, an async one, or one that can't be pickled.
    """
    from ._pickles import picklable  # noqa: PLC0415
    from ._processes import in_a_process  # noqa: PLC0415

    _checks.blocking_function("in_process", fn)
    picklable("in_process", fn)

    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        result: T = await in_a_process(fn, args, kwargs, _owner(), remaining())
        return result

    return _like(fn, call)


def in_interpreter(fn: Callable[P, T], /) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return an async function that calls a plain one in an interpreter: `await pool.run(in_interpreter(parse), text)`.

    That is a thread with an interpreter of its own, and so with a global interpreter lock of its own. It starts sooner than a
    process and needs less memory, and it can't be killed: what `in_thread` says of cancelling is true here, except that the
    function can't look whether it has been cancelled, but only how much time `remaining()` leaves it. The interpreters are
    kept for the pool's next job, and gone when it has closed.

    What `in_process` says of what is pickled and what is carried is true here. An extension module that does not support it
    can't be imported in there.

    Args:
        fn: the function, of the top level of a module. What it takes, the returned one takes.

    Raises:
        TypeError: `fn` is no function, an async one, or one that can't be pickled.
        NotImplementedError: Python is older than 3.14.
    """
    _need_interpreters()
    from ._interpreters import in_an_interpreter  # noqa: PLC0415
    from ._pickles import picklable  # noqa: PLC0415

    _checks.blocking_function("in_interpreter", fn)
    picklable("in_interpreter", fn)

    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        result: T = await in_an_interpreter(fn, args, kwargs, _owner(), remaining(), lambda: _is_the_job(call))
        return result

    return _like(fn, call)


def _need_interpreters() -> None:
    if sys.version_info < (3, 14):
        raise NotImplementedError(
            f"in_interpreter() needs Python 3.14, and this is {sys.version.split()[0]}: use in_process(), or in_thread() for "
            f"a function that waits or lets go of the GIL"
        )


def _owner() -> JobOwner | None:
    """Return the pool of the job that runs the caller, on this loop."""
    run = inside(asyncio.get_running_loop())
    return None if run is None or run.job is None else run.job.owner


def _is_the_job(call: Callable[..., Any]) -> bool:
    """Say whether a wrapped function is what the current job consists of, and not something that an async one calls.

    What that does next is not to be done once it has been cancelled, so it has to be told.
    """
    run = current_run()
    if run is None or run.job is None or run.task is not asyncio.current_task():
        return False
    return innermost(run.job.fn) is call


def _like(fn: Callable[..., Any], call: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Give a function the name and the looks of the one that it wraps."""
    call.__wrapped__ = fn  # type: ignore[attr-defined]
    call.__qualname__ = function_name(fn)
    call.__name__ = call.__qualname__.rpartition(".")[2]
    inner = innermost(fn)
    call.__module__ = getattr(inner, "__module__", None) or call.__module__
    call.__doc__ = getattr(inner, "__doc__", None)
    return call
