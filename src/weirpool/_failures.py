"""What a pool's jobs fail with: how often, by type, and the last traceback of each, as text.

As text, because a traceback keeps the arguments of every function in it.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from ._errors import cause_of, context_of, is_a, is_context_hidden, members_of, traceback_of
from ._exits import raise_in_loop
from ._show import full_type_name, type_name
from ._snapshot import FailureType

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

__all__ = ["Failures"]

_TYPES = 50
_OTHERS = "others"
_FRAMES, _CAUSES, _MEMBERS = 10, 5, 3  # of each that are told
_BEGINNING, _END = 6000, 2000  # characters of a traceback that are kept
_PERIOD = 1.0  # seconds: to format a traceback takes as long as ten jobs do


class Failures:
    """Count the failures of one pool's jobs.

    Args:
        loop: the pool's event loop.
    """

    __slots__ = ("_due", "_loop", "_seen")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # By type: how many, when the last came, the job whose traceback was kept, and that. Replaced and never changed, as
        # another thread may look at them.
        self._seen: dict[str, tuple[int, float, str, str]] = {}
        self._due: dict[str, float] = {}

    def note(self, error: BaseException, job: str) -> None:
        """Count a failure; its traceback is kept if that of the last of its type is a second old."""
        name, now = type_name(error), self._loop.time()
        if name not in self._seen and len(self._seen) >= _TYPES:
            name = _OTHERS
        count, _, of, text = self._seen.get(name, (0, now, job, ""))
        if now >= self._due.get(name, now):
            self._due[name] = now + _PERIOD
            of, text = job, self._formatted(error)
        self._seen[name] = count + 1, now, of, text

    def _formatted(self, error: BaseException) -> str:
        try:
            text = "".join(_told(error, _CAUSES))
        except BaseException as raised:  # by a property of somebody's exception, say
            if is_a(raised, KeyboardInterrupt, SystemExit):
                raise_in_loop(self._loop, raised)
            return ""
        # Not only its end, which may be a long message.
        return text if len(text) <= _BEGINNING + _END else f"{text[:_BEGINNING]}\n[...]\n{text[-_END:]}"

    def by_type(self) -> tuple[FailureType, ...]:
        """Return what there has been, the most frequent type first; another thread may ask."""
        seen = sorted(self._seen.items(), key=lambda item: -item[1][0])
        now = self._loop.time()
        return tuple(FailureType(name, count, now - at, job, text) for name, (count, at, job, text) in seen)


def _told(error: BaseException, causes: int) -> Iterator[str]:
    """Tell how an exception came to be, as Python does, but with a bound: a chain, or a group of itself, may have no end.

    What the exception says of these is not asked, only what it is.
    """
    before, said = cause_of(error), _CAUSE
    if before is None and not is_context_hidden(error):
        before, said = context_of(error), _CONTEXT
    if before is not None and causes:
        yield from _told(before, causes - 1)
        yield f"\n{said}\n\n"
    message = _message(error)
    frames = traceback.format_tb(traceback_of(error), limit=-_FRAMES)
    if frames:
        yield "Traceback (most recent call last):\n"
        yield from frames
    yield f"{full_type_name(error).removeprefix('__main__.')}{message and ': '}{message}\n"
    if is_a(error, BaseExceptionGroup) and causes:
        members = members_of(error)
        for number, member in enumerate(members[:_MEMBERS], 1):
            yield f"----- {number} of {len(members)}\n"
            yield from _told(member, causes - 1)


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "<exception str() failed>"


_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"
