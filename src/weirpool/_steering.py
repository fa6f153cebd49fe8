"""What holds a crew from starting jobs, and who waits for something to become true of how many wait and run."""

from __future__ import annotations

from asyncio import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from ._job import Job
    from ._lifecycle import Ledger
    from ._logs import Seldom
    from ._pace import Pace

__all__ = ["Steering"]


class Steering:
    """Hold one crew, and let it go.

    Args:
        ledger: the pool's books.
        most_strays: how many abandoned jobs may still run; while there are more, no job is started.
        resized: whether it is to be logged that a policy has changed the number of places.
    """

    __slots__ = ("_ledger", "again", "awaited", "most_strays", "pace", "paused", "resized")

    def __init__(self, ledger: Ledger, most_strays: int, resized: Seldom) -> None:
        self._ledger = ledger
        self.most_strays = most_strays
        self.resized = resized
        self.paused = False
        self.pace: Pace | None = None
        """When the next job may start, if that is limited."""
        self.again: Callable[[Job], Awaitable[None]] | None = None
        """Waits until one more attempt at a job may be made, if that is limited."""
        self.awaited: dict[asyncio.Future[None], Callable[[], bool]] = {}

    @property
    def choked(self) -> bool:
        """Whether so many abandoned jobs still run that none is started."""
        return self._ledger.strays > self.most_strays

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something has become true."""
        while not true():
            waiter: asyncio.Future[None] = Future()
            self.awaited[waiter] = true
            try:
                await waiter
            finally:
                del self.awaited[waiter]

    def look(self) -> None:
        """Wake those for whom it has."""
        for waiter, true in self.awaited.items():
            if not waiter.done() and true():
                waiter.set_result(None)
