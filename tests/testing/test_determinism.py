"""A seed means the same in every process, whatever has happened there before."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, sys
from weirpool.testing import DeterministicLoop, run

trace = []


async def child(number):
    try:
        await asyncio.sleep(1)
    except asyncio.CancelledError:
        trace.append(number)
        await asyncio.sleep(0)
        trace.append(-number)
        raise


async def fail():
    await asyncio.sleep(0.5)
    raise ValueError


async def group_is_aborted():
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(child(number))
            group.create_task(fail())
    except* ValueError:
        pass


async def all_are_cancelled():
    tasks = [asyncio.create_task(child(number)) for number in range(30)]
    await asyncio.sleep(0.5)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    trace.extend(hash(task) for task in (await asyncio.wait(tasks))[0])
    trace.extend(hash(future) for future in {asyncio.get_running_loop().create_future() for _ in range(9)})


async def eager_group_is_aborted():
    asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory", None))
    await group_is_aborted()


async def generators_are_left_open():
    async def generate(number):
        try:
            yield number
        finally:
            trace.append(number)

    for number in range(20):
        generator = generate(number)
        kept.append(generator)
        await anext(generator)


async def unrelated():
    await asyncio.sleep(0)


kept = []
other = asyncio.new_event_loop()
tasks = [other.create_task(unrelated()) for _ in range(int(sys.argv[1]))]
for main in (group_is_aborted, all_are_cancelled, eager_group_is_aborted, generators_are_left_open):
    for schedule in ("fifo", "random:1", "pct:1~10", "fifo @40:cancel-all"):
        result = run(main, schedule)
        trace.append((str(result.error), result.steps, result.deviations))
other.run_until_complete(unrelated())
other.close()
print(trace)
"""


@pytest.mark.realtime
def test_a_seed_means_the_same_in_every_process() -> None:
    traces = set()
    for unrelated_tasks, hash_seed in ((0, "0"), (3, "1"), (8, "2"), (17, "random")):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(unrelated_tasks)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        traces.add(done.stdout)
    assert len(traces) == 1
    assert len(traces.pop()) > 1000
