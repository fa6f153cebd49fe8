"""Does a pool wake the process up when it has nothing to do?

Measured: how often per second the event loop wakes up, while a pool of 100 workers is open and idle, after it has run 1,000
jobs with a deadline of 30 s.

Fair because what is counted is what the loop itself does: each return of its selector before the moment for which the
measurement has asked to be woken. So timers, polling and busy loops all count, and the measurement does not.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from functools import partial
from typing import TYPE_CHECKING

from measuring.command import Command, seconds
from measuring.field import Field
from measuring.report import Report, Table

if TYPE_CHECKING:
    import argparse

    from measuring.contestant import Contestant

WORKERS = 100
JOBS = 1_000
DEADLINE = 30.0
MARGIN = 0.02  # seconds; a timer may be a trifle early
TITLE = "idle pool"


class Counting(selectors.DefaultSelector):
    """A selector that counts how often it returns before a moment."""

    until = 0.0
    early = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait, and count."""
        events = super().select(timeout)
        self.early += time.monotonic() < self.until
        return events


async def job() -> None:
    """Yield to the loop once."""
    await asyncio.sleep(0)


async def wake_ups(selector: Counting, kind: type[Contestant], duration: float) -> float:
    """Return the wake-ups per second of an idle pool."""
    async with kind(workers=WORKERS, waiting=JOBS, deadline=DEADLINE) as contestant:
        await asyncio.gather(*(contestant.call(job) for _ in range(JOBS)))
        await asyncio.sleep(0.05)  # whatever it does after the last job is over then
        selector.early, selector.until = 0, time.monotonic() + duration - MARGIN
        await asyncio.sleep(duration)
        return selector.early / duration


def measured(kind: type[Contestant], duration: float) -> float:
    """Measure one contestant, on a loop of its own."""
    selector = Counting()
    with asyncio.Runner(loop_factory=partial(asyncio.SelectorEventLoop, selector)) as runner:
        return runner.run(wake_ups(selector, kind, duration))


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 3, 1, "rounds of each")
COMMAND.number("seconds", 3.0, 0.5, "for how long each is idle, per round", seconds)
COMMAND.peers()


def answer(options: argparse.Namespace) -> Report:
    """Measure each contestant."""
    report = COMMAND.report(options)
    field = Field.of("call", peers=[name for name in options.peers if name != "floor"])
    report.left_out = field.left_out
    rounds: dict[str, list[float]] = {name: [] for name in field.contestants}
    for _ in range(options.rounds):
        for name, kind in field.contestants.items():
            rounds[name].append(measured(kind, options.seconds))
    report.tables.append(Table(TITLE, "wake-ups per second", rounds))
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
