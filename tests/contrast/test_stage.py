"""The stage ends what would not end by itself, says how it went, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import math
import sys
from typing import Any

import pytest

from tests.contrast.stage import FOREVER, HANGS, SPINS, Deaf, play, program


async def _ends() -> str:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.sleep(FOREVER)
    return f"after {loop.time() - began:g} seconds"


async def _waits_for_nothing() -> str:
    await asyncio.get_running_loop().create_future()
    return "never"


async def _waits_for_too_long() -> str:
    while True:
        await asyncio.sleep(1)


async def _turns_for_ever() -> str:
    while True:
        await asyncio.sleep(0)


async def _blocks_for_ever() -> str:
    while True:
        pass


async def _waits_for_a_deaf_job() -> str:
    async with asyncio.TaskGroup() as group:
        group.create_task(Deaf(math.inf)())
        await asyncio.sleep(1)
        raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("scenario", "outcome"),
    [
        (_ends, "after 3600 seconds"),
        (_waits_for_nothing, HANGS),
        (_waits_for_too_long, HANGS),
        (_turns_for_ever, SPINS),
        (_blocks_for_ever, SPINS),
        (_waits_for_a_deaf_job, HANGS),
    ],
)
def test_whatever_is_played_comes_to_an_end(scenario: Any, outcome: str) -> None:
    assert play(scenario) == outcome


async def _exits() -> None:
    asyncio.get_running_loop().call_soon(sys.exit)
    await asyncio.sleep(FOREVER)


async def _leaves_a_deaf_task() -> None:
    task = asyncio.create_task(Deaf(math.inf)())
    await asyncio.sleep(1)
    assert not task.done()


@pytest.mark.parametrize(("main", "outcome"), [(_ends, "ends"), (_exits, "ends"), (_leaves_a_deaf_task, HANGS)])
def test_a_program_ends_when_asyncio_run_does(main: Any, outcome: str) -> None:
    assert program(main) == outcome


@pytest.mark.parametrize("runner", [play, program])
def test_a_mistake_in_a_scenario_is_no_outcome(runner: Any) -> None:
    async def wrong() -> str:
        raise LookupError("a mistake")

    with pytest.raises(LookupError, match="a mistake"):
        runner(wrong)
