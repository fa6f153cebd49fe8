"""WorkerPool: puts the parts together, and is what users see of them."""

from __future__ import annotations

import asyncio
import warnings
from contextvars import copy_context
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, TypeVarTuple, overload

from anyio.abc import AsyncResource

from . import _checks
from ._admission import Admission
from ._around import Around
from ._checks import running_loop
from ._closing import Closing
from ._crew import Crew
from ._deadline import inherited
from ._errors import PoolClosed
from ._handle import JobHandle, leave, wait_or_leave
from ._job import Job
from ._lending import Lent, inside
from ._lifecycle import ABANDONED, CANCELLED, FAILED, OPEN, SUCCEEDED, TIMED_OUT, Ledger, PoolState
from ._queue import JobQueue
from ._run import CURRENT, current_run
from ._settings import JOB_TIMEOUT as _JOB_TIMEOUT
from ._settings import Default as _Default
from ._settings import Settings, ordered, workers
from ._snapshot import FailureType, PoolStats, ShutdownReport, Stray, account
from ._telemetry import connect
from ._ticket import Ticket

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from aiolimiter import AsyncLimiter
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from ._batch import Batch
    from ._crossing import Crossing, Wishes
    from ._events import Observer
    from ._from_thread import FromThread
    from ._job_group import Group, Until
    from ._map import Failed, MapProgress, MapResults
    from ._observers import Listener, Observers
    from ._overload import Overload
    from ._results import Readers, Results
    from ._running import RunningJob
    from ._scaler import Scaler
    from ._settings import TraceMode
    from ._telemetry import Telemetry
    from ._ticket import Key
    from ._window import Window
    from ._workers import Workers
    from .policies import OverloadPolicy, Retry, ScalingPolicy

__all__ = ["WorkerPool"]

I = TypeVar("I")  # noqa: E741  # of an item
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


_USUAL: Final = 0  # there is one object for it; another one that is equal is looked at more closely, and taken for the same


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
        min_workers: how many places there are at least, if their number is to change with the load; None: as many as
            `max_workers`, always. Unless `scaling` says otherwise, places are added when jobs wait, and go when they are
            unused.
        scaling: who decides how many places there are; see `weirpool.policies`.
        queue_size: how many accepted jobs wait for a worker, at most. 0: none, a job is accepted only by a free worker.
        overload: what happens to a submission when the pool is full: "wait" (for `submit_timeout`), "reject" (refused at
            once), "drop_oldest" (accepted in the place of the job that has waited longest, whose handle ends with
            `PoolOverloaded`), "caller_runs" (run at once without a place, while `submit` waits for its end); or a policy of
            `weirpool.policies`.
        job_timeout: how long a job may run, in seconds, unless it says otherwise. None: for ever.
        submit_timeout: how long `submit` waits for room, in seconds. 0: not at all. None: as long as it takes.
        shutdown_timeout: how long closing takes, in seconds, at most.
        cancel_grace: how long a cancelled job may take to end before it is abandoned, in seconds. While closing, this is
            the last part of `shutdown_timeout`.
        key_limit: how many jobs of one key run at once, at most. 1: one after the other.
        rate: how many jobs start in a second, at most, evenly: until it may start, a job waits in the queue, and its `timeout`
            does not run. Another attempt at a job counts, too. Or an `aiolimiter.AsyncLimiter`, which allows bursts of as
            many as it says, and may be that of several pools. Needs the extra `rate`.
        key_rate: how many jobs of one key start in a second, at most. Needs the extra `rate`.
        aging: how many seconds of waiting one step of priority is worth: a job of priority 2 starts before any of priority 1
            that was accepted later than this after it, so nothing waits for ever.
        max_lending: how many jobs may wait for this pool from inside at once, at most. Each lends its place meanwhile.
        max_strays: how many abandoned jobs may still run, at most. While there are more, no job is started, and submissions
            are refused. None: as many as `max_workers`.
        worker_context: what each worker has of its own, a connection for instance: a function that returns an async context
            manager. It is entered when a worker starts (`min_workers` of them before the pool is open), and left when that
            retires; jobs get at what it returned by `current_worker().resource`. It is left and made anew when it breaks: a
            job says so (`current_worker().discard()`), a job is abandoned, or it comes to an end by itself.
        name: what the pool is called in errors, logs and reports.
        observers: whom to tell what happens; see `weirpool.events`.
        meter_provider: of OpenTelemetry, for the pool's metrics; None: the one that the application has set when the pool is
            entered. Without one there are no metrics, and nothing is paid.
        tracer_provider: of OpenTelemetry, for a span per job; None: as above.
        trace: where the span of a job belongs. "auto": under that of its submitter if `run()` or somebody awaits the job when
            it starts, else in a trace of its own that links to the submitter's; "parent", "link": always so; "off": no spans.
        time_in_queue_histogram: whether each job's time in queue is recorded as a metric, too, which costs as much as its run
            time: about 5 µs with the SDK.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
    """

    _telemetry: Telemetry | None = None
    _crossed: Crossing | None = None
    _readers: Readers | None = None
    _by_run = False  # whether what is being submitted is awaited by `run`, and who traces wants to know

    def __init__(
        self,
        *,
        max_workers: int = 100,
        min_workers: int | None = None,
        scaling: ScalingPolicy | None = None,
        queue_size: int = 1000,
        overload: Literal["wait", "reject", "drop_oldest", "caller_runs"] | OverloadPolicy = "wait",
        job_timeout: float | None = None,
        submit_timeout: float | None = 5.0,
        shutdown_timeout: float = 20.0,
        cancel_grace: float = 2.0,
        key_limit: int = 1,
        rate: float | AsyncLimiter | None = None,
        key_rate: float | None = None,
        aging: float = 10.0,
        max_lending: int = 10_000,
        max_strays: int | None = None,
        worker_context: Callable[[], AbstractAsyncContextManager[Any]] | None = None,
        name: str = "pool",
        observers: Sequence[Observer] = (),
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
        trace: TraceMode = "auto",
        time_in_queue_histogram: bool = False,
    ) -> None:
        self._settings = settings = Settings.checked(
            max_workers=max_workers,
            min_workers=min_workers,
            scaling=scaling,
            queue_size=queue_size,
            overload=overload,
            job_timeout=job_timeout,
            submit_timeout=submit_timeout,
            shutdown_timeout=shutdown_timeout,
            cancel_grace=cancel_grace,
            key_limit=key_limit,
            rate=rate,
            key_rate=key_rate,
            aging=aging,
            max_lending=max_lending,
            max_strays=max_strays,
            worker_context=worker_context,
            name=name,
            observers=observers,
            meter_provider=meter_provider,
            tracer_provider=tracer_provider,
            trace=trace,
            time_in_queue_histogram=time_in_queue_histogram,
        )
        self._name = settings.name
        self._job_timeout = settings.job_timeout
        self._ledger = Ledger()
        self._loop: asyncio.AbstractEventLoop
        self._crew: Crew
        self._admission: Admission
        self._closing: Closing | None = None
        self._workers: Workers | None = None
        self._scaler: Scaler | None = None
        self._report: ShutdownReport | None = None  # only of a pool that was closed without ever being entered

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not hasattr(cls, "__getattr__"):  # nor has this class, on which CPython 3.11 would look attributes up more slowly
            type.__setattr__(cls, "__getattr__", _checks.missing_attribute)

    # Life ---------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Open the pool on the running event loop.

        Raises:
            BaseException: whatever entering a `worker_context` has raised; the pool is closed then, and nothing left behind.
            RuntimeError: it has been entered or closed before; or `rate` is a limiter that another event loop uses.
        """
        ledger = self._ledger
        if self._closing is not None or ledger.pool is not PoolState.NEW:
            raise RuntimeError(f"{self!r} was entered or closed before: a pool is used once, make a new one")
        loop = self._loop = asyncio.get_running_loop()
        settings = self._settings
        observers: Listener | None = _told(self._name, settings.observers, loop) if settings.observers else None
        window = None if settings.scaling is None else _window(ledger, observers, loop)
        listener = window or observers
        if settings.rate is None and settings.key_rate is None:
            queue = JobQueue(settings.queue_size, aging=settings.aging, key_limit=settings.key_limit)
            self._crew = Crew(settings, queue, ledger, listener, loop)
        else:
            queue, self._crew = _paced(settings, ledger, listener, loop)
        if settings.overload is not None:
            self._crew.shed_by(_overload(self._name, settings.overload, loop))
        self._admission = Admission(settings, self._crew, queue, ledger, listener, loop)
        self._telemetry = self._crew.telemetry = connect(settings, ledger, self._crew, self._admission)
        self._closing = Closing(settings, self._crew, self._admission, ledger, listener, loop)
        if settings.scaling is not None and window is not None:
            self._scaler = _scaler(settings, self._crew, self._admission, queue, ledger, window, loop)
            self._closing.on_closed = self._scaler.stop
        if settings.worker_context is not None:
            self._workers = self._crew.supervisor.workers = _workers(settings, settings.worker_context, self._crew)
        closing = self._closing
        try:
            ready = self._crew.supervisor.open(closing.open, closing.fail, closing.escalate, closing.supervisor_ended)
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
            error, self._crew.supervisor.error = self._crew.supervisor.error, None
            try:
                if error is not None:
                    raise error
            finally:
                del error  # whose traceback has this frame
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
        budget = self._settings.shutdown_timeout
        if timeout is not None:
            budget = _checks.seconds("timeout", timeout, zero="wait for nothing", none="the pool's shutdown_timeout")
        closing = self._closing
        if closing is None:  # never entered, and never will be
            if self._report is None:
                self._ledger.move_pool(PoolState.CLOSED)
                self._report = account(self._name, self._ledger)
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
        return await self._lending(closing.wait, anyway=True)

    def close_intake(self) -> None:
        """Accept no more jobs from now on; what was accepted goes on. A job may call this.

        Later submits, and those that wait for room, get `PoolClosed`. The pool is closed by `aclose()`, as always.

        Raises:
            RuntimeError: the pool was never entered, or is not open yet, or this is called from another thread or event loop.
        """
        if self._report is None:
            self._opened("WorkerPool.close_intake()").close_intake()

    async def wait_closed(self) -> None:
        """Wait until somebody has closed the pool; then its `report` is there. Cancelling this touches no job.

        Raises:
            RuntimeError: the pool was not entered; this is called from one of its own jobs, which would wait for itself; or
                from another thread or event loop.
            PoolOverloaded: this is called from a job of a pool that this one waits for, and too many of those lend places.
        """
        if self._report is None:
            closing = self._entered("WorkerPool.wait_closed()")
            if self._inside():
                raise RuntimeError(f"wait_closed() was called from a job of {self!r}, and would wait for itself")
            await self._lending(closing.closed)

    # Submitting ---------------------------------------------------------------------------------------------------------

    async def submit(
        self,
        fn: Callable[[*Ts], Awaitable[T]],
        /,
        *args: *Ts,
        timeout: float | Literal[_Default.JOB_TIMEOUT] | None = _JOB_TIMEOUT,
        deadline: float | None = None,
        name: str | None = None,
        priority: int = _USUAL,
        key: Key | None = None,
        coalesce: bool = False,
        retry: Retry | None = None,
    ) -> JobHandle[T]:
        """Have a job accepted, and return its handle.

        While there is room this returns without waiting. When the pool is full it waits, first come, first served, for
        `submit_timeout` at most, and not beyond its deadline. Cancelling it while it waits leaves no trace. A job of this
        pool that has had to wait waits until it has a place again, too, which that does not bound.

        The job runs in a task of its own, in a copy of the caller's context as it is now. Jobs start in the order in which
        they were accepted.

        Args:
            fn: an async function.
            *args: its arguments; for keywords use `functools.partial`.
            timeout: how long the job may run, in seconds; None: as long as it likes. By default the pool's `job_timeout`.
            deadline: when the job must have ended, queueing included, on the loop's clock (`loop.time() + 5`). A job that is
                submitted from inside a job never gets more time than that one has left.
            name: what the job and its task are called; by default the function's name and the job's number.
            priority: lower is sooner, 0 is usual. Jobs of one priority start in the order in which they were accepted; a step
                of priority is worth the pool's `aging` seconds of waiting, so that none waits for ever.
            key: what it shares with jobs that must not all run at once (a tenant, an account): of those with an equal key, at
                most the pool's `key_limit` do. Keys take turns, so that none fills the pool. A str, int, bytes, UUID, or a
                tuple of such.
            coalesce: whether to join a job of the same key that has not ended, and share its handle and result, instead of
                submitting another. Its arguments, timeout and deadline stay as they are; `handle.cancel()` cancels it for all.
            retry: whether and when it is tried again if it fails; see `weirpool.policies.Retry`. All attempts are one job.

        Returns:
            A handle to await, cancel or ignore.

        Raises:
            PoolOverloaded: there was no room within `submit_timeout`, or before the deadline.
            PoolClosed: the pool is closing or closed, or began to close while this was waiting.
            TypeError: an argument is of the wrong kind: `fn` is a coroutine instead of a function, for instance.
            ValueError: an argument is out of its range.
            RuntimeError: the pool was not entered, or this is called from another thread or event loop.
        """
        job = self._job(fn, args, timeout, deadline, name)
        if self._by_run:
            self._mark_awaited(job)
        if priority is not _USUAL or key is not None or coalesce is not False or retry is not None:
            joined = self._special(job, priority, key, coalesce, retry)
            if joined is not None:
                return joined
        if not self._admission.admit(job):
            return await self._admission.wait(job, self._settings.submit_timeout)
        return job

    def submit_nowait(
        self,
        fn: Callable[[*Ts], Awaitable[T]],
        /,
        *args: *Ts,
        timeout: float | Literal[_Default.JOB_TIMEOUT] | None = _JOB_TIMEOUT,
        deadline: float | None = None,
        name: str | None = None,
        priority: int = _USUAL,
        key: Key | None = None,
        coalesce: bool = False,
        retry: Retry | None = None,
    ) -> JobHandle[T]:
        """Have a job accepted now, or be refused now; never overtake a submitter that waits.

        Args:
            fn: an async function.
            *args: its arguments.
            timeout: how long the job may run, in seconds; see `submit`.
            deadline: when the job must have ended, on the loop's clock; see `submit`.
            name: what the job and its task are called; see `submit`.
            priority: lower is sooner; see `submit`.
            key: what it shares with jobs that must not run at once; see `submit`.
            coalesce: whether to join a job of the same key; see `submit`.
            retry: whether and when it is tried again; see `submit`.

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
        if priority is not _USUAL or key is not None or coalesce is not False or retry is not None:
            joined = self._special(job, priority, key, coalesce, retry)
            if joined is not None:
                return joined
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
        priority: int = _USUAL,
        key: Key | None = None,
        coalesce: bool = False,
        retry: Retry | None = None,
    ) -> T:
        """Submit a job, wait for it and return its result.

        Cancelling this cancels the job and waits until it has ended, or has been abandoned after `cancel_grace`.

        Args:
            fn: an async function.
            *args: its arguments.
            timeout: how long the job may run, in seconds; see `submit`.
            deadline: when the job must have ended, on the loop's clock; see `submit`.
            name: what the job and its task are called; see `submit`.
            priority: lower is sooner; see `submit`.
            key: what it shares with jobs that must not run at once; see `submit`.
            coalesce: whether to join a job of the same key; see `submit`.
            retry: whether and when it is tried again; see `submit`.

        Returns:
            What the job returned.

        Raises:
            PoolOverloaded: there was no room within `submit_timeout`, or before the deadline.
            PoolClosed: the pool is closing or closed.
            JobTimeout: the job's time ran out.
            JobCancelled: the job was cancelled; the caller was not.
            TypeError: an argument is of the wrong kind.
            ValueError: an argument is out of its range.
            RuntimeError: the pool was not entered, or this is called from another thread or event loop.
            BaseException: whatever the job itself raised.
        """
        if self._telemetry is not None and self._telemetry.tracing:
            self._by_run = True
        try:
            handle: Any = await self.submit(
                fn,
                *args,
                timeout=timeout,
                deadline=deadline,
                name=name,
                priority=priority,
                key=key,
                coalesce=coalesce,
                retry=retry,
            )
        finally:
            if self._by_run:
                self._by_run = False
        if CURRENT.get() is None:
            try:
                await handle.wait()
            except asyncio.CancelledError as error:
                await leave(handle, error)
                raise
        else:
            await wait_or_leave(handle)
        try:
            return handle.result()  # type: ignore[no-any-return]  # the record of a job does not know of what type that is
        finally:
            del handle, fn, args, self  # none of which a traceback through here should keep

    # Jobs together ------------------------------------------------------------------------------------------------------

    def group(
        self,
        *,
        until: Until = "first_error",
        timeout: float | None = None,
        deadline: float | None = None,
    ) -> Group:
        """Make a group of jobs, none of which outlives its block: `async with pool.group() as group`.

        Jobs are submitted to it as to the pool, and are the pool's jobs in all else. A normal end of the block waits for all
        of them. An exception in the block, or a cancellation of its task, cancels all, and waits until they have ended or are
        abandoned. What jobs fail with leaves the block as an `ExceptionGroup`, with what the block itself has raised, as with
        `asyncio.TaskGroup`. That somebody has cancelled a job is no error; that the pool has ended it, because it closes or
        overflows, is one. A job that waits at the end of such a block lends its place meanwhile.

        Args:
            until: what stops the group. "first_error": the first error cancels the rest, and interrupts the block.
                "all_ended": nothing, all jobs run to their end. "first_success": the first success cancels the rest, and
                interrupts the block, which raises nothing; `group.result()` is what came of it. If none succeeds, the errors
                of all leave the block.
            timeout: how much time its jobs have from when it is entered, in seconds; None: no limit.
            deadline: when its jobs must have ended, queueing included, on the loop's clock; None: no limit. With either, the
                block is a `deadline_scope`, too.

        Returns:
            The group, to be entered once.

        Raises:
            TypeError: an argument is of the wrong kind.
            ValueError: an argument is out of its range.
        """
        from ._job_group import Group  # noqa: PLC0415  # few programs use it

        return Group(self, self._used_by, self._expect, until, timeout, deadline)

    def results(self, *, buffer: int = 1000) -> Results:
        """Return a stream of all jobs that end from now on, whoever has submitted them: `async for handle in pool.results()`.

        It ends when the pool is closed and all was read. Each stream gets all jobs. It never holds up a job: where it is read
        too slowly, the oldest jobs that were not read are dropped, and counted in `stream.missed`. To stop reading earlier,
        drop it, or use it as `async with pool.results() as stream`.

        Args:
            buffer: how many jobs it keeps that were not read, at most, with their results.

        Returns:
            An async iterator over handles of jobs that have ended.

        Raises:
            TypeError: `buffer` is of the wrong kind.
            ValueError: `buffer` is out of its range.
            RuntimeError: the pool was not entered; this is called from one of its own jobs, which would wait for itself; or
                from another thread or event loop.
        """
        from ._results import Readers, Results, Unread  # noqa: PLC0415  # few programs use it

        unread = Unread(_checks.whole("buffer", buffer, "jobs", 1, 1_000_000_000))
        stream = Results(unread, self._read)
        if self._report is not None:
            unread.end()
            return stream
        self._entered("WorkerPool.results()")
        self._refuse_inside("results()")
        if self._readers is None:
            self._readers = Readers(self._crew)
        self._readers.add(unread)
        return stream

    @overload
    def map(
        self,
        fn: Callable[[I], Awaitable[T]],
        items: Iterable[I] | AsyncIterable[I],
        /,
        *,
        ordered: bool = True,
        on_error: Literal["raise", "skip"] = "raise",
        window: int | None = None,
        timeout: float | Literal[_Default.JOB_TIMEOUT] | None = _JOB_TIMEOUT,
        deadline: float | None = None,
        name: str | Callable[[I], str] | None = None,
        priority: int | Callable[[I], int] = _USUAL,
        key: Key | Callable[[I], Key | None] | None = None,
        retry: Retry | None = None,
        total: int | None = None,
        progress: Callable[[MapProgress], object] | None = None,
    ) -> MapResults[T]: ...
    @overload
    def map(
        self,
        fn: Callable[[I], Awaitable[T]],
        items: Iterable[I] | AsyncIterable[I],
        /,
        *,
        ordered: bool = True,
        on_error: Literal["return"],
        window: int | None = None,
        timeout: float | Literal[_Default.JOB_TIMEOUT] | None = _JOB_TIMEOUT,
        deadline: float | None = None,
        name: str | Callable[[I], str] | None = None,
        priority: int | Callable[[I], int] = _USUAL,
        key: Key | Callable[[I], Key | None] | None = None,
        retry: Retry | None = None,
        total: int | None = None,
        progress: Callable[[MapProgress], object] | None = None,
    ) -> MapResults[T | Failed[I]]: ...
    def map(
        self,
        fn: Callable[[Any], Awaitable[Any]],
        items: Iterable[Any] | AsyncIterable[Any],
        /,
        *,
        ordered: bool = True,
        on_error: Literal["raise", "return", "skip"] = "raise",
        window: int | None = None,
        timeout: float | Literal[_Default.JOB_TIMEOUT] | None = _JOB_TIMEOUT,
        deadline: float | None = None,
        name: str | Callable[[Any], str] | None = None,
        priority: int | Callable[[Any], int] = _USUAL,
        key: Key | Callable[[Any], Key | None] | None = None,
        retry: Retry | None = None,
        total: int | None = None,
        progress: Callable[[MapProgress], object] | None = None,
    ) -> MapResults[Any]:
        """Run a job for each item, and iterate over the results: `async for page in pool.map(fetch, urls)`.

        Items are read as results are taken, and never more than `window` ahead; memory is bounded by that, however long or
        endless the source is. When the pool is full this waits for room, in line with all other submitters and as long as
        it takes: `submit_timeout` and the pool's overload policy do not apply. If the pool is closed meanwhile, the results
        of what was accepted still come, and then `PoolClosed`.

        Leaving the loop early cancels what is left and closes the source, if that is a generator; see `MapResults`. Cancelling
        whoever waits for a result does, too, and waits until all has ended. A job of this pool lends its place while it waits.

        Each job sees the context variables of the caller as they are now. An async source is read in one task, which sees them
        as well; any other in the task that takes the results.

        Args:
            fn: an async function of one argument; for more, `lambda pair: move(*pair)` and `zip`, or `functools.partial`.
            items: an iterable or an async iterable. What it raises comes after the results of the items before.
            ordered: whether results come in the order of the items; else in that in which the jobs end.
            on_error: what becomes of an item whose job does not succeed. "raise": the job's exception is raised in its turn,
                with a note that says which item it was, and ends the loop: what is left is cancelled. "return": a `Failed` is
                among the results, with the item and the exception. "skip": nothing, but it counts as failed in the statistics
                and in `progress`.
            window: how many items are read and not handed out yet, at most; None: twice the pool's `max_workers`.
            timeout: how long each job may run, in seconds; see `submit`.
            deadline: when all jobs must have ended, on the loop's clock; see `submit`.
            name: what each job is called, or a function of the item that says so.
            priority: lower is sooner, see `submit`; or a function of the item that says so.
            key: what the job shares with others that must not run at once, see `submit`; or a function of the item.
            retry: whether and when a job is tried again; see `submit`.
            total: how many items there are, for `progress`; None: what `len(items)` says, if it says anything.
            progress: called with a `MapProgress` for each item that is done, and once at the end; see
                `weirpool.integrations.progress`. It is not awaited, and dropped if it raises.

        Returns:
            What to iterate over, once. It raises what a job or the source has raised; `PoolClosed`; or `PoolOverloaded`, if
            too many abandoned jobs still run, or too many jobs lend their places.

        Raises:
            PoolClosed: the pool is closing or closed.
            TypeError: an argument is of the wrong kind.
            ValueError: an argument is out of its range.
            RuntimeError: the pool was not entered, or this is called from another thread or event loop.
        """
        self._accepting("WorkerPool.map()")
        from ._map import mapped  # noqa: PLC0415

        def make(item: Any, name: Any, priority: Any, key: Any) -> Job:
            job = self._job(fn, (item,), timeout, deadline, name)
            if priority is not _USUAL or key is not None or retry is not None:
                self._special(job, priority, key, False, retry)
            return job

        settings = self._settings
        return mapped(
            fn,
            items,
            make,
            self._admission,
            self._crew,
            self._loop,
            ordered=ordered,
            on_error=on_error,
            window=window,
            name=name,
            priority=priority,
            key=key,
            total=total,
            progress=progress,
            workers=settings.max_workers,
            grace=settings.cancel_grace,
        )

    def batch(
        self,
        fn: Callable[[list[I]], Awaitable[Sequence[T]]],
        /,
        *,
        max_size: int = 100,
        max_wait: float = 0.01,
        timeout: float | Literal[_Default.JOB_TIMEOUT] | None = _JOB_TIMEOUT,
        name: str | None = None,
        priority: int = _USUAL,
        key: Key | None = None,
        retry: Retry | None = None,
    ) -> Batch[I, T]:
        """Put the items of many callers together, and run a job for each list of them: `row_id = await insert(row)`.

        A batch is submitted when it has `max_size` items, or `max_wait` seconds after the first of them came. When the pool is
        full it waits in line, for `submit_timeout` at most; then its callers get `PoolOverloaded`. When the pool is closed,
        what was accepted is run to its end; the callers of batches that were not get `PoolClosed`.

        Each job sees the context variables of the caller of `batch` as they are now.

        Args:
            fn: an async function of a list of items. It returns as many results, in their order; a result that is an instance
                of `Exception` is raised to that item's caller, and to no other. What it raises is raised to all of the batch.
            max_size: how many items a batch has, at most.
            max_wait: how long an item waits for others, in seconds. 0: until the end of this turn of the event loop.
            timeout: how long each job may run, in seconds; see `submit`.
            name: what each job is called; see `submit`.
            priority: lower is sooner; see `submit`.
            key: what a job shares with others that must not run at once; see `submit`.
            retry: whether and when a job is tried again, with the items whose callers still wait; see `submit`.

        Returns:
            What to call with an item. It may be left as an `async with` block, which waits until all has ended.

        Raises:
            PoolClosed: the pool is closing or closed.
            TypeError: an argument is of the wrong kind.
            ValueError: an argument is out of its range.
            RuntimeError: the pool was not entered, or this is called from another thread or event loop.
        """
        self._accepting("WorkerPool.batch()")
        from ._batch import batched  # noqa: PLC0415

        def make(around: Callable[..., Coroutine[Any, Any, Any]]) -> Job:
            job = self._job(fn, (), timeout, None, name)
            job.fn = Around.of(job.fn, around)
            if priority is not _USUAL or key is not None or retry is not None:
                self._special(job, priority, key, False, retry)
            return job

        return batched(
            fn,
            make,
            self._admission,
            self._crew,
            lending=self._lending,
            max_size=max_size,
            max_wait=max_wait,
            patience=self._settings.submit_timeout,
        )

    @property
    def from_thread(self) -> FromThread:
        """The pool as other threads may use it: `submit`, `run`, and a `concurrent.futures.Executor`.

        It may be taken on any thread, and at any time; what is submitted by it needs an open pool.
        """
        from ._from_thread import FromThread  # noqa: PLC0415  # few programs use it

        return FromThread(self, self._cross, self._enter)

    # Steering -----------------------------------------------------------------------------------------------------------

    async def resize(self, *, min_workers: int | None = None, max_workers: int | None = None) -> None:
        """Change how many jobs run at once, and wait until no more do.

        The change is made at once, before anything is awaited: from then on no job starts while as many run. Jobs that run are
        never interrupted; where there are more of them than places now, this waits until enough have ended. Cancelling it
        leaves the change in place. A job may call it.

        A pool that was made with a fixed number of workers, and without `scaling`, keeps to that: give it `max_workers`.

        Args:
            min_workers: how many places there are at least; None: as before.
            max_workers: how many jobs run at once, at most; None: as before.

        Raises:
            PoolClosed: the pool is closing or closed.
            TypeError: an argument is of the wrong kind, or there is none.
            ValueError: an argument is out of its range.
            RuntimeError: the pool was not entered, or this is called from another thread or event loop.
        """
        settings = self._settings
        if min_workers is None and max_workers is None:
            raise TypeError("resize() needs min_workers, max_workers or both")
        most = settings.max_workers if max_workers is None else workers("max_workers", max_workers)
        fewest = settings.min_workers if min_workers is None else workers("min_workers", min_workers)
        if settings.scaling is None:
            if min_workers is not None and fewest != most:
                raise ValueError(
                    f"min_workers must be max_workers ({most}) in a pool that was made with a fixed number of workers, "
                    f"got {fewest}"
                )
            fewest = most
        ordered(fewest, most)
        self._steering("WorkerPool.resize()")
        settings.min_workers, settings.max_workers = fewest, most
        crew, ledger = self._crew, self._ledger
        if self._scaler is None:
            crew.resize(most, "resize")
        else:
            self._scaler.bound()

        if ledger.running > crew.places:
            await self._lending(lambda: crew.steering.until(lambda: ledger.running <= crew.places))

    def pause(self) -> None:
        """Start no more jobs, until `resume`. Those that run go on, and submissions are accepted while there is room.

        Pausing again changes nothing. Closing the pool ends the pause: what was accepted is run to its end.

        Raises:
            PoolClosed: the pool is closing or closed.
            RuntimeError: the pool was not entered, or this is called from another thread or event loop.
        """
        self._steering("WorkerPool.pause()")
        self._crew.pause()

    def resume(self) -> None:
        """Start jobs again after a `pause`; without one this changes nothing.

        Raises:
            PoolClosed: the pool is closing or closed.
            RuntimeError: the pool was not entered, or this is called from another thread or event loop.
        """
        self._steering("WorkerPool.resume()")
        self._crew.resume()

    async def wait_idle(self) -> None:
        """Wait until no job is queued and none runs; a pool that is closed is idle.

        What is submitted meanwhile is waited for, too. While the pool is paused, queued jobs stay where they are, and so does
        this. Cancelling it touches no job.

        Raises:
            RuntimeError: the pool was not entered; this is called from one of its own jobs, which would wait for itself; or
                from another thread or event loop.
            PoolOverloaded: this is called from a job of a pool that this one waits for, and too many of those lend places.
        """
        if self._report is None:
            self._entered("WorkerPool.wait_idle()")
            if self._inside():
                raise RuntimeError(f"wait_idle() was called from a job of {self!r}, and would wait for itself")
            steering, ledger = self._crew.steering, self._ledger
            await self._lending(lambda: steering.until(lambda: not ledger.unfinished))

    # Looking ------------------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What the pool is called."""
        return self._name

    @property
    def shutdown_timeout(self) -> float:
        """How long closing takes at most, in seconds."""
        return self._settings.shutdown_timeout

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
        settings, ledger, ends = self._settings, self._ledger, self._ledger.ends
        waited, ran = (None, None) if self._closing is None else self._crew.timings.recent()
        return PoolStats(
            name=self._name,
            state=ledger.pool,
            min_workers=settings.min_workers,
            max_workers=settings.max_workers,
            workers=settings.min_workers if self._closing is None else self._crew.places,
            queue_size=settings.queue_size,
            accepted=ledger.accepted,
            succeeded=ends[SUCCEEDED],
            failed=ends[FAILED],
            timed_out=ends[TIMED_OUT],
            cancelled=ends[CANCELLED],
            abandoned=ends[ABANDONED],
            queued=ledger.queued,
            running=ledger.running + ledger.lending,
            lending=ledger.lending,
            paused=self._closing is not None and self._crew.steering.paused,
            strays=ledger.strays,
            retrying=0 if self._closing is None else self._crew.lending.retrying,
            coalesced=ledger.coalesced,
            waiting=0 if self._closing is None else self._admission.waiting,
            refused=dict(ledger.refused),
            time_in_queue=waited,
            run_time=ran,
        )

    def running(self, limit: int | None = None) -> tuple[RunningJob, ...]:
        """Return the jobs that run: for how long, for how long they still may, and the line at which each of them is.

        In the order in which they started; strays are not among them. The cost grows with their number: some 20 µs each.

        Args:
            limit: how many jobs at most, of those that have run longest; None: all.

        Raises:
            TypeError: `limit` is of the wrong kind.
            ValueError: `limit` is negative.
            RuntimeError: called from another thread or event loop.
        """
        return self._look("WorkerPool.running()", limit, Crew.running)

    def strays(self, limit: int | None = None) -> tuple[Stray, ...]:
        """Return the abandoned jobs that still run, and where each of them hangs. The cost grows with their number.

        Args:
            limit: how many at most, of those that were abandoned first; None: all.

        Raises:
            TypeError: `limit` is of the wrong kind.
            ValueError: `limit` is negative.
            RuntimeError: called from another thread or event loop.
        """
        return self._look("WorkerPool.strays()", limit, Crew.survey)

    def failures(self) -> tuple[FailureType, ...]:
        """Return what the jobs have failed with, the most frequent type first, each with a traceback of its last second.

        Of at most fifty types; all others are one.
        """
        return () if self._closing is None else self._crew.failures.by_type()

    def __repr__(self) -> str:
        ledger, settings = self._ledger, self._settings
        return (
            f"<WorkerPool {self._name!r} {self.state.value}: "
            f"{ledger.running} of {settings.max_workers} running, {ledger.queued} of {settings.queue_size} queued>"
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

    def _opened(self, what: str) -> Closing:
        closing = self._entered(what)
        if self._ledger.pool is PoolState.NEW and not closing.begun:
            raise RuntimeError(f"pool {self._name!r} is still being opened: await its __aenter__() first")
        return closing

    def _look(self, what: str, limit: int | None, look: Callable[[Crew, int | None], tuple[T, ...]]) -> tuple[T, ...]:
        """Look at so many of the jobs at most; a pool that was never entered has none."""
        if limit is not None:
            limit = _checks.whole("limit", limit, "jobs", 0, 1_000_000_000)
        if self._closing is None:
            return ()
        _checks.on_loop(what, self._loop)
        return look(self._crew, limit)

    def _steering(self, what: str) -> None:
        if self._report is not None or self._opened(what).begun:
            raise PoolClosed(self._name)

    def _accepting(self, what: str) -> None:
        if self._report is not None or (self._opened(what) and self._ledger.pool is not OPEN):
            raise PoolClosed(self._name)

    async def _lending(self, what: Callable[[], Awaitable[T]], *, anyway: bool = False) -> T:
        """Await something of this pool; a job that does lends its place, if what it waits for may be for its own pool."""
        run = inside(self._loop)
        if run is None:
            return await what()
        async with Lent(run, self._crew, anyway=anyway):
            return await what()

    def _job(
        self,
        fn: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        timeout: float | Literal[_Default.JOB_TIMEOUT] | None,
        deadline: float | None,
        name: str | None,
    ) -> Job:
        """Check a submission, before anything changes, and make the record of the job."""
        if type(fn) is not FunctionType or not fn.__code__.co_flags & _checks.NATIVE:  # else it is what nearly every job is
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
        around = CURRENT.get()
        if around is not None:
            deadline = inherited(around, deadline, self._loop)
        job = Job()
        job.fn = fn if self._workers is None else Around.of(fn, self._workers.run)
        job.args = args
        job.context = copy_context()
        job.timeout = timeout
        job.deadline = deadline
        job.label = name
        job.owner = self._crew
        job.accepted_at = self._loop.time()
        job.run = job.waiters = job.ticket = None
        return job

    def _cross(self) -> Crossing:
        """Return what is on its way to the pool from other threads; called on any thread, and so it changes nothing else.

        Raises:
            PoolClosed: the pool was closed without being entered.
            RuntimeError: it was not entered.
        """
        if self._crossed is None:  # two threads at once may each make one; either will do
            if self._closing is None:
                if self._report is not None:
                    raise PoolClosed(self._name)
                raise RuntimeError("from_thread needs a pool that was entered: async with WorkerPool(...) as pool")
            from ._crossing import Crossing  # noqa: PLC0415

            self._crossed = Crossing(self._name, self._loop)
        return self._crossed

    def _enter(
        self, fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...], wishes: Wishes
    ) -> Job | Coroutine[Any, Any, Job]:
        """Do what `submit` does as far as that goes without waiting: return the job, or what waits for it to be accepted."""
        job = self._job(fn, args, wishes.timeout, wishes.deadline, wishes.name)
        if wishes.awaited and self._telemetry is not None and self._telemetry.tracing:
            self._mark_awaited(job)
        if wishes.special:
            joined = self._special(job, wishes.priority, wishes.key, wishes.coalesce, wishes.retry)
            if joined is not None:
                return joined
        if self._admission.admit(job):
            return job
        if not wishes.patient:
            self._admission.refuse_full()
        return self._admission.wait(job, self._settings.submit_timeout)

    def _used_by(self, what: str) -> Crew:
        """Return the crew for something that uses an open pool."""
        self._steering(what)
        return self._crew

    def _expect(self, awaited: bool) -> None:
        """Note whether what is submitted next is going to be awaited by whoever submits it."""
        if self._telemetry is not None and self._telemetry.tracing:
            self._by_run = awaited

    async def _read(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait for more results."""
        _checks.on_loop("reading results", self._loop)
        self._refuse_inside("results()")
        await self._lending(wait)

    def _refuse_inside(self, what: str) -> None:
        if self._inside():
            raise RuntimeError(f"{what} was used in a job of {self!r}, and would wait for itself: read it outside of its jobs")

    def _mark_awaited(self, job: Job) -> None:
        assert self._telemetry is not None
        self._by_run = False
        self._telemetry.awaited(job)

    def _special(self, job: Job, priority: int, key: Key | None, coalesce: object, retry: Retry | None) -> Job | None:
        """Check the wishes that few jobs have, and note them; return the job that is to be joined instead, if there is one."""
        priority = _checks.priority(priority)
        if key is not None:
            key = _checks.key(key)
        coalesce = _checks.flag("coalesce", coalesce)
        if coalesce and key is None:
            raise ValueError("coalesce must be False for a job without a key: with which others should it be one?")
        if retry is not None:
            _retry(job, retry, self._crew)
        if priority or key is not None:
            job.ticket = Ticket(priority, key, coalesce=coalesce)
        return self._admission.join(key) if coalesce and key is not None else None

    def _inside(self) -> bool:
        """Say whether the caller is one of the pool's jobs, or a task that one has started and may be waiting for."""
        run = current_run()
        return run is not None and run.job is not None and run.job.owner is self._crew


# What few pools have is loaded by those: it is a quarter of what importing weirpool would take.


def _told(pool: str, observers: tuple[Observer, ...], loop: asyncio.AbstractEventLoop) -> Observers:
    from ._observers import Observers  # noqa: PLC0415

    return Observers(pool, observers, loop)


def _paced(
    settings: Settings, ledger: Ledger, observers: Listener | None, loop: asyncio.AbstractEventLoop
) -> tuple[JobQueue, Crew]:
    from ._paced import paced  # noqa: PLC0415

    return paced(settings, ledger, observers, loop)


def _window(ledger: Ledger, observers: Listener | None, loop: asyncio.AbstractEventLoop) -> Window:
    from ._window import Window  # noqa: PLC0415

    return Window(ledger, observers, loop)


def _overload(pool: str, policy: OverloadPolicy, loop: asyncio.AbstractEventLoop) -> Overload:
    from ._overload import Overload  # noqa: PLC0415

    return Overload(pool, policy, loop)


def _retry(job: Job, policy: Any, crew: Crew) -> None:
    from ._retry import retrying  # noqa: PLC0415
    from .policies.retry import Retry  # noqa: PLC0415

    if not isinstance(policy, Retry):
        raise TypeError(f"retry must be a weirpool.policies.Retry, got {_checks.shown(policy)}")
    job.fn = retrying(job.fn, policy, crew)


def _workers(settings: Settings, factory: Callable[[], AbstractAsyncContextManager[Any]], crew: Crew) -> Workers:
    from ._workers import Workers  # noqa: PLC0415

    return Workers(
        settings,
        factory,
        places=lambda: crew.places,
        told=crew.supervisor.told,
        on_gone=lambda: None if crew.on_idle is None else crew.on_idle(),
    )


def _scaler(
    settings: Settings,
    crew: Crew,
    admission: Admission,
    queue: JobQueue,
    ledger: Ledger,
    window: Window,
    loop: asyncio.AbstractEventLoop,
) -> Scaler:
    from ._scaler import Scaler  # noqa: PLC0415

    return Scaler(settings, crew, admission, queue, ledger, window, loop)
