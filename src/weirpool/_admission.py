"""The way in: a job is accepted now, its submitter waits in line for room, or it is refused with a reason.

Room is handed to those who wait in the order in which they asked, as a reservation that the submitter turns into an
accepted job when it wakes. So a submitter that has gone by then (cancelled in the same turn of the loop) has accepted
nothing: it hands its reservation on, and leaves no trace. While anybody waits, nobody overtakes.
"""

from __future__ import annotations

import enum
import math
from collections import OrderedDict
from contextvars import Context
from typing import TYPE_CHECKING, Literal, NoReturn

from ._errors import PoolClosed, PoolOverloaded
from ._lifecycle import OPEN, Ledger, PoolState

if TYPE_CHECKING:
    import asyncio

    from ._crew import Crew
    from ._job import Job
    from ._observers import Observers

__all__ = ["Admission"]

_LONGEST_RETRY = 60
_RATE_WINDOW = 10.0


class _Answer(enum.Enum):
    """What a submitter that waits is woken with."""

    ROOM = enum.auto()
    NO_TIME = enum.auto()
    CLOSED = enum.auto()


class Admission:
    """Admit jobs to one pool.

    Args:
        name: the pool's name.
        queue_size: how many accepted jobs may wait.
        crew: who runs them.
        ledger: the pool's books.
        observers: whom to tell, or None.
        loop: the pool's event loop.
    """

    def __init__(
        self,
        name: str,
        queue_size: int,
        crew: Crew,
        ledger: Ledger,
        observers: Observers | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._name = name
        self._queue_size = queue_size
        self._crew = crew
        self._ledger = ledger
        self._observers = observers
        self._loop = loop
        self._line: OrderedDict[asyncio.Future[_Answer], None] = OrderedDict()
        self._reserved = 0
        # Two moments of the past, and how many jobs had ended by then: the completion rate is measured from the older.
        self._marks = ((loop.time(), 0),) * 2

    @property
    def waiting(self) -> int:
        """How many submitters wait for room."""
        return len(self._line) + self._reserved

    def admit(self, job: Job) -> bool:
        """Accept a job now if there is room that nobody waits for; say whether it was accepted."""
        ledger = self._ledger
        if ledger.pool is not OPEN:
            self._refuse_closed()
        if self._line or self._reserved:
            return False
        queued = ledger.queued
        if not queued and ledger.running < self._crew.places:
            self._start(job)
        elif queued < self._queue_size:
            self._crew.enqueue(job)
        else:
            return False
        return True

    def refuse_full(self) -> NoReturn:
        """Refuse a job that was not admitted and will not wait."""
        self._refuse_overload("full", 0.0)

    async def wait(self, job: Job, patience: float | None) -> None:
        """Accept a job that was not admitted, once it is its turn; wait for that for `patience` seconds."""
        if patience == 0:
            self.refuse_full()
        await self._wait_for_room(patience)
        if self._ledger.queued or not self._crew.free:
            self._crew.enqueue(job)
        else:
            self._start(job)

    def close(self) -> None:
        """Turn away whoever waits; those who have a reservation find the intake closed when they wake."""
        self._crew.on_room = None
        for place in self._line:
            if not place.done():  # else its submitter has been cancelled, and has not woken yet
                place.set_result(_Answer.CLOSED)
        self._line.clear()

    def _start(self, job: Job) -> None:
        """Accept a job, and give it a free place at once."""
        crew = self._crew
        self._ledger.accept_running(job)
        if not crew.free:  # from here on the crew is busy, so what it completes is what it can
            self._marks = (self._mark(),) * 2
        run = crew.begin(job)
        if self._observers is not None:
            self._observers.job_accepted(job)
            if run is not None:
                self._observers.job_started(job, run)

    def _room(self) -> bool:
        """Say whether one more job fits: into the queue, or on a free place if nobody queues for that."""
        queued = self._ledger.queued
        return queued + self._reserved < self._queue_size + (0 if queued else self._crew.free)

    async def _wait_for_room(self, patience: float | None) -> None:
        """Wait in line, and return with the reservation already used up: the caller must accept its job at once."""
        since = self._loop.time()
        place = self._loop.create_future()
        self._line[place] = None
        timer = None if patience is None else self._loop.call_later(patience, self._out_of_patience, place, context=Context())
        if self._crew.on_room is None:
            self._crew.on_room = self._grant
            # There may be room already, held back for somebody who is about to wake: take the next turn, not this one.
            self._loop.call_soon(self._grant)
        try:
            answer = await place
        except BaseException:  # a cancellation; or the caller's coroutine is being closed
            self._line.pop(place, None)
            if place.done() and not place.cancelled() and place.result() is _Answer.ROOM:
                self._reserved -= 1
                self._grant()
            self._note_refusal("cancelled")
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if answer is _Answer.NO_TIME:
            self._refuse_overload("timeout", self._loop.time() - since)
        if answer is _Answer.ROOM:
            self._reserved -= 1
        if self._ledger.pool is not OPEN:
            self._refuse_closed()

    def _grant(self) -> None:
        """Hand out what room there is, first come, first served."""
        while self._line and self._room():
            place = next(iter(self._line))
            if not place.done():  # else its submitter has been cancelled, and has not woken yet
                self._reserved += 1
                place.set_result(_Answer.ROOM)
            del self._line[place]
        if not self._line:
            self._crew.on_room = None

    def _out_of_patience(self, place: asyncio.Future[_Answer]) -> None:
        if not place.done():
            place.set_result(_Answer.NO_TIME)
            del self._line[place]

    def _refuse_closed(self) -> NoReturn:
        if self._ledger.pool is PoolState.NEW:
            raise RuntimeError(f"pool {self._name!r} is still being opened: await its __aenter__() first")
        self._note_refusal("closed")
        raise PoolClosed(self._name)

    def _refuse_overload(self, reason: Literal["full", "timeout"], waited: float) -> NoReturn:
        self._note_refusal(reason)
        raise PoolOverloaded(self._name, reason, self._queue_size, waited, self._retry_after())

    def _note_refusal(self, reason: str) -> None:
        self._ledger.refused[reason] += 1
        if self._observers is not None:
            self._observers.submit_refused(reason)

    def _mark(self) -> tuple[float, int]:
        return self._loop.time(), self._ledger.ended

    def _retry_after(self) -> int:
        """Estimate when what waits now will have been worked off, from the rate at which jobs have been ending.

        The rate is that of the present busy spell, or of its last ten to twenty seconds. Where nothing has been ending, it
        may well take as long again: so the estimate grows until something does. Whole seconds, from 1 to 60.
        """
        now, mark = self._mark(), self._marks[1]
        quiet = now[0] - mark[0] if now[1] == mark[1] else 0.0
        if not quiet and now[0] - mark[0] > _RATE_WINDOW:
            self._marks = (mark, now)
        elapsed, ended = now[0] - self._marks[0][0], now[1] - self._marks[0][1]
        ahead = self._ledger.queued + len(self._line) + 1
        estimate = max(quiet, ahead * elapsed / ended if ended else 0.0)
        return max(1, min(_LONGEST_RETRY, math.ceil(estimate)))
