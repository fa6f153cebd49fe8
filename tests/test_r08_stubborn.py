"""R8: a job that swallows its cancellation gets `cancel_grace`; then it is abandoned: logged, a stray, its place free."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import linecache
import logging
import re
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import FOREVER, Gate, Stubborn, adds_up, balanced, echo, sleep, turns
from weirpool import JobCancelled, JobState, JobTimeout, PoolState, WorkerPool
from weirpool.events import Observer, StrayEnded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator

    from tests.support import Clock
    from weirpool import JobHandle

pytestmark = pytest.mark.complains


@pytest.fixture(autouse=True)
def freed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every stubborn job end with its test: else a test that fails would hang when its loop is closed."""
    made: list[Stubborn] = []
    init = Stubborn.__init__

    def remember(self: Stubborn) -> None:
        init(self)
        made.append(self)

    monkeypatch.setattr(Stubborn, "__init__", remember)
    yield
    for stubborn in made:
        stubborn._released.set()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged about jobs."""
    return [record.getMessage() for record in caplog.records if record.name == "weirpool.job"]


async def give_up_on(pool: WorkerPool, stubborn: Stubborn, how: str) -> JobHandle[Any]:
    """Start a stubborn job, and let it be told to end."""
    handle = await pool.submit(stubborn, timeout=0.1 if how == "deadline" else None)
    await stubborn.started.wait()
    if how == "cancel":
        handle.cancel()
    return handle


MIRROR = """
class Mirror:
    async def pull(self):
        while not self.socket.closed:
            with suppress(asyncio.CancelledError):
                await self.socket.read()
"""


class Socket:
    """Has nothing to read until it is closed."""

    closed = False

    def read(self) -> asyncio.Future[None]:
        self.read_by = asyncio.get_running_loop().create_future()
        return self.read_by

    def close(self) -> None:
        self.closed = True
        self.read_by.set_result(None)


async def test_the_log_says_what_the_page_on_closing_shows(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parent.parent / "docs" / "shutdown.md").read_text()
    (shown,) = re.findall(r"^```text\n(.*?)\n```$", page, re.DOTALL | re.MULTILINE)
    file, source = "/srv/app/sync.py", "\n" * 36 + MIRROR
    monkeypatch.setitem(linecache.cache, file, (len(source), None, source.splitlines(keepends=True), file))
    scope: dict[str, Any] = {"asyncio": asyncio, "suppress": contextlib.suppress}
    exec(compile(source, file, "exec"), scope)
    mirror = scope["Mirror"]()
    mirror.socket = Socket()
    async with WorkerPool(name="mail", shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        for _ in range(16):
            await pool.run(echo, "before")
        await pool.submit(mirror.pull)
    assert warnings(caplog) == [shown]
    mirror.socket.close()


# The three ways to be abandoned ------------------------------------------------------------------------------------------


async def test_a_job_that_ignores_its_deadline_is_abandoned_after_the_grace(clock: Clock) -> None:
    stubborn = Stubborn()
    async with WorkerPool(cancel_grace=0.2) as pool:
        clock.start()
        handle = await pool.submit(stubborn, timeout=0.1)
        with pytest.raises(JobTimeout) as caught:
            await handle
        assert clock.shows(0.3)
        assert handle.state is JobState.ABANDONED
        assert (caught.value.abandoned, caught.value.phase, caught.value.timeout) == (True, "running", 0.1)
        assert stubborn.cancellations == 1
        await stubborn.release()


async def test_a_job_that_ignores_its_handles_cancel_is_abandoned_after_the_grace(clock: Clock) -> None:
    stubborn = Stubborn()
    async with WorkerPool(cancel_grace=0.2) as pool:
        handle = await pool.submit(stubborn, timeout=0.3)
        await stubborn.started.wait()
        clock.start()
        handle.cancel()
        handle.cancel()
        with pytest.raises(JobCancelled) as caught:
            await handle
        assert clock.shows(0.2)
        assert handle.state is JobState.ABANDONED
        assert (caught.value.abandoned, caught.value.reason) == (True, "cancel")
        assert handle.cancel() is False
        assert stubborn.cancellations == 1
        await stubborn.release()


async def test_a_job_that_ignores_the_shutdown_is_abandoned_at_the_end_of_it(clock: Clock) -> None:
    stubborn = Stubborn()
    pool = WorkerPool(shutdown_timeout=0.3, cancel_grace=0.2)
    async with pool:
        handle = await pool.submit(stubborn)
        await stubborn.started.wait()
        clock.start()
    assert clock.shows(0.3)
    with pytest.raises(JobCancelled) as caught:
        await handle
    assert handle.state is JobState.ABANDONED
    assert (caught.value.abandoned, caught.value.reason) == (True, "shutdown")
    assert stubborn.cancellations == 1
    assert adds_up(pool.report)
    await stubborn.release()


async def test_a_job_that_ignores_its_deadline_and_then_the_shutdown_is_abandoned_once(clock: Clock) -> None:
    stubborn = Stubborn()
    pool = WorkerPool(shutdown_timeout=0.3, cancel_grace=0.2)
    async with pool:
        clock.start()
        handle = await pool.submit(stubborn, timeout=0.05)
        await stubborn.started.wait()
    assert clock.shows(0.25), "after the grace of its deadline; the shutdown gives it no second one"
    with pytest.raises(JobTimeout) as caught:
        await handle
    assert caught.value.abandoned
    assert stubborn.cancellations == 1
    await stubborn.release()


async def test_a_job_that_ignores_its_deadline_shortly_before_the_pool_gives_up_has_timed_out(clock: Clock) -> None:
    stubborn = Stubborn()
    pool = WorkerPool(shutdown_timeout=0.3, cancel_grace=0.2)
    async with pool:
        clock.start()
        handle = await pool.submit(stubborn, timeout=0.25)
        await stubborn.started.wait()
        pool.close_intake()
        closing = asyncio.create_task(pool.aclose())
    await closing
    assert clock.shows(0.3)
    assert handle.state is JobState.ABANDONED
    assert isinstance(handle.exception(), JobCancelled), "the pool cancelled it before its deadline came"
    await stubborn.release()


@pytest.mark.virtual
async def test_the_grace_is_exact() -> None:
    loop = asyncio.get_running_loop()
    for late in (False, True):

        async def job(late: bool = late) -> Any:
            try:
                return await sleep(FOREVER, "never")
            finally:
                await asyncio.sleep(2.001 if late else 1.999)

        async with WorkerPool(cancel_grace=2.0) as pool:
            handle = await pool.submit(job, timeout=1.0)
            since = loop.time()
            await handle.wait()
            assert isinstance(handle.exception(), JobTimeout)
            assert handle.state is (JobState.ABANDONED if late else JobState.TIMED_OUT)
            assert loop.time() - since == pytest.approx(3.0 if late else 2.999, abs=1e-6)
            await asyncio.sleep(1)


async def test_without_a_grace_a_job_is_abandoned_at_once(clock: Clock) -> None:
    stubborn = Stubborn()
    async with WorkerPool(shutdown_timeout=1, cancel_grace=0) as pool:
        clock.start()
        handle = await pool.submit(stubborn, timeout=0.1)
        await handle.wait()
        assert clock.shows(0.1)
        assert handle.state is JobState.ABANDONED
        await stubborn.release()

        prompt = await pool.submit(sleep, FOREVER)
        await turns()
        prompt.cancel()
        await prompt.wait()
        assert prompt.state in {JobState.CANCELLED, JobState.ABANDONED}, "it depends on what the loop does first"
        await turns()
        assert pool.stats().strays == 0
        handle.exception()


async def test_a_job_that_ends_within_the_grace_is_not_abandoned(clock: Clock) -> None:
    async def slow_to_end() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.2)

    async with WorkerPool(cancel_grace=0.4) as pool:
        clock.start()
        handles = [await pool.submit(slow_to_end, timeout=0.05), await pool.submit(slow_to_end)]
        await asyncio.sleep(0.05)
        handles[1].cancel()
        for handle in handles:
            await handle.wait()
            handle.exception()
        assert clock.shows(0.25)
        assert [handle.state for handle in handles] == [JobState.TIMED_OUT, JobState.CANCELLED]
        assert pool.stats().strays == 0
    assert pool.report is not None
    assert pool.report.strays == ()


# What follows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deadline", "cancel"])
async def test_the_place_of_an_abandoned_job_is_free_again(how: str) -> None:
    stubborn = Stubborn()
    async with WorkerPool(max_workers=1, queue_size=1, cancel_grace=0.05) as pool:
        await give_up_on(pool, stubborn, how)
        queued = await pool.submit(echo, "queued")
        waiting = await pool.submit(echo, "had to wait")
        assert (await queued, await waiting) == ("queued", "had to wait")
        stats = pool.stats()
        assert (stats.running, stats.abandoned, stats.strays) == (0, 1, 1)
        assert balanced(pool)
        await stubborn.release()


async def test_a_pool_survives_more_stubborn_jobs_than_it_has_workers() -> None:
    stubborn = [Stubborn() for _ in range(6)]
    async with WorkerPool(max_workers=2, cancel_grace=0.02, max_strays=6) as pool:
        handles = [await pool.submit(job, timeout=0.02) for job in stubborn]
        for handle in handles:
            with pytest.raises(JobTimeout):
                await handle
        assert pool.stats().strays == 6
        assert await pool.run(echo, 1) == 1
        for number, job in enumerate(stubborn, 1):
            await job.release()
            assert pool.stats().strays == 6 - number
            assert pool.stats().abandoned == 6
            assert balanced(pool)


async def test_a_stray_counts_until_it_really_ends() -> None:
    ended: list[str] = []

    class Ear(Observer):
        def stray_ended(self, event: StrayEnded) -> None:
            ended.append(event.name)

    stubborn = Stubborn()
    async with WorkerPool(cancel_grace=0.02, observers=[Ear()]) as pool:
        handle = await give_up_on(pool, stubborn, "cancel")
        await handle.wait()
        await asyncio.sleep(0.1)
        assert (pool.stats().strays, ended) == (1, [])
        await stubborn.release()
        assert pool.stats().strays == 0
        assert ended == [handle.name]
        assert balanced(pool)


@pytest.mark.parametrize("late", ["result", "error", "cancelled"])
async def test_the_late_end_of_an_abandoned_job_is_ignored(late: str, caplog: pytest.LogCaptureFixture) -> None:
    gate = asyncio.Event()

    async def job() -> str:
        while not gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await gate.wait()
        if late == "error":
            raise ValueError("late")
        if late == "cancelled":
            raise asyncio.CancelledError
        return "late"

    async with WorkerPool(cancel_grace=0.02) as pool:
        handle = await pool.submit(job, timeout=0.02)
        with pytest.raises(JobTimeout):
            await handle
        gate.set()
        await turns()
        assert pool.stats().strays == 0
        assert handle.state is JobState.ABANDONED
        error = handle.exception()
        assert isinstance(error, JobTimeout)
        assert error.abandoned
        stats = pool.stats()
        assert (stats.succeeded, stats.failed, stats.cancelled, stats.abandoned) == (0, 0, 0, 1)
    del handle
    gc.collect()
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("how", ["deadline", "cancel", "shutdown"])
async def test_an_abandoned_job_is_logged_with_the_stack_where_it_hangs(how: str, caplog: pytest.LogCaptureFixture) -> None:
    released = asyncio.Event()

    async def hang_here() -> None:
        while not released.is_set():
            try:
                await released.wait()  # the very line
            except asyncio.CancelledError:
                continue

    async def job() -> None:
        await hang_here()

    pool = WorkerPool(name="mill", shutdown_timeout=0.05, cancel_grace=0.05)
    async with pool:
        handle = await pool.submit(job, name="grind", timeout=0.01 if how == "deadline" else None)
        await turns()
        if how == "cancel":
            handle.cancel()
        if how != "shutdown":
            await handle.wait()
    [message] = warnings(caplog)
    for part in ("grind", "mill", how, __file__, "hang_here", "the very line"):
        assert part in message
    assert message.index(".job") < message.index(".hang_here"), "the outermost call comes first"
    assert "weirpool/_runner" not in message
    assert pool.report is not None
    [stray] = pool.report.strays
    assert (stray.name, stray.reason, stray.id) == ("grind", how, handle.id)
    assert "hang_here" in stray.stack[-1]
    assert "hang_here" in str(pool.report)
    released.set()
    await turns()


async def test_a_stray_of_before_is_in_the_report_if_it_still_runs_then() -> None:
    gone, still_there = Stubborn(), Stubborn()
    pool = WorkerPool(cancel_grace=0.02)
    async with pool:
        for stubborn in (gone, still_there):
            handle = await give_up_on(pool, stubborn, "cancel")
            await handle.wait()
        await gone.release()
    assert pool.report is not None
    assert pool.report.abandoned == 2
    [stray] = pool.report.strays
    assert stray.id == 2
    assert stray.running_for > 0
    await still_there.release()


async def test_a_stray_that_ends_after_the_pool_has_closed_is_counted_off_and_warns_nobody() -> None:
    stubborn = Stubborn()
    pool = WorkerPool(shutdown_timeout=0.05, cancel_grace=0.05)
    async with pool:
        await pool.submit(stubborn)
        await stubborn.started.wait()
    assert pool.state is PoolState.CLOSED
    assert pool.stats().strays == 1
    await stubborn.release()
    assert pool.stats().strays == 0


async def test_an_abandoned_job_lets_go_of_its_arguments_when_it_ends() -> None:
    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)
    released = asyncio.Event()

    async def job(_: Thing) -> None:
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()

    async with WorkerPool(cancel_grace=0.02) as pool:
        handle = await pool.submit(job, thing)
        await turns()
        handle.cancel()
        await handle.wait()
        del thing
        released.set()
        await turns()
        gc.collect()
        assert gone() is None


async def test_a_job_that_swallows_its_cancellation_once_and_ends_at_the_next_is_not_cancelled_twice() -> None:
    """The pool asks once: whoever needs to be asked twice is stubborn."""

    async def job() -> None:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            await released.wait()

    released = asyncio.Event()
    async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.05) as pool:
        handle = await pool.submit(job, timeout=0.02)
        await handle.wait()
        assert handle.state is JobState.ABANDONED
        assert isinstance(handle.exception(), JobTimeout)
    assert pool.stats().strays == 1
    released.set()
    await turns()


async def test_a_job_that_takes_note_of_its_cancellation_and_goes_on_is_not_cancelled_twice(clock: Clock) -> None:
    cancellations = 0

    async def takes_note() -> str:
        nonlocal cancellations
        task = asyncio.current_task()
        assert task is not None
        until = clock.passed + 0.4
        while (left := until - clock.passed) > 0.01:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                task.uncancel()
                cancellations += 1
        return "done"

    clock.start()
    async with WorkerPool(cancel_grace=0.6) as pool:
        handle = await pool.submit(takes_note)
        await turns()
        handle.cancel()
        assert await handle == "done"
    assert cancellations == 1


async def test_jobs_are_abandoned_even_if_that_cannot_be_logged() -> None:
    def broken(record: logging.LogRecord) -> bool:
        raise OSError("no space left on device")

    jobs = [Stubborn(), Stubborn()]
    logger = logging.getLogger("weirpool.job")
    logger.addFilter(broken)
    try:
        async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.1) as pool:
            handles = [await pool.submit(job) for job in jobs]
    finally:
        logger.removeFilter(broken)
    assert [handle.state for handle in handles] == [JobState.ABANDONED] * 2
    for job in jobs:
        await job.release()


async def test_an_abandoned_job_that_hangs_in_what_shows_no_frame_is_logged_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stubborn = Stubborn()

    async def generator() -> AsyncGenerator[str, None]:
        yield await stubborn()

    iterator = generator()
    async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.1) as pool:
        await pool.submit(iterator.__anext__)
    assert [text.splitlines()[-1].strip() for text in warnings(caplog)] == ["an unknown place"]
    await stubborn.release()
    await iterator.aclose()


async def test_everybody_who_awaits_an_abandoned_job_is_told() -> None:
    stubborn = Stubborn()
    async with WorkerPool(cancel_grace=0.02) as pool:
        handle = await pool.submit(stubborn)
        await stubborn.started.wait()

        async def awaiter() -> None:
            await handle

        tasks = [asyncio.create_task(awaiter()) for _ in range(3)]
        await turns()
        handle.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, JobCancelled) and end.abandoned for end in ends)
        await stubborn.release()


# A loop that stalls ------------------------------------------------------------------------------------------------------


async def cooperative(cleanup: float) -> None:
    """Take some time to end, as it may."""
    try:
        await asyncio.sleep(FOREVER)
    finally:
        await asyncio.sleep(cleanup)


@pytest.mark.realtime
async def test_a_stall_of_the_loop_over_deadline_and_grace_leaves_a_job_its_grace() -> None:
    async with WorkerPool(cancel_grace=0.3) as pool:
        handle = await pool.submit(cooperative, 0.05, timeout=0.05)
        await turns()
        time.sleep(0.5)
        await handle.wait()
        assert handle.state is JobState.TIMED_OUT
        handle.exception()


@pytest.mark.realtime
async def test_a_stall_of_the_loop_after_a_cancel_leaves_a_job_time_to_react() -> None:
    async with WorkerPool(cancel_grace=0.1) as pool:
        handle = await pool.submit(sleep, FOREVER)
        await turns()
        handle.cancel()
        time.sleep(0.3)
        await handle.wait()
        assert handle.state is JobState.CANCELLED


@pytest.mark.realtime
@pytest.mark.parametrize("how", ["cancel", "shutdown"])
async def test_a_stall_of_the_loop_over_all_of_the_grace_still_leaves_a_cooperative_job_some(how: str) -> None:
    """The job has not been able to clean up while the loop stood still, so that time was not its grace."""
    pool = WorkerPool(shutdown_timeout=0.2, cancel_grace=0.2)
    async with pool:
        handle = await pool.submit(cooperative, 0.05)
        await turns()
        closing = asyncio.create_task(pool.aclose(timeout=0.2)) if how == "shutdown" else None
        if how == "cancel":
            handle.cancel()
        while how == "shutdown" and pool.state is not PoolState.CANCELLING:
            await asyncio.sleep(0)
        time.sleep(0.4)
        await handle.wait()
        assert handle.state is JobState.CANCELLED
        if closing is not None:
            await closing


@pytest.mark.realtime
async def test_a_stall_of_the_loop_over_the_drain_leaves_jobs_their_grace() -> None:
    pool = WorkerPool(shutdown_timeout=0.4, cancel_grace=0.3)
    async with pool:
        handle = await pool.submit(cooperative, 0.05)
        await turns()
        asyncio.get_running_loop().call_soon(time.sleep, 0.6)
    assert handle.state is JobState.CANCELLED


@pytest.mark.realtime
async def test_a_stall_of_the_loop_over_a_deadline_in_the_queue_does_not_start_the_job(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, started = Gate(), Gate()
    loop = asyncio.get_running_loop()
    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(first)
        handle = await pool.submit(started, deadline=loop.time() + 0.05)
        await turns()
        first.open()  # so that its place is free when the loop goes on, and not before
        time.sleep(0.2)
        await handle.wait()
        assert isinstance(handle.exception(), JobTimeout)
    assert started.most_inside == 0
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# Jobs that can't even be cancelled ----------------------------------------------------------------------------------------


class Uncancellable:
    """A job that awaits something as it was before Python 3.9, which asyncio asks first when a task is cancelled."""

    _asyncio_future_blocking = False

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> None:
        await self

    def __await__(self) -> Generator[Any, None, None]:
        self._asyncio_future_blocking = True
        yield self

    def cancel(self) -> bool:
        """Take no message."""
        raise AssertionError("is called with one")

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Be a future."""
        return self.future.get_loop()

    def add_done_callback(self, call: Callable[..., object], *, context: Any = None) -> None:
        """Be a future."""
        self.future.add_done_callback(call, context=context)

    def result(self) -> None:
        """Be a future."""


@pytest.mark.complains
@pytest.mark.parametrize("how", ["deadline", "cancel", "shutdown"])
async def test_a_job_that_can_not_be_cancelled_is_one_more_that_ignores_its_cancellation(how: str) -> None:
    old = Uncancellable()
    async with WorkerPool(shutdown_timeout=0.3, cancel_grace=0.1) as pool:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # which hears of it from asyncio.timeout
        handle = await pool.submit(old, timeout=0.1 if how == "deadline" else None)
        polite = await pool.submit(sleep, FOREVER)
        await turns()
        if how == "cancel":
            assert handle.cancel()
        if how != "shutdown":
            await handle.wait()
    assert handle.state is JobState.ABANDONED
    assert polite.state is JobState.CANCELLED, "the others were told all the same"
    assert isinstance(handle.exception(), JobTimeout if how == "deadline" else JobCancelled)
    assert adds_up(pool.report)
    old.future.set_result(None)
    await turns()
    assert pool.stats().strays == 0


@pytest.mark.complains
async def test_a_run_whose_job_can_not_be_cancelled_ends_after_the_grace_when_it_is_cancelled() -> None:
    old = Uncancellable()
    async with WorkerPool(cancel_grace=0.1) as pool:
        running = asyncio.create_task(pool.run(old))
        await turns()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (pool.stats().running, pool.stats().strays) == (0, 1)
        old.future.set_result(None)
        await turns()
