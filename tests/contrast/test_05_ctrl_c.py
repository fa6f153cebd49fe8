"""Rule 5: Ctrl-C ends the program while a job runs, also where the pool was left open (R16, R17)."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

from tests.contrast.against import against
from tests.contrast.stage import FOREVER, program, turns

if TYPE_CHECKING:
    from tests.contrast.pools import Pool


@against("ctrl_c", "weirpool", "aiojobs", "aiolibs-executor", "asyncio-pool", "anyio", "stdlib")
def test_ctrl_c_ends_the_program_while_a_job_runs(library: type[Pool]) -> str:
    async def work(pool: Pool) -> None:
        await pool.submit(asyncio.sleep, FOREVER)
        await turns()
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(FOREVER)

    async def main() -> None:
        if library.only_a_block:
            async with library() as pool:
                await work(pool)
        else:
            await work(await library().__aenter__())

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored by what runs in the background
    try:
        return program(main)
    finally:
        signal.signal(signal.SIGINT, before)
