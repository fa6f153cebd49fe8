"""A stream of every job that comes to its end, for whoever reads it.

It is attached where the observers are told, for as long as somebody reads: a pool without readers has nothing of this.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import AsyncIterator
from contextvars import Context
from typing import TYPE_CHECKING, Any

from anyio.abc import AsyncResource

from ._handle import JobHandle
from ._waiting import Waiters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._crew import Crew
    from ._job import Job, JobOwner
    from ._observers import JobListener
    from ._run import Run

__all__ = ["Readers", "Results", "Unread"]


class Unread:
    """Keep jobs that have ended until they are read.

    Args:
        most: how many, before the oldest is dropped.
    """

    def __init__(self, most: int) -> None:
        self.jobs: deque[JobHandle[Any]] = deque(maxlen=most)
        self.missed: int = 0
        self.over: bool = False
        """Whether nothing is added any more."""
        self._waiters = Waiters()

    def put(self, job: JobHandle[Any]) -> None:
        """Add a job."""
        if len(self.jobs) == self.jobs.maxlen:
            self.missed += 1
        self.jobs.append(job)
        self._waiters.wake()

    def end(self) -> None:
        """Add no more."""
        self.over = True
        self._waiters.wake()

    async def more(self) -> None:
        """Wait until there is something new."""
        await self._waiters.wait()


class Results(AsyncIterator[JobHandle[Any]], AsyncResource):
    """Iterate over the handles of a pool's jobs as they end, from when this was made until the pool is closed.

    See `WorkerPool.results`, which makes it. Each of several streams gets all jobs; tasks that iterate one share them.
    """

    def __init__(self, unread: Unread, wait: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]) -> None:
        self._unread = unread
        self._wait = wait

    async def __anext__(self) -> JobHandle[Any]:
        """Return the next job that has ended, or wait for one; cancelling this loses none.

        Raises:
            StopAsyncIteration: the pool was closed and all was read, or the stream was closed.
            RuntimeError: called from a job of the same pool, which would wait for itself; or from another thread or loop.
        """
        unread = self._unread
        while not unread.jobs:
            if unread.over:
                raise StopAsyncIteration
            await self._wait(unread.more)
        return unread.jobs.popleft()

    async def aclose(self) -> None:
        """Close the stream, and drop what was not read; whoever iterates it comes to the end. The pool goes on."""
        self._unread.end()
        self._unread.jobs.clear()

    @property
    def missed(self) -> int:
        """How many jobs were dropped unread, the oldest first, because the buffer was full."""
        return self._unread.missed

    def __repr__(self) -> str:
        return f"<Results: {len(self._unread.jobs)} to read, {self.missed} missed>"


class Readers:
    """Stand where a pool's observers would while there are streams, fill these, and pass on what those hear.

    Args:
        crew: who tells them.
    """

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        # Weak: a stream that was dropped, by a `break` for instance, is one that nobody reads any more.
        self._streams: list[weakref.ref[Unread]] = []
        self._attached = False
        self._next: JobListener | None = None
        self._open = crew.at_close(self._closed)

    def add(self, stream: Unread) -> None:
        """Fill a stream from now on, until the pool is closed."""
        if not self._open:
            stream.end()
            return
        self._streams.append(weakref.ref(stream))
        if not self._attached:
            self._attached = True
            self._next = self._crew.listen(self)

    def _closed(self, _: JobOwner) -> None:
        self._open = False
        for reference in self._streams:
            if (stream := reference()) is not None:
                stream.end()
        self._streams.clear()

    def _trim(self) -> None:
        """Forget the streams that nobody reads, and leave if there is no other."""
        self._streams = [reference for reference in self._streams if (stream := reference()) is not None and not stream.over]
        if self._attached and not self._streams:
            self._attached = False
            self._crew.listen(self._next)

    def job_ended(self, job: Job, run: Run | None) -> None:
        """Fill the streams, and pass it on."""
        gone = False
        for reference in tuple(self._streams):
            stream = reference()
            if stream is None or stream.over:
                gone = True
            else:
                stream.put(job)
        if gone:  # not now: who calls this relies on there being somebody to call
            self._crew.loop.call_soon(self._trim, context=Context())
        if self._next is not None:
            self._next.job_ended(job, run)

    def job_accepted(self, job: Job) -> None:
        """Pass it on."""
        if self._next is not None:
            self._next.job_accepted(job)

    def job_started(self, job: Job, run: Run) -> None:
        """Pass it on."""
        if self._next is not None:
            self._next.job_started(job, run)

    def stray_ended(self, job: Job) -> None:
        """Pass it on."""
        if self._next is not None:
            self._next.stray_ended(job)

    def pool_resized(self, was: int, now: int, reason: str) -> None:
        """Pass it on."""
        if self._next is not None:
            self._next.pool_resized(was, now, reason)


Results.__module__ = "weirpool"
