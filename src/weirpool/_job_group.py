"""Jobs that belong together: none of them outlives the block in which they were submitted.

What `asyncio.TaskGroup` is to tasks, by the same rules of cancellation, on all versions of Python: the count of cancellations
that the task had when it entered the block is what it has when it leaves it, and a cancellation from outside that comes
together with an error is not lost.

A group hears of the end of a job as whoever awaits it does, so a job that is in no group pays nothing. It hears twice. In the
midst of the job's end it notes that, and in which order the jobs have ended. What follows from it, cancelling others, is done
in a turn of its own: the books of the pool are in order again then, and no task runs that may be the one to interrupt.
"""

from __future__ import annotations

import asyncio
from asyncio import CancelledError, Future
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, TypeVarTuple

from . import _checks
from ._checks import running_loop
from ._circles import refuse_circle
from ._completed import Completed
from ._deadline import deadline_scope, inherited
from ._errors import JobCancelled, PoolError, PoolOverloaded, is_a
from ._handle import JobHandle, cancel_and_outlast
from ._lending import Lent, Waiter, inside, outlast
from ._lifecycle import ABANDONED, FAILED, SUCCEEDED
from ._run import CURRENT
from ._settings import JOB_TIMEOUT, Default
from ._supervisor import cancel
from ._waiting import Waiters, release

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractContextManager
    from types import TracebackType

    from ._crew import Crew
    from ._job import Job
    from ._lending import Wait
    from ._pool import WorkerPool
    from ._run import Run
    from ._ticket import Key
    from .policies import Retry

__all__ = ["Group", "Until"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Until = Literal["first_error", "all_ended", "first_success"]

_UNTIL: Final = ("first_error", "all_ended", "first_success")
_NEW: Final = "was not entered: async with pool.group() as group"
_STOPPED: Final = "takes no more jobs: it is cancelling those that it has, and its block is about to be left"
_OVER: Final = "takes no more jobs: its block was left; submit inside of it, or to the pool"


class Group:
    """Submit jobs that belong together; leaving the block waits for all of them, or cancels them.

    ::

        async with pool.group() as group:
            user = await group.submit(fetch_user, id)
            posts = await group.submit(fetch_posts, id)
        show(user.result(), posts.result())

    See `WorkerPool.group`, which makes it. It belongs to the task that enters it, and is used once. Any task of the pool's
    event loop may submit to it until the block is left, its own jobs among them.
    """

    def __init__(
        self,
        pool: WorkerPool,
        opened: Callable[[str], Crew],
        awaited: Callable[[bool], None],
        until: Until,
        timeout: float | None,
        deadline: float | None,
    ) -> None:
        self._until: Until = _checks.one_of("until", until, _UNTIL)
        if timeout is not None:
            timeout = _checks.seconds("timeout", timeout, none="no limit")
        self._timeout = timeout
        self._due = deadline  # checked when there is a loop whose clock it is on
        self._pool = pool
        self._opened = opened
        self._awaited = awaited
        self._shut: str | None = _NEW
        """Why it takes no job; None: it does."""
        self._stopping = False
        self._leaving = False
        self._interrupted = False
        self._pending: dict[Job, Member] = {}
        self._completed: list[Job] = []
        self._unheard = 0
        """How many of these have ended without the consequences of that having been drawn."""
        self._winner: Job | None = None
        self._errors: list[BaseException] = []
        self._exit: BaseException | None = None
        """A KeyboardInterrupt or SystemExit, which is not put in an exception group."""
        self._abandoned: list[str] = []
        self._lookers = Waiters()
        self._quiet: Future[None] | None = None
        self._wait: Wait | None = None
        self._host: Run | None = None
        """The run of the job in which the end of all jobs is waited for."""
        self._crew: Crew
        self._parent: asyncio.Task[Any] | None = None
        self._left = False
        self._cancelling = 0
        self._scope: AbstractContextManager[None] | None = None

    # The block ------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Begin to take jobs.

        Raises:
            PoolClosed: the pool is closing or closed.
            RuntimeError: it has been entered before; the pool was not entered; this is no task, or one of another event loop.
            TypeError: `deadline` is of the wrong kind.
            ValueError: `deadline` is out of its range.
        """
        if self._shut is not _NEW:
            raise RuntimeError(f"{self!r} was entered before: a group is used once, make a new one with pool.group()")
        crew = self._opened("WorkerPool.group()")
        parent = asyncio.current_task()
        if parent is None:
            raise RuntimeError(f"{self!r} must be entered in a task, which it can interrupt")
        due = self._due
        if due is not None:
            due = _checks.loop_time("deadline", due, crew.loop.time())
        if self._timeout is not None:
            over = crew.loop.time() + self._timeout
            due = over if due is None else min(due, over)
        if due is not None:
            self._scope = deadline_scope(due)
            self._scope.__enter__()
        around = CURRENT.get()
        self._due = due if around is None else inherited(around, due, crew.loop)
        self._crew, self._parent, self._cancelling = crew, parent, parent.cancelling()
        self._shut = None
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:  # a checker takes bool for a block after which nothing is sure to be set
        """Wait until all jobs have ended; cancel them first after an exception.

        Raises:
            BaseExceptionGroup: what jobs have failed with, and the block; an `ExceptionGroup` if all of these are exceptions.
            CancelledError: the task was cancelled, and no job has failed.
            KeyboardInterrupt: a job or the block raised it, or `SystemExit`.
            RuntimeError: the block was entered in another task.
        """
        parent = self._parent
        if parent is None or self._leaving:
            raise RuntimeError(f"{self!r} is not entered: async with pool.group() as group")
        self._leaving = True
        try:
            if self._scope is not None:
                with suppress(ValueError):  # of another context, in which somebody closes the coroutine of this task
                    self._scope.__exit__(None, None, None)
            if exc is not None and is_a(exc, GeneratorExit):  # the coroutine is being closed, and can't wait
                return False
            if asyncio.current_task() is not parent:
                raise RuntimeError(f"{self!r} must be left in the task that entered it: its jobs were cancelled")
            return await self._leave(exc, parent)
        finally:
            if self._pending and running_loop() is self._crew.loop:  # it was not possible to wait
                self._stop()
            self._let_go()
            del exc, traceback, parent, self  # an exception that leaves through here must not be held by this frame

    async def _leave(self, exc: BaseException | None, parent: asyncio.Task[Any]) -> bool:
        cancelled: BaseException | None = None
        leaving: BaseException | None = None
        try:
            cancelled = await self._all_ended(exc)
            if self._interrupted and parent.uncancel() <= self._cancelling:
                cancelled = None  # it was the group itself
            leaving = self._what_leaves(exc, cancelled)
            if leaving is None:
                return True  # there is nothing to raise, or it was the cancellation by the group
            self._note_abandoned(leaving)
            if leaving is exc:
                return False
            if cancelled is not None and leaving is not cancelled:
                # It goes on at the next opportunity, as with TaskGroup on 3.13. In a turn of its own: an `asyncio.timeout`
                # that is its cause takes it back when it is left, and before 3.13 that would not undo what was done here.
                self._crew.loop.call_soon(_cancel_again, parent, self._cancelling, context=Context())
            if leaving is cancelled or leaving is self._exit:
                raise leaving
            raise leaving from None
        finally:
            del exc, cancelled, leaving, parent, self

    def _what_leaves(self, exc: BaseException | None, cancelled: BaseException | None) -> BaseException | None:
        """Return what the block is left with, None if that is nothing."""
        if self._exit is not None:
            return self._exit
        errors = self._errors
        if self._until == "first_success" and (self._winner is not None or cancelled is not None):
            errors = []
        if exc is not None and not is_a(exc, CancelledError) and not any(_same(exc, error) for error in errors):
            errors = [*errors, exc]
        if errors:
            return BaseExceptionGroup(f"unhandled errors in a group of pool {self._pool.name!r}", errors)
        return cancelled

    def _note_abandoned(self, leaving: BaseException) -> None:
        for name in self._abandoned:
            leaving.add_note(f"job {name!r} ignored its cancellation and was abandoned: it may still run")

    async def _all_ended(self, exc: BaseException | None) -> BaseException | None:
        """Wait until all jobs have ended; return what has cancelled the block or this, if anything has."""
        cancelled: BaseException | None = None
        try:
            if exc is not None:
                self._stop()
                if is_a(exc, CancelledError):
                    cancelled = exc
                elif is_a(exc, KeyboardInterrupt, SystemExit):
                    self._exit = self._exit or exc
            self._fewer()
            try:
                await self._wait_for_all()
            except CancelledError as error:
                cancelled = cancelled or error
            except (PoolOverloaded, RuntimeError) as refusal:  # to wait
                self._errors.append(refusal)
            if self._pending or self._unheard:
                self._stop()
                await self._outlast()
            return cancelled
        finally:
            del exc, cancelled, self

    async def _wait_for_all(self) -> None:
        run = None if CURRENT.get() is None else inside(self._crew.loop)
        if self._stopping or not self._pending or run is None:  # those that are cancelled need no place to end
            await self._until_quiet()
        else:
            await self._until_quiet_inside(run)

    async def _until_quiet(self) -> None:
        while self._pending or self._unheard:
            self._quiet = Future()
            await self._quiet

    async def _until_quiet_inside(self, run: Run) -> None:
        """Wait from inside a job, which lends its place meanwhile."""

        async def abort(error: BaseException) -> None:
            if not is_a(error, GeneratorExit):
                self._stop()
                await self._outlast()

        mine = asyncio.current_task() is run.task  # else the job may end before
        if mine:
            for job in tuple(self._pending):
                refuse_circle(run, job)
        async with Lent(run, self._crew, self._pending if mine else (), abort=abort) as wait:
            assert wait is not None  # as it is not to wait anyway
            self._wait, self._host = wait, run if mine else None
            if not self._pending:  # to lend a place may start others, and end what is late
                wait.over()
            try:
                await self._until_quiet()
            finally:
                self._wait = self._host = None

    async def _outlast(self) -> None:
        """Wait until all jobs have ended, which have been cancelled, however often the task is cancelled meanwhile."""
        await outlast(self._until_quiet, lambda: not self._pending and not self._unheard)

    def _let_go(self) -> None:
        """Keep no job, result or exception but that of the winner, and take no notice of any that ends from now on."""
        self._shut = _OVER
        self._left = True
        self._completed.clear()
        self._errors = []
        self._parent = self._exit = self._scope = None
        self._lookers.wake()

    # Jobs -----------------------------------------------------------------------------------------------------------------

    async def submit(
        self,
        fn: Callable[[*Ts], Awaitable[T]],
        /,
        *args: *Ts,
        timeout: float | Literal[Default.JOB_TIMEOUT] | None = JOB_TIMEOUT,
        deadline: float | None = None,
        name: str | None = None,
        priority: int = 0,
        key: Key | None = None,
        coalesce: bool = False,
        retry: Retry | None = None,
    ) -> JobHandle[T]:
        """Have a job of this group accepted, and return its handle; see `WorkerPool.submit`.

        If the group has been stopped while this waited for room, the job is cancelled at once.

        Args:
            fn: an async function.
            *args: its arguments.
            timeout: how long the job may run, in seconds.
            deadline: when the job must have ended, on the loop's clock; that of the group counts if it is tighter.
            name: what the job and its task are called.
            priority: lower is sooner.
            key: what it shares with jobs that must not run at once.
            coalesce: whether to join a job of the same key. One that others share is left to them when the group cancels.
            retry: whether and when it is tried again.

        Returns:
            A handle to await, cancel or ignore.

        Raises:
            PoolOverloaded: there was no room within `submit_timeout`.
            PoolClosed: the pool is closing or closed.
            TypeError: an argument is of the wrong kind.
            ValueError: an argument is out of its range.
            RuntimeError: the group was not entered, is being left because of a failure, or has been left; or this is called
                from another thread or event loop.
        """
        self._check_open()
        self._awaited(True)
        try:
            handle = await self._pool.submit(
                fn,
                *args,
                timeout=timeout,
                deadline=self._bounded(deadline),
                name=name,
                priority=priority,
                key=key,
                coalesce=coalesce,
                retry=retry,
            )
        finally:
            self._awaited(False)
        job: Any = handle
        try:
            self._take(job)
        except RuntimeError as refusal:
            if job.owner is not None and job.is_left_by_all():  # else it has ended, or others share it
                await cancel_and_outlast(job, refusal)
            raise
        return handle

    def submit_nowait(
        self,
        fn: Callable[[*Ts], Awaitable[T]],
        /,
        *args: *Ts,
        timeout: float | Literal[Default.JOB_TIMEOUT] | None = JOB_TIMEOUT,
        deadline: float | None = None,
        name: str | None = None,
        priority: int = 0,
        key: Key | None = None,
        coalesce: bool = False,
        retry: Retry | None = None,
    ) -> JobHandle[T]:
        """Have a job of this group accepted now, or be refused now; see `WorkerPool.submit_nowait`.

        Args:
            fn: an async function.
            *args: its arguments.
            timeout: how long the job may run, in seconds.
            deadline: when the job must have ended, on the loop's clock; that of the group counts if it is tighter.
            name: what the job and its task are called.
            priority: lower is sooner.
            key: what it shares with jobs that must not run at once.
            coalesce: whether to join a job of the same key; see `submit`.
            retry: whether and when it is tried again.

        Returns:
            A handle to await, cancel or ignore.

        Raises:
            PoolOverloaded: there is no room, or others have been waiting for it.
            PoolClosed: the pool is closing or closed.
            TypeError: an argument is of the wrong kind.
            ValueError: an argument is out of its range.
            RuntimeError: as with `submit`.
        """
        self._check_open()
        handle = self._pool.submit_nowait(
            fn,
            *args,
            timeout=timeout,
            deadline=self._bounded(deadline),
            name=name,
            priority=priority,
            key=key,
            coalesce=coalesce,
            retry=retry,
        )
        job: Any = handle
        try:
            self._take(job)
        except RuntimeError:
            if job.is_left_by_all():
                job.cancel()
            raise
        return handle

    def as_completed(self) -> AsyncIterator[JobHandle[Any]]:
        """Return an iterator over the handles of the group's jobs, in the order in which they end.

        From the first of the group on, whether it has ended before or is submitted while this is iterated. It ends when all
        that were submitted have ended and been handed out. What a job ended with is in its handle; but where an error or a
        success stops the group, the block is interrupted before that job is handed out. A job that iterates lends its place
        while it waits.

        It may be iterated in the block and in its jobs. The group keeps the handles of jobs that have ended for this until its
        block is left.

        Raises:
            RuntimeError: the group was not entered, or its block has been left; or this is called from another thread or event
                loop.
        """
        if self._shut is _NEW or self._shut is _OVER:
            raise RuntimeError(f"{self!r} {_NEW if self._shut is _NEW else 'has no jobs: its block was left'}")
        _checks.on_loop("Group.as_completed()", self._crew.loop)
        return Completed(self._completed, self._more_than)

    @property
    def winner(self) -> JobHandle[Any] | None:
        """The job that has succeeded first, of a group that goes on until the first success; None so far or otherwise."""
        return self._winner

    def result(self) -> Any:
        """Return the result of the job that has succeeded first, of a group that goes on until the first success.

        Raises:
            asyncio.InvalidStateError: no job of it has succeeded, or it goes on until something else.
        """
        if self._winner is None:
            why = "no job has succeeded" if self._until == "first_success" else "result() needs until='first_success'"
            raise asyncio.InvalidStateError(f"{self!r} has no result: {why}")
        return self._winner.result()

    def __repr__(self) -> str:
        return f"<Group of pool {self._pool.name!r} until {self._until}: {len(self._pending)} jobs>"

    # Inside ---------------------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._shut is not None:
            raise RuntimeError(f"{self!r} {self._shut}")

    def _bounded(self, deadline: float | None) -> float | None:
        """Return the tighter of a job's deadline and the group's."""
        if self._due is None:
            return deadline
        return (
            self._due if deadline is None else min(self._due, _checks.loop_time("deadline", deadline, self._crew.loop.time()))
        )

    def _take(self, job: Job) -> None:
        """Take in a job that was accepted; it may have ended."""
        self._check_open()
        member = self._pending.get(job)
        if member is not None:  # it has joined one of the group's own
            member.shares += 1
            return
        if job.owner is None:
            self._ended(job)
            return
        if self._host is not None:
            refuse_circle(self._host, job)
        member = self._pending[job] = Member(job, self._ended)
        job.add_waiter(member)

    def _ended(self, job: Job) -> None:
        """Note that a job is about to end: a turn later it has."""
        self._pending.pop(job, None)
        if not self._left:
            self._completed.append(job)
            self._unheard += 1
            self._crew.loop.call_soon(self._hear, job, context=Context())
        self._fewer()
        self._lookers.wake()

    def _fewer(self) -> None:
        """See whether a job that is not pending any more was the last."""
        if not self._pending:
            if self._leaving:
                self._shut = _OVER
            if self._wait is not None:  # its job has its place back ahead of those that are queued
                self._wait.over()

    def _hear(self, job: Job) -> None:
        """Draw the consequences of the end of a job."""
        self._unheard -= 1
        if not self._left:
            self._judge(job)
        self._say_quiet()

    def _say_quiet(self) -> None:
        """Wake who waits for the end of all jobs, if that has come."""
        if self._quiet is not None and not self._pending and not self._unheard:
            release(self._quiet)

    def _judge(self, job: Job) -> None:
        if job.status is SUCCEEDED:
            if self._until == "first_success" and not self._stopping:
                self._winner = job
                self._interrupt()
            return
        error = job.exception()
        assert error is not None
        if job.status is ABANDONED:
            self._abandoned.append(job.name)
        if job.status is not FAILED and self._is_wanted(error):  # else what it has raised may be what another has ended with
            return
        self._errors.append(error)
        if is_a(error, KeyboardInterrupt, SystemExit):
            self._exit = self._exit or error
        if self._until == "first_error" or self._exit is not None:
            self._interrupt()

    def _is_wanted(self, error: BaseException) -> bool:
        """Say whether a job was cancelled by the group, or by who has its handle or its task; as with TaskGroup."""
        if not isinstance(error, JobCancelled):
            return False
        return self._stopping or (error.reason in {"cancel", "task"} and self._until != "first_success")

    def _interrupt(self) -> None:
        """Cancel all jobs, and have the block left."""
        self._stop()
        if not self._leaving and not self._interrupted:
            self._interrupted = True
            assert self._parent is not None
            cancel(self._parent)

    def _stop(self) -> None:
        """Cancel all jobs and take no more."""
        if self._stopping:
            return
        self._stopping = True
        self._shut = _STOPPED
        for job, member in tuple(self._pending.items()):
            if job not in self._pending:  # the cancellation of another has brought its end
                continue
            if [job.is_left_by_all() for _ in range(member.shares)][-1]:
                job.cancel()
            else:  # it goes on for those who share it
                del self._pending[job]
                job.remove_waiter(member)
        self._fewer()
        self._say_quiet()

    async def _more_than(self, number: int) -> bool:
        """Wait until more jobs than these have ended; False: there will be no more."""
        while len(self._completed) <= number:
            if not self._pending or self._left:
                return False
            run = None if CURRENT.get() is None else inside(self._crew.loop)
            if run is None:
                await self._lookers.wait()
            else:
                async with Lent(run, self._crew, self._needed(run)) as wait:
                    if len(self._completed) <= number and self._pending:
                        assert wait is not None
                        await self._lookers.wait(Waiter(wait))
        return True

    def _needed(self, run: Run) -> tuple[Job, ...]:
        """Return the job that is waited for from inside another, if there is but one; refuse to wait for ever.

        Any of several will do: so it is not one of these that has to end.
        """
        if asyncio.current_task() is not run.task:
            return ()
        refusal: RuntimeError | None = None
        try:
            for job in self._pending:
                try:
                    refuse_circle(run, job)
                except RuntimeError as error:
                    refusal = refusal or error
                else:
                    return (job,) if len(self._pending) == 1 else ()
            assert refusal is not None
            raise refusal
        finally:
            del refusal  # whose traceback has this frame


Group.__module__ = "weirpool"  # as its users know it


class Member:
    """A job of a group, which hears of its end as a future would that awaits it."""

    __slots__ = ("_done", "_ended", "_job", "shares")

    def __init__(self, job: Job, ended: Callable[[Job], None]) -> None:
        self._job = job
        self._ended = ended
        self._done = False
        self.shares = 1
        """How often it was submitted to the group: once, unless it has joined itself."""

    def done(self) -> bool:
        """Say whether the job has told this."""
        return self._done

    def set_result(self, result: None, /) -> None:  # noqa: ARG002
        """Hear that the job is about to end."""
        self._done = True
        self._ended(self._job)


def _same(exc: BaseException, error: BaseException) -> bool:
    """Say whether the block has raised what a job ended with, having awaited that; the pool's own errors are copied."""
    if exc is error:
        return True
    return is_a(exc, PoolError) and type(exc) is type(error) and exc.args == error.args


def _cancel_again(task: asyncio.Task[Any], before: int) -> None:
    """Cancel a task once more for a cancellation that an error has replaced, unless whoever asked has taken it back."""
    if not task.done() and task.cancelling() > before:
        task.uncancel()
        cancel(task)
