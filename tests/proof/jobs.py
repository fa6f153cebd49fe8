"""The kinds of jobs that a pool meets, from the well-behaved to the outrageous.

Each is a function that takes the world and returns its result, and is submitted through `World.submit`. What a job raises is
a `Boom`, so that nobody takes it for an error of the pool's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from weirpool import PoolError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from .world import World

    Job = Callable[[World, int], Awaitable[Any]]

__all__ = ["KINDS", "BareBoom", "Boom", "any_kind", "cooperative", "ok", "stubborn", "swallows"]


class Boom(Exception):
    """What a job raises of its own."""


class BareBoom(BaseException):
    """What a job raises that `except Exception` does not catch."""


class Spiteful(Boom):
    """An exception that does not want to be looked at."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    def __hash__(self) -> int:
        raise RuntimeError("no")


def ok(delay: float) -> Job:
    """Take some time and return the mark."""

    async def job(world: World, mark: int) -> int:
        await asyncio.sleep(delay)
        return mark

    return job


async def instant(world: World, mark: int) -> int:
    """Never give way."""
    return mark


def raises(make: Callable[[], BaseException], delay: float = 0.0) -> Job:
    """Raise after a while."""

    async def job(world: World, mark: int) -> None:
        await asyncio.sleep(delay)
        raise make()

    return job


def calls_back(make: Callable[[], BaseException]) -> Job:
    """Raise when called, before there is anything to await."""

    def job(world: World, mark: int) -> Awaitable[Any]:
        raise make()

    return job


def cooperative(delay: float, cleanup: float = 0.0) -> Job:
    """Clean up when cancelled, and count how often that happens."""

    async def job(world: World, mark: int) -> int:
        world.cancellations[mark] = 0
        try:
            await asyncio.sleep(delay)
        except asyncio.CancelledError:
            world.cancellations[mark] += 1
            try:
                await asyncio.sleep(cleanup)
            except asyncio.CancelledError:
                world.cancellations[mark] += 1
                raise
            raise
        return mark

    return job


def swallows(times: int, delay: float = 1.0) -> Job:
    """Ignore so many cancellations and return late."""

    async def job(world: World, mark: int) -> int:
        left = times
        until = world.loop.time() + delay
        while True:
            try:
                await asyncio.sleep(max(0.0, until - world.loop.time()))
            except asyncio.CancelledError:
                left -= 1
                if left < 0:
                    raise
            else:
                return mark

    return job


async def stubborn(world: World, mark: int) -> int:
    """Ignore every cancellation until the world ends."""
    while not world.released.is_set():
        try:
            await world.released.wait()
        except asyncio.CancelledError:
            continue
    return mark


async def group(world: World, mark: int) -> int:
    """Have children of one's own."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.sleep(0.2))
        tasks.create_task(asyncio.sleep(0.4))
    return mark


async def own_timeout(world: World, mark: int) -> int:
    """Time out by oneself, which is none of the pool's business."""
    try:
        async with asyncio.timeout(0.1):
            await asyncio.sleep(1)
    except TimeoutError as late:
        raise Boom from late
    return mark


async def blocks(world: World, mark: int) -> int:
    """Block the loop for a while."""
    world.block(0.3)
    await asyncio.sleep(0)
    world.block(0.3)
    return mark


async def submits(world: World, mark: int) -> int:
    """Submit to one's own pool, and cancel, or leave alone, what was submitted."""
    try:
        handle = world.submit_nowait(ok(0.1))
    except PoolError:
        return mark
    await asyncio.sleep(0)
    if mark % 2:
        handle.cancel()
    return mark


async def closes_intake(world: World, mark: int) -> int:
    """Close the intake of one's own pool, which one may, and the pool, which one may not."""
    await asyncio.sleep(0.1)
    world.pool.close_intake()
    try:
        await world.pool.aclose()
    except RuntimeError:
        return mark
    world.violation("R15: a job closed its own pool")
    return mark


KINDS: dict[str, Job] = {
    "instant": instant,
    "quick": ok(0.0),
    "short": ok(0.1),
    "long": ok(1.5),
    "raises": raises(Boom),
    "raises late": raises(Boom, 0.3),
    "raises bare": raises(BareBoom),
    "raises spiteful": raises(Spiteful),
    "raises StopIteration": raises(lambda: StopAsyncIteration(1)),
    "raises GeneratorExit": raises(GeneratorExit),
    "raises TimeoutError": raises(TimeoutError),
    "raises a group": raises(lambda: BaseExceptionGroup("mixed", [asyncio.CancelledError(), Boom()])),
    "cancels itself": raises(asyncio.CancelledError),
    "does not start": calls_back(Boom),
    "stops when called": calls_back(lambda: StopIteration(1)),
    "cooperative": cooperative(1.0),
    "cooperative, slow": cooperative(2.0, 0.2),
    "swallows one": swallows(1),
    "swallows two": swallows(2),
    "stubborn": stubborn,
    "group": group,
    "own timeout": own_timeout,
    "blocks": blocks,
    "submits": submits,
    "closes intake": closes_intake,
}

# Whatever a job of any kind may end with that is of its own making.
OWN_ERRORS = (Boom, BareBoom, GeneratorExit, TimeoutError, RuntimeError, StopAsyncIteration, BaseExceptionGroup)


def any_kind(dice: random.Random) -> Job:
    """Return a job of any kind."""
    return KINDS[dice.choice(list(KINDS))]
