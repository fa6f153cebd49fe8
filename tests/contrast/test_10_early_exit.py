"""Rule 10: reading results can stop early: the rest is stopped, and of a long source only a window was read (R2, R7).

A library's own `map` is used where it has one; where it has none, what one writes with submit and cancel.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio

from tests.contrast.against import against

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contrast.pools import AiolibsExecutor, AsyncioPool, Pool, Weirpool

ITEMS = 100
WORKERS = 3
WAITING = 3
AFTERWARDS = 200.0  # seconds, in which all items could be run


class Work:
    """A hundred items, each of which takes a little longer than the one before, and what has been done with them."""

    def __init__(self) -> None:
        self.read = 0
        self.ended = 0
        self.read_in_time = 0

    def __iter__(self) -> Iterator[int]:
        while self.read < ITEMS:
            self.read += 1
            yield self.read

    def __len__(self) -> int:
        return ITEMS

    async def fetch(self, item: int) -> int:
        await asyncio.sleep(1 + item / 100)
        self.ended += 1
        return item

    def first_result(self) -> None:
        """Note how many items were read by now."""
        self.read_in_time = self.read

    async def outcome(self) -> str:
        await asyncio.sleep(AFTERWARDS)
        read = "a window" if self.read_in_time <= WORKERS + WAITING + 2 else "all" if self.read_in_time == ITEMS else "some"
        rest = "all run" if self.ended == ITEMS else "the rest stopped" if self.ended <= WORKERS else "some run"
        return f"{read} read, {rest}"


@against("early_exit", "weirpool")
async def test_leaving_weirpools_map_stops_the_rest(library: type[Weirpool]) -> str:
    work = Work()
    async with library(workers=WORKERS, waiting=WAITING) as pool:
        async for _result in pool.pool.map(work.fetch, work):
            work.first_result()
            break
    return await work.outcome()


@against("early_exit", "aiojobs")
async def test_stopping_early_by_hand_stops_the_rest(library: type[Pool]) -> str:
    work = Work()
    handles: asyncio.Queue[Any] = asyncio.Queue()

    async def feed() -> None:
        for item in work:
            handles.put_nowait(await pool.submit_when_there_is_room(work.fetch, item))

    async with library(workers=WORKERS, waiting=WAITING) as pool:
        feeding = asyncio.create_task(feed())
        await pool.result(await handles.get())
        work.first_result()
        feeding.cancel()
        await asyncio.wait([feeding])
        await asyncio.gather(*(pool.cancel(handles.get_nowait()) for _ in range(handles.qsize())))
    return await work.outcome()


@against("early_exit", "aiolibs-executor")
async def test_leaving_map_stops_the_rest(library: type[AiolibsExecutor]) -> str:
    work = Work()
    async with (
        library(workers=WORKERS, waiting=WAITING, budget=100) as pool,
        aclosing(pool.executor.map(work.fetch, work)) as results,
    ):
        async for _result in results:
            work.first_result()
            break
    return await work.outcome()


@against("early_exit", "asyncio-pool")
async def test_leaving_itermap_stops_the_rest(library: type[AsyncioPool]) -> str:
    work = Work()
    async with (
        library(workers=WORKERS, budget=100) as pool,
        aclosing(pool.pool.itermap(work.fetch, work, yield_when=asyncio.FIRST_COMPLETED)) as results,
    ):
        async for _result in results:
            work.first_result()
            break
    return await work.outcome()


@against("early_exit", "aiometer")
async def test_leaving_amap_stops_the_rest(aiometer: Any) -> str:
    work = Work()
    async with aiometer.amap(work.fetch, work, max_at_once=WORKERS) as results:
        async for _result in results:
            work.first_result()
            break
    return await work.outcome()


@against("early_exit", "anyio")
async def test_leaving_anyios_as_completed_stops_the_rest(library: type[Pool]) -> str:
    work = Work()
    async with anyio.as_completed(*map(work.fetch, work)) as results:
        async for _result in results:
            work.first_result()
            break
    return await work.outcome()


@against("early_exit", "stdlib")
async def test_leaving_asyncios_as_completed_stops_the_rest(library: type[Pool]) -> str:
    work = Work()
    for result in asyncio.as_completed(map(work.fetch, work)):
        await result
        work.first_result()
        break
    return await work.outcome()
