"""Who takes part in scenarios: pools of any size, clients, closers; and the list of the scenarios."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from weirpool import PoolError

from .jobs import any_kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from .jobs import Job
    from .world import World

__all__ = ["SCENARIOS", "any_pool", "clients", "closer", "later", "scenario"]

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
