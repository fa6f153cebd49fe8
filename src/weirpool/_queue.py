"""The bounded queue of accepted jobs: an `asyncio.Queue` that keeps its bound and its order, and lets a job leave.

What asyncio's queue does not give, and this one does: a size of 0 means no room (not "infinite"), a cancelled job's
place is free at once, and its memory is too. Waiting for room is not done here: the queue's own `put()` lets a
newcomer overtake whoever waits, so submitters wait in a line of their own (`_admission`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from ._job import Job
from ._lanes import Lanes
from ._lifecycle import QUEUED

if TYPE_CHECKING:
    from collections.abc import Hashable

__all__ = ["JobQueue"]

_SHORT = 64


class JobQueue(asyncio.Queue[Job]):
    """Hold at most `maxsize` accepted jobs, in the order in which they are to start.

    That is the order in which they were accepted, until a job comes that has a priority or a key; from then on, while there
    are such, `_lanes` has it. A job that leaves from the middle stays behind as a tombstone, which nobody counts. Tombstones
    are swept from a short queue at once, and from a long one when they are as many as the living: so every operation is O(1),
    amortised, and memory stays within twice that of the living.

    Args:
        maxsize: how many jobs may wait; 0: none.
        aging: how many seconds of waiting a step of priority is worth.
        key_limit: how many jobs of one key may run at once.
        lanes: where jobs wait, always; None: only while any has a priority or a key.
    """

    _jobs: deque[Job]
    _gone: int

    def __init__(self, maxsize: int = 0, *, aging: float = 10.0, key_limit: int = 1, lanes: Lanes | None = None) -> None:
        super().__init__(maxsize)
        self._aging = aging
        self._key_limit = key_limit
        self.lanes = lanes  # where the jobs are, while any that waits has a priority, or any at all has a key

    def _init(self, maxsize: int) -> None:  # noqa: ARG002  (asyncio.Queue calls it so)
        self._jobs = deque()
        self._gone = 0

    # As any queue -------------------------------------------------------------------------------------------------------

    def put_nowait(self, item: Job) -> None:
        """Add a job.

        Raises:
            asyncio.QueueFull: there is no room.
        """
        if self.full():
            raise asyncio.QueueFull
        self.add(item)

    def get_nowait(self) -> Job:
        """Remove and return the job that is to start next.

        Raises:
            asyncio.QueueEmpty: none may start.
        """
        job = self.take()
        if job is None:
            raise asyncio.QueueEmpty
        return job

    def qsize(self) -> int:
        """Return how many jobs wait; tombstones do not count."""
        return len(self._jobs) - self._gone if self.lanes is None else self.lanes.living

    def empty(self) -> bool:
        """Say whether no job waits."""
        return not self.qsize()

    def full(self) -> bool:
        """Say whether no further job may wait; a queue of size 0 is always full."""
        return self.qsize() >= self.maxsize

    # As this one --------------------------------------------------------------------------------------------------------

    def add(self, job: Job) -> None:
        """Add a job for which there is room, as the caller knows."""
        if self.lanes is None and job.ticket is None:
            self._jobs.append(job)
        else:
            self._with_lanes().put(job)

    def take(self) -> Job | None:
        """Remove and return the job that is to start next, if one may."""
        if self.lanes is not None:
            return self._take_from(self.lanes)
        jobs = self._jobs
        if not jobs:
            return None
        job = jobs.popleft()
        if self._gone:
            while job.status is not QUEUED:
                self._gone -= 1
                job = jobs.popleft()
            self._sweep_if_due()  # so that where there are any, there is a living one
        return job

    def take_newest(self) -> Job | None:
        """Remove and return the newest of the jobs that may start, of the first priority."""
        if self.lanes is not None:
            return self._take_from(self.lanes, newest=True)
        jobs = self._jobs
        while jobs:
            job = jobs.pop()
            if job.status is QUEUED:
                return job
            self._gone -= 1
        return None

    def peek(self) -> Job | None:
        """Return the job that is to start next, if one may, and leave it where it is."""
        if self.lanes is not None:
            return self.lanes.peek()
        jobs = self._jobs
        while jobs:
            job = jobs[0]
            if job.status is QUEUED:
                return job
            self._gone -= 1
            jobs.popleft()
        return None

    def victim(self, newcomer: Job | None = None) -> Job | None:
        """Return the job that is to go first, if one has to for the sake of a newcomer: the oldest of those that matter least.

        None, if the newcomer matters less.
        """
        job = self.peek() if self.lanes is None else self.lanes.victim()
        if job is not None and newcomer is not None and _priority(newcomer) > _priority(job):
            return None
        return job

    @property
    def ready(self) -> bool:
        """Whether a job waits that may start: all may have to wait for others of their key."""
        return not self.empty() if self.lanes is None else self.lanes.peek() is not None

    def startable(self, job: Job) -> bool:
        """Say whether a job that has not been accepted might run now: not too many of its key do."""
        return self.lanes is None or self.lanes.startable(job)

    def started(self, job: Job) -> None:
        """Note that a job with a ticket has been given a place without having waited."""
        if job.ticket is not None and job.ticket.key is not None:
            self._with_lanes().started(job, job.ticket.key)

    def ended(self, job: Job, *, ran: bool) -> None:
        """Note that a job with a ticket has ended.

        Args:
            job: the job.
            ran: whether it has been given a place, or taken from the queue for one.
        """
        lanes = self.lanes
        if lanes is not None:
            if job.ticket is not None and job.ticket.key is not None:
                lanes.ended(job, job.ticket.key, ran=ran)
            self._without(lanes)

    def find(self, key: Hashable) -> Job | None:
        """Return a job of a key that has not ended, if there is one."""
        return None if self.lanes is None else self.lanes.find(key)

    def ahead_of(self, job: Job) -> list[Job]:
        """Return the jobs of which one has to end for a job that does not run to start, as they have the same key."""
        return [] if self.lanes is None else self.lanes.ahead_of(job)

    def discard(self) -> None:
        """Note that one job in here is no longer QUEUED: it has become a tombstone."""
        if self.lanes is not None:
            self.lanes.discard()
            self._without(self.lanes)
        else:
            self._gone += 1
            self._sweep_if_due()

    def _take_from(self, lanes: Lanes, *, newest: bool = False) -> Job | None:
        job = lanes.take(newest=newest)
        self._without(lanes)
        return job

    def _without(self, lanes: Lanes) -> None:
        """Be a plain queue again, if nothing waits and no key is in use."""
        if lanes.idle:
            self.lanes = None

    def _with_lanes(self) -> Lanes:
        """Return the lanes, into which all that waits has gone."""
        if self.lanes is None:
            self.lanes = lanes = Lanes(self._aging, self._key_limit)
            jobs, self._jobs, self._gone = self._jobs, deque(), 0
            for job in jobs:
                if job.status is QUEUED:
                    lanes.put(job)
        return self.lanes

    def _sweep_if_due(self) -> None:
        while self._gone and (self._gone * 2 >= len(self._jobs) or len(self._jobs) <= _SHORT):
            jobs = self._jobs
            before = tuple(jobs)
            living = deque([job for job in before if job.status is QUEUED])
            # Else the garbage collector has come by, and with it somebody's finalizer that submits or cancels.
            if jobs is self._jobs and len(jobs) == len(before):
                self._jobs, self._gone = living, 0


def _priority(job: Job) -> int:
    return 0 if job.ticket is None else job.ticket.priority
