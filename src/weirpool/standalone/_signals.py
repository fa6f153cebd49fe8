"""SIGTERM and SIGINT, while somebody listens: how often they have come, and who is to hear of it.

There are two ways to hear of a signal, and both are needed. The event loop hears when it turns, which is when something may be
done about it. If a job blocks the loop it does not turn; but between any two instructions of Python code the interpreter calls
the handler itself, which can still end the process.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from .._logs import fields
from ._ending import leave

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from types import FrameType, TracebackType

__all__ = ["Signals", "listening"]

_log = logging.getLogger("weirpool.worker")

_HEARD = (signal.SIGTERM, signal.SIGINT)
_LAST = 3  # the signal that ends the process

_current: Signals | None = None


def listening(loop: asyncio.AbstractEventLoop) -> Signals:
    """Return who listens for this loop already, or somebody new; either is a context manager."""
    return _current if _current is not None and _current.loop is loop else Signals(loop)


class Signals:
    """Count the signals that come inside the block, tell whoever waits for a certain one, and end the process at the third.

    A signal that the process ignores stays ignored: it was started so that what is meant for others, as Ctrl-C in a shell of
    which it is a background job, does not end it. The handlers that were there before are put back at the end.

    Args:
        loop: the event loop that is to hear.

    Attributes:
        loop: that loop.
        main: the task to cancel if a signal comes that nobody waits for.
        interrupted: whether it was.
        last: the signal that has come last.
        lost: how many jobs have been cancelled or abandoned at the end of pools that were served.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.main: asyncio.Task[Any] | None = None
        self.interrupted: bool = False
        self.last: int = 0
        self.lost: int = 0
        self.loop = loop
        self._count = 0
        self._entered = 0
        self._serving = 0
        self._early = False  # whether a signal has come before there was a `main`
        self._awaited: list[tuple[int, asyncio.Future[None]]] = []
        self._outer: Signals | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._waker: tuple[socket.socket, socket.socket] | None = None

    def __enter__(self) -> Self:
        """Begin to listen.

        Raises:
            RuntimeError: this is not the main thread, the only one that Python tells of signals.
        """
        global _current
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                "serve() and weirpool.run() handle signals, which Python allows in the main thread only: call them there, "
                "or close the pool yourself, by aclose()"
            )
        if not self._entered:
            self._be_woken()
            self._outer, _current = _current, self
            for sig in _HEARD:
                if signal.getsignal(sig) is not signal.SIG_IGN:
                    self._before[sig] = signal.signal(sig, self._handle)
        self._entered += 1
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        global _current
        self._entered -= 1
        if not self._entered:
            for sig, before in self._before.items():
                if signal.getsignal(sig) == self._handle:  # else somebody else has taken it over meanwhile
                    signal.signal(sig, signal.SIG_DFL if before is None else before)
            self._sleep()
            _current, self._outer = self._outer, None

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Say that somebody waits for signals: `main` is not cancelled by one."""
        self._serving += 1
        try:
            yield
        finally:
            self._serving -= 1

    def begin(self, main: asyncio.Task[Any] | None) -> None:
        """Have a task cancelled, the current one, if a signal comes that nobody waits for, or has come before this."""
        self.main = main
        if self._early:
            self._hear()

    def at(self, number: int) -> asyncio.Future[None]:
        """Return a future that is done once so many signals have come."""
        future: asyncio.Future[None] = self.loop.create_future()
        self._awaited.append((number, future))
        self._tell()
        return future

    def _handle(self, number: int, _: FrameType | None) -> None:
        """Hear of a signal, between any two instructions: what touches the loop's things has to wait for its next turn."""
        self._count += 1
        self.last = number
        if self._count == _LAST:  # a fourth would change nothing: this takes a second at most
            leave(128 + number, "%s has come, the third signal to end: the process is ended", signal.Signals(number).name)
        with suppress(RuntimeError):  # the loop is closed, and the process about to end
            self.loop.call_soon_threadsafe(self._hear)

    def _hear(self) -> None:
        self._tell()
        self._early = self.main is None
        if not self._serving and self.main is not None and not self.main.done():
            _log.warning(
                "%s: main() is cancelled, as it is not in serve()",
                signal.Signals(self.last).name,
                extra=fields("worker.interrupted", "", signal=self.last),
            )
            self.interrupted = True
            self.main.cancel()

    def _tell(self) -> None:
        waiting = []
        for number, future in self._awaited:
            if number > self._count:
                waiting.append((number, future))
            else:
                future.set_result(None)
        self._awaited = waiting

    def _be_woken(self) -> None:
        """See to it that a signal wakes the loop: one that comes just before that goes to sleep does not interrupt it.

        Nor does one that comes in another thread. Python writes to a socket whenever a signal comes, if it is given one.
        uvloop has its own, and asyncio's loop if somebody has called its `add_signal_handler`.
        """
        ours, pythons = socket.socketpair()
        for end in (ours, pythons):
            end.setblocking(False)
        before = signal.set_wakeup_fd(pythons.fileno(), warn_on_full_buffer=False)
        if before == -1:
            self._waker = ours, pythons
            try:
                self.loop.add_reader(ours, ours.recv, 4096)
            except BaseException:  # there is no I/O on this loop
                self._sleep()
                raise
        else:
            signal.set_wakeup_fd(before)
            ours.close()
            pythons.close()

    def _sleep(self) -> None:
        if self._waker is not None:
            ours, pythons = self._waker
            self._waker = None
            if not self.loop.is_closed():
                with suppress(NotImplementedError):
                    self.loop.remove_reader(ours)
            now = signal.set_wakeup_fd(-1)
            if now != pythons.fileno():
                signal.set_wakeup_fd(now)
            ours.close()
            pythons.close()
