"""What comes from nowhere: faults, and whom they hit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection

    from weirpool.testing import DeterministicLoop

__all__ = ["Nowhere"]


class Nowhere:
    """Note which tasks are cancelled by faults.

    Args:
        loop: on which they happen.
        steps: the numbers of the steps before which something may happen.
        hit: what is called with a task that was cancelled, as often as that was done.
    """

    def __init__(self, loop: DeterministicLoop, steps: Collection[int], hit: Callable[[asyncio.Task[Any]], None]) -> None:
        self.happened = False
        self._loop = loop
        self._steps = steps
        self._hit = hit
        self._before: dict[asyncio.Task[Any], int] = {}

    def look_out(self) -> None:
        """Look at what happens from now on."""
        intervene = self._loop.intervene
        if intervene is None or not self._steps:
            return

        def intervene_and_note() -> None:
            if self._loop.steps not in self._steps:
                intervene()
                return
            self.happened = True
            self._look()
            intervene()
            self._note()

        self._loop.intervene = intervene_and_note

    def action(self, act: Callable[[], object]) -> Callable[[], None]:
        """Return an action that comes from nowhere. If that cancels somebody, it is the pool's doing."""

        def acting() -> None:
            self._note()
            act()
            self._look()

        return acting

    def _look(self) -> None:
        self._before = {task: task.cancelling() for task in self._loop.tasks().values()}

    def _note(self) -> None:
        for task, times in self._before.items():
            for _ in range(task.cancelling() - times):
                self._hit(task)
