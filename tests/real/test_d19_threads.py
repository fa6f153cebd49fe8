"""Row 19: jobs that block in threads and outlive their time there, as docs/shutdown.md says (R2, R6, R7, R13, R14, R17).

A thread can't be cancelled, so what is promised is promised for the job, and the thread goes on without it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import pytest

from tests.real.kinds import EACH_KIND, each_kind, run
from tests.real.programs import program
from tests.support import adds_up, echo
from weirpool import JobCancelled, JobState, JobTimeout, WorkerPool, current_job, remaining

if TYPE_CHECKING:
    from collections.abc import Callable

    from weirpool import JobHandle

pytestmark = pytest.mark.realtime

WAYS: dict[str, Callable[..., Any]] = {"asyncio": asyncio.to_thread, "anyio": anyio.to_thread.run_sync}
EACH_WAY = pytest.mark.parametrize("way", WAYS)


class Blocking:
    """A function that blocks its thread until it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self._released = threading.Event()
        self._ended = threading.Semaphore(0)
        self._lock = threading.Lock()
        self.started = 0
        self.inside = 0

    def __call__(self) -> str:
        with self._lock:
            self.started += 1
            self.inside += 1
        try:
            assert self._released.wait(30), "nobody has let it go"
            if self._error is not None:
                raise self._error
            return "late"
        finally:
            with self._lock:
                self.inside -= 1
            self._ended.release()

    async def let_go(self) -> None:
        """Let all threads end, and wait until they and what they send to the loop are gone."""
        self._released.set()
        for _ in range(self.started):
            assert await asyncio.to_thread(self._ended.acquire, timeout=30)
        await asyncio.sleep(0.01)


async def outlived(pool: WorkerPool, way: str, blocking: Blocking) -> JobHandle[Any]:
    """Return a job that had begun to block when its deadline came: on a machine that stalls, not every job gets as far."""
    started = blocking.started
    while True:
        handle = await pool.submit(WAYS[way], blocking, timeout=0.1)
        await handle.wait()
        assert handle.state is JobState.TIMED_OUT
        if blocking.started > started:
            return handle
        handle.exception()


@EACH_KIND
@EACH_WAY
@pytest.mark.parametrize("error", [None, OSError("late")])
def test_a_job_that_blocks_in_a_thread_ends_at_its_deadline_and_its_place_is_free(
    kind: str, way: str, error: Exception | None
) -> None:
    async def main() -> None:
        blocking = Blocking(error)
        try:
            async with WorkerPool(max_workers=1, shutdown_timeout=30) as pool:
                handle = await outlived(pool, way, blocking)
                with pytest.raises(JobTimeout) as caught:
                    await handle
                assert not caught.value.abandoned
                assert await pool.run(echo, "next") == "next"
                assert pool.stats().strays == 0
                assert blocking.inside, "the thread has gone on"
            assert pool.report is not None
            assert pool.report.strays == ()
            assert adds_up(pool.report)
        finally:
            await blocking.let_go()
        assert handle.state is JobState.TIMED_OUT, "what the thread returned or raised at last goes nowhere"

    run(kind, main)


@EACH_KIND
@EACH_WAY
def test_a_job_that_blocks_in_a_thread_ends_when_it_is_cancelled(kind: str, way: str) -> None:
    async def main() -> None:
        blocking = Blocking()
        try:
            async with WorkerPool(max_workers=1) as pool:
                handle = await pool.submit(WAYS[way], blocking)
                while not blocking.started:
                    await asyncio.sleep(0.001)
                handle.cancel()
                with pytest.raises(JobCancelled) as caught:
                    await handle
                assert not caught.value.abandoned
                assert blocking.inside == 1
        finally:
            await blocking.let_go()

    run(kind, main)


@EACH_KIND
@EACH_WAY
def test_threads_of_jobs_that_have_ended_come_on_top_of_max_workers(kind: str, way: str) -> None:
    async def main() -> None:
        blocking = Blocking()
        try:
            async with WorkerPool(max_workers=1) as pool:
                for number in range(1, 4):
                    (await outlived(pool, way, blocking)).exception()
                    assert blocking.inside >= number
                    assert pool.stats().running == 0
        finally:
            await blocking.let_go()

    run(kind, main)


@EACH_KIND
def test_an_executor_of_ones_own_bounds_the_threads_and_a_job_waits_for_one_in_its_own_time(kind: str) -> None:
    blocking = Blocking()

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def call(fn: Callable[[], Any]) -> asyncio.Future[Any]:
            return loop.run_in_executor(threads, fn)

        try:
            async with WorkerPool(max_workers=10) as pool:
                first = await pool.submit(call, blocking)
                while not blocking.started:
                    await asyncio.sleep(0.001)
                second = await pool.submit(call, blocking, timeout=0.05)
                with pytest.raises(JobTimeout) as caught:
                    await second
                assert caught.value.phase == "running"
                first.cancel()
        finally:
            await blocking.let_go()
        assert blocking.started == 1, "the function of the second was never called"

    with ThreadPoolExecutor(max_workers=1) as threads:
        run(kind, main)


@pytest.mark.complains  # since it had to cancel
@EACH_KIND
@EACH_WAY
def test_closing_is_bounded_whatever_the_threads_do(kind: str, way: str) -> None:
    async def main() -> None:
        blocking = Blocking()
        pool = await WorkerPool(max_workers=3, shutdown_timeout=0.3, cancel_grace=0.1).__aenter__()
        try:
            for _ in range(3):
                await pool.submit(WAYS[way], blocking)
            while blocking.started < 3:
                await asyncio.sleep(0.001)
            queued = await pool.submit(WAYS[way], blocking)
            began = time.monotonic()
            report = await pool.aclose()
            assert time.monotonic() - began < 10, "the threads would have gone on for 30 seconds"
            assert blocking.inside == 3
            assert (report.cancelled_queued, report.cancelled_running, report.strays) == (1, 3, ())
            assert queued.state is JobState.CANCELLED
        finally:
            await blocking.let_go()
        assert blocking.started == 3

    run(kind, main)


@EACH_KIND
@EACH_WAY
def test_a_thread_can_see_how_long_its_job_may_run_and_that_it_is_over(kind: str, way: str) -> None:
    seen: list[Any] = []
    over = threading.Event()

    def polling() -> None:
        seen.append(remaining())
        while current_job() is not None:
            time.sleep(0.001)
        seen.append(remaining())
        over.set()

    async def main() -> None:
        async with WorkerPool(max_workers=1) as pool:
            handle = await pool.submit(WAYS[way], polling, timeout=30)
            while not seen:
                await asyncio.sleep(0.001)
            handle.cancel()
            await handle.wait()
            assert await asyncio.to_thread(over.wait, 30)

    run(kind, main)
    before, after = seen
    assert 0 < before <= 30
    assert after is None


# The end of the process ------------------------------------------------------------------------------------------------

TWO_KINDS = each_kind("stock", "uvloop")  # which have threads, and an end, of their own

PROCESS = """
    import anyio.to_thread
    to_thread = {{"asyncio": asyncio.to_thread, "anyio": anyio.to_thread.run_sync}}[{way!r}]
    started = threading.Event()

    def blocking():
        started.set()
        {blocking}
        say("the thread has ended")

    async def main():
        async with WorkerPool(max_workers=2, shutdown_timeout=0.2, cancel_grace=0.1) as pool:
            await pool.submit(to_thread, blocking)
            while not started.is_set():
                await asyncio.sleep(0.001)
            queued = await pool.submit(asyncio.sleep, 3600)
        say("closed", pool.report.cancelled, len(pool.report.strays))
        {then}

    with asyncio.Runner(loop_factory=lambda: new_loop(KIND)) as runner:
        runner.run(main())
    say("asyncio.run has ended")
"""


@TWO_KINDS
@EACH_WAY
def test_a_process_ends_when_its_last_thread_does_and_not_before(kind: str, way: str) -> None:
    """The pool is closed long before; it is asyncio.run, or the interpreter, that waits, with no bound that would matter."""
    ended = program(kind, PROCESS.format(way=way, blocking="time.sleep(0.5)", then=""))
    assert ended.code == 0, ended
    lines = [line for line in ended.out.splitlines() if not line.startswith(("INFO", "WARNING"))]
    assert lines[0] == "closed 2 0"
    assert sorted(lines[1:]) == ["asyncio.run has ended", "the thread has ended"]
    assert ended.quiet, ended.err


@TWO_KINDS
@EACH_WAY
def test_a_process_that_does_not_wait_for_its_threads_ends_when_its_pool_has_closed(kind: str, way: str) -> None:
    then = "logging.shutdown(); sys.stdout.flush(); os._exit(70)"
    ended = program(kind, PROCESS.format(way=way, blocking="time.sleep(3600)", then=then))
    assert ended.code == 70, ended
    assert "closed 2 0\n" in ended.out
    assert ended.quiet, ended.err


@TWO_KINDS
@EACH_WAY
def test_a_process_whose_threads_look_whether_their_job_is_over_ends_by_itself(kind: str, way: str) -> None:
    blocking = "while current_job() is not None: time.sleep(0.001)"
    ended = program(kind, PROCESS.format(way=way, blocking=blocking, then=""))
    assert ended.code == 0, ended
    assert "closed 2 0\n" in ended.out
    assert "the thread has ended\n" in ended.out
    assert ended.quiet, ended.err
