"""Rule 9: first come, first served: a new submitter does not overtake one that waits for room (R3)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import anyio

from tests.contrast.against import against
from tests.contrast.stage import play, turns

if TYPE_CHECKING:
    from tests.contrast.pools import Pool


@against("first_come", "weirpool", "aiojobs", "aiolibs-executor", "asyncio-pool")
def test_nobody_overtakes_a_submitter_that_waits(library: type[Pool]) -> str:
    orders = {play(partial(_order, library, late)) for late in range(6)}
    return max(orders)  # of which "a b c d" is the least


async def _order(library: type[Pool], late: int) -> str:
    """Have one job run, one wait and a third submitter wait for room; then, when there is room, let a fourth one come."""
    order: list[str] = []

    async def job(name: str) -> None:
        order.append(name)
        await asyncio.sleep(1)

    async with library(workers=1, waiting=1, budget=50) as pool:
        submitters = []
        for name in "abc":
            submitters.append(asyncio.create_task(pool.submit_when_there_is_room(job, name)))
            await turns()
        await asyncio.sleep(1)  # the timer of the first job was set before this one
        await turns(late)
        submitters.append(asyncio.create_task(pool.submit_when_there_is_room(job, "d")))
        await asyncio.wait(submitters)
    return " ".join(order)


@against("first_come", "stdlib")
async def test_nobody_overtakes_a_put_that_waits(library: type[Pool]) -> str:
    queue: asyncio.Queue[str] = asyncio.Queue(maxsize=2)
    queue.put_nowait("a")
    queue.put_nowait("b")
    waits = asyncio.create_task(queue.put("c"))
    await turns()
    order = [await queue.get()]
    async with asyncio.TaskGroup() as group:
        try:
            queue.put_nowait("d")
        except asyncio.QueueFull:
            group.create_task(queue.put("d"))
        while len(order) < 4:
            order.append(await queue.get())
    await waits
    return " ".join(order)


@against("first_come", "anyio")
async def test_nobody_overtakes_a_send_that_waits(library: type[Pool]) -> str:
    send, receive = anyio.create_memory_object_stream[str](2)
    with send, receive:
        send.send_nowait("a")
        send.send_nowait("b")
        async with anyio.create_task_group() as group:
            group.start_soon(send.send, "c")
            await turns()
            order = [await receive.receive()]
            try:
                send.send_nowait("d")
            except anyio.WouldBlock:
                group.start_soon(send.send, "d")
            while len(order) < 4:
                order.append(await receive.receive())
    return " ".join(order)
