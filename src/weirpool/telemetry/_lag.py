"""How late the event loop is, and who holds it up: measured only while somebody asks for it.

A timer on the loop notes how late it is called. While the loop is blocked it can't say so itself, so a thread looks
whether the timer is overdue, and where the loop's thread is by then. What it finds is what a profiler would: the place in
which the loop was at that moment.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import threading
import time
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Self

from .. import _checks
from .._logs import fields
from .._stack import RUNNER, line_of

if TYPE_CHECKING:
    from types import FrameType, TracebackType

__all__ = ["LoopLag"]

_log = logging.getLogger("weirpool.loop")

_DEEPEST = 20
_PATIENCE = 1.0  # seconds


class LoopLag:
    """Measure how late the running event loop is, inside an `async with` block.

    While a task blocks the loop for longer than the threshold, a warning names it, and the line at which it is: once for each
    time. Jobs of a pool have tasks of their own, which have the jobs' names.

    ::

        async with LoopLag(threshold=0.1) as lag:
            ...
            print(lag.last, lag.worst)

    It takes a timer and a thread, both of which wake up every `interval` seconds.

    Args:
        threshold: for how long the loop must have been blocked to be worth a warning, in seconds.
        interval: how often it is measured, in seconds.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
    """

    def __init__(self, *, threshold: float = 0.1, interval: float = 0.05) -> None:
        self._threshold = _checks.seconds("threshold", threshold)
        self._interval = _checks.seconds("interval", interval)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._due = math.inf
        self._watched = 0
        self.last: float = 0.0
        """How late the loop was when it was measured last, in seconds."""
        self.worst: float = 0.0
        """How late it has ever been in this block, in seconds."""
        self.blocked: int = 0
        """How often it has been blocked for longer than the threshold."""

    async def __aenter__(self) -> Self:
        """Begin to measure the running loop.

        Raises:
            RuntimeError: it is measuring already.
        """
        if self._loop is not None:
            raise RuntimeError("a LoopLag measures one loop at a time, and this one is at it")
        self._loop = asyncio.get_running_loop()
        self._watched = threading.get_ident()
        self._stop.clear()
        self._wait()
        self._thread = threading.Thread(target=self._watch, name="weirpool:lag", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Measure no more."""
        assert self._timer is not None
        assert self._thread is not None
        self._stop.set()
        self._timer.cancel()
        self._note(time.monotonic() - self._due)
        self._thread.join(_PATIENCE)  # a logging handler may be waiting for this loop
        self._loop = self._timer = self._thread = None

    # On the loop ------------------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        assert self._loop is not None
        self._due = time.monotonic() + self._interval
        self._timer = self._loop.call_later(self._interval, self._beat, context=Context())

    def _beat(self) -> None:
        self._note(time.monotonic() - self._due)
        self._wait()

    def _note(self, late: float) -> None:
        self.last = max(0.0, late)
        self.worst = max(self.worst, self.last)

    # In the thread ----------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        named = math.inf
        while not self._stop.wait(min(self._interval, self._threshold / 2)):
            due = self._due
            late = time.monotonic() - due
            if late > self._threshold and due != named:
                named = due  # once for each time
                self.blocked += 1
                with suppress(Exception):  # whatever a logging handler does, the next time is to be named, too
                    self._say(late)

    def _say(self, late: float) -> None:
        task = None if self._loop is None else asyncio.current_task(self._loop)
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001  # there is no other way to ask this
        stack = () if frame is None else tuple(_lines(frame))
        name = "a callback" if task is None else f"task {task.get_name()!r}"
        _log.warning(
            "the event loop is blocked, for %.3g s so far, by %s, which is at\n  %s",
            late,
            name,
            "\n  ".join(stack) or "an unknown place",
            extra=fields("loop.blocked", "", task=None if task is None else task.get_name(), blocked_for=late),
        )


def _lines(frame: FrameType | None) -> list[str]:
    """Return the innermost calls that a thread is in, outermost first, without those of the loop itself."""
    lines: list[str] = []
    while frame is not None and len(lines) < _DEEPEST and not frame.f_code.co_filename.endswith(_LOOP):
        if frame.f_code.co_filename == RUNNER:  # which called the job; everything further out is asyncio's
            break
        lines.append(line_of(frame))
        frame = frame.f_back
    return lines[::-1]


_LOOP = ("asyncio/events.py", "asyncio/base_events.py", "asyncio\\events.py", "asyncio\\base_events.py")
