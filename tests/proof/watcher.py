"""An observer that writes down what it hears, for the oracle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from weirpool.events import JobAccepted, JobEnded, JobStarted, Observer, PoolMoved, StrayEnded, SubmitRefused

from .jobs import BareBoom

if TYPE_CHECKING:
    from weirpool import PoolStats

    from .world import World

__all__ = ["Watcher"]

# What an observer may raise; KeyboardInterrupt and SystemExit, which stop the loop, are tested in test_r19 alone.
_BUGS = (RuntimeError, BareBoom, asyncio.CancelledError, GeneratorExit, StopIteration, MemoryError)


class Watcher(Observer):
    """An observer that writes down each job's history, and raises when it is told to."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._histories: dict[int, str] = {}
        self._last_started = 0
        self._bug: type[BaseException] | None = None
        self._dropped = False
        self.meddled_with = False

    def raise_next(self) -> None:
        """Raise when called next, this or that kind of exception, after which the pool calls no more."""
        self._bug = _BUGS[self._world.loop.steps % len(_BUGS)]

    def _note(self, event: JobAccepted | JobStarted | JobEnded | StrayEnded, letter: str) -> None:
        self._histories[event.id] = self._histories.get(event.id, "") + letter
        self._maybe_raise()

    def _maybe_raise(self) -> None:
        if self._dropped:
            self._world.violation("R19: an observer that had raised was called again")
        if self._bug is not None:
            self._dropped = True
            raise self._bug

    def job_accepted(self, event: JobAccepted, /) -> None:
        """Note it."""
        self._note(event, "A")

    def job_started(self, event: JobStarted, /) -> None:
        """Note it, and see that jobs start in the order in which they were accepted."""
        if event.id < self._last_started and not self.meddled_with and not self._world.unordered:
            self._world.violation(f"R3: job {event.id} started after job {self._last_started}")
        self._last_started = event.id
        self._note(event, "S")

    def job_ended(self, event: JobEnded, /) -> None:
        """Note it."""
        self._note(event, "E")

    def stray_ended(self, event: StrayEnded, /) -> None:
        """Note it."""
        self._note(event, "X")

    def submit_refused(self, event: SubmitRefused, /) -> None:
        """Raise if told to."""
        self._maybe_raise()

    def pool_moved(self, event: PoolMoved, /) -> None:
        """Raise if told to."""
        self._maybe_raise()

    def judge(self, stats: PoolStats) -> None:
        """See that every job came to one end, and had been accepted."""
        if self._dropped or not self._histories:
            return
        histories = {number: "".join(sorted(letters)) for number, letters in self._histories.items()}
        if not self.meddled_with:
            histories = self._histories
        if wrong := {
            number: history for number, history in histories.items() if history not in {"AE", "ASE", "ASEX", "AES", "AESX"}
        }:
            self._world.violation(f"R1: histories that cannot be: {wrong}")
        if len(self._histories) != stats.accepted:
            self._world.violation(f"R19: {stats.accepted} jobs were accepted, observers heard of {len(self._histories)}")
