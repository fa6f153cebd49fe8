"""The handles of jobs in the order in which these end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from ._handle import JobHandle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["Completed"]


class Completed(AsyncIterator[JobHandle[Any]]):
    """Iterate over jobs that have ended.

    Args:
        ended: those that have, in that order; it grows.
        more_than: waits until there are more of them than a number; False: there will not be.
    """

    __slots__ = ("_ended", "_more_than", "_next")

    def __init__(self, ended: Sequence[JobHandle[Any]], more_than: Callable[[int], Awaitable[bool]]) -> None:
        self._ended = ended
        self._more_than = more_than
        self._next = 0

    async def __anext__(self) -> JobHandle[Any]:
        """Return the next that ends; cancelling this loses none.

        Raises:
            StopAsyncIteration: all have ended and been handed out, or the block of the group was left.
        """
        while await self._more_than(self._next):
            if self._next < len(self._ended):  # else another task has been faster, or the block was left
                self._next += 1
                return self._ended[self._next - 1]
        raise StopAsyncIteration
