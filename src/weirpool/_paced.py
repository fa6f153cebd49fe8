"""A crew and a queue that keep to a rate: jobs wait in the queue for when they may start, and their time does not run yet.

Where the pool has a rate, the crew has no place to give while none may start. Where keys have one, the lane of a key is out of
line for so long, as it is while too many of its jobs run; so other keys go on. Another attempt at a job is a start, too: those
that are to be tried again stand in a line of their own, before the queue, as they were accepted before what waits there.
"""

from __future__ import annotations

from asyncio import Future
from typing import TYPE_CHECKING

from ._crew import Crew
from ._lanes import Key, Lanes
from ._pace import KeyPaces, Pace, check_loop, evenly
from ._queue import JobQueue

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Hashable

    from ._job import Job, Outcome
    from ._lending import Loan, Wait
    from ._lifecycle import JobState, Ledger
    from ._observers import JobListener
    from ._run import Run
    from ._settings import Settings

__all__ = ["paced"]


class Turn(Future[None]):
    """What a job waits for that is to be tried again.

    Args:
        job: the job.
        wait: what it lends its place for meanwhile; None: it keeps that.
    """

    def __init__(self, job: Job, wait: Wait | None) -> None:
        super().__init__()
        self.job = job
        self.wait = wait

    @property
    def wants_place(self) -> bool:
        """Whether the attempt needs a place, which the job has not."""
        return self.wait is not None and self.wait.loan.wanted

    def set_result(self, result: None) -> None:
        """Be done; the job has a place again in the same moment, else that would go to another start which is not due."""
        if self.wait is not None:
            self.wait.over()
        super().set_result(result)


class PacedCrew(Crew):
    """Run the jobs of one pool, and start so many in a second at most.

    Args:
        settings: what the pool is asked to be.
        queue: where the next job comes from.
        ledger: the pool's books.
        observers: whom to tell, or None.
        loop: the pool's event loop.
        pace: when the next job may start; None: at any time.
        keys: when the next of each key may; None: at any time.
    """

    _limit: int

    def __init__(
        self,
        settings: Settings,
        queue: JobQueue,
        ledger: Ledger,
        observers: JobListener | None,
        loop: asyncio.AbstractEventLoop,
        pace: Pace | None,
        keys: KeyPaces | None,
    ) -> None:
        super().__init__(settings, queue, ledger, observers, loop)
        self._pace = pace
        self._keys = keys
        self._again: dict[Turn, None] = {}
        self.steering.paced = self

    @property
    def limit(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """How many may run for one more to be started: none, while none is due."""
        return self._limit if self._limit and (self._pace is None or self._pace.is_due()) else 0

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit

    @property
    def full(self) -> bool:
        """Whether no more can start for now; to ask this sets no timer."""
        return self._ledger.running >= self._limit or (self._pace is not None and not self._pace.is_open)

    def begin(self, job: Job, loan: Loan | None = None) -> Run | None:
        """Start a job, which is due."""
        self._count(job)
        return super().begin(job, loan)

    @property
    def returning(self) -> int:
        """How many jobs wait to have a place again."""
        return super().returning + len(self._again)

    def fill(self) -> None:
        """Let those go on that are to be tried again, and then start queued jobs, while there are places, and some are due."""
        if self._again:
            self._try_again()
        super().fill()

    def settle(self, job: Job, state: JobState, outcome: Outcome) -> None:
        """End a running job, free its place and give the place to the next."""
        super().settle(job, state, outcome)
        if self._again:
            self.fill()

    # Attempts -----------------------------------------------------------------------------------------------------------

    async def again(self, job: Job, wait: Wait | None) -> None:
        """Wait until one more attempt at a job may be made, and there is a place for it."""
        turn = Turn(job, wait)
        self._again[turn] = None
        try:
            self._try_again()
            self.crowded()
            await turn
        finally:
            self._again.pop(turn, None)
            self.rest()

    def _try_again(self) -> None:
        """Let those go on that are due, and for whom there is a place, first come, first served."""
        if self._back:
            self.lending.serve()
        for turn in tuple(self._again):
            if self._pace is not None and not self._pace.is_due():
                break
            fits = not turn.wants_place or (not self._back and self._ledger.running < self.places)
            if fits and not turn.done() and self._is_due(turn.job):
                del self._again[turn]
                self._count(turn.job)
                turn.set_result(None)

    def _is_due(self, job: Job) -> bool:
        """Say whether a job may be tried again now, as far as its key goes."""
        return self._keys is None or job.ticket is None or job.ticket.key is None or self._keys.is_due(job.ticket.key)

    def _count(self, job: Job) -> None:
        """Count a start."""
        if self._pace is not None:
            self._pace.take()
        if self._keys is not None and job.ticket is not None and job.ticket.key is not None:
            self._keys.take(job.ticket.key)

    def _set_limit(self) -> bool:
        more = super()._set_limit()
        self.rest()  # as it has asked when the next is due, for nobody
        return more

    # Timers -------------------------------------------------------------------------------------------------------------

    def rest(self) -> None:
        """Drop the timers for the next start, if nobody waits for that."""
        if not self._ledger.queued and not self._again and self.on_room is None:
            if self._pace is not None:
                self._pace.rest()
            if self._keys is not None:
                self._keys.rest()

    def _left(self) -> None:
        super()._left()
        self.rest()


class PacedLanes(Lanes):
    """Hold jobs that wait, and let so many of one key start in a second at most.

    Args:
        aging: what a step of priority is worth, in seconds.
        limit: how many jobs of one key may run at once.
        paces: when the next job of each key may start.
    """

    __slots__ = ("_paces",)

    def __init__(self, aging: float, limit: int, paces: KeyPaces) -> None:
        super().__init__(aging, limit)
        self._paces = paces

    @property
    def idle(self) -> bool:
        """Never, as a key that is not in use may have started a job just now."""
        return False

    def startable(self, job: Job) -> bool:
        """Say whether one more job of this one's key may run, and is due."""
        key = None if job.ticket is None else job.ticket.key
        return super().startable(job) and (key is None or self._paces.is_due(key))

    def due(self, name: Hashable) -> None:
        """Note that a job of a key may start, after none might."""
        key = self._keys.get(name)
        if key is not None:
            for lane in tuple(key.lanes.values()):
                self._line_up(lane)

    def _may_run(self, key: Key) -> bool:
        return super()._may_run(key) and self._paces.is_due(key.name)


def paced(
    settings: Settings, ledger: Ledger, observers: JobListener | None, loop: asyncio.AbstractEventLoop
) -> tuple[JobQueue, Crew]:
    """Return the queue and the crew of a pool that has a rate.

    Raises:
        RuntimeError: the limiter is in use on another event loop.
    """

    def come(key: Hashable = None) -> None:
        if lanes is not None:
            lanes.due(key)
        crew.place_freed()  # in any case: submitters may all be waiting for room

    pace = keys = lanes = None
    if settings.rate is not None:
        limiter = evenly(settings.rate) if isinstance(settings.rate, (int, float)) else settings.rate
        check_loop(limiter, loop)
        pace = Pace(limiter, loop, come)
    if settings.key_rate is not None:
        keys = KeyPaces(settings.key_rate, loop, come)
        lanes = PacedLanes(settings.aging, settings.key_limit, keys)
    queue = JobQueue(settings.queue_size, aging=settings.aging, key_limit=settings.key_limit, lanes=lanes)
    crew = PacedCrew(settings, queue, ledger, observers, loop, pace, keys)

    def end(_crew: object) -> None:
        if pace is not None:
            pace.end()
        if keys is not None:
            keys.end()

    crew.at_close(end)
    return queue, crew
