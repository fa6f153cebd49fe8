"""The items: lines of a file or a pipe, without those that were dealt with before.

From a pipe or a terminal nothing may be coming for a while, so the event loop says when something is. Nothing is read in a
thread: that could not be ended while it waits.
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
        text: what it was read from, if the function may change the item.
    """

    number: int
    item: Any
    origin: int | None = None
    text: str | None = None

    def as_it_was(self) -> Any:
        """Return the item as it was read, whatever the function has made of it meanwhile."""
        return self.item if self.text is None else json.loads(self.text)


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
        blank: called with the number of a line that is empty.
        head: what was read of it before.
        saw: called with each piece that is read.

    Attributes:
        read: how many bytes there are in the lines that were read.
        size: how many there are, if it is a file.
        number: how many lines were read.
        items: how many of them were items; one that was dealt with before is not looked at, and counts as one.
    """

    def __init__(
        self,
        file: int,
        *,
        text: bool,
        replay: bool,
        is_done: Callable[[int], bool],
        blank: Callable[[int], None],
        head: bytes = b"",
        saw: Callable[[bytes], object] | None = None,
    ) -> None:
        self._file = file
        self._head = head
        self._saw = saw
        self._parse = _replayed if replay else _text if text else _json
        self._is_done = is_done
        self._blank = blank
        self._stopped = False
        self._waiter: asyncio.Future[None] | None = None
        self._rest: list[bytes] = []
        self._rest_size = 0
        self.read = 0
        self.number = 0
        self.items = 0
        status = os.fstat(file)
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        # Not /dev/null and its like, which are always ready, and of which the loop refuses to say so.
        self._may_wait = stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode) or os.isatty(file)

    def stop(self) -> None:
        """Read no more: the items end here."""
        self._stopped = True
        if self._waiter is not None:
            self._wake(self._waiter)

    async def source(self) -> AsyncIterator[Line | BadLine]:
        """Return the items, to be read once."""
        while not self._stopped and (chunk := self._head or await self._chunk()):
            self._head = b""
            if self._saw is not None:
                self._saw(chunk)
            for line in self._feed(chunk):
                yield line
        for line in self._last():
            yield line

    async def _chunk(self) -> bytes:
        """Return what comes next: wait until there is something to read, or nothing more is to be read."""
        if not self._may_wait:
            await asyncio.sleep(0)  # a turn for others, as there may be many lines that are no items
            return os.read(self._file, _CHUNK)
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

    def _feed(self, chunk: bytes) -> Iterator[Line | BadLine]:
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

    def _last(self) -> Iterator[Line | BadLine]:
        """Return what is left, which no line break ends; a line that was read in part is none."""
        if self._rest and not self._stopped:
            line = self._line(b"".join(self._rest))
            if line is not None:
                yield line
        self._rest.clear()

    def _line(self, raw: bytes) -> Line | BadLine | None:
        self.read += len(raw) + 1
        self.number += 1
        number = self.number
        if number == 1:
            raw = raw.removeprefix(_BOM)
        if self._is_done(number):
            self.items += 1
            return None
        raw = raw.removesuffix(b"\r")
        if not raw or raw.isspace():
            self._blank(number)
            return None
        self.items += 1
        text = ""
        try:
            if len(raw) > MOST:
                raise ValueError(f"a line of more than {MOST:,} bytes")  # noqa: TRY301
            text = raw.decode()
            return self._parse(number, text)
        except (ValueError, RecursionError) as error:
            return BadLine(number, text or raw[:1000].decode(errors="replace"), f"{type(error).__name__}: {error}")


def _text(number: int, text: str) -> Line:
    return Line(number, text)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _json(number: int, text: str) -> Line:
    item = json.loads(text, parse_constant=_refuse)
    return Line(number, item, text=text if isinstance(item, (dict, list)) else None)


def _replayed(number: int, text: str) -> Line:
    entry = json.loads(text, parse_constant=_refuse)
    if not isinstance(entry, dict) or "item" not in entry:
        raise ValueError('no failure as --failures writes it, an object with "item"')
    item = entry["item"]
    return Line(number, item, entry.get("line"), json.dumps(item) if isinstance(item, (dict, list)) else None)
