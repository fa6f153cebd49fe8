"""The workers of a pool whose jobs work with something of the worker's: a connection, a session, a page of a browser.

A worker is a place, and that has no task. What `worker_context` makes for a worker is entered and left by a task of its own,
which does nothing else: many a context manager has to be left by the task that entered it (a cancel scope, a task group).
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections import deque
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any

from . import _stack
from ._logs import fields
from ._run import current_run
from ._runner import as_awaitable
from ._show import shown, type_name
from ._supervisor import cancel
from ._waiting import release
from ._worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from ._run import Run
    from ._settings import Settings

__all__ = ["Workers"]

_log = logging.getLogger("weirpool.resource")


class _State(enum.Enum):
    STARTING = "starting"
    READY = "ready"
    RETIRED = "retired"


class _Post:
    """What the pool knows of one worker.

    Attributes:
        worker: what its jobs see.
        state: where it is.
        leave: set when it is to retire.
        task: what enters and leaves its context.
    """

    __slots__ = ("leave", "state", "task", "worker")

    def __init__(self, number: int) -> None:
        self.worker = Worker(number)
        self.state = _State.STARTING
        self.leave = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class Workers:
    """Keep the workers of one pool: start them, lend them to jobs, retire them.

    At most as many as there are places stay. There are more while jobs that have lent their places keep their workers, and
    while abandoned ones are retiring.

    Args:
        settings: what the pool is asked to be.
        factory: returns the context manager of a worker.
        places: says how many jobs may run at once.
        told: says whether the end of `asyncio.run` has cancelled a task.
        on_gone: called when the last one has gone, once the pool closes.
    """

    def __init__(
        self,
        settings: Settings,
        factory: Callable[[], AbstractAsyncContextManager[Any]],
        *,
        places: Callable[[], int],
        told: Callable[[asyncio.Task[None]], bool],
        on_gone: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._factory = factory
        self._places = places
        self._told = told
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._live = 0  # all but those that retire
        self._starting = 0
        self._tasks: dict[asyncio.Task[None], _Post] = {}
        self._idle: deque[_Post] = deque()  # the one that has worked last is the first to work again
        self._held: dict[Run, _Post] = {}
        self._wanting: dict[asyncio.Future[_Post], None] = {}
        self._opening: asyncio.Future[None] | None = None
        self._closed = False
        self._gone = asyncio.Event()

    # For jobs -----------------------------------------------------------------------------------------------------------

    async def run(self, fn: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Run a job's function with a worker."""
        run = current_run()
        assert run is not None
        self._held[run] = await self._take()
        try:
            return await as_awaitable(fn(*args, **keywords))
        finally:
            self._done_with(run)

    def held_by(self, run: Run) -> Worker | None:
        """Return the worker of a job that runs."""
        post = self._held.get(run)
        return None if post is None else post.worker

    def lost(self, run: Run) -> None:
        """Retire the worker of a job that is abandoned: what the job does with it is not over."""
        with suppress(KeyError):  # of one that has none yet, or not any more
            self._retire(self._held.pop(run))
        self._replace()

    def _done_with(self, run: Run) -> None:
        post = self._held.pop(run, None)
        if post is not None:  # else the job was abandoned, and its worker has retired
            post.worker.jobs += 1
            self._give_back(post)

    async def _take(self) -> _Post:
        while self._idle:
            post = self._idle.pop()
            if post.task is None or not post.task.cancelling():  # else its context is about to end by itself
                return post
        place: asyncio.Future[_Post] = self._loop.create_future()
        self._wanting[place] = None
        if self._starting < len(self._wanting):
            self._start()
        try:
            return await place
        except BaseException:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._give_back(place.result())
            raise
        finally:
            self._wanting.pop(place, None)

    def _give_back(self, post: _Post) -> None:
        if post.state is not _State.READY:
            return
        if post.worker.discarded or self._closed:
            self._retire(post)
            self._replace()
            return
        if (place := self._first_in_line()) is not None:
            place.set_result(post)
        elif self._live > self._places():
            self._retire(post)
        else:
            self._idle.append(post)

    def _first_in_line(self) -> asyncio.Future[_Post] | None:
        for place in self._wanting:
            if not place.done():  # else its job has been cancelled, and has not woken yet
                del self._wanting[place]
                return place
        return None

    # How many there are -------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Start as many as there are places at least, and wait until they are ready, or the pool is to be closed.

        Raises:
            BaseException: what the first of them has failed with.
        """
        self._opening = opening = self._loop.create_future()
        self._starting += 1  # as a task that is eager may be ready before there is another
        for _ in range(self._settings.min_workers):
            self._start()
        self._starting -= 1
        self._see_whether_open()
        try:
            await opening
        finally:
            self._opening = None

    def trim(self) -> None:
        """Retire those that are not used, while there are more than places."""
        while self._live > self._places() and self._idle:
            self._retire(self._idle.popleft())

    def leave(self) -> None:
        """Retire all: no job has one any more, unless it is abandoned."""
        self.hand_in()
        for post in tuple(self._tasks.values()):
            self._retire(post)

    def hand_in(self) -> None:
        """Retire those that no job has, from now on: none is going to be started any more."""
        if self._closed:
            return
        self._closed = True
        for task, post in tuple(self._tasks.items()):
            if post.state is _State.STARTING:
                cancel(task)
        while self._idle:
            self._retire(self._idle.popleft())
        if self._opening is not None:
            release(self._opening)
        self._see_whether_gone()

    def hurry(self) -> None:
        """Cancel those that are being left or entered."""
        for task in tuple(self._tasks):
            if not self._told(task):  # once is enough
                cancel(task)

    def give_up(self) -> None:
        """Wait no more for those that ignore their cancellation, and name them."""
        hanging, self._tasks = self._tasks, {}
        for task, post in hanging.items():
            with suppress(Exception):  # whatever a logging handler does, the pool has to close
                _log.warning(
                    "the context of worker %d of pool %r is not left in time, and is abandoned; it hangs at\n  %s",
                    post.worker.number,
                    self._settings.name,
                    "\n  ".join(_stack.where(task)) or "an unknown place",
                    extra=fields("resource.abandoned", self._settings.name, worker=post.worker.number),
                )
        self._see_whether_gone()

    @property
    def gone(self) -> bool:
        """Whether all have gone, once all are to."""
        return self._closed and not self._tasks

    async def wait_gone(self) -> None:
        """Wait until all have gone."""
        await self._gone.wait()

    def _start(self) -> None:
        self._number += 1
        post = _Post(self._number)
        self._live += 1
        self._starting += 1
        coroutine = self._work(post)
        try:
            # In an empty context: what is in that of whoever needs the worker first must not live as long as the worker.
            task = self._loop.create_task(
                coroutine, name=f"weirpool:{self._settings.name}:worker {self._number}", context=Context()
            )
        except BaseException as error:  # somebody's task factory failed
            coroutine.close()
            self._not_started(post, error)
            return
        self._tasks[task] = post
        post.task = task
        task.add_done_callback(self._ended, context=Context())

    async def _work(self, post: _Post) -> None:
        """Be the task that enters and leaves a worker's context."""
        context = self._factory()
        if not (hasattr(type(context), "__aenter__") and hasattr(type(context), "__aexit__")):
            raise TypeError(
                f"worker_context must return an async context manager (a function with @asynccontextmanager does), "
                f"it returned {shown(context)} ({type_name(context)})"
            )
        async with context as post.worker.resource:
            self._starting -= 1
            post.state = _State.READY
            self._give_back(post)
            self._see_whether_open()
            try:
                await self._stay(post)
            except BaseException:
                self._withdraw(post)
                raise

    async def _stay(self, post: _Post) -> None:
        """Wait until the worker is to retire.

        The end of `asyncio.run` cancels every task there is; but the jobs are still going to clean up, with what the worker
        has. Whoever else cancels this one means it: a task group in the worker's context has failed, for instance.
        """
        task = asyncio.current_task()
        while not post.leave.is_set():
            try:
                await post.leave.wait()
            except asyncio.CancelledError:
                if task is None or not self._told(task):
                    raise
                task.uncancel()  # that was for the jobs; from here on, "told" means that it is being left in a hurry

    def _retire(self, post: _Post) -> None:
        if post.state is _State.READY:
            post.state = _State.RETIRED
            post.leave.set()
            self._live -= 1

    def _replace(self) -> None:
        if not self._closed and self._live < self._settings.min_workers:
            self._start()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """See what it means that a worker's context has been left, or could not be entered."""
        if (post := self._tasks.pop(task, None)) is None:  # it has been given up
            if not task.cancelled():
                task.exception()
            return
        error: BaseException | None = asyncio.CancelledError() if task.cancelled() else task.exception()
        if post.state is _State.STARTING:
            self._not_started(post, error or RuntimeError("the task of a worker ended without having entered its context"))
        elif post.state is _State.READY:
            self._broke(post, error)
        elif error is not None:
            self._say(
                post,
                "has not been left properly",
                error,
                fields("resource.failed", self._settings.name, worker=post.worker.number),
            )
        post.worker.resource = None
        self._see_whether_gone()

    def _not_started(self, post: _Post, error: BaseException) -> None:
        """Tell who waits for a worker that it has failed to start; the next job that wants one tries again."""
        self._starting -= 1
        self._live -= 1
        post.state = _State.RETIRED
        if isinstance(error, asyncio.CancelledError):
            # As an error of its own: who gets it must not look as if it had been cancelled itself.
            error = RuntimeError(f"worker {post.worker.number} of pool {self._settings.name!r} was cancelled while it started")
        if self._opening is not None:
            if not self._opening.done():
                self._opening.set_exception(error)
            return
        if (place := self._first_in_line()) is not None:
            place.set_exception(error)
        elif not self._closed:
            self._say(
                post,
                "could not be entered",
                error,
                fields("resource.failed", self._settings.name, worker=post.worker.number),
            )

    def _withdraw(self, post: _Post) -> None:
        """Give a worker to no further job."""
        with suppress(ValueError):
            self._idle.remove(post)

    def _broke(self, post: _Post, error: BaseException | None) -> None:
        """Replace a worker whose context has come to an end by itself."""
        self._withdraw(post)
        self._retire(post)
        self._say(post, "broke", error, fields("resource.broken", self._settings.name, worker=post.worker.number))
        self._replace()

    def _say(self, post: _Post, what: str, error: BaseException | None, extra: dict[str, object]) -> None:
        with suppress(Exception):  # whatever a logging handler does, the pool has to go on
            _log.warning(
                "the context of worker %d of pool %r %s",
                post.worker.number,
                self._settings.name,
                what,
                exc_info=error,
                extra=extra,
            )

    def _see_whether_open(self) -> None:
        if self._opening is not None and not self._starting:
            release(self._opening)

    def _see_whether_gone(self) -> None:
        if self.gone and not self._gone.is_set():
            self._gone.set()
            self._on_gone()
