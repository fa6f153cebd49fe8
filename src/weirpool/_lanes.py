"""The order of start where jobs have priorities and keys.

A bucket for each priority, in a heap: the first is the one whose next job has the earliest `accepted + priority * aging`. So
a step of priority is worth `aging` seconds of waiting, for ever: all jobs grow old at the same rate, and their order never
changes. In a bucket the jobs of one key have a lane of their own, which is in line once, however long it is, and goes to the
end of the line when one of them has been started: so keys take turns with each other, and with the jobs that have none. A
lane whose key has as many jobs running as may is out of line until one of these ends.

A job that leaves by itself stays behind as a tombstone that nobody counts; what is left is swept away when there are more of
them than of the living.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING

from ._lifecycle import QUEUED
from ._ticket import Ticket

if TYPE_CHECKING:
    from collections.abc import Hashable

    from ._job import Job

__all__ = ["Lanes"]

_FEW = 64
_PLAIN = Ticket(0, None)


class Key:
    """A key that some unfinished job has; it is forgotten with the last of them."""

    __slots__ = ("jobs", "lanes", "name", "running")

    def __init__(self, name: Hashable) -> None:
        self.name = name
        self.jobs: dict[Job, None] = {}
        self.lanes: dict[int, Lane] = {}
        self.running: dict[Job, None] = {}


class Lane:
    """The queued jobs of one key and priority.

    Attributes:
        in_line: whether it stands in the line of its bucket.
        since: since when it counts as waiting there: that of its first job when it came, and not before those ahead of it.
            Its turn stays its turn if that job leaves.
    """

    __slots__ = ("bucket", "in_line", "jobs", "key", "since")

    def __init__(self, key: Key, bucket: Bucket) -> None:
        self.key = key
        self.bucket = bucket
        self.jobs: deque[Job] = deque()
        self.in_line = False
        self.since = 0.0


class Bucket:
    """What waits with one priority: the line, and the lanes that are out of it."""

    __slots__ = ("line", "number", "out", "priority", "shown")

    def __init__(self, priority: int, number: int) -> None:
        self.priority = priority
        self.number = number
        self.line: deque[Job | Lane] = deque()
        self.out: dict[Lane, None] = {}
        self.shown = False
        """Whether it is in the heap."""


class Lanes:
    """Hold jobs that wait, and the keys of those that run.

    Args:
        aging: what a step of priority is worth, in seconds.
        limit: how many jobs of one key may run at once.
    """

    __slots__ = ("_aging", "_buckets", "_gone", "_heap", "_keys", "_limit", "_made", "_worst", "living")

    def __init__(self, aging: float, limit: int) -> None:
        self._aging = aging
        self._limit = limit
        self._buckets: dict[int, Bucket] = {}
        self._made = 0
        # Both may have entries of buckets that have been forgotten.
        self._heap: list[tuple[float, int, int, Bucket]] = []
        self._worst: list[int] = []  # the priorities, negated
        self._keys: dict[Hashable, Key] = {}
        self._gone = 0
        self.living = 0

    @property
    def idle(self) -> bool:
        """Whether nothing waits and no key is in use."""
        return not self.living and not self._keys

    # Jobs come ----------------------------------------------------------------------------------------------------------

    def put(self, job: Job) -> None:
        """Add a job that waits."""
        ticket = job.ticket or _PLAIN
        bucket = self._bucket(ticket.priority)
        self.living += 1
        if ticket.key is None:
            bucket.line.append(job)
            self._show(bucket)
            return
        key = self._key(ticket.key)
        key.jobs[job] = None
        lane = key.lanes.get(ticket.priority)
        if lane is None:
            lane = key.lanes[ticket.priority] = Lane(key, bucket)
        lane.jobs.append(job)
        self._line_up(lane)

    def startable(self, job: Job) -> bool:
        """Say whether one more job of this one's key may run."""
        return self._full(job) is None

    def ahead_of(self, job: Job) -> list[Job]:
        """Return the jobs of which one has to end for one more of this one's key to run; none if that may run now."""
        key = self._full(job)
        return [] if key is None else list(key.running)

    def _full(self, job: Job) -> Key | None:
        """Return a job's key, if as many of it run as may."""
        key = None if job.ticket is None or job.ticket.key is None else self._keys.get(job.ticket.key)
        return None if key is None or len(key.running) < self._limit else key

    def started(self, job: Job, name: Hashable) -> None:
        """Note that a job of a key, which has not waited, runs."""
        key = self._key(name)
        key.jobs[job] = None
        self._runs(key, job)

    def find(self, name: Hashable) -> Job | None:
        """Return a job of a key that has not ended, if there is one: the newest, which waits if any does."""
        key = self._keys.get(name)
        return None if key is None or not key.jobs else next(reversed(key.jobs))

    def startable_jobs(self) -> int:
        """Count the jobs that might run if there were places for all."""
        return sum(
            min(len(entry.jobs), self._limit - len(entry.key.running)) if isinstance(entry, Lane) else entry.status is QUEUED
            for bucket in self._buckets.values()
            for entry in bucket.line
        )

    # Jobs go ------------------------------------------------------------------------------------------------------------

    def take(self, *, newest: bool = False) -> Job | None:
        """Remove and return the job that is to start next, if one may; the newest of its priority if that is wanted."""
        bucket = self._first()
        if bucket is None:
            return None
        entry = bucket.line[0]
        if newest:
            while not self._is_due(entry := bucket.line[-1], newest=True):
                self._out_of_line(bucket, bucket.line.pop())
        if isinstance(entry, Lane):
            job = entry.jobs.pop() if newest else entry.jobs.popleft()
            self._runs(entry.key, job)
            entry.in_line = False
        else:
            job = entry
        if newest:
            bucket.line.pop()
        else:
            bucket.line.popleft()
        self.living -= 1
        if isinstance(entry, Lane):
            self._line_up(entry)
        self._forget_if_empty(bucket)
        return job

    def peek(self) -> Job | None:
        """Return the job that is to start next, if one may, and leave it where it is."""
        bucket = self._first()
        return None if bucket is None else _head(bucket.line[0])

    def victim(self) -> Job | None:
        """Return the job that is to go first if one has to: the oldest of those that matter least."""
        worst = self._worst
        while worst:
            bucket = self._buckets.get(-worst[0])
            if bucket is not None:
                self._clean(bucket)
                if bucket.line:
                    return _head(bucket.line[0])
                while bucket.out:
                    lane = next(iter(bucket.out))
                    if self._has_jobs(lane):  # else it is out of there, too
                        return lane.jobs[0]
                if bucket.line or bucket.out or worst[:1] != [-bucket.priority]:  # somebody's finalizer has come by
                    continue
            heapq.heappop(worst)
            if bucket is not None:
                self._forget_if_empty(bucket)
        return None

    def discard(self) -> None:
        """Note that one job in here is no longer QUEUED: it has become a tombstone."""
        self.living -= 1
        self._gone += 1
        if self._gone > max(_FEW, self.living):
            self._sweep()

    def ended(self, job: Job, name: Hashable, *, ran: bool) -> None:
        """Note that a job of a key has ended; if it has run, the next of its key may."""
        key = self._keys[name]
        key.jobs.pop(job, None)
        if ran:
            del key.running[job]
        if key.jobs:
            for lane in tuple(key.lanes.values()):
                self._line_up(lane)
        else:
            del self._keys[name]
            for lane in key.lanes.values():  # of tombstones
                lane.bucket.out.pop(lane, None)

    # The line -----------------------------------------------------------------------------------------------------------

    def _bucket(self, priority: int) -> Bucket:
        bucket = self._buckets.get(priority)
        if bucket is None:
            self._made += 1
            bucket = self._buckets[priority] = Bucket(priority, self._made)
            heapq.heappush(self._worst, -priority)
        return bucket

    def _forget_if_empty(self, bucket: Bucket) -> None:
        """Forget a bucket that is empty, and what the heaps have of such if it is most of what they have."""
        if bucket.line or bucket.out or self._buckets.get(bucket.priority) is not bucket:
            return
        del self._buckets[bucket.priority]
        enough = max(_FEW, 2 * len(self._buckets))
        if len(self._heap) > enough:
            self._heap = [entry for entry in self._heap if self._buckets.get(entry[1]) is entry[3]]
            heapq.heapify(self._heap)
        if len(self._worst) > enough:
            self._worst[:] = [-priority for priority in self._buckets]
            heapq.heapify(self._worst)

    def _key(self, name: Hashable) -> Key:
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = Key(name)
        return key

    def _line_up(self, lane: Lane) -> None:
        """Put a lane at the end of the line if one of its jobs may start."""
        if lane.in_line or not self._has_jobs(lane):
            return
        if self._may_run(lane.key):
            line = lane.bucket.line
            lane.since = max(lane.jobs[0].accepted_at, _since(line[-1])) if line else lane.jobs[0].accepted_at
            lane.in_line = True
            lane.bucket.out.pop(lane, None)
            line.append(lane)
            self._show(lane.bucket)
        else:
            lane.bucket.out[lane] = None

    def _may_run(self, key: Key) -> bool:
        """Say whether one more job of a key may run."""
        return len(key.running) < self._limit

    def _runs(self, key: Key, job: Job) -> None:
        """Note that a job of a key has a place now."""
        key.running[job] = None

    def _has_jobs(self, lane: Lane) -> bool:
        """Say whether a lane has jobs that wait, after the tombstones at its head have gone; forget it if not."""
        jobs = lane.jobs
        while jobs and jobs[0].status is not QUEUED:
            self._gone -= 1
            jobs.popleft()
        if not jobs:
            lane.bucket.out.pop(lane, None)
            if not lane.in_line:
                lane.key.lanes.pop(lane.bucket.priority, None)
        return bool(jobs)

    def _is_due(self, entry: Job | Lane, *, newest: bool = False) -> bool:
        """Say whether what stands at one end of the line may start."""
        if not isinstance(entry, Lane):
            return entry.status is QUEUED
        if newest:
            while entry.jobs and entry.jobs[-1].status is not QUEUED:
                self._gone -= 1
                entry.jobs.pop()
        return self._has_jobs(entry) and self._may_run(entry.key)

    def _out_of_line(self, bucket: Bucket, entry: Job | Lane) -> None:
        """Note that something has been taken out of the line that may not start."""
        if not isinstance(entry, Lane):
            self._gone -= 1
        else:
            entry.in_line = False
            if self._has_jobs(entry):
                bucket.out[entry] = None

    def _clean(self, bucket: Bucket) -> None:
        """Take out of the line what may not start, until something comes that may."""
        while bucket.line and not self._is_due(bucket.line[0]):
            self._out_of_line(bucket, bucket.line.popleft())

    def _show(self, bucket: Bucket) -> None:
        """Put a bucket with a line into the heap."""
        if not bucket.shown:
            bucket.shown = True
            heapq.heappush(self._heap, self._entry(bucket))

    def _entry(self, bucket: Bucket) -> tuple[float, int, int, Bucket]:
        return self._time(bucket), bucket.priority, bucket.number, bucket

    def _time(self, bucket: Bucket) -> float:
        """Return what decides between buckets: since when the next job waits, or would with priority 0; it only grows."""
        return _since(bucket.line[0]) + bucket.priority * self._aging

    def _first(self) -> Bucket | None:
        """Return the bucket whose next job is the next of all, if any may start."""
        while self._heap:
            heap = self._heap
            entry = heap[0]
            time, priority, _, bucket = entry
            if self._buckets.get(priority) is not bucket:
                heapq.heappop(heap)
                continue
            self._clean(bucket)
            if not heap or heap is not self._heap or heap[0] is not entry:  # somebody's finalizer has come by
                continue
            if not bucket.line:
                heapq.heappop(heap)
                bucket.shown = False
                self._forget_if_empty(bucket)
            elif self._time(bucket) > time:  # the job that it was shown for has gone
                heapq.heapreplace(heap, self._entry(bucket))
            else:
                return bucket
        return None

    def _sweep(self) -> None:
        """Let go of all tombstones."""
        for bucket in tuple(self._buckets.values()):
            for lane in (*(entry for entry in bucket.line if isinstance(entry, Lane)), *bucket.out):
                waiting = tuple(lane.jobs)
                jobs = deque(job for job in waiting if job.status is QUEUED)
                if len(lane.jobs) == len(waiting):  # else somebody's finalizer has come by
                    self._gone -= len(waiting) - len(jobs)
                    lane.jobs = jobs
                    self._has_jobs(lane)
            before = tuple(bucket.line)
            line = deque(entry for entry in before if (entry.jobs if isinstance(entry, Lane) else entry.status is QUEUED))
            if len(bucket.line) == len(before):
                bucket.line = line
                for entry in before:
                    if not isinstance(entry, Lane):
                        self._gone -= entry.status is not QUEUED
                    elif not entry.jobs:
                        self._out_of_line(bucket, entry)
                self._forget_if_empty(bucket)


def _head(entry: Job | Lane) -> Job:
    return entry.jobs[0] if isinstance(entry, Lane) else entry


def _since(entry: Job | Lane) -> float:
    return entry.since if isinstance(entry, Lane) else entry.accepted_at
