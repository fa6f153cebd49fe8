"""The supervisor: the task that owns the task group to which the tasks of a pool's jobs belong.

The task that enters a pool may end, or be another than the one that closes it, and a TaskGroup must not care.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

from ._group import JobGroup
from ._logs import fields
from ._waiting import release

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._run import Run
    from ._worker import Worker

__all__ = ["Supervisor", "cancel"]

_log = logging.getLogger("weirpool.job")


class Residents(Protocol):
    """The workers that have contexts, each in a task of its own; see `_workers.Workers`."""

    @property
    def gone(self) -> bool:
        """Whether all have gone, once all are to."""
        ...

    async def open(self) -> None:
        """Start as many as there are to be before the pool is open."""
        ...

    async def wait_gone(self) -> None:
        """Wait until all have gone."""
        ...

    def hand_in(self) -> None:
        """Retire those that no job has, from now on."""
        ...

    def leave(self) -> None:
        """Retire all."""
        ...

    def hurry(self) -> None:
        """Cancel those that are being left or entered."""
        ...

    def give_up(self) -> None:
        """Wait no more for those that ignore their cancellation."""
        ...

    def trim(self) -> None:
        """Retire those for which there is no place."""
        ...

    def lost(self, run: Run) -> None:
        """Retire that of a job that is abandoned."""
        ...

    def held_by(self, run: Run) -> Worker | None:
        """Return that of a job that runs."""
        ...


class Reader(Protocol):
    """Whoever submits on and on, and may have a task for that: see `_flow.Flow`."""

    @property
    def reading(self) -> bool:
        """Whether it has a task."""
        ...

    def intake_closed(self) -> None:
        """Hear that no more jobs are accepted."""
        ...

    def give_up_source(self) -> None:
        """Wait no more for what ignores its cancellation."""
        ...


class Supervisor:
    """Own the tasks of one pool's jobs.

    Args:
        name: the pool's name.
        loop: the pool's event loop.

    Attributes:
        group: the task group.
        workers: those that have a context; None: a pool's workers have none.
        readers: those that submit on and on, until they have come to an end.
        error: why the pool could not be opened.
    """

    __slots__ = ("_last_calls", "_looking", "_loop", "_name", "_stopping", "_task", "error", "group", "readers", "workers")

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._name = name
        self._loop = loop
        self.group = JobGroup()
        self.workers: Residents | None = None
        self.readers: dict[Reader, None] = {}
        self._looking: asyncio.Future[None] | None = None
        self.error: BaseException | None = None
        self._stopping: asyncio.Future[None] = loop.create_future()
        self._task: asyncio.Task[None] | None = None
        self._last_calls: list[Callable[[Any], None]] | None = []

    def at_close(self, call: Callable[[Any], None]) -> bool:
        """Keep something to be called when the pool has closed; say whether that is still to come."""
        if self._last_calls is None:
            return False
        self._last_calls.append(call)
        return True

    def last_calls(self) -> list[Callable[[Any], None]]:
        """Return what is to be called now that the pool has closed; nothing is added any more."""
        calls, self._last_calls = self._last_calls, None
        return calls or []

    def open(
        self,
        on_open: Callable[[], None],
        on_fail: Callable[[], None],
        on_cancel: Callable[[], None],
        on_end: Callable[[asyncio.Task[None]], None],
    ) -> asyncio.Future[None]:
        """Start the supervisor, the task that owns the tasks of all jobs until `stop()` and the end of the last of them.

        It gets an empty context: what is in the context of whoever opens the pool must not live as long as the pool.

        Args:
            on_open: called once jobs can be started.
            on_fail: called instead if a worker has failed to start.
            on_cancel: called if somebody else (the end of `asyncio.run`) cancels the supervisor.
            on_end: called when the supervisor has ended.

        Returns:
            A future that is done when `on_open` has been called, or the supervisor has ended without getting that far.
        """
        ready: asyncio.Future[None] = self._loop.create_future()

        def ended(task: asyncio.Task[None]) -> None:
            supervision.close()  # if a wrapper of somebody's task factory was cancelled before it came to it
            release(ready)
            on_end(task)

        def opened() -> None:
            on_open()
            release(ready)

        supervision = self._supervise(opened, on_fail, on_cancel)
        try:
            task = self._task = self._loop.create_task(supervision, name=f"weirpool:{self._name}", context=Context())
            task.add_done_callback(ended, context=Context())
        except BaseException:  # somebody's task factory failed
            supervision.close()
            raise
        return ready

    async def _supervise(
        self, on_open: Callable[[], None], on_fail: Callable[[], None], on_cancel: Callable[[], None]
    ) -> None:
        # Cancelled twice: this is the outermost frame of the pool's own task, there is nobody to pass it on to.
        with suppress(asyncio.CancelledError):
            async with self.group:
                try:
                    if self.workers is not None:
                        await self.workers.open()
                    on_open()
                    await self._stopping
                except asyncio.CancelledError:
                    # Passed on to the group, it would cancel every job again, in the midst of its cleanup.
                    on_cancel()
                except BaseException as error:
                    self.error = error
                    on_fail()
        while self.workers is not None and not self.workers.gone:  # closing is what sees to the end of that
            try:
                await self.workers.wait_gone()
            except asyncio.CancelledError:
                on_cancel()
        while any(reader.reading for reader in self.readers):
            self._looking = self._loop.create_future()
            try:
                await self._looking
            except asyncio.CancelledError:
                on_cancel()

    @property
    def gone(self) -> bool:
        """Whether the supervisor has ended: no task of the pool is left."""
        return self._task is None or self._task.done()

    @property
    def alone(self) -> bool:
        """Whether no worker's context is left, and so nothing but the tasks of jobs."""
        return self.workers is None or self.workers.gone

    def stop(self) -> None:
        """Let the supervisor go once the last task has ended; no job may be queued or running any more."""
        release(self._stopping)
        if self.workers is not None:
            self.workers.leave()

    def hurry(self) -> None:
        """Cancel the tasks that are left although their jobs have ended: what a task factory has put around these goes on.

        Of strays there are none: with these, nothing is waited for.
        """
        for task in tuple(self.group.members):
            cancel(task)
        if self.workers is not None:
            self.workers.hurry()

    def hand_in(self) -> None:
        """Let the workers go that no job has: no more are going to be started."""
        if self.workers is not None:
            self.workers.hand_in()

    def reader_ended(self) -> None:
        """Hear that one of the readers has no task any more."""
        if self._looking is not None:
            release(self._looking)

    def give_up_readers(self) -> None:
        """Wait no more for the tasks of readers, all of which have been cancelled."""
        for reader in tuple(self.readers):
            reader.give_up_source()

    def give_up(self) -> None:
        """Wait no more for the contexts of workers, all of which have been cancelled."""
        assert self.workers is not None
        self.workers.give_up()

    def told(self, task: asyncio.Task[None]) -> bool:
        """Say whether the end of `asyncio.run`, which cancels every task there is, has cancelled a job's: once is enough.

        The supervisor is cancelled by nobody else. That a job's task has been cancelled says nothing by itself: a job may have
        swallowed a cancellation of its own, long ago.
        """
        return bool(task.cancelling() and self._task is not None and self._task.cancelling())


def cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task, if that can be done: what it waits for is cancelled first, and that may raise.

    It does if the task waits for a thousand nested `asyncio.gather`s, or for an awaitable with a `cancel` of its own. Such a
    job is one more that ignores its cancellation.
    """
    try:
        task.cancel()
    except Exception:
        with suppress(Exception):  # whatever a logging handler does, the pool has to go on
            _log.exception(
                "task %r can't be cancelled", task.get_name(), extra=fields("job.uncancellable", "", job=task.get_name())
            )
