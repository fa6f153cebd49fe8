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
from concurrent.futures import InvalidStateError
from contextvars import Context
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ._errors import PoolClosed, PoolError
from ._failure import Failure
from ._job import Job
from ._lifecycle import FAILED, SUCCEEDED
from ._settings import JOB_TIMEOUT, Default

if TYPE_CHECKING:
    import threading
    from collections.abc import Awaitable, Callable, Coroutine

    from ._job_future import JobFuture
    from ._ticket import Key
    from .policies import Retry

__all__ = ["Call", "Crossing", "Enter", "Wishes"]

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

    @property
    def options(self) -> dict[str, Any]:
        """What `WorkerPool.submit` takes of it."""
        return {option: getattr(self, option) for option in self._fields[:7]}


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

    def accepted(self, job: Job) -> None:
        """Go on with a job that has been accepted otherwise."""
        self._enter = self._arguments = None
        self._crossing.add(self._future, self)
        self._accept(job)

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
            job.add_waiter(self)

    def done(self) -> bool:
        """Say whether the job has woken this; it does so once."""
        return False

    def set_result(self, result: None, /) -> None:  # noqa: ARG002
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
            job.remove_waiter(self)
            _leave(job)

    def never_begun(self) -> None:
        """Hear that the loop is closed, which begins no call any more; one that it has begun is settled otherwise."""
        if self._enter is not None:
            self.lost()

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
        self.name: str = name
        self.loop: asyncio.AbstractEventLoop = loop
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
