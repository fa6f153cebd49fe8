"""What was cut off: items that were still under way when all were cancelled, and that are to be done again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weirpool import Failed, PoolState
from weirpool.events import Observer

if TYPE_CHECKING:
    from weirpool.events import JobEnded, PoolMoved

    from ._lines import Line

__all__ = ["CutOff"]


class CutOff(Observer):
    """Know which items have failed because they were cut off.

    What they have failed with does not tell: the function may turn its cancellation into any other exception. When they are
    taken from the results does not tell either: one that has failed before may have waited for its turn.
    """

    def __init__(self) -> None:
        self._cancelling = False
        self._jobs: set[int] = set()

    def pool_moved(self, event: PoolMoved, /) -> None:
        """Hear that all are cancelled, or that this is over."""
        self._cancelling = event.now is PoolState.CANCELLING

    def job_ended(self, event: JobEnded, /) -> None:
        """Hear that a job came to its end."""
        if self._cancelling:
            self._jobs.add(event.id)

    def __contains__(self, failed: Failed[Line]) -> bool:
        if isinstance(failed.error, KeyboardInterrupt | SystemExit):  # which end the event loop in its next turn
            return True
        # The pool has no jobs but those of the items, and numbers them from 1 in their order.
        return failed.index + 1 in self._jobs
