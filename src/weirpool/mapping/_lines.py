"""The items: lines of a file or a pipe, without those that were dealt with before.

A file is read in between results, as it is there; from a pipe or a terminal nothing may be coming for a while, so the event
loop says when something is. Nothing is read in a thread: that could not be ended while it waits.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

__all__ = ["MOST", "BadLine", "Line", "Lines"]

_CHUNK = 1 << 16
MOST = 1 << 24  # bytes in a line
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """One item.

    Attributes:
        number: its line in the input, counted from 1.
        item: what it says.
        origin: its line in the input that failed, if this one is replayed.
    """

    number: int
    item: Any
    origin: int | None = None


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that says nothing.

    Attributes:
        number: its line in the input, counted from 1.
        text: what is there.
        message: what is wrong with it.
    """

    number: int
    text: str
    message: str


class Lines:
    """Read items.

    Args:
        file: the descriptor to read from.
        text: whether an item is a line of text, and not of JSON.
        replay: whether lines are failures as this command has written them.
        is_done: says whether a line was dealt with before.
        bad: called with a line that is none.

    Attributes:
        read: how many bytes there are in the lines that were read.
        size: how many there are, if it is a file.
        number: how many lines were read.
        items: how many of them were items that were not dealt with before.
    """

    def __init__(
        self, file: int, *, text: bool, replay: bool, is_done: Callable[[int], bool], bad: Callable[[BadLine], None]
    ) -> None:
        self._file = file
        self._parse = _replayed if replay else _text if text else _json
        self._is_done = is_done
        self._bad = bad
        self._stopped = False
        self._waiter: asyncio.Future[None] | None = None
        self._rest: list[bytes] = []
        self._rest_size = 0
        self.read = 0
        self.number = 0
        self.items = 0
        status = os.fstat(file)
        self.is_file = stat.S_ISREG(status.st_mode)
        self.size = status.st_size if self.is_file else None
        # Not /dev/null and its like, which are always ready, and of which the loop refuses to say so.
        self._may_wait = stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode) or os.isatty(file)

    def stop(self) -> None:
        """Read no more: the items end here."""
        self._stopped = True
        if self._waiter is not None:
            self._wake(self._waiter)

    def source(self) -> Iterator[Line] | AsyncIterator[Line]:
        """Return the items, to be read once."""
        return self._of_pipe() if self._may_wait else self._of_file()

    def _of_file(self) -> Iterator[Line]:
        while not self._stopped and (chunk := os.read(self._file, _CHUNK)):
            yield from self._feed(chunk)
        yield from self._last()

    async def _of_pipe(self) -> AsyncIterator[Line]:
        while not self._stopped and (chunk := await self._chunk()):
            for line in self._feed(chunk):
                yield line
        for line in self._last():
            yield line

    async def _chunk(self) -> bytes:
        """Wait until there is something to read, or nothing more is to be read."""
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        # For one read only: the loop would say once more that there is something, and by then it would have been read.
        loop.add_reader(self._file, self._wake, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            loop.remove_reader(self._file)
        return b"" if self._stopped else os.read(self._file, _CHUNK)

    def _wake(self, waiter: asyncio.Future[None]) -> None:
        if not waiter.done():
            waiter.set_result(None)

    def _feed(self, chunk: bytes) -> Iterator[Line]:
        *whole, rest = chunk.split(b"\n")
        for raw in whole:
            if self._rest:
                self._rest.append(raw)
                raw = b"".join(self._rest)  # noqa: PLW2901
                self._rest.clear()
                self._rest_size = 0
            line = self._line(raw)
            if line is not None:
                yield line
            if self._stopped:
                return
        if rest and self._rest_size <= MOST:  # of a longer line nothing more is kept, as it is none
            self._rest.append(rest)
            self._rest_size += len(rest)

    def _last(self) -> Iterator[Line]:
        """Return what is left, which no line break ends; a line that was read in part is none."""
        if self._rest and not self._stopped:
            line = self._line(b"".join(self._rest))
            if line is not None:
                yield line
        self._rest.clear()

    def _line(self, raw: bytes) -> Line | None:
        self.read += len(raw) + 1
        self.number += 1
        number = self.number
        if number == 1:
            raw = raw.removeprefix(_BOM)
        if self._is_done(number):
            return None
        raw = raw.removesuffix(b"\r")
        if not raw or raw.isspace():
            return None
        self.items += 1
        text = ""
        try:
            if len(raw) > MOST:
                raise ValueError(f"a line of more than {MOST:,} bytes")  # noqa: TRY301
            text = raw.decode()
            return self._parse(number, text)
        except (ValueError, RecursionError) as error:
            self._bad(BadLine(number, text or raw[:1000].decode(errors="replace"), f"{type(error).__name__}: {error}"))
            return None


def _text(number: int, text: str) -> Line:
    return Line(number, text)


def _json(number: int, text: str) -> Line:
    return Line(number, json.loads(text))


def _replayed(number: int, text: str) -> Line:
    entry = json.loads(text)
    if not isinstance(entry, dict) or "item" not in entry:
        raise ValueError('no failure as --failures writes it, an object with "item"')
    return Line(number, entry["item"], entry.get("line"))
