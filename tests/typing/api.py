"""R21: what mypy and pyright must accept, and what they must refuse. Never run; `test_r21_typing` has it checked.

A right call is followed by `assert_type`. A wrong one carries a `type: ignore` for exactly the error that it deserves; both
checkers complain about an ignore that ignores nothing, so each is proof that the call was refused.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedCoroutine=false, reportUnusedExpression=false

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Literal, TypeVar, assert_type

from aiolimiter import AsyncLimiter

import weirpool
from weirpool import (
    Batch,
    Failed,
    Group,
    JobCancelled,
    JobHandle,
    JobState,
    JobTimeout,
    MapProgress,
    MapResults,
    PoolClosed,
    PoolError,
    PoolOverloaded,
    PoolState,
    PoolStats,
    Results,
    ShutdownReport,
    WorkerPool,
    current_job,
    in_interpreter,
    in_process,
    in_thread,
    remaining,
)
from weirpool.events import JobAccepted, JobEnded, JobStarted, Observer, PoolMoved, Stray, StrayEnded, SubmitRefused
from weirpool.integrations.progress import tqdm_progress
from weirpool.testing import InlinePool, Recorder

T = TypeVar("T")


class Receipt:
    """What a job returns."""


async def deliver(event: str, attempt: int) -> Receipt:
    raise NotImplementedError


async def nothing() -> None:
    raise NotImplementedError


async def either(flag: bool) -> Receipt | None:
    raise NotImplementedError


async def first(items: list[T]) -> T:
    raise NotImplementedError


async def with_keywords(event: str, *, attempt: int = 1) -> Receipt:
    raise NotImplementedError


async def with_default(event: str, attempt: int = 1) -> Receipt:
    raise NotImplementedError


def blocking(event: str) -> int:
    raise NotImplementedError


def blocking_with_default(event: str, attempt: int = 1) -> int:
    raise NotImplementedError


def awaitable(event: str) -> Awaitable[Receipt]:
    raise NotImplementedError


def task(event: str) -> asyncio.Task[Receipt]:
    raise NotImplementedError


async def stream(event: str) -> AsyncIterator[Receipt]:
    yield Receipt()


class Service:
    async def deliver(self, event: str) -> Receipt:
        raise NotImplementedError

    @classmethod
    async def of_class(cls, event: str) -> Receipt:
        raise NotImplementedError

    @staticmethod
    async def static(event: str) -> Receipt:
        raise NotImplementedError

    async def __call__(self, event: str) -> Receipt:
        raise NotImplementedError


# Right: submitting ----------------------------------------------------------------------------------------------------


async def submitting(pool: WorkerPool) -> None:
    assert_type(await pool.submit(deliver, "paid", 1), JobHandle[Receipt])
    assert_type(await (await pool.submit(deliver, "paid", 1)), Receipt)
    assert_type(pool.submit_nowait(deliver, "paid", 1), JobHandle[Receipt])
    assert_type(await pool.submit_nowait(deliver, "paid", 1), Receipt)
    assert_type(await pool.run(deliver, "paid", 1), Receipt)


async def for_tests(recorder: Recorder) -> None:
    async with InlinePool(max_workers=4, observers=[recorder]) as pool:
        await submitting(pool)
        assert_type(await pool.submit(deliver, "paid", 1, timeout=5), JobHandle[Receipt])
        assert_type(pool.submit_nowait(deliver, "paid", 1), JobHandle[Receipt])
        assert_type(await pool.run(deliver, "paid", 1), Receipt)
        assert_type([job.args for job in pool.submitted], list[tuple[Any, ...]])
    assert_type(recorder.of(JobEnded, name="paid"), tuple[JobEnded, ...])
    assert_type(await recorder.wait_for(JobStarted, count=2), tuple[JobStarted, ...])


async def every_kind_of_result(pool: WorkerPool) -> None:
    assert_type(await pool.submit(nothing), JobHandle[None])
    assert_type(await pool.submit(either, True), JobHandle[Receipt | None])
    assert_type(await pool.run(either, True), Receipt | None)
    assert_type(await pool.run(first, [1, 2]), int)
    assert_type(await pool.run(asyncio.sleep, 1.0, "slept"), str)


async def every_form_of_function(pool: WorkerPool) -> None:
    service = Service()
    assert_type(await pool.run(service.deliver, "paid"), Receipt)
    assert_type(await pool.run(Service.of_class, "paid"), Receipt)
    assert_type(await pool.run(Service.static, "paid"), Receipt)
    assert_type(await pool.run(service, "paid"), Receipt)
    assert_type(await pool.run(awaitable, "paid"), Receipt)
    assert_type(await pool.run(task, "paid"), Receipt)
    assert_type(await pool.run(lambda: deliver("paid", 1)), Receipt)
    assert_type(await pool.run(functools.partial(with_keywords, "paid", attempt=2)), Receipt)
    assert_type(await pool.run(functools.partial(with_keywords, attempt=2), "paid"), Receipt)
    assert_type(await pool.run(with_keywords, "paid"), Receipt)
    assert_type(await pool.run(with_default, "paid"), Receipt)
    assert_type(await pool.run(with_default, "paid", 2), Receipt)
    assert_type(await pool.run(lambda: asyncio.to_thread(blocking, "paid")), int)


async def plain_functions(pool: WorkerPool) -> None:
    assert_type(await pool.run(in_thread(blocking), "paid"), int)
    assert_type(await pool.submit(in_process(blocking), "paid", timeout=5), JobHandle[int])
    assert_type(pool.submit_nowait(in_interpreter(blocking), "paid"), JobHandle[int])
    with_a_default = in_thread(blocking_with_default)  # by a name: within the call pyright takes a default for an argument
    assert_type(await pool.run(with_a_default, "paid"), int)
    assert_type(await pool.run(with_a_default, "paid", 2), int)
    assert_type(await pool.run(functools.partial(in_thread(blocking_with_default), attempt=2), "paid"), int)
    partial = in_thread(functools.partial(blocking_with_default, attempt=2))
    assert_type(await pool.run(partial, "paid"), int)
    assert_type(await pool.run(in_thread(time.sleep), 1), None)
    assert_type(await in_thread(blocking)("paid"), int)
    await pool.run(in_thread(blocking), 1)  # type: ignore[arg-type]
    await pool.run(in_thread(blocking))  # type: ignore[arg-type]
    await in_process(blocking)(1)  # type: ignore[arg-type]
    in_interpreter(1)  # type: ignore[arg-type]


async def options_of_a_job(pool: WorkerPool) -> None:
    loop = asyncio.get_running_loop()
    assert_type(await pool.submit(deliver, "paid", 1, timeout=5, deadline=loop.time() + 5, name="x"), JobHandle[Receipt])
    assert_type(pool.submit_nowait(deliver, "paid", 1, timeout=0.5, deadline=None, name=None), JobHandle[Receipt])
    assert_type(await pool.run(deliver, "paid", 1, timeout=None), Receipt)


async def generic_callers(pool: WorkerPool, job: Callable[[str], Awaitable[T]]) -> T:
    handle = await pool.submit(job, "paid")
    assert_type(handle, JobHandle[T])
    return await handle


# Right: everything else -----------------------------------------------------------------------------------------------


def making() -> None:
    assert_type(WorkerPool(), WorkerPool)
    WorkerPool(
        max_workers=32,
        queue_size=1000,
        job_timeout=30.0,
        submit_timeout=1,
        shutdown_timeout=20.0,
        cancel_grace=2,
        name="webhooks",
        observers=[Observer(), Ears()],
    )
    WorkerPool(job_timeout=None, submit_timeout=None, observers=())


async def living() -> None:
    async with WorkerPool() as pool:
        assert_type(pool, WorkerPool)
        assert_type(pool.name, str)
        assert_type(pool.state, PoolState)
        assert_type(pool.report, ShutdownReport | None)
        assert_type(pool.stats(), PoolStats)
        pool.close_intake()
        assert_type(await pool.aclose(), ShutdownReport)
        assert_type(await pool.aclose(timeout=5), ShutdownReport)


async def holding(handle: JobHandle[Receipt]) -> None:
    assert_type(await handle, Receipt)
    assert_type(handle.result(), Receipt)
    assert_type(handle.exception(), BaseException | None)
    assert_type(handle.done(), bool)
    assert_type(handle.cancel(), bool)
    assert_type(handle.id, int)
    assert_type(handle.name, str)
    assert_type(handle.state, JobState)
    await handle.wait()
    assert_type(await asyncio.gather(handle, handle), tuple[Receipt, Receipt])
    await takes_a_wider_one(handle)


async def takes_a_wider_one(handle: JobHandle[Receipt | None]) -> None:
    assert_type(await handle, Receipt | None)


async def inside_a_job() -> None:
    assert_type(current_job(), JobHandle[Any] | None)
    assert_type(remaining(), float | None)


async def catching(pool: WorkerPool) -> None:
    try:
        await pool.run(nothing)
    except PoolOverloaded as overloaded:
        assert_type(overloaded.reason, Literal["full", "timeout", "early", "dropped", "shed", "strays", "nesting"])
        assert_type(overloaded.queue_size, int)
        assert_type(overloaded.waited, float)
        assert_type(overloaded.retry_after, int)
        assert_type(overloaded.pool, str)
    except PoolClosed as closed:
        assert_type(closed.pool, str)
    except JobTimeout as late:
        assert_type(late.timeout, float)
        assert_type(late.phase, Literal["queued", "running"])
        assert_type(late.abandoned, bool)
        assert_type(late.job, str)
        timeout: TimeoutError = late
        root: PoolError = late
        raise timeout from root
    except JobCancelled as cancelled:
        assert_type(cancelled.reason, str)
        assert_type(cancelled.abandoned, bool)


def reading(stats: PoolStats, report: ShutdownReport, stray: Stray) -> None:
    assert_type(stats.refused, Mapping[str, int])
    assert_type(stats.running + stats.queued + stats.ended, int)
    assert_type(stats.state, PoolState)
    assert_type(report.strays, tuple[Stray, ...])
    assert_type(report.cancelled, int)
    assert_type(report.drain_seconds, float)
    assert_type(stray.stack, tuple[str, ...])
    assert_type(stray.running_for, float)


class Ears(Observer):
    def job_accepted(self, event: JobAccepted, /) -> None:
        assert_type(event.id, int)

    def job_started(self, event: JobStarted) -> None:
        assert_type(event.queued_for, float)

    def job_ended(self, event: JobEnded, /) -> None:
        assert_type(event.ran_for, float | None)
        assert_type(event.error, BaseException | None)
        assert_type(event.state, JobState)

    def stray_ended(self, stray: StrayEnded) -> None:
        assert_type(stray.name, str)

    def submit_refused(self, event: SubmitRefused, /) -> None:
        assert_type(event.reason, str)

    def pool_moved(self, event: PoolMoved, /) -> None:
        assert_type(event.was, PoolState)


# Wrong: the job and its arguments -------------------------------------------------------------------------------------


async def wrong_arguments(pool: WorkerPool) -> None:
    await pool.submit(deliver)  # type: ignore[arg-type]
    await pool.submit(deliver, "paid")  # type: ignore[arg-type]
    await pool.submit(deliver, "paid", "twice")  # type: ignore[arg-type]
    await pool.submit(deliver, "paid", 1, 2)  # type: ignore[arg-type]
    await pool.submit(nothing, 1)  # type: ignore[arg-type]
    pool.submit_nowait(deliver, 1, "paid")  # type: ignore[arg-type]
    pool.submit_nowait(deliver)  # type: ignore[arg-type]
    await pool.run(deliver, None, 1)  # type: ignore[arg-type]
    await pool.run(deliver)  # type: ignore[arg-type]


async def wrong_functions(pool: WorkerPool) -> None:
    await pool.submit(deliver("paid", 1))  # type: ignore[arg-type]
    await pool.submit(blocking, "paid")  # type: ignore[arg-type]
    await pool.submit(stream, "paid")  # type: ignore[arg-type]
    await pool.submit(asyncio.ensure_future(deliver("paid", 1)))  # type: ignore[arg-type]
    await pool.submit(7)  # type: ignore[arg-type]
    await pool.submit(None)  # type: ignore[arg-type]
    await pool.submit()  # type: ignore[call-arg]
    pool.submit_nowait(deliver("paid", 1))  # type: ignore[arg-type]
    pool.submit_nowait(lambda: 7)  # type: ignore[arg-type,return-value]
    await pool.run(deliver("paid", 1))  # type: ignore[arg-type]
    await pool.run(blocking, "paid")  # type: ignore[arg-type]


async def wrong_options(pool: WorkerPool) -> None:
    await pool.submit(nothing, timeout="5")  # type: ignore[arg-type]
    await pool.submit(nothing, deadline="noon")  # type: ignore[arg-type]
    await pool.submit(nothing, name=7)  # type: ignore[arg-type]
    await pool.submit(with_keywords, "paid", attempt=2)  # type: ignore[call-arg]
    await pool.submit(fn=nothing)  # type: ignore[call-arg]
    pool.submit_nowait(nothing, timeout=[5])  # type: ignore[arg-type]
    pool.submit_nowait(nothing, priority="high")  # type: ignore[arg-type]
    await pool.run(nothing, timeout="5")  # type: ignore[arg-type]
    await pool.run(nothing, retries=3)  # type: ignore[call-arg]


# Wrong: what comes back -----------------------------------------------------------------------------------------------


async def wrong_results(pool: WorkerPool) -> None:
    number: int = await pool.run(deliver, "paid", 1)  # type: ignore[arg-type]
    handle: JobHandle[int] = await pool.submit(deliver, "paid", 1)  # type: ignore[arg-type]
    narrower: JobHandle[Receipt] = await pool.submit(either, True)  # type: ignore[arg-type]
    receipt: Receipt = await pool.submit(deliver, "paid", 1)  # type: ignore[assignment]
    pool.submit(deliver, "paid", 1).cancel()  # type: ignore[attr-defined]
    (await pool.submit_nowait(deliver, "paid", 1)).cancel()  # type: ignore[attr-defined]
    assert [number, handle, narrower, receipt]


def wrong_uses_of_a_handle(handle: JobHandle[Receipt]) -> None:
    handle.cancel("now")  # type: ignore[call-arg]
    handle.name = "other"  # type: ignore[misc]
    handle.state = JobState.FAILED  # type: ignore[misc]
    handle.set_result(Receipt())  # type: ignore[attr-defined]
    number: int = handle.result()  # type: ignore[assignment]
    assert number


# Wrong: the pool ------------------------------------------------------------------------------------------------------


def wrong_pools() -> None:
    WorkerPool(32)  # type: ignore[call-arg]
    WorkerPool(max_workers="32")  # type: ignore[arg-type]
    WorkerPool(max_workers=None)  # type: ignore[arg-type]
    WorkerPool(max_workers=2.5)  # type: ignore[arg-type]
    WorkerPool(queue_size=None)  # type: ignore[arg-type]
    WorkerPool(queue_size=float("inf"))  # type: ignore[arg-type]
    WorkerPool(job_timeout="30")  # type: ignore[arg-type]
    WorkerPool(submit_timeout="1")  # type: ignore[arg-type]
    WorkerPool(shutdown_timeout=None)  # type: ignore[arg-type]
    WorkerPool(cancel_grace=None)  # type: ignore[arg-type]
    WorkerPool(name=7)  # type: ignore[arg-type]
    WorkerPool(observers=Observer())  # type: ignore[arg-type]
    WorkerPool(observers=[object()])  # type: ignore[list-item]
    WorkerPool(observers=[Observer])  # type: ignore[list-item]
    WorkerPool(workers=32)  # type: ignore[call-arg]


async def wrong_uses_of_what_is_for_tests(pool: InlinePool, recorder: Recorder) -> None:
    InlinePool(workers=32)  # type: ignore[call-arg]
    await pool.submit(deliver, "paid")  # type: ignore[arg-type]
    await pool.submit(deliver, "paid", 1, tmeout=5)  # type: ignore[call-arg]
    pool.submit_nowait(deliver, 1, 1)  # type: ignore[arg-type]
    recorder.of(str)  # type: ignore[type-var]


async def wrong_closing(pool: WorkerPool) -> None:
    await pool.aclose(5)  # type: ignore[call-arg]
    await pool.aclose(timeout="5")  # type: ignore[arg-type]
    with pool:  # type: ignore[attr-defined]
        pass
    assert pool.report.strays  # type: ignore[union-attr]
    pool.state = PoolState.CLOSED  # type: ignore[misc]
    pool.name = "other"  # type: ignore[misc]


def wrong_writing(stats: PoolStats, report: ShutdownReport, event: JobEnded) -> None:
    stats.running = 1  # type: ignore[misc]
    stats.refused["full"] = 1  # type: ignore[index]
    report.strays = ()  # type: ignore[misc]
    event.state = JobState.FAILED  # type: ignore[misc]


class WrongEars(Observer):
    def job_accepted(self, event: JobEnded, /) -> None:  # type: ignore[override]
        """Hear of the wrong thing."""

    async def job_started(self, event: JobStarted, /) -> None:  # type: ignore[override]
        """Be awaited by nobody."""

    def job_ended(self) -> None:  # type: ignore[override]
        """Hear nothing."""


# Standalone workers ---------------------------------------------------------------------------------------------------


async def standing_alone(pool: WorkerPool) -> None:
    assert_type(await weirpool.serve(pool), tuple[ShutdownReport, ...])
    assert_type(await weirpool.serve(pool, pool, delay=1, on_stop=pool.close_intake), tuple[ShutdownReport, ...])
    assert_type(weirpool.run(nothing), int)
    assert_type(weirpool.run(deliver, "event", 1, exit_timeout=1, debug=True, loop_factory=asyncio.new_event_loop), int)


async def wrongly_alone(pool: WorkerPool) -> None:
    await weirpool.serve()  # type: ignore[call-arg]
    await weirpool.serve([pool])  # type: ignore[arg-type]
    await weirpool.serve(pool, delay="1")  # type: ignore[arg-type]
    weirpool.run(nothing())  # type: ignore[arg-type]
    weirpool.run(blocking, "event")  # type: ignore[arg-type]
    weirpool.run(deliver, "event")  # type: ignore[arg-type]
    weirpool.run(nothing, exit_timeout=None)  # type: ignore[arg-type]


# Groups and results ---------------------------------------------------------------------------------------------------


async def together(pool: WorkerPool) -> Receipt:
    async with pool.group(timeout=5, deadline=None) as group:
        assert_type(group, Group)
        receipt = await group.submit(deliver, "paid", 1, timeout=None, name="delivery", key="k", coalesce=True, priority=1)
        assert_type(receipt, JobHandle[Receipt])
        assert_type(group.submit_nowait(in_thread(blocking), "paid"), JobHandle[int])
        async for handle in group.as_completed():
            assert_type(handle, JobHandle[Any])
    async with pool.group(until="first_success") as first_of:
        await first_of.submit(deliver, "paid", 1)
    assert_type(first_of.winner, JobHandle[Any] | None)
    async with pool.group(until="all_ended"):
        return receipt.result()  # the block swallows nothing that a checker would have to know of


async def everything(pool: WorkerPool) -> None:
    async with pool.results(buffer=10) as stream:
        assert_type(stream, Results)
        async for handle in stream:
            assert_type(handle, JobHandle[Any])
        assert_type(stream.missed, int)
    async for handle in pool.results():
        assert_type(handle.state, JobState)


async def wrongly_together(pool: WorkerPool) -> None:
    pool.group(until="last_success")  # type: ignore[arg-type]
    pool.group("all_ended")  # type: ignore[call-arg]
    pool.group(timeout="5")  # type: ignore[arg-type]
    pool.results(10)  # type: ignore[call-arg]
    pool.results(buffer=1.5)  # type: ignore[arg-type]
    with pool.group():  # type: ignore[attr-defined]
        pass
    async with pool.group() as group:
        await group.submit(deliver, "paid")  # type: ignore[arg-type]
        await group.submit(deliver("paid", 1))  # type: ignore[arg-type]
        group.submit_nowait(blocking, "paid")  # type: ignore[arg-type]
        await group.submit(deliver, "paid", 1, timeout="5")  # type: ignore[arg-type]
        for _ in group.as_completed():  # type: ignore[attr-defined]
            pass


# Maps -----------------------------------------------------------------------------------------------------------------


async def fetch(url: str) -> Receipt:
    raise NotImplementedError


async def move(what: str, to: int) -> Receipt:
    raise NotImplementedError


def urls() -> AsyncIterator[str]:
    raise NotImplementedError


def shown(progress: MapProgress) -> None:
    raise NotImplementedError


async def mapping(pool: WorkerPool) -> None:
    assert_type(pool.map(fetch, ["a"]), MapResults[Receipt])
    assert_type(pool.map(fetch, urls(), ordered=False, on_error="skip"), MapResults[Receipt])
    assert_type(pool.map(fetch, {"a"}, on_error="return"), MapResults[Receipt | Failed[str]])
    assert_type(pool.map(in_thread(blocking), ["a"]), MapResults[int])
    assert_type(pool.map(nothing_of, (1, 2)), MapResults[None])
    assert_type(pool.map(lambda pair: move(*pair), zip(["a"], [1], strict=True)), MapResults[Receipt])
    pool.map(fetch, "ab", window=3, timeout=1, deadline=None, name="x", priority=1, key="k", total=3, progress=shown)
    pool.map(fetch, "ab", name=str.upper, priority=len, key=str.lower)
    pool.map(fetch, pool.map(either_text, [True]), progress=tqdm_progress("urls", unit="url"))
    async for receipt in pool.map(fetch, ["a"]):
        assert_type(receipt, Receipt)
    async with pool.map(fetch, ["a"], on_error="return") as results:
        async for result in results:
            if isinstance(result, Failed):
                assert_type(result.item, str)
                assert_type(result.error, BaseException)
            else:
                assert_type(result, Receipt)
    progress = MapProgress(1, 0, 0, None, 1.0, None, False)
    assert_type(progress.eta, float | None)


async def nothing_of(_: int) -> None:
    raise NotImplementedError


async def either_text(_: bool) -> str:
    raise NotImplementedError


async def save(rows: list[str]) -> list[int]:
    return [len(row) for row in rows]


async def batches(pool: WorkerPool) -> None:
    batch = pool.batch(save, max_size=3, max_wait=0, timeout=1, name="x", priority=1, key="k")
    assert_type(batch, Batch[str, int])
    assert_type(await batch("a"), int)
    async with pool.batch(save) as inside:
        assert_type(await inside("a"), int)


async def wrong_batches(pool: WorkerPool) -> None:
    await pool.batch(save)(1)  # type: ignore[arg-type]
    pool.batch(fetch)  # type: ignore[arg-type]
    pool.batch(save, size=3)  # type: ignore[call-arg]
    WorkerPool(rate="fast")  # type: ignore[arg-type]


async def rates() -> None:
    WorkerPool(rate=5, key_rate=0.5)
    WorkerPool(rate=AsyncLimiter(5, 1))


async def wrong_maps(pool: WorkerPool) -> None:
    pool.map(fetch, [1])  # type: ignore[arg-type]
    pool.map(fetch, 3)  # type: ignore[call-overload]
    pool.map(move, ["a"])  # type: ignore[arg-type]
    pool.map(blocking, ["a"])  # type: ignore[arg-type]
    pool.map(fetch, ["a"], on_error="ignore")  # type: ignore[call-overload]
    pool.map(fetch, ["a"], windw=3)  # type: ignore[call-overload]
    pool.map(fetch, ["a"], 3)  # type: ignore[call-overload]
    await pool.map(fetch, ["a"])  # type: ignore[misc]
    for _ in pool.map(fetch, ["a"]):  # type: ignore[attr-defined]
        pass
