"""The crew: at most `places` jobs at once, each in a task of its own; whoever ends gives its place to the next in the queue.

A worker is a place, not a resident task. A place that nobody holds costs nothing, so a crew of 10,000 is as cheap as one
of 10 until it is used.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
from asyncio import tasks
from contextlib import suppress
from contextvars import Context
from itertools import islice
from types import FunctionType
from typing import TYPE_CHECKING, Literal, NamedTuple

from . import _stack
from ._errors import PoolOverloaded
from ._failure import Failure
from ._failures import Failures
from ._job import Job, JobOwner, Outcome
from ._lending import Lending, Loan
from ._lifecycle import ABANDONED, CANCELLED, ENDED, QUEUED, TIMED_OUT, JobState, Ledger
from ._logs import Seldom, fields
from ._run import Cause, Run
from ._runner import look_after, makes_plain_tasks, run_job, unmade
from ._running import RunningJob, ages, describe
from ._show import function_name
from ._snapshot import Stray
from ._steering import Steering
from ._supervisor import Supervisor, cancel
from ._timings import Timings
from ._watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._observers import JobListener
    from ._overload import Overload
    from ._queue import JobQueue
    from ._settings import Settings
    from ._telemetry import Telemetry
    from ._worker import Worker

__all__ = ["Crew"]

_log = logging.getLogger("weirpool.job")
_scaler_log = logging.getLogger("weirpool.scaler")

_A_MOMENT = 0.001  # seconds
_MOMENTS = 10 * _A_MOMENT


class Abandoned(NamedTuple):
    """What is left to tell of a job that was abandoned."""

    task: asyncio.Task[None]
    reason: str
    since: float


class Crew:
    """Run the jobs of one pool.

    It has 29 attributes at most: with more, CPython 3.12 and 3.13 look each up in a slower way (2 % of a short job).

    Args:
        settings: what the pool is asked to be.
        queue: where the next job comes from.
        ledger: the pool's books.
        observers: whom to tell, or None.
        loop: the pool's event loop.
    """

    def __init__(
        self,
        settings: Settings,
        queue: JobQueue,
        ledger: Ledger,
        observers: JobListener | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.name = settings.name
        self.places = settings.min_workers
        self.limit = settings.min_workers
        """How many may run for one more to be started: `places`, or 0 while starts are held."""
        self.careful = False
        """Whether a submission needs a closer look: for an overload policy, or because too many strays run."""
        self.loop = loop
        self.spawning = False
        self.strays: dict[Job, Abandoned] = {}
        # Set by those above while they want to know: there may be room for a submitter; nothing is queued or running.
        self.on_room: Callable[[], None] | None = None
        self.on_idle: Callable[[], None] | None = None
        self.on_crowd: Callable[[int], None] | None = None  # a job has to wait, or so many that are nowhere yet
        self.overload: Overload | None = None
        self.steering = Steering(ledger, settings.max_strays, Seldom(loop.time))
        self._awaited = self.steering.awaited
        self._grace = settings.cancel_grace
        self._queue = queue
        self._ledger = ledger
        self._observers = observers
        self.lending = Lending(self, ledger, settings.max_lending)
        self._back = self.lending.back
        self.timings = Timings(loop.time)
        self.failures = Failures(loop)
        self.telemetry: Telemetry | None = None
        self._said: str | None = None
        self._direct: bool | None = makes_plain_tasks(loop)
        """Whether tasks are made by `asyncio.Task`; None: somebody wraps their coroutines, without a task factory."""
        self.supervisor = Supervisor(settings.name, loop)
        group = self.supervisor.group
        self._enter, self.leave = group.enter, group.leave
        self._runs = group.members  # in order of start; those that have ended have no job any more
        self.watch = Watch(loop, self._runs, self._overdue)

    def stop_when_idle(self) -> None:
        """Let the supervisor go once nothing is queued or running: the pool was dropped, and nobody will close it."""
        if self.on_idle is None:  # else somebody has begun to close it
            self.on_idle = self.supervisor.stop
            if not self._ledger.unfinished:
                self.supervisor.stop()
            elif self.steering.paused:
                self.loop.call_soon(self.resume, context=Context())  # not in the midst of whatever a finalizer interrupts

    def at_close(self, call: Callable[[JobOwner], None]) -> bool:
        """Have something called, with the crew, when the pool has closed; say whether that is still to come."""
        return self.supervisor.at_close(call)

    def closed(self) -> None:
        """Call what is to be called when the pool has closed."""
        for call in self.supervisor.last_calls():
            with suppress(Exception):  # whatever becomes of it, the pool is closed
                call(self)

    def listen(self, listener: JobListener | None) -> JobListener | None:
        """Tell another of what happens to jobs from now on; return who has been told so far.

        Not to be called with None in the midst of whatever the crew is doing: it relies on there being somebody to tell.
        """
        before, self._observers = self._observers, listener
        return before

    # How many places ---------------------------------------------------------------------------------------------------

    def resize(self, places: int, reason: str) -> None:
        """Change how many jobs may run at once; where there are more by now, they run to their end."""
        was = self.places
        if places != was:
            self.places = places
            more = self._set_limit()
            if self._observers is not None:
                self._observers.pool_resized(was, places, reason)
            self._say_resized(was, reason)
            if self.supervisor.workers is not None:
                self.supervisor.workers.trim()
            if more or self.returning:
                self.place_freed()
            elif self._awaited:
                self.steering.look()

    def _say_resized(self, was: int, reason: str) -> None:
        """Log a change; those that a policy makes only now and then, as it may make one for each job."""
        changes = 1 if reason == "resize" else self.steering.resized.due()
        if changes:
            with suppress(Exception):  # whatever a logging handler does, the pool has to go on
                _scaler_log.info(
                    "pool %r has %d workers, instead of %d before the last of %d changes: %s",
                    self.name,
                    self.places,
                    was,
                    changes,
                    reason,
                    extra=fields("pool.resized", self.name, was=was, now=self.places, reason=reason, changes=changes),
                )

    def shed_by(self, overload: Overload) -> None:
        """Have an overload policy say what is refused, dropped and shed."""
        self.overload = overload
        self.careful = True

    def pause(self) -> None:
        """Start no jobs; those that run go on."""
        self.steering.paused = True
        self._set_limit()

    def resume(self) -> None:
        """Start jobs again."""
        self.steering.paused = False
        if self._set_limit():
            self.place_freed()

    def _set_limit(self) -> bool:
        """See how many jobs may run for one more to be started; say whether these are more than before."""
        was = self.limit
        choked = self.steering.choked
        self.limit = 0 if choked or self.steering.paused else self.places
        self.careful = choked or self.overload is not None
        return self.limit > was

    # Starting and ending jobs -------------------------------------------------------------------------------------------

    @property
    def free(self) -> int:
        """How many places nobody holds."""
        return max(0, self.limit - self._ledger.running)

    @property
    def full(self) -> bool:
        """Whether no more can start for now."""
        return not self.free

    def ahead_of(self, job: Job) -> list[Job]:
        """Return the jobs of which one has to end for a job that does not run to start, as they have the same key."""
        return self._queue.ahead_of(job)

    def worker_of(self, run: Run) -> Worker | None:
        """Return the worker of a job that runs, if the pool's workers have contexts."""
        return None if self.supervisor.workers is None else self.supervisor.workers.held_by(run)

    @property
    def returning(self) -> int:
        """How many jobs wait to have a place again."""
        return len(self._back)

    @property
    def busy(self) -> int:
        """How many jobs run, with a place or without."""
        return self._ledger.running + self._ledger.lending

    def enqueue(self, job: Job) -> None:
        """Accept a job, which waits for a place."""
        self._ledger.accept_queued(job)
        self._queue.add(job)
        if job.deadline is not None:
            self.watch.queued(job, job.deadline)
        if self._observers is not None:
            self._observers.job_accepted(job)
        if self.on_crowd is not None and self._ledger.running >= self.places and self._queue.ready:
            self.on_crowd(0)

    def begin(self, job: Job, loan: Loan | None = None) -> Run | None:  # noqa: C901  # the hot path, in one piece
        """Start a job, which holds a place in the books already, in a task of its own; None if that can't be made."""
        end: tuple[JobState, Outcome] | None = None
        loop, name = self.loop, job.label
        if name is None:
            # A pool has few functions and runs them often: whether the name of one is fit to be shown is asked once.
            fn = job.fn
            said = fn.__qualname__ if type(fn) is FunctionType else None
            if said is None or said is not self._said:
                said = self._said = function_name(fn)
            name = job.label = f"{said}#{job.number}"
        if self.telemetry is not None and self.telemetry.tracing:
            self.telemetry.starting(job)
        plain = self._direct is not None and loop.get_task_factory() is None
        run = Run.of(job)
        run.loan = loan
        coroutine = run_job(job, run, self, plain)
        try:
            self.spawning = True
            if plain:
                coroutine.send(None)
            # Instrumentation may look for a trace in the context that is current: that of whoever submits, or has just ended.
            if plain and self._direct:
                task = run.task = tasks.Task(coroutine, loop=loop, name=name, context=job.context)
            else:
                task = run.task = Context().run(loop.create_task, coroutine, name=name, context=job.context)
                if plain and task.get_coro() is not coroutine:
                    # It has wrapped the coroutine without a task factory, by another `create_task`, and can't await this one.
                    self._direct = None
                    task.cancel()
                    coroutine.close()
                    return Crew.begin(self, job, loan)  # and nothing of what begins in addition elsewhere, once more
            self._enter(task, run)
            if not plain:
                look_after(task, coroutine, job, self)
        except BaseException as error:  # the loop is closed, or somebody's task factory failed
            coroutine.close()
            end = unmade(job, error, self)
        finally:
            self.spawning = False
        if end is not None:
            self._finish(job, *end)
            if self._back:
                self.lending.serve()
            self._left()
            return None
        return run

    def fill(self) -> None:
        """Start queued jobs while there are places that nobody wants back."""
        queue, ledger, overload = self._queue, self._ledger, self.overload
        if self._back:
            self.lending.serve()
        while ledger.queued and ledger.running < self.limit:
            job = queue.take() if overload is None else self._take(overload)
            if job is None:  # all that wait have to wait for others of their key
                break
            if job.deadline is not None:
                self.watch.unqueued()
                if job.deadline <= self.loop.time():
                    self._finish(job, TIMED_OUT, self._timed_out(job, "queued"))
                    continue
            ledger.start(job)
            if self._observers is None:
                self.begin(job)
            else:
                context = job.context
                run = self.begin(job)
                if run is not None:
                    # Not in the context of the job that has just ended, which is the current one.
                    context.run(self._observers.job_started, job, run)

        if overload is not None and not ledger.queued:
            overload.idle()

    def _take(self, overload: Overload) -> Job | None:
        """Take the next job from the queue, after what has waited too long has been ended, as the overload policy says."""
        while (job := self._queue.peek()) is not None and overload.sheds(job):
            self._drop(job, "shed")
        if self._ledger.running >= self.limit:  # who has waited for what was shed has its place back
            return None
        return self._queue.take_newest() if overload.newest_first else self._queue.take()

    def drop_oldest(self, newcomer: Job) -> bool:
        """End the job that has waited longest, for the sake of one that is about to come; say whether there is one."""
        job = self._queue.victim(newcomer)
        if job is None:
            return False
        self._drop(job, "dropped")
        return True

    def _drop(self, job: Job, reason: Literal["dropped", "shed"]) -> None:
        self._leave_queue(
            job,
            CANCELLED,
            PoolOverloaded(
                self.name,
                reason,
                depth=self._ledger.queued,
                limit=self._queue.maxsize,
                waited=self.loop.time() - job.accepted_at,
                retry_after=1 if self.overload is None else self.overload.retry_after(),
            ),
        )

    def settle(self, job: Job, state: JobState, outcome: Outcome) -> None:
        """End a running job, free its place and give the place to the next."""
        run = job.run
        assert run is not None
        timings, now = self.timings, self.loop.time()
        timings.skip -= 1
        if not timings.skip or now > timings.until:
            timings.note(job.accepted_at, run.started_at, now)
        if self.telemetry is not None:
            self.telemetry.ended(job, run, state, outcome, now)
        job.end(state, outcome, self._ledger)
        if job.ticket is not None:
            self._queue.ended(job, ran=True)
        if self._observers is not None:
            self._observers.job_ended(job, run)
        if self._ledger.queued or self._back:
            self.fill()
        if not self._ledger.running or self.on_room is not None or self._awaited:
            self._left()

    def place_freed(self) -> None:
        """Give a place that a running job has lent, or a new one, to whoever is next."""
        self.fill()
        if self.on_room is not None:
            self.on_room()
        if self._awaited:
            self.steering.look()
        self.crowded()

    def crowded(self) -> None:
        """Have the scaler look whether there should be more places, as somebody may wait for one."""
        if self.on_crowd is not None:
            self.on_crowd(0)

    def failure(self, job: Job, error: BaseException) -> Failure:
        """Return the outcome of a job that has failed, and count it."""
        failure = Failure(error, job.name, self.name)
        with suppress(Exception):  # to count it must not cost the job its end
            self.failures.note(error, job.name)
        return failure

    def fail(self, task: asyncio.Task[None]) -> None:
        """Have the task group told of a task that a bug keeps from settling its job, which ends the pool."""
        self.supervisor.group.keep(task)

    def ended_late(self, job: Job) -> None:
        """Note that an abandoned job's task has ended, at last."""
        if self.strays.pop(job, None) is None:
            return
        self._ledger.stray_ended()
        more = self._set_limit()
        if self._observers is not None:
            self._observers.stray_ended(job)
        if more:
            self.place_freed()

    def _finish(self, job: Job, state: JobState, outcome: Outcome) -> None:
        """End a job that has been taken from the queue and not been started, and say so."""
        if self.telemetry is not None:
            self.telemetry.ended(job, None, state, outcome, self.loop.time())
        job.end(state, outcome, self._ledger)
        if job.ticket is not None:
            self._queue.ended(job, ran=True)
        if self._observers is not None:
            self._observers.job_ended(job, None)

    def _left(self) -> None:
        """See what follows from a job having left the queue or its place."""
        if not self._ledger.unfinished:
            self.watch.rest()
            if self.on_idle is not None:
                self.on_idle()
        if self.on_room is not None:
            self.on_room()
        if self._awaited:
            self.steering.look()

    def _timed_out(self, job: Job, phase: Literal["queued", "running"]) -> Failure:
        return Failure(job.timed_out(phase), job.name, self.name)

    # Ending jobs before their time --------------------------------------------------------------------------------------

    def cancel(self, job: Job, reason: Literal["cancel", "shutdown"]) -> None:
        """Cancel a job that has not ended: a queued one leaves at once, a running one is given its grace."""
        if job.status is QUEUED:
            self._leave_queue(job, CANCELLED, job.cancelled(reason))
            return
        run = job.run
        assert run is not None
        task = run.task
        assert task is not None
        # One cancellation per job: neither a second request nor the deadline must hit it again while it cleans up.
        if run.cause is None and not run.late:
            self._doom(run, reason)
            if reason == "cancel" or not self.supervisor.told(task):
                cancel(task)

    def cancel_all(self, reason: Literal["cancel", "shutdown"]) -> None:
        """Cancel what is queued, then what runs."""
        while (queued := self._queue.victim()) is not None:
            self._leave_queue(queued, CANCELLED, queued.cancelled(reason))
        self._left()
        for run in tuple(self._runs.values()):
            if run.job is not None:
                self.cancel(run.job, reason)

    def abandon_all(self) -> None:
        """Give up on whatever still runs."""
        for run in tuple(self._runs.values()):
            if run.job is not None:
                self._abandon(run.job, run)
        if self.on_idle is not None:  # nothing runs any more, and if the books say otherwise, a bug has lost a job
            self.on_idle()

    def write_off(self) -> None:
        """End whatever has not ended, also what a bug has made the crew lose.

        The books and the lists are what has failed, so they are not asked. A job that has not ended refers to its crew, and
        the garbage collector knows who does.
        """
        for job in gc.get_referrers(self):
            if isinstance(job, Job) and job.was_accepted:
                with suppress(Exception):  # whatever is the matter with this one, there are others
                    self._write_off(job)
        self.watch.rest()
        self._ledger.write_off(len(self.strays))
        self.steering.look()

    def _write_off(self, job: Job) -> None:
        if job.status not in ENDED:
            alive = False
            run = job.run
            if run is not None and (task := run.task) is not None and not task.done():
                alive = True
                self.strays[job] = Abandoned(task, "shutdown", run.started_at)
                cancel(task)
            state, outcome = ABANDONED if alive else CANCELLED, job.cancelled("shutdown", abandoned=alive)
            if self.telemetry is not None:
                self.telemetry.ended(job, run, state, outcome, self.loop.time())
            job.end(state, outcome, self._ledger)
        job.owner = None

    def ages(self) -> list[float]:
        """Return for how long the jobs have been running that run, in seconds; another thread may ask."""
        return ages(tuple(self._runs.values()), self.loop.time())

    def running(self, limit: int | None) -> tuple[RunningJob, ...]:
        """Return how the jobs are doing that run, in the order in which they started; so many at most, if there is a limit."""
        live = (run for run in tuple(self._runs.values()) if run.job is not None)
        return describe(islice(live, limit), self.loop.time())

    def survey(self, limit: int | None = None) -> tuple[Stray, ...]:
        """Name the abandoned jobs that still run, and where they hang."""
        return tuple(map(self._stray, islice(self.strays, limit)))

    def _leave_queue(self, job: Job, state: JobState, outcome: Outcome) -> None:
        if job.status is not QUEUED:  # to make its outcome has brought somebody's finalizer, which has ended it
            return
        # What the job lets go of may have a finalizer, and that may call the pool: not before the queue knows of the end.
        payload = job.fn, job.args, job.context
        job.end(state, outcome, self._ledger)
        self._queue.discard()
        if job.ticket is not None:
            self._queue.ended(job, ran=False)
        if job.deadline is not None:
            self.watch.unqueued()
        del payload
        if self._observers is not None:
            self._observers.job_ended(job, None)
        self._left()

    def _overdue(self, job: Job) -> None:
        """Deal with a job whose time has come: its deadline in the queue or while running, or the end of its grace."""
        if job.status is QUEUED:
            self._leave_queue(job, TIMED_OUT, self._timed_out(job, "queued"))
            return
        run = job.run
        assert run is not None
        cause = run.cause
        if cause is None:
            # Its `asyncio.timeout`, which has had no timer so far, cancels it in the next turn: look again right after that.
            run.limit = math.inf
            assert run.scope is not None
            if not run.late:
                run.scope.reschedule(self.loop.time())
            self.loop.call_soon(self._deadline_came, run, context=Context())
        elif cause.spare:
            task = run.task
            assert task is not None
            if cause.reason == "shutdown" and not task.cancelling():  # it was for a scope inside the job
                cancel(task)
            self.watch.running(run, self.loop.time() + cause.spare)
            cause.spare = 0.0
        else:
            self._abandon(job, run)

    def _deadline_came(self, run: Run) -> None:
        """Give a job its grace, counted from when its deadline has really hit it.

        That is not when it should have: if something has been blocking the loop, the job had no chance to react. And not every
        loop runs callbacks in the order in which it was given them. A task that can't be cancelled is never hit: it is given a
        few moments.
        """
        if run.job is not None and run.cause is None:
            assert run.scope is not None
            since = run.scope.when()
            assert since is not None
            if run.scope.expired() or self.loop.time() > since + _MOMENTS:
                self._doom(run, "deadline")
            else:
                self.watch.running(run, self.loop.time() + _A_MOMENT)

    def _doom(self, run: Run, reason: Literal["cancel", "shutdown", "deadline"]) -> None:
        """Note why a job is being ended, and count its grace from now.

        In two halves: something may block the loop for all of that time, and then the job, which had no chance to react, still
        has half of it.
        """
        half = self._grace / 2
        self.watch.running(run, self.loop.time() + half)
        run.cause = Cause(reason, spare=half)
        if run.loan is not None:
            run.loan.wake()  # it may go on without a place now, and clean up

    def _abandon(self, job: Job, run: Run) -> None:
        task, context = run.task, job.context
        assert task is not None
        outcome: Outcome
        if run.late:
            reason = "deadline"
            outcome = Failure(job.timed_out("running", abandoned=True), job.name, self.name)
            outcome.seen = True  # it is logged here
        else:
            if run.cause is None:  # a bug has kept it from being told
                cancel(task)
            reason = run.cause.reason if run.cause else "shutdown"
            outcome = job.cancelled(reason, abandoned=True)
        self.strays[job] = Abandoned(task, reason, run.started_at)
        stray = self._stray(job)
        if self._ledger.strays >= self.steering.most_strays:
            self.limit = 0  # before its place goes to the next
            self.careful = True
        if self.supervisor.workers is not None:
            self.supervisor.workers.lost(run)
        self.settle(job, ABANDONED, outcome)
        with suppress(Exception):  # whatever a logging handler does, the pool has to go on
            context.run(  # so that logging filters find the job's own request and trace
                _log.warning,
                "job %r of pool %r ignores its cancellation (%s) and is abandoned; it hangs at\n  %s",
                job.name,
                self.name,
                stray.reason,
                "\n  ".join(stray.stack) or "an unknown place",
                extra=fields("job.abandoned", self.name, job=job.name, job_id=job.number, reason=stray.reason),
            )

    def _stray(self, job: Job) -> Stray:
        task, reason, since = self.strays[job]
        return Stray(job.number, job.name, reason, self.loop.time() - since, _stack.where(task))
