"""What the command writes: results, failures and journal, gathered for a moment and written together.

The order is what makes a journal true at any moment: results and failures first, then the line that says that they are
there. They are written in a thread, as whoever reads a pipe may take his time; meanwhile jobs go on.
"""

from __future__ import annotations

import asyncio
import json
import os
import stat
from typing import TYPE_CHECKING, Any, Self

from ._errors import CommandError
from ._writing import write_all

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from ._journal import Journal
    from ._lines import BadLine, Line

__all__ = ["Outputs", "cut", "opened"]

_MOMENT = 0.05  # seconds for which results are gathered
_MANY = 1 << 18  # bytes of them that are not kept waiting
_SHOWN = 5


def opened(name: str, path: Path, journal: Journal | None, end: int) -> int:
    """Return a descriptor of a file to write to, in which nothing is changed as yet.

    Raises:
        CommandError: it can't be opened, or is not as it was left.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if journal is not None:
            size = os.fstat(file).st_size
            if journal.fresh and size:
                os.close(file)
                raise CommandError(f"{name}: {path} is not empty, and the journal says nothing of it: move one of them away")
            if size < end:
                os.close(file)
                raise CommandError(f"{name}: {path} is shorter than the journal says ({size:,} of {end:,} bytes)")
    except OSError as error:
        raise CommandError(f"{name}: {error}") from error
    return file


def cut(file: int, end: int) -> None:
    """Cut a file off where what counts of it ends; what is no file stays as it is."""
    if stat.S_ISREG(os.fstat(file).st_mode):
        os.ftruncate(file, end)
        os.lseek(file, end, os.SEEK_SET)


class Outputs:
    """Gather what is to be written, and write it; as an async context manager, all of it, whatever ends the block.

    Args:
        results: where results go.
        failures: where failures go; None: nowhere.
        journal: what is told that they are there, or None.
        numbered: whether a result says of which line it is.

    Attributes:
        succeeded: how many results there were.
        failed: how many failures.
        first_failures: what is to be said of the first few of these.
    """

    def __init__(self, results: int, failures: int | None, journal: Journal | None, *, numbered: bool = False) -> None:
        self._numbered = numbered
        self._files = (results, failures)
        self._journal = journal
        self._texts: tuple[list[str], list[str]] = ([], [])
        self._ends = [0, 0] if journal is None else [journal.output, journal.failures]
        self._lines: list[int] = []
        self._new_failures = 0
        self._gathered = 0
        self._due = asyncio.Event()
        self._lock = asyncio.Lock()
        self._writing: asyncio.Future[None] | None = None
        self.succeeded = 0
        self.failed = 0
        self.first_failures: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.flush()

    def succeed(self, line: Line, result: Any) -> None:
        """Add the result of a line.

        Raises:
            TypeError: it is nothing that JSON has.
            ValueError: neither.
            RecursionError: it is too deep.
        """
        if self._numbered:
            result = {"line": _origin(line), "result": result}
        text = json.dumps(result, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()  # which a lone surrogate can't be
        self.succeeded += 1
        self._add(0, line.number, text)

    def fail(self, line: Line, error: BaseException) -> None:
        """Add an item that has failed."""
        entry = {"line": _origin(line), "item": line.as_it_was(), **_about(error)}
        self._fail(line.number, entry)

    def fail_line(self, line: BadLine) -> None:
        """Add a line that is none."""
        self._fail(line.number, {"line": line.number, "text": line.text, "error": "BadLine", "message": line.message})

    def pass_over(self, number: int) -> None:
        """Note that a line has no item."""
        self._lines.append(number)
        self._due.set()

    def _fail(self, number: int, entry: dict[str, Any]) -> None:
        self.failed += 1
        self._new_failures += 1
        if len(self.first_failures) < _SHOWN:
            self.first_failures.append(entry)
        self._add(1, number, json.dumps(entry, separators=(",", ":")))

    def _add(self, which: int, number: int, text: str) -> None:
        if self._files[which] is not None:
            self._texts[which].append(text)
            self._gathered += len(text)
        self._lines.append(number)
        self._due.set()

    @property
    def many(self) -> bool:
        """Whether so much is gathered that it has to be written before there is more."""
        return self._gathered > _MANY

    async def keep_writing(self) -> None:
        """Write what has been gathered, moment for moment, until this is cancelled."""
        while True:
            await self._due.wait()
            await asyncio.sleep(_MOMENT)
            await self.flush()

    async def flush(self) -> None:
        """Write what has been gathered."""
        async with self._lock:
            await self._written()  # what another has begun, who was cancelled meanwhile
            self._due.clear()
            if not self._lines:
                return
            lines, failed = self._lines, self._new_failures
            data = ["".join(f"{text}\n" for text in texts).encode() for texts in self._texts]
            self._lines, self._texts, self._new_failures, self._gathered = [], ([], []), 0, 0
            self._ends = [end + len(part) for end, part in zip(self._ends, data, strict=True)]
            entry = b"" if self._journal is None else self._journal.note(lines, failed, *self._ends)
            # Not `anyio.to_thread`, which may be cancelled before it begins: what was taken out here is nowhere else.
            self._writing = asyncio.get_running_loop().run_in_executor(None, self._write, data, entry)
            await self._written()

    async def _written(self) -> None:
        """Wait until what is being written has been."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
            self._writing.result()  # what has failed stays here, and so nothing is written after it
            self._writing = None

    def _write(self, data: list[bytes], entry: bytes) -> None:
        for file, part in zip(self._files, data, strict=True):
            if file is not None:
                write_all(file, part)
        if self._journal is not None:
            self._journal.write(entry)


def _origin(line: Line) -> int:
    return line.number if line.origin is None else line.origin


def _about(error: BaseException) -> dict[str, Any]:
    """Return what is to be said of an exception, which is a user's and may be a trap."""
    try:
        message = str(error)
    except Exception:
        message = "(its message can't be shown)"
    about: dict[str, Any] = {"error": type(error).__name__, "message": message[:10_000]}
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    if where is not None:
        about["where"] = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}"
    return about
