"""The scenarios: what a pool and its users do, as functions that furnish a world.

The numbers are the rows of the list of scenarios in docs/proof.md. A scenario draws all that is random in it from the world's
dice before anything runs, so that a seed means the same program on every schedule.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from weirpool import JobState, PoolClosed, PoolError, PoolOverloaded, PoolState, WorkerPool
from weirpool.events import JobAccepted, JobEnded, JobStarted, Observer, PoolMoved, SubmitRefused

from .jobs import KINDS, BareBoom, any_kind, cooperative, ok, raises, stubborn, swallows, tidy

if TYPE_CHECKING:
    from collections.abc import Callable

    from weirpool import JobHandle

    from .jobs import Job
    from .world import World

__all__ = ["SCENARIOS"]

SCENARIOS: dict[str, Callable[[World], None]] = {}


def scenario(function: Callable[[World], None]) -> Callable[[World], None]:
    """Add a scenario to the list."""
    SCENARIOS[function.__name__] = function
    return function


def any_pool(world: World, **fixed: Any) -> None:
    """Make a pool of any (small) size."""
    dice = world.dice
    options: dict[str, Any] = {
        "max_workers": dice.choice([1, 2, 3]),
        "queue_size": dice.choice([0, 1, 2, 3]),
        "job_timeout": dice.choice([None, None, 1.2]),
        "submit_timeout": dice.choice([None, 0, 0.5, 2.0]),
        "shutdown_timeout": dice.choice([0.0, 1.0, 3.0, 6.0]),
        "cancel_grace": dice.choice([0.0, 0.5, 1.0]),
        "watched": dice.random() < 0.7,
    }
    options |= fixed
    options["cancel_grace"] = min(options["cancel_grace"], options["shutdown_timeout"])
    world.make_pool(**options)


async def client(world: World, kinds: list[Job], dice: random.Random) -> None:
    """Have jobs done, in any of the ways that there are."""
    for kind in kinds:
        options: dict[str, Any] = {}
        if dice.random() < 0.3:
            options["timeout"] = dice.choice([0.2, 0.5, 1.0, None])
        if dice.random() < 0.2:
            options["deadline"] = world.loop.time() + dice.choice([0.0, 0.3, 1.0])
        try:
            match dice.choice(["run", "submit", "submit", "nowait", "cancel", "drop"]):
                case "run":
                    await world.run(kind, **options)
                case "submit":
                    await world.outcome(await world.submit(kind, **options))
                case "nowait":
                    await world.outcome(world.submit_nowait(kind, **options))
                case "cancel":
                    handle = await world.submit(kind, **options)
                    await asyncio.sleep(dice.choice([0, 0, 0.2]))
                    world.cancel_job(handle)
                    await world.outcome(handle)
                case _:
                    await world.submit(kind, **options)
        except PoolError:
            continue


def clients(world: World, number: int, jobs: int, kind: Callable[[random.Random], Job] = any_kind) -> None:
    """Add clients that have jobs done."""
    dice = world.dice
    for index in range(number):
        world.actor(f"client {index}", client, world, [kind(dice) for _ in range(jobs)], random.Random(dice.random()))


async def later(world: World, delay: float, what: Callable[[], object]) -> None:
    """Do something, later."""
    await asyncio.sleep(delay)
    what()


def closer(world: World, name: str, delay: float, timeout: float | None) -> None:
    """Add somebody who closes the pool."""

    async def close() -> None:
        await asyncio.sleep(delay)
        await world.close(timeout)

    world.actor(name, close)


@scenario
def mixed(world: World) -> None:
    """1: jobs of every kind, clients of every kind, closed at some time by somebody."""
    dice = world.dice
    any_pool(world)
    error = dice.choice([None, None, None, ValueError("the body's"), BareBoom()])
    world.owner(dice.choice([0.0, 0.1, 1.0, 4.0]), error)
    clients(world, dice.choice([2, 3, 4, 5]), 2)
    for index in range(dice.choice([0, 1, 2])):
        closer(world, f"closer {index}", dice.choice([0.0, 0.1, 0.5, 3.0]), dice.choice([None, 0.0, 0.3, 2.0]))
    if dice.random() < 0.3:
        world.actor("intake", later, world, dice.choice([0.0, 0.2, 1.0]), world.close_intake)


@scenario
def close_full(world: World) -> None:
    """2: the pool is closed while submitters wait at a full queue."""
    dice = world.dice
    any_pool(world, submit_timeout=None, shutdown_timeout=3.0, cancel_grace=0.5, job_timeout=None)
    world.owner(dice.choice([0.0, 0.1]))

    async def hammer() -> None:
        while True:
            try:
                await world.submit(ok(0.1))
            except PoolClosed:
                return

    for index in range(4):
        world.actor(f"submitter {index}", hammer)


@scenario
def closers(world: World) -> None:
    """5: several close the pool at once, with different patience, one of them again."""
    dice = world.dice
    any_pool(world, shutdown_timeout=6.0, cancel_grace=1.0)
    world.owner(dice.choice([0.0, 0.5, 9.0]))
    clients(world, 2, 2, lambda dice: dice.choice([ok(0.4), tidy(3.0), swallows(1, 4.0), stubborn]))
    for index in range(3):
        closer(world, f"closer {index}", dice.choice([0.0, 0.0, 0.1, 0.5]), dice.choice([None, 0.0, 0.5, 2.0]))

    async def again() -> None:
        await asyncio.sleep(0.1)
        await world.close()
        await world.close(0.0)

    world.actor("closer again", again)


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


class Meddler(Observer):
    """An observer that submits, cancels and closes in the midst of things."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self._world = world
        self._dice = dice
        self._left = 12

    def _meddle(self) -> None:
        if self._left:
            self._left -= 1
            copy_context().run(self._act)  # an observer that sets a variable sets it for the job in whose context it is called

    def _act(self) -> None:
        world = self._world
        try:
            match self._dice.randrange(5):
                case 0:
                    world.submit_nowait(ok(0.1))
                case 1:
                    world.submit_nowait(cooperative(1.0), timeout=0.2)
                case 2:
                    world.cancel_jobs()
                case 3:
                    repr(world.pool)
                    world.pool.stats()
                case _:
                    if self._left < 4:
                        world.pool.close_intake()
        except (PoolError, RuntimeError):
            return

    def job_accepted(self, event: JobAccepted, /) -> None:
        """Meddle."""
        self._meddle()

    def job_started(self, event: JobStarted, /) -> None:
        """Meddle."""
        self._meddle()

    def job_ended(self, event: JobEnded, /) -> None:
        """Meddle."""
        self._meddle()

    def submit_refused(self, event: SubmitRefused, /) -> None:
        """Meddle."""
        self._meddle()

    def pool_moved(self, event: PoolMoved, /) -> None:
        """Meddle."""
        self._meddle()


@scenario
def observers(world: World) -> None:
    """15: observers call the pool that calls them, and raise."""
    dice = world.dice
    world.watcher.meddled_with = True
    any_pool(world, observers=[Meddler(world, random.Random(dice.random()))], watched=True)
    world.owner(dice.choice([0.1, 1.0]))
    clients(world, 3, 2)
    if dice.random() < 0.3:
        world.actor("saboteur", later, world, dice.choice([0.0, 0.1, 0.5]), world.watcher.raise_next)


@scenario
def putters(world: World) -> None:
    """16: submitters wait at a full queue and some are cancelled; nothing else happens that could wake the others."""
    dice = world.dice
    any_pool(
        world, max_workers=1, queue_size=dice.choice([0, 1]), submit_timeout=dice.choice([None, 8.0]), shutdown_timeout=6.0
    )
    world.owner(4.0)

    async def put() -> None:
        try:
            await world.submit(ok(0.2))
        except PoolError:
            return

    for index in range(5):
        world.actor(f"submitter {index}", put)
    for delay in (0.0, 0.2, 0.2, 0.4):
        victim = f"submitter {dice.randrange(5)}"
        world.actor("canceller", later, world, delay, lambda victim=victim: world.cancel(world.find(victim)))


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
    crowd = 100 if world.seed % 50 == 49 else 6  # a hundred take long
    for index in range(crowd):
        world.actor(f"awaiter {index}", wait, dice.choice([0.0, 0.1, 0.3, 0.5]), dice.choice(["wait", "await"]))
    for _ in range(crowd // 3):
        victim = f"awaiter {dice.randrange(crowd)}"
        world.actor("canceller", later, world, dice.choice([0.1, 0.3]), lambda victim=victim: world.cancel(world.find(victim)))


@scenario
def callers(world: World) -> None:
    """17: some of those who call `run()` are cancelled, which cancels their jobs, and they wait for these."""
    dice = world.dice
    any_pool(world, max_workers=dice.choice([1, 2]), submit_timeout=dice.choice([None, 0.5]), shutdown_timeout=6.0)
    world.owner(2.0)
    kinds = [ok(1.0), cooperative(2.0), tidy(2.0), swallows(1), stubborn, KINDS["group"]]
    for index in range(4):
        world.actor(f"caller {index}", client_of_run, world, dice.choice(kinds))
    for delay in (0.0, 0.1, 0.5):
        victim = f"caller {dice.randrange(4)}"
        world.actor("canceller", later, world, delay, lambda victim=victim: world.cancel(world.find(victim)))


async def client_of_run(world: World, kind: Job) -> None:
    """Have one job run."""
    with suppress(PoolError):
        await world.run(kind)


@scenario
def stall(world: World) -> None:
    """21: the loop is blocked for long in the midst of a drain; the co-operative still get to clean up."""
    dice = world.dice
    any_pool(world, submit_timeout=None, shutdown_timeout=3.0, cancel_grace=1.0)
    world.owner(0.5)
    clients(world, 3, 2, lambda dice: dice.choice([ok(1.0), cooperative(3.0, 0.1), swallows(1, 2.0), stubborn]))
    for _ in range(2):
        world.actor("staller", later, world, dice.choice([0.4, 0.6, 1.5, 2.6]), lambda: world.block(5.0))


@scenario
def fairness(world: World) -> None:
    """23: a storm of `submit_nowait`, a thousand for one that waits, overtakes nobody who waits."""
    dice = world.dice
    any_pool(world, submit_timeout=None, shutdown_timeout=6.0, job_timeout=None)
    world.owner(2.0)
    asked = itertools.count()
    accepted: dict[int, int] = {}

    async def polite() -> None:
        for _ in range(2):
            ticket = next(asked)
            before = world.pool.stats()
            try:
                handle = await world.submit(ok(0.1))
            except PoolError:
                return
            accepted[ticket] = handle.id
            if not world.in_stock_order:
                continue
            if any((t < ticket) is not (i < handle.id) for t, i in accepted.items() if t != ticket):
                world.violation(f"R3: submitters got room out of order: {accepted}")
            frees = world.pool.stats().ended - before.ended
            # As many as there are workers may end in the instant in which it is given room.
            if frees > before.waiting + before.queue_size + before.max_workers:
                world.violation(f"R3: behind {before.waiting} others, a submitter got room only after {frees} jobs had ended")

    async def storm() -> None:
        for _ in range(10):
            await asyncio.sleep(dice_of_storm.choice([0, 0, 0.05]))
            for _ in range(burst):
                waiting = world.pool.stats().waiting
                try:
                    world.submit_nowait(ok(0.1))
                except PoolOverloaded:
                    continue
                except PoolError:
                    return
                if waiting:
                    world.violation("R3: submit_nowait overtook a submitter who waits")

    burst = 600 if world.seed % 50 == 49 else 1  # of which six wait
    dice_of_storm = random.Random(dice.random())
    for index in range(3):
        world.actor(f"polite {index}", polite)
    world.actor("storm", storm)
