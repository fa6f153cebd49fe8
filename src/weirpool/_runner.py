"""Run one job in a task of its own: wait for its turn, hold it to its time, find out how it ended, settle it.

The coroutine here is all that a job's task runs, and it settles the job itself, on every path: a done-callback would cost
another turn of the loop per job.
"""

from __future__ import annotations

import asyncio
import inspect
import weakref
from asyncio import Timeout
from contextvars import Context
from types import CoroutineType, FunctionType
from typing import TYPE_CHECKING, Any, Protocol

from ._errors import cause_of, is_a, traceback_of
from ._exits import raise_in_loop
from ._failure import Failure
from ._lifecycle import CANCELLED, FAILED, RUNNING, SUCCEEDED, TIMED_OUT, JobState
from ._run import CURRENT, Run
from ._show import type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ._job import Job, Outcome
    from ._watch import Watch

__all__ = ["NotAwaitable", "Settler", "as_awaitable", "look_after", "run_job", "unmade"]


class Settler(Protocol):
    """Whoever takes a job's outcome, and starts the next one in its place."""

    name: str
    spawning: bool

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the pool."""
        ...

    @property
    def watch(self) -> Watch:
        """Who looks after a running job at its limit."""
        ...

    def settle(self, job: Job, state: JobState, outcome: Outcome) -> None:
        """End a running job and start the next one in its place."""
        ...

    @property
    def leave(self) -> Callable[[asyncio.Task[None] | None, None], object]:
        """Let a task go that has settled its job and is taking its last step."""
        ...

    def failure(self, job: Job, error: BaseException) -> Failure:
        """Return the outcome of a job that has failed."""
        ...

    def fail(self, task: asyncio.Task[None]) -> None:
        """Hear of a task that a bug keeps from settling its job."""
        ...

    def ended_late(self, job: Job) -> None:
        """Note that the task has ended of a job that had been ended before; a second time changes nothing."""
        ...


class _Turn:
    """Give way for one turn of the loop when awaited: a bare `yield`, without a generator of one's own."""

    __await__ = (None,).__iter__


_TURN: Any = _Turn()


def look_after(task: asyncio.Task[Any], coroutine: Coroutine[Any, Any, None], job: Job, crew: Settler) -> None:
    """Settle a job, at the end of its task, that has not been settled by its coroutine.

    The task was cancelled before its first step; or what the task factory had wrapped around the coroutine has failed.
    """
    # Weak, since this is called a turn after a job's regular end, and must not keep it till then.
    reference = weakref.ref(job)

    def ended(task: asyncio.Task[Any]) -> None:
        crew.leave(task, None)
        coroutine.close()  # if it was never entered; one that was left in the midst settles its job now
        job = reference()
        if job is None:
            return
        if job.status is not RUNNING:
            crew.ended_late(job)
        elif task.cancelled():
            crew.settle(job, CANCELLED, job.cancelled(_reason(job.run) or "task"))
        else:
            error = task.exception() or RuntimeError(f"the task of job {job.name!r} ended without having run it")
            crew.settle(job, FAILED, crew.failure(job, error))

    task.add_done_callback(ended, context=Context())


def makes_plain_tasks(loop: asyncio.AbstractEventLoop) -> bool:
    """Say whether the loop's `create_task` is asyncio's own; instrumentation likes to put another in its place."""
    function = getattr(loop.create_task, "__func__", None)
    return type(function) is FunctionType and function.__globals__ is vars(asyncio.base_events)


def unmade(job: Job, error: BaseException, crew: Settler) -> tuple[JobState, Outcome]:
    """Say how a job ended whose task could not be made."""
    if isinstance(error, asyncio.CancelledError):  # some task factories keep a program that ends from starting anything
        return CANCELLED, job.cancelled("task")
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise_in_loop(crew.loop, error)
    return FAILED, crew.failure(job, error.with_traceback(None))


async def run_job(job: Job, run: Run, crew: Settler, primed: bool) -> None:  # noqa: C901, PLR0912  # the hot path, in one piece
    """Run a job in the current task, and settle it.

    Args:
        job: the job.
        run: its run.
        crew: whom to tell how it ended.
        primed: whether the coroutine is sent `None` once before a task is made of it; that task leaves the task group itself.
            A task that is cancelled before its first step never enters its coroutine: no `try` in there would see that, and
            the job would be lost. A coroutine that has been entered already is found by whatever ends its task in its `try`.
    """
    result: Any = None
    awaitable: Any = None
    due: float | None = None
    error: BaseException | None = None
    task: asyncio.Task[None] | None = None
    try:
        if primed:
            await _TURN
        # An eager task factory steps the new task inside create_task. A job must not run inside submit, though, nor inside
        # the settling of another job (which would nest a thousand jobs deep), so it waits for the loop all the same.
        while crew.spawning:
            await _TURN
        task = run.task
        CURRENT.set(run)
        now = run.started_at = crew.loop.time()
        due, timeout = job.deadline, job.timeout
        if due is None:
            if timeout is not None:
                due = now + timeout
        elif due <= now:
            raise _TooLate  # noqa: TRY301  # like whatever the job raises
        elif timeout is not None and now + timeout < due:
            due = now + timeout
        if due is None:
            awaitable = job.fn(*job.args)
            result = await (awaitable if type(awaitable) is CoroutineType else as_awaitable(awaitable))
        else:
            run.due = due
            crew.watch.running(run, due)
            # Without a timer of its own: the crew's one timer, told above, reschedules it to its end when that has come.
            async with Timeout(None) as run.scope:
                awaitable = job.fn(*job.args)
                result = await (awaitable if type(awaitable) is CoroutineType else as_awaitable(awaitable))
    except BaseException as raised:
        if crew.spawning and is_a(raised, GeneratorExit):
            return  # no task could be made, so this coroutine was closed; whoever tried that settles the job
        error = raised
    if task is None:
        task = run.task
    try:
        # A limit that nobody has moved since it was set says so too, and sooner: the crew has done nothing to the job.
        if error is None and job.status is RUNNING and (run.limit is due or not run.late):
            crew.settle(job, SUCCEEDED, result)
        else:
            _end_otherwise(job, run, error, crew)
    except BaseException:
        if task is not None:
            crew.fail(task)
        raise
    if primed:  # else this is not all that the task does
        crew.leave(task, None)
    # A frame in the traceback of the job's exception may link back to this one (it does on 3.13), which would then hold the
    # exception in turn.
    del job, run, task, result, error, awaitable


def _end_otherwise(job: Job, run: Run, error: BaseException | None, crew: Settler) -> None:
    """Settle a job that has not returned in time, unless somebody else has."""
    if job.status is not RUNNING:
        crew.ended_late(job)
    else:
        crew.settle(job, *_judged(job, run, error, crew))
    if error is not None and is_a(error, KeyboardInterrupt, SystemExit):
        raise_in_loop(crew.loop, error)


class _TooLate(Exception):
    """The job's deadline passed before its function was called."""


class NotAwaitable(TypeError):
    """What a job's function has returned can't be awaited."""


def as_awaitable(thing: Any) -> Any:
    """Return what a job's function has returned, if that can be awaited."""
    if not inspect.isawaitable(thing):
        raise NotAwaitable(
            f"the job's function returned {type_name(thing)} instead of an awaitable: WorkerPool runs async functions, and "
            f"called this one on the event loop; submit a plain one as in_thread(fn), in_process(fn) or in_interpreter(fn)"
        )
    return thing


def _judged(job: Job, run: Run, error: BaseException | None, crew: Settler) -> tuple[JobState, Outcome]:
    """Say how a job ended that raised, or that returned after its time was over.

    The deadline is told from a TimeoutError of the job's own by `Timeout.expired()`, and a cancellation that the pool asked
    for from one that the job made up by `run.cause`; the type of the exception tells neither.
    """
    if is_a(error, _TooLate):
        return TIMED_OUT, Failure(job.timed_out("queued"), job.name, crew.name)
    if error is not None:
        _strip(error)
    if run.late:
        timeout = job.timed_out("running")
        if not _is_the_deadline(error):
            timeout.__cause__ = error
        return TIMED_OUT, Failure(timeout, job.name, crew.name)
    assert error is not None
    if is_a(error, asyncio.CancelledError):
        task = asyncio.current_task()
        by_itself = task is None or not task.cancelling()
        return CANCELLED, job.cancelled(_reason(run) or ("self" if by_itself else "task"))
    return FAILED, crew.failure(job, error)


def _reason(run: Run | None) -> str | None:
    """Say why the pool has been ending a run, if it has."""
    return run.cause.reason if run is not None and run.cause is not None else None


def _is_the_deadline(error: BaseException | None) -> bool:
    """Tell the exceptions that `asyncio.timeout` itself causes from what the job raised in its last moments."""
    return is_a(error, asyncio.CancelledError) or (
        error is not None and is_a(error, TimeoutError) and is_a(cause_of(error), asyncio.CancelledError)
    )


def _strip(error: BaseException) -> None:
    """Take the frames of this module off a traceback.

    They tell a user nothing, and they hold the job, which will hold the exception: a reference cycle per failure.
    """
    traceback = traceback_of(error)
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    BaseException.with_traceback(error, traceback)  # past any __setattr__ of the user's class
