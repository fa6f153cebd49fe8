"""The items of one batch, and what becomes of each: its result, or what is raised to its caller."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from . import _checks
from ._circles import refuse_circle
from ._errors import PoolError, context_of, set_context, traceback_of
from ._lifecycle import SUCCEEDED
from ._runner import as_awaitable
from ._show import function_name, type_name
from ._waiting import release

if TYPE_CHECKING:
    import asyncio
    from asyncio import Future
    from collections.abc import Callable
    from types import TracebackType

    from ._job import Job
    from ._run import Run
    from ._waiting import Errand

__all__ = ["Entry", "Group"]


class Entry:
    """One item, and whoever waits for its result."""

    __slots__ = ("due", "group", "index", "item", "refusal", "run", "waiter", "woken")

    def __init__(self, item: Any, group: Group, due: float | None) -> None:
        self.item = item
        self.due = due
        """When the time of the caller is over; None: it waits as long as it takes."""
        self.group = group
        self.index = 0
        """Where it is in the list."""
        self.woken = False
        self.waiter: Future[None] | None = None
        self.run: Run | None = None
        """That of the job whose own task waits, as long as it takes."""
        self.refusal: Exception | None = None
        """Why it waits no longer."""

    def wake(self) -> None:
        """Have the caller look what has happened."""
        self.woken = True
        if self.waiter is not None:
            release(self.waiter)

    def refuse_circle(self, job: Job) -> None:
        """Have the caller not wait if that would be for ever."""
        if self.run is not None:
            try:
                refuse_circle(self.run, job)
            except RuntimeError as refusal:
                self.refuse(refusal.with_traceback(None))  # which has frames that hold the job, and so the results of others

    def refuse(self, refusal: Exception) -> None:
        """Have the caller wait no longer, and raise this."""
        self.refusal = refusal
        self.wake()


class Group:
    """The items of one job; to which this is a waiter, and so it hears in time that this ends."""

    __slots__ = ("_on_end", "begun", "entries", "errand", "error", "job", "origins", "over", "targets", "timer")

    def __init__(self, on_end: Callable[[Group], None]) -> None:
        self._on_end = on_end
        self.entries: dict[Entry, None] = {}
        """Of the callers that have not gone."""
        self.timer: asyncio.Handle | None = None
        self.errand: Errand | None = None
        """Standing in line for the job."""
        self.job: Job
        self.origins: dict[int, TracebackType | None] = {}
        """Of exceptions in the place of results: the tracebacks that they came with."""
        self.targets: list[Job] = []
        """The job, as soon as the callers can't go on before it has ended."""
        self.begun = False
        """Whether the job was accepted."""
        self.over = False
        self.error: PoolError | None = None
        """Why there is no job."""

    def done(self) -> bool:
        """Say whether all is over."""
        return self.over

    def set_result(self, result: None, /) -> None:  # noqa: ARG002
        """Hear that the job is about to end."""
        self.end()

    def end(self) -> None:
        """Note that all is over, and tell the callers."""
        self.over = True
        self.errand = None
        self.targets.clear()
        self._on_end(self)
        for entry in self.entries:
            entry.wake()

    def fail(self, error: Exception) -> None:
        """End without a job."""
        assert isinstance(error, PoolError)
        self.error = error.again()  # without a traceback, which has frames that hold the batch
        self.end()

    def accepted(self) -> None:
        """Note that the job was accepted."""
        self.begun = True
        self.errand = None
        self.waits_for_job()

    def waits_for_job(self) -> None:
        """Note that the callers can't go on before the job has ended, and tell those for whom that would never be."""
        if not self.over:
            self.targets[:] = [self.job]
            for entry in self.entries:
                entry.refuse_circle(self.job)

    def numbered(self) -> list[Any]:
        """Return the items whose callers have not gone, and note where each of them is."""
        items: list[Any] = []
        for entry in self.entries:
            entry.index = len(items)
            items.append(entry.item)
        return items

    async def run(self, fn: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> list[Any]:
        """Call the function with the items whose callers have not gone."""
        items = self.numbered()
        del self  # which leads to what this may fail with, whose traceback has this frame
        number = len(items)  # the list is the function's from now on
        results = await as_awaitable(fn(*args, items, **keywords))  # args and keywords are those of a partial
        try:
            if isinstance(results, (str, bytes, Mapping, AbstractSet)):
                raise TypeError  # noqa: TRY301
            results = list(results)
        except TypeError:
            got = f"got {_checks.shown(results)} ({type_name(results)})"
            raise TypeError(f"{function_name(fn)} must return a sequence with a result for each item, {got}") from None
        if len(results) != number:
            raise ValueError(
                f"{function_name(fn)} must return as many results as it is given items, in their order: "
                f"got {len(results)} for {number}"
            )
        return results

    def result_of(self, entry: Entry) -> Any:
        """Return what an item has come to, or raise it."""
        if self.error is not None:
            raise self.error.again()
        if self.job.status is not SUCCEEDED:
            job = self.job
            try:
                return job.result()
            finally:
                del job, entry, self  # of what this may raise, whose traceback has this frame
        result = self.job.outcome[entry.index]
        if not isinstance(result, Exception):
            return result
        context, traceback = context_of(result), self.origins.setdefault(id(result), traceback_of(result))
        try:
            raise BaseException.with_traceback(result, traceback)
        finally:
            # It may be that of other items, too: none must see where it was raised before. And its traceback has this frame.
            set_context(result, context)
            del result, context, traceback, entry, self
