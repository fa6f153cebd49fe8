"""A pool used from other threads: what is accepted, refused, cancelled and delivered, and that nobody waits for ever."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import logging
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import FOREVER, Gate, balanced, echo, fail, sleep
from tests.threads.support import PATIENCE, Home, at_home
from weirpool import JobCancelled, JobTimeout, PoolClosed, PoolOverloaded, WorkerPool, current_job, in_thread, remaining
from weirpool._from_thread import FromThread
from weirpool._job_future import _end
from weirpool.policies import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.realtime
NAME: contextvars.ContextVar[str] = contextvars.ContextVar("NAME", default="nobody")


@pytest.fixture
def home() -> Iterator[Home]:
    """Give a small pool, which cancels what is left when the test ends."""
    with at_home(max_workers=1, queue_size=1, submit_timeout=0.1, shutdown_timeout=1.0, cancel_grace=1.0) as home:
        yield home


def fill(home: Home) -> list[concurrent.futures.Future[Any]]:
    """Take all places of the small pool."""
    return [home.pool.from_thread.submit(sleep, FOREVER) for _ in range(2)]


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread is about to bring about."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def by_run(pool: WorkerPool, fn: Any, *args: Any, **options: Any) -> Any:
    return pool.from_thread.run(fn, *args, **options)


def by_submit(pool: WorkerPool, fn: Any, *args: Any, **options: Any) -> Any:
    return pool.from_thread.submit(fn, *args, **options).result()


# Results --------------------------------------------------------------------------------------------------------------------


def test_a_job_is_run_and_its_result_returned(home: Home) -> None:
    assert home.pool.from_thread.run(echo, 1) == 1
    assert home.pool.from_thread.submit(echo, 2).result(PATIENCE) == 2


def test_a_job_runs_on_the_loop_in_the_context_of_the_thread(home: Home) -> None:
    async def told() -> tuple[str, bool]:
        name = NAME.get()
        NAME.set("the job")
        return name, asyncio.get_running_loop() is home.loop

    def submit() -> None:
        NAME.set("the thread")
        assert home.pool.from_thread.submit(told).result(PATIENCE) == ("the thread", True)
        assert home.pool.from_thread.run(told) == ("the thread", True)
        assert NAME.get() == "the thread"

    contextvars.Context().run(submit)
    assert home.pool.from_thread.run(told) == ("nobody", True)


def test_what_is_asked_for_is_done(home: Home) -> None:
    async def name() -> str:
        job = current_job()
        assert job is not None
        return job.name

    assert home.pool.from_thread.run(name, name="mine", priority=-1, key="k", deadline=home.loop.time() + 9) == "mine"
    for _ in range(2):
        with pytest.raises(JobTimeout, match="while running"):
            home.pool.from_thread.run(sleep, FOREVER, timeout=0.01)
    with pytest.raises(JobTimeout, match="while queued"):
        home.pool.from_thread.submit(echo, 1, deadline=home.loop.time() - 1).result(PATIENCE)


def test_a_job_is_tried_again(home: Home) -> None:
    attempts: list[int] = []

    async def twice() -> int:
        attempts.append(1)
        if len(attempts) < 2:
            raise ConnectionError
        return len(attempts)

    assert home.pool.from_thread.run(twice, retry=Retry(attempts=2, first=0.001)) == 2


def test_an_error_of_the_job_is_raised_as_it_is(home: Home) -> None:
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as raised:
        home.pool.from_thread.run(fail, error)
    assert raised.value is error
    future = home.pool.from_thread.submit(fail, error)
    assert future.exception(PATIENCE) is error


@pytest.mark.complains  # of jobs that are cancelled as the pool closes
def test_a_job_that_the_pool_cancels_ends_its_future_with_job_cancelled() -> None:
    home = Home(shutdown_timeout=1.0, cancel_grace=1.0)
    future = home.pool.from_thread.submit(sleep, FOREVER)
    home.close()
    with pytest.raises(JobCancelled) as raised:
        future.result(PATIENCE)
    assert raised.value.reason == "shutdown"
    assert not future.cancelled()


def test_jobs_of_a_key_are_one_and_it_is_cancelled_when_all_have_cancelled_it(home: Home) -> None:
    first, second = (home.pool.from_thread.submit(sleep, FOREVER, key="k", coalesce=True) for _ in range(2))
    assert first.cancel()
    assert home.call(lambda: home.pool.stats().running) == 1
    assert second.cancel()
    until(lambda: home.pool.stats().cancelled == 1)
    assert home.pool.stats().coalesced == 1


# Refusals -------------------------------------------------------------------------------------------------------------------


def test_a_full_pool_refuses_in_the_thread_when_there_was_no_room_for_long_enough(home: Home) -> None:
    fill(home)
    for submit in (home.pool.from_thread.submit, home.pool.from_thread.run):
        with pytest.raises(PoolOverloaded) as refused:
            submit(echo, 1)
        assert refused.value.reason == "timeout"
        assert str(refused.traceback[0].path) == __file__
        assert all("_admission" not in str(entry.path) for entry in refused.traceback)
    assert home.pool.stats().refused["timeout"] == 2
    assert balanced(home.pool)


def test_who_waits_for_room_gets_it() -> None:
    with at_home(max_workers=1, queue_size=1, submit_timeout=None) as home:
        first, second = fill(home)
        home.loop.call_soon_threadsafe(home.loop.call_later, 0.02, first.cancel)
        third = home.pool.from_thread.submit(echo, 1)
        second.cancel()
        assert third.result(PATIENCE) == 1


def test_a_closed_pool_refuses() -> None:
    home = Home()
    home.close()
    with pytest.raises(PoolClosed):
        home.pool.from_thread.submit(echo, 1)
    with pytest.raises(PoolClosed):
        home.pool.from_thread.run(echo, 1)


def test_a_pool_that_closes_refuses_and_counts_that(home: Home) -> None:
    home.call(home.pool.close_intake)
    with pytest.raises(PoolClosed):
        home.pool.from_thread.run(echo, 1)
    assert home.pool.stats().refused["closed"] == 1


@pytest.mark.complains  # as above
def test_who_waits_for_room_is_refused_when_the_pool_closes() -> None:
    with at_home(max_workers=1, queue_size=1, submit_timeout=None, shutdown_timeout=1.0, cancel_grace=1.0) as home:
        fill(home)
        home.loop.call_soon_threadsafe(home.loop.call_later, 0.02, home.pool.close_intake)
        with pytest.raises(PoolClosed):
            home.pool.from_thread.submit(echo, 1)


async def never() -> None:
    raise AssertionError


@pytest.mark.parametrize(
    ("fn", "options", "error", "message"),
    [
        (None, {}, TypeError, "fn must be an async function, got None"),
        (42, {}, TypeError, "fn must be an async function, got 42"),
        (never, {"timeout": 0}, ValueError, "timeout must be a number of seconds above 0"),
        (never, {"deadline": float("nan")}, ValueError, "deadline must be a finite loop time"),
        (never, {"name": ""}, ValueError, "name must be a printable str"),
        (never, {"priority": "high"}, TypeError, "priority must be an int"),
        (never, {"key": 1.5}, TypeError, "key must be a str"),
        (never, {"coalesce": 1}, TypeError, "coalesce must be True or False"),
        (never, {"coalesce": True}, ValueError, "coalesce must be False for a job without a key"),
        (never, {"retry": 3}, TypeError, r"retry must be a weirpool.policies.Retry, got 3"),
    ],
)
def test_bad_input_is_refused_in_the_thread_and_changes_nothing(
    home: Home, fn: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    before = home.pool.stats()
    for submit in (home.pool.from_thread.submit, home.pool.from_thread.run):
        with pytest.raises(error, match=message):
            submit(fn, **options)
    assert home.pool.stats() == before


def test_a_coroutine_is_refused_and_closed(home: Home) -> None:
    with pytest.raises(TypeError, match=r"pass the function and its arguments, submit\(echo, ...\)"):
        home.pool.from_thread.submit(echo(1))  # type: ignore[call-overload, arg-type, unused-ignore]


# The wrong place ------------------------------------------------------------------------------------------------------------


async def test_on_the_loop_of_the_pool_it_says_what_to_await() -> None:
    async with WorkerPool() as pool:
        for submit in (pool.from_thread.submit, pool.from_thread.run):
            with pytest.raises(RuntimeError, match=r"await pool.submit\(...\) or await pool.run\(...\) instead"):
                submit(echo, 1)
        gate = Gate()
        submitting: Any = pool.from_thread.submit
        future = await asyncio.to_thread(submitting, gate, 7)
        for look in (future.result, future.exception):
            with pytest.raises(RuntimeError, match=r"await asyncio.wrap_future\(future\)"):
                look()
            with pytest.raises(TimeoutError):
                look(timeout=0)
        gate.open()
        assert await asyncio.wrap_future(future) == 7
        assert future.result() == 7


def test_a_pool_that_was_not_entered_says_so() -> None:
    pool = WorkerPool()
    with pytest.raises(RuntimeError, match=r"from_thread needs a pool that was entered: async with WorkerPool"):
        pool.from_thread.submit(echo, 1)
    asyncio.run(pool.aclose())
    with pytest.raises(PoolClosed):
        pool.from_thread.submit(echo, 1)


def test_another_loop_may_wait_for_a_future(home: Home) -> None:
    async def main() -> int:
        return await asyncio.wrap_future(home.pool.from_thread.submit(echo, 3))

    assert asyncio.run(main()) == 3


# The loop goes away ---------------------------------------------------------------------------------------------------------


class Stranded:
    """A pool whose loop runs only when it is told to, and is closed without closing the pool."""

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.loop = new_loop()
        self.pool = WorkerPool()
        self.loop.run_until_complete(self.pool.__aenter__())

    def close(self) -> None:
        """Close the loop, and silence what then complains with reason."""
        self.loop.close()
        self.pool._ledger.pool = self.pool._ledger.pool.CLOSED


def loops() -> list[Any]:
    """Return the kinds of event loops that there are."""
    try:
        import uvloop
    except ImportError:
        return [asyncio.new_event_loop]
    return [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture(params=loops(), ids=lambda make: make.__module__.partition(".")[0])
def stranded(request: pytest.FixtureRequest) -> Iterator[Stranded]:
    """Give such a pool."""
    stranded = Stranded(request.param)
    yield stranded
    if not stranded.loop.is_closed():
        stranded.loop.run_until_complete(stranded.pool.aclose(timeout=0))
        stranded.loop.close()


def test_a_loop_that_does_not_run_is_named(stranded: Stranded) -> None:
    with pytest.raises(RuntimeError, match=r"the event loop of pool 'pool' does not run, so nothing would run the job"):
        stranded.pool.from_thread.submit(echo, 1)


def run_in_thread(fn: Callable[[], Any]) -> concurrent.futures.Future[Any]:
    """Call something in a thread of its own."""
    future: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def call() -> None:
        try:
            future.set_result(fn())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call).start()
    return future


@pytest.mark.parametrize("call", [by_run, by_submit])
def test_a_call_that_never_began_is_refused_when_its_loop_is_closed(
    stranded: Stranded, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, sent = FromThread._send, threading.Event()

    def send_and_say_so(*args: Any) -> None:
        send(*args)
        sent.set()

    monkeypatch.setattr(FromThread, "_send", send_and_say_so)
    calling: list[concurrent.futures.Future[Any]] = []

    def call_and_close() -> None:
        calling.append(run_in_thread(lambda: call(stranded.pool, never)))
        assert sent.wait(PATIENCE)
        stranded.loop.stop()

    stranded.loop.call_soon(call_and_close)
    stranded.loop.run_forever()
    assert not calling[0].done()
    stranded.close()
    with pytest.raises(PoolClosed):
        calling[0].result(PATIENCE)
    with pytest.raises(PoolClosed):
        stranded.pool.from_thread.submit(never)


def test_a_call_whose_loop_is_closed_meanwhile_is_refused(stranded: Stranded, monkeypatch: pytest.MonkeyPatch) -> None:
    send = FromThread._send

    def close_and_send(*args: Any) -> None:
        stranded.loop.call_soon_threadsafe(stranded.loop.stop)
        running.join()
        stranded.close()
        send(*args)

    monkeypatch.setattr(FromThread, "_send", close_and_send)
    running = threading.Thread(target=stranded.loop.run_forever)
    running.start()
    until(stranded.loop.is_running)
    with pytest.raises(PoolClosed):
        stranded.pool.from_thread.submit(never)


@pytest.mark.filterwarnings("ignore")  # of tasks that are lost with their loop
@pytest.mark.complains
def test_a_job_that_is_lost_with_its_loop_ends_its_future(stranded: Stranded) -> None:
    futures: list[concurrent.futures.Future[Any]] = []

    async def submit() -> None:
        for _ in range(2):
            submit: Any = stranded.pool.from_thread.submit
            futures.append(await asyncio.to_thread(submit, sleep, FOREVER))
        futures[1].cancel()

    stranded.loop.run_until_complete(submit())
    stranded.close()
    with pytest.raises(PoolClosed):
        futures[0].result(PATIENCE)
    assert not futures[0].cancel()
    assert not concurrent.futures.wait(futures, timeout=PATIENCE).not_done


@pytest.mark.complains  # of jobs that are cancelled as the pool closes
def test_the_end_of_asyncio_run_refuses_who_waits_for_room_and_cancels_jobs() -> None:
    waiting: list[concurrent.futures.Future[Any]] = []

    async def main() -> None:
        pool = WorkerPool(max_workers=1, queue_size=0, submit_timeout=None)
        await pool.__aenter__()
        waiting.extend(run_in_thread(lambda: pool.from_thread.run(sleep, FOREVER)) for _ in range(2))
        while not pool.stats().waiting:
            await asyncio.sleep(0.001)

    asyncio.run(main())
    errors = {type(future.exception(PATIENCE)) for future in waiting}
    assert errors == {JobCancelled, PoolClosed}


# Cancelling -----------------------------------------------------------------------------------------------------------------


def test_cancelling_a_future_cancels_its_job_whether_it_runs_or_waits(home: Home) -> None:
    running, queued = fill(home)
    for future, cancelled in ((queued, 1), (running, 2)):
        assert future.cancel()
        assert future.cancelled()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(PATIENCE)
        assert future in concurrent.futures.wait([future], PATIENCE).done
        until(lambda: home.pool.stats().cancelled == cancelled)  # noqa: B023
        assert future.cancel()
    assert home.pool.from_thread.run(echo, 1) == 1


def test_a_future_that_is_done_can_not_be_cancelled(home: Home) -> None:
    future = home.pool.from_thread.submit(echo, 1)
    assert future.result(PATIENCE) == 1
    assert not future.cancel()
    assert future.result() == 1


def test_a_job_that_ends_in_the_turn_in_which_its_future_is_cancelled_changes_nothing(home: Home) -> None:
    begun = threading.Event()

    async def cancelled_by_itself() -> None:
        begun.set()
        await asyncio.sleep(0)
        future.cancel()  # tells the loop, which gets to that after this job's end, and before the future hears of it

    gate = threading.Event()

    async def when_told() -> None:
        while not gate.is_set():
            await asyncio.sleep(0.001)
        await cancelled_by_itself()

    future = home.pool.from_thread.submit(when_told)
    gate.set()
    assert future in concurrent.futures.wait([future], PATIENCE).done
    assert future.cancelled()
    until(lambda: home.pool.stats().succeeded == 1)


def test_cancelling_the_asyncio_future_of_another_loop_cancels_the_job(home: Home) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.wrap_future(home.pool.from_thread.submit(sleep, FOREVER))

    asyncio.run(main())
    until(lambda: home.pool.stats().cancelled == 1)


def test_what_is_taken_back_before_the_loop_has_heard_of_it_never_was(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    send = FromThread._send

    def send_and_be_interrupted(self: FromThread, future: Any, *args: Any) -> None:
        blocked, go_on = threading.Event(), threading.Event()

        def block() -> None:
            blocked.set()
            assert go_on.wait(PATIENCE)

        home.loop.call_soon_threadsafe(block)
        assert blocked.wait(PATIENCE)
        send(self, future, *args)
        future.cancel()
        go_on.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(FromThread, "_send", send_and_be_interrupted)
    with pytest.raises(KeyboardInterrupt):
        home.pool.from_thread.submit(never)
    home.call(lambda: None)
    assert home.pool.stats().accepted == 0


def test_a_job_that_the_loop_runs_at_once_has_ended_when_it_is_accepted() -> None:
    with at_home(max_workers=1, queue_size=0, overload="caller_runs") as home:
        home.pool.from_thread.submit(sleep, 0.05)
        assert home.pool.from_thread.submit(echo, 7).result(0) == 7


INTERRUPTED = """
import asyncio, os, signal, sys, threading, time
sys.path.insert(0, {path!r})
from tests.threads.support import Home

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background processes have not
begun = threading.Event()

async def job():
    try:
        begun.set()
        await asyncio.sleep(3600)
    finally:
        print("cancelled\\n", end="", flush=True)

def interrupt():
    while not (home.pool.stats().waiting if {full} else begun.is_set()):
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGINT)

home = Home(max_workers=1, queue_size=0, submit_timeout=None, shutdown_timeout=5)
if {full}:
    held = home.pool.from_thread.submit(asyncio.sleep, 3600)
threading.Thread(target=interrupt).start()
try:
    home.pool.from_thread.{way}(job)
except KeyboardInterrupt:
    print("interrupted\\n", end="", flush=True)
end = time.monotonic() + 5
while home.pool.stats().waiting or home.pool.stats().running > {full}:
    assert time.monotonic() < end
    time.sleep(0.001)
if {full}:
    held.cancel()
home.close()
print(home.pool.report.accepted, home.pool.report.cancelled, home.pool.stats().refused["cancelled"])
"""


@pytest.mark.parametrize(
    ("way", "full", "printed"),
    [
        ("run", 0, "interrupted cancelled 1 1 0"),
        ("run", 1, "interrupted 1 1 1"),
        ("submit", 1, "interrupted 1 1 1"),
    ],
)
def test_ctrl_c_in_a_waiting_thread_takes_the_submission_back_or_cancels_the_job(way: str, full: int, printed: str) -> None:
    code = INTERRUPTED.format(path=str(Path.cwd()), way=way, full=full)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert sorted(done.stdout.split()) == sorted(printed.split()), done.stderr


# Failures that nobody looks at ----------------------------------------------------------------------------------------------


@pytest.mark.complains
@pytest.mark.parametrize("look", ["result", "exception", "a callback", "asyncio", "nobody"])
def test_a_failure_is_logged_if_nobody_has_looked_at_the_future(
    home: Home, look: str, caplog: pytest.LogCaptureFixture
) -> None:
    future = home.pool.from_thread.submit(fail, ValueError("mine"))
    assert future in concurrent.futures.wait([future], PATIENCE).done
    if look == "result":
        with pytest.raises(ValueError, match="mine"):
            future.result()
    elif look == "exception":
        assert str(future.exception()) == "mine"
    elif look == "a callback":
        future.add_done_callback(lambda done: done.exception())
    elif look == "asyncio":

        async def main() -> None:
            with pytest.raises(ValueError, match="mine"):
                await asyncio.wrap_future(future)  # noqa: F821  # deleted below

        asyncio.run(main())
    home.call(lambda: None)
    del future
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(logged) == (look == "nobody")


@pytest.mark.complains
def test_a_failure_is_seen_by_asyncio_whichever_way_it_looks(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what Python 3.15 has for it, on each."""
    monkeypatch.setattr(concurrent.futures.Future, "_get_snapshot", lambda self: "what came of it", raising=False)
    future: Any = home.pool.from_thread.submit(fail, ValueError("mine"))
    concurrent.futures.wait([future], PATIENCE)
    assert not future.failure.seen
    assert future._get_snapshot() == "what came of it"
    assert future.failure.seen


@pytest.mark.parametrize("how", ["submit", "run"])
def test_a_loop_that_is_closed_while_it_is_given_a_call_leaves_no_thread_waiting(how: str) -> None:
    """It has let go of its handles by then, and keeps this one for ever."""
    home = Home(max_workers=1)
    loop: Any = home.loop
    give = loop.call_soon_threadsafe

    def late(callback: Callable[..., Any], *args: Any, context: Any = None) -> None:
        loop.call_soon_threadsafe = give
        home.close()
        loop._ready.append(asyncio.Handle(callback, args, loop, context))

    loop.call_soon_threadsafe = late
    with pytest.raises(PoolClosed):
        getattr(home.pool.from_thread, how)(sleep, 0)


def test_a_call_that_a_loop_has_begun_before_it_was_closed_has_its_outcome() -> None:
    home = Home(max_workers=1)
    loop: Any = home.loop
    give = loop.call_soon_threadsafe

    def and_close(callback: Callable[..., Any], *args: Any, context: Any = None) -> None:
        loop.call_soon_threadsafe = give
        give(callback, *args, context=context)
        home.close()

    loop.call_soon_threadsafe = and_close
    assert home.pool.from_thread.submit(sleep, 0, "done").result() == "done"


# Inside the thread of a job -------------------------------------------------------------------------------------------------


def in_asyncio_thread(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Do what `in_thread` does, with asyncio's means."""

    async def job(*args: Any) -> Any:
        return await asyncio.to_thread(fn, *args)

    return job


def by_exception(pool: WorkerPool, fn: Any, *args: Any, **options: Any) -> Any:
    future = pool.from_thread.submit(fn, *args, **options)
    assert future.exception() is None
    return future.result()


threads = pytest.mark.parametrize("threaded", [in_thread, in_asyncio_thread])
ways = pytest.mark.parametrize("call", [by_run, by_submit, by_exception])


@threads
@ways
def test_a_job_in_a_thread_lends_its_place_while_it_waits_for_its_own_pool(call: Any, threaded: Any) -> None:
    with at_home(max_workers=1, queue_size=1, submit_timeout=None) as home:

        def nested(depth: int) -> int:
            return 0 if depth == 0 else 1 + call(home.pool, threaded(nested), depth - 1)

        others = [home.pool.from_thread.submit(threaded(nested), 1) for _ in range(3)]
        assert home.pool.from_thread.run(threaded(nested), 5) == 5
        assert [other.result(PATIENCE) for other in others] == [1, 1, 1]
        assert home.call(lambda: balanced(home.pool))


@threads
@ways
def test_what_a_job_in_a_thread_submits_inherits_its_deadline(home: Home, call: Any, threaded: Any) -> None:
    left: list[float | None] = []

    async def inner() -> None:
        left.append(remaining())

    assert home.pool.from_thread.run(threaded(lambda: call(home.pool, inner)), timeout=9) is None
    assert left[0] is not None
    assert 8 < left[0] <= 9


@ways
def test_a_job_that_is_cancelled_while_its_thread_waits_goes_on_there_with_a_cancelled_error(home: Home, call: Any) -> None:
    raised: list[BaseException] = []

    def outer() -> None:
        try:
            call(home.pool, sleep, FOREVER)
        except BaseException as error:
            raised.append(error)
            raise

    future = home.pool.from_thread.submit(in_thread(outer))
    until(lambda: home.pool.stats().running == 2)
    assert future.cancel()
    until(lambda: home.pool.stats().cancelled >= 1 and bool(raised))
    assert isinstance(raised[0], asyncio.CancelledError)
    # `run` cancels what nobody waits for any more; who has a future has not given up on the job.
    until(lambda: home.pool.stats().running == (0 if call is by_run else 1))


@pytest.mark.parametrize("by", ["submit", "executor"])
def test_a_job_that_is_cancelled_does_not_wait_for_room_in_its_thread_for_longer(home: Home, by: str) -> None:
    submit: Any = home.pool.from_thread.submit if by == "submit" else home.pool.from_thread.executor().submit
    raised: list[BaseException] = []

    def outer() -> None:
        submit(sleep, FOREVER)
        submit(sleep, FOREVER)  # lends its place, so that there is room; and waits to have it back, until it is cancelled
        try:
            submit(sleep, FOREVER)
        except BaseException as error:
            raised.append(error)
            raise

    future = home.pool.from_thread.submit(in_thread(outer))
    until(lambda: (home.pool.stats().accepted, home.pool.stats().lending) == (3, 1))
    assert future.cancel()
    until(lambda: bool(raised))
    assert isinstance(raised[0], asyncio.CancelledError)
    until(lambda: (home.pool.stats().cancelled, home.pool.stats().accepted) == (1, 3))


def test_what_a_job_in_a_thread_has_submitted_can_be_cancelled_at_once(home: Home) -> None:
    def outer() -> bool:
        return home.pool.from_thread.submit(sleep, FOREVER).cancel()

    assert home.pool.from_thread.run(in_thread(outer))
    until(lambda: home.pool.stats().cancelled == 1)


@threads
def test_a_job_that_has_waited_for_long_enough_goes_on_when_it_has_its_place_back(home: Home, threaded: Any) -> None:
    def outer() -> tuple[bool, int]:
        future = home.pool.from_thread.submit(sleep, 0.2)
        with pytest.raises(TimeoutError):
            future.result(0)
        with pytest.raises(TimeoutError):
            future.result(0.01)
        return future.done() or home.pool.stats().running == 1, home.pool.stats().lending

    assert home.pool.from_thread.run(threaded(outer)) == (True, 0)


def test_a_job_that_would_wait_for_itself_is_told_so(home: Home) -> None:
    futures: list[concurrent.futures.Future[Any]] = []
    submitted = threading.Event()

    def outer() -> None:
        assert submitted.wait(PATIENCE)
        with pytest.raises(RuntimeError, match="waits for itself"):
            futures[0].result()

    futures.append(home.pool.from_thread.submit(in_thread(outer)))
    submitted.set()
    assert futures[0].result(PATIENCE) is None


def test_a_thread_that_outlives_its_job_is_like_any_other(home: Home) -> None:
    results: list[Any] = []
    ended = threading.Event()

    def outlive() -> None:
        assert ended.wait(PATIENCE)
        results.append(home.pool.from_thread.run(echo, 1))
        results.append(home.pool.from_thread.submit(sleep, 0.01, 2).result(PATIENCE))

    async def job() -> None:
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(outlive,)).start()

    home.pool.from_thread.run(job)
    ended.set()
    until(lambda: results == [1, 2])


def test_a_thread_whose_job_ends_just_before_the_loop_hears_of_its_wait_waits_on(home: Home) -> None:
    async def waited() -> bool:
        job = await home.pool.submit(sleep, 0.01)
        await _end(job, None)  # type: ignore[arg-type]
        return job.done()

    assert asyncio.run_coroutine_threadsafe(waited(), home.loop).result(PATIENCE)


def test_a_job_that_ends_while_a_thread_of_its_own_waits_lets_that_wait_on(home: Home) -> None:
    results: list[Any] = []

    async def job() -> None:
        submit: Any = home.pool.from_thread.submit
        future = await asyncio.to_thread(submit, sleep, 0.05, 2)
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(lambda: results.append(future.result()),)).start()
        await asyncio.sleep(0.01)

    home.pool.from_thread.run(job)
    until(lambda: results == [2])


# Many -----------------------------------------------------------------------------------------------------------------------


def test_64_threads_submit_10_000_jobs_and_none_is_lost() -> None:
    done: list[int] = []
    home: Home

    async def job(number: int) -> int:
        await asyncio.sleep(0)
        done.append(number)
        return -number

    def thread(first: int) -> int:
        futures = [home.pool.from_thread.submit(job, number) for number in range(first, 10_000, 128)]
        assert all(home.pool.from_thread.run(job, number) == -number for number in range(first + 64, 10_000, 128))
        return sum(future.result(PATIENCE) for future in futures)

    with at_home(max_workers=50, queue_size=50, submit_timeout=None) as home:
        with concurrent.futures.ThreadPoolExecutor(64) as threads:
            total = sum(threads.map(thread, range(64)))
        assert balanced(home.pool)
    assert sorted(done) == [*range(10_000)]
    assert total == -sum(number for number in range(10_000) if number % 128 < 64)
    report = home.pool.report
    assert report is not None
    assert (report.accepted, report.succeeded) == (10_000, 10_000)


@pytest.mark.complains
@pytest.mark.parametrize("seed", range(3))
def test_whatever_is_cancelled_from_whichever_side_while_the_pool_closes_no_future_stays_open(seed: int) -> None:
    dice = random.Random(seed)
    home = Home(max_workers=4, queue_size=8, submit_timeout=0.05, shutdown_timeout=0.2, cancel_grace=0.1)
    futures: list[concurrent.futures.Future[Any]] = []
    refused: list[BaseException] = []

    def thread(seed: int) -> None:
        dice = random.Random(seed)
        mine: list[concurrent.futures.Future[Any]] = []
        for _ in range(60):
            try:
                mine.append(home.pool.from_thread.submit(sleep, dice.choice([0, 0.001, 0.01])))
            except (PoolClosed, PoolOverloaded) as error:
                refused.append(error)
            if mine and dice.random() < 0.4:
                dice.choice(mine).cancel()
        futures.extend(mine)

    threads = [threading.Thread(target=thread, args=(dice.randrange(10**9),)) for _ in range(8)]
    for each in threads:
        each.start()
    time.sleep(dice.random() * 0.1)
    home.close()
    for each in threads:
        each.join(PATIENCE)
    assert not concurrent.futures.wait(futures, PATIENCE).not_done
    outcomes = {type(future.exception()) for future in futures if not future.cancelled()}
    assert outcomes <= {type(None), JobCancelled}
    assert {type(error) for error in refused} <= {PoolClosed, PoolOverloaded}
    assert len(futures) + len(refused) == 8 * 60
    assert not home.pool._cross()._calls
