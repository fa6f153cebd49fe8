"""WorkerPool: puts the parts together, and is what users see of them."""

from __future__ import annotations

import asyncio
import enum
import warnings
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, TypeVarTuple

from anyio.abc import AsyncResource

from . import _checks
from ._admission import Admission
from ._checks import running_loop
from ._closing import Closing
from ._crew import Crew
from ._errors import PoolClosed
from ._handle import JobHandle, outlast
from ._job import Job
from ._lifecycle import ABANDONED, CANCELLED, FAILED, SUCCEEDED, TIMED_OUT, Ledger, PoolState
from ._queue import JobQueue
from ._run import CURRENT, Run
from ._snapshot import PoolStats, ShutdownReport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from ._events import Observer
    from ._observers import Observers

__all__ = ["WorkerPool"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Default(enum.Enum):
    """What `timeout` is when it is not given: None is taken, it means "no timeout"."""

    JOB_TIMEOUT = "the pool's job_timeout"

    def __repr__(self) -> str:
        return self.value


_JOB_TIMEOUT: Final = _Default.JOB_TIMEOUT


class WorkerPool(AsyncResource):
    """Run async jobs, a bounded number at once, and account for every one of them.

    ::

        async with WorkerPool(max_workers=32, queue_size=1000) as pool:
            handle = await pool.submit(deliver, event, timeout=5)
            receipt = await handle

    When `max_workers` jobs run, up to `queue_size` more wait; when those places are taken too, `submit` waits and
    `submit_nowait` refuses. Leaving the block closes the pool: intake first; then what was accepted is run to its end,
    within `shutdown_timeout`; what has not ended `cancel_grace` before that is cancelled, and what ignores even that is
    abandoned and named in the report. If the block is left by a cancellation or by Ctrl-C, jobs are cancelled at once.

    A pool belongs to the event loop it was entered on, and is used once. It may be entered in one task and closed in
    another.

    Args:
        max_workers: how many jobs run at once, at most. A worker is a place, not a task: unused ones cost nothing.
        queue_size: how many accepted jobs wait for a worker, at most. 0: none, a job is accepted only by a free worker.
        job_timeout: how long a job may run, in seconds, unless it says otherwise. None: for ever.
        submit_timeout: how long `submit` waits for room, in seconds. 0: not at all. None: as long as it takes.
        shutdown_timeout: how long closing takes, in seconds, at most.
        cancel_grace: how long a cancelled job may take to end before it is abandoned, in seconds. While closing, this is
            the last part of `shutdown_timeout`.
        name: what the pool is called in errors, logs and reports.
        observers: whom to tell what happens; see `weirpool.events`.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        *,
        max_workers: int = 100,
        queue_size: int = 1000,
        job_timeout: float | None = None,
        submit_timeout: float | None = 5.0,
        shutdown_timeout: float = 20.0,
        cancel_grace: float = 2.0,
        name: str = "pool",
        observers: Sequence[Observer] = (),
    ) -> None:
        self._max_workers = _checks.whole("max_workers", max_workers, "jobs that run at once", 1, 1_000_000)
        self._queue_size = _checks.whole("queue_size", queue_size, "jobs that wait", 0, 1_000_000_000)
        self._job_timeout = None if job_timeout is None else _checks.seconds("job_timeout", job_timeout, none="no limit")
        if submit_timeout is not None:
            submit_timeout = _checks.seconds("submit_timeout", submit_timeout, zero="do not wait", none="as long as it takes")
        self._submit_timeout = submit_timeout
        self._shutdown_timeout = _checks.seconds("shutdown_timeout", shutdown_timeout, zero="cancel at once, wait for nothing")
        self._cancel_grace = _checks.seconds("cancel_grace", cancel_grace, zero="abandon at once")
        if self._cancel_grace > self._shutdown_timeout:
            raise ValueError(
                f"cancel_grace must be at most shutdown_timeout ({self._shutdown_timeout!r} s), of which it is the "
                f"last part, got {self._cancel_grace!r}"
            )
        self._name = _checks.label("name", name)
        self._observers: tuple[Observer, ...] = () if type(observers) is tuple and not observers else _checked(observers)
        self._ledger = Ledger()
        self._loop: asyncio.AbstractEventLoop
        self._crew: Crew
        self._admission: Admission
        self._closing: Closing | None = None
        self._report: ShutdownReport | None = None  # only of a pool that was closed without ever being entered

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not hasattr(cls, "__getattr__"):  # nor has this class, on which CPython 3.11 would look attributes up more slowly
            type.__setattr__(cls, "__getattr__", _checks.missing_attribute)

    # Life ---------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Open the pool on the running event loop.

        Raises:
            RuntimeError: it has been entered or closed before.
        """
        ledger = self._ledger
        if self._closing is not None or ledger.pool is not PoolState.NEW:
            raise RuntimeError(f"{self!r} was entered or closed before: a pool is used once, make a new one")
        loop = self._loop = asyncio.get_running_loop()
        observers = _told(self._name, self._observers, loop) if self._observers else None
        queue = JobQueue(self._queue_size)
        self._crew = Crew(self._name, self._max_workers, self._cancel_grace, queue, ledger, observers, loop)
        self._admission = Admission(self._name, self._queue_size, self._crew, ledger, observers, loop)
        self._closing = Closing(self._name, self._cancel_grace, self._crew, self._admission, ledger, observers, loop)
        closing = self._closing
        try:
            ready = self._crew.open(closing.open, closing.escalate, closing.supervisor_ended)
        except BaseException:
            self._closing = None  # so that it can be tried again
            raise
        try:
            await ready
        except BaseException:
            closing.escalate()
            await closing.wait()
            raise
        if closing.begun:
            await closing.wait()
            raise RuntimeError(f"{self!r} was closed, or its own task cancelled, before it was open")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the pool: drain it after a normal end or an `Exception`, else cancel its jobs at once."""
        if exc_type is not None and not issubclass(exc_type, Exception) and self._closing is not None:
            self._closing.escalate()
        await self.aclose()

    async def aclose(self, *, timeout: float | None = None) -> ShutdownReport:  # type: ignore[override]
        """Close the pool and account for every job that it accepted.

        Intake is closed before anything is awaited: later submits, and those that wait for room, get `PoolClosed`. Then what
        was accepted is run to its end. What has not ended `cancel_grace` before the time is over is cancelled, and what still
        runs at the end of it is abandoned. It returns in time whatever the jobs do, short of blocking the event loop.

        It may be called from any task of the pool's loop, more than once and by several at once: all get the same report,
        and the tightest timeout counts. Cancelling a caller cancels the pool's jobs at once; the call still waits, for
        `cancel_grace` at most, until nothing is left behind.

        Args:
            timeout: how long this may take, in seconds; None: the pool's `shutdown_timeout`. If it is shorter than
                `cancel_grace`, all of it is grace.

        Returns:
            The account, which is also `pool.report` from then on.

        Raises:
            RuntimeError: called from one of the pool's own jobs, which would wait for itself (`close_intake()` is what a job
                may call), or from another thread or event loop.
        """
        budget = self._shutdown_timeout
        if timeout is not None:
            budget = _checks.seconds("timeout", timeout, zero="wait for nothing", none="the pool's shutdown_timeout")
        closing = self._closing
        if closing is None:  # never entered, and never will be
            if self._report is None:
                self._ledger.move_pool(PoolState.CLOSED)
                self._report = ShutdownReport.of(self._name, self._ledger)
            return self._report
        if closing.report is not None:
            return closing.report
        _checks.on_loop("WorkerPool.aclose()", self._loop)
        if self._inside():
            raise RuntimeError(
                f"aclose() was called from a job of {self!r}, and would wait for itself: "
                f"a job may call close_intake(), and leave the closing to whoever opened the pool"
            )
        closing.begin(budget)
        return await closing.wait()

    def close_intake(self) -> None:
        """Accept no more jobs from now on; what was accepted goes on. A job may call this.

        Later submits, and those that wait for room, get `PoolClosed`. The pool is closed by `aclose()`, as always.

        Raises:
            RuntimeError: the pool was never entered, or is not open yet, or this is called from another thread or event loop.
        """
        if self._report is None:
            closing = self._entered("WorkerPool.close_intake()")
            if self._ledger.pool is PoolState.NEW and not closing.begun:
                raise RuntimeError(f"pool {self._name!r} is still being opened: await its __aenter__() first")
            closing.close_intake()

    # Submitting ---------------------------------------------------------------------------------------------------------

    async def submit(
        self,
        fn: Callable[[*Ts], Awaitable[T]],
        /,
        *args: *Ts,
        timeout: float | Literal[_Default.JOB_TIMEOUT] | None = _JOB_TIMEOUT,
        deadline: float | None = None,
        name: str | None = None,
    ) -> JobHandle[T]:
        """Have a job accepted, and return its handle.

        While there is room this returns without waiting. When the pool is full it waits, first come, first served, for
        `submit_timeout` at most. Cancelling it while it waits leaves no trace.

        The job runs in a task of its own, in a copy of the caller's context as it is now. Jobs start in the order in which
        they were accepted.

        Args:
            fn: an async function.
            *args: its arguments; for keywords use `functools.partial`.
            timeout: how long the job may run, in seconds; None: as long as it likes. By default the pool's `job_timeout`.
            deadline: when the job must have ended, queueing included, on the loop's clock (`loop.time() + 5`). A job that is
                submitted from inside a job never gets more time than that one has left.
            name: what the job and its task are called; by default the function's name and the job's number.

        Returns:
            A handle to await, cancel or ignore.

        Raises:
            PoolOverloaded: there was no room within `submit_timeout`.
            PoolClosed: the pool is closing or closed, or began to close while this was waiting.
            TypeError: an argument is of the wrong kind: `fn` is a coroutine instead of a function, for instance.
            ValueError: an argument is out of its range.
            RuntimeError: the pool was not entered, or this is called from another thread or event loop.
        """
        job = self._job(fn, args, timeout, deadline, name)
        if not self._admission.admit(job):
            await self._admission.wait(job, self._submit_timeout)
        return job

    def submit_nowait(
        self,
        fn: Callable[[*Ts], Awaitable[T]],
        /,
        *args: *Ts,
        timeout: float | Literal[_Default.JOB_TIMEOUT] | None = _JOB_TIMEOUT,
        deadline: float | None = None,
        name: str | None = None,
    ) -> JobHandle[T]:
        """Have a job accepted now, or be refused now; never overtake a submitter that waits.

        Args:
            fn: an async function.
            *args: its arguments.
            timeout: how long the job may run, in seconds; see `submit`.
            deadline: when the job must have ended, on the loop's clock; see `submit`.
            name: what the job and its task are called; see `submit`.

        Returns:
            A handle to await, cancel or ignore.

        Raises:
            PoolOverloaded: there is no room, or others have been waiting for it.
            PoolClosed: the pool is closing or closed.
            TypeError: an argument is of the wrong kind.
            ValueError: an argument is out of its range.
            RuntimeError: the pool was not entered, or this is called from another thread or event loop.
        """
        job = self._job(fn, args, timeout, deadline, name)
        if not self._admission.admit(job):
            self._admission.refuse_full()
        return job

    async def run(
        self,
        fn: Callable[[*Ts], Awaitable[T]],
        /,
        *args: *Ts,
        timeout: float | Literal[_Default.JOB_TIMEOUT] | None = _JOB_TIMEOUT,
        deadline: float | None = None,
        name: str | None = None,
    ) -> T:
        """Submit a job, wait for it and return its result.

        Cancelling this cancels the job and waits until it has ended, or has been abandoned after `cancel_grace`.

        Args:
            fn: an async function.
            *args: its arguments.
            timeout: how long the job may run, in seconds; see `submit`.
            deadline: when the job must have ended, on the loop's clock; see `submit`.
            name: what the job and its task are called; see `submit`.

        Returns:
            What the job returned.

        Raises:
            PoolOverloaded: there was no room within `submit_timeout`.
            PoolClosed: the pool is closing or closed.
            JobTimeout: the job's time ran out.
            JobCancelled: the job was cancelled; the caller was not.
            TypeError: an argument is of the wrong kind.
            ValueError: an argument is out of its range.
            RuntimeError: the pool was not entered, or this is called from another thread or event loop.
            BaseException: whatever the job itself raised.
        """
        handle = await self.submit(fn, *args, timeout=timeout, deadline=deadline, name=name)
        try:
            await handle.wait()
        except asyncio.CancelledError:
            handle.cancel()
            await outlast(handle.wait, handle.done)
            raise
        try:
            return handle.result()
        finally:
            del handle, fn, args, self  # none of which a traceback through here should keep

    # Looking ------------------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What the pool is called."""
        return self._name

    @property
    def state(self) -> PoolState:
        """Where the pool is in its life."""
        return self._ledger.pool

    @property
    def report(self) -> ShutdownReport | None:
        """The account of all jobs; None until the pool is closed."""
        return self._report if self._closing is None else self._closing.report

    def stats(self) -> PoolStats:
        """Return how the pool is doing at this instant. The cost does not depend on how much it is doing."""
        ledger, ends = self._ledger, self._ledger.ends
        return PoolStats(
            name=self._name,
            state=ledger.pool,
            max_workers=self._max_workers,
            queue_size=self._queue_size,
            accepted=ledger.accepted,
            succeeded=ends[SUCCEEDED],
            failed=ends[FAILED],
            timed_out=ends[TIMED_OUT],
            cancelled=ends[CANCELLED],
            abandoned=ends[ABANDONED],
            queued=ledger.queued,
            running=ledger.running,
            strays=ledger.strays,
            waiting=0 if self._closing is None else self._admission.waiting,
            refused=dict(ledger.refused),
        )

    def __repr__(self) -> str:
        ledger = self._ledger
        return (
            f"<WorkerPool {self._name!r} {self.state.value}: "
            f"{ledger.running} of {self._max_workers} running, {ledger.queued} of {self._queue_size} queued>"
        )

    def __del__(self) -> None:
        if vars(self).get("_closing") is not None and self._ledger.pool is not PoolState.CLOSED:
            if running_loop() is self._loop:
                self._crew.stop_when_idle()
            warnings.warn(f"{self!r} was never closed", ResourceWarning, stacklevel=2, source=self)

    # Inside -------------------------------------------------------------------------------------------------------------

    def _entered(self, what: str) -> Closing:
        if self._closing is None:
            raise RuntimeError(f"{what} needs a pool that was entered: async with WorkerPool(...) as pool")
        _checks.on_loop(what, self._loop)
        return self._closing

    def _job(
        self,
        fn: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        timeout: float | Literal[_Default.JOB_TIMEOUT] | None,
        deadline: float | None,
        name: str | None,
    ) -> Job:
        """Check a submission, before anything changes, and make the record of the job."""
        _checks.job_function(fn)
        if self._closing is None:
            if self._report is not None:
                self._ledger.refused["closed"] += 1
                raise PoolClosed(self._name)
            self._entered("submitting")
        if running_loop() is not self._loop:
            _checks.on_loop("submitting", self._loop)
        if timeout is _JOB_TIMEOUT:
            timeout = self._job_timeout
        elif timeout is not None:
            timeout = _checks.seconds("timeout", timeout, none="no limit")
        if deadline is not None:
            deadline = _checks.loop_time("deadline", deadline, self._loop.time())
        if name is not None:
            name = _checks.label("name", name)
        run = CURRENT.get()
        if run is not None:
            deadline = _inherited(run, deadline, self._loop)
        job = Job()
        job.fn = fn
        job.args = args
        job.context = copy_context()
        job.timeout = timeout
        job.deadline = deadline
        job.label = name
        job.owner = self._crew
        job.accepted_at = self._loop.time()
        job.run = job.waiters = None
        return job

    def _inside(self) -> bool:
        """Say whether the caller is one of the pool's jobs, or a task that one has started and may be waiting for."""
        run = CURRENT.get()
        return run is not None and run.job is not None and run.job.owner is self._crew


# Few pools have observers, and to load the records that these are told is a quarter of what importing weirpool takes.


def _checked(observers: Sequence[Observer]) -> tuple[Observer, ...]:
    from ._events import Observer  # noqa: PLC0415

    return _checks.observers("observers", observers, Observer)


def _told(pool: str, observers: tuple[Observer, ...], loop: asyncio.AbstractEventLoop) -> Observers:
    from ._observers import Observers  # noqa: PLC0415

    return Observers(pool, observers, loop)


def _inherited(run: Run, deadline: float | None, loop: asyncio.AbstractEventLoop) -> float | None:
    """Return the earlier of a deadline and that of the job which submits, if that still runs, on the same clock."""
    if run.due is None or run.job is None or run.job.owner is None or run.job.owner.loop is not loop:
        return deadline
    return run.due if deadline is None else min(deadline, run.due)
