"""`serve` waits for signals and closes pools; it refuses wrong places, and leaves the process's handlers as they were."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import Gate, Stubborn, adds_up, echo, sleep, turns
from weirpool import JobCancelled, PoolClosed, PoolState, WorkerPool, serve
from weirpool.testing import DeterministicLoop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator

    from tests.support import Clock
    from weirpool import ShutdownReport

pytestmark = pytest.mark.realtime  # the signals are real, though this process sends them to itself

TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.fixture(autouse=True)
def same_handlers() -> Iterator[None]:
    """Fail a test after which the process hears signals in another way than before."""

    def now() -> list[Any]:
        fd = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(fd)
        return [signal.getsignal(TERM), signal.getsignal(INT), fd]

    before = now()
    yield
    assert now() == before


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    """A pool of two workers, which has plenty of time to close."""
    async with WorkerPool(max_workers=2, shutdown_timeout=20, cancel_grace=10, name="letters") as pool:
        yield pool


async def begun(serving: Coroutine[Any, Any, Any]) -> asyncio.Task[tuple[ShutdownReport, ...]]:
    """Serve in a task, and return it when it waits for signals."""
    task = asyncio.create_task(serving)
    await turns()
    assert not task.done()
    return task


async def hears(sig: signal.Signals = TERM) -> None:
    """Send this process a signal that it is prepared for."""
    assert signal.getsignal(sig) not in {signal.SIG_DFL, signal.default_int_handler}
    signal.raise_signal(sig)
    await turns(20)


# The first and the second signal --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sig", [TERM, INT])
async def test_the_first_signal_closes_intake_and_runs_what_was_accepted(
    pool: WorkerPool, sig: signal.Signals, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()
    handles = [await pool.submit(gate, n) for n in range(4)]
    serving = await begun(serve(pool))
    await hears(sig)
    assert pool.state is PoolState.DRAINING
    with pytest.raises(PoolClosed):
        await pool.submit(gate)
    assert not serving.done()
    gate.open()
    assert await serving == (pool.report,)
    assert [handle.result() for handle in handles] == [0, 1, 2, 3]
    (record,) = [record for record in caplog.records if record.name == "weirpool.worker"]
    assert record.getMessage().startswith(f"{sig.name}: draining pool 'letters'; the next signal cancels the jobs")
    assert (vars(record)["event"], vars(record)["signal"]) == ("weirpool.worker.draining", sig)


@pytest.mark.complains
async def test_the_second_signal_cancels_and_waits_for_the_jobs_to_clean_up(pool: WorkerPool, clock: Clock) -> None:
    clock.start()
    cleaned = []

    async def tidy() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.05)
            cleaned.append(1)

    handles = [await pool.submit(tidy) for _ in range(4)]
    serving = await begun(serve(pool))
    await hears(TERM)
    await hears(INT)
    (report,) = await serving
    assert (report.cancelled_queued, report.cancelled_running, len(cleaned)) == (2, 2, 2)
    assert clock.passed < 5
    for handle in handles:
        with pytest.raises(JobCancelled):
            handle.result()


@pytest.mark.complains
async def test_two_signals_at_once_cancel_whatever_has_not_begun_to_close() -> None:
    stubborn = Stubborn()
    async with WorkerPool(shutdown_timeout=20, cancel_grace=0.1) as a, WorkerPool(shutdown_timeout=20, cancel_grace=0.1) as b:
        await a.submit(stubborn)
        await b.submit(sleep, 3600)
        serving = await begun(serve(a, b))
        signal.raise_signal(TERM)
        signal.raise_signal(INT)
        first, second = await serving
        assert (first.abandoned, second.cancelled_running) == (1, 1)
        assert (first.pool, adds_up(first), adds_up(second)) == ("pool", True, True)
        await stubborn.release()


async def test_several_pools_are_closed_at_the_same_time() -> None:
    async with WorkerPool(name="a") as a, WorkerPool(name="b") as b:
        gate = Gate()
        for pool in (a, b):
            await pool.submit(gate)
        serving = await begun(serve(a, b))
        await hears()
        assert a.state is b.state is PoolState.DRAINING
        gate.open()
        assert [report.pool for report in await serving] == ["a", "b"]


async def test_two_that_serve_at_once_hear_the_same_signals() -> None:
    async with WorkerPool() as a, WorkerPool() as b:
        servings = [await begun(serve(pool)) for pool in (a, b)]
        await hears()
        assert await asyncio.gather(*servings) == [(a.report,), (b.report,)]


async def test_it_serves_again_after_it_has_served() -> None:
    for _ in range(2):
        async with WorkerPool() as pool:
            serving = await begun(serve(pool))
            await hears()
            await serving


# Without a signal -----------------------------------------------------------------------------------------------------


async def test_it_returns_when_somebody_else_has_closed_the_pools(pool: WorkerPool) -> None:
    serving = await begun(serve(pool))
    report = await pool.aclose()
    assert await serving == (report,)
    assert await serve(pool) == (report,), "and at once if that has happened before"


async def test_cancelling_it_leaves_the_pool_open(pool: WorkerPool) -> None:
    serving = await begun(serve(pool))
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert await pool.run(echo, 7) == 7


@pytest.mark.complains
async def test_cancelling_it_while_it_drains_cancels_the_jobs(pool: WorkerPool) -> None:
    await pool.submit(sleep, 3600)
    serving = await begun(serve(pool))
    await hears()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert pool.report is not None
    assert pool.report.cancelled_running == 1


# The delay ------------------------------------------------------------------------------------------------------------


async def test_intake_stays_open_for_the_delay_of_which_on_stop_is_told(pool: WorkerPool, clock: Clock) -> None:
    clock.start()
    told: list[PoolState] = []
    serving = await begun(serve(pool, delay=0.2, on_stop=lambda: told.append(pool.state)))
    await hears()
    assert told == [PoolState.OPEN]
    assert await pool.run(echo, 7) == 7
    await serving
    assert clock.passed > 0.19
    assert told == [PoolState.OPEN]


@pytest.mark.complains
async def test_the_second_signal_ends_the_delay_and_cancels(pool: WorkerPool) -> None:
    await pool.submit(sleep, 3600)
    serving = await begun(serve(pool, delay=3600))
    await hears()
    assert pool.state is PoolState.OPEN
    await hears()
    (report,) = await serving
    assert report.cancelled_running == 1


async def test_a_pool_that_is_closed_in_the_delay_ends_that(pool: WorkerPool) -> None:
    serving = await begun(serve(pool, delay=3600))
    await hears()
    assert await serve_out(serving, pool) == (pool.report,)


async def serve_out(serving: asyncio.Task[Any], pool: WorkerPool) -> Any:
    await pool.aclose()
    return await serving


@pytest.mark.complains
async def test_an_on_stop_that_fails_is_logged_and_the_pool_drained(
    pool: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    serving = await begun(serve(pool, on_stop=lambda: 1 / 0))
    await hears()
    await serving
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (record.getMessage(), record.exc_info is not None) == ("on_stop failed; the pools are drained all the same", True)


# What it leaves alone -------------------------------------------------------------------------------------------------


async def test_a_signal_that_is_ignored_stays_ignored(pool: WorkerPool) -> None:
    before = signal.signal(INT, signal.SIG_IGN)
    try:
        serving = await begun(serve(pool))
        signal.raise_signal(INT)
        await turns(20)
        assert pool.state is PoolState.OPEN
        await hears(TERM)
        await serving
    finally:
        signal.signal(INT, before)


async def test_a_handler_that_somebody_else_sets_meanwhile_stays(pool: WorkerPool) -> None:
    before = signal.getsignal(INT)
    serving = await begun(serve(pool))
    try:
        signal.signal(INT, signal.SIG_IGN)
        await hears(TERM)
        await serving
        assert signal.getsignal(INT) is signal.SIG_IGN
    finally:
        signal.signal(INT, before)


async def test_a_handler_that_python_does_not_know_becomes_the_default_one(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_handler, before = signal.signal, signal.getsignal(INT)

    def hidden(sig: signal.Signals, handler: Any) -> Any:
        return (
            None if sig is INT and set_handler(sig, handler) == before else before if sig is INT else set_handler(sig, handler)
        )

    monkeypatch.setattr(signal, "signal", hidden)
    serving = await begun(serve(pool))
    monkeypatch.undo()
    await hears(TERM)
    await serving
    assert signal.getsignal(INT) is signal.SIG_DFL
    signal.signal(INT, before)


async def test_the_handlers_that_a_loop_has_hear_their_signals_again_afterwards(pool: WorkerPool) -> None:
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(TERM)
    loop.add_signal_handler(signal.SIGUSR1, heard.set)
    try:
        serving = await begun(serve(pool))
        await hears()
        await serving
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.wait_for(heard.wait(), 5)
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)
    assert (signal.getsignal(signal.SIGUSR1), signal.getsignal(TERM)) == before


async def test_a_wakeup_socket_that_somebody_else_sets_meanwhile_stays(pool: WorkerPool) -> None:
    loop = asyncio.get_running_loop()
    serving = await begun(serve(pool))
    loop.add_signal_handler(signal.SIGUSR1, print)
    await hears()
    await serving
    heard = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, heard.set)
    signal.raise_signal(signal.SIGUSR1)
    await asyncio.wait_for(heard.wait(), 5)
    loop.remove_signal_handler(signal.SIGUSR1)


async def test_a_pool_by_itself_touches_no_signal() -> None:
    before = [signal.getsignal(sig) for sig in signal.valid_signals()]
    async with WorkerPool() as pool:
        await pool.run(echo, 1)
        assert [signal.getsignal(sig) for sig in signal.valid_signals()] == before


# Wrong places, and bad input ------------------------------------------------------------------------------------------


async def test_it_refuses_what_is_no_pool(pool: WorkerPool) -> None:
    with pytest.raises(TypeError, match="pool must be a WorkerPool, got 7"):
        await serve(pool, 7)  # type: ignore[arg-type]


@pytest.mark.parametrize("on_stop", [7, echo])
async def test_it_refuses_an_on_stop_that_it_cannot_call(pool: WorkerPool, on_stop: Any) -> None:
    with pytest.raises(TypeError, match="on_stop must be a plain function or None, it is called and never awaited; got "):
        await serve(pool, on_stop=on_stop)


@pytest.mark.parametrize(("delay", "error"), [(-1, ValueError), ("1", TypeError), (float("nan"), ValueError)])
async def test_it_refuses_a_delay_that_is_none(pool: WorkerPool, delay: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"delay must be a number of seconds above 0 .* or 0 \(none\), got"):
        await serve(pool, delay=delay)


async def test_it_refuses_a_pool_that_is_not_open() -> None:
    pool = WorkerPool(name="letters")
    with pytest.raises(RuntimeError, match=r"serve\(\) needs a pool that is open, and <WorkerPool 'letters' new.*async with"):
        await serve(pool)
    await pool.aclose()
    assert await serve(pool) == (pool.report,)


async def test_it_refuses_to_be_called_from_a_job(pool: WorkerPool) -> None:
    with pytest.raises(
        RuntimeError, match=r"serve\(\) was called from job 'serves', which it would wait for: call it in main"
    ):
        await pool.run(lambda: serve(pool), name="serves")


async def test_it_refuses_other_loops_and_other_threads(pool: WorkerPool) -> None:
    async def with_one_of_its_own() -> None:
        async with WorkerPool() as other:
            await serve(other)

    errors: list[str] = []

    def elsewhere(main: Coroutine[Any, Any, Any]) -> None:
        with asyncio.Runner() as runner:
            try:
                runner.run(main)
            except RuntimeError as error:
                errors.append(str(error))

    for main in (serve(pool), with_one_of_its_own()):
        thread = threading.Thread(target=elsewhere, args=(main,))
        thread.start()
        await asyncio.to_thread(thread.join)
    assert "serve() must be called on the event loop on which <WorkerPool 'letters' open" in errors[0]
    assert "which Python allows in the main thread only" in errors[1]


def test_on_a_loop_without_io_it_fails_and_leaves_the_signals_as_they_were() -> None:
    async def main() -> None:
        async with WorkerPool() as pool:
            await serve(pool)

    with asyncio.Runner(loop_factory=DeterministicLoop) as runner, pytest.raises(NotImplementedError, match="no I/O"):
        runner.run(main())
