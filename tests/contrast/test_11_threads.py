"""Rule 11: a thread that overruns the closing does not stop the event loop (R13).

On the real clock, as threads know no other. How fast the machine is makes no difference: what the thread waits for is
either done by the event loop, or not until the thread has given up.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from tests.contrast.against import against

if TYPE_CHECKING:
    from tests.contrast.pools import Pool

PATIENCE = 2.5  # seconds, which the test takes where the event loop stands still


class Thread:
    """A function that blocks its thread, past the closing of its pool, until the event loop says that it goes on."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.released = threading.Event()
        self.outcome = "it never ended"
        self.ended = threading.Event()

    def __call__(self) -> None:
        self.started.set()
        self.outcome = "the loop goes on" if self.released.wait(PATIENCE) else "the loop stands still"
        self.ended.set()


async def _closed(library: type[Pool], thread: Thread) -> None:
    loop = asyncio.get_running_loop()
    async with library(budget=0.05) as pool:
        await pool.submit_thread(thread)
        while not thread.started.is_set():
            await asyncio.sleep(0.001)
        loop.call_later(0.1, thread.released.set)
    while not thread.ended.is_set():
        await asyncio.sleep(0.001)


@pytest.mark.realtime
@against("threads", "weirpool", "aiojobs", "aiolibs-executor", "asyncio-pool", "anyio", "stdlib", "taskiq", "SAQ")
def test_a_thread_that_overruns_the_closing_does_not_stop_the_loop(library: type[Pool]) -> str:
    thread = Thread()
    asyncio.run(_closed(library, thread))
    return thread.outcome
