"""`pool.map`: results in order or as they end, a bounded window, failures in three ways, its place among other submitters."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import FOREVER, Gate, Stubborn, balanced, echo, fail, sleep, turns
from weirpool import (
    Failed,
    JobCancelled,
    JobTimeout,
    MapResults,
    PoolClosed,
    PoolOverloaded,
    WorkerPool,
    current_job,
    in_thread,
    remaining,
)
from weirpool.policies import Retry
from weirpool.testing import InlinePool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Source:
    """An endless source that counts what is read of it, sync or async."""

    def __init__(self) -> None:
        self.read = 0
        self.closed = False

    def sync(self) -> Iterator[int]:
        try:
            while True:
                self.read += 1
                yield self.read - 1
        finally:
            self.closed = True

    async def slow(self) -> AsyncIterator[int]:
        try:
            while True:
                await asyncio.sleep(0)
                self.read += 1
                yield self.read - 1
        finally:
            self.closed = True

    async def at_once(self) -> AsyncIterator[int]:
        try:
            while True:
                self.read += 1
                yield self.read - 1
        finally:
            self.closed = True


SOURCES = pytest.mark.parametrize("kind", ["sync", "slow", "at_once"])


async def numbers(count: int, pause: float = 0.0) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(pause)
        yield number


async def backwards(number: int) -> int:
    """Take the longer, the smaller the number is."""
    await asyncio.sleep((10 - number) / 100)
    return number


# Results ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("items", [range(10), list(range(10)), iter(range(10)), dict.fromkeys(range(10))])
async def test_results_come_in_the_order_of_the_items(items: Any) -> None:
    async with WorkerPool(max_workers=10) as pool:
        assert [result async for result in pool.map(backwards, items)] == [*range(10)]


async def test_results_come_as_the_jobs_end_if_they_need_not_be_ordered() -> None:
    async with WorkerPool(max_workers=10) as pool:
        assert [result async for result in pool.map(backwards, range(10), ordered=False)] == [*range(9, -1, -1)]
        assert [result async for result in pool.map(backwards, numbers(10), ordered=False)] == [*range(9, -1, -1)]


async def test_results_of_an_async_source_come_in_its_order() -> None:
    async with WorkerPool(max_workers=3) as pool:
        assert [result async for result in pool.map(backwards, numbers(10))] == [*range(10)]


@pytest.mark.parametrize("items", [[], numbers(0)])
@pytest.mark.parametrize("ordered", [True, False])
async def test_without_items_there_are_no_results(items: Any, ordered: bool) -> None:
    async with WorkerPool() as pool:
        results = pool.map(echo, items, ordered=ordered)
        assert [result async for result in results] == []
        assert [result async for result in results] == []  # nor is there a second round
        assert pool.stats().accepted == 0


async def test_results_come_while_an_async_source_waits_for_its_next_item() -> None:
    async def stalling() -> AsyncIterator[int]:
        yield 1
        yield 2
        await asyncio.sleep(FOREVER)

    for ordered in (True, False):
        async with WorkerPool() as pool, pool.map(echo, stalling(), ordered=ordered) as results:
            assert [await anext(results), await anext(results)] == [1, 2]


async def test_an_old_iterable_and_an_object_with_only_anext_are_sources_as_well() -> None:
    class Old:
        def __getitem__(self, index: int) -> int:
            if index == 3:
                raise IndexError
            return index

    class Bare:
        left = 3

        def __aiter__(self) -> Any:
            class Inner:
                async def __anext__(inner) -> int:
                    if not self.left:
                        raise StopAsyncIteration
                    self.left -= 1
                    return self.left

            return Inner()

    async with WorkerPool() as pool:
        old: Any = Old()
        assert [result async for result in pool.map(echo, old)] == [0, 1, 2]
        assert [result async for result in pool.map(echo, Bare())] == [2, 1, 0]


async def test_a_function_of_several_arguments_is_called_with_a_lambda_and_zip() -> None:
    async def move(what: str, to: str) -> str:
        return f"{what} to {to}"

    async with WorkerPool() as pool:
        pairs = zip(["a", "b"], ["x", "y"], strict=True)
        assert [result async for result in pool.map(lambda pair: move(*pair), pairs)] == ["a to x", "b to y"]


@pytest.mark.realtime
async def test_a_plain_function_is_mapped_in_threads() -> None:
    async with WorkerPool(max_workers=2) as pool:
        assert [result async for result in pool.map(in_thread(str.upper), "abc")] == ["A", "B", "C"]


async def test_one_map_reads_another_and_they_are_a_pipeline() -> None:
    async with WorkerPool(max_workers=2) as pool, WorkerPool(max_workers=3) as other:
        doubled = pool.map(echo, range(20))
        assert [result async for result in other.map(echo, doubled, ordered=False)] == [*range(20)]


async def test_an_inline_pool_maps_as_well() -> None:
    async with InlinePool() as pool:
        assert [result async for result in pool.map(backwards, range(10))] == [*range(10)]


# What is bounded --------------------------------------------------------------------------------------------------------


@SOURCES
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("window", [1, 3, 7, None])
async def test_never_more_than_a_window_is_read_ahead(kind: str, ordered: bool, window: int | None) -> None:
    source = Source()
    async with WorkerPool(max_workers=2) as pool:
        async with pool.map(echo, getattr(source, kind)(), window=window, ordered=ordered) as results:
            assert source.read == 0  # before anybody asks
            for taken in range(1, 30):
                await anext(results)
                await turns(10)
                assert source.read < taken + (window or 4) + 1
                assert pool.stats().queued + pool.stats().running <= (window or 4)
        assert source.closed


@SOURCES
async def test_the_first_result_comes_before_the_second_window_is_read(kind: str) -> None:
    source = Source()
    async with WorkerPool(max_workers=5) as pool, pool.map(echo, getattr(source, kind)(), window=10) as results:
        await anext(results)
        assert source.read <= 11


async def test_all_workers_have_something_to_do() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=4) as pool, pool.map(gate, range(100)) as results:
        taking = asyncio.ensure_future(anext(results))
        await turns()
        assert (gate.inside, pool.stats().queued) == (4, 4)
        gate.open()
        assert await taking == 0


async def test_a_slow_job_holds_up_ordered_results_and_no_others() -> None:
    async def work(number: int) -> int:
        return await sleep(0.3 if number == 0 else 0.01, number)  # type: ignore[no-any-return]

    async with WorkerPool(max_workers=2) as pool:
        assert [n async for n in pool.map(work, range(8), window=4)] == [*range(8)]
        assert [n async for n in pool.map(work, range(8), window=4, ordered=False)] == [*range(1, 8), 0]


async def test_a_job_or_a_source_that_raises_stop_async_iteration_does_not_pass_for_the_end() -> None:
    async def work(number: int) -> int:
        if number == 2:
            raise StopAsyncIteration
        return number

    class Confused:
        def __iter__(self) -> Iterator[int]:
            return self

        def __next__(self) -> int:
            raise StopAsyncIteration

    async with WorkerPool() as pool:
        with pytest.raises(RuntimeError, match="raised StopAsyncIteration") as raised:
            assert not [result async for result in pool.map(work, range(5))]
        assert isinstance(raised.value.__cause__, StopAsyncIteration)
        assert raised.value.__cause__.__notes__ == ["item 2 of pool.map(): 2"]
        with pytest.raises(RuntimeError, match="raised StopAsyncIteration"):
            assert not [result async for result in pool.map(work, Confused())]
        results = [result async for result in pool.map(work, range(5), on_error="return")]
        assert [type(result) for result in results] == [int, int, Failed, int, int]


@pytest.mark.realtime
@pytest.mark.parametrize("is_async", [True, False])
async def test_a_source_that_takes_its_time_and_never_waits_does_not_starve_the_loop(is_async: bool) -> None:
    gaps: list[float] = []

    async def heart() -> None:
        while True:
            since = time.perf_counter()
            await asyncio.sleep(0)
            gaps.append(time.perf_counter() - since)

    def slow() -> Iterator[int]:
        for number in range(300):
            time.sleep(0.002)
            yield number

    async def slow_async() -> AsyncIterator[int]:
        for number in slow():
            yield number

    beating = asyncio.create_task(heart())
    async with WorkerPool() as pool:
        items = slow_async() if is_async else slow()
        assert [result async for result in pool.map(echo, items, window=100)] == [*range(300)]
    beating.cancel()
    assert sorted(gaps)[-2] < 0.1  # of 0.2 s in one stretch, more than once; the machine may have its moment


@pytest.mark.realtime
async def test_nothing_is_read_after_a_map_was_closed_while_others_had_a_turn() -> None:
    read: list[int] = []

    def slow() -> Iterator[int]:
        for number in range(100):
            time.sleep(0.003)
            read.append(number)
            yield number

    async with WorkerPool() as pool:
        results = pool.map(lambda _: sleep(FOREVER), slow())
        taking = asyncio.ensure_future(anext(results))
        while not read:
            await turns(1)
        closing = asyncio.ensure_future(results.aclose())
        await turns(1)
        count = len(read)
        assert 0 < count < 100
        await closing
        with pytest.raises(StopAsyncIteration):
            await taking
        assert len(read) == count
        await turns(10)
        assert pool.stats().running == pool.stats().queued == 0


async def test_memory_is_bounded_however_long_the_source_is() -> None:
    alive = 0

    class Item:
        def __init__(self) -> None:
            nonlocal alive
            alive += 1

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    most = 0

    async def work(item: Item) -> None:
        nonlocal most
        most = max(most, alive)

    async with WorkerPool(max_workers=3) as pool:
        async for _ in pool.map(work, (Item() for _ in range(1000)), window=6):
            pass
    assert most <= 7
    assert alive == 0


# Failures ---------------------------------------------------------------------------------------------------------------


async def odd(number: int) -> int:
    await asyncio.sleep(0)
    if number % 2:
        raise ValueError(number)
    return number


async def test_the_first_failure_is_raised_in_its_turn_with_a_note_and_the_rest_is_cancelled() -> None:
    source = Source()
    got: list[int] = []
    async with WorkerPool(max_workers=2) as pool:
        with pytest.raises(ValueError, match="3") as raised:
            async for result in pool.map(lambda n: fail(ValueError(3)) if n == 3 else echo(n), source.sync()):
                got.append(result)  # noqa: PERF401  # what came before an error counts
        assert source.closed
        stats = pool.stats()
        assert stats.queued == stats.running == 0
        assert stats.cancelled > 0
    assert got == [0, 1, 2]
    assert raised.value.__notes__ == ["item 3 of pool.map(): 3"]
    del raised


async def test_an_exception_that_takes_no_note_is_raised_all_the_same() -> None:
    class Sealed(Exception):
        def __setattr__(self, name: str, value: object) -> None:
            raise TypeError

        @property
        def __notes__(self) -> Any:  # type: ignore[override]
            raise TypeError

    async with WorkerPool() as pool:
        with pytest.raises(Sealed):
            await anext(pool.map(fail, [Sealed()]))


async def test_a_failed_item_is_returned_with_its_exception() -> None:
    async with WorkerPool() as pool:
        results = [result async for result in pool.map(odd, range(10, 14), on_error="return")]
    assert [type(result) for result in results] == [int, Failed, int, Failed]
    failed = results[1]
    assert isinstance(failed, Failed)
    assert (failed.item, failed.index, type(failed.error)) == (11, 1, ValueError)
    assert repr(failed) == "Failed(item=11, index=1, error=ValueError(11))"


@pytest.mark.parametrize("ordered", [True, False])
async def test_what_fails_is_skipped_and_counted_in_the_statistics(ordered: bool) -> None:
    async with WorkerPool() as pool:
        assert [result async for result in pool.map(odd, range(6), on_error="skip", ordered=ordered)] == [0, 2, 4]
        assert pool.stats().failed == 3


async def test_each_item_has_its_timeout() -> None:
    async with WorkerPool(max_workers=2) as pool:
        results = [r async for r in pool.map(sleep, [0.01, FOREVER, 0.02], timeout=0.1, on_error="return")]
        assert results[0] is results[2] is None
        assert isinstance(results[1], Failed)
        assert isinstance(results[1].error, JobTimeout)
    async with WorkerPool(job_timeout=0.1) as pool:
        with pytest.raises(JobTimeout):
            await anext(pool.map(sleep, [FOREVER]))


async def test_all_items_have_one_deadline() -> None:
    deadline = asyncio.get_running_loop().time() + 0.25
    async with WorkerPool(max_workers=1) as pool:
        results = [r async for r in pool.map(sleep, [0.1] * 5, deadline=deadline, on_error="return")]
        assert [type(result) for result in results] == [type(None), type(None), Failed, Failed, Failed]


@pytest.mark.parametrize("ordered", [True, False])
async def test_what_the_source_raises_comes_after_the_results_of_the_items_before(ordered: bool) -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise LookupError("source")

    async def broken_too() -> AsyncIterator[int]:
        for item in broken():
            yield item

    for items in (broken, broken_too):
        got: list[int] = []
        async with WorkerPool() as pool:
            source: Any = items()
            results = pool.map(echo, source, ordered=ordered)
            with pytest.raises(LookupError, match="source"):
                async for result in results:
                    got.append(result)  # noqa: PERF401  # what came before an error counts
            assert [result async for result in results] == []
        assert got == [1, 2]


async def test_a_source_that_is_interrupted_ends_the_map_at_once() -> None:
    def interrupted() -> Iterator[int]:
        yield 1
        raise KeyboardInterrupt

    async with WorkerPool() as pool:
        with pytest.raises(KeyboardInterrupt):
            await anext(pool.map(sleep, interrupted()))
        assert pool.stats().cancelled == 1


async def test_a_job_that_is_cancelled_is_a_failure_of_its_item_and_not_of_the_loop() -> None:
    async def cancels_itself(_: int) -> None:
        job = current_job()
        assert job is not None
        job.cancel()
        await asyncio.sleep(FOREVER)

    async with WorkerPool() as pool:
        with pytest.raises(JobCancelled):
            await anext(pool.map(cancels_itself, [1]))


# Options of the jobs ----------------------------------------------------------------------------------------------------


async def test_names_priorities_and_keys_are_values_or_functions_of_the_item() -> None:
    started: list[tuple[int, str]] = []

    async def work(number: int) -> int:
        job = current_job()
        assert job is not None
        started.append((number, job.name))
        await asyncio.sleep(0.01)
        return number

    async with WorkerPool(max_workers=1) as pool:
        results = pool.map(work, range(4), window=4, priority=lambda n: -n, name=lambda n: f"work {n}")
        assert [result async for result in results] == [0, 1, 2, 3]
        assert started == [(0, "work 0"), (3, "work 3"), (2, "work 2"), (1, "work 1")]
        assert [result async for result in pool.map(work, [9], name="nine", priority=1)] == [9]
        assert started[-1] == (9, "nine")


@pytest.mark.parametrize(("key", "most"), [("one", 1), (lambda n: n % 2, 2), (lambda n: None, 3), (None, 3)])
async def test_of_items_with_an_equal_key_one_runs_at_once(key: Any, most: int) -> None:
    running = at_once = 0

    async def work(_: int) -> None:
        nonlocal running, at_once
        running += 1
        at_once = max(at_once, running)
        await asyncio.sleep(0.01)
        running -= 1

    async with WorkerPool(max_workers=3) as pool:
        assert len([result async for result in pool.map(work, range(12), key=key)]) == 12
    assert at_once == most


async def test_what_fails_is_tried_again() -> None:
    tries: dict[int, int] = {}

    async def flaky(number: int) -> int:
        tries[number] = tries.get(number, 0) + 1
        if tries[number] < 3:
            raise ConnectionError
        return number

    async with WorkerPool() as pool:
        retry = Retry(on=ConnectionError, attempts=3, share=1.0)
        assert [result async for result in pool.map(flaky, range(3), retry=retry)] == [0, 1, 2]


@pytest.mark.parametrize("option", ["name", "priority", "key"])
@pytest.mark.parametrize("is_async", [True, False])
async def test_a_function_that_raises_or_says_nonsense_ends_the_map_like_a_source_that_raises(
    option: str, is_async: bool
) -> None:
    def raising(item: int) -> Any:
        if item == 2:
            raise LookupError(option)
        return {"name": "x", "priority": 1, "key": "k"}[option]

    async with WorkerPool() as pool:
        for wrong, error in ((raising, LookupError), (lambda n: raising(n) if n < 2 else [n], TypeError)):
            got: list[int] = []
            options: Any = {option: wrong}
            with pytest.raises(error, match=option):
                async for result in pool.map(echo, numbers(5) if is_async else range(5), **options):
                    got.append(result)  # noqa: PERF401  # what came before an error counts
            assert got == [0, 1]


VARIABLE = contextvars.ContextVar("VARIABLE", default="none")


async def look(_: int) -> str:
    return VARIABLE.get()


@pytest.mark.parametrize("is_async", [True, False])
async def test_jobs_see_the_context_as_it_was_at_the_call(is_async: bool) -> None:
    seen: list[str] = []

    async def source() -> AsyncIterator[int]:
        for number in range(5):
            seen.append(VARIABLE.get())
            VARIABLE.set("by the source")
            yield number

    async with WorkerPool(max_workers=1) as pool:
        VARIABLE.set("at the call")
        results = pool.map(look, source() if is_async else range(5))
        VARIABLE.set("later")
        async for result in results:
            assert result == "at the call"
            VARIABLE.set("in the loop")
    if is_async:
        assert seen[0] == "at the call"
    VARIABLE.set("none")


async def test_an_async_source_is_one_task_from_its_first_item_to_its_clean_up() -> None:
    tasks: list[Any] = []

    async def scoped() -> AsyncIterator[int]:
        try:
            async with asyncio.timeout(10):
                for number in range(100):
                    tasks.append(asyncio.current_task())
                    yield number
        finally:
            tasks.append(asyncio.current_task())

    async with WorkerPool() as pool, pool.map(echo, scoped()) as results:
        async for result in results:
            if result == 10:
                break
    assert len(set(tasks)) == 1
    assert tasks[0] is not asyncio.current_task()


async def test_a_sync_source_is_read_in_the_task_that_takes_the_results() -> None:
    tasks: set[Any] = set()

    def source() -> Iterator[int]:
        for number in range(10):
            tasks.add(asyncio.current_task())
            yield number

    async with WorkerPool() as pool:
        assert [result async for result in pool.map(echo, source())] == [*range(10)]
        assert tasks == {asyncio.current_task()}


# A full pool ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("queue_size", [0, 1])
@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("overload", ["wait", "reject", "drop_oldest", "caller_runs"])
async def test_a_full_pool_is_waited_for_whatever_its_policy(
    ordered: bool, queue_size: int, is_async: bool, overload: Any
) -> None:
    async with WorkerPool(max_workers=2, queue_size=queue_size, submit_timeout=0, overload=overload) as pool:
        items: Any = numbers(20) if is_async else range(20)
        results = [result async for result in pool.map(backwards, items, ordered=ordered, window=9)]
        assert sorted(results) == [*range(20)]
        assert pool.stats().accepted == pool.stats().succeeded == 20


async def test_a_map_waits_in_line_with_other_submitters() -> None:
    started: list[str] = []

    async def work(name: str) -> None:
        started.append(name)
        await asyncio.sleep(0.01)

    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=None) as pool:
        blocking = await pool.submit(sleep, 0.1)
        first = asyncio.create_task(pool.run(work, "before"))
        await turns()

        async def mapping() -> None:
            async for _ in pool.map(work, ["map 1", "map 2"]):
                pass

        second = asyncio.create_task(mapping())
        await turns()
        third = asyncio.create_task(pool.run(work, "after"))
        await asyncio.gather(blocking, first, second, third)
    assert started == ["before", "map 1", "after", "map 2"]


async def test_a_map_has_a_scaling_pool_grow() -> None:
    async with WorkerPool(min_workers=1, max_workers=4, queue_size=0, overload="reject") as pool:
        assert [result async for result in pool.map(backwards, range(8))] == [*range(8)]


@pytest.mark.complains
async def test_too_many_strays_end_a_map() -> None:
    for overload in ("wait", "reject"):
        stubborn = Stubborn()
        options: Any = {"overload": overload}
        async with WorkerPool(max_workers=1, max_strays=0, cancel_grace=0.01, shutdown_timeout=0.1, **options) as pool:
            handle = await pool.submit(stubborn)
            await stubborn.started.wait()
            handle.cancel()
            with pytest.raises(JobCancelled):
                await handle
            with pytest.raises(PoolOverloaded, match=r"abandoned|stray"):
                await anext(pool.map(echo, [1]))
            await stubborn.release()


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("ordered", [True, False])
async def test_when_the_pool_closes_what_was_accepted_still_comes_and_then_pool_closed(is_async: bool, ordered: bool) -> None:
    source = Source()
    got: list[int] = []
    async with WorkerPool(max_workers=2, queue_size=2) as pool:
        items: Any = source.slow() if is_async else source.sync()
        with pytest.raises(PoolClosed):
            async for result in pool.map(backwards, items, window=20, ordered=ordered):
                got.append(result)  # what came before an error counts
                if len(got) == 3:
                    pool.close_intake()
                    pool.close_intake()
                    accepted = pool.stats().accepted
        assert sorted(got) == [*range(accepted)]
        assert pool.stats().succeeded == pool.stats().accepted == accepted
    assert source.closed


async def test_a_reader_that_is_busy_elsewhere_when_the_pool_closes_leaves_no_task() -> None:
    source = Source()
    async with WorkerPool(max_workers=2) as pool:
        results = pool.map(echo, source.slow())
        assert await anext(results) == 0
    assert source.closed
    assert len(asyncio.all_tasks()) == 1
    with pytest.raises(PoolClosed):
        while True:
            await anext(results)


@pytest.mark.complains
async def test_a_pool_that_closes_by_force_cancels_the_items_that_run() -> None:
    async with WorkerPool(max_workers=2, shutdown_timeout=0.1, cancel_grace=0.05) as pool:
        results = pool.map(sleep, [FOREVER, FOREVER, FOREVER], on_error="return")
        taking = asyncio.ensure_future(anext(results))
        await turns()
    failed = await taking
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, JobCancelled)
    assert failed.error.reason == "shutdown"
    assert len([result async for result in results]) == 2  # and the source was read to its end


# From inside a job ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize("queue_size", [0, 1, 10])
async def test_a_job_that_maps_over_its_own_pool_lends_its_place(ordered: bool, is_async: bool, queue_size: int) -> None:
    async with WorkerPool(max_workers=1, queue_size=queue_size) as pool:

        async def parent() -> list[int]:
            items: Any = numbers(8) if is_async else range(8)
            got = []
            async for result in pool.map(echo, items, ordered=ordered, window=4):
                assert balanced(pool)
                assert pool.stats().running - pool.stats().lending <= 1
                got.append(result)  # what came before an error counts
            return sorted(got)

        assert await asyncio.wait_for(pool.run(parent), 5) == [*range(8)]
        assert pool.stats().lending == 0


async def test_jobs_of_a_map_inherit_the_deadline_of_the_job_that_maps() -> None:
    async def child(_: int) -> float | None:
        return remaining()

    async with WorkerPool(max_workers=2) as pool:

        async def parent() -> list[float | None]:
            return [result async for result in pool.map(child, range(2))]

        for left in await pool.run(parent, timeout=0.5):
            assert left is not None
            assert left <= 0.5


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_job_that_would_wait_for_an_item_of_its_own_key_for_ever_is_told_so(ordered: bool) -> None:
    async with WorkerPool(max_workers=2) as pool:

        async def parent() -> None:
            async for _ in pool.map(echo, [1, 2], key="mine", ordered=ordered):
                raise AssertionError

        with pytest.raises(RuntimeError, match="would wait for ever"):
            await pool.run(parent, key="mine")
        assert pool.stats().running == pool.stats().queued == 0


async def test_an_item_that_waits_for_the_job_that_maps_is_told_so() -> None:
    async with WorkerPool(max_workers=2) as pool:
        mine: list[Any] = []

        async def child(_: int) -> None:
            await mine[0]

        async def parent() -> list[Any]:
            return [result async for result in pool.map(child, [1], on_error="return")]

        mine.append(await pool.submit(parent))
        [failed] = await mine[0]
        assert "would wait for ever" in str(failed.error)


async def test_a_job_that_may_not_lend_its_place_can_not_map() -> None:
    async with WorkerPool(max_workers=1, max_lending=1) as pool:

        async def parent() -> None:
            async for _ in pool.map(grandparent, [1]):
                pass

        async def grandparent(_: int) -> None:
            async for _ in pool.map(echo, [1]):
                pass

        with pytest.raises(PoolOverloaded) as refused:
            await pool.run(parent)
        assert refused.value.reason == "nesting"
        assert pool.stats().running == 0
        del refused


async def test_an_item_whose_time_is_over_when_its_parent_lends_its_place_ends_in_that_moment() -> None:
    async with WorkerPool(max_workers=1) as pool:

        async def parent() -> list[Any]:
            over = asyncio.get_running_loop().time()
            return [result async for result in pool.map(echo, range(3), deadline=over, on_error="return")]

        assert [type(failed.error) for failed in await pool.run(parent)] == [JobTimeout] * 3


async def test_a_map_of_another_pool_is_read_in_a_task_that_a_job_has_started() -> None:
    async with WorkerPool(max_workers=1) as pool, WorkerPool(max_workers=1) as other:

        async def parent() -> list[int]:
            inner = pool.map(echo, range(5))
            return [result async for result in other.map(echo, inner)]

        assert await pool.run(parent) == [*range(5)]


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_job_that_is_cancelled_while_it_maps_leaves_nothing(ordered: bool) -> None:
    source = Source()
    async with WorkerPool(max_workers=2) as pool:

        async def parent() -> None:
            async with asyncio.timeout(0.1):
                async for _ in pool.map(lambda _: sleep(FOREVER), source.sync(), ordered=ordered):
                    pass

        with pytest.raises(TimeoutError):
            await pool.run(parent)
        assert source.closed
        assert pool.stats().running == pool.stats().queued == 0


# Wrong calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ordered": 1}, TypeError, "ordered must be True or False, got 1"),
        ({"on_error": "ignore"}, ValueError, "on_error must be one of 'raise', 'return', 'skip', got 'ignore'"),
        ({"window": 0}, ValueError, "window must be an int of at least 1 "),
        ({"window": 1.5}, TypeError, "window must be an int of at least 1 "),
        ({"timeout": -1}, ValueError, "timeout must be a number of seconds above 0"),
        ({"deadline": "soon"}, TypeError, "deadline must be a finite loop time"),
        ({"name": ""}, ValueError, "name must be a printable str"),
        ({"priority": "high"}, TypeError, "priority must be an int"),
        ({"key": 1.5}, TypeError, "key must be a str"),
        ({"retry": 3}, TypeError, "retry must be a weirpool.policies.Retry, got 3"),
        ({"total": -1}, ValueError, "total must be an int of at least 0 "),
        ({"progress": 3}, TypeError, "progress must be a plain function"),
        ({"progress": echo}, TypeError, "progress must be a plain function"),
        ({"progress": int}, TypeError, "progress must be a plain function"),
    ],
)
async def test_bad_options_are_refused_at_the_call(options: Any, error: type[Exception], message: str) -> None:
    source = Source()
    async with WorkerPool() as pool:
        with pytest.raises(error) as refused:
            pool.map(echo, source.sync(), **options)
        assert str(refused.value).startswith(message)
        assert source.read == 0
        assert pool.stats().accepted == 0


async def test_bad_functions_and_items_are_refused_at_the_call() -> None:
    async with WorkerPool() as pool:
        wrong: Any = echo(1)
        with pytest.raises(TypeError, match="fn must be an async function, got the coroutine"):
            pool.map(wrong, [1])
        wrong = 3
        with pytest.raises(TypeError, match="items must be an iterable or an async iterable, got 3"):
            pool.map(echo, wrong)

        class Broken:
            __aiter__ = None

        wrong = Broken()
        with pytest.raises(TypeError, match="items must be"):
            pool.map(echo, wrong)


async def test_a_pool_that_is_not_open_is_refused_at_the_call() -> None:
    pool = WorkerPool()
    with pytest.raises(RuntimeError, match=r"WorkerPool.map.. needs a pool that was entered"):
        pool.map(echo, [1])
    async with pool:
        pool.close_intake()
        with pytest.raises(PoolClosed):
            pool.map(echo, [1])
    with pytest.raises(PoolClosed):
        pool.map(echo, [1])
    never = WorkerPool()
    await never.aclose()
    with pytest.raises(PoolClosed):
        never.map(echo, [1])


@pytest.mark.realtime
async def test_another_thread_or_loop_is_refused() -> None:
    async with WorkerPool() as pool:
        with pytest.raises(RuntimeError, match=r"WorkerPool.map.. was called from"):
            await asyncio.to_thread(pool.map, echo, [1])
        results = pool.map(echo, [1])

        async def elsewhere() -> None:
            await anext(results)

        with pytest.raises(RuntimeError, match=r"reading the results of WorkerPool.map.. was called from another event loop"):
            await asyncio.to_thread(asyncio.run, elsewhere())
        with pytest.raises(RuntimeError, match=r"MapResults.aclose.. was called from another event loop"):
            await asyncio.to_thread(asyncio.run, results.aclose())


async def test_two_tasks_may_not_read_at_once() -> None:
    gate = Gate()
    async with WorkerPool() as pool:
        results = pool.map(gate, range(3))
        taking = asyncio.ensure_future(anext(results))
        await turns()
        with pytest.raises(RuntimeError, match="read by one task at a time"):
            await anext(results)
        gate.open()
        assert await taking == 0
        assert [result async for result in results] == [1, 2]


async def test_a_map_says_whether_it_is_over() -> None:
    async with WorkerPool() as pool:
        results = pool.map(echo, [1])
        assert isinstance(results, MapResults)
        assert repr(results) == "<MapResults open>"
        assert [result async for result in results] == [1]
        assert repr(results) == "<MapResults over>"


@pytest.mark.complains
async def test_failures_that_nobody_came_to_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with WorkerPool() as pool, pool.map(fail, [ValueError("seen"), ValueError("unseen")]) as results:
        with pytest.raises(ValueError, match="seen"):
            await anext(results)
        del results
    unseen = [r for r in caplog.records if r.name == "weirpool.job" and r.levelno == logging.ERROR]
    assert [str(r.exc_info[1]) for r in unseen if r.exc_info] == ["unseen"]
