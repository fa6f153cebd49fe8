"""The submitter's view of a job: await it, cancel it, look at it.

The handle is the record itself (`_job.Job`), seen from outside, and not one more object for each of a million jobs. So its
methods use what only the record has.
"""

from __future__ import annotations

import asyncio
import types
from asyncio import Future
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeVar

from . import _checks
from ._checks import running_loop
from ._circles import refuse_circle
from ._errors import PoolError, context_of, set_context
from ._failure import Failure
from ._lending import Lent, Waiter, inside, outlast
from ._lifecycle import ENDED, FAILED, SUCCEEDED, JobState
from ._run import CURRENT, current_run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator

    from ._run import Run

__all__ = ["JobHandle", "cancel_and_outlast", "current_job", "leave", "wait_inside", "wait_or_leave"]

T_co = TypeVar("T_co", covariant=True)


class JobHandle(Generic[T_co]):
    """Follow one accepted job: `await handle` gives its result, or raises what it ended with.

    Any number of tasks may await the same handle, before and after the job ends. Cancelling one of them touches neither
    the job nor the others. Dropping the handle leaves the job alone; a failure that nobody has looked at by then is
    logged.

    A failed job's handle holds the exception, and the traceback of that the frames that it was raised in. So a function that
    awaits a handle and keeps it makes a reference cycle, as with a task of asyncio's; `del handle` afterwards, or
    `WorkerPool.run`, leaves none.
    """

    __slots__ = ()

    def __init__(self) -> None:
        raise TypeError("a JobHandle is what WorkerPool.submit() returns; it can't be made")

    if TYPE_CHECKING:

        @property
        def name(self) -> str:
            """The job's name, which is its task's too: the one given to submit, or the function's and the job's number."""
            ...

    @property
    def id(self) -> int:
        """The job's number: the first that its pool accepted is 1."""
        job: Any = self
        number: int = job.number
        return number

    @property
    def state(self) -> JobState:
        """Where the job is."""
        job: Any = self
        state: JobState = job.status
        return state

    def done(self) -> bool:
        """Say whether the job has ended, whichever way."""
        return self.state in ENDED

    def cancel(self) -> bool:
        """Cancel the job.

        A queued job never starts, and its place is free at once. A running job's task is cancelled, once, and given the
        pool's `cancel_grace` to end: if it ends with a result or an error of its own, that stands; if it does not end, it
        is abandoned. Cancelling again changes nothing.

        Returns:
            Whether the job had not ended yet.

        Raises:
            RuntimeError: called from another thread or event loop.
        """
        job: Any = self
        owner = job.owner
        if owner is None:
            return False
        _checks.on_loop("JobHandle.cancel()", owner.loop)
        owner.cancel(job, "cancel")
        return True

    async def wait(self) -> None:
        """Wait until the job has ended, whichever way, and raise nothing of its.

        Cancelling the waiter does not touch the job.

        Raises:
            RuntimeError: called from another thread or event loop, or from the job itself.
        """
        job: Any = self
        if job.owner is not None:
            waiter = _waiter(job, job.owner.loop)
            try:
                await waiter
            except BaseException:
                job.remove_waiter(waiter)
                raise

    def result(self) -> T_co:
        """Return the result of a job that has ended, or raise what it ended with; see `await`.

        Raises:
            asyncio.InvalidStateError: the job has not ended.
            JobTimeout: its time ran out.
            JobCancelled: it was cancelled.
            BaseException: whatever the job itself raised.
        """
        job: Any = self
        if job.status is SUCCEEDED:
            result: T_co = job.outcome
            return result
        error = self.exception()
        assert error is not None
        context = context_of(error)
        try:
            raise error
        finally:
            # The same exception may be raised in several awaiters: none must see what another was handling just then.
            set_context(error, context)
            # Its traceback holds this frame, which must not hold the exception in turn.
            del error, context, job, self

    def exception(self) -> BaseException | None:
        """Return what a job that has ended would raise when awaited, None if it succeeded.

        Raises:
            asyncio.InvalidStateError: the job has not ended.
        """
        job: Any = self
        if job.status not in ENDED:
            raise asyncio.InvalidStateError(f"job {job.name!r} is {job.status.value}: it has no outcome yet")
        if job.status is SUCCEEDED:
            return None
        outcome = job.outcome
        if isinstance(outcome, Failure):
            outcome.seen = True
            error = outcome.rewound()
        else:
            error = outcome
        # The pool's own errors are copied, so that no two awaiters share one; what the job raised is raised as it is.
        return error.again() if job.status is not FAILED and isinstance(error, PoolError) else error

    def __await__(self) -> Generator[Any, None, T_co]:
        job: Any = self
        if job.owner is not None:  # it has not ended
            waiter = _waiter(job, job.owner.loop)
            try:
                yield from waiter
            except BaseException:
                job.remove_waiter(waiter)
                raise
        if job.status is SUCCEEDED:
            result: T_co = job.outcome
            return result
        try:
            return self.result()
        finally:
            del self, job  # a traceback that holds this frame must not hold the outcome

    # A job is one job, and not a value: a copy of its record would have a life of its own, which nobody keeps the books of.

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a JobHandle belongs to its process: it can't be pickled")

    def __repr__(self) -> str:
        return f"<JobHandle {self.name} {self.state.value}>"


def _waiter(job: Any, loop: asyncio.AbstractEventLoop) -> Any:
    """Return something to await until the job ends: a future, nearly always.

    Each awaiter has one of its own: a future that they shared would let a cancelled awaiter cancel it for all.
    """
    if running_loop() is not loop:
        _checks.on_loop("waiting for a job", loop)
    if CURRENT.get() is not None and (run := inside(loop)) is not None:
        return _as_iterable(wait_inside(job, run))
    waiter: asyncio.Future[None] = Future()  # of the running loop, which is faster than to say so
    job.add_waiter(waiter)
    return waiter


@types.coroutine
def _as_iterable(waiting: Coroutine[Any, Any, None]) -> Generator[Any, None, None]:
    """Return what `await` and `yield from` both take, as a future is."""
    yield from waiting  # as a generator that is a coroutine may


async def wait_inside(job: Any, run: Run, abort: Callable[[BaseException], Awaitable[None]] | None = None) -> None:
    """Wait for a job from inside another, which lends its place meanwhile if it waits for its own pool by that.

    Args:
        job: what is waited for.
        run: that of the job which waits.
        abort: called if that is refused or cancelled, and awaited before the job waits to have its place back.
    """
    # A task of a job's own that merely looks on does not keep the job from ending; who calls `run` needs what comes of it.
    targets = (job,) if abort is not None or asyncio.current_task() is run.task else ()
    if targets:
        try:
            refuse_circle(run, job)
        except RuntimeError as refusal:
            if abort is not None:
                await abort(refusal)
            raise
    async with Lent(run, job.owner, targets, abort=abort) as wait:
        assert wait is not None  # as it is not to wait anyway
        if job.owner is not None:  # else it has ended: to lend a place starts others, and sheds those that are late
            waiter = Waiter(wait)
            job.add_waiter(waiter)
            try:
                await waiter
            finally:
                job.remove_waiter(waiter)


async def wait_or_leave(job: Any) -> None:
    """Wait for a job, as `run` does: whoever can't or may not wait for it leaves it, and it is cancelled if all have."""
    if job.owner is None:
        return
    run = inside(job.owner.loop)
    if run is not None:
        await wait_inside(job, run, partial(leave, job))
        return
    try:
        await job.wait()
    except asyncio.CancelledError as error:
        await leave(job, error)
        raise


async def leave(job: Any, reason: BaseException) -> None:
    """Leave a job to those who share it; if nobody does any more, cancel it, and wait for its end if that is to be."""
    if isinstance(reason, GeneratorExit):  # of whoever is not there any more to say so
        return
    if job.is_left_by_all():
        if isinstance(reason, asyncio.CancelledError):
            await cancel_and_outlast(job, reason)
        else:
            job.cancel()


async def cancel_and_outlast(job: Any, reason: BaseException) -> None:
    """Cancel a job, and wait until it has ended, as `outlast` does; without lending a place: it needs none for that.

    If the caller's coroutine is being closed (GeneratorExit), it can't wait.
    """
    job.cancel()
    if isinstance(reason, GeneratorExit):
        return

    async def end() -> None:
        waiter: asyncio.Future[None] = Future()
        job.add_waiter(waiter)
        try:
            await waiter
        finally:
            job.remove_waiter(waiter)

    await outlast(end, job.done)


def current_job() -> JobHandle[Any] | None:
    """Return the job that runs the caller, or None outside of any job.

    A task or callback that a job started counts as inside it until the job ends.

    Returns:
        A handle of the job: its name, its state, a way to cancel it.
    """
    run = current_run()
    return None if run is None or run.job is None else run.job
