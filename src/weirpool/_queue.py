"""The bounded queue of accepted jobs: an `asyncio.Queue` that keeps its bound and its order, and lets a job leave.

What asyncio's queue does not give, and this one does: a size of 0 means no room (not "infinite"), a cancelled job's
place is free at once, and its memory is too. Waiting for room is not done here: the queue's own `put()` lets a
newcomer overtake whoever waits, so submitters wait in a line of their own (`_admission`).
"""

from __future__ import annotations

import asyncio
from collections import deque

from ._job import Job
from ._lifecycle import QUEUED

__all__ = ["JobQueue"]

_SHORT = 64


class JobQueue(asyncio.Queue[Job]):
    """Hold at most `maxsize` accepted jobs, in the order in which they were accepted.

    A job that leaves from the middle stays behind as a tombstone, which nobody counts. Tombstones are swept from a short queue
    at once, and from a long one when they are as many as the living: so every operation is O(1), amortised, and memory stays
    within twice that of the living.
    """

    _jobs: deque[Job]
    _gone: int

    def _init(self, maxsize: int) -> None:  # noqa: ARG002  (asyncio.Queue calls it so)
        self._jobs = deque()
        self._gone = 0

    def get_nowait(self) -> Job:
        """Remove and return the job that has waited longest.

        Raises:
            asyncio.QueueEmpty: none waits.
        """
        jobs = self._jobs
        if not jobs:
            raise asyncio.QueueEmpty
        job = jobs.popleft()
        if self._gone:
            while job.status is not QUEUED:
                self._gone -= 1
                job = jobs.popleft()
            self._sweep_if_due()  # so that where there are any, there is a living one
        return job

    def put_nowait(self, item: Job) -> None:
        """Append a job.

        Raises:
            asyncio.QueueFull: there is no room.
        """
        if len(self._jobs) - self._gone >= self.maxsize:
            raise asyncio.QueueFull
        self._jobs.append(item)

    def qsize(self) -> int:
        """Return how many jobs wait; tombstones do not count."""
        return len(self._jobs) - self._gone

    def empty(self) -> bool:
        """Say whether no job waits."""
        return len(self._jobs) == self._gone

    def full(self) -> bool:
        """Say whether no further job may wait; a queue of size 0 is always full."""
        return len(self._jobs) - self._gone >= self.maxsize

    def discard(self) -> None:
        """Note that one job in here is no longer QUEUED: it has become a tombstone."""
        self._gone += 1
        self._sweep_if_due()

    def _sweep_if_due(self) -> None:
        while self._gone and (self._gone * 2 >= len(self._jobs) or len(self._jobs) <= _SHORT):
            jobs = self._jobs
            before = tuple(jobs)
            living = deque([job for job in before if job.status is QUEUED])
            # Else the garbage collector has come by, and with it somebody's finalizer that submits or cancels.
            if jobs is self._jobs and len(jobs) == len(before):
                self._jobs, self._gone = living, 0
