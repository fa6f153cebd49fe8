"""What a pool's jobs fail with: how often, by type, and the last traceback of each, as text.

As text, because a traceback keeps the arguments of every function in it.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from ._errors import is_a
from ._exits import raise_in_loop
from ._show import type_name
from ._snapshot import FailureType

if TYPE_CHECKING:
    import asyncio

__all__ = ["Failures"]

_TYPES = 50
_OTHERS = "others"
_FRAMES = 10
_BEGINNING, _END = 6000, 2000  # characters of a traceback that are kept
_PERIOD = 1.0  # seconds: to format a traceback takes as long as ten jobs do


class Failures:
    """Count the failures of one pool's jobs.

    Args:
        loop: the pool's event loop.
    """

    __slots__ = ("_loop", "_seen")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._seen: dict[str, _Seen] = {}

    def note(self, error: BaseException, job: str) -> None:
        """Count a failure; its traceback is kept if that of the last of its type is a second old."""
        name, now = type_name(error), self._loop.time()
        if name not in self._seen and len(self._seen) >= _TYPES:
            name = _OTHERS
        seen = self._seen.setdefault(name, _Seen())
        seen.count += 1
        seen.at = now
        if now >= seen.due:
            seen.due = now + _PERIOD
            seen.job = job
            seen.traceback = self._formatted(error)

    def _formatted(self, error: BaseException) -> str:
        try:
            text = "".join(traceback.format_exception(error, limit=-_FRAMES))
        except BaseException as raised:  # by a property of somebody's exception, say
            if is_a(raised, KeyboardInterrupt, SystemExit):
                raise_in_loop(self._loop, raised)
            return ""
        # Not only its end, which may be a long message.
        return text if len(text) <= _BEGINNING + _END else f"{text[:_BEGINNING]}\n[...]\n{text[-_END:]}"

    def by_type(self) -> tuple[FailureType, ...]:
        """Return what there has been, the most frequent type first; another thread may ask."""
        now = self._loop.time()
        return tuple(
            FailureType(name, seen.count, now - seen.at, seen.job, seen.traceback)
            for name, seen in sorted(self._seen.items(), key=lambda item: -item[1].count)
        )


class _Seen:
    """What is known of the failures of one type."""

    __slots__ = ("at", "count", "due", "job", "traceback")

    def __init__(self) -> None:
        self.count = 0
        self.at = 0.0
        self.due = float("-inf")
        self.job = ""
        self.traceback = ""
