"""The flow of one `pool.map`: items are read and submitted as long as the window has room, and results handed out.

Who drives the source? One that is not async is read by whoever asks for the next result, in between: no task, no queue.
An async one may take its time, and results have to come all the same, so a task reads it: the feeder. It is one task from the
first item to the end of the source's clean-up, since an async generator may have timeouts and cancel scopes inside. When the
pool is full, an item that was read waits in line like any submission: in the feeder, or in a task of its own.

Nothing here refers to the `MapResults` that the user holds: when that is dropped, its `__del__` stops the flow.
"""

from __future__ import annotations

import logging
from asyncio import CancelledError, Future, Task, current_task, sleep
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, Literal, Never

from . import _stack
from ._circles import refuse_circle
from ._errors import PoolClosed, is_a
from ._lending import Lent, Waiter, inside, outlast
from ._lifecycle import SUCCEEDED
from ._logs import fields
from ._run import CURRENT
from ._show import function_name, shown
from ._waiting import Waiters, release

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ._admission import Admission
    from ._crew import Crew
    from ._job import Job
    from ._progress import Tally
    from ._run import Run

__all__ = ["Flow", "Slot"]

_log = logging.getLogger("weirpool.map")

_LONGEST_STRETCH = 0.005  # seconds in which items are read without a turn for others


class Slot:
    """Hold one item of the window; to its job it is a waiter, and so it hears in time that this ends."""

    __slots__ = ("ended", "flow", "index", "item", "job")

    def __init__(self, flow: Flow, index: int, item: object) -> None:
        self.flow = flow
        self.index = index
        self.item = item
        self.ended = False
        self.job: Job

    def done(self) -> bool:
        """Say whether the job has woken this."""
        return self.ended

    def set_result(self, result: None, /) -> None:  # noqa: ARG002
        """Hear that the job is about to end."""
        self.ended = True
        self.flow.settled(self)


class Flow:
    """Run a job for each item of a source.

    Args:
        source: an iterator over the items, maybe an async one.
        make: makes the job of an item; it checks what it is given.
        admission: the way into the pool.
        crew: who runs the pool's jobs.
        loop: the pool's event loop.
        is_async: whether it is one.
        context: what the jobs get copies of.
        window: how many items at most were read and not handed out.
        ordered: whether results come in the order of the items.
        on_error: what becomes of an item whose job does not succeed.
        failed: makes what stands for such an item.
        tally: whom to tell of progress, or None.
        grace: how long a source that was cancelled may take to end, in seconds.

    Attributes:
        over: whether nothing goes on any more, and nothing will.
    """

    def __init__(
        self,
        source: Any,
        make: Callable[[Any], Job],
        admission: Admission,
        crew: Crew,
        loop: asyncio.AbstractEventLoop,
        *,
        is_async: bool,
        context: Context,
        window: int,
        ordered: bool,
        on_error: Literal["raise", "return", "skip"],
        failed: Callable[[Any, int, BaseException], Any],
        tally: Tally | None,
        grace: float,
    ) -> None:
        self._source: Any = source
        self._is_async = is_async
        self._make = make
        self._admission = admission
        self._crew = crew
        self._loop = loop
        self._context = context
        self._window = window
        self._ordered = ordered
        self._on_error = on_error
        self._failed = failed
        self._tally = tally
        self._grace = grace
        self._left: OrderedDict[Slot, None] = OrderedDict()
        """Read and not handed out, in the order of the items."""
        self._ready: deque[Slot] = deque()
        """Of these, those that have ended, in that order; not used if results are ordered."""
        self._since = loop.time()
        """When others have had a turn, as far as is known."""
        self._next_index = 0
        self._read_all = False
        self._end: BaseException | None = None
        """What is raised when all that was submitted has been handed out."""
        self._begun = self._busy = self._stopping = self._dropped = self._woken = False
        self.over = False
        self._unended = 0
        """How many of those that were cancelled have not ended."""
        self._asking: Task[None] | None = None
        self._feeder: Task[None] | None = None
        self._feeder_told = False
        self._source_timer: asyncio.TimerHandle | None = None
        self._full: Future[None] | None = None
        self._waiters = Waiters()
        self._trouble: BaseException | None = None

    # Handing out --------------------------------------------------------------------------------------------------------

    async def next(self) -> Any:
        """Return the next result, or raise; whoever is cancelled here stops the flow."""
        if self._busy:
            raise RuntimeError(
                "another task waits for the next result of this pool.map() already: results are read by one task at a time"
            )
        if self._stopping:
            raise StopAsyncIteration
        self._busy = True
        slot: Slot | None = None
        job: Job | None = None
        error: BaseException | None = None
        try:
            while (slot := await self._next_slot()) is not None:
                job = slot.job
                if job.status is SUCCEEDED:
                    return job.outcome
                if self._on_error == "raise":
                    return _raised(slot)
                error = job.exception()  # which is seen by that
                assert error is not None
                if self._on_error == "return":
                    return self._failed(slot.item, slot.index, error)
            await self._raise_end()
        except GeneratorExit:  # of a coroutine that is being closed, and can't wait
            self.drop()
            raise
        except BaseException:
            if not self.over:
                await self.stop()
            raise
        finally:
            self._busy = False
            del slot, job, error  # none of which a traceback through here should keep

    async def _raise_end(self) -> None:
        """Raise what is to be raised after the last result."""
        await self.stop()
        end, self._end = self._end, None
        try:
            if end is None:
                raise StopAsyncIteration
            _raise(end)
        finally:
            del end

    async def _next_slot(self) -> Slot | None:
        """Return the next slot that is to be handed out, None if there is none any more."""
        if not self._begun:
            self._begin()
        while not self._stopping:
            self._woken = False
            while self._wants_item():
                if not self._is_time_to_pause():
                    self._read()
                elif not await self._pause():
                    return None
            slot = self._take()
            if slot is not None:
                return slot
            if self._read_all and not self._left:
                return None
            await self._wait()
            self._since = self._loop.time()
        return None

    def _take(self) -> Slot | None:
        """Take the slot whose turn it is from the window, if its job has ended."""
        if self._ordered:
            slot = next(iter(self._left), None)
            if slot is None or not slot.ended:
                return None
        elif self._ready:
            slot = self._ready.popleft()
        else:
            return None
        del self._left[slot]
        if self._full is not None:
            release(self._full)
        if self._tally is not None:
            self._tally.catch_up()
        return slot

    async def _wait(self) -> None:
        """Wait until something has happened; a job lends its place meanwhile."""
        if CURRENT.get() is not None and (run := inside(self._loop)) is not None:
            await self._wait_inside(run)
        else:
            await self._waiters.wait()

    async def _wait_inside(self, run: Run) -> None:
        # Those that come later may well end first; but in the end it waits for the oldest.
        slot = next(iter(self._left), None)
        target = slot.job if slot is not None and slot.job.was_accepted and current_task() is run.task else None
        if target is not None:
            refuse_circle(run, target)
        async with Lent(run, self._crew, () if target is None else (target,), abort=self._abort) as wait:
            assert wait is not None  # as it is not to wait anyway
            if not self._woken:  # to lend a place starts others
                waiter = Waiter(wait)
                if target is not None:
                    target.add_waiter(waiter)  # by which others see who waits for it
                try:
                    await self._waiters.wait(waiter)
                finally:
                    if target is not None:
                        target.remove_waiter(waiter)

    async def _abort(self, error: BaseException) -> None:
        """Stop, before a job that was cancelled here waits for its place."""
        if isinstance(error, GeneratorExit):
            self.drop()
        else:
            self._cancel()
            await outlast(self._quiet_down, lambda: self._quiet)

    def _wake(self) -> None:
        self._woken = True
        self._waiters.wake()
        if self._dropped and not self.over and self._quiet:
            self._loop.call_soon(self._finish, context=Context())  # not in the midst of a job's end

    def settled(self, slot: Slot) -> None:
        """Hear that the job of a slot is about to end."""
        if self._stopping:
            self._unended -= 1
            if not self._unended:
                self._wake()
            return
        if self._tally is not None:
            self._tally.note(slot.job)
        if not self._ordered:
            self._ready.append(slot)
            self._wake()
        elif next(iter(self._left), None) is slot:
            self._wake()

    # Reading ------------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._begun = True
        self._crew.supervisor.readers[self] = None
        if self._tally is not None:
            self._tally.start()
        if self._is_async:
            feeding = self._feed()
            try:
                task = self._loop.create_task(feeding, name="weirpool:map", context=self._context.copy())
            except BaseException:  # somebody's task factory failed
                feeding.close()
                raise
            self._feeder = task
            task.add_done_callback(self._fed, context=Context())

    def _wants_item(self) -> bool:
        """Say whether whoever waits for a result is to read an item first."""
        return not self._is_async and not self._read_all and self._asking is None and len(self._left) < self._window

    def _read(self) -> None:
        """Read an item, and submit it."""
        try:
            item = next(self._source)
        except StopIteration:
            self._read_all = True
            return
        except Exception as error:
            self._end_with(error)
            return
        slot = self._submit(item)
        if slot is not None:
            asking = self._admission.stand_in_line(slot.job)
            try:
                task = self._asking = self._loop.create_task(asking, name="weirpool:map", context=Context())
            except BaseException:
                asking.close()
                self._forget(slot)
                raise

            def asked(_: object) -> None:
                self._asked(task, slot)

            task.add_done_callback(asked, context=Context())

    def _is_time_to_pause(self) -> bool:
        """Say whether others need a turn: a source may take its time without waiting, or the window be large."""
        return self._loop.time() - self._since > _LONGEST_STRETCH

    async def _pause(self) -> bool:
        """Give others a turn; say whether nobody has stopped the flow in that."""
        await sleep(0)
        self._since = self._loop.time()
        return not self._stopping

    @property
    def _wanted(self) -> bool:
        """Whether what is read is submitted."""
        return not self._read_all

    def _submit(self, item: object) -> Slot | None:
        """Submit an item; return its slot if it has to wait for room, in the pool's line."""
        slot = Slot(self, self._next_index, item)
        try:
            job = slot.job = self._context.run(self._make, item)
            job.waiters = slot
            self._next_index += 1
            self._left[slot] = None
            return None if self._admission.take(job) else slot
        except Exception as error:
            self._forget(slot)
            self._end_with(error)
            return None

    def _forget(self, slot: Slot) -> None:
        """Let go of an item that was not accepted."""
        self._left.pop(slot, None)
        if hasattr(slot, "job"):
            slot.job.waiters = None

    def _asked(self, task: Task[None], slot: Slot) -> None:
        """Hear that what stood in the pool's line was accepted, or not."""
        self._asking = None
        error = CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            self._forget(slot)
            if not self._stopping:
                self._end_with(error)
        self._wake()

    def _end_with(self, error: BaseException) -> None:
        """Read no more, and raise this after what was submitted has been handed out; the first such error counts."""
        if not self._read_all:
            self._read_all = True
            self._end = error
        self._wake()

    async def _feed(self) -> None:
        """Read an async source to its end, and close it."""
        source = self._source
        try:
            await self._feed_on(source)
        except BaseException as error:
            if not (self._feeder_told and isinstance(error, CancelledError)):
                self._end_with(error)
        self._feeder_told = True  # a cancellation would only interrupt what closes the source
        if isinstance(source, AsyncGenerator) or hasattr(type(source), "closes_as_a_source"):
            try:
                await source.aclose()
            except BaseException as error:
                self._trouble = error

    async def _feed_on(self, source: Any) -> None:
        """Read items and submit them, while there is room in the window and in the pool."""
        while not self._read_all:
            try:
                item = await source.__anext__()
            except StopAsyncIteration:
                self._read_all = True
                return
            # Else it has swallowed its cancellation, or was about to yield when that came.
            slot = self._submit(item) if self._wanted else None
            if slot is not None:
                try:
                    await self._admission.stand_in_line(slot.job)
                except BaseException:
                    self._forget(slot)
                    raise
            while len(self._left) >= self._window and not self._read_all:
                self._full = Future()
                await self._full
                self._since = self._loop.time()
            if self._is_time_to_pause():
                await self._pause()

    def _fed(self, task: Task[None]) -> None:
        """Hear that the feeder has ended; if it was cancelled before it had begun, it has not said so itself."""
        self._feeder = None
        if self._source_timer is not None:
            self._source_timer.cancel()
        if task.cancelled():
            self._end_with(CancelledError())
        self._wake()
        self._crew.supervisor.reader_ended()

    def intake_closed(self) -> None:
        """Hear that the pool accepts no more jobs: what was accepted goes on, and the source is closed."""
        self._end_with(PoolClosed(self._crew.name))
        self._stop_feeder()

    def _stop_feeder(self) -> None:
        """Have the feeder end, within the grace."""
        if self._feeder is not None:
            if not self._feeder_told:
                self._feeder_told = True
                self._feeder.cancel()
            if self._source_timer is None:
                self._source_timer = self._loop.call_later(self._grace, self.give_up_source, context=Context())

    @property
    def reading(self) -> bool:
        """Whether a task reads or closes the source."""
        return self._feeder is not None

    # Stopping -----------------------------------------------------------------------------------------------------------

    @property
    def _quiet(self) -> bool:
        """Whether nothing goes on any more."""
        return not self._unended and self._asking is None and self._feeder is None

    async def stop(self) -> None:
        """Cancel what is left, wait until it has ended, and close the source; being cancelled meanwhile is passed on.

        Raises:
            BaseException: what closing the source has raised.
        """
        self._cancel()
        try:
            await self._quiet_down()
        except CancelledError:
            await outlast(self._quiet_down, lambda: self._quiet)
            self._finish()
            self._say_trouble()
            raise
        self._finish()
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            try:
                raise trouble
            finally:
                del trouble

    def drop(self) -> None:
        """Cancel what is left, and have the source closed, without waiting for that: nobody is there any more who could."""
        self._dropped = True
        self._cancel()
        self.close_source()
        self._wake()

    async def _quiet_down(self) -> None:
        while not self._quiet:
            await self._waiters.wait()

    def _cancel(self) -> None:
        """Cancel what is left."""
        if self._stopping:
            return
        self._stopping = True
        self._read_all = True
        if self._asking is not None:
            self._asking.cancel()
        doomed = [slot for slot in self._left if not slot.ended and slot.job.was_accepted]
        self._unended = len(doomed)
        for slot in doomed:
            if slot.job.is_left_by_all():
                slot.job.cancel()
            else:  # another submission has joined it (`coalesce`)
                slot.job.remove_waiter(slot)
                self._unended -= 1
        self._stop_feeder()
        self._wake()

    def give_up_source(self) -> None:
        """Wait no more for a source that ignores its cancellation."""
        feeder, self._feeder = self._feeder, None
        if feeder is not None:
            with suppress(Exception):  # whatever a logging handler does, whoever waits has to go on
                _log.warning(
                    "the source %s of a map of pool %r ignores its cancellation, and is left alone; it hangs at\n  %s",
                    function_name(self._source),
                    self._crew.name,
                    "\n  ".join(_stack.where(feeder)) or "an unknown place",
                    extra=fields("map.abandoned", self._crew.name),
                )
        self._wake()
        self._crew.supervisor.reader_ended()

    def _finish(self) -> None:
        """Note that nothing goes on any more, and close the source if nobody has."""
        if self.over:
            return
        self.over = True
        self._crew.supervisor.readers.pop(self, None)
        if self._on_error == "skip":
            for slot in self._left:
                if slot.job.was_accepted and slot.job.done():
                    slot.job.exception()  # which is seen by that, as those before
        self._left.clear()
        self._ready.clear()
        self.close_source()
        self._source = None
        if self._tally is not None:
            self._tally.end()
        if self._dropped:
            self._say_trouble()

    def close_source(self) -> None:
        """Close a source that is not async, once nothing more will be read of it."""
        if not self._is_async and isinstance(self._source, Generator):
            try:
                self._source.close()
            except BaseException as error:
                self._trouble = error

    def _say_trouble(self) -> None:
        """Hand what closing the source has raised to the loop, as there is nobody to raise it to."""
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            message = f"closing the source of a map of pool {self._crew.name!r} has failed"
            self._loop.call_exception_handler({"message": message, "exception": trouble})


def _raised(slot: Slot) -> Any:
    """Raise what a job has ended with, with a note that says of which item it was the job."""
    job = slot.job
    try:
        return job.result()
    except BaseException as error:
        with suppress(Exception):  # of an exception that refuses notes
            BaseException.add_note(error, f"item {slot.index} of pool.map(): {shown(slot.item)}")
        _raise(error)
    finally:
        del job, slot


def _raise(error: BaseException) -> Never:
    """Raise what is not the end of the results; the loop over them would take `StopAsyncIteration` for that."""
    try:
        if is_a(error, StopAsyncIteration):
            raise RuntimeError("a job or the source of pool.map() raised StopAsyncIteration") from error
        raise error
    finally:
        del error
