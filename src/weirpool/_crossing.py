"""Submissions from other threads, on their way to the pool's event loop and back.

A call goes to the loop as a callback, has its job accepted there, in the context of the thread that it comes from, and is what
the job wakes at its end; so no task is made for it unless it has to wait for room. All that a thread holds is the future.

No future is forgotten, whatever becomes of the loop. Before a call is begun, only the loop's handle holds it: a loop that is
closed lets go of its handles, and the call says so as it is freed. Then the pool's `Crossing` knows of it until it is settled,
and that hears of the end of the loop by a timer which is never due: a loop that is closed frees its timers, too.
"""

from __future__ import annotations

import asyncio
import weakref
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from anyio import from_thread

from ._checks import running_loop
from ._errors import PoolClosed, PoolError
from ._failure import Failure
from ._handle import wait_inside
from ._job import Job
from ._lending import inside
from ._lifecycle import FAILED, SUCCEEDED
from ._run import CURRENT
from ._settings import JOB_TIMEOUT, Default

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Callable, Coroutine

    from ._ticket import Key
    from .policies import Retry

__all__ = ["Call", "Crossing", "Enter", "JobFuture", "Wishes", "await_in_job", "is_in_job"]

T = TypeVar("T")
Enter: TypeAlias = "Callable[[Callable[..., Awaitable[Any]], tuple[Any, ...], Wishes], Job | Coroutine[Any, Any, Job]]"

_USUAL = 0
_NEVER = 10 * 365 * 86_400.0  # seconds


class Wishes(NamedTuple):
    """What a submission asks for; see `WorkerPool.submit`.

    Attributes:
        patient: whether it waits for room.
        awaited: whether somebody waits for the job's end.
    """

    timeout: float | Default | None = JOB_TIMEOUT
    deadline: float | None = None
    name: str | None = None
    priority: int = _USUAL
    key: Key | None = None
    coalesce: bool = False
    retry: Retry | None = None
    patient: bool = True
    awaited: bool = False

    @property
    def special(self) -> bool:
        """Whether there is anything that few jobs ask for."""
        return self.priority is not _USUAL or self.key is not None or self.coalesce is not False or self.retry is not None


class JobFuture(Future[T]):
    """Follow a job from any thread: a `concurrent.futures.Future` that the pool sets when the job ends.

    `cancel()` cancels the job, queued or running, unless others share it (`coalesce`); as with
    `asyncio.run_coroutine_threadsafe`, the future is cancelled at once, and the job soon after. A job that was cancelled
    otherwise ends the future with `JobCancelled`. A failure that nobody has looked at when the future is dropped is logged.

    Callbacks are called on the pool's event loop, and must not block it.
    """

    def __init__(self, crossing: Crossing) -> None:
        super().__init__()
        self._crossing = crossing
        self._told = False
        self.job: Job | None = None
        """None until it is accepted."""
        self.failure: Failure | None = None
        self.refused = False
        """Whether it was not accepted, and whoever submits it waits to hear of that."""

    def cancel(self) -> bool:
        """Cancel the job, if the future is not done.

        Returns:
            Whether the future is cancelled.
        """
        if not super().cancel():
            return False
        with suppress(RuntimeError):  # a loop that is closed has told all of its futures so
            self._crossing.loop.call_soon_threadsafe(self._crossing.cancelled, self, context=Context())
        return True

    def result(self, timeout: float | None = None) -> T:
        """Return what the job returned, or raise what it ended with; wait for that.

        A job of a pool of this loop that waits in its thread lends its place meanwhile, as one does that awaits a handle.

        Args:
            timeout: how long to wait, in seconds; None: as long as it takes.

        Raises:
            TimeoutError: the job has not ended by then; it goes on.
            concurrent.futures.CancelledError: the future was cancelled.
            JobTimeout: the job's time ran out.
            JobCancelled: the job was cancelled.
            RuntimeError: called on the pool's event loop, which would stand still.
            BaseException: whatever the job itself raised.
        """
        self.ended(timeout)
        try:
            return super().result(timeout)
        finally:
            self._looked_at()
            del self  # a traceback that holds this frame must not hold the exception in turn

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what `result` would raise, None if the job succeeded; wait for that.

        Args:
            timeout: how long to wait, in seconds; None: as long as it takes.

        Raises:
            TimeoutError: the job has not ended by then; it goes on.
            concurrent.futures.CancelledError: the future was cancelled.
            RuntimeError: called on the pool's event loop, which would stand still.
        """
        self.ended(timeout)
        try:
            return super().exception(timeout)
        finally:
            self._looked_at()
            del self

    def ended(self, timeout: float | None) -> None:
        """See to it that it is no mistake to block until the job ends: not on the loop, and not with a place that it needs.

        Raises:
            RuntimeError: this is the pool's event loop.
            TimeoutError: a job has waited for so long.
        """
        if timeout == 0 or self.done():
            return
        loop = self._crossing.loop
        if running_loop() is loop:
            raise RuntimeError(
                "a job's future was waited for on the pool's own event loop, which would stand still for ever: "
                "await asyncio.wrap_future(future)"
            )
        if self.job is not None and is_in_job(loop):
            await_in_job(loop, partial(_end, self.job, timeout))

    def start(self) -> bool:
        """Note that the job begins, from when on the future can't be cancelled; say whether it has not been by now."""
        self._told = True
        return self.set_running_or_notify_cancel()

    def tell_cancelled(self) -> None:
        """Have those who wait for several futures hear that this one was cancelled."""
        if not self._told:
            self._told = True
            self.set_running_or_notify_cancel()

    def _looked_at(self) -> None:
        if self.failure is not None and self.done():
            self.failure.seen = True


class Call:
    """One submission: a callback of the loop, and then what the job wakes when it ends.

    Args:
        future: what the thread holds.
        crossing: where it is kept while it goes on.
        enter: the pool's way in.
        fn: the job's function.
        args: its arguments.
        wishes: what is asked for.
        accepted: a lock to release when the job has been accepted or refused, if somebody waits for that.
    """

    __slots__ = ("_accepted", "_arguments", "_crossing", "_enter", "_future", "_settled", "_task")

    def __init__(
        self,
        future: JobFuture[Any],
        crossing: Crossing,
        enter: Enter,
        fn: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        wishes: Wishes,
        accepted: threading.Lock | None = None,
    ) -> None:
        self._future = future
        self._crossing = crossing
        self._enter: Enter | None = enter
        self._arguments: tuple[Callable[..., Awaitable[Any]], tuple[Any, ...], Wishes] | None = (fn, args, wishes)
        self._accepted = accepted
        self._task: asyncio.Task[Job] | None = None
        self._settled = False

    def begin(self) -> None:
        """Have the job accepted, in the current context; or wait for that in a task."""
        enter, arguments = self._enter, self._arguments
        self._enter = self._arguments = None
        assert enter is not None
        assert arguments is not None
        if self._future.cancelled():  # by a thread that gave up, before anybody knew of the call
            self._settle()
            return
        try:
            entered = enter(*arguments)
        except Exception as error:
            self._refuse(error)
            return
        self._crossing.add(self._future, self)
        if isinstance(entered, Job):
            self._accept(entered)
        else:
            self._task = self._crossing.loop.create_task(entered)
            self._task.add_done_callback(self._entered, context=Context())

    def _entered(self, task: asyncio.Task[Job]) -> None:
        self._task = None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None:
            self._accept(task.result())
        elif isinstance(error, asyncio.CancelledError):  # by the future; or by the end of `asyncio.run`, as every task is
            self.lost()
        else:
            self._refuse(error)

    def _accept(self, job: Job) -> None:
        if self._settled:  # the future was cancelled while the task was waking
            _leave(job)
            return
        self._future.job = job
        if self._accepted is not None:
            self._accepted.release()
            self._accepted = None
        if job.owner is None:
            self._deliver()
        else:
            job.add_waiter(self)  # type: ignore[arg-type]  # it does what a job asks of a future

    def done(self) -> bool:
        """Say whether the job has woken this; it does so once."""
        return False

    def set_result(self, result: None) -> None:  # noqa: ARG002
        """Hear that the job is about to end: a turn later it has."""
        self._crossing.loop.call_soon(self._deliver, context=Context())

    def _deliver(self) -> None:
        """Give the future what the job ended with."""
        future = self._future
        job = future.job
        if self._settled or job is None:
            return
        if job.status is SUCCEEDED:
            self._settle(job.outcome)
            return
        outcome = job.outcome
        error: BaseException = outcome
        if isinstance(outcome, Failure):
            future.failure, error = outcome, outcome.rewound()
        # As with a handle: the pool's own errors are copied, and what the job raised is raised as it is.
        self._settle(error=error.again() if job.status is not FAILED and isinstance(error, PoolError) else error)

    def cancel(self) -> None:
        """Hear that the future was cancelled: cancel the job, unless others share it."""
        job, task = self._future.job, self._task
        self._settle()
        if task is not None:
            task.cancel()
        elif job is not None and job.owner is not None:
            job.remove_waiter(self)  # type: ignore[arg-type]
            _leave(job)

    def lost(self) -> None:
        """Say that the call came to nothing, as the loop is at its end."""
        self._refuse(PoolClosed(self._crossing.name))

    def _refuse(self, error: BaseException) -> None:
        """Have an error raised in the thread, as if by the call there."""
        if self._accepted is not None:
            self._future.refused = True
        self._settle(error=error.with_traceback(None))

    def _settle(self, result: Any = None, *, error: BaseException | None = None) -> None:
        """Be done with the call, once: set the future, unless it was cancelled, and let whoever waits go on."""
        if self._settled:
            return
        self._settled = True
        future = self._future
        self._crossing.remove(future)
        try:
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        except InvalidStateError:  # it was cancelled
            future.tell_cancelled()
        if self._accepted is not None:
            self._accepted.release()
            self._accepted = None

    def __del__(self) -> None:
        if not self._settled:  # the loop was closed before it came to this, or is closed already
            self.lost()


class Crossing:
    """The calls from other threads to one pool that have begun and are not settled. Used on the pool's loop only.

    Args:
        name: what the pool is called.
        loop: its event loop.
    """

    __slots__ = ("_alarm", "_calls", "loop", "name")

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name = name
        self.loop = loop
        self._calls: dict[JobFuture[Any], Call] = {}
        self._alarm: weakref.ref[asyncio.TimerHandle] | None = None  # which only the loop may keep alive

    def add(self, future: JobFuture[Any], call: Call) -> None:
        """Keep a call."""
        self._calls[future] = call
        if self._alarm is None:
            self._alarm = weakref.ref(self.loop.call_later(_NEVER, _EndOfLoop(self._calls), context=Context()))

    def remove(self, future: JobFuture[Any]) -> None:
        """Let go of a call, if it is known."""
        self._calls.pop(future, None)
        if self._alarm is not None and not self._calls:
            alarm = self._alarm()
            if alarm is not None:
                alarm.cancel()
            self._alarm = None

    def cancelled(self, future: JobFuture[Any]) -> None:
        """Hear that a future was cancelled."""
        call = self._calls.get(future)
        if call is not None:
            call.cancel()


class _EndOfLoop:
    """A callback that is never due: it is freed when nobody needs it any more, or when its loop is closed."""

    __slots__ = ("_calls",)

    def __init__(self, calls: dict[JobFuture[Any], Call]) -> None:
        self._calls = calls

    def __call__(self) -> None:
        """Do nothing, after ten years."""

    def __del__(self) -> None:
        for call in tuple(self._calls.values()):
            call.lost()


def _leave(job: Job) -> None:
    if job.is_left_by_all():
        job.cancel()


# In the thread of a job -----------------------------------------------------------------------------------------------------


def is_in_job(loop: asyncio.AbstractEventLoop) -> bool:
    """Say whether this is the thread of a job that runs on a loop; as `inside` does, of a job that may end meanwhile."""
    run = CURRENT.get()
    job = None if run is None else run.job
    owner = None if job is None else job.owner
    return owner is not None and owner.loop is loop


def await_in_job(loop: asyncio.AbstractEventLoop, fn: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await something on the loop, in the context of a job, while the thread of that waits.

    Raises:
        asyncio.CancelledError: the job was cancelled, and its thread is one of anyio's, which hear of that.
    """
    try:
        from_thread.check_cancelled()
    except RuntimeError:  # it is a thread of somebody else, as those of asyncio.to_thread are
        waiting = asyncio.run_coroutine_threadsafe(fn(), loop)
        try:
            return waiting.result()
        except BaseException:
            waiting.cancel()
            raise
    return from_thread.run(fn)


async def _end(job: Job, timeout: float | None) -> None:
    """Wait until a job has ended, from inside another."""
    async with asyncio.timeout(timeout):
        run = None if job.owner is None else inside(job.owner.loop)
        if run is None:
            await job.wait()
        else:
            await wait_inside(job, run, _go_on)


async def _go_on(error: BaseException) -> None:
    """Leave the job alone that is not waited for any more."""
