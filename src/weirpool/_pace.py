"""How often something may start: the limiter of aiolimiter that says so, and the one timer for the moment when it may again.

The obvious way to wait for a limiter is a task that awaits `acquire()`. But a pool's places are given away synchronously, and
such a task would have to be ended when the pool closes. So it is asked whether it has room, which is taken when a job
starts; and while it has none, a timer is set for when it has, if there is anybody whom that would help.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable

    from aiolimiter import AsyncLimiter

__all__ = ["KeyPaces", "Pace", "check_loop", "evenly"]

_CATCH_UP = 0.05  # seconds of starts that were missed, as the loop was late, and are made up for
_HALVINGS = 30
_SOON = 1e-6  # seconds; a clock in tests may count in these
_FEW = 64


def evenly(rate: float) -> AsyncLimiter:
    """Return a limiter that lets jobs start at a steady rate, in jobs per second, and not in bursts of a second's worth."""
    from aiolimiter import AsyncLimiter  # noqa: PLC0415  # an extra, which few need

    burst = 1 + rate * _CATCH_UP
    return AsyncLimiter(burst, burst / rate)


def check_loop(limiter: AsyncLimiter, loop: asyncio.AbstractEventLoop) -> None:
    """Refuse a limiter that is of another event loop.

    Raises:
        RuntimeError: it is in use on another loop.
    """
    of = getattr(limiter, "_event_loop", None)  # no other way to know
    if of is not None and of is not loop and not of.is_closed():
        raise RuntimeError(f"rate must be a limiter of the event loop that the pool is opened on, got {limiter!r} of {of!r}")
    limiter.has_capacity()  # it warns here, if it was used on a loop that is closed now: not in the midst of starting a job


class Pace:
    """Say when the next may start.

    Args:
        limiter: what says how often; others may use it, too.
        loop: the pool's event loop.
        come: called when one may start, after it was said that none may.
    """

    __slots__ = ("_come", "_ended", "_limiter", "_loop", "_owed", "_timer")

    def __init__(self, limiter: AsyncLimiter, loop: asyncio.AbstractEventLoop, come: Callable[[], None]) -> None:
        self._limiter = limiter
        self._loop = loop
        self._come = come
        self._timer: asyncio.TimerHandle | None = None
        self._owed = 0
        self._ended = False

    def is_due(self) -> bool:
        """Say whether one may start now; if not, `come` will be called."""
        if self._timer is not None:
            return False
        while self._limiter.has_capacity():
            if not self._owed:
                return True
            self._owed -= 1
            self._acquire()
        if not self._ended:
            self._timer = self._loop.call_later(self._wait(), self._look, context=Context())
        return False

    @property
    def is_open(self) -> bool:
        """Whether one may start now; to ask this sets no timer."""
        return self._timer is None and not self._owed and self._limiter.has_capacity()

    def take(self) -> None:
        """Note that one starts.

        It should be due. But between the question and the start the garbage collector may have come by, and with it somebody's
        finalizer that has submitted a job; then the next start comes later by one.
        """
        if self._owed or not self._limiter.has_capacity():
            self._owed += 1
        else:
            self._acquire()

    @property
    def is_fresh(self) -> bool:
        """Whether it is like a new one, and so may be forgotten."""
        return self._timer is None and not self._owed and self._limiter.has_capacity(self._limiter.max_rate)

    def rest(self) -> None:
        """Drop the timer, as nobody waits; whoever asks again sets it again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """Call nobody any more, whoever asks."""
        self._ended = True
        self.rest()

    def _acquire(self) -> None:
        acquiring = self._limiter.acquire()
        with suppress(StopIteration):  # at once, as there is room
            acquiring.send(None)
        acquiring.close()

    def _look(self) -> None:
        self._timer = None
        if self.is_due():
            self._come()

    def _wait(self) -> float:
        """Return how long it takes until there is room for one, in seconds, if nobody else takes that."""
        # A limiter does not say how much room it has, only whether it has so much.
        room, more = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (room + more) / 2
            if self._limiter.has_capacity(middle):
                room = middle
            else:
                more = middle
        return (1 - room) * self._limiter.time_period / self._limiter.max_rate + _SOON


class KeyPaces:
    """Have a pace for each key, and forget those that are as good as new.

    Args:
        rate: how many jobs of one key may start in a second.
        loop: the pool's event loop.
        come: called with a key when one of its jobs may start, after it was said that none may.
    """

    __slots__ = ("_come", "_enough", "_late", "_loop", "_paces", "_rate")

    def __init__(self, rate: float, loop: asyncio.AbstractEventLoop, come: Callable[[Hashable], None]) -> None:
        self._rate = rate
        self._loop = loop
        self._come = come
        self._paces: dict[Hashable, Pace] = {}
        self._late: dict[Hashable, Pace] = {}  # those that have a timer
        self._enough = _FEW

    def __len__(self) -> int:
        return len(self._paces)

    def is_due(self, key: Hashable) -> bool:
        """Say whether a job of a key may start now; if not, `come` will be called."""
        pace = self._of(key)
        due = pace.is_due()
        if not due:
            self._late[key] = pace
        return due

    def take(self, key: Hashable) -> None:
        """Note that a job of a key starts."""
        self._of(key).take()

    def _of(self, key: Hashable) -> Pace:
        pace = self._paces.get(key)
        if pace is None:
            if len(self._paces) >= self._enough:
                self._paces = {each: known for each, known in self._paces.items() if not known.is_fresh}
                self._enough = max(_FEW, 2 * len(self._paces))
            pace = self._paces[key] = Pace(evenly(self._rate), self._loop, lambda: self._came(key))
        return pace

    def _came(self, key: Hashable) -> None:
        self._late.pop(key, None)
        self._come(key)

    def rest(self) -> None:
        """Drop the timers, as nobody waits; whoever asks again sets them again."""
        for pace in self._late.values():
            pace.rest()
        self._late.clear()

    def end(self) -> None:
        """Call nobody any more, whoever asks."""
        for pace in self._paces.values():
            pace.end()
        self._late.clear()
