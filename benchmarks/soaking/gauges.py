"""What is measured of this process (on Linux), how late its event loop is, and whatever is logged or warned of."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import linecache
import logging
import os
import sys
import threading
import warnings
from array import array
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .bars import Mistakes

__all__ = ["Noise", "Pulse", "Sample", "Samples", "live_objects", "slope", "take"]

MIB = 1 << 20
_BEAT = 0.01  # seconds


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process had at one moment.

    Attributes:
        done: how many jobs or pools were done by then.
        rss: resident memory, in MiB.
        blocks: allocated blocks of Python's own allocator, which no fragmentation blurs.
        fds: open file descriptors.
        tasks: asyncio tasks that are not done.
        threads: threads.
    """

    done: int
    rss: float
    blocks: int
    fds: int
    tasks: int
    threads: int


_FIELDS = tuple(Sample.__dataclass_fields__)


class Samples:
    """Keep samples, without an object for each: what measures memory must not need more and more of it."""

    def __init__(self) -> None:
        self._columns = {name: array("d") for name in _FIELDS}

    def add(self, sample: Sample) -> None:
        """Keep one more."""
        for name, column in self._columns.items():
            column.append(getattr(sample, name))

    def __len__(self) -> int:
        return len(self._columns["done"])

    def most(self, name: str) -> int:
        """Return the highest value of a field."""
        return int(max(self._columns[name]))

    def first(self, name: str) -> int:
        """Return the first value of a field."""
        return int(self._columns[name][0])

    def grown(self, name: str, warm_up: float) -> tuple[float, float]:
        """Say how a field grew after warm-up: its slope, per thing that was done, and the growth on that line.

        Args:
            name: the field.
            warm_up: which part of all that was done comes before.
        """
        done, values = self._columns["done"], self._columns[name]
        first = next(index for index, count in enumerate(done) if count >= warm_up * done[-1])
        per_one = slope(done[first:], values[first:])
        return per_one, per_one * (done[-1] - done[first])

    def plain(self) -> dict[str, list[float]]:
        """Return all of them as what JSON has, by field."""
        return {name: [round(value, 3) for value in column] for name, column in self._columns.items()}


def take(done: int) -> Sample:
    """Take a sample, inside the running loop."""
    linecache.clearcache()  # the first stack that is logged reads a file of Python, whose 800 lines would stay
    rss = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB
    fds = len(list(Path("/proc/self/fd").iterdir())) - 1  # not the one that lists them
    return Sample(done, rss, sys.getallocatedblocks(), fds, len(asyncio.all_tasks()), threading.active_count())


def slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return the slope of the line of least squares."""
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0


def live_objects(objects: Sequence[Any] | None = None) -> Counter[str]:
    """Count the living objects of weirpool's types, and of those derived from them, by type."""
    ours: dict[type, bool] = {}
    counts: Counter[str] = Counter()
    for thing in gc.get_objects() if objects is None else objects:
        kind = type(thing)
        if kind not in ours:
            ours[kind] = any(str(base.__module__).split(".")[0] == "weirpool" for base in kind.__mro__)
        if ours[kind]:
            counts[kind.__qualname__] += 1
    return counts


class Lateness:
    """How late the loop was, at worst, in seconds."""

    def __init__(self) -> None:
        self.worst = 0.0


class Pulse(Lateness):
    """Feel how late the loop is: what it is to do at a time is done so much later."""

    def __init__(self) -> None:
        super().__init__()
        self._watches: set[Lateness] = {self}
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + _BEAT
        self._timer = self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        now = self._loop.time()
        late = max(0.0, now - self._due)
        for watch in self._watches:
            watch.worst = max(watch.worst, late)
        self._due = now + _BEAT
        self._timer = self._loop.call_at(self._due, self._beat)

    @contextlib.contextmanager
    def watch(self) -> Iterator[Lateness]:
        """Feel it during a block only."""
        watch = Lateness()
        self._watches.add(watch)
        try:
            yield watch
        finally:
            watch.worst = max(watch.worst, self._loop.time() - self._due)  # of a beat that is due just now
            self._watches.remove(watch)

    def stop(self) -> None:
        """Beat no more."""
        self._timer.cancel()


class Noise(logging.Handler):
    """Count what weirpool logs by event; whatever else is logged, warned of or raised in nowhere is a mistake."""

    EVENTS = frozenset(
        f"weirpool.{event}"
        for event in ("pool.opened", "pool.closed", "pool.resized", "submission.refused", "job.failed", "job.abandoned")
    )

    def __init__(self, mistakes: Mistakes) -> None:
        super().__init__(logging.INFO)
        self.counts: Counter[str] = Counter()
        self._mistakes = mistakes

    def install(self) -> None:
        """Listen to everything, from now on: the running loop, too."""
        logging.basicConfig(level=logging.INFO, handlers=[self])
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self._mistakes.note("loop exception", context))
        sys.unraisablehook = lambda raised: self._mistakes.note("unraisable", repr(raised.exc_value))
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: self._mistakes.note("warning", message)

    def emit(self, record: logging.LogRecord) -> None:
        """Count a record."""
        event = str(getattr(record, "event", None))
        if event in self.EVENTS:
            self.counts[event] += 1
        else:
            self._mistakes.note("log record", record.getMessage())
