"""What does a pool do under a load of ten times the usual, when more jobs at once only make what they call slower?

Simulated, in virtual time, with the real pool: 90 seconds of random arrivals, 100 a second, and 1,000 a second from second 30
to 60. Each job calls a service that gives full speed to 40 calls at once; beyond that they share it, and it wastes a third of
its capacity if they are twice as many (as a database does whose locks are in the way): 40 calls at once are 400 jobs a
second, 80 are 267, 200 are 133. A call takes 0.1 s on average, exponentially distributed. Whoever submits a job wants its
result within a second; goodput are the jobs that come back in time, and p99 is that of all that come back, in the burst.

Fair because all have the same arrivals and service times (by a seed), a queue of 1,000 jobs and nothing else in common with
what they are tuned for: the policies have their defaults, and learn of the service only by what their jobs take. The best
fixed size is searched for among many with the burst in sight, which nobody who runs a service has. `unloaded` is a pool that
the burst does not reach.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from typing import TYPE_CHECKING, Any

from measuring import virtual
from measuring.bars import GOODPUT, OVERLOAD_P99
from measuring.command import Command
from measuring.report import Report, Table
from measuring.rounds import percentile
from weirpool import PoolOverloaded, WorkerPool
from weirpool.policies import Adaptive, CoDel, OnDemand, QueueDelay

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

USUAL, BURST = 100.0, 1000.0  # arrivals per second
BEGINS, ENDS, OVER = 30.0, 60.0, 90.0  # seconds
PATIENCE = 1.0
CAPACITY = 40
WASTE = 1 / 2
MEAN = 0.1
QUEUE = 1000
EACH = 10.0  # seconds in a point of the plot
LARGE = 200
SIZES = (10, 20, 30, 40, 50, 60, 80)


class Service:
    """What the jobs call: it serves all calls at once, each at the same speed, which falls as they become more."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._progress = 0.0  # how much each call has been given that has been there all the time
        self._since = self._loop.time()
        self._calls: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    async def call(self, work: float) -> None:
        """Take so many seconds, if nobody else is there."""
        self._catch_up()
        self._number += 1
        done = self._loop.create_future()
        heapq.heappush(self._calls, (self._progress + work, self._number, done))
        self._set_timer()
        await done

    @property
    def _speed(self) -> float:
        calls = len(self._calls)
        if calls <= CAPACITY:
            return 1.0
        return CAPACITY / calls / (1 + WASTE * (calls - CAPACITY) / CAPACITY)

    def _catch_up(self) -> None:
        now = self._loop.time()
        self._progress += self._speed * (now - self._since)
        self._since = now

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._calls:
            wait = max(0.0, self._calls[0][0] - self._progress) / self._speed
            self._timer = self._loop.call_later(wait, self._finish)

    def _finish(self) -> None:
        self._catch_up()
        while self._calls and self._calls[0][0] <= self._progress + 1e-9:
            _, _, done = heapq.heappop(self._calls)
            if not done.done():
                done.set_result(None)
        self._set_timer()


class Outcome:
    """What became of the jobs of one run: when each was submitted, and how long it took; None: it was refused or shed."""

    def __init__(self) -> None:
        self.jobs: list[tuple[float, float | None]] = []

    def between(self, begin: float, end: float) -> list[float | None]:
        """What became of those that were submitted between two times."""
        return [took for at, took in self.jobs if begin <= at < end]

    def goodput(self, begin: float, end: float) -> float:
        """Jobs per second that came back in time."""
        return sum(took is not None and took <= PATIENCE for took in self.between(begin, end)) / (end - begin)

    def p99(self, begin: float, end: float) -> float:
        """Of those that came back, in seconds."""
        came_back = sorted(took for took in self.between(begin, end) if took is not None)
        return percentile(came_back, 0.99) if came_back else 0.0

    def shed(self, begin: float, end: float) -> float:
        """The share of those that did not, in percent."""
        jobs = self.between(begin, end)
        return 100 * sum(took is None for took in jobs) / len(jobs)


async def simulate(seed: int, burst: float, options: Mapping[str, Any]) -> Outcome:
    """Run one pool through it."""
    loop, dice, outcome, service = asyncio.get_running_loop(), random.Random(seed), Outcome(), Service()
    waiting: set[asyncio.Task[None]] = set()
    async with WorkerPool(queue_size=QUEUE, submit_timeout=0, shutdown_timeout=600.0, **options) as pool:

        async def watch(at: float, handle: Any) -> None:
            await handle.wait()
            outcome.jobs.append((at, loop.time() - at if handle.exception() is None else None))

        began = loop.time()
        while (at := loop.time() - began) < OVER:
            work = dice.expovariate(1 / MEAN)
            try:
                handle = pool.submit_nowait(service.call, work)
            except PoolOverloaded:
                outcome.jobs.append((at, None))
            else:
                task = asyncio.create_task(watch(at, handle))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
            await asyncio.sleep(dice.expovariate(burst if BEGINS <= at < ENDS else USUAL))
        await asyncio.gather(*waiting)
    return outcome


def best_fixed(seed: int, sizes: tuple[int, ...]) -> tuple[int, Outcome]:
    """Find the size with which most jobs come back in time, with shedding."""
    outcomes = {size: virtual.run(simulate(seed, BURST, {"max_workers": size, "overload": CoDel()})) for size in sizes}
    best = max(outcomes, key=lambda size: outcomes[size].goodput(BEGINS, ENDS))
    return best, outcomes[best]


CONTESTANTS: dict[str, dict[str, Any]] = {
    "Adaptive + CoDel": {"scaling": Adaptive(), "overload": CoDel(), "min_workers": 1, "max_workers": 1000},
    "Adaptive": {"scaling": Adaptive(), "min_workers": 1, "max_workers": 1000},
    "QueueDelay + CoDel": {"scaling": QueueDelay(), "overload": CoDel(), "min_workers": 1, "max_workers": 1000},
    "QueueDelay": {"scaling": QueueDelay(), "min_workers": 1, "max_workers": 1000},
    "OnDemand + CoDel": {"scaling": OnDemand(), "overload": CoDel(), "min_workers": 1, "max_workers": 1000},
    "OnDemand": {"scaling": OnDemand(), "min_workers": 1, "max_workers": 1000},
    f"fixed {CAPACITY}": {"max_workers": CAPACITY},
    f"fixed {LARGE}": {"max_workers": LARGE},
    f"fixed {LARGE} + CoDel": {"max_workers": LARGE, "overload": CoDel()},
}
BEST = "best fixed + CoDel"

COMMAND = Command(__file__, __doc__)
COMMAND.number("seeds", 3, 1, "how often, each time with other arrivals")


def answer(options: argparse.Namespace) -> Report:
    """Simulate all of them."""
    report = COMMAND.report(options)
    ends = [EACH * number for number in range(1, math.ceil(OVER / EACH) + 1)]
    goodput, p99, shed = (
        Table(GOODPUT, "jobs/s", {}),
        Table(OVERLOAD_P99, "s", {}),
        Table("refused or shed in the burst", "%", {}),
    )
    over_time = [Table(f"goodput at {end:.0f} s", "jobs/s", {}) for end in ends]
    sizes: list[int] = []
    for seed in range(options.seeds):
        unloaded = virtual.run(simulate(seed, USUAL, {"max_workers": CAPACITY}))
        outcomes = {name: virtual.run(simulate(seed, BURST, its)) for name, its in CONTESTANTS.items()}
        size, outcomes[BEST] = best_fixed(seed, SIZES[2:5] if options.quick else SIZES)
        sizes.append(size)
        p99.rounds.setdefault("unloaded", []).append(unloaded.p99(BEGINS, ENDS))
        for name, outcome in outcomes.items():
            goodput.rounds.setdefault(name, []).append(outcome.goodput(BEGINS, ENDS))
            p99.rounds.setdefault(name, []).append(outcome.p99(BEGINS, ENDS))
            shed.rounds.setdefault(name, []).append(outcome.shed(BEGINS, ENDS))
            for table, end in zip(over_time, ends, strict=True):
                table.rounds.setdefault(name, []).append(outcome.goodput(end - EACH, end))
    goodput.under, p99.under = BEST, "unloaded"
    report.settings["best fixed sizes"] = sizes
    report.tables += [goodput, p99, shed, *over_time]
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
