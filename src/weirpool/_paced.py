"""A crew and a queue that keep to a rate: jobs wait in the queue for when they may start, and their time does not run yet.

Where the pool has a rate, the crew has no place to give while none may start. Where keys have one, the lane of a key is out of
line for so long, as it is while too many of its jobs run; so other keys go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._crew import Crew
from ._lanes import Key, Lanes
from ._pace import KeyPaces, Pace, evenly
from ._queue import JobQueue

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable

    from ._job import Job
    from ._lending import Loan
    from ._lifecycle import Ledger
    from ._observers import JobListener
    from ._run import Run
    from ._settings import Settings

__all__ = ["paced"]


class PacedCrew(Crew):
    """Run the jobs of one pool, and start so many in a second at most."""

    _limit: int

    @property
    def limit(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """How many may run for one more to be started: none, while none is due."""
        pace = self.steering.pace
        assert pace is not None
        return self._limit if self._limit and pace.is_due() else 0

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit

    def begin(self, job: Job, loan: Loan | None = None) -> Run | None:
        """Start a job, which is due."""
        assert self.steering.pace is not None
        self.steering.pace.take()
        return super().begin(job, loan)


class PacedLanes(Lanes):
    """Hold jobs that wait, and let so many of one key start in a second at most.

    Args:
        aging: what a step of priority is worth, in seconds.
        limit: how many jobs of one key may run at once.
        rate: how many of them may start in a second.
        loop: the pool's event loop.
        on_due: called when a job of a key may start, after none might.
    """

    __slots__ = ("_on_due", "paces")

    def __init__(
        self, aging: float, limit: int, rate: float, loop: asyncio.AbstractEventLoop, on_due: Callable[[], None]
    ) -> None:
        super().__init__(aging, limit)
        self.paces = KeyPaces(rate, loop, self._due)
        self._on_due = on_due

    @property
    def idle(self) -> bool:
        """Never, as a key that is not in use may have started a job just now."""
        return False

    def startable(self, job: Job) -> bool:
        """Say whether one more job of this one's key may run, and is due."""
        key = None if job.ticket is None else job.ticket.key
        return super().startable(job) and (key is None or self.paces.of(key).is_due())

    def _may_run(self, key: Key) -> bool:
        return super()._may_run(key) and self.paces.of(key.name).is_due()

    def _runs(self, key: Key, job: Job) -> None:
        super()._runs(key, job)
        self.paces.of(key.name).take()

    def _due(self, name: Hashable) -> None:
        key = self._keys.get(name)
        if key is not None:
            for lane in tuple(key.lanes.values()):
                self._line_up(lane)
        self._on_due()  # in any case: its submitters may all be waiting for room


def paced(
    settings: Settings, ledger: Ledger, observers: JobListener | None, loop: asyncio.AbstractEventLoop
) -> tuple[JobQueue, Crew]:
    """Return the queue and the crew of a pool that has a rate."""

    def on_due() -> None:
        crew.place_freed()

    lanes = None
    if settings.key_rate is not None:
        lanes = PacedLanes(settings.aging, settings.key_limit, settings.key_rate, loop, on_due)
    queue = JobQueue(settings.queue_size, aging=settings.aging, key_limit=settings.key_limit, lanes=lanes)
    crew = (Crew if settings.rate is None else PacedCrew)(settings, queue, ledger, observers, loop)
    pace = None
    if settings.rate is not None:
        limiter = evenly(settings.rate) if isinstance(settings.rate, (int, float)) else settings.rate
        pace = Pace(limiter, loop, on_due)
    crew.steering.pace = pace

    async def again(job: Job) -> None:
        if lanes is not None and job.ticket is not None and job.ticket.key is not None:
            await lanes.paces.of(job.ticket.key).limiter.acquire()
        if pace is not None:
            await pace.limiter.acquire()

    def rest(_crew: object) -> None:
        if pace is not None:
            pace.rest()
        if lanes is not None:
            lanes.paces.rest()

    crew.steering.again = again
    crew.at_close(rest)
    return queue, crew
