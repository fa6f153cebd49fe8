"""Tasks and futures that are numbered, so that sets of them are in the same order in every process.

In asyncio the order in which a set of tasks is gone through depends on where they lie in memory, and so on all that the
process has done before. A seed would then mean something else each time.
"""

from __future__ import annotations

import asyncio
import itertools
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

__all__ = ["NumberedTask", "NumberingLoop"]


class NumberingLoop(asyncio.BaseEventLoop):
    """A loop that numbers its tasks and futures, and knows its tasks by their numbers."""

    if TYPE_CHECKING:
        _asyncgens: Any
        _check_closed: Callable[[], None]

    def __init__(self) -> None:
        super().__init__()
        self._future_numbers = itertools.count(1)
        self._task_numbers = itertools.count(1)
        self._tasks: weakref.WeakValueDictionary[int, asyncio.Task[Any]] = weakref.WeakValueDictionary()
        self._asyncgens = _WeakSetInOrder()

    def tasks(self) -> dict[int, asyncio.Task[Any]]:
        """Return the tasks that have not ended, by number: 1 is the first that was made on this loop."""
        return {number: task for number, task in sorted(self._tasks.items()) if not task.done()}

    def stacks(self) -> str:
        """Return where each task that has not ended is waiting, with its number and name."""
        return "\n".join(
            f"  {number} {task.get_name()}: {' > '.join(_frames(task.get_coro())) or 'not started'}"
            for number, task in self.tasks().items()
        )

    def next_task(self) -> int:
        """Return the number of the next task."""
        return next(self._task_numbers)

    def enlist(self, number: int, task: asyncio.Task[Any]) -> None:
        """Put a task on the list of those that there are."""
        self._tasks[number] = task

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """Return a new task, which has a number."""
        if self.get_task_factory() is None:
            self._check_closed()
            return NumberedTask(coro, loop=self, **options)
        task = super().create_task(coro, **options)
        if not isinstance(task, NumberedTask):
            self.enlist(self.next_task(), task)
        return task

    def set_task_factory(self, factory: Any) -> None:
        """Set how tasks are made; asyncio's own eager factory makes numbered tasks, too."""
        if factory is not None and factory is getattr(asyncio, "eager_task_factory", None):
            factory = asyncio.create_eager_task_factory(NumberedTask)  # type: ignore[attr-defined,unused-ignore]  # 3.12+
        super().set_task_factory(factory)

    def create_future(self) -> asyncio.Future[Any]:
        """Return a new future, which has a number."""
        return _NumberedFuture(next(self._future_numbers), loop=self)


class NumberedTask(asyncio.Task[Any]):
    """A task whose hash is its number: what a task factory should make, so that sets of its tasks are always in one order."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, loop: NumberingLoop, **options: Any) -> None:
        # super().__init__() needs it: it puts the task into a set, and may run it (eagerly).
        self.number: int = loop.next_task()
        if options.get("name") is None:
            options["name"] = f"Task-{self.number}"
        super().__init__(coro, loop=loop, **options)
        loop.enlist(self.number, self)

    def __hash__(self) -> int:
        return self.number


class _NumberedFuture(asyncio.Future[Any]):
    def __init__(self, number: int, *, loop: NumberingLoop) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class _WeakSetInOrder(weakref.WeakKeyDictionary[Any, None]):
    """As much of a weak set as a loop needs for its asynchronous generators, in the order in which they came."""

    def add(self, item: Any) -> None:
        self[item] = None

    def discard(self, item: Any) -> None:
        self.pop(item, None)


def _frames(coroutine: Any) -> Generator[str, None, None]:
    """Name the lines at which a suspended coroutine stands, the outermost first."""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            yield f"{frame.f_code.co_qualname} (line {frame.f_lineno})"
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
