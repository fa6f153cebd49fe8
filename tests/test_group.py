"""What weirpool uses of `asyncio.TaskGroup` that is not promised to stay."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import Any

import pytest

from tests.support import FOREVER, Gate, Stubborn, turns
from weirpool import JobHandle, WorkerPool, _group
from weirpool._group import JobGroup

RUN: Any = object()


async def test_a_task_that_leaves_by_itself_is_not_waited_for_and_one_that_does_not_is() -> None:
    loop = asyncio.get_running_loop()
    leaves, stays = Gate(), Gate()
    async with JobGroup() as group:
        tasks = [loop.create_task(gate()) for gate in (leaves, stays)]
        for task in tasks:
            group.enter(task, RUN)
        assert list(group.members) == tasks
        group.leave(tasks[0], None)
        assert list(group.members) == tasks[1:]
        loop.call_later(0.1, stays.open)
    assert tasks[1].done()
    assert not tasks[0].done()
    assert not group._tasks
    leaves.open()
    await turns()


async def test_a_task_that_is_kept_and_fails_ends_the_group_like_any_other() -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError("a bug")

    with pytest.raises(ExceptionGroup) as caught:
        async with JobGroup() as group:
            task = asyncio.get_running_loop().create_task(fails())
            group.enter(task, RUN)
            group.keep(task)
            await asyncio.sleep(FOREVER)
    assert [str(error) for error in caught.value.exceptions] == ["a bug"]


async def test_tasks_that_are_left_are_cancelled_with_whoever_leaves_the_group() -> None:
    gate = Gate()

    async def owner() -> None:
        async with JobGroup() as group:
            group.enter(asyncio.get_running_loop().create_task(gate()), RUN)

    task = asyncio.create_task(owner())
    await turns()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert gate.inside == 0


async def test_a_job_is_shown_below_the_task_of_its_pool_where_there_is_a_graph_of_tasks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = []
    monkeypatch.setattr(_group, "_add_to_graph", lambda *edge: shown.append(edge))
    gate = Gate()
    async with JobGroup() as group:
        task = asyncio.get_running_loop().create_task(gate())
        group.enter(task, RUN)
        assert shown == [(task, asyncio.current_task())]
        assert group.members == {task: RUN}
        gate.open()


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the graph of tasks came with Python 3.14")
async def test_a_job_is_shown_below_the_task_of_its_pool_in_the_graph_of_tasks() -> None:
    gate = Gate()
    async with JobGroup() as group:
        task = asyncio.get_running_loop().create_task(gate())
        group.enter(task, RUN)
        graph = asyncio.capture_call_graph(task)  # type: ignore[attr-defined,unused-ignore]
        assert [entry.future for entry in graph.awaited_by] == [asyncio.current_task()]
        gate.open()


@pytest.mark.complains
@pytest.mark.parametrize("how", ["returns", "is cancelled before its first step", "is abandoned, and ends later"])
async def test_the_task_of_a_job_leaves_the_group_however_the_job_ends(how: str) -> None:
    stubborn = Stubborn()
    async with WorkerPool(cancel_grace=0.05) as pool:
        if how == "returns":
            await pool.run(asyncio.sleep, 0)
        elif how == "is cancelled before its first step":
            handle: JobHandle[Any] = pool.submit_nowait(asyncio.sleep, FOREVER)
            handle.cancel()
            await handle.wait()
        else:
            handle = await pool.submit(stubborn)
            await stubborn.started.wait()
            handle.cancel()
            await handle.wait()
            assert len(pool._crew.supervisor.group.members) == 1
            await stubborn.release()
        await turns()
        assert not pool._crew.supervisor.group.members
