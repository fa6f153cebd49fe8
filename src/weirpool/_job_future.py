"""A job's future, for threads: to wait for, to cancel by, and to look at."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import from_thread

from ._checks import running_loop
from ._handle import wait_inside
from ._lending import inside
from ._run import current_run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ._crossing import Crossing
    from ._failure import Failure
    from ._job import Job

__all__ = ["JobFuture", "await_in_job", "is_in_job"]

T = TypeVar("T")


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

    def _get_snapshot(self) -> Any:
        """Return the outcome, as `asyncio.wrap_future` asks for it from Python 3.15 on."""
        try:
            return super()._get_snapshot()  # type: ignore[misc]  # not of older Pythons
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


# In the thread of a job -----------------------------------------------------------------------------------------------------


def is_in_job(loop: asyncio.AbstractEventLoop) -> bool:
    """Say whether this is the thread of a job that runs on a loop; as `inside` does, of a job that may end meanwhile."""
    run = current_run()
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
