"""The way in: a job is accepted now, its submitter waits in line for room, or it is refused with a reason.

Room is handed to those who wait in the order in which they asked, as a reservation that the submitter turns into an
accepted job when it wakes. So a submitter that has gone by then (cancelled in the same turn of the loop) has accepted
nothing: it hands its reservation on, and leaves no trace. While anybody waits, nobody overtakes.
"""

from __future__ import annotations

import enum
from asyncio import Future
from collections import OrderedDict
from contextvars import Context
from itertools import count, takewhile
from typing import TYPE_CHECKING, NoReturn

from ._circles import refuse_circle
from ._errors import PoolOverloaded
from ._handle import cancel_and_outlast
from ._lending import Guest, Lent, inside
from ._lifecycle import OPEN, Ledger
from ._refusals import Refusals

if TYPE_CHECKING:
    import asyncio

    from ._crew import Crew
    from ._job import Job
    from ._observers import Listener
    from ._overload import Overload
    from ._queue import JobQueue
    from ._run import Run
    from ._settings import Settings
    from ._ticket import Key, Ticket

__all__ = ["Admission"]


class _Answer(enum.Enum):
    """What a submitter that waits is woken with; or a job, to be one with."""

    ROOM = enum.auto()
    NO_TIME = enum.auto()
    CLOSED = enum.auto()


class _Place(Future["_Answer | Job"]):
    """Where a submitter stands in line, and what it is woken with.

    Args:
        number: the lower, the longer it has waited.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Admission:
    """Admit jobs to one pool.

    Args:
        settings: what the pool is asked to be.
        crew: who runs them.
        queue: where they wait.
        ledger: the pool's books.
        observers: whom to tell, or None.
        loop: the pool's event loop.
    """

    def __init__(
        self,
        settings: Settings,
        crew: Crew,
        queue: JobQueue,
        ledger: Ledger,
        observers: Listener | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._queue_size = settings.queue_size
        self._crew = crew
        self._queue = queue
        self._ledger = ledger
        self._observers = observers
        self._loop = loop
        self._line: OrderedDict[_Place, Job] = OrderedDict()  # by their numbers
        self._numbers = count()
        self._reserved = 0
        self._refusals = Refusals(settings, crew.steering, ledger, self._line, observers, loop)
        if crew.overload is not None:
            crew.overload.retry_after = self._refusals.retry_after

    @property
    def waiting(self) -> int:
        """How many submitters wait for room."""
        return len(self._line) + self._reserved

    def check_open(self) -> None:
        """Refuse if the pool is closing or closed."""
        if self._ledger.pool is not OPEN:
            self._refusals.not_open()

    def admit(self, job: Job) -> bool:
        """Accept a job now if there is room that nobody waits for; say whether it was accepted."""
        ledger = self._ledger
        if ledger.pool is not OPEN:
            self._refusals.not_open()
        if (self._line or self._reserved) and not self._may_pass(job):
            return False
        queued, crew = ledger.queued, self._crew
        if crew.careful or job.ticket is not None or self._queue.lanes is not None:
            return self._admit_with_care(job)
        if not queued and ledger.running < crew.limit:
            self._start(job)
        elif queued < self._queue_size:
            crew.enqueue(job)
        elif self._room_by_growth(job):
            self._accept(job)
        else:
            return False
        return True

    def _admit_with_care(self, job: Job) -> bool:
        """Accept a job now where there are keys, priorities, an overload policy, or too many strays."""
        crew, overload = self._crew, self._crew.overload
        if crew.steering.choked:
            self._refusals.choked()
        if self._fits_a_place(job):  # maybe past others, who have to wait for some of their key
            self._start(job)
            return True
        if overload is not None and overload.refuses(self._ledger.queued, self._queue_size):
            self._refusals.no_room("early")
        if self._ledger.queued < self._queue_size:  # asked last: a policy may be a user's, and submit
            crew.enqueue(job)
        elif self._room_by_growth(job) or (overload is not None and self._room_by_policy(overload, job)):
            self._accept(job)
        else:
            return False
        return True

    def _may_pass(self, job: Job) -> bool:
        """Say whether a job may pass those in line: they wait for others of their keys, and there is a place for it."""
        if self._queue.lanes is None or self._reserved or not self._fits_a_place(job):
            return False
        return not any(self._room(other) for other in self._line.values())

    def _room_by_growth(self, job: Job) -> bool:
        """Tell the scaler that there is no room, and say whether there is now."""
        on_crowd = self._crew.on_crowd
        if on_crowd is None:
            return False
        on_crowd(1)
        return self._room(job)

    def _room_by_policy(self, overload: Overload, job: Job) -> bool:
        """Do what the overload policy wants done when there is no room, and say whether there is now."""
        if overload.when_full == "reject":
            self.refuse_full()
        if overload.when_full == "drop_oldest":
            if not self._crew.drop_oldest(job):
                self.refuse_full()
            return self._room(job)
        return False

    def join(self, key: Key) -> Job | None:
        """Return a job of a key to be one with, that has not ended and is not being ended; None if there is none.

        Raises:
            PoolClosed: the pool is closing or closed.
        """
        self.check_open()
        job = self._queue.find(key)
        if job is None or job.ticket is None or (job.run is not None and (job.run.cause is not None or job.run.late)):
            return None
        self._share(job.ticket)
        return job

    def _share(self, ticket: Ticket) -> None:
        self._ledger.coalesced += 1
        ticket.sharers += 1

    def refuse_full(self) -> NoReturn:
        """Refuse a job that was not admitted and will not wait."""
        self._refusals.no_room("full")

    async def wait(self, job: Job, patience: float | None) -> Job:
        """Accept a job that was not admitted, once it is its turn; wait for `patience` seconds, or until its deadline.

        A job that submits lends its place meanwhile, and waits to have one again.

        Returns:
            The job, or another of its key that it is one with.
        """
        if self._is_for_caller(job):
            await self._run_by_caller(job)
            return job
        if job.deadline is not None:  # after which there would be nothing to accept
            left = max(0.0, job.deadline - self._loop.time())
            patience = left if patience is None else min(patience, left)
        if patience == 0:
            self.refuse_full()
        run = inside(self._loop)
        if run is None:
            return await self._wait_and_accept(job, patience)
        return await self._wait_inside(run, job, patience)

    async def _wait_inside(self, run: Run, job: Job, patience: float | None) -> Job:
        if not self._queue_size:  # else there may be room, and to submit is not to wait for the job
            refuse_circle(run, job)
        held: Job | None = None

        async def abort(error: BaseException) -> None:
            if held is not None and held.is_left_by_all():  # its submitter, which waited for its place, has no handle of it
                await cancel_and_outlast(held, error)

        try:
            async with Lent(run, self._crew, abort=abort):
                held = await self._wait_and_accept(job, patience)
                return held
        except PoolOverloaded as refusal:
            if refusal.reason == "nesting":
                self._refusals.note("nesting")
            raise

    def take(self, job: Job) -> bool:
        """Accept a job now if there is room that nobody waits for, as `admit` does; but no overload policy is asked.

        That is for submitters who wait for room as long as it takes, and never have more than a few jobs in the pool.
        """
        if self._crew.overload is None:
            return self.admit(job)
        self.check_open()
        if self._crew.steering.choked:
            self._refusals.choked()
        if (self._line or self._reserved) and not self._may_pass(job):
            return False
        if not self._room(job) and not self._room_by_growth(job):
            return False
        self._accept(job)
        return True

    async def stand_in_line(self, job: Job) -> None:
        """Accept a job that was not taken, once it is its turn, however long that takes; no place is lent meanwhile."""
        await self._wait_and_accept(job, None)

    async def wait_for_others(self, job: Job, patience: float | None) -> None:
        """Accept a job that was not admitted, as `wait` does, for those who wait for its end by themselves.

        It needs no task, and may be carried on by an `Errand`.
        """
        if self._is_for_caller(job):
            self._begin_beside(job)
        elif patience == 0:
            self.refuse_full()
        else:
            await self._wait_and_accept(job, patience)

    async def _wait_and_accept(self, job: Job, patience: float | None) -> Job:
        other = await self._wait_for_room(job, patience)
        if other is None:
            self._accept(job)
        if self._line:  # it may have taken a place, which nobody else may have wanted, and left the room for the next in line
            self._grant()
        return other or job

    def close(self) -> None:
        """Turn away whoever waits; those who have a reservation find the intake closed when they wake."""
        self._crew.on_room = None
        for place in self._line:
            if not place.done():  # else its submitter has been cancelled, and has not woken yet
                place.set_result(_Answer.CLOSED)
        self._line.clear()
        for reader in tuple(self._crew.supervisor.readers):
            reader.intake_closed()

    def _is_for_caller(self, job: Job) -> bool:
        """Say whether its caller is to run a job that was not admitted; refuse that if its key or a rate has it wait."""
        overload = self._crew.overload
        if overload is None or overload.when_full != "caller_runs" or not self._crew.limit:  # then nothing starts just now
            return False
        if not self._queue.startable(job):
            self.refuse_full()
        return True

    def _begin_beside(self, job: Job) -> None:
        """Accept a job that has no place and does not wait for one.

        It is a task of its own like any other job: it has its own context, and its deadline does not hit the caller.
        """
        self._ledger.accept_guest(job)
        if job.ticket is not None:
            self._queue.started(job)
        self._let_join(job)
        self._tell(job, self._crew.begin(job, Guest(self._crew.lending)))

    async def _run_by_caller(self, job: Job) -> None:
        """Accept a job that has no place, and let its submitter wait for its end."""
        self._begin_beside(job)
        try:
            await job.wait()
        except BaseException as error:
            if job.is_left_by_all():  # else it is the job of others, too
                await cancel_and_outlast(job, error)
            raise

    def _accept(self, job: Job) -> None:
        """Accept a job for which there is room."""
        self._let_join(job)
        if self._fits_a_place(job):
            self._start(job)
        else:
            self._crew.enqueue(job)

    def _let_join(self, job: Job) -> None:
        """Have those in line for whom a job will do that is about to be accepted be one with it."""
        ticket = job.ticket
        if ticket is not None and ticket.key is not None:
            for place, other in tuple(self._line.items()):
                if other.ticket is not None and other.ticket.coalesce and other.ticket.key == ticket.key and not place.done():
                    self._share(ticket)
                    place.set_result(job)
                    del self._line[place]

    def _fits_a_place(self, job: Job) -> bool:
        """Say whether a place is free for a job that has not waited in the queue: nobody waits there who may have it."""
        # The places last: to look at the queue may bring the garbage collector, and with it somebody's finalizer that submits.
        return not self._queue.ready and self._queue.startable(job) and bool(self._crew.free)

    def _start(self, job: Job) -> None:
        """Accept a job, and give it a free place at once."""
        crew = self._crew
        self._ledger.accept_running(job)
        if job.ticket is not None:
            self._queue.started(job)
        run = crew.begin(job)
        if crew.full:  # from here on, and so what it completes is what it can
            self._refusals.measure_from_now()
        if self._observers is not None:
            self._tell(job, run)

    def _tell(self, job: Job, run: Run | None) -> None:
        if self._observers is not None:
            self._observers.job_accepted(job)
            if run is not None:
                self._observers.job_started(job, run)

    def _room(self, job: Job) -> bool:
        """Say whether one more job fits, besides those that room has been promised to."""
        return self._fits(job, self._reserved)

    def _fits(self, job: Job, others: int) -> bool:
        """Say whether a job fits besides so many others: into the queue, or on a free place if nobody queues for that."""
        taken = self._ledger.queued + others - self._queue_size
        return taken < 0 or (taken < self._crew.free and self._fits_a_place(job))

    def _comes_after_others(self, job: Job) -> bool:
        """Say whether those who were promised room must have come before a job is that would start on a free place.

        It is for one that needs more than the place: that one more of its key, or at the rate, may start.
        """
        if not self._reserved or self._ledger.queued + self._reserved < self._queue_size:
            return False
        return self._crew.steering.paced is not None or (job.ticket is not None and job.ticket.key is not None)

    async def _wait_for_room(self, job: Job, patience: float | None) -> Job | None:
        """Wait in line, and return with the reservation already used up: the caller must accept its job at once.

        Unless it returns another job, which its own is one with.
        """
        since = self._loop.time()
        until = None if patience is None else since + patience
        number = next(self._numbers)
        answer = await self._stand_in_line(job, until, number)
        # What was reserved may have gone meanwhile: to a job that has its lent place back, or by a change of size. Others who
        # have been promised room were so later: they have to go without.
        while answer is _Answer.ROOM and self._ledger.pool is OPEN and not self._fits(job, 0):
            answer = await self._stand_in_line(job, until, number)
        if not isinstance(answer, _Answer):
            return answer
        if answer is _Answer.NO_TIME:
            self._refusals.no_room("timeout", self._loop.time() - since)
        if self._ledger.pool is not OPEN:
            self._refusals.not_open()
        ticket = job.ticket
        return self.join(ticket.key) if ticket is not None and ticket.coalesce and ticket.key is not None else None

    async def _stand_in_line(self, job: Job, until: float | None, number: int) -> _Answer | Job:
        place = _Place(number)
        self._put_in_line(place, job)
        timer = None if until is None else self._loop.call_at(until, self._out_of_patience, place, context=Context())
        if self._crew.on_room is None or self._queue.lanes is not None:
            self._crew.on_room = self._grant
            # There may be room already, held back for somebody who is about to wake: take the next turn, not this one.
            self._loop.call_soon(self._grant)
        self._crew.crowded()
        try:
            answer = await place
        except BaseException as error:  # a cancellation; or the caller's coroutine is being closed
            self._line.pop(place, None)
            self._rest_if_nobody_waits()
            unused = place.result() if place.done() and not place.cancelled() else None
            if unused is _Answer.ROOM:
                self._reserved -= 1
                self._grant()
            self._refusals.note("cancelled")  # last, as whoever hears of it may submit
            if unused is not None and not isinstance(unused, _Answer) and unused.is_left_by_all():
                await cancel_and_outlast(unused, error)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if answer is _Answer.ROOM:
            self._reserved -= 1
        return answer

    def _put_in_line(self, place: _Place, job: Job) -> None:
        """Put a submitter into the line: at its end, or, if it comes back, before those who came later."""
        line = self._line
        comes_back = bool(line) and next(reversed(line)).number > place.number
        line[place] = job
        if comes_back:
            earlier = list(takewhile(lambda each: each.number < place.number, line))
            for each in (place, *reversed(earlier)):
                line.move_to_end(each, last=False)

    def _grant(self) -> None:
        """Hand out what room there is, first come, first served; but nobody waits behind one who waits for a key."""
        while self._line:
            place, job = next(iter(self._line.items()))
            if not self._room(job):
                break
            if self._comes_after_others(job):
                return
            self._give_room(place)
        if self._line and self._queue.lanes is not None and self._crew.free:
            for place, job in tuple(self._line.items()):
                if self._room(job):
                    if self._comes_after_others(job):
                        return
                    self._give_room(place)
        self._rest_if_nobody_waits()

    def _give_room(self, place: _Place) -> None:
        if not place.done():  # else its submitter has been cancelled, and has not woken yet
            self._reserved += 1
            place.set_result(_Answer.ROOM)
        del self._line[place]

    def _out_of_patience(self, place: _Place) -> None:
        if not place.done():
            place.set_result(_Answer.NO_TIME)
            del self._line[place]
            self._rest_if_nobody_waits()

    def _rest_if_nobody_waits(self) -> None:
        """Have the crew not ask any more whether there is room, if there is nobody to hand it to."""
        if not self._line:
            self._crew.on_room = None
