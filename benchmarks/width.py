"""Does a pool of many workers cost more per job than a pool of few?

Measured: 20,000 callers, each of which submits one job after the other and awaits its result, with a deadline of 30 s on
each; 10, 100, 1,000 and 10,000 workers, all busy; a job that yields to the loop once.

Fair because nothing but the number of workers differs: the callers, who take memory and cache themselves, are as many for all.
The pools of all widths live in one process and take turns, round by round, and each contestant is compared with itself only.
More jobs at once touch more memory, so the machine itself makes 1.0 hard to reach. (`asyncio.Semaphore` searches its line for
whom to wake, past all whom it has woken: it gets slow when many calls end in the same turn of the loop.)
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from measuring.command import Command
from measuring.field import Field
from measuring.report import Report, Table
from measuring.rounds import interleaved

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from measuring.contestant import Contestant

DEADLINE = 30.0


async def job() -> None:
    """Yield to the loop once."""
    await asyncio.sleep(0)


async def timed(contestant: Contestant, callers: int, calls: int) -> float:
    """Return the microseconds per call."""

    async def caller() -> None:
        for _ in range(calls):
            await contestant.call(job)

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(caller())
    return (time.perf_counter() - start) / (callers * calls) * 1e6


async def measure(
    kind: type[Contestant], widths: Sequence[int], rounds: int, callers: int, calls: int
) -> dict[str, list[float]]:
    """Time one contestant at all widths."""
    async with AsyncExitStack() as stack:
        runs = {}
        for width in widths:
            contestant = await stack.enter_async_context(kind(workers=width, waiting=callers, deadline=DEADLINE))
            runs[f"{width:,}"] = partial(timed, contestant, callers, calls)
        return await interleaved(rounds, runs)


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 5, 3, "rounds of each width")
COMMAND.number("callers", 20_000, 20_000, "callers")
COMMAND.number("calls", 2, 1, "calls of each caller, per round")
COMMAND.numbers("widths", (10, 100, 1_000, 10_000), (100, 10_000), "how many workers")
COMMAND.peers()


def answer(options: argparse.Namespace) -> Report:
    """Measure each contestant; only weirpool, if it has to be quick."""
    report = COMMAND.report(options)
    peers = () if options.quick else [name for name in options.peers if name != "floor"]  # which has no width
    field = Field.of("call", peers=peers)
    report.left_out = field.left_out
    widths = sorted(options.widths)
    base = 100 if 100 in widths else widths[0]
    for name, kind in field.contestants.items():
        rounds = asyncio.run(measure(kind, widths, options.rounds, options.callers, options.calls))
        report.tables.append(Table(name, "us per job", rounds, under=f"{base:,}"))
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
