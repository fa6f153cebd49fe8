"""What a person sees of it: one line that changes on a terminal, else a line now and then."""

from __future__ import annotations

import logging
import shutil
import time
from typing import TYPE_CHECKING, TextIO

from weirpool._plain import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from weirpool import PoolStats

    from ._lines import Lines
    from ._outputs import Outputs

__all__ = ["Progress", "duration", "fitting", "milliseconds"]

_OFTEN = 0.2  # seconds
_SELDOM = 10.0
_RECENT = 0.3  # what the newest rate counts for, beside those before


class Progress(logging.Handler):
    """Show how far the command has come; log records and messages get lines of their own.

    Args:
        stream: where to, standard error.
        terminal: whether that is one.
        quiet: whether nothing is shown but messages.
        total: how many items there are, if that is known.
        before: how many of these were dealt with before this run.
        lines: what has been read.
        outputs: what has been written.
        stats: returns the pool's statistics.
        clock: returns the time, in seconds.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        terminal: bool,
        quiet: bool,
        total: int | None,
        before: int,
        lines: Lines,
        outputs: Outputs,
        stats: Callable[[], PoolStats],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(logging.WARNING)
        self.interval = _OFTEN if terminal else _SELDOM
        self.note = ""
        self._stream = stream
        self._terminal = terminal
        self._quiet = quiet
        self._total = total
        self._before = before
        self._lines = lines
        self._outputs = outputs
        self._stats = stats
        self._clock = clock
        self._began = self._seen_at = clock()
        self._seen = 0
        self._rate = 0.0

    @property
    def done(self) -> int:
        """How many items are done, of this run."""
        return self._outputs.succeeded + self._outputs.failed

    def emit(self, record: logging.LogRecord) -> None:
        """Show a log record."""
        for line in self.format(record).split("\n"):
            self.say(line)

    def say(self, message: str) -> None:
        """Show a message, on a line of its own."""
        message = plain(message)  # which may quote an item
        self._write(f"\r\x1b[K{message}\n" if self._terminal and not self._quiet else f"{message}\n")

    def show(self) -> None:
        """Show how far it has come."""
        if not self._quiet:
            line = self.line()
            if self._terminal:
                self._write(f"\r{fitting(line, shutil.get_terminal_size().columns - 1)}\x1b[K")
            else:
                self._write(f"{line}\n")

    def end(self) -> None:
        """Show how it has ended."""
        if not self._quiet:
            taken = self._clock() - self._began
            rate = self.done / taken if taken > 0 else 0.0
            self.say(f"{self.done:,} done in {duration(taken)}, {rate:,.0f}/s, {self._outputs.failed:,} failed{self._times()}")

    def line(self) -> str:
        """Return the line that says how far it has come."""
        now, done = self._clock(), self.done
        if now > self._seen_at:
            rate = (done - self._seen) / (now - self._seen_at)
            self._rate = rate if not self._seen else _RECENT * rate + (1 - _RECENT) * self._rate
            self._seen, self._seen_at = done, now
        done += self._before
        parts = [self._how_far(done), f"{self._rate:,.0f}/s"]
        total = self._guess()
        if total is not None and self._rate > 0 and total > done:
            parts.append(f"{duration((total - done) / self._rate)} left")
        parts.append(f"{self._outputs.failed:,} failed")
        return (f"{self.note}: " if self.note else "") + ", ".join(parts) + f", {self._stats().running} running{self._times()}"

    def _how_far(self, done: int) -> str:
        total = self._guess()
        if not total:
            return f"{done:,} done"
        about = "" if self._total is not None else "~"
        return f"{done:,} of {about}{total:,} ({min(done / total, 1):.0%})"

    def _guess(self) -> int | None:
        """Return how many items there are: that is said, or follows from how long the file is and its lines are."""
        if self._total is not None:
            return self._total
        lines = self._lines
        if lines.size is None or not lines.read or not lines.items:
            return None
        if lines.read >= lines.size:
            return lines.items
        whole = lines.number * lines.size / lines.read
        return max(lines.items, round(whole - (lines.number - lines.items)))

    def _times(self) -> str:
        times = self._stats().run_time
        return "" if times is None else f", p50 {milliseconds(times.p50)}, p99 {milliseconds(times.p99)}"

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads it: that is no reason to stop
            pass


def fitting(line: str, width: int) -> str:
    """Return a line without those of its last parts for which there is no room; of the first, what there is room for."""
    while len(line) > width and ", " in line:
        line = line.rpartition(", ")[0]
    return line[:width]


def duration(seconds: float) -> str:
    """Return a time as a person would say it."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def milliseconds(seconds: float) -> str:
    """Return how long a job has taken."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"
