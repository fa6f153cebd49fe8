"""The scenarios that are about jobs: how they end, what they do to each other, and who awaits them."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from weirpool import JobState, PoolClosed, PoolError, PoolState, WorkerPool

from .cast import any_pool, clients, closer, later, scenario
from .jobs import KINDS, BareBoom, cooperative, natural, ok, raises, stubborn, swallows, tidy

if TYPE_CHECKING:
    from weirpool import JobHandle

    from .jobs import Job
    from .world import World

__all__: list[str] = []


@scenario
def stubborn_jobs(world: World) -> None:
    """6: jobs that ignore their cancellation hold every worker; their time runs out, and others get a turn."""
    dice = world.dice
    grace = dice.choice([0.0, 0.5])
    workers = dice.choice([1, 2])
    world.make_pool(max_workers=workers, queue_size=3, cancel_grace=grace, shutdown_timeout=3.0, submit_timeout=None)
    world.owner(4.0)

    async def stuck(cancel: bool) -> None:
        try:
            handle = await world.submit(stubborn, timeout=None if cancel else 0.5)
        except PoolClosed:
            return
        began = world.loop.time()
        if cancel:
            while handle.state is JobState.QUEUED:
                await asyncio.sleep(0.1)
            began = world.loop.time()
            world.cancel_job(handle)
        await world.outcome(handle)
        took = world.loop.time() - began
        if not world.disturbed and not world.jittered and cancel and took > grace + 0.01:
            world.violation(f"R8: a stubborn job held its handle for {took:g} s")

    for index in range(workers):
        world.actor(f"stuck {index}", stuck, dice.random() < 0.5)

    async def patient() -> None:
        try:
            handle = await world.submit(ok(0.1))
        except PoolClosed:
            return
        await world.outcome(handle)
        if not world.disturbed and not world.jittered and handle.state is not JobState.SUCCEEDED:
            world.violation(f"R8: behind stubborn jobs, another is {handle.state.name}")

    world.actor("patient", patient)


@scenario
def errors(world: World) -> None:
    """7: one job after the other raises whatever can be raised, and the next is none the worse."""
    dice = world.dice
    world.make_pool(max_workers=dice.choice([1, 2]), queue_size=2, submit_timeout=None, shutdown_timeout=3.0, cancel_grace=0.5)
    world.owner(0.0)
    kinds = [kind for name, kind in KINDS.items() if name.startswith(("raises", "cancels", "does", "stops"))]
    dice.shuffle(kinds)

    async def run() -> None:
        try:
            for kind in kinds:
                await world.outcome(await world.submit(kind))
                handle = await world.submit(ok(0))
                await world.outcome(handle)
                if not world.disturbed and handle.state is not JobState.SUCCEEDED and world.pool.state is PoolState.OPEN:
                    world.violation(f"R5: after an error, another job is {handle.state.name}")
        except PoolClosed:
            return

    world.actor("client", run)


def settle(gate: asyncio.Future[int], outcome: int | BaseException) -> None:
    """Open a gate, unless it is open."""
    if gate.done():
        return
    if isinstance(outcome, BaseException):
        gate.set_exception(outcome)
        gate.exception()  # whether anybody is there to see it or not
    else:
        gate.set_result(outcome)


_EVENTS = ["result", "error", "cancel", "deadline", "close", "abandon"]
_PAIRS = list(itertools.permutations(_EVENTS, 2))

# What wins against all that is below, in the stock order, whichever was first; of a result and an error it is the first.
_WINNERS = {
    "abandon": JobState.ABANDONED,
    "cancel": JobState.CANCELLED,
    "deadline": JobState.TIMED_OUT,
    "result": JobState.SUCCEEDED,
    "error": JobState.FAILED,
}


def winner(pair: tuple[str, str]) -> JobState:
    """Return what a job ends as to which both happen in the same instant."""
    if set(pair) == {"result", "error"}:
        return _WINNERS[pair[0]]
    return next(state for event, state in _WINNERS.items() if event in pair)


@scenario
def same_tick(world: World) -> None:
    """9: two things happen to a job in the same instant, in either order."""
    dice = world.dice
    pair = _PAIRS[dice.randrange(len(_PAIRS))]
    now = 1.0
    # Abandoned at that instant: cancelled one grace before.
    world.make_pool(max_workers=1, queue_size=1, cancel_grace=0.5, shutdown_timeout=0.5 if "close" in pair else 3.0)
    world.owner(2.0)
    obstinate = "abandon" in pair

    async def job(world: World, mark: int) -> int:
        gate = world.gate()
        for event in pair:
            if event == "result":
                world.at(now, lambda: settle(gate, mark))
            elif event == "error":
                world.at(now, lambda: settle(gate, BareBoom()))
        while not gate.done():
            try:
                await asyncio.wait([gate])
            except asyncio.CancelledError:
                if not obstinate or world.released.is_set():
                    raise
                if not {"result", "error"} & set(pair):
                    world.at(3.0, lambda: settle(gate, mark))
        return gate.result()

    async def run() -> None:
        try:
            handle = await world.submit(job, deadline=now if "deadline" in pair else None)
        except PoolError:
            return
        for event in pair:
            if event == "cancel":
                world.at(now, lambda: world.cancel_job(handle))
            elif event == "abandon":
                world.at(now - 0.5, lambda: world.cancel_job(handle))
        await world.outcome(handle)
        if world.in_stock_order and handle.state is not winner(pair):
            world.violation(f"R1: after {' and '.join(pair)}, a job is {handle.state.name} instead of {winner(pair).name}")

    world.actor("client", run)
    if "close" in pair:
        closer(world, "closer", now, None)


@scenario
def deadlines(world: World) -> None:
    """10: time runs out in the queue, at the start, while running, while cleaning up, and for those who do not look."""
    dice = world.dice
    any_pool(world, max_workers=dice.choice([1, 2]), queue_size=3, submit_timeout=None, shutdown_timeout=4.0)
    world.owner(dice.choice([0.5, 3.0]))
    kinds = [ok(0.3), tidy(2.0), cooperative(2.0, 2.0), swallows(1, 0.8), *map(KINDS.__getitem__, _TIMELY)]

    async def run(kind: Job, timeout: float | None, deadline: float | None) -> None:
        due = None if deadline is None else world.loop.time() + deadline
        try:
            handle = await world.submit(kind, timeout=timeout, deadline=due)
        except PoolError:
            return
        await world.outcome(handle)

    for index in range(5):
        timeout, deadline = dice.choice([(0.3, None), (0.5, None), (None, 0.3), (None, 0.0), (0.3, 0.3), (0.2, 0.5)])
        world.actor(f"client {index}", run, dice.choice(kinds), timeout, deadline)


_TIMELY = ["raises TimeoutError", "own timeout", "blocks", "group", "stubborn"]


@scenario
def inside(world: World) -> None:
    """11: jobs submit to their own pool, with room and without, cancel each other, close intake."""
    dice = world.dice
    any_pool(world, submit_timeout=dice.choice([0, 0.3]))
    world.owner(dice.choice([0.3, 2.0]))

    async def parent(world: World, mark: int) -> int:
        try:
            child = await world.submit(ok(0.1))
            sibling = await world.submit(cooperative(1.0))
        except PoolError:
            return mark
        world.cancel_job(sibling)
        try:
            async with asyncio.timeout(0.5):  # with one worker it waits for itself, until R9
                await child.wait()
        except TimeoutError:
            pass
        return mark

    async def grandparent(world: World, mark: int) -> int:
        with suppress(PoolError):
            await world.submit(parent)
        return mark

    kinds = [parent, grandparent, KINDS["submits"], KINDS["closes intake"], ok(0.1)]
    clients(world, 3, 2, lambda dice: dice.choice(kinds))


@scenario
def nested(world: World) -> None:
    """12: a job has a pool of its own, and jobs of one pool close another."""
    dice = world.dice
    any_pool(world, max_workers=2, submit_timeout=None, shutdown_timeout=6.0)
    world.owner(dice.choice([0.1, 2.0]))
    inner = WorkerPool(max_workers=1, queue_size=2, shutdown_timeout=2.0, cancel_grace=0.5, name="inner")
    world.other_pools.append(inner)

    async def opens(world: World, mark: int) -> int:
        if inner.state is not PoolState.NEW:
            return mark
        async with inner:
            for _ in range(2):
                await inner.submit(asyncio.sleep, 0.3)
            await asyncio.sleep(0.1)
        if inner.stats().queued or inner.stats().running:
            world.violation(f"R13: the inner pool has not ended: {inner.stats()}")
        return mark

    async def closes(world: World, mark: int) -> int:
        if inner.state is not PoolState.NEW:
            await inner.aclose(timeout=0.2)
            if inner.state is not PoolState.CLOSED:
                world.violation(f"R15: closed from a job of another pool, the inner pool is {inner.state.name}")
        return mark

    async def submits(world: World, mark: int) -> int:
        if inner.state is PoolState.OPEN:
            await inner.run(asyncio.sleep, 0.1)
        return mark

    async def run(kind: Job) -> None:
        try:
            await world.run(kind)
        except RuntimeError:  # the inner pool was closed before it was open
            if not world.disturbed:
                raise

    for index, kind in enumerate([opens, *dice.choices([closes, submits], k=3)]):
        world.actor(f"client {index}", run, kind)


@scenario
def contexts(world: World) -> None:
    """13: many jobs, each with a context of its own."""
    any_pool(world, submit_timeout=None, shutdown_timeout=6.0, job_timeout=None)
    world.owner(0.0)

    async def run() -> None:
        for kind in (KINDS["instant"], ok(0.1), KINDS["raises"]):
            try:
                await world.submit(kind)
            except PoolError:
                return

    for index in range(6):
        world.actor(f"client {index}", run)


@scenario
def awaiters(world: World) -> None:
    """17: many await the same job; cancelling one hurts neither the job nor the others."""
    dice = world.dice
    any_pool(world, max_workers=2, queue_size=2, submit_timeout=None, shutdown_timeout=6.0, job_timeout=None)
    world.owner(1.5)
    shared: list[JobHandle[Any]] = []
    kind = dice.choice([ok(0.3), raises(BareBoom, 0.3), cooperative(0.3), KINDS["cancels itself"]])

    async def share() -> None:
        try:
            shared.append(await world.submit(kind))
        except PoolClosed:
            return

    async def wait(delay: float, how: str) -> None:
        await asyncio.wait([world.find("submitter")])
        if not shared:
            return
        handle = shared[0]
        await asyncio.sleep(delay)
        if how == "wait":
            await handle.wait()
        await world.outcome(handle)

    world.actor("submitter", share)
    crowd = 100 if world.seed % 50 == 49 else 4  # a hundred take long
    for index in range(crowd):
        world.actor(f"awaiter {index}", wait, dice.choice([0.0, 0.1, 0.3, 0.5]), dice.choice(["wait", "await"]))
    for _ in range(crowd // 2):
        victim = f"awaiter {dice.randrange(crowd)}"
        world.actor("canceller", later, world, dice.choice([0.1, 0.3]), lambda victim=victim: world.cancel(world.find(victim)))


@scenario
def callers(world: World) -> None:
    """17: some of those who call `run()` are cancelled, which cancels their jobs, and they wait for these."""
    dice = world.dice
    any_pool(world, max_workers=dice.choice([1, 2]), submit_timeout=dice.choice([None, 0.5]), shutdown_timeout=6.0)
    world.owner(2.0)
    kinds = [ok(1.0), cooperative(2.0), tidy(2.0), swallows(1), stubborn, KINDS["group"]]
    for index in range(3):
        world.actor(f"caller {index}", client_of_run, world, dice.choice(kinds))
    for delay in dice.sample([0.0, 0.1, 0.5], 2):
        victim = f"caller {dice.randrange(3)}"
        world.actor("canceller", later, world, delay, lambda victim=victim: world.cancel(world.find(victim)))


async def client_of_run(world: World, kind: Job) -> None:
    """Have one job run."""
    with suppress(PoolError):
        await world.run(kind)


@scenario
def old_timeouts(world: World) -> None:
    """10: jobs that cancelled themselves once, as code from before `asyncio.timeout` does, are told like any other."""
    dice = world.dice
    any_pool(world, max_workers=dice.choice([1, 2]), queue_size=2, submit_timeout=None, cancel_grace=1.0, shutdown_timeout=3.0)
    world.owner(dice.choice([0.5, 1.0]))

    async def job(world: World, mark: int) -> int:
        me = asyncio.current_task()
        assert me is not None
        timer = world.loop.call_later(0.1, me.cancel)
        with suppress(asyncio.CancelledError):  # and nobody calls uncancel()
            await asyncio.sleep(9.0)
        timer.cancel()
        told.setdefault(mark, 0)
        try:
            await asyncio.sleep(9.0)
        except asyncio.CancelledError:
            told[mark] += 1
            raise
        return mark

    told: dict[int, int] = {}

    async def run() -> None:
        try:
            handle = await world.submit(job, timeout=None)
        except PoolError:
            return
        await world.outcome(handle)
        if handle.state is JobState.ABANDONED and not world.disturbed and not world.jittered:
            world.violation(f"R12: job {handle.id} would have ended, but nobody told it: {told}")

    for index in range(2):
        world.actor(f"client {index}", run)


class Submits:
    """An argument whose finalizer submits a job."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __del__(self) -> None:
        if self._world.pool.state is PoolState.OPEN:
            with suppress(PoolError):
                self._world.submit_nowait(ok(0.1))


@scenario
def finalizers(world: World) -> None:
    """15: what a queued job lets go of, when it is cancelled or runs out of time, submits another, into the place left."""
    dice = world.dice
    any_pool(world, max_workers=1, queue_size=dice.choice([1, 2]), submit_timeout=None, shutdown_timeout=3.0, cancel_grace=0.5)
    world.owner(2.0)

    def holding(thing: Submits) -> Job:
        async def job(world: World, mark: int) -> int:
            await asyncio.sleep(0.3)
            return mark if thing else 0

        return natural(job, lasts=0.3, reacts=0.0)

    async def run(how: str) -> None:
        try:
            due = world.loop.time() + 0.2 if how == "deadline" else None
            handle = await world.submit(holding(Submits(world)), deadline=due)
        except PoolError:
            return
        if how == "cancel":
            await asyncio.sleep(0.1)
            world.cancel_job(handle)
        await world.outcome(handle)

    for index in range(4):
        world.actor(f"client {index}", run, dice.choice(["cancel", "deadline", "wait"]))
