"""The items of one batch, and what becomes of each: its result, or what is raised to its caller."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from . import _checks
from ._circles import refuse_circle
from ._errors import context_of, set_context, traceback_of
from ._lifecycle import SUCCEEDED
from ._runner import as_awaitable
from ._show import function_name, type_name
from ._waiting import release

if TYPE_CHECKING:
    import asyncio
    from asyncio import Future
    from collections.abc import Callable
    from types import TracebackType

    from ._errors import PoolError
    from ._job import Job
    from ._run import Run

__all__ = ["Entry", "Group"]


class Entry:
    """One item, and whoever waits for its result."""

    __slots__ = ("circle", "group", "index", "item", "run", "waiter", "woken")

    def __init__(self, item: Any, group: Group) -> None:
        self.item = item
        self.group = group
        self.index = 0
        """Where it is in the list."""
        self.woken = False
        self.waiter: Future[None] | None = None
        self.run: Run | None = None
        """That of the job whose own task waits."""
        self.circle: RuntimeError | None = None
        """Why it must not wait."""

    def wake(self) -> None:
        """Have the caller look what has happened."""
        self.woken = True
        if self.waiter is not None:
            release(self.waiter)


class Group:
    """The items of one job; to which this is a waiter, and so it hears in time that this ends."""

    __slots__ = ("_on_end", "entries", "error", "job", "leader", "origins", "over", "targets", "timer", "until")

    def __init__(self, on_end: Callable[[Group], None]) -> None:
        self._on_end = on_end
        self.entries: dict[Entry, None] = {}
        """Of the callers that have not gone."""
        self.timer: asyncio.Handle | None = None
        self.leader: Entry | None = None
        self.until: float | None = None
        """When whoever leads is out of patience."""
        self.job: Job
        self.origins: dict[int, TracebackType | None] = {}
        """Of exceptions in the place of results: the tracebacks that they came with."""
        self.targets: list[Job] = []
        """The job, once it was accepted."""
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
        self._on_end(self)
        for entry in self.entries:
            entry.wake()

    def accepted(self) -> None:
        """Note that the job was accepted, and tell those for whom it would wait, as they wait for it."""
        self.targets.append(self.job)
        for entry in self.entries:
            if entry.run is not None and not self.over:
                try:
                    refuse_circle(entry.run, self.job)
                except RuntimeError as refusal:
                    entry.circle = refusal.with_traceback(None)
                    entry.wake()

    @property
    def begun(self) -> bool:
        """Whether it was."""
        return bool(self.targets)

    def elect(self) -> None:
        """Have the first of the callers stand in line for all."""
        self.leader = next(iter(self.entries))
        self.leader.wake()

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
