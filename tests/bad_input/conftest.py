"""A pool that no bad input may hurt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import Gate, echo, turns
from weirpool import PoolState, WorkerPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    """An open pool with a job that runs; it must be none the worse for what a test does to it."""
    gate = Gate()
    async with WorkerPool(max_workers=2, queue_size=2, shutdown_timeout=0.5, cancel_grace=0.2, name="webhooks") as pool:
        handle = await pool.submit(gate, "undisturbed")
        await turns()
        before = pool.stats()
        yield pool
        assert pool.stats() == before, "nothing has changed"
        assert pool.state is PoolState.OPEN
        assert await pool.run(echo, 7) == 7
        gate.open()
        assert await handle == "undisturbed"
