"""Where does the time of a job go?

Measured: the round trip (see round_trip.py) through sketches of a pool that give one promise more each, from a task per job
to all that weirpool buys from asyncio; then through weirpool itself. What a line takes more than the one above is the price of
what it adds. The last step is weirpool's own code: checked arguments, the record and the handle, the books, the queue's bound
and its line of submitters, the watch over the grace, and who is told of the end.

Fair because it is one ladder: each sketch is the one before and one thing more, all run in turn in one process, and flags that
choose between them are asked by all. Two more lines show what is done without: a timer of the loop for each job, and the
done-callback that `asyncio.TaskGroup` has for each task.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import AsyncExitStack
from contextvars import Context, ContextVar, copy_context
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from measuring.command import Command
from measuring.libraries import Weirpool
from measuring.report import Report, Table
from measuring.rounds import interleaved
from measuring.standard import BareSemaphore
from round_trip import CALLERS, DEADLINE, WORKERS, timed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Coroutine

STEPS = {
    "a task for each job": "",
    "+ asyncio.timeout": "timeout",
    "+ a context of its own": "context",
    "+ the job can be asked for": "current",
    "+ never lost before its first step": "entered",
    "+ a name of its own": "name",
    "+ on the list of a group": "group",
}
"""What each sketch adds to the one before."""
OWN = "+ weirpool's own code"
"""What all the rest is."""
SPARED = {"instead: timers of its own": "timer", "instead: asyncio.TaskGroup": "callback"}
"""What the whole ladder would cost with what weirpool does without."""

_current: ContextVar[Any] = ContextVar("current")


class _Turn:
    """A bare `yield`."""

    __await__ = (None,).__iter__


class Job:
    """As little of a job as the sketches can do with."""

    __slots__ = ("context", "fn", "outcome", "waiter")

    context: Context
    fn: Callable[[], Coroutine[Any, Any, Any]]
    outcome: Any
    waiter: asyncio.Future[None]


class Sketch:
    """The least code that keeps a limit, and some of weirpool's promises.

    Args:
        features: which of them: the values of STEPS, and of SPARED.
        group: a task group, for the last of these.
    """

    def __init__(self, features: frozenset[str], group: asyncio.TaskGroup) -> None:  # noqa: C901  # closures: no `self` to pay
        timeout, context, current = "timeout" in features, "context" in features, "current" in features
        entered, named, listed = "entered" in features, "name" in features, "group" in features
        timer, callback = "timer" in features, "callback" in features
        loop = asyncio.get_running_loop()
        queue: deque[Job] = deque()
        members: dict[asyncio.Task[None], Job] = {}
        turn: Any = _Turn()
        free, started = WORKERS, 0

        def begin(job: Job) -> None:
            nonlocal started
            started += 1
            coroutine = run(job)
            if entered:
                coroutine.send(None)
            name = f"{job.fn.__qualname__}#{started}" if named else "job"
            if callback:
                group.create_task(coroutine, name=name, context=job.context)
                return
            task = asyncio.Task(coroutine, loop=loop, name=name, context=job.context)
            if listed:
                members[task] = job

        async def run(job: Job) -> None:
            nonlocal free
            if entered:
                await turn
            if current:
                _current.set(job)
            if timeout:
                async with asyncio.timeout_at(loop.time() + DEADLINE if timer else None):
                    job.outcome = await job.fn()
            else:
                job.outcome = await job.fn()
            del job.context  # which holds the job, from "can be asked for" on
            if not job.waiter.done():
                job.waiter.set_result(None)
            if queue:
                begin(queue.popleft())
            else:
                free += 1
            if listed:
                members.pop(asyncio.current_task(), None)  # type: ignore[arg-type]

        async def call(fn: Any) -> Any:
            nonlocal free
            job = Job()
            job.fn = fn
            job.context = copy_context() if context else shared
            job.waiter = asyncio.Future()
            if free:
                free -= 1
                begin(job)
            else:
                queue.append(job)
            await job.waiter
            return job.outcome

        shared = Context()
        self.call = call


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 30, 5, "rounds of each")
COMMAND.number("calls", 10_000, 4_000, "calls per round")


async def measure(rounds: int, calls: int) -> dict[str, list[float]]:
    """Time the ladder, weirpool, and the two ways that it does not take."""
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        contestants: dict[str, Any] = {}
        features: frozenset[str] = frozenset()
        for step, feature in STEPS.items():
            features |= {feature}
            contestants[step] = Sketch(features, group)
        contestants[OWN] = await stack.enter_async_context(Weirpool(workers=WORKERS, deadline=DEADLINE))
        for name, feature in SPARED.items():
            contestants[name] = Sketch(features | {feature}, group)
        contestants[BareSemaphore.name] = await stack.enter_async_context(BareSemaphore(workers=WORKERS, deadline=DEADLINE))
        runs = {name: partial(timed, contestant, max(calls, CALLERS)) for name, contestant in contestants.items()}
        return await interleaved(rounds, runs)


def answer(options: argparse.Namespace) -> Report:
    """Measure each step."""
    report = COMMAND.report(options)
    times = asyncio.run(measure(options.rounds, options.calls))
    report.tables.append(Table("all so far", "us per job", times, under=BareSemaphore.name))
    ladder = [*STEPS, OWN]
    added = {ladder[0]: times[ladder[0]]}
    for below, step in pairwise(ladder):
        added[step] = [one - other for one, other in zip(times[step], times[below], strict=True)]
    for name in SPARED:
        added[name] = [one - other for one, other in zip(times[name], times[ladder[-2]], strict=True)]
    report.tables.append(Table("each step", "us per job", added))
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
