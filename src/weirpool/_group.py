"""The task group that a pool's jobs belong to, and which they leave by themselves.

Of asyncio's it uses names that are not promised to stay, `_tasks` and `_on_task_done`: tests/test_group.py checks what they do
on each Python from 3.11 to 3.15.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from ._run import Run

__all__ = ["JobGroup"]

# From Python 3.14 on, for whoever looks at the graph of tasks: `python -m asyncio pstree`.
_add_to_graph: Any = getattr(asyncio, "future_add_to_awaited_by", None)


class JobGroup(asyncio.TaskGroup):
    """A task group that is not called back at the end of each task, which costs a turn of the loop per job.

    That is how asyncio's hears of a task that fails. A job's task does not: whatever the job raises ends in it. So it leaves
    the group in its last step, if all is well; and what has not left by the time the group is left is waited for as ever.

    Attributes:
        members: the tasks that have not left and the runs that they were made for, in the order in which they came.
    """

    members: dict[asyncio.Task[Any], Run]

    if TYPE_CHECKING:
        _tasks: set[asyncio.Task[Any]]
        _parent_task: asyncio.Task[Any]

        def _on_task_done(self, task: asyncio.Task[Any]) -> None: ...

    def __init__(self) -> None:
        super().__init__()
        members: dict[Any, Run] = {}
        self.members = members
        self.enter: Callable[[asyncio.Task[Any], Run], object] = members.__setitem__ if _add_to_graph is None else self._enter
        """Take a task in, which is going to leave by itself."""
        self.leave: Callable[[asyncio.Task[Any] | None, None], object] = members.pop
        """Let a task go that is taking its last step; the None says that it may have gone already."""

    def _enter(self, task: asyncio.Task[Any], run: Run) -> None:
        self.members[task] = run
        _add_to_graph(task, self._parent_task)

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Keep a task that is about to fail, and be called back at its end, as by any other task of a group."""
        self.leave(task, None)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done, context=Context())

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for the tasks that have not left."""
        for task in self.members:
            self._tasks.add(task)
            task.add_done_callback(self._on_task_done)
        await super().__aexit__(exc_type, exc, traceback)
