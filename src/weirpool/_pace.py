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

__all__ = ["KeyPaces", "Pace", "evenly"]

_CATCH_UP = 0.05  # seconds of starts that were missed, as the loop was late, and are made up for
_HALVINGS = 30
_SOON = 1e-6  # seconds; a clock in tests may count in these
_FEW = 64


def evenly(rate: float) -> AsyncLimiter:
    """Return a limiter that lets jobs start at a steady rate, in jobs per second, and not in bursts of a second's worth."""
    from aiolimiter import AsyncLimiter  # noqa: PLC0415  # an extra, which few need

    burst = 1 + rate * _CATCH_UP
    return AsyncLimiter(burst, burst / rate)


class Pace:
    """Say when the next may start.

    Args:
        limiter: what says how often; others may use it, too.
        loop: the pool's event loop.
        come: called when one may start, after it was said that none may.
    """

    __slots__ = ("_come", "_loop", "_timer", "limiter")

    def __init__(self, limiter: AsyncLimiter, loop: asyncio.AbstractEventLoop, come: Callable[[], None]) -> None:
        self.limiter = limiter
        self._loop = loop
        self._come = come
        self._timer: asyncio.TimerHandle | None = None

    def is_due(self) -> bool:
        """Say whether one may start now; if not, `come` will be called."""
        if self.limiter.has_capacity():
            return True
        if self._timer is None:
            self._timer = self._loop.call_later(self._wait(), self._look, context=Context())
        return False

    def take(self) -> None:
        """Note that one starts, which is due."""
        acquiring = self.limiter.acquire()
        with suppress(StopIteration):  # at once, as there is room
            acquiring.send(None)
        acquiring.close()

    @property
    def is_fresh(self) -> bool:
        """Whether it is like a new one, and so may be forgotten."""
        return self._timer is None and self.limiter.has_capacity(self.limiter.max_rate)

    def rest(self) -> None:
        """Call nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

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
            if self.limiter.has_capacity(middle):
                room = middle
            else:
                more = middle
        return (1 - room) * self.limiter.time_period / self.limiter.max_rate + _SOON


class KeyPaces:
    """Have a pace for each key, and forget those that are as good as new.

    Args:
        rate: how many jobs of one key may start in a second.
        loop: the pool's event loop.
        come: called with a key when one of its jobs may start, after it was said that none may.
    """

    __slots__ = ("_come", "_enough", "_loop", "_paces", "_rate")

    def __init__(self, rate: float, loop: asyncio.AbstractEventLoop, come: Callable[[Hashable], None]) -> None:
        self._rate = rate
        self._loop = loop
        self._come = come
        self._paces: dict[Hashable, Pace] = {}
        self._enough = _FEW

    def __len__(self) -> int:
        return len(self._paces)

    def of(self, key: Hashable) -> Pace:
        """Return the pace of a key."""
        pace = self._paces.get(key)
        if pace is None:
            if len(self._paces) >= self._enough:
                self._paces = {each: known for each, known in self._paces.items() if not known.is_fresh}
                self._enough = max(_FEW, 2 * len(self._paces))
            pace = self._paces[key] = Pace(evenly(self._rate), self._loop, lambda: self._come(key))
        return pace

    def rest(self) -> None:
        """Call nobody any more."""
        for pace in self._paces.values():
            pace.rest()
