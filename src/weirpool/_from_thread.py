"""The pool as other threads see it: submit a job, run one, or take the pool for an Executor."""

from __future__ import annotations

import threading
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, TypeVarTuple

from . import _checks
from ._checks import running_loop
from ._crossing import Call, Crossing, Enter, Wishes
from ._errors import PoolClosed
from ._job_future import JobFuture, await_in_job, is_in_job
from ._lifecycle import PoolState
from ._settings import JOB_TIMEOUT, Default

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future

    from ._executor import PoolExecutor
    from ._pool import WorkerPool
    from ._ticket import Key
    from .policies import Retry

__all__ = ["FromThread"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class FromThread:
    """Use a pool from other threads than that of its event loop: any of them, and any number at once.

    It is `WorkerPool.from_thread`::

        future = pool.from_thread.submit(deliver, event, timeout=5)   # waits until the job is accepted
        receipt = future.result()                                     # waits until it has ended

        receipt = pool.from_thread.run(deliver, event)                # both

    A job sees the contextvars of the thread that submits it. Called in the thread of a job, all of this keeps what is promised
    to jobs that submit: what is submitted inherits the job's deadline, and the job lends its place while it waits.
    """

    __slots__ = ("_cross", "_enter", "_pool")

    # Of any type, as what these are is of the inside, and would be public if it stood in this signature.
    def __init__(self, pool: WorkerPool, cross: Callable[[], Any], enter: Callable[..., Any]) -> None:
        self._pool = pool
        self._cross: Callable[[], Crossing] = cross
        self._enter: Enter = enter

    def submit(
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
    ) -> Future[T]:
        """Have a job accepted, and return its future.

        This blocks the calling thread until the pool's event loop has answered, which takes it a turn while there is room;
        when the pool is full this waits in line with all other submitters, for the pool's `submit_timeout` at most. What
        interrupts the wait, as Ctrl-C does in the main thread, takes the submission back.

        `future.cancel()` cancels the job, queued or running: the future is cancelled at once, the job soon after.

        Args:
            fn: an async function.
            *args: its arguments; for keywords use `functools.partial`.
            timeout: how long the job may run, in seconds; see `WorkerPool.submit`.
            deadline: when the job must have ended, on the clock of the pool's loop; see `WorkerPool.submit`.
            name: what the job and its task are called; see `WorkerPool.submit`.
            priority: lower is sooner; see `WorkerPool.submit`.
            key: what it shares with jobs that must not run at once; see `WorkerPool.submit`.
            coalesce: whether to join a job of the same key; see `WorkerPool.submit`. Such a job is cancelled when all have
                cancelled their futures that share it.
            retry: whether and when it is tried again; see `WorkerPool.submit`.

        Returns:
            A future that ends as the job does: with its result, its exception, `JobTimeout`, or `JobCancelled`. A failure that
            nobody has looked at when it is dropped is logged.

        Raises:
            PoolOverloaded: there was no room within `submit_timeout`.
            PoolClosed: the pool is closing or closed, or began to close while this was waiting; or its event loop is closed.
            TypeError: an argument is of the wrong kind.
            ValueError: an argument is out of its range.
            RuntimeError: the pool was not entered, its event loop does not run, or this is called on that loop.
        """
        future: JobFuture[T] = self._start(fn, args, Wishes(timeout, deadline, name, priority, key, coalesce, retry))
        return future

    def run(
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
    ) -> T:
        """Submit a job, wait for it and return its result.

        This blocks the calling thread until the job has ended. An exception that interrupts that, Ctrl-C in the main thread,
        cancels the job, and does not wait for its end.

        Args:
            fn: an async function.
            *args: its arguments.
            timeout: how long the job may run, in seconds; see `WorkerPool.submit`.
            deadline: when the job must have ended, on the clock of the pool's loop; see `WorkerPool.submit`.
            name: what the job and its task are called; see `WorkerPool.submit`.
            priority: lower is sooner; see `WorkerPool.submit`.
            key: what it shares with jobs that must not run at once; see `WorkerPool.submit`.
            coalesce: whether to join a job of the same key; see `WorkerPool.submit`.
            retry: whether and when it is tried again; see `WorkerPool.submit`.

        Returns:
            What the job returned.

        Raises:
            PoolOverloaded: there was no room within `submit_timeout`.
            PoolClosed: the pool is closing or closed, or its event loop is closed.
            JobTimeout: the job's time ran out.
            JobCancelled: the job was cancelled.
            TypeError: an argument is of the wrong kind.
            ValueError: an argument is out of its range.
            RuntimeError: the pool was not entered, its event loop does not run, or this is called on that loop.
            asyncio.CancelledError: this is called in the thread of a job (`in_thread`) that was cancelled meanwhile.
            BaseException: whatever the job itself raised.
        """
        wishes = Wishes(timeout, deadline, name, priority, key, coalesce, retry, awaited=True)
        loop = self._checked(fn, wishes).loop
        if is_in_job(loop):
            return await_in_job(loop, partial(self._pool.run, fn, *args, **wishes.options))
        future: JobFuture[T] = JobFuture(self._cross())
        try:
            self._send(future, fn, args, wishes)
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
            raise
        finally:
            del future, fn, args, self  # none of which a traceback through here should keep

    def executor(
        self,
        *,
        timeout: float | Literal[Default.JOB_TIMEOUT] | None = JOB_TIMEOUT,
        name: str | None = None,
        priority: int = 0,
        key: Key | None = None,
    ) -> PoolExecutor:
        """Return a `concurrent.futures.Executor` that runs each call as a job of the pool.

        A plain function runs in a thread, an async one on the pool's event loop. The executor is shut down, or not, by itself:
        the pool stays open.

        Args:
            timeout: how long each job may run, in seconds; see `WorkerPool.submit`.
            name: what the jobs are called; by default each is called as its function, and numbered.
            priority: lower is sooner; see `WorkerPool.submit`.
            key: what the jobs share with others that must not run at once; see `WorkerPool.submit`.

        Raises:
            TypeError: an argument is of the wrong kind.
            ValueError: an argument is out of its range.
        """
        from ._executor import PoolExecutor  # noqa: PLC0415  # not all who use threads use it

        wishes = Wishes(timeout, None, name, priority, key)
        _refuse_bad(wishes)
        return PoolExecutor(self._pool.name, self._cross, self._start, wishes)

    # Inside -------------------------------------------------------------------------------------------------------------

    def _start(
        self,
        fn: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        wishes: Wishes,
        future: JobFuture[Any] | None = None,
    ) -> JobFuture[Any]:
        """Submit a job, and wait until it is accepted."""
        crossing = self._checked(fn, wishes, on_loop=future is not None)
        if future is None:
            future = JobFuture(crossing)
        if wishes.patient and is_in_job(crossing.loop):  # which can be cancelled while it waits for room
            return self._start_in_job(future, crossing, fn, args, wishes)
        accepted = threading.Lock()
        accepted.acquire()
        try:
            self._send(future, fn, args, wishes, accepted)
            accepted.acquire()
        except BaseException:
            future.cancel()
            raise
        if not future.refused:
            return future
        error = future.exception()
        assert error is not None
        try:
            raise error
        finally:
            del error, future, self, fn, args  # none of which a traceback through here should keep

    def _start_in_job(
        self,
        future: JobFuture[Any],
        crossing: Crossing,
        fn: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        wishes: Wishes,
    ) -> JobFuture[Any]:
        """Submit a job from the thread of another, as that would on the loop."""
        try:
            job: Any = await_in_job(crossing.loop, partial(self._pool.submit, fn, *args, **wishes.options))
        except BaseException:
            future.cancel()
            raise
        future.job = job
        call = Call(future, crossing, self._enter, fn, args, wishes)
        with suppress(RuntimeError):  # as in `_send`
            crossing.loop.call_soon_threadsafe(call.accepted, job, context=Context())
        return future

    def _send(
        self,
        future: JobFuture[Any],
        fn: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        wishes: Wishes,
        accepted: threading.Lock | None = None,
    ) -> None:
        """Send a submission to the loop, which alone holds it then: if it is closed instead, the future hears of that."""
        crossing = self._cross()
        call = Call(future, crossing, self._enter, fn, args, wishes, accepted)
        if running_loop() is crossing.loop:
            call.begin()
            return
        with suppress(RuntimeError):
            crossing.loop.call_soon_threadsafe(call.begin, context=copy_context())
        # A loop that is closed in the very moment may have let go of its handles before it was given this one.
        if crossing.loop.is_closed():
            call.never_begun()

    def _checked(self, fn: Callable[..., Awaitable[Any]], wishes: Wishes, *, on_loop: bool = False) -> Crossing:
        """Refuse what the pool would, here and now; return the way to it."""
        if type(fn) is not FunctionType or not fn.__code__.co_flags & _checks.NATIVE:
            _checks.job_function(fn)
        _refuse_bad(wishes)
        crossing = self._cross()
        loop = crossing.loop
        if not on_loop and running_loop() is loop:
            raise RuntimeError(
                f"from_thread was used on the event loop of pool {crossing.name!r} itself, which it would block: "
                f"await pool.submit(...) or await pool.run(...) instead"
            )
        if wishes.deadline is not None:
            _checks.loop_time("deadline", wishes.deadline, loop.time())
        if not loop.is_running():
            if self._pool.state is PoolState.CLOSED or loop.is_closed():
                raise PoolClosed(crossing.name)
            raise RuntimeError(
                f"the event loop of pool {crossing.name!r} does not run, so nothing would run the job: "
                f"use the pool while the thread of its loop is in asyncio.run() or loop.run_forever()"
            )
        return crossing


def _refuse_bad(wishes: Wishes) -> None:
    """Refuse what a submission may not ask for, as far as that can be told without the pool."""
    timeout, name = wishes.timeout, wishes.name
    if timeout is not None and timeout is not JOB_TIMEOUT:
        _checks.seconds("timeout", timeout, none="no limit")
    if name is not None:
        _checks.label("name", name)
    if wishes.special:
        _checks.priority(wishes.priority)
        if wishes.key is not None:
            _checks.key(wishes.key)
        _checks.flag("coalesce", wishes.coalesce)
