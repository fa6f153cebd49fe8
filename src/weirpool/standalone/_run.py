"""`run`: what `asyncio.run` is, for a process that is a worker."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import TYPE_CHECKING, Any, TypeVarTuple

from .. import _checks
from .._show import function_name
from ._ending import Bound
from ._signals import Signals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["run"]

Ts = TypeVarTuple("Ts")

_UNFINISHED = 75  # EX_TEMPFAIL of sysexits.h, which Windows does not have
_INTERRUPTED = 130  # by KeyboardInterrupt


def run(
    main: Callable[[*Ts], Awaitable[object]],
    /,
    *args: *Ts,
    exit_timeout: float = 5.0,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> int:
    """Run the async function `main` as the whole of a worker process, and return the process's exit code.

    ::

        sys.exit(weirpool.run(main))

    Like `asyncio.run(main())`, but SIGTERM and Ctrl-C are handled from the beginning to the end. While `main` is in `serve`,
    the first drains the pools, the second cancels their jobs. While it is elsewhere, both cancel `main`. The third ends the
    process, whatever it is doing, even if a job blocks the event loop (short of native code that neither ends nor lets go of
    the interpreter).

    And it comes to an end: neither a job that ignores its cancellation nor one that blocks a thread keeps the process alive
    for longer than `exit_timeout`. If it comes to that, the log says so, what was logged and printed is flushed, and the
    process is ended by `os._exit`: then this does not return.

    Args:
        main: an async function. When it returns, the process may end.
        args: its arguments; for keywords use `functools.partial`.
        exit_timeout: how long the end of the event loop and of the interpreter may take, all in all, once `main` is over, in
            seconds. It comes on top of the pools' `shutdown_timeout`.
        debug: as for `asyncio.run`.
        loop_factory: what makes the event loop, `uvloop.new_event_loop` for instance.

    Returns:
        0 if `main` has returned, and `serve`, if it was called, has run all jobs to their end. 75 (`EX_TEMPFAIL`) if jobs
        were cancelled or abandoned while `serve` closed their pools. 128 + the signal's number if a signal has cancelled
        `main`.

    Raises:
        BaseException: what `main` raises, as it is, and a `KeyboardInterrupt` or `SystemExit` of a job.
        TypeError: `main` is no async function, or another argument is of the wrong kind.
        ValueError: `exit_timeout` is out of its range.
        RuntimeError: an event loop runs here already, or this is not the main thread.
    """
    _check(main)
    bound = Bound(_checks.seconds("exit_timeout", exit_timeout))
    runner = asyncio.Runner(debug=debug, loop_factory=loop_factory)
    with Signals(runner.get_loop()) as signals:
        try:
            runner.run(_main(main, args, signals))
            bound.code = _UNFINISHED if signals.lost else 0
        except asyncio.CancelledError as error:
            if not signals.interrupted:
                bound.error = error
                raise
            bound.code = 128 + signals.last
        except BaseException as error:
            bound.code = _code_of(error)
            if not isinstance(error, SystemExit) or isinstance(error.code, str):  # else there is nothing to be told of it
                bound.error = error
            raise
        finally:
            with bound:
                runner.close()
            bound.and_beyond()
    return bound.code


async def _main(main: Callable[..., Any], args: tuple[Any, ...], signals: Signals) -> None:
    signals.begin(asyncio.current_task())
    awaitable = main(*args)
    if not inspect.isawaitable(awaitable):
        raise TypeError(f"main must be an async function, and {function_name(main)}() returned {_checks.shown(awaitable)}")
    await awaitable


def _check(main: Any) -> None:
    if inspect.iscoroutine(main):
        called = function_name(main)
        main.close()
        raise TypeError(
            f"main must be an async function, got the coroutine {called}(...): "
            f"pass the function and its arguments, weirpool.run({called}, ...) instead of weirpool.run({called}(...))"
        )
    if not callable(main):
        raise TypeError(f"main must be an async function, got {_checks.shown(main)}")
    if _checks.running_loop() is not None:
        raise RuntimeError(
            "weirpool.run() starts an event loop of its own, and here one runs already: await serve(pool) there instead"
        )
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("weirpool.run() handles signals, which Python allows in the main thread only: call it there")


def _code_of(error: BaseException) -> int:
    """Return the exit code of a program that ends with an exception."""
    if isinstance(error, SystemExit):
        return 0 if error.code is None else error.code if isinstance(error.code, int) else 1
    return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
