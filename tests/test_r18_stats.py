"""R18: a pool is cheap to watch: `stats()` is O(1), frozen, typed and says what it means; an idle pool wakes nothing."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import pickle
import sys
import typing
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import FOREVER, Gate, Stubborn, balanced, echo, fail, refusals, sleep, turns
from weirpool import PoolClosed, PoolOverloaded, PoolState, PoolStats, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

NUMBERS = {
    "min_workers",
    "max_workers",
    "workers",
    "queue_size",
    "accepted",
    "succeeded",
    "failed",
    "timed_out",
    "cancelled",
    "abandoned",
    "queued",
    "running",
    "lending",
    "strays",
    "waiting",
}


def operations(call: Callable[[], object]) -> int:
    """Count the lines and the calls, into C too, that a call takes."""
    count = 0

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        count += 1
        return trace

    def profile(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += 1

    call()  # whatever is done once is done now
    tracer, profiler = sys.gettrace(), sys.getprofile()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.settrace(tracer)
        sys.setprofile(profiler)
    return count


# What they say --------------------------------------------------------------------------------------------------------


async def test_a_new_pool_says_what_it_is_and_that_nothing_has_happened() -> None:
    pool = WorkerPool(max_workers=3, queue_size=7, name="webhooks")
    stats = pool.stats()
    assert (stats.name, stats.state, stats.max_workers, stats.queue_size) == ("webhooks", PoolState.NEW, 3, 7)
    assert all(getattr(stats, name) == 0 for name in NUMBERS - {"min_workers", "max_workers", "workers", "queue_size"})
    assert stats.refused == refusals()
    async with pool:
        assert pool.stats() == dataclasses.replace(stats, state=PoolState.OPEN)
    assert pool.stats() == dataclasses.replace(stats, state=PoolState.CLOSED)


@pytest.mark.complains
async def test_the_statistics_say_what_is_going_on_at_this_instant() -> None:
    gate, stubborn = Gate(), Stubborn()
    async with WorkerPool(max_workers=2, queue_size=2, cancel_grace=0.05) as pool:
        assert await pool.run(echo, 1) == 1
        failing = await pool.submit(fail, KeyError())
        await failing.wait()
        failing.exception()
        abandoned = await pool.submit(stubborn, timeout=0.01)
        await abandoned.wait()
        for _ in range(4):
            await pool.submit(gate)
        waiting = [asyncio.create_task(pool.submit(gate)) for _ in range(3)]
        await turns()
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(echo, 1)
        stats = pool.stats()
        assert stats.run_time is not None
        assert stats.time_in_queue is not None
        assert stats.run_time.count == stats.time_in_queue.count == 3
        assert stats == PoolStats(
            name="pool",
            state=PoolState.OPEN,
            min_workers=2,
            max_workers=2,
            workers=2,
            queue_size=2,
            accepted=7,
            succeeded=1,
            failed=1,
            timed_out=0,
            cancelled=0,
            abandoned=1,
            queued=2,
            running=2,
            lending=0,
            paused=False,
            strays=1,
            retrying=0,
            coalesced=0,
            waiting=3,
            refused=refusals(full=1),
            time_in_queue=stats.time_in_queue,
            run_time=stats.run_time,
        )
        assert stats.ended == 3
        assert balanced(pool)
        gate.open()
        await asyncio.gather(*waiting)
        await stubborn.release()
        assert pool.stats().strays == 0
        assert pool.stats().abandoned == 1


async def test_what_has_ended_is_the_sum_of_all_ends() -> None:
    ends: dict[str, Any] = {"succeeded": 1, "failed": 2, "timed_out": 4, "cancelled": 8, "abandoned": 16}
    assert dataclasses.replace(WorkerPool().stats(), **ends, queued=32, running=64).ended == 31


async def test_a_snapshot_does_not_change_when_the_pool_goes_on() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        await pool.submit(gate)
        before = pool.stats()
        copied = dataclasses.replace(before, refused=dict(before.refused))
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(echo, 1)
        gate.open()
        await turns()
        pool.close_intake()
        with pytest.raises(PoolClosed):
            pool.submit_nowait(echo, 1)
        assert before == copied
        assert pool.stats() != before


async def test_a_pool_may_be_watched_in_every_state() -> None:
    gate = Gate()
    states = []

    class Watch:
        async def __call__(self) -> None:
            try:
                await gate()
            finally:
                states.append(pool.stats().state)

    pool = WorkerPool(shutdown_timeout=0.1, cancel_grace=0.05)
    states.append(pool.stats().state)
    async with pool:
        states.append(pool.stats().state)
        await pool.submit(gate)
        pool.close_intake()
        states.append(pool.stats().state)
        gate.open()
    states.append(pool.stats().state)
    assert states == [PoolState.NEW, PoolState.OPEN, PoolState.DRAINING, PoolState.CLOSED]


# What they are --------------------------------------------------------------------------------------------------------


def test_statistics_are_frozen() -> None:
    stats = WorkerPool().stats()
    for field in dataclasses.fields(stats):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(stats, field.name, 1)
    with pytest.raises((AttributeError, TypeError)):
        stats.more = 1  # type: ignore[attr-defined]
    assert not hasattr(stats, "__dict__")


def test_statistics_have_the_types_that_they_declare() -> None:
    # weirpool/__init__.py says of each class that its module is "weirpool", and that is where get_type_hints(), pydantic and
    # with it FastAPI look for the names in its annotations.
    stats = WorkerPool().stats()
    hints = typing.get_type_hints(PoolStats)
    assert set(hints) == {field.name for field in dataclasses.fields(stats)}
    for name in NUMBERS:
        assert hints[name] is int
        assert type(getattr(stats, name)) is int, name
    assert type(stats.name) is hints["name"] is str
    assert type(stats.state) is hints["state"] is PoolState
    assert typing.get_origin(hints["refused"]) is typing.get_origin(typing.Mapping[str, int])
    assert all(type(count) is int for count in stats.refused.values())


def test_statistics_can_be_turned_into_plain_data_and_sent_elsewhere() -> None:
    stats = WorkerPool().stats()
    assert dataclasses.asdict(stats)["refused"] == refusals()
    assert copy.deepcopy(stats) == stats
    assert pickle.loads(pickle.dumps(stats)) == stats


async def test_the_repr_of_statistics_shows_every_number_by_its_name() -> None:
    async with WorkerPool(max_workers=3, name="webhooks") as pool:
        await pool.run(echo, 1)
        stats = pool.stats()
        text = repr(stats)
    assert text.startswith(
        "PoolStats(name='webhooks', state=<PoolState.OPEN: 'open'>, min_workers=3, max_workers=3, workers=3"
    )
    for field in dataclasses.fields(stats):
        assert f"{field.name}={getattr(stats, field.name)!r}" in text


async def test_the_repr_of_a_pool_tells_its_name_its_state_and_its_load() -> None:
    gate = Gate()
    pool = WorkerPool(max_workers=2, queue_size=9, name="webhooks")
    assert repr(pool) == "<WorkerPool 'webhooks' new: 0 of 2 running, 0 of 9 queued>"
    async with pool:
        for _ in range(5):
            await pool.submit(gate)
        assert repr(pool) == "<WorkerPool 'webhooks' open: 2 of 2 running, 3 of 9 queued>"
        gate.open()
    assert repr(pool) == "<WorkerPool 'webhooks' closed: 0 of 2 running, 0 of 9 queued>"


async def test_the_repr_of_a_handle_tells_the_jobs_name_and_state() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(echo, 1, name="delivery-7")
        assert repr(handle) == "<JobHandle delivery-7 running>"
        await handle
        assert repr(handle) == "<JobHandle delivery-7 succeeded>"


@pytest.mark.complains
async def test_in_a_notebook_the_statistics_are_a_table_and_names_are_only_text() -> None:
    stubborn = Stubborn()
    async with WorkerPool(max_workers=2, cancel_grace=0.01, name="<script>alert(1)</script>") as pool:
        await (await pool.submit(stubborn, timeout=0.01)).wait()
        pool.pause()
        table = pool.stats()._repr_html_()
        assert "<caption>pool &lt;script&gt;alert(1)&lt;/script&gt;</caption>" in table
        assert "<tr><th>state</th><td>open, paused</td></tr>" in table
        assert "<tr><th>abandoned</th><td>1</td></tr><tr><th>strays</th><td>1</td></tr>" in table
        assert "failed" not in table
        assert "<script>" not in table
        pool.resume()
        await stubborn.release()
        await turns()


# What runs ----------------------------------------------------------------------------------------------------------------


async def test_what_runs_is_shown_with_its_age_its_time_and_the_line_at_which_it_is() -> None:
    gate = Gate()

    async def nests() -> Any:
        return await pool.run(gate, timeout=FOREVER)

    async with WorkerPool(max_workers=2) as pool:
        assert pool.running() == ()
        await pool.submit(nests, name="above")
        await asyncio.sleep(0.1)
        await pool.submit(sleep, 0.5, timeout=FOREVER, name="asleep")
        await turns()
        above, child, asleep = pool.running()
        assert (above.id, above.name, above.time_left, above.lending, above.ending) == (1, "above", None, True, None)
        assert above.running_for == pytest.approx(0.1, abs=0.05)
        assert child.time_left == pytest.approx(FOREVER - 0.1, abs=0.05)
        assert (asleep.name, asleep.lending) == ("asleep", False)
        assert asleep.stack[-1].endswith("await asyncio.sleep(seconds)")
        assert str(asleep).startswith("asleep (running for ")
        assert "s left) at " in str(asleep)
        gate.open()
    assert pool.running() == ()
    assert WorkerPool().running() == ()


@pytest.mark.complains
async def test_what_is_being_ended_says_why() -> None:
    stubborn = Stubborn()
    async with WorkerPool(cancel_grace=0.1) as pool:
        for options in ({}, {"timeout": 0.05}):
            handle = await pool.submit(stubborn, **options)  # type: ignore[arg-type]
            await turns()
            if not options:
                handle.cancel()
        await asyncio.sleep(0.07)
        assert [job.ending for job in pool.running()] == ["cancel", "deadline"]
        await asyncio.sleep(0.2)
        assert pool.running() == ()
        assert pool.stats().strays == 2
        await stubborn.release()
        await turns()


@pytest.mark.realtime
async def test_what_runs_is_shown_on_the_loop_only() -> None:
    async with WorkerPool() as pool:
        with pytest.raises(RuntimeError, match=r"^WorkerPool.running\(\) was called from"):
            await asyncio.to_thread(pool.running)


# What they cost -------------------------------------------------------------------------------------------------------


async def test_statistics_cost_the_same_whatever_the_pool_is_doing() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=200, queue_size=500) as pool:
        await pool.run(echo, 1)
        idle = operations(pool.stats)
        same = pytest.approx(idle, abs=20)  # a percentile of nothing at all takes a few less
        for _ in range(700):
            pool.submit_nowait(gate)
        waiting = [asyncio.create_task(pool.submit(gate)) for _ in range(100)]
        await turns()
        for _ in range(50):
            with pytest.raises(PoolOverloaded):
                pool.submit_nowait(gate)
        stats = pool.stats()
        assert (stats.running, stats.queued, stats.waiting) == (200, 500, 100)
        assert operations(pool.stats) == same
        gate.open()
        await asyncio.gather(*waiting)
        while pool.stats().running:
            await asyncio.sleep(0)
        assert pool.stats().succeeded == 801
        assert operations(pool.stats) == same
    assert operations(pool.stats) == same
    assert 0 < idle < 400


async def test_submitting_to_a_full_queue_and_to_an_empty_one_cost_the_same() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=2000) as pool:
        pool.submit_nowait(gate)
        pool.submit_nowait(gate)
        short = operations(lambda: pool.submit_nowait(gate))
        for _ in range(1500):
            pool.submit_nowait(gate)
        assert operations(lambda: pool.submit_nowait(gate)) == short
        gate.open()


# An idle pool ---------------------------------------------------------------------------------------------------------


def stock_loop() -> Any:
    """Return the loop that runs, if it is one that shows its inside."""
    loop: Any = asyncio.get_running_loop()
    if not hasattr(loop, "_scheduled"):
        pytest.skip("only the stock loop shows its timers")
    return loop


def timers(loop: Any) -> list[asyncio.TimerHandle]:
    """Return the timers that will still fire."""
    return [timer for timer in loop._scheduled if not timer.cancelled()]


async def test_an_idle_pool_has_no_timer() -> None:
    loop = stock_loop()
    before = timers(loop)
    async with WorkerPool() as pool:
        assert timers(loop) == before, "a pool that has just been opened"
        await pool.run(echo, 1)
        assert timers(loop) == before, "one that has run a job"
        await pool.run(echo, 1, timeout=FOREVER)
        await pool.run(echo, 1, deadline=loop.time() + FOREVER)
        assert timers(loop) == before, "one that has run jobs with deadlines"
        handle = await pool.submit(sleep, FOREVER, timeout=0.01)
        await handle.wait()
        handle.exception()
        assert timers(loop) == before, "one in which a job has timed out"


async def test_a_pool_whose_jobs_have_no_deadline_has_no_timer_while_they_run_either() -> None:
    loop = stock_loop()
    gate = Gate()
    before = timers(loop)
    async with WorkerPool(max_workers=1) as pool:
        for _ in range(3):
            await pool.submit(gate)
        await turns()
        assert timers(loop) == before
        gate.open()


async def test_a_pool_is_idle_again_after_jobs_with_deadlines_were_cancelled_in_the_queue() -> None:
    loop = stock_loop()
    gate = Gate()
    before = timers(loop)
    async with WorkerPool(max_workers=1) as pool:
        first = await pool.submit(gate)
        handles = [await pool.submit(echo, i, deadline=loop.time() + FOREVER) for i in range(3)]
        for handle in handles:
            handle.cancel()
        gate.open()
        await first
        assert timers(loop) == before


async def test_submitters_that_have_gone_leave_no_timer() -> None:
    loop = stock_loop()
    gate = Gate()
    before = timers(loop)
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=FOREVER) as pool:
        first = await pool.submit(gate)
        cancelled, accepted = (asyncio.create_task(pool.submit(echo, i)) for i in range(2))
        await turns()
        cancelled.cancel()
        gate.open()
        await first
        await (await accepted)
        assert cancelled.cancelled()
        assert timers(loop) == before


async def test_many_jobs_with_deadlines_need_one_timer_of_the_pool() -> None:
    loop = stock_loop()
    gate = Gate()
    before = timers(loop)
    async with WorkerPool(max_workers=1) as pool:
        first = await pool.submit(gate)
        for i in range(50):
            await pool.submit(echo, i, deadline=loop.time() + FOREVER - i)
        assert len(timers(loop)) == len(before) + 1
        gate.open()
        await first


@pytest.mark.virtual
async def test_an_idle_pool_wakes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = stock_loop()
    iterations = 0
    run_once = loop._run_once

    def counted() -> None:
        nonlocal iterations
        iterations += 1
        run_once()

    async def iterations_of_a_day() -> int:
        before = iterations
        await asyncio.sleep(86_400)
        return iterations - before

    monkeypatch.setattr(loop, "_run_once", counted)
    without = await iterations_of_a_day()
    assert without > 0
    gate = Gate()
    async with WorkerPool(job_timeout=FOREVER) as pool:
        await pool.run(echo, 1)
        assert await iterations_of_a_day() == without, "idle"
        await pool.submit(gate, timeout=None)
        await turns()
        assert await iterations_of_a_day() == without, "with a job that waits for something"
        gate.open()


async def test_the_hot_objects_have_few_enough_attributes_for_python_to_share_their_keys() -> None:
    async with WorkerPool(max_workers=1) as pool:
        assert max(len(vars(thing)) for thing in (pool, pool._crew, pool._admission)) <= 29
