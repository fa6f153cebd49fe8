"""The journal: which lines have been dealt with, and how much of the output was written by then.

A file of JSON lines. The first says what it is the journal of. Each of the others adds to it: lines that are done, and how
long output and failures were when their results were there. It is written after these. So whenever the process is killed, what
the journal says is true, and the outputs may have more than it says: that is cut off before going on, as those lines will be
done again. The last line may be torn, and counts for nothing then.

When it is opened, it is written anew in as few lines as possible: its size is bounded by what one run adds.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import select
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ._errors import CommandError
from ._writing import write_all

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Journal", "Ranges", "anew", "fingerprint"]

_FIRST = 1 << 16  # bytes that tell one input from another


class Ranges:
    """Hold whole numbers, of which most come in their order."""

    __slots__ = ("_far", "_next")

    def __init__(self) -> None:
        self._next = 1
        self._far: set[int] = set()

    def add(self, number: int) -> None:
        """Add a number from 1."""
        if number == self._next:
            self._next += 1
            while self._next in self._far:
                self._far.remove(self._next)
                self._next += 1
        elif number > self._next:
            self._far.add(number)

    def __contains__(self, number: int) -> bool:
        return number < self._next or number in self._far

    def __len__(self) -> int:
        return self._next - 1 + len(self._far)

    def pairs(self) -> list[list[int]]:
        """Return the first and the last of each run of them."""
        pairs = [[1, self._next - 1]] if self._next > 1 else []
        return pairs + in_pairs(self._far)


def in_pairs(numbers: Iterable[int]) -> list[list[int]]:
    """Return the first and the last of each run of consecutive numbers."""
    pairs: list[list[int]] = []
    for number in sorted(numbers):
        if pairs and pairs[-1][1] == number - 1:
            pairs[-1][1] = number
        else:
            pairs.append([number, number])
    return pairs


def fingerprint(file: int, first: int = _FIRST) -> dict[str, Any]:
    """Return what tells a file from another: its first bytes, how many these are, and how many there are."""
    size = os.fstat(file).st_size
    return _fingerprint(os.pread(file, min(first, size), 0), size)


def _fingerprint(head: bytes, size: int) -> dict[str, Any]:
    return {"size": size, "first": len(head), "sha256": hashlib.sha256(head).hexdigest()}


def _head(pipe: int, size: int) -> bytes:
    """Read the first bytes of a pipe: as it is the same again, so many come."""
    head = b""
    while len(head) < size:
        select.select([pipe], [], [])  # as it may be one that does not block
        more = os.read(pipe, size - len(head))
        if not more:
            break
        head += more
    return head


class Journal:
    """Read and write one journal.

    Args:
        path: where it is.
        about: what it is to be the journal of.
        input: the descriptor of the input.

    Attributes:
        head: what had to be read of an input that can't be read twice, to compare it with that of the runs before.
        done: the lines that have been dealt with.
        failed: how many of them have failed.
        output: how long the output is, in bytes, as far as it counts.
        failures: the same of the failures.
        fresh: whether there was none before.

    Raises:
        CommandError: it can't be used: another process uses it, it belongs to another call of the command, or is none.
    """

    def __init__(self, path: Path, about: dict[str, Any], input: int) -> None:  # noqa: A002
        self._path = path
        self._news: dict[str, Any] = {}
        self.head = b""
        self.done = Ranges()
        self.failed = self.output = self.failures = 0
        self._file = self._opened()
        try:
            is_file = stat.S_ISREG(os.fstat(input).st_mode)
            self._about = {"weirpool": "journal", "version": 1, **about, "input": fingerprint(input) if is_file else None}
            self.fresh = self._read(self._about, input)
        except BaseException:
            os.close(self._file)
            raise

    def begin(self) -> None:
        """Write it anew; before that, nothing of it has been changed.

        Raises:
            CommandError: it can't be written.
        """
        try:
            self._write_anew(self._about)
        except OSError as error:
            raise CommandError(f"--journal: {error}") from error

    def saw(self, piece: bytes) -> None:
        """Hear what was read of the input; if it can't be read twice, the first piece is what tells it from another."""
        if self._about["input"] is None:
            self._about["input"] = self._news["input"] = _fingerprint(piece, 0)

    def note(self, lines: Iterable[int], failed: int, output: int, failures: int) -> bytes:
        """Note that lines have been dealt with, and return what is to be written for that once their results are there."""
        lines = list(lines)
        for line in lines:
            self.done.add(line)
        self.failed += failed
        self.output, self.failures = output, failures
        return self._entry(in_pairs(lines))

    def write(self, entry: bytes) -> None:
        """Write what `note` has returned."""
        write_all(self._file, entry)

    def close(self) -> None:
        """Bring it to the disk, and close it."""
        with suppress(OSError):  # of a file system without that
            os.fsync(self._file)
        os.close(self._file)

    def _entry(self, done: list[list[int]]) -> bytes:
        entry = {"done": done, "failed": self.failed, "output": self.output, "failures": self.failures, **self._news}
        self._news.clear()
        return json.dumps(entry, separators=(",", ":")).encode() + b"\n"

    def _opened(self) -> int:
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
        except OSError as error:
            raise CommandError(f"--journal: {error}") from error
        if not stat.S_ISREG(os.fstat(file).st_mode):  # as it is to be replaced
            os.close(file)
            raise CommandError(f"--journal: {self._path} is no regular file")
        self._lock(file)
        if not os.path.samestat(os.fstat(file), self._path.stat()):  # another process has written it anew in between
            os.close(file)
            raise CommandError(f"--journal: {self._path} is in use by another process")
        return file

    def _lock(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            raise CommandError(f"--journal: {self._path} is in use by another process") from error

    def _read(self, about: dict[str, Any], input: int) -> bool:  # noqa: A002
        """Read what is there; say whether that is nothing."""
        with open(self._file, "rb", closefd=False) as file:
            *lines, torn = file.read().split(b"\n")
        if not lines:
            if torn:  # a first line that is torn there is not, see `_write_anew`
                raise CommandError(f"--journal: {self._path} is no journal of this command; it was left as it is")
            return True
        try:
            header, *entries = map(json.loads, lines)
            entries[0]  # which comes in one step with the header
            for entry in entries:
                self._read_entry(entry)
                header["input"] = entry.get("input", header["input"])
            was = {name: header[name] for name in about}
        except (ValueError, TypeError, LookupError) as error:
            raise CommandError(f"--journal: {self._path} is no journal of this command; it was left as it is") from error
        before = was.pop("input")
        for name, value in was.items():
            if value != about[name]:
                call = f"a call with {name} {value!r}, and this has {about[name]!r}"
                raise CommandError(f"--journal: {self._path} belongs to {call}")
        if before is not None:
            self._compare(before, input)
        return False

    def _compare(self, before: dict[str, Any], input: int) -> None:  # noqa: A002
        """Refuse an input that is not the one of the runs before."""
        if self._about["input"] is None:
            self.head = _head(input, before["first"])
            self._about["input"] = before
            now = _fingerprint(self.head, before["size"])
        else:
            now = fingerprint(input, before["first"])
        if now["sha256"] != before["sha256"] or now["size"] < before["size"]:
            why = "or this one has changed; it may grow, and no more"
            raise CommandError(f"--journal: {self._path} belongs to another input, {why}")
        if now["size"] > before["size"] > 0 and os.pread(input, 1, before["size"] - 1) != b"\n":
            raise CommandError("--journal: the input has grown in the midst of a line, which may have been read as it was")

    def _read_entry(self, entry: dict[str, Any]) -> None:
        for first, last in entry["done"]:
            for line in range(first, last + 1):
                self.done.add(line)
        self.failed, self.output, self.failures = (int(entry[name]) for name in ("failed", "output", "failures"))

    def _write_anew(self, about: dict[str, Any]) -> None:
        """Write in as few lines as possible what there is to say, in one step."""
        path = anew(self._path)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._lock(file)  # before it has the name, by which others find it
        try:
            write_all(file, json.dumps(about, separators=(",", ":")).encode() + b"\n" + self._entry(self.done.pairs()))
            os.fsync(file)
            path.replace(self._path)
        except BaseException:
            os.close(file)
            path.unlink(missing_ok=True)
            raise
        os.close(self._file)
        self._file = file


def anew(path: Path) -> Path:
    """Return where a journal is written anew, before that takes its place."""
    return path.with_name(path.name + ".new")
