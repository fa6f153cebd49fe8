"""Rule 6: a BaseException from one job harms neither the others nor the closing, and SystemExit ends the program (R5)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from tests.contrast.against import against
from tests.contrast.stage import play, program

if TYPE_CHECKING:
    from tests.contrast.pools import Pool


class Fatal(BaseException):
    """Not an `Exception`, as `pytest.fail.Exception` or `trio.Cancelled` are not."""


@against("base_exception", "weirpool", "aiojobs", "aiolibs-executor", "asyncio-pool", "anyio", "stdlib", "taskiq", "SAQ")
def test_a_base_exception_stays_with_its_job(library: type[Pool]) -> str:
    ends = {program(partial(_fatal_to_the_program, library, error)) for error in (SystemExit, KeyboardInterrupt)}
    return f"{play(partial(_fatal_to_the_job, library))}, {' or '.join(sorted(ends))}"


async def _fatal_to_the_job(library: type[Pool]) -> str:
    others = "cancelled"

    async def fails() -> None:
        await asyncio.sleep(1)
        raise Fatal

    async def other() -> None:
        nonlocal others
        await asyncio.sleep(2)
        others = "unharmed"

    try:
        async with library(workers=2) as pool:
            await pool.submit(fails)
            await pool.submit(other)
            await asyncio.sleep(3)
    except (Fatal, BaseExceptionGroup):
        return f"others {others}, closing raises it"
    return f"others {others}, closes"


async def _fatal_to_the_program(library: type[Pool], error: type[BaseException]) -> None:
    async def exits() -> None:
        await asyncio.sleep(1)
        raise error

    if library.only_a_block:
        async with library() as pool:
            await pool.submit(exits)
            await asyncio.sleep(5)
    else:
        pool = await library().__aenter__()
        await pool.submit(exits)
        await asyncio.sleep(5)
