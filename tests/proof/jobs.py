"""The kinds of jobs that a pool meets, from the well-behaved to the outrageous.

Each is a function that takes the world and returns its result, and is submitted through `World.submit`. What a job raises is
a `Boom`, so that nobody takes it for an error of the pool's. Of most it is known how they end if nobody disturbs them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weirpool import JobState, PoolError

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from .world import World

    Job = Callable[[World, int], Awaitable[Any]]

__all__ = [
    "KINDS",
    "BareBoom",
    "Boom",
    "Nature",
    "any_kind",
    "cooperative",
    "fails",
    "nature_of",
    "nests",
    "ok",
    "stubborn",
    "swallows",
    "tidy",
]


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


@dataclass(frozen=True, slots=True)
class Nature:
    """What is known of jobs of a kind.

    Args:
        ends: as what it ends if nobody disturbs it; None: nothing is known of it.
        lasts: how long it takes to that, in seconds; None: unknown.
        reacts: how long it takes to end when it is cancelled; None: as long as it likes, and as what it likes.
        most: or it takes this part of its grace.
        children: whether it has tasks of its own.
    """

    ends: JobState | None = None
    lasts: float | None = None
    reacts: float | None = None
    most: float | None = None
    children: bool = False

    def time_to_end(self, grace: float) -> float | None:
        """How long it takes to end when it is cancelled, if that is known."""
        return self.reacts if self.most is None else self.most * grace


def natural(
    job: Job,
    ends: JobState = JobState.SUCCEEDED,
    *,
    lasts: float | None = None,
    reacts: float | None = None,
    most: float | None = None,
    children: bool = False,
) -> Job:
    """Note the nature of a job; return the job."""
    job.nature = Nature(ends, lasts, reacts, most, children)  # type: ignore[attr-defined]
    return job


def nature_of(job: Job) -> Nature:
    """Return what is known of a job."""
    nature: Nature = getattr(job, "nature", _UNKNOWN)
    return nature


_UNKNOWN = Nature()


def ok(delay: float) -> Job:
    """Take some time and return the mark."""

    async def job(world: World, mark: int) -> int:
        await asyncio.sleep(delay)
        return mark

    return natural(job, lasts=delay, reacts=0.0)


async def instant(world: World, mark: int) -> int:
    """Never give way."""
    return mark


def raises(make: Callable[[], BaseException], delay: float = 0.0) -> Job:
    """Raise after a while."""

    async def job(world: World, mark: int) -> None:
        await asyncio.sleep(delay)
        raise make()

    ends = JobState.CANCELLED if make is asyncio.CancelledError else JobState.FAILED
    return natural(job, ends, lasts=delay, reacts=0.0)


def calls_back(make: Callable[[], BaseException]) -> Job:
    """Raise when called, before there is anything to await."""

    def job(world: World, mark: int) -> Awaitable[Any]:
        raise make()

    return natural(job, JobState.FAILED, lasts=0.0, reacts=0.0)


def cooperative(delay: float, cleanup: float = 0.0) -> Job:
    """Clean up when cancelled, and count how often that happens."""

    async def job(world: World, mark: int) -> int:
        world.sees_cancellations(mark, 0)
        try:
            await asyncio.sleep(delay)
        except asyncio.CancelledError:
            world.sees_cancellations(mark, 1)
            try:
                await asyncio.sleep(cleanup)
            except asyncio.CancelledError:
                world.sees_cancellations(mark, 1)
                raise
            raise
        return mark

    return natural(job, lasts=delay, reacts=cleanup)


def tidy(delay: float) -> Job:
    """Need most of one's grace to clean up when cancelled, and count how often that happens."""

    async def job(world: World, mark: int) -> int:
        result: int = await cooperative(delay, _MOST * world.options["cancel_grace"])(world, mark)
        return result

    return natural(job, lasts=delay, most=_MOST)


_MOST = 0.8


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

    return natural(job, lasts=delay)


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
            await world.gate()  # a sleep could end first where the clock runs ahead
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
        world.cancel_job(handle)
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


def nests(inner: Job, how: str) -> Job:
    """Wait for another job of one's own pool."""

    async def job(world: World, mark: int) -> int:
        try:
            match how:
                case "run":
                    await world.run(inner)
                case "submit":
                    await world.outcome(await world.submit(inner))
                case "nowait":
                    await world.outcome(world.submit_nowait(inner))
                case _:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(world.run(inner))
                        group.create_task(world.run(ok(0.1)))
        except PoolError:
            return mark
        return mark

    return job


def fails(times: int) -> Job:
    """Fail so many times, then return."""
    left = times

    async def job(world: World, mark: int) -> int:
        nonlocal left
        await asyncio.sleep(0.1)
        if left:
            left -= 1
            raise Boom
        return mark

    return job


natural(instant, lasts=0.0, reacts=0.0)
natural(stubborn)
natural(group, lasts=0.4, reacts=0.0, children=True)
natural(own_timeout, JobState.FAILED, lasts=0.1, reacts=0.0)
natural(blocks)
natural(submits)
natural(closes_intake)

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
    "cooperative, slow": tidy(2.0),
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
