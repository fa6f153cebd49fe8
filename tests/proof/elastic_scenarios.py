"""More scenarios: jobs that wait for their own pool, pools that change their size, pause, and drop what they can't do."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from weirpool import PoolError, WorkerPool
from weirpool.policies import CoDel, EarlyRefusal, OnDemand, QueueDelay, Retry, Step

from .cast import any_pool, clients, closer, later, scenario
from .jobs import any_kind, cooperative, fails, nests, ok, stubborn, swallows, tidy

if TYPE_CHECKING:
    from weirpool import JobHandle

    from .jobs import Job
    from .world import World


@scenario
def nesting(world: World) -> None:
    """E1: jobs wait for jobs of their own pool, in every way, some of them several levels deep."""
    dice = world.dice
    any_pool(world, submit_timeout=dice.choice([None, 0.5]), shutdown_timeout=dice.choice([1.0, 6.0]))
    world.owner(dice.choice([0.1, 2.0]))

    def kind(dice: random.Random) -> Job:
        job: Job = dice.choice([ok(0.1), cooperative(0.5), ok(0.0), tidy(1.0)])
        for _ in range(dice.choice([0, 1, 1, 2, 3])):
            job = nests(job, dice.choice(["run", "submit", "both", "nowait"]))
        return job

    clients(world, 3, 2, kind)
    if dice.random() < 0.5:
        closer(world, "closer", dice.choice([0.1, 0.3]), dice.choice([None, 0.0, 0.5]))


@scenario
def nesting_stubborn(world: World) -> None:
    """E1: and some of what they wait for ignores every cancellation, as do some of those that wait."""
    any_pool(world, submit_timeout=None, shutdown_timeout=3.0, cancel_grace=0.5)
    world.owner(0.5)
    kinds = [nests(stubborn, "run"), nests(swallows(1), "submit"), nests(swallows(2), "run"), ok(0.1)]
    clients(world, 3, 2, lambda dice: dice.choice(kinds))


@scenario
def pools_wait_for_each_other(world: World) -> None:
    """E2: jobs of two pools wait for each other, through several levels; with one place in each, all come to an end."""
    dice = world.dice
    any_pool(world, max_workers=1, submit_timeout=None, job_timeout=None, shutdown_timeout=6.0, cancel_grace=1.0)
    other = WorkerPool(
        max_workers=1, queue_size=dice.choice([0, 1, 5]), submit_timeout=None, shutdown_timeout=3.0, name="other"
    )
    world.other_pools.append(other)
    world.owner(3.0)

    def there(depth: int) -> Job:
        async def job(world: World, mark: int) -> int:
            try:
                await other.run(back, world, depth)
            except PoolError:
                return mark
            return mark

        return job

    async def back(world: World, depth: int) -> None:
        if depth:
            try:
                await world.run(there(depth - 1))
            except PoolError:
                return

    async def both() -> None:
        try:
            async with other:
                for _ in range(2):
                    await world.run(there(dice_of_depth.choice([1, 2, 3])))
        except PoolError:
            return
        except RuntimeError:  # its own task was cancelled before it was open
            if not world.disturbed:
                raise

    dice_of_depth = random.Random(dice.random())
    world.actor("both", both)
    clients(world, 1, 2, lambda _: ok(0.1))


@scenario
def strangers(world: World) -> None:
    """E9: jobs of two pools wait for whichever job they know of, for a key, and for idleness; none waits for ever."""
    dice = world.dice
    world.unordered = True
    any_pool(
        world, max_workers=dice.choice([1, 2]), submit_timeout=0.5, job_timeout=None, shutdown_timeout=6.0, cancel_grace=1.0
    )
    other = WorkerPool(
        max_workers=1, queue_size=dice.choice([0, 1, 5]), submit_timeout=0.5, shutdown_timeout=3.0, name="other"
    )
    world.other_pools.append(other)
    world.owner(3.0)
    known: list[JobHandle[Any]] = []
    choices = random.Random(dice.random())

    def waits(depth: int) -> Job:
        async def job(world: World, mark: int) -> int:
            for _ in range(2):
                try:
                    await wait(depth)
                except PoolError:
                    continue
                except RuntimeError as error:
                    if "wait for ever" not in str(error) and "waits for itself" not in str(error):
                        raise
            return mark

        return job

    async def wait(depth: int) -> None:
        match choices.choice(["known", "known", "there", "idle", "key", "below"]):
            case "known" if known:
                await choices.choice(known).wait()
            case "there" if depth:
                known.append(await other.submit(there, depth - 1))
                await known[-1]
            case "idle" if depth:  # else it may be of that pool
                async with asyncio.timeout(1.0):
                    await other.wait_idle()
            case "key":
                await world.run(waits(0), key="a")
            case _ if depth:
                await world.run(waits(depth - 1), key=choices.choice([None, "a", "b"]))
            case _:
                await asyncio.sleep(0.1)

    async def there(depth: int) -> None:
        with suppress(PoolError):
            await world.run(waits(depth), key=choices.choice([None, "b"]))

    async def client() -> None:
        for _ in range(2):
            try:
                handle = await world.submit(waits(choices.choice([0, 1, 2])), key=choices.choice([None, "a", "b"]))
                known.append(handle)
                await world.outcome(handle)
            except PoolError:
                continue

    async def both() -> None:
        try:
            async with other:
                await asyncio.sleep(2.0)
        except RuntimeError:  # its own task was cancelled before it was open
            if not world.disturbed:
                raise

    world.actor("both", both)
    for index in range(3):
        world.actor(f"client {index}", client)


@scenario
def steered(world: World) -> None:
    """E3: the size changes, and the pool is held and let go, while it is in use, and somebody waits for it to be idle."""
    dice = world.dice
    any_pool(world, shutdown_timeout=dice.choice([1.0, 6.0]))
    world.owner(dice.choice([0.5, 3.0]))
    clients(world, 3, 2, lambda dice: dice.choice([ok(0.1), ok(0.4), cooperative(0.5), nests(ok(0.1), "run"), swallows(1)]))
    for index in range(4):
        size = dice.choice([1, 2, 5])
        world.actor(f"sizer {index}", later, world, dice.choice([0.0, 0.1, 0.3]), lambda size=size: world.resize(size))
    for index in range(dice.choice([0, 1, 2])):
        world.actor(f"pauser {index}", later, world, dice.choice([0.0, 0.1, 0.2]), lambda: world.steer("pause"))
        world.actor(f"resumer {index}", later, world, dice.choice([0.1, 0.2, 0.5]), lambda: world.steer("resume"))

    async def idle() -> None:
        await asyncio.sleep(0.1)
        await world.pool.wait_idle()

    world.actor("waiter", idle)


@scenario
def strays(world: World) -> None:
    """E4: jobs that ignore their cancellation, and a pool that starts no more while too many of them run."""
    dice = world.dice
    options: dict[str, Any] = {"max_strays": dice.choice([0, 1]), "cancel_grace": dice.choice([0.0, 0.2])}
    any_pool(world, job_timeout=0.3, shutdown_timeout=3.0, submit_timeout=dice.choice([None, 0.5]), **options)
    world.owner(2.0)
    clients(
        world, 4, 2, lambda dice: dice.choice([swallows(1, 1.0), swallows(3, 0.8), stubborn, ok(0.1), nests(ok(0.1), "run")])
    )


@scenario
def scaled(world: World) -> None:
    """E5: the number of places follows the load, as any of the policies has it."""
    dice = world.dice
    scaling = dice.choice([OnDemand(idle_period=0.2), Step(interval=0.1), QueueDelay(target=0.1, interval=0.1, evidence=1)])
    any_pool(world, min_workers=1, max_workers=dice.choice([2, 4]), scaling=scaling, shutdown_timeout=6.0)
    world.owner(dice.choice([0.5, 3.0]))
    clients(world, 4, 2, lambda dice: dice.choice([ok(0.1), ok(0.4), cooperative(0.5), nests(ok(0.1), "run"), swallows(1)]))


@scenario
def overloaded(world: World) -> None:
    """E6: a pool that refuses, drops and sheds what is too much, and lets callers run their jobs."""
    dice = world.dice
    overload = dice.choice(
        ["reject", "drop_oldest", "caller_runs", CoDel(target=0.05, interval=0.2), EarlyRefusal(low=0.0, high=1.0)]
    )
    world.sheds, world.unordered = True, isinstance(overload, CoDel) or overload == "caller_runs"
    any_pool(world, overload=overload, queue_size=dice.choice([0, 1, 3]), shutdown_timeout=dice.choice([1.0, 6.0]))
    world.owner(dice.choice([0.5, 3.0]))
    clients(world, 4, 3, lambda dice: dice.choice([ok(0.1), ok(0.2), cooperative(0.5), nests(ok(0.1), "run"), any_kind(dice)]))
    if dice.random() < 0.5:
        closer(world, "closer", dice.choice([0.1, 0.5]), dice.choice([None, 0.0, 0.5]))


@scenario
def keyed(world: World) -> None:
    """E7: jobs have priorities and keys, and some join others; no more of a key run than may."""
    dice = world.dice
    limit = dice.choice([1, 1, 2])
    world.unordered = True
    any_pool(world, key_limit=limit, aging=0.2, max_workers=3, shutdown_timeout=dice.choice([1.0, 6.0]), job_timeout=None)
    world.owner(dice.choice([0.5, 3.0]))
    inside: dict[str, int] = {}

    def job(key: str | None, delay: float) -> Job:
        async def job(world: World, mark: int) -> int:
            if key is None:
                return mark
            inside[key] = inside.get(key, 0) + 1
            if inside[key] > limit + world.pool.stats().abandoned:
                world.violation(f"R2: {inside[key]} jobs of key {key} run")
            try:
                await asyncio.sleep(delay)
            finally:
                inside[key] -= 1
            return mark

        return job

    async def client(dice: random.Random) -> None:
        for _ in range(3):
            key = dice.choice([None, "a", "a", "b"])
            options: dict[str, Any] = {"key": key, "priority": dice.choice([0, 0, -1, 2])}
            if dice.random() < 0.2:
                options["deadline"] = world.loop.time() + dice.choice([0.1, 0.5])
            try:
                handle = await world.submit(job(key, dice.choice([0.0, 0.1, 0.3])), **options)
                if dice.random() < 0.2:
                    world.cancel_job(handle)
                if key is not None and dice.random() < 0.3:
                    await world.pool.submit(asyncio.sleep, 0.1, key=key, coalesce=True)
                await world.outcome(handle)
            except PoolError:
                continue

    for index in range(4):
        world.actor(f"client {index}", client, random.Random(dice.random()))
    if dice.random() < 0.5:
        closer(world, "closer", dice.choice([0.1, 0.5]), dice.choice([None, 0.0, 0.5]))


@scenario
def tried_again(world: World) -> None:
    """E8: jobs that fail are tried again, and have no place between two attempts."""
    dice = world.dice
    random.seed(world.seed)  # of which tenacity's pauses are made
    any_pool(world, submit_timeout=None, shutdown_timeout=dice.choice([1.0, 6.0]))
    world.owner(dice.choice([0.5, 3.0]))
    policy = Retry(attempts=3, first=0.2, longest=0.5)

    async def client(dice: random.Random) -> None:
        for _ in range(2):
            try:
                await world.run(fails(dice.choice([0, 1, 2, 5])), retry=policy, timeout=dice.choice([None, 0.5]))
            except PoolError:
                continue

    for index in range(3):
        world.actor(f"client {index}", client, random.Random(dice.random()))
    clients(world, 1, 2, lambda _: ok(0.1))
