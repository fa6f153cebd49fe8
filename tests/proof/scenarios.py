"""The scenarios: what a pool and its users do, as functions that furnish a world.

The numbers are the rows of the list of scenarios in docs/proof.md. A scenario draws all that is random in it from the world's
dice before anything runs, so that a seed means the same program on every schedule. Those here are about the pool: its way in,
its way out, and who looks on.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from contextvars import copy_context
from typing import TYPE_CHECKING

from weirpool import PoolClosed, PoolError, PoolOverloaded
from weirpool.events import JobAccepted, JobEnded, JobStarted, Observer, PoolMoved, SubmitRefused

from . import job_scenarios
from .cast import SCENARIOS, any_pool, clients, closer, later, scenario
from .jobs import BareBoom, cooperative, ok, stubborn, swallows, tidy

if TYPE_CHECKING:
    from .world import World

__all__ = ["SCENARIOS", "job_scenarios"]


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
    if dice.random() < 0.5:
        victim = dice.choice(["owner", "closer 0", "closer again"])
        world.actor("canceller", later, world, dice.choice([0.0, 0.1, 0.6]), lambda: world.cancel(world.find(victim)))


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
        for _ in range(6):
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

    burst = 1000 if world.seed % 50 == 49 else 1
    dice_of_storm = random.Random(dice.random())
    for index in range(3):
        world.actor(f"polite {index}", polite)
    world.actor("storm", storm)
