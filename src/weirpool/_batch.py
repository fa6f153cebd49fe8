"""Micro-batching: callers have an item each, and a job of the pool gets a list of them.

The first item opens a batch. When that is full, or has been open for long enough, its job is made and submitted, by whoever
comes by: the caller that filled it, or the timer. Neither may wait; so if the pool has no room, the batch stands in line by
itself, as long as `submit` would. There is no task.
"""

from __future__ import annotations

from asyncio import CancelledError, Future, current_task
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from anyio.abc import AsyncResource

from . import _checks
from ._batch_items import Entry, Group
from ._circles import refuse_circle
from ._errors import JobTimeout, PoolClosed, PoolError
from ._handle import cancel_and_outlast
from ._lending import Lent, Waiter, inside
from ._run import CURRENT, Within
from ._show import function_name
from ._waiting import Errand, Waiters

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ._admission import Admission
    from ._crew import Crew
    from ._job import Job

__all__ = ["Batch", "batched"]

I_contra = TypeVar("I_contra", contravariant=True)
T_co = TypeVar("T_co", covariant=True)

_MOST = 1_000_000


class Batch(AsyncResource, Generic[I_contra, T_co]):
    """Call with one item, and get its result, while the function gets a list; `WorkerPool.batch` makes it.

    Leaving an `async with` block submits what waits and waits until all has ended. That is not needed: it has no task.
    """

    __slots__ = ("_batcher",)

    def __init__(self, batcher: Any) -> None:
        self._batcher: Any = batcher

    async def __call__(self, item: I_contra, /) -> T_co:
        """Have an item dealt with in a batch, and return its result.

        If the pool has no room when the batch is due, it waits in line, for `submit_timeout` at most. Cancelling this takes
        the item out of a batch that has not started. The last of a batch's callers that is cancelled cancels its job, too, and
        waits for the end of that. A job of the pool may call this: it lends its place meanwhile.

        Args:
            item: what to put into the list.

        Returns:
            What the function has returned in the item's place.

        Raises:
            BaseException: what the function has raised, or returned in the item's place.
            JobTimeout: the time of the batch's job ran out; or that of the `deadline_scope` that this is called in, and then
                the item is taken out as if this were cancelled, but the end of the job is not waited for.
            JobCancelled: it was cancelled.
            PoolOverloaded: there was no room for it within `submit_timeout`; or this is called by a job, and too many lend
                their places.
            PoolClosed: the pool is closing or closed, and the batch was not accepted before.
            RuntimeError: this batch has been closed, or this is called from another thread or event loop; or by a job for
                which the batch's would wait, as they have the same key.
        """
        result: T_co = await self._batcher.outcome(self._batcher.join(item))
        return result

    async def aclose(self) -> None:
        """Take no more items, submit those that wait, and wait until all have ended. Doing this again changes nothing.

        Cancelling it cancels nothing but the waiting.

        Raises:
            RuntimeError: called from another thread or event loop, or from one of its own jobs; or from a job that would wait
                for ever, as one of them has the same key and waits for that: then this takes no more items all the same.
        """
        await self._batcher.close()

    def __repr__(self) -> str:
        return f"<Batch {self._batcher.describe()}>"


Batch.__module__ = "weirpool"


class Batcher:
    """Put items together, and submit a job for so many of them; see `WorkerPool.batch`.

    Args:
        make: makes a job of what calls its function.
        admission: the way into the pool.
        crew: who runs the pool's jobs.
        name: of its jobs, or of the function.
        lending: waits for something while the job that waits, if it is one, lends its place.
        max_size: how many items a job has, at most.
        max_wait: how long the first of them waits, in seconds, before the job is submitted.
        patience: how long a job may wait for room, in seconds; None: as long as it takes.
    """

    reading = False  # it has no task that the pool would have to wait for

    def __init__(
        self,
        make: Callable[[Any], Job],
        admission: Admission,
        crew: Crew,
        *,
        name: str,
        lending: Callable[..., Awaitable[Any]],
        max_size: int,
        max_wait: float,
        patience: float | None,
    ) -> None:
        self._make = make
        self._admission = admission
        self._crew = crew
        self._loop = crew.loop
        self._name = name
        self._lending = lending
        self._max_size = max_size
        self._max_wait = max_wait
        self._patience = patience
        self._context = copy_context()
        self._context.run(CURRENT.set, None)  # how much time the maker has is not how much its callers have
        self._open: Group | None = None
        self._groups: dict[Group, None] = {}
        """Those that are not over."""
        self._waiters = Waiters()
        self._closed = False

    def describe(self) -> str:
        """Say what this is doing."""
        waiting = 0 if self._open is None else len(self._open.entries)
        state = "closed" if self._closed else f"{waiting} of {self._max_size} items wait"
        return f"of {self._name}: {state}, {len(self._groups) - (self._open is not None)} batches under way"

    # Items come ---------------------------------------------------------------------------------------------------------

    def join(self, item: Any) -> Entry:
        """Put an item into the batch that is open, and submit that if it is full."""
        _checks.on_loop("calling a batch", self._loop)
        if self._closed:
            raise RuntimeError(f"the batch of {self._name} has been closed: it takes no more items")
        around = CURRENT.get()
        due = around.due_on(self._loop) if isinstance(around, Within) else None
        if due is not None and due <= self._loop.time():
            raise JobTimeout(self._name, 0.0, "queued")
        group = self._open
        if group is None:
            self._admission.check_open()
            group = self._open = Group(self._ended)
            self._groups[group] = None
            self._crew.supervisor.readers[self] = None
            submit = partial(self._submit, group)
            if self._max_wait:
                group.timer = self._loop.call_later(self._max_wait, submit, context=Context())
            else:
                group.timer = self._loop.call_soon(submit, context=Context())
        entry = Entry(item, group, due)
        group.entries[entry] = None
        if len(group.entries) >= self._max_size:
            self._submit(group)
        return entry

    def _submit(self, group: Group) -> None:
        """Submit the job of a batch; if the pool has no room, it stands in line."""
        self._shut(group)
        job = group.job = self._context.copy().run(self._make, group.run)
        job.add_waiter(group)
        try:
            if self._admission.admit(job):
                group.accepted()
                return
        except PoolError as error:
            self._refused(group, error)
            return
        group.errand = Errand(self._admission.wait_for_others(job, self._patience), partial(self._answered, group))
        group.waits_for_job()
        group.errand.go_on()

    def _answered(self, group: Group, error: Exception | None) -> None:
        """Hear that what stood in line was accepted, or why not."""
        if error is None:
            group.accepted()
            if group.over:  # all have gone while it was accepted, by something that was called for that
                group.job.cancel()
        else:
            self._refused(group, error)

    def _refused(self, group: Group, error: Exception) -> None:
        del group.job
        if not group.over:
            group.fail(error)

    def _shut(self, group: Group) -> None:
        """Put no more items into a batch."""
        if self._open is group:
            self._open = None
            self._crew.supervisor.readers.pop(self, None)
            assert group.timer is not None
            group.timer.cancel()
            group.timer = None

    def _ended(self, group: Group) -> None:
        del self._groups[group]
        if not self._groups:
            self._waiters.wake()

    # Callers wait -------------------------------------------------------------------------------------------------------

    async def outcome(self, entry: Entry) -> Any:
        """Wait for the result of an item, and return it; or raise."""
        group, due, timer = entry.group, entry.due, None
        if due is not None:
            timer = self._loop.call_at(due, self._out_of_time, entry, due - self._loop.time(), context=Context())
        try:
            if not group.over:
                await self._wait(entry)
            return group.result_of(entry)
        except BaseException as error:
            await self._leave(entry, error)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            # Nothing leads from here to the job, and from there to other items: a traceback through here holds this frame.
            group.entries.pop(entry, None)
            del entry.group, group
            entry.run = entry.refusal = None

    def _out_of_time(self, entry: Entry, had: float) -> None:
        """End the wait of a caller that is in a `deadline_scope`; not the job, which is that of others, too."""
        group = entry.group
        if not group.over:
            runs = group.begun and group.job.run is not None
            entry.refuse(JobTimeout(self._name, had, "running" if runs else "queued"))
            if self._take_out(entry):  # now, as its caller may have to wait for a place before it raises that
                group.job.cancel()

    async def _wait(self, entry: Entry) -> None:
        """Wait until the batch is over; a job lends its place meanwhile."""
        if CURRENT.get() is not None and (run := inside(self._loop)) is not None:
            targets: Sequence[Job] = ()
            if current_task() is run.task and entry.due is None:  # else the wait has an end of its own, and is in no circle
                targets, entry.run = entry.group.targets, run
                for job in targets:
                    entry.refuse_circle(job)
                    del job
            if entry.refusal is None:
                async with Lent(run, self._crew, targets, abort=partial(self._leave, entry)) as wait:
                    assert wait is not None  # as it is not to wait anyway
                    await self._woken(entry, Waiter(wait))
        else:
            await self._woken(entry, Future())
        if entry.refusal is not None:
            raise entry.refusal

    async def _woken(self, entry: Entry, waiter: Future[None]) -> None:
        if not entry.woken:  # to lend a place starts others
            entry.waiter = waiter
            try:
                await waiter
            finally:
                entry.waiter = None

    async def _leave(self, entry: Entry, error: BaseException) -> None:
        """Take an item out, as its caller has gone; end what was done for nobody else."""
        if not self._take_out(entry):
            return
        if isinstance(error, CancelledError):
            await cancel_and_outlast(entry.group.job, error)
        else:
            entry.group.job.cancel()

    def _take_out(self, entry: Entry) -> bool:
        """Take an item out; say whether that leaves a job that is done for nobody."""
        group = entry.group
        if group.over or entry not in group.entries:
            return False
        del group.entries[entry]
        if group.entries or group.begun:
            return not group.entries
        self._shut(group)
        if group.errand is not None and group.errand.cancel():
            del group.job
        group.end()
        return False

    # The end ------------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Take no more items, submit those that wait, and wait until all have ended."""
        _checks.on_loop("Batch.aclose()", self._loop)
        run = inside(self._loop)
        if run is not None and any(group.begun and group.job is run.job for group in self._groups):
            raise RuntimeError("Batch.aclose() was called from one of its own jobs, which it would wait for")
        self._closed = True
        if self._open is not None:
            self._submit(self._open)
        if run is not None and current_task() is run.task:
            for group in self._groups:
                refuse_circle(run, group.job)
        await self._lending(self._all_over, anyway=True)

    async def _all_over(self) -> None:
        while self._groups:
            await self._waiters.wait()

    def intake_closed(self) -> None:
        """Hear that the pool accepts no more jobs."""
        group = self._open
        assert group is not None  # else it is not among those that are told
        self._shut(group)
        group.fail(PoolClosed(self._crew.name))

    def give_up_source(self) -> None:
        """Have nothing that could be waited for."""


def batched(
    fn: Any,
    make: Callable[[Any], Job],
    admission: Admission,
    crew: Crew,
    *,
    lending: Callable[..., Awaitable[Any]],
    max_size: int,
    max_wait: float,
    patience: float | None,
) -> Batch[Any, Any]:
    """Check the arguments of a batch, as far as its jobs will not, and make it.

    Args:
        fn: the function of each job.
        make: makes a job of what calls it; and checks the arguments of that.
        admission: the way into the pool.
        crew: who runs the pool's jobs.
        lending: see `Batcher`.
        max_size: see `WorkerPool.batch`.
        max_wait: see there.
        patience: how long a job may wait for room, in seconds; None: as long as it takes.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
    """
    max_size = _checks.whole("max_size", max_size, "items", 1, _MOST)
    max_wait = _checks.seconds("max_wait", max_wait, zero="until the end of this turn of the event loop")
    checked = make(Group.run)  # the record of a job that will never be
    return Batch(
        Batcher(
            make,
            admission,
            crew,
            name=checked.label or function_name(fn),
            lending=lending,
            max_size=max_size,
            max_wait=max_wait,
            patience=patience,
        )
    )
