"""A Recorder remembers what an observer is told, and waits for it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.support import Gate, Stubborn, echo, fail, sleep, turns
from weirpool import JobState, PoolOverloaded, PoolState, WorkerPool
from weirpool.events import JobAccepted, JobEnded, JobStarted, PoolMoved, PoolResized, StrayEnded, SubmitRefused
from weirpool.testing import DeterministicLoop, Recorder


async def test_it_remembers_events_in_their_order() -> None:
    recorder = Recorder()
    async with WorkerPool(observers=[recorder]) as pool:
        await pool.run(echo, 1, name="one")
    moved = ["PoolMoved"]
    assert recorder.names() == [*moved, "JobAccepted", "JobStarted", "JobEnded", *moved, *moved]
    assert recorder.events[1] == JobAccepted("pool", 1, "one")
    assert [event.now for event in recorder.of(PoolMoved)] == [PoolState.OPEN, PoolState.DRAINING, PoolState.CLOSED]
    assert repr(recorder) == "<Recorder of 6 events>"


@pytest.mark.complains
async def test_it_remembers_every_kind_of_event() -> None:
    recorder, stubborn = Recorder(), Stubborn()
    async with WorkerPool(max_workers=1, queue_size=0, cancel_grace=0.01, observers=[recorder]) as pool:
        handle = await pool.submit(stubborn)
        await stubborn.started.wait()
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(echo, 1)
        handle.cancel()
        await handle.wait()
        await stubborn.release()
        await pool.resize(max_workers=2)
    kinds = {"PoolMoved", "JobAccepted", "JobStarted", "JobEnded", "StrayEnded", "SubmitRefused", "PoolResized"}
    assert set(recorder.names()) == kinds
    assert recorder.of(SubmitRefused) == (SubmitRefused("pool", "full"),)
    assert recorder.of(StrayEnded, id=1) == recorder.of(StrayEnded)
    assert recorder.of(PoolResized)[0].now == 2


async def test_of_picks_by_kind_and_by_fields() -> None:
    recorder = Recorder()
    async with WorkerPool(observers=[recorder]) as pool:
        with pytest.raises(ValueError):
            await pool.run(fail, ValueError(), name="bad")
        await pool.run(echo, 1, name="good")
    (bad,) = recorder.of(JobEnded, state=JobState.FAILED)
    assert (bad.name, type(bad.error)) == ("bad", ValueError)
    assert [event.name for event in recorder.of(JobEnded)] == ["bad", "good"]
    assert recorder.of(JobEnded, state=JobState.FAILED, name="good") == ()
    assert [event.error for event in recorder.of(JobEnded, state=JobState.SUCCEEDED)] == [None]


async def test_wait_for_returns_at_once_what_has_come_and_else_waits_for_it() -> None:
    recorder = Recorder()
    async with WorkerPool(observers=[recorder]) as pool:
        for number in range(3):
            await pool.submit(sleep, 0.1 * number, name=f"job {number}")
        assert len(await recorder.wait_for(JobAccepted, count=2)) == 3
        assert [event.name for event in await recorder.wait_for(JobEnded, name="job 1")] == ["job 1"]
        assert len(recorder.of(JobEnded)) == 2
        both = asyncio.gather(recorder.wait_for(JobEnded, count=3), recorder.wait_for(JobStarted, id=4))
        await pool.run(echo, 1)
        ended, started = await both
        assert [event.name for event in ended] == ["job 0", "job 1", "echo#4"]
        assert [event.name for event in started] == ["echo#4"]
    assert recorder._waiters == set()


async def test_wait_for_counts_what_comes() -> None:
    recorder = Recorder()
    task = asyncio.create_task(recorder.wait_for(JobAccepted, count=3, name="one"))
    await turns()
    for name in ("one", "two", "one"):
        recorder.job_accepted(JobAccepted("pool", 1, name))
        recorder.job_started(JobStarted("pool", 1, name, 0))
        await turns()
        assert not task.done()
    recorder.job_accepted(JobAccepted("pool", 1, "one"))
    assert len(await task) == 3


async def test_who_waits_and_is_cancelled_leaves_nothing_behind() -> None:
    recorder = Recorder()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await recorder.wait_for(JobEnded)
    assert recorder._waiters == set()
    task = asyncio.create_task(recorder.wait_for(JobAccepted))
    await turns()
    recorder.job_accepted(JobAccepted("pool", 1, "one"))
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_an_event_that_is_forgotten_before_the_waiter_wakes_is_waited_for_again() -> None:
    recorder = Recorder()
    task = asyncio.create_task(recorder.wait_for(JobAccepted))
    await turns()
    recorder.job_accepted(JobAccepted("pool", 1, "one"))
    recorder.clear()
    await turns()
    assert not task.done()
    recorder.job_accepted(JobAccepted("pool", 2, "two"))
    recorder.job_accepted(JobAccepted("pool", 3, "three"))
    assert [event.id for event in await task] == [2, 3]


async def test_when_it_is_full_it_forgets_the_oldest() -> None:
    recorder = Recorder(limit=2)
    for number in range(5):
        recorder.job_accepted(JobAccepted("pool", number, ""))
    assert [event.id for event in recorder.of(JobAccepted)] == [3, 4]
    assert recorder.forgotten == 3
    recorder.clear()
    assert (recorder.events, recorder.forgotten) == ((), 0)


def test_it_works_in_virtual_time() -> None:
    async def main() -> float:
        recorder = Recorder()
        async with WorkerPool(observers=[recorder]) as pool:
            await pool.submit(asyncio.sleep, 3600)
            await recorder.wait_for(JobEnded)
            return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=DeterministicLoop) as runner:
        assert runner.run(main()) == 3600


@pytest.mark.realtime
async def test_who_waits_may_do_so_on_another_loop_than_the_pool() -> None:
    recorder, gate = Recorder(), Gate()
    thread = threading.Thread(target=lambda: asyncio.run(recorder.wait_for(JobEnded)))
    async with WorkerPool(observers=[recorder]) as pool:
        await pool.submit(gate)
        thread.start()
        while not recorder._waiters:
            await asyncio.sleep(0.001)
        gate.open()
        await recorder.wait_for(JobEnded)
        await asyncio.to_thread(thread.join)


async def test_a_waiter_whose_loop_was_closed_does_no_harm() -> None:
    recorder, loop = Recorder(), asyncio.SelectorEventLoop()
    waiting: Any = recorder.wait_for(JobAccepted)

    def begin() -> None:
        asyncio._set_running_loop(None)
        with asyncio.Runner(loop_factory=lambda: loop):
            loop.call_soon(waiting.send, None)
            loop.call_soon(loop.stop)
            loop.run_forever()

    await asyncio.to_thread(begin)
    assert loop.is_closed()
    recorder.job_accepted(JobAccepted("pool", 1, ""))
    waiting.close()
    assert recorder._waiters == set()


class Unequal:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("kind", [str, "JobEnded", JobEnded("pool", 1, "", JobState.FAILED, None, None), None, Unequal()])
async def test_what_is_no_kind_of_event_is_refused(kind: Any) -> None:
    recorder = Recorder()
    with pytest.raises(TypeError, match=r"kind must be one of JobAccepted, JobStarted, .* got "):
        recorder.of(kind)
    with pytest.raises(TypeError, match="kind must be one of JobAccepted"):
        await recorder.wait_for(kind)


async def test_what_is_no_field_or_no_number_is_refused() -> None:
    recorder = Recorder(limit=5)
    with pytest.raises(TypeError, match="JobEnded has no field 'status': its fields are pool, id, name, state"):
        recorder.of(JobEnded, status=JobState.FAILED)
    with pytest.raises(TypeError, match="JobAccepted has no field 'state'"):
        await recorder.wait_for(JobAccepted, state=JobState.FAILED)
    with pytest.raises(ValueError, match="count must be an int of at least 1 and at most 5, got 6"):
        await recorder.wait_for(JobEnded, count=6)
    with pytest.raises(ValueError, match="limit must be an int of at least 1, got 0"):
        Recorder(limit=0)
    with pytest.raises(TypeError, match=r"limit must be an int of at least 1, got 2\.5"):
        Recorder(limit=2.5)  # type: ignore[arg-type]
