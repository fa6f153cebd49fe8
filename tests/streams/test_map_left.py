"""`pool.map` that is left early, in whichever way and at whichever moment, leaves no job, no task and no open source (R17)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import LOOP
from tests.streams.test_map import SOURCES, Source
from tests.support import FOREVER, Clock, Gate, Stubborn, echo, sleep, turns
from weirpool import JobCancelled, PoolClosed, PoolOverloaded, WorkerPool
from weirpool.testing import explore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def tasks() -> int:
    """Return how many tasks there are, besides the test's own and the pool's supervisor."""
    return len(asyncio.all_tasks()) - 2


def empty(pool: WorkerPool) -> bool:
    stats = pool.stats()
    return stats.queued == stats.running == stats.waiting == stats.strays == 0


class Boom(Exception):
    """Raised in the body of a loop."""


async def slowly(number: int) -> int:
    await asyncio.sleep(0.01)
    return number


# By leaving the loop ----------------------------------------------------------------------------------------------------


@SOURCES
@pytest.mark.parametrize("ordered", [True, False])
async def test_breaking_at_item_10_cancels_and_leaves_no_task_and_a_closed_source(kind: str, ordered: bool) -> None:
    source = Source()
    async with WorkerPool(max_workers=5, queue_size=3) as pool:
        async for result in pool.map(slowly, getattr(source, kind)(), ordered=ordered, window=12):
            if result == 10:
                break
        await turns(1)
        assert pool.stats().queued == 0
        await turns(10)
        assert tasks() == 0
        assert source.closed
        assert empty(pool)
        assert not pool._crew.supervisor.readers


@SOURCES
async def test_an_exception_in_the_loop_does_the_same(kind: str) -> None:
    source = Source()
    async with WorkerPool(max_workers=5) as pool:
        with pytest.raises(Boom):
            async for result in pool.map(slowly, getattr(source, kind)()):
                if result == 10:
                    raise Boom
        await turns(10)
        assert tasks() == 0
        assert source.closed
        assert empty(pool)


@SOURCES
@pytest.mark.parametrize("where", ["body", "anext"])
async def test_a_cancellation_does_the_same(kind: str, where: str) -> None:
    source = Source()
    async with WorkerPool(max_workers=5) as pool:

        async def consume() -> None:
            async for result in pool.map(slowly if where == "body" else lambda _: sleep(FOREVER), getattr(source, kind)()):
                if result == 10:
                    await asyncio.sleep(FOREVER)

        consumer = asyncio.create_task(consume())
        await asyncio.sleep(0.2)
        consumer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await consumer
        if where == "anext":  # who waits for a result waits until all has ended
            assert empty(pool)
            assert source.closed
        await turns(10)
        assert tasks() == 0
        assert source.closed
        assert empty(pool)


@SOURCES
@pytest.mark.parametrize("how", ["break", "raise", "cancel"])
async def test_leaving_the_block_waits_until_nothing_is_left(kind: str, how: str) -> None:
    source = Source()
    cleaned = 0

    async def work(number: int) -> int:
        nonlocal cleaned
        try:
            await asyncio.sleep(0.01 if number <= 10 else FOREVER)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)
            cleaned += 1
            raise
        return number

    async with WorkerPool(max_workers=5) as pool:

        async def consume() -> None:
            async with pool.map(work, getattr(source, kind)()) as results:
                async for result in results:
                    if result == 10:
                        await asyncio.sleep(0.005)  # the others are in the midst of it
                        if how == "raise":
                            raise Boom
                        if how == "cancel":
                            asyncio.current_task().cancel()  # type: ignore[union-attr]
                            await asyncio.sleep(0)
                        break

        consumer = asyncio.create_task(consume())
        await asyncio.wait([consumer])
        assert consumer.cancelled() == (how == "cancel")
        if how == "raise":
            assert isinstance(consumer.exception(), Boom)
        assert source.closed
        assert cleaned >= 4
        assert empty(pool)
        assert tasks() == 0


async def test_results_that_are_dropped_before_the_first_leave_nothing() -> None:
    source = Source()
    async with WorkerPool() as pool:
        pool.map(echo, source.sync())
        pool.map(echo, source.slow())
        async with pool.map(echo, source.sync()):
            pass
        async with pool.map(echo, source.slow()):
            pass
        assert source.read == 0
        assert empty(pool)


async def test_closing_again_changes_nothing_and_what_is_closed_has_no_more_results() -> None:
    async with WorkerPool() as pool:
        results = pool.map(echo, range(100))
        assert await anext(results) == 0
        await results.aclose()
        await results.aclose()
        assert [result async for result in results] == []
        assert empty(pool)


@pytest.mark.parametrize("is_async", [True, False])
async def test_another_task_may_close_while_one_waits_for_a_result(is_async: bool) -> None:
    source = Source()
    async with WorkerPool(max_workers=2) as pool:
        results = pool.map(lambda _: sleep(FOREVER), source.slow() if is_async else source.sync())
        waiting = asyncio.create_task(anext(results, None))
        await turns()
        await asyncio.gather(results.aclose(), results.aclose())
        assert await waiting is None
        assert source.closed
        assert empty(pool)


async def test_a_closing_that_is_cancelled_goes_on_to_its_end_and_passes_that_on() -> None:
    released = asyncio.Event()

    async def work(_: int) -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await released.wait()

    async with WorkerPool(max_workers=2) as pool:
        results = pool.map(work, range(2))
        waiting = asyncio.create_task(anext(results))
        await turns()
        for _ in range(3):
            waiting.cancel()
            await turns()
        closing = asyncio.create_task(results.aclose())
        await turns()
        closing.cancel()
        await turns()
        assert not waiting.done()
        assert not closing.done()
        released.set()
        await asyncio.wait([waiting, closing])
        assert waiting.cancelled()
        assert closing.cancelled()
        assert empty(pool)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
async def test_a_job_that_another_submission_has_joined_is_not_cancelled(on_error: Any) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=2) as pool:
        results = pool.map(gate, [1, 2], key=lambda item: f"item {item}", on_error=on_error)
        taking = asyncio.create_task(anext(results))
        await turns()
        joined = await pool.submit(gate, 1, key="item 1", coalesce=True)
        taking.cancel()
        await asyncio.wait([taking])
        assert not joined.done()
        gate.open()
        assert await joined == 1
        assert pool.stats().cancelled == 1


@pytest.mark.complains
async def test_a_job_that_ignores_its_cancellation_is_abandoned_and_holds_nobody_up() -> None:
    stubborn = Stubborn()
    async with WorkerPool(max_workers=2, cancel_grace=0.1) as pool:
        async with pool.map(lambda _: stubborn(), [1]) as results, asyncio.timeout(1):
            taking = asyncio.create_task(anext(results))
            await stubborn.started.wait()
            taking.cancel()
            await asyncio.wait([taking])
        assert pool.stats().abandoned == 1
        await stubborn.release()


# The source -------------------------------------------------------------------------------------------------------------


@pytest.mark.complains
async def test_a_source_that_ignores_its_cancellation_is_left_alone_and_named(
    caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    released = asyncio.Event()

    async def source() -> AsyncIterator[int]:
        yield 1
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()

    try:
        async with WorkerPool(cancel_grace=0.1) as pool:
            async with pool.map(echo, source()) as results:
                assert await anext(results) == 1
                await turns()
                clock.start()
            assert clock.shows(0.1)
            [record] = [record for record in caplog.records if record.name == "weirpool.map"]
            assert "<locals>.source of a map of pool 'pool' ignores its cancellation" in record.getMessage()
            assert "__anext__()" in record.getMessage()
            released.set()
            await turns(10)
            assert tasks() == 0
    finally:
        released.set()  # or the loop could not be closed


@pytest.mark.complains
async def test_a_pool_that_gives_up_on_a_job_of_a_map_closes_in_time(clock: Clock) -> None:
    stubborn = Stubborn()
    async with WorkerPool(cancel_grace=0.1, shutdown_timeout=0.2) as pool:
        taking = asyncio.create_task(anext(pool.map(lambda _: stubborn(), [1])))
        await stubborn.started.wait()
        clock.start()
        await pool.aclose()
        assert clock.shows(0.2)
        with pytest.raises(JobCancelled) as abandoned:
            await taking
        assert abandoned.value.abandoned
        del abandoned, taking
    await stubborn.release()


@pytest.mark.complains
@pytest.mark.parametrize("timeout", [None, 0.02])
async def test_a_pool_closes_in_time_with_a_source_that_ignores_its_cancellation(timeout: float | None, clock: Clock) -> None:
    released = asyncio.Event()

    async def source() -> AsyncIterator[int]:
        yield 1
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()

    try:
        async with WorkerPool(cancel_grace=0.1, shutdown_timeout=0.5) as pool:
            results = pool.map(echo, source())
            assert await anext(results) == 1
            await turns()
            clock.start()
            await pool.aclose(timeout=timeout)
            assert clock.passed <= (timeout or 0.1) + 0.02
            with pytest.raises(PoolClosed):
                await anext(results)
    finally:
        released.set()
        await turns(10)


async def test_a_source_that_swallows_one_cancellation_and_goes_on_is_closed() -> None:
    closed = False

    async def source() -> AsyncIterator[int]:
        nonlocal closed
        try:
            yield 1
            try:
                await asyncio.sleep(FOREVER)
            except asyncio.CancelledError:
                yield 2
        finally:
            closed = True

    async with WorkerPool() as pool:
        async with pool.map(echo, source()) as results:
            assert await anext(results) == 1
            await turns()
        assert closed
        assert pool.stats().accepted == 1


async def test_only_generators_are_closed_and_no_file_or_other_iterator_of_the_users() -> None:
    class Lines:
        closed = False

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> int:
            return 1

        def close(self) -> None:
            self.closed = True

    class Stream:
        closed = False

        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> int:
            return 1

        async def aclose(self) -> None:
            self.closed = True

    async with WorkerPool() as pool:
        for source in (Lines(), Stream()):
            async with pool.map(echo, source) as results:
                assert await anext(results) == 1
            assert not source.closed


async def test_leaving_the_last_of_a_pipeline_stops_all_of_it() -> None:
    source = Source()
    async with WorkerPool(max_workers=3) as pool:
        async with pool.map(echo, pool.map(echo, pool.map(echo, source.sync()))) as results:
            assert [await anext(results), await anext(results)] == [0, 1]
        assert source.closed
        assert tasks() == 0
        assert empty(pool)


def failing_sync() -> Iterator[int]:
    try:
        while True:
            yield 1
    finally:
        raise Boom("source")


async def failing_async() -> AsyncIterator[int]:
    try:
        while True:
            yield 1
    finally:
        raise Boom("source")


@pytest.mark.parametrize("source", [failing_sync, failing_async])
async def test_what_closing_the_source_raises_is_raised_by_whoever_closes(source: Any) -> None:
    async with WorkerPool() as pool:
        with pytest.raises(Boom, match="source"):
            async with pool.map(echo, source()) as results:
                await anext(results)
        assert empty(pool)


@pytest.mark.parametrize("source", [failing_sync, failing_async])
@pytest.mark.parametrize("how", ["drop", "cancel"])
async def test_what_closing_the_source_raises_is_told_to_the_loop_if_nobody_is_there(source: Any, how: str) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    stop = asyncio.Event()

    async def work(_: int) -> None:
        try:
            await asyncio.sleep(0 if how == "drop" else FOREVER)
        finally:
            if how == "cancel":
                await stop.wait()

    async with WorkerPool(max_workers=2) as pool:
        results = pool.map(work, source())
        taking = asyncio.create_task(anext(results))
        await turns(10)
        taking.cancel()
        await turns()
        taking.cancel()
        stop.set()
        await asyncio.wait([taking])
        del results, taking
        await turns(10)
        assert [str(context["exception"]) for context in told] == ["source"]
        assert told[0]["message"] == "closing the source of a map of pool 'pool' has failed"
        told.clear()


async def test_a_source_whose_task_is_cancelled_by_somebody_else_ends_the_map_with_that() -> None:
    for moment in (0, 3):
        async with WorkerPool() as pool:
            results = pool.map(echo, Source().slow())
            taking = asyncio.create_task(anext(results))
            await turns(1)
            await turns(moment)
            [feeder] = [task for task in asyncio.all_tasks() if task.get_name() == "weirpool:map"]
            feeder.cancel()
            with pytest.raises(asyncio.CancelledError):
                await taking
                while True:
                    await anext(results)
            assert empty(pool)


async def test_what_waits_for_room_may_be_cancelled_by_somebody_else_too() -> None:
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        blocking = await pool.submit(sleep, 0.1)
        taking = asyncio.create_task(anext(pool.map(echo, [1])))
        await turns(3)
        [asking] = [task for task in asyncio.all_tasks() if task.get_name() == "weirpool:map"]
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        await blocking
        assert empty(pool)


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_a_map_that_waits_for_room_leaves_the_line(is_async: bool, how: str) -> None:
    source = Source()
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        blocking = await pool.submit(sleep, 0.1)
        taking = asyncio.create_task(anext(pool.map(echo, source.at_once() if is_async else source.sync())))
        await turns(5)
        assert pool.stats().waiting == 1
        if how == "cancel":
            taking.cancel()
        else:
            pool.close_intake()
        with pytest.raises(asyncio.CancelledError if how == "cancel" else PoolClosed):
            await taking
        assert pool.stats().waiting == 0
        await blocking
        assert source.closed
        assert pool.stats().accepted == 1


@pytest.mark.skipif(LOOP == "uvloop", reason="uvloop refuses a factory that fails in its own way")
async def test_a_task_factory_that_fails_ends_the_map_and_leaves_nothing() -> None:
    def failing(loop: Any, coroutine: Any, **options: Any) -> Any:
        raise Boom("factory")

    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    for kind in ("slow", "sync"):
        source = Source()
        async with WorkerPool(max_workers=1, queue_size=0) as pool:
            blocking = await pool.submit(sleep, 0.1)
            results = pool.map(echo, getattr(source, kind)())
            loop.set_task_factory(failing)
            try:
                with pytest.raises(Boom, match="factory"):
                    await anext(results)
            finally:
                loop.set_task_factory(before)
            await blocking
            assert empty(pool)
            assert not pool._crew.supervisor.readers


# By being dropped -------------------------------------------------------------------------------------------------------


async def test_a_coroutine_that_is_closed_while_it_waits_drops_the_map() -> None:
    source = Source()
    async with WorkerPool(max_workers=2) as pool:
        results = pool.map(lambda _: sleep(FOREVER), source.sync())
        step = results.__anext__()
        step.send(None)
        step.close()
        assert source.closed
        await turns(10)
        assert empty(pool)
        assert [result async for result in results] == []


async def test_a_coroutine_of_a_job_that_is_closed_while_it_waits_drops_the_map_as_well() -> None:
    source = Source()
    steps: list[Any] = []
    async with WorkerPool(max_workers=2) as pool:

        async def parent() -> None:
            results = pool.map(lambda _: sleep(FOREVER), source.sync())
            steps.append(results.__anext__())
            steps[0].send(None)
            steps[0].close()
            assert source.closed

        await pool.run(parent)
        await turns(10)
        assert empty(pool)


async def test_a_map_that_is_finished_holds_nothing() -> None:
    class Item:
        pass

    async def work(item: Item) -> Item:
        return item

    async with WorkerPool() as pool:
        items = [Item() for _ in range(5)]
        refs = [weakref.ref(item) for item in items]
        results = pool.map(work, items)
        items = []
        async for item in results:
            del item
        assert [ref() for ref in refs] == [None] * 5


async def test_a_map_that_raises_makes_no_reference_cycle() -> None:
    class Trace(Exception):
        pass

    async def work(_: int) -> None:
        raise Trace

    async with WorkerPool() as pool:
        gc.collect()
        gc.disable()
        try:
            ref = None
            try:
                await anext(pool.map(work, [1]))
            except Trace as error:
                ref = weakref.ref(error)
            assert ref is not None
            await turns()
            assert ref() is None
        finally:
            gc.enable()


async def test_a_map_that_the_garbage_collector_finds_in_the_midst_of_a_jobs_start_is_stopped_a_turn_later() -> None:
    source = Source()
    found: list[int] = []
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()

    def collecting(loop: Any, coroutine: Any, **options: Any) -> Any:
        found.append(gc.collect())
        return asyncio.Task(coroutine, loop=loop, **options)

    async with WorkerPool(max_workers=2) as pool:
        results = pool.map(slowly, source.sync(), window=8)
        ring: list[Any] = [results]
        ring.append(ring)
        assert await anext(results) == 0
        assert pool.stats().queued > 0
        gc.collect()
        gc.disable()
        loop.set_task_factory(collecting)
        try:
            del results, ring
            await asyncio.sleep(0.015)  # in which its next job starts
        finally:
            loop.set_task_factory(before)
            gc.enable()
        await turns(10)
        assert found
        assert source.closed
        assert tasks() == 0
        assert empty(pool)
        assert not pool._crew.supervisor.readers


@pytest.mark.realtime
async def test_a_map_that_another_thread_collects_is_stopped_on_its_loop() -> None:
    source = Source()
    async with WorkerPool(max_workers=2) as pool:
        holder = [pool.map(slowly, source.slow())]
        assert await anext(holder[0]) == 0
        thread = threading.Thread(target=holder.clear)
        thread.start()
        thread.join()
        await asyncio.sleep(0.05)
        assert source.closed
        assert tasks() == 0
        assert empty(pool)


@pytest.mark.realtime
def test_a_map_that_outlives_its_loop_is_dropped_in_silence() -> None:
    kept: list[Any] = []

    async def main() -> None:
        async with WorkerPool() as pool:
            kept.append(pool.map(echo, Source().sync()))
            await anext(kept[0])

    asyncio.run(main())
    kept.clear()


@pytest.mark.realtime
def test_a_loop_that_is_closed_in_that_moment_is_no_trouble() -> None:
    kept: list[Any] = []

    async def main() -> None:
        async with WorkerPool() as pool:
            kept.append(pool.map(echo, range(3)))
            await anext(kept[0])

    asyncio.run(main())

    class Closing:
        """A loop that is not closed when it is asked, and then is."""

        def is_closed(self) -> bool:
            return False

        def call_soon_threadsafe(self, *_: object) -> None:
            raise RuntimeError("Event loop is closed")

    kept[0]._loop = Closing()
    kept.clear()


@pytest.mark.complains
@pytest.mark.realtime
def test_the_end_of_asyncio_run_ends_a_map() -> None:
    source = Source()

    async def consume(pool: WorkerPool) -> None:
        with contextlib.suppress(JobCancelled):
            async for _ in pool.map(slowly, source.slow()):
                pass

    async def main() -> None:
        async with WorkerPool() as pool:
            task = asyncio.create_task(consume(pool))
            await asyncio.sleep(0.05)
            assert not task.done()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert source.closed


# At each step -----------------------------------------------------------------------------------------------------------


@pytest.mark.complains
@pytest.mark.realtime
@pytest.mark.parametrize("kind", ["sync", "slow"])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("queue_size", [0, 2])
def test_a_cancellation_at_any_step_leaves_nothing(kind: str, ordered: bool, queue_size: int) -> None:
    async def main() -> None:
        source = Source()
        got: list[int] = []
        pool = WorkerPool(max_workers=2, queue_size=queue_size)
        try:
            async with pool, pool.map(echo, getattr(source, kind)(), ordered=ordered, window=4) as results:
                async for result in results:
                    got.append(result)
                    if len(got) == 5:
                        break
        finally:
            assert pool.report is not None
            assert pool.report.accepted >= len(got)
            assert not source.read or source.closed
            assert not hasattr(pool, "_crew") or not pool._crew.supervisor.readers
            if ordered:
                assert got == [*range(len(got))]
        assert len(set(got)) == 5

    explore(main, seeds=10, tolerate=(PoolClosed, JobCancelled, RuntimeError))


@pytest.mark.realtime
@pytest.mark.parametrize("kind", ["sync", "slow"])
def test_a_loop_that_is_left_at_any_item_leaves_nothing(kind: str) -> None:
    async def main() -> None:
        for at in range(7):
            source = Source()
            async with WorkerPool(max_workers=2, queue_size=1) as pool:
                async for result in pool.map(echo, getattr(source, kind)(), window=4):
                    if result == at:
                        break
            assert source.closed
            assert pool.report is not None
            assert pool.report.succeeded > at

    explore(main, seeds=10, faults=False)


@pytest.mark.complains
@pytest.mark.realtime
@pytest.mark.parametrize("is_async", [True, False])
def test_a_job_that_maps_and_is_cancelled_at_any_step_leaves_nothing(is_async: bool) -> None:
    async def main() -> None:
        async with WorkerPool(max_workers=1, queue_size=1) as pool:

            async def parent() -> list[int]:
                source = Source()
                items = source.at_once() if is_async else source.sync()
                got = []
                async with pool.map(echo, items, window=3) as results:
                    async for result in results:
                        got.append(result)
                        if result == 3:
                            break
                assert source.closed
                return got

            assert await pool.run(parent) == [0, 1, 2, 3]

    explore(main, seeds=10, tolerate=(PoolClosed, JobCancelled, RuntimeError))  # the last: cancelled before it was open


def test_the_logger_is_named_like_the_others() -> None:
    from weirpool import _flow

    assert _flow._log is logging.getLogger("weirpool.map")


# A pool with an overload policy, which a map does not ask -------------------------------------------------------------------


@pytest.mark.parametrize("overload", ["wait", "reject"])
async def test_a_pool_that_closes_meanwhile_ends_the_loop_with_that_whatever_its_policy(overload: Any) -> None:
    async with WorkerPool(max_workers=1, overload=overload) as pool:
        results = pool.map(echo, range(100))
        assert await anext(results) == 0
        pool.close_intake()
        with pytest.raises(PoolClosed):
            while True:
                await anext(results)


@pytest.mark.complains
@pytest.mark.parametrize("overload", ["wait", "reject"])
async def test_too_many_strays_end_the_loop_with_that_whatever_the_policy(overload: Any) -> None:
    stubborn = Stubborn()
    async with WorkerPool(max_workers=1, max_strays=0, cancel_grace=0.1, overload=overload) as pool:
        handle = await pool.submit(stubborn, timeout=0.1)
        await handle.wait()
        with pytest.raises(PoolOverloaded) as caught:
            await anext(pool.map(echo, range(3)))
        assert caught.value.reason == "strays"
        await stubborn.release()


async def test_the_pools_own_task_that_is_cancelled_while_a_source_is_left_waits_for_that() -> None:
    """R15, R17."""
    left: list[str] = []

    async def source() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.1)
            left.append("left")

    pool = WorkerPool()
    await pool.__aenter__()
    results = pool.map(echo, source())
    assert await anext(results) == 1
    closing = asyncio.create_task(pool.aclose())
    await asyncio.sleep(0.01)
    (own,) = [task for task in asyncio.all_tasks() if task.get_name() == "weirpool:pool"]
    own.cancel()
    await closing
    assert left == ["left"]
    with pytest.raises((PoolClosed, StopAsyncIteration)):
        await anext(results)


@pytest.mark.parametrize("overload", ["wait", "reject"])
async def test_a_function_of_the_item_that_closes_the_intake_gets_no_job_accepted_any_more(overload: Any) -> None:
    """R10."""
    async with WorkerPool(overload=overload) as pool:

        def name(item: int) -> str:
            if item == 1:
                pool.close_intake()
            return f"item {item}"

        results = pool.map(echo, range(3), name=name)
        assert await anext(results) == 0
        with pytest.raises(PoolClosed):
            await anext(results)
        assert pool.stats().accepted == 1


async def test_two_maps_stand_in_one_line_in_a_pool_that_refuses_whatever_else_is_too_much() -> None:
    """R3."""
    async with WorkerPool(max_workers=1, queue_size=0, overload="reject") as pool:

        async def all_of(items: range) -> list[int]:
            return [item async for item in pool.map(slowly, items)]

        first, second = await asyncio.gather(all_of(range(5)), all_of(range(5, 10)))
        assert (first, second) == ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])
