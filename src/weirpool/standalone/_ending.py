"""The end of a process that does not come by itself: a job, a thread or the event loop may hold it up for ever."""

from __future__ import annotations

import _thread
import logging
import os
import queue
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn, Self

from .._logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

__all__ = ["Bound", "leave"]

_log = logging.getLogger("weirpool.worker")

_TO_FLUSH = 1.0  # seconds


def leave(
    code: int,
    why: str,
    *args: object,
    error: BaseException | None = None,
    start: Callable[..., object] = _thread.start_new_thread,  # not of `threading`, whose locks may be held by the interrupted
) -> NoReturn:
    """End the process here and now: no `finally` block, `atexit` function or other thread goes on.

    The log says why, and what was logged and printed is flushed; that may take a second at most. Another thread does it, since
    whoever calls this may have interrupted somebody who holds the lock of a stream or a log handler.

    Args:
        code: the exit code.
        why: what to log; a format.
        args: what to put into that.
        error: what else nobody would see: its traceback goes where that of an exception that ends a program goes.
        start: what has another thread call a function with a tuple of arguments.
    """
    flushed = _thread.allocate_lock()
    flushed.acquire()
    with suppress(RuntimeError):  # there may be no more threads to be had
        start(_flush, (flushed, code, why, args, error))
        flushed.acquire(timeout=_TO_FLUSH)
    os._exit(code)


def _flush(flushed: _thread.LockType, code: int, why: str, args: tuple[object, ...], error: BaseException | None) -> None:
    """Say why the process ends, see to it that this and all that was said before is written, and release the lock."""
    with suppress(BaseException):  # nobody is left who could do anything about it
        _log.critical(why, *args, extra=fields("worker.ended", "", code=code))
    with suppress(BaseException):
        if error is not None:
            sys.excepthook(type(error), error, error.__traceback__)
    with suppress(BaseException):
        logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):  # it may be None, or broken
            stream.flush()
    flushed.release()


class Bound:
    """Bound how long a process may take to end, once its `main` has.

    As a context manager, it ends the process if the block takes longer; `and_beyond` then sees to the interpreter's own end.
    It is made before `main` begins: threads that there are by then are none of its concern.

    Args:
        seconds: how long.

    Attributes:
        code: the exit code, if it comes to that.
        error: what `main` has failed with; its traceback is printed, if it comes to that.
    """

    def __init__(self, seconds: float) -> None:
        self.code: int = 1
        self.error: BaseException | None = None
        self._seconds = self._left = seconds
        self._began_at = 0.0
        self._before = set(threading.enumerate())
        self._done = threading.Event()

    def __enter__(self) -> Self:
        self._began_at = time.monotonic()
        self._watch()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._left = max(0.0, self._left - (time.monotonic() - self._began_at))

    def and_beyond(self) -> None:
        """Let the interpreter, which waits for all threads that are no daemons, have what is left of the time."""
        if self._held_by():
            self._done = threading.Event()
            self.error = None  # the interpreter itself prints it, before it waits
            begins = threading.Event()
            self._watch(begins, _standby())  # Python 3.12 starts no threads any more when its end has begun
            # An `atexit` function would be called when all threads have ended, and so does not help. `concurrent.futures`
            # registers here, too, to wait for its threads; who registers last is called first.
            threading._register_atexit(begins.set)  # type: ignore[attr-defined]  # noqa: SLF001

    def _held_by(self) -> list[str]:
        """Name the threads that have been started since, and which the interpreter waits for."""
        return [thread.name for thread in threading.enumerate() if not thread.daemon and thread not in self._before]

    def _watch(self, begins: threading.Event | None = None, start: Callable[..., object] = _thread.start_new_thread) -> None:
        threading.Thread(target=self._wait, args=(begins, start), name="weirpool:bound", daemon=True).start()

    def _wait(self, begins: threading.Event | None, start: Callable[..., object]) -> None:
        if begins is not None:
            begins.wait()
        if not self._done.wait(self._left):
            threads = ", ".join(self._held_by())
            leave(
                self.code,
                "the process has not ended by itself %g s after main(), and is ended now, with code %d: %s",
                self._seconds,
                self.code,
                f"these threads still run: {threads}" if threads else "a task ignores its cancellation",
                error=self.error,
                start=start,
            )


def _standby() -> Callable[[Callable[..., object], tuple[object, ...]], object]:
    """Start a thread that calls something later, and return what has it do that."""
    calls: queue.SimpleQueue[tuple[Callable[..., object], tuple[object, ...]]] = queue.SimpleQueue()

    def wait() -> None:
        function, args = calls.get()
        function(*args)

    threading.Thread(target=wait, name="weirpool:standby", daemon=True).start()
    return lambda function, args: calls.put((function, args))
