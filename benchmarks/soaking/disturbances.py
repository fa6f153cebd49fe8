"""What is done to the pool while it works.

DISTURBANCES is the one place where they are listed. A verb that the pool learns later (resize, pause, ...) is a function
of the world here, and a line there.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from .books import CLOCK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from weirpool import ShutdownReport

    from .books import WitnessedPool
    from .load import World

    _Way = Callable[[World, WitnessedPool], Awaitable[float]]

__all__ = ["DISTURBANCES", "GRACE", "close", "disturb"]

GRACE = 0.4  # the pools' cancel_grace, in seconds: for three turns of a busy loop, on a machine that others use, too
_BEAT = 0.004  # seconds between bursts of disturbances
_BURST = 16  # at most
_SLACK = 0.25  # seconds for a few turns of a busy loop
_TIMERS = 3  # that may be late one after the other, at most
_CLOSING_AT_ONCE = 3


# Cancellations ------------------------------------------------------------------------------------------------------------


def cancel_a_job(world: World) -> None:
    """Cancel a job by its handle, whether it waits or runs."""
    ticket = world.rng.choice(world.actors).ticket
    if ticket is not None and ticket.handle is not None:
        ticket.asked = True
        ticket.handle.cancel()


def cancel_a_submitter(world: World) -> None:
    """Cancel who waits for room: it must be gone within one turn of the loop."""
    _cancel_an_actor(world, "submit")


def cancel_a_runner(world: World) -> None:
    """Cancel who is in `run()`: its job must be cancelled, and have ended when it returns. Perhaps twice."""
    _cancel_an_actor(world, "run")


def cancel_an_awaiter(world: World) -> None:
    """Cancel who awaits a handle: its job must not notice."""
    _cancel_an_actor(world, "await")


def _cancel_an_actor(world: World, phase: str) -> None:
    for actor in world.rng.choices(world.actors, k=8):
        if actor.phase == phase:
            actor.cancel()
            if phase == "submit":
                world.loop.call_soon(world.prompt, actor, actor.sent)
            return


# Closings -----------------------------------------------------------------------------------------------------------------


def replace_the_pool(world: World) -> None:
    """Close the pool under load, one way or another, and open a new one before or after that."""
    if world.closing < _CLOSING_AT_ONCE and not world.pool.books.closing:
        world.pool.books.closing = True
        world.closing += 1
        world.start(_replace(world, world.pool))


async def _replace(world: World, pool: WitnessedPool) -> None:
    try:
        if world.rng.random() < 0.5:
            await world.open()
            await close(world, pool)
        else:
            closing = asyncio.create_task(close(world, pool))
            await asyncio.sleep(world.rng.uniform(0, 0.02))  # while all submitters find it closed
            await world.open()
            await closing
    finally:
        world.closing -= 1


async def close(world: World, pool: WitnessedPool) -> None:
    """Close a pool in one of the ways, in time, and compare the books."""
    way = world.rng.choice(_WAYS)
    world.closings[way.__name__.strip("_")] += 1
    report, allowed = await _timed(world, way, pool)
    if allowed >= 0:
        world.mistakes.note("closed late", f"{way.__name__}: {allowed:.3f} s more than its bound, {report}")
    await world.compare(pool, report)


async def _timed(world: World, way: _Way, pool: WitnessedPool) -> tuple[ShutdownReport, float]:
    """Close a pool; return the report, and by how much it took longer than it may have (negative if it did not)."""
    began = world.loop.time()
    with world.pulse.watch() as late:
        bound = await way(world, pool)
    over = world.loop.time() - began - bound
    world.latest = max(world.latest, over)
    assert pool.report is not None
    return pool.report, over - _SLACK - _TIMERS * late.worst


async def _drain(_world: World, pool: WitnessedPool) -> float:
    """Let everything end by itself: the budget is far more than any job needs."""
    await pool.aclose()
    return 10.0


async def _tight(world: World, pool: WitnessedPool) -> float:
    """Leave time for the cancelled jobs to clean up, but hardly any for the others to end."""
    pool.books.hurried = True
    timeout = GRACE + world.rng.uniform(0, 0.03)
    await pool.aclose(timeout=timeout)
    return timeout


async def _ruthless(world: World, pool: WitnessedPool) -> float:
    """Leave no time, or less than the grace."""
    pool.books.hurried = pool.books.ruthless = True
    timeout = world.rng.choice((0.0, world.rng.uniform(0, 0.03)))
    await pool.aclose(timeout=timeout)
    return timeout


async def _impatient(world: World, pool: WitnessedPool) -> float:
    """Cancel who closes it."""
    closer = asyncio.create_task(pool.aclose())
    patience = world.rng.uniform(0, 0.02)
    await asyncio.sleep(patience)
    pool.books.hurried = True
    closer.cancel()
    with suppress(asyncio.CancelledError):
        await closer
    return patience + CLOCK + GRACE


async def _crowd(world: World, pool: WitnessedPool) -> float:
    """Close it from several tasks at once, of which the last has the tightest budget."""
    pool.books.hurried = True
    timeouts = (None, 1.0, GRACE + 0.02)
    reports = await asyncio.gather(*(pool.aclose(timeout=timeout) for timeout in timeouts))
    if any(report is not reports[0] for report in reports):
        world.mistakes.note("several reports", reports)
    return GRACE + 0.02


async def _intake_first(world: World, pool: WitnessedPool) -> float:
    """Close the intake, and the pool later."""
    pool.close_intake()
    await asyncio.sleep(world.rng.uniform(0, 0.02))
    await pool.aclose()
    return 10.0


_WAYS: tuple[_Way, ...] = (_drain, _tight, _ruthless, _impatient, _crowd, _intake_first)


# All of them --------------------------------------------------------------------------------------------------------------

# With their weights. When the pool learns to resize and to pause, add that here.
DISTURBANCES: dict[Callable[[World], None], float] = {
    cancel_a_job: 400,
    cancel_a_submitter: 200,
    cancel_a_runner: 200,
    cancel_an_awaiter: 200,
    replace_the_pool: 5,
}


async def disturb(world: World) -> None:
    """Disturb the world until cancelled."""
    ways, weights = list(DISTURBANCES), list(DISTURBANCES.values())
    while True:
        await asyncio.sleep(_BEAT)
        for way in world.rng.choices(ways, weights, k=world.rng.randrange(_BURST)):
            world.disturbed[way.__name__] += 1
            way(world)
