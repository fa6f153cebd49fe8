"""How long does a job wait for its start, at half, at four fifths and at nearly all of the load that there is room for?

Measured: from the moment at which a job was to arrive to the moment at which it starts: the median, the 99th and the 99.9th
percentile; 20 workers, jobs of 5 ms that wait for a timer, a deadline of 30 s on each, random arrivals (Poisson) at 50 %,
80 % and 95 % of what 20 workers can do, which is measured first, without any pool.

Fair because arrivals don't wait for anybody (open loop): whoever stalls delays none of the arrivals that follow, and they
count from the moment for which they were meant, so nothing is omitted. Within one round all contestants get the same
arrivals. The one that submits never lets the loop sleep, so no timer is rounded to the millisecond of the selector. A bare
semaphore needs callers, and takes no part; its form for arrivals is `TaskGroup + Semaphore`. aiometer can't submit. Most of
the waiting, at high load, is for a worker, and no pool can shorten that: the ratios tend to 1, and what differs at 50 % is
the pools' own.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from measuring.command import Command, seconds
from measuring.field import Field
from measuring.report import Report, Table
from measuring.rounds import interleaved, percentile

if TYPE_CHECKING:
    import argparse

    from measuring.contestant import Contestant

WORKERS = 20
JOB = 0.005
DEADLINE = 30.0
ROOM = 100_000
LOADS = (50, 80, 95)
PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
CALIBRATION = 50  # jobs for each worker

Waits = dict[str, list[list[float]]]  # of each contestant, in each round: of each job


async def capacity() -> float:
    """Return how many jobs per second the workers can do, if each job is followed by the next at once."""

    async def worker() -> None:
        for _ in range(CALIBRATION):
            await asyncio.sleep(JOB)

    start = time.perf_counter()
    workers = [asyncio.create_task(worker()) for _ in range(WORKERS)]
    while not all(task.done() for task in workers):
        await asyncio.sleep(0)
    return WORKERS * CALIBRATION / (time.perf_counter() - start)


def arrivals(rate: float, duration: float, seed: int) -> list[float]:
    """Return random moments, so many per second; the same for the same seed."""
    dice = random.Random(seed)
    moments = [dice.expovariate(rate)]
    while moments[-1] < duration:
        moments.append(moments[-1] + dice.expovariate(rate))
    return moments


async def waits(contestant: Contestant, moments: list[float]) -> list[float]:
    """Submit a job at each of these moments, and return how long each waited for its start, in microseconds."""
    now = time.perf_counter
    waited: list[float] = []

    async def job(due: float) -> None:
        waited.append((now() - due) * 1e6)
        await asyncio.sleep(JOB)

    start = now()
    for moment in moments:
        due = start + moment
        while now() < due:
            await asyncio.sleep(0)
        await contestant.post(job, due)
    while len(waited) < len(moments):
        await asyncio.sleep(0)
    await asyncio.sleep(2 * JOB)
    return waited


async def measure(field: Field, rounds: int, duration: float, load: int) -> Waits:
    """Let all of them have the same arrivals."""
    rate = await capacity() * load / 100
    found: Waits = {name: [] for name in field.contestants}

    async def turn(name: str, contestant: Contestant) -> float:
        moments = arrivals(rate, duration, seed=len(found[name]))
        found[name].append(await waits(contestant, moments))
        return 0.0

    async with AsyncExitStack() as stack:
        runs = {}
        for name, kind in field.contestants.items():
            contestant = await stack.enter_async_context(kind(workers=WORKERS, waiting=ROOM, deadline=DEADLINE))
            runs[name] = partial(turn, name, contestant)
        await interleaved(rounds, runs, warm_up=False)
    return found


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 7, 1, "rounds of each, at each load")
COMMAND.number("seconds", 3.0, 0.5, "for how long jobs arrive, per round", seconds)
COMMAND.peers()


def answer(options: argparse.Namespace) -> Report:
    """Measure at each load."""
    report = COMMAND.report(options)
    field = Field.of("post", peers=options.peers)
    report.left_out = field.left_out
    for load in LOADS:
        found = asyncio.run(measure(field, options.rounds, options.seconds, load))
        for title, share in PERCENTILES.items():
            rounds = {name: [percentile(waited, share) for waited in turns] for name, turns in found.items()}
            report.tables.append(Table(f"{title} at {load} % load", "us", rounds, over="weirpool"))
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
