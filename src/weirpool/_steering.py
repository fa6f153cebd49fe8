"""What holds a crew from starting jobs, and who waits for something to become true of how many wait and run."""

from __future__ import annotations

from asyncio import Future
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ._job import Job
    from ._lending import Wait
    from ._lifecycle import Ledger
    from ._logs import Seldom

__all__ = ["Pacer", "Steering"]


class Pacer(Protocol):
    """Whoever sees to it that so many start in a second at most."""

    async def again(self, job: Job, wait: Wait | None) -> None:
        """Wait until one more attempt at a job may be made, and there is a place for it.

        Args:
            job: the job.
            wait: what it lends its place for meanwhile, which is over in the moment in which the attempt may be made; None:
                it keeps its place.
        """
        ...

    def rest(self) -> None:
        """Drop the timers for the next start, if nobody waits for that."""
        ...


class Steering:
    """Hold one crew, and let it go.

    Args:
        ledger: the pool's books.
        most_strays: how many abandoned jobs may still run; while there are more, no job is started.
        resized: whether it is to be logged that a policy has changed the number of places.
    """

    __slots__ = ("_ledger", "awaited", "most_strays", "paced", "paused", "resized")

    def __init__(self, ledger: Ledger, most_strays: int, resized: Seldom) -> None:
        self._ledger = ledger
        self.most_strays = most_strays
        self.resized = resized
        self.paused = False
        self.paced: Pacer | None = None
        """Who says when the next job may start, if that is limited."""
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
