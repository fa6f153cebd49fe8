"""`pool.results()`: a stream of every job that ends, with a bound on what waits to be read."""

from __future__ import annotations

import asyncio
import gc
from contextlib import aclosing
from typing import Any

import pytest

from tests.support import FOREVER, Gate, Stubborn, echo, fail, sleep, turns
from weirpool import JobHandle, JobState, Results, WorkerPool
from weirpool.events import JobEnded, Observer
from weirpool.testing import explore


def watched(pool: WorkerPool) -> bool:
    """Say whether anybody is told of what happens in the pool."""
    return pool._crew._observers is not None


async def read(stream: Results) -> list[Any]:
    """Return the results of all jobs of a stream."""
    return [handle.result() async for handle in stream]


async def handles_of(stream: Results) -> list[JobHandle[Any]]:
    """Return the handles of all jobs of a stream."""
    return [handle async for handle in stream]


async def test_every_job_comes_in_the_order_in_which_they_end_whoever_has_submitted_it() -> None:
    async with WorkerPool() as pool:
        await pool.run(echo, "before")
        stream = pool.results()
        reader = asyncio.create_task(read(stream))
        for number in (3, 1, 2):
            await pool.submit(sleep, number / 10, number)
        await pool.run(echo, 0)
        await pool.aclose()
        assert await reader == [0, 1, 2, 3]
        assert stream.missed == 0


@pytest.mark.complains
async def test_jobs_come_whichever_way_they_end() -> None:
    stubborn = Stubborn()
    async with WorkerPool(max_workers=2, cancel_grace=0.1) as pool:
        stream = pool.results()
        hold = await pool.submit(stubborn, timeout=0.1)
        await stubborn.started.wait()
        await pool.submit(fail, ValueError("no"))
        last = await pool.submit(sleep, FOREVER, timeout=0.1)
        await last.wait()
        other = await pool.submit(sleep, FOREVER)
        (await pool.submit(echo, "queued")).cancel()
        other.cancel()
        await hold.wait()
        await turns()
        assert repr(stream) == "<Results: 5 to read, 0 missed>"
        seen = [await anext(stream) for _ in range(5)]
        assert sorted(handle.state.value for handle in seen) == ["abandoned", "cancelled", "cancelled", "failed", "timed_out"]
        assert sum(isinstance(handle.exception(), ValueError) for handle in seen) == 1
        await stubborn.release()


async def test_a_slow_reader_misses_the_oldest_and_is_told_how_many() -> None:
    async with WorkerPool() as pool:
        stream, fast = pool.results(buffer=2), pool.results()
        for number in range(5):
            await pool.run(echo, number)
        assert stream.missed == 3
        assert (await anext(stream)).result() == 3
        await pool.run(echo, 5)
    assert await read(stream) == [4, 5]
    assert await read(fast) == [0, 1, 2, 3, 4, 5]
    assert (stream.missed, fast.missed) == (3, 0)


async def test_nobody_is_told_where_nobody_reads() -> None:
    async with WorkerPool() as pool:
        assert not watched(pool)
        async with pool.results() as stream:
            assert watched(pool)
            await pool.run(echo, 1)
            assert (await anext(stream)).result() == 1
        await pool.run(echo, 2)
        await turns()
        assert not watched(pool)
        assert await read(stream) == []
        async with pool.results() as stream:
            await pool.run(echo, 3)
            assert (await anext(stream)).result() == 3


async def test_a_stream_that_is_dropped_is_forgotten_and_others_are_not() -> None:
    async with WorkerPool() as pool:
        other = pool.results()

        async def first() -> Any:
            async for handle in pool.results():
                return handle.result()
            return None

        reader = asyncio.create_task(first())
        await turns()
        await pool.run(echo, 1)
        assert await reader == 1
        gc.collect()
        await pool.run(echo, 2)
        await turns()
        assert watched(pool)
        await other.aclose()
        await pool.run(echo, 3)
        await turns()
        assert not watched(pool)
        stream = pool.results()
        await pool.run(echo, 4)
        assert (await anext(stream)).result() == 4


async def test_a_stream_that_comes_when_the_last_has_just_gone_stays() -> None:
    async with WorkerPool() as pool:
        stream = pool.results()
        await stream.aclose()
        await pool.run(echo, 1)  # which notices, and has it seen to in a turn of its own
        stream = pool.results()
        await turns()
        assert watched(pool)
        await pool.run(echo, 2)
        assert [(await anext(stream)).result()] == [2]
        await stream.aclose()
        gone, also_gone = pool.results(), pool.results()
        await gone.aclose()
        await also_gone.aclose()
        for number in range(2):
            pool.submit_nowait(echo, number)
        await pool.wait_idle()
        await turns()
        assert not watched(pool)


async def test_a_reader_ends_when_its_stream_is_closed() -> None:
    async with WorkerPool() as pool:
        stream = pool.results()
        reader = asyncio.create_task(read(stream))
        await turns()
        await stream.aclose()
        assert await reader == []


async def test_no_job_is_lost_when_a_reader_is_cancelled() -> None:
    async with WorkerPool() as pool:
        stream = pool.results()
        for after in (False, True):
            reader = asyncio.ensure_future(anext(stream))
            await turns()
            handle = await pool.submit(echo, 1)
            if after:
                await handle.wait()
            reader.cancel()
            await asyncio.wait([reader])
            assert reader.cancelled() or reader.result() is handle
            if reader.cancelled():
                assert (await anext(stream)) is handle


async def test_tasks_that_share_a_stream_share_the_jobs() -> None:
    async with WorkerPool() as pool:
        stream = pool.results()
        readers = [asyncio.create_task(read(stream)) for _ in range(2)]
        await turns()
        for number in range(4):
            await pool.run(echo, number)
            await turns()
        await pool.aclose()
        both = [await reader for reader in readers]
        assert sorted([*both[0], *both[1]]) == [0, 1, 2, 3]


class Ended(Observer):
    """Count what is heard."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def job_ended(self, event: JobEnded, /) -> None:
        self.heard.append("ended")

    def job_accepted(self, event: object, /) -> None:
        self.heard.append("accepted")

    def job_started(self, event: object, /) -> None:
        self.heard.append("started")

    def stray_ended(self, event: object, /) -> None:
        self.heard.append("stray")

    def submit_refused(self, event: object, /) -> None:
        self.heard.append("refused")

    def pool_moved(self, event: object, /) -> None:
        self.heard.append("moved")

    def pool_resized(self, event: object, /) -> None:
        self.heard.append("resized")


@pytest.mark.complains
@pytest.mark.parametrize("reading", [False, True])
async def test_observers_hear_the_same_while_somebody_reads(reading: bool) -> None:
    observer, stubborn, gate = Ended(), Stubborn(), Gate()
    async with WorkerPool(max_workers=1, queue_size=1, cancel_grace=0.1, observers=[observer]) as pool:
        stream = pool.results() if reading else None
        await pool.submit(gate)
        queued = await pool.submit(echo, 1)
        gate.open()
        await queued
        deaf = await pool.submit(stubborn)
        await stubborn.started.wait()
        deaf.cancel()
        await deaf.wait()
        await stubborn.release()
        await pool.resize(max_workers=2)
    assert observer.heard == [
        *["moved", "accepted", "started", "accepted", "ended", "started", "ended", "accepted", "started", "ended"],
        *["stray", "resized", "moved", "moved"],
    ]
    assert stream is None or repr(stream) == "<Results: 3 to read, 0 missed>"


@pytest.mark.complains
async def test_everything_works_while_somebody_reads_and_nobody_observes() -> None:
    stubborn, gate = Stubborn(), Gate()
    async with WorkerPool(max_workers=1, queue_size=1, cancel_grace=0.1) as pool:
        stream = pool.results()
        await pool.submit(gate)
        queued = await pool.submit(echo, 1)
        gate.open()
        await queued
        deaf = await pool.submit(stubborn)
        await stubborn.started.wait()
        deaf.cancel()
        await deaf.wait()
        await stubborn.release()
        await pool.resize(max_workers=2)
    assert [handle.state async for handle in stream] == [JobState.SUCCEEDED, JobState.SUCCEEDED, JobState.ABANDONED]


# The wrong place ------------------------------------------------------------------------------------------------------


async def test_a_closed_pool_has_a_stream_that_ends_at_once() -> None:
    async with WorkerPool() as pool:
        early = pool.results()
    async with pool.results() as late:
        assert await read(late) == await read(early) == []
    never = WorkerPool()
    await never.aclose()
    assert await read(never.results()) == []
    async with WorkerPool() as pool:
        kept = pool.results()
        pool.results()
    assert await read(kept) == await read(pool.results()) == []


async def test_a_pool_that_was_not_entered_has_none() -> None:
    with pytest.raises(RuntimeError, match=r"WorkerPool\.results\(\) needs a pool that was entered"):
        WorkerPool().results()


@pytest.mark.parametrize(("bad", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (None, TypeError)])
async def test_a_bad_buffer_is_refused(bad: Any, error: type[Exception]) -> None:
    async with WorkerPool() as pool:
        with pytest.raises(error, match=r"buffer must be an int of at least 1 \(jobs, at most 1,000,000,000\), got"):
            pool.results(buffer=bad)


async def test_a_job_of_the_pool_may_not_wait_for_it_and_one_of_another_may() -> None:
    async def job() -> JobHandle[Any]:
        return await anext(stream)

    async def makes() -> None:
        pool.results()

    async with WorkerPool(name="b") as other, WorkerPool(name="a") as pool:
        stream = pool.results()
        for fn in (job, makes):
            with pytest.raises(RuntimeError, match=r"results\(\) was used in a job of <WorkerPool 'a' .*read it outside of"):
                await pool.run(fn)
            await anext(stream)
        reader = await other.submit(job)
        await turns()
        await pool.run(echo, 7)
        assert (await reader).result() == 7


@pytest.mark.realtime
def test_another_loop_is_refused() -> None:
    async def main() -> None:
        async with WorkerPool() as pool:
            stream = pool.results()
            for call in (pool.results, lambda: asyncio.run(read(stream))):
                with pytest.raises(RuntimeError, match="it must be called on the event loop that the pool was entered on"):
                    await asyncio.to_thread(call)

    asyncio.run(main())


@pytest.mark.complains
@pytest.mark.realtime
def test_nothing_is_lost_on_any_schedule() -> None:
    async def main() -> None:
        pool = WorkerPool(max_workers=2)
        try:
            await pool.__aenter__()
        except RuntimeError:
            return  # its own task was cancelled before it was open
        async with aclosing(pool):
            stream = pool.results()
            reader = asyncio.create_task(handles_of(stream))
            handles = [pool.submit_nowait(echo, number) for number in range(3)]
        try:
            seen = await reader
        except asyncio.CancelledError:
            seen = await handles_of(stream)  # what is left
        else:
            assert len(seen) == 3
        assert set(seen) <= set(handles)
        assert not [handle async for handle in stream]

    explore(main, seeds=20)
