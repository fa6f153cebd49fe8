"""Part "pools": a great many pools, each opened, used a little and closed in one of many ways; nothing of them may stay."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from weirpool import JobHandle, PoolClosed, PoolState, WorkerPool

from .bars import Bar, Mistakes, Result, at_most, exactly, say
from .gauges import Noise, Samples, live_objects, take
from .loops import drive, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["soak"]

_AT_ONCE = 16
_EACH = 400  # pools, at least, between samples: each sample itself leaves two blocks of memory or so
_SAMPLES = 50  # at most
_WARM_UP = 4_000  # pools: until then Python specialises code, and each kind of failure fills caches at its first time
SLOPE = 1.0  # MiB per hundred thousand pools, at most
NOISE = 1.0  # MiB that a short run may grow
# An object that every pool in one of the nine lives leaves behind is a block in nine.
BLOCKS = 0.05  # blocks of memory that stay per pool, at most


class Street:
    """Open pools and close them; keep what is counted.

    Attributes:
        jobs: how many jobs the pools accepted.
        lives: how many pools there were, by what was done to them.
        uncollected: objects of weirpool's types that waited for the garbage collector, by type.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.mistakes = Mistakes()
        self.noise = Noise(self.mistakes)
        self.noise.install()
        self.jobs = 0
        self.lives: Counter[str] = Counter()
        self.uncollected: Counter[str] = Counter()
        self.samples = Samples()

    async def run(self, pools: int) -> None:
        """Open and close so many pools, some at once, and measure at intervals."""
        began = time.perf_counter()
        known = live_objects()
        samples = max(3, min(_SAMPLES, pools // _EACH))
        for number in range(samples + 1):  # the first is not counted: it is the warm-up
            await asyncio.gather(*(self._tenant(pools // samples // _AT_ONCE) for _ in range(_AT_ONCE)))
            await asyncio.sleep(0)
            self.uncollected += live_objects() - known
            gc.collect()
            if left := live_objects() - known:
                self.mistakes.note("pools are left", left)
            sample = take(sum(self.lives.values()))
            if number:
                self.samples.add(sample)
            if number % 5 == 0:
                say(
                    f"  {sample.done:>8,} pools  {sample.done / (time.perf_counter() - began):6,.0f}/s  {self.jobs:9,} jobs"
                    f"  rss {sample.rss:6.2f} MiB  {sample.blocks:,} blocks  fds {sample.fds}  tasks {sample.tasks}"
                    f"  threads {sample.threads}  mistakes {self.mistakes.counts.total()}"
                )

    async def _tenant(self, pools: int) -> None:
        for _ in range(pools):
            way = self.rng.choice(_LIVES)
            self.lives[way.__name__.strip("_")] += 1
            pool = WorkerPool(max_workers=2, queue_size=self.rng.choice((0, 4)), cancel_grace=0.01, shutdown_timeout=5.0)
            handles: list[JobHandle[Any]] = []
            await way(self, pool, handles)
            self._check(pool, handles)

    def _check(self, pool: WorkerPool, handles: list[JobHandle[Any]]) -> None:
        stats, report = pool.stats(), pool.report
        if report is None or stats.state is not PoolState.CLOSED:
            self.mistakes.note("not closed", pool)
            return
        ends = report.succeeded + report.failed + report.timed_out + report.cancelled + report.abandoned
        if report.accepted != ends or report.accepted != len(handles):
            self.mistakes.note("does not add up", f"{len(handles)} handles, {report}")
        for handle in handles:
            if not handle.done():
                self.mistakes.note("a job has not ended", handle)
            else:
                handle.exception()
        self.jobs += len(handles)

    def fill(self, pool: WorkerPool, handles: list[JobHandle[Any]]) -> None:
        """Submit a few jobs, as many as there is room for."""
        for _ in range(self.rng.randrange(7)):
            stats = pool.stats()
            if stats.running + stats.queued < stats.max_workers + stats.queue_size:
                handles.append(pool.submit_nowait(self.rng.choice(_JOBS), timeout=self.rng.choice((None, 0.005))))


# The jobs -----------------------------------------------------------------------------------------------------------------


async def _fine() -> int:
    await asyncio.sleep(0)
    return 1


async def _fails() -> None:
    raise ValueError


async def _waits() -> None:
    await asyncio.sleep(0.002)


async def _lingers() -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0.002)
    await asyncio.sleep(0)


_JOBS: tuple[Callable[[], Awaitable[Any]], ...] = (_fine, _fails, _waits, _lingers)

# The lives of a pool ------------------------------------------------------------------------------------------------------


async def _drained(street: Street, pool: WorkerPool, handles: list[JobHandle[Any]]) -> None:
    async with pool:
        street.fill(pool, handles)


async def _unused(_street: Street, pool: WorkerPool, _handles: list[JobHandle[Any]]) -> None:
    async with pool:
        pass


async def _never_entered(_street: Street, pool: WorkerPool, _handles: list[JobHandle[Any]]) -> None:
    await pool.aclose()


async def _closed_at_once(street: Street, pool: WorkerPool, handles: list[JobHandle[Any]]) -> None:
    async with pool:
        street.fill(pool, handles)
        await asyncio.sleep(street.rng.choice((0, 0, 0.001)))
        await pool.aclose(timeout=0.02)


async def _abandoned(street: Street, pool: WorkerPool, handles: list[JobHandle[Any]]) -> None:
    release = asyncio.Event()

    async def ignores() -> None:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()

    async with pool:
        handles.append(pool.submit_nowait(ignores))
        street.fill(pool, handles)
        await asyncio.sleep(0)
        await pool.aclose(timeout=0)
    release.set()
    await until(lambda: not pool.stats().strays)


async def _opening_cancelled(street: Street, pool: WorkerPool, _handles: list[JobHandle[Any]]) -> None:
    opening = asyncio.create_task(pool.__aenter__())
    for _ in range(street.rng.randrange(4)):
        await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])
    await pool.aclose()


async def _block_cancelled(street: Street, pool: WorkerPool, handles: list[JobHandle[Any]]) -> None:
    async def block() -> None:
        async with pool:
            street.fill(pool, handles)
            await asyncio.sleep(3600)

    task = asyncio.create_task(block())
    await asyncio.sleep(street.rng.choice((0, 0.001)))
    task.cancel()
    await asyncio.wait([task])
    await pool.aclose()  # if it was never entered


async def _block_raises(street: Street, pool: WorkerPool, handles: list[JobHandle[Any]]) -> None:
    with suppress(LookupError):
        async with pool:
            street.fill(pool, handles)
            raise LookupError


async def _submitters_wait(street: Street, pool: WorkerPool, handles: list[JobHandle[Any]]) -> None:
    async def submitter() -> None:
        with suppress(PoolClosed):
            handles.append(await pool.submit(_waits))

    async with pool:
        street.fill(pool, handles)
        submitters = [asyncio.create_task(submitter()) for _ in range(8)]
        await asyncio.sleep(0)
        submitters[-1].cancel()
    await asyncio.wait(submitters)


_LIVES = (
    _drained,
    _unused,
    _never_entered,
    _closed_at_once,
    _abandoned,
    _opening_cancelled,
    _block_cancelled,
    _block_raises,
    _submitters_wait,
)


# The part -----------------------------------------------------------------------------------------------------------------


async def _run(pools: int, seed: int) -> Street:
    street = Street(seed)
    await street.run(pools)
    return street


def soak(pools: int, seed: int, loop: str) -> Result:
    """Run the part, and judge it."""
    began = time.perf_counter()
    street, _ = drive(_run(pools, seed), loop)
    samples = street.samples
    warm_up = min(0.5, max(0.1, _WARM_UP / pools))
    slope, grown = samples.grown("rss", warm_up)
    blocks, _ = samples.grown("blocks", warm_up)
    unsure = street.lives["opening_cancelled"] + street.lives["block_cancelled"]
    opened = street.lives.total() - street.lives["never_entered"] - unsure
    reports = street.noise.counts["weirpool.pool.closed"]
    figures = {
        "pools": street.lives.total(),
        "jobs": street.jobs,
        "seconds": round(time.perf_counter() - began, 1),
        "lives": dict(street.lives),
        "rss_slope_mib_per_100k": round(slope * 1e5, 4),
        "blocks_per_pool": round(blocks, 5),
        "waited_for_the_collector": dict(street.uncollected),
        "samples": samples.plain(),
    }
    bars = [
        street.mistakes.bar(),
        Bar(
            "pools that logged a report",
            f"{reports:,}",
            f"{opened:,} that were open, and at most {unsure:,} whose opening was cancelled",
            opened <= reports <= opened + unsure,
        ),
        at_most("growth of memory after warm-up", slope * 1e5, SLOPE, "MiB per 100,000 pools")
        if pools >= 20_000
        else at_most("growth of memory after warm-up", grown, NOISE, "MiB"),
        at_most("blocks of memory that stay, per pool", blocks, BLOCKS),
        exactly("most open descriptors, as at the start", samples.most("fds"), samples.first("fds")),
        exactly("most threads", samples.most("threads"), 1),
        exactly("most tasks between the pools", samples.most("tasks"), 1),
    ]
    return Result("pools", figures, bars)
