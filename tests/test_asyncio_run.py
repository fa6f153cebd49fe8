"""Whole programs under `asyncio.run`, in processes of their own: Ctrl-C, SystemExit, strays, and pools left open.

Here R5, R13, R15, R16 and R17 meet the end of the event loop, which cancels every task and waits for all of them.
"""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING, TypeAlias

import pytest

from tests.support import echo, sleep
from weirpool import PoolState, WorkerPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.realtime

PRELUDE = """\
import asyncio, logging, os, signal, sys
from weirpool import JobCancelled, PoolState, WorkerPool, current_job

signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored by what is started in the background
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")

def say(*words):
    print(*words, flush=True)

async def tidy(seconds=0.05):
    "Work for ever, and need a moment to clean up."
    name = current_job().name
    try:
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(seconds)
        say("tidied", name)

async def deaf():
    "Swallow every cancellation."
    while True:
        try:
            await asyncio.sleep(3600)  # hangs here
        except asyncio.CancelledError:
            say("ignored a cancellation")

"""

Start: TypeAlias = "Callable[[str], subprocess.Popen[str]]"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a script in a process of its own, with asyncio's debug mode and all warnings on."""
    started: list[subprocess.Popen[str]] = []

    def begin(script: str) -> subprocess.Popen[str]:
        file = tmp_path / "program.py"
        file.write_text(PRELUDE + textwrap.dedent(script))
        process = subprocess.Popen(  # the script is written here
            [sys.executable, "-X", "dev", "-W", "error", str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], text: str) -> str:
    """Read a process's output until a line that contains a text, and return it all."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if text in line:
            return read
    raise AssertionError(f"{text!r} was never said:\n{read}\n{process.communicate()[1]}")


def ended(process: subprocess.Popen[str], within: float = 10.0) -> tuple[int, str, str]:
    """Wait for the end of a process, and return its exit code and what is left of its output."""
    out, err = process.communicate(timeout=within)
    return process.returncode, out, err


def quiet(err: str) -> bool:
    """Say whether asyncio and the interpreter had nothing to complain of."""
    return not re.search(r"never awaited|never retrieved|was destroyed|never closed|Warning", err)


# Ctrl-C ---------------------------------------------------------------------------------------------------------------

BUSY = """
    async def main():
        async with WorkerPool(max_workers=2, shutdown_timeout=10, cancel_grace=2) as pool:
            try:
                running = [await pool.submit(tidy, name=f"running-{i}") for i in range(2)]
                queued = [await pool.submit(tidy, name=f"queued-{i}") for i in range(3)]
                await asyncio.sleep(0.01)
                say("ready")
                await asyncio.sleep(3600)
            finally:
                pools.append(pool)

    pools = []
    try:
        asyncio.run(main())
    finally:
        say("report", pools[0].report)
        say("state", pools[0].state.name)
"""


def test_ctrl_c_cancels_the_jobs_reports_and_ends_the_process(start: Start) -> None:
    process = start(BUSY)
    until(process, "ready")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert time.monotonic() - began < 3
    assert "tidied running-0" in out
    assert "tidied running-1" in out
    assert "tidied queued" not in out
    assert "3 cancelled in the queue + 2 cancelled while running + 0 abandoned" in out
    assert "state CLOSED" in out
    assert code == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert quiet(err)


def test_ctrl_c_a_second_time_while_jobs_clean_up_still_ends_in_bound(start: Start) -> None:
    process = start(BUSY.replace("tidy, name", "tidy, 0.6, name"))
    until(process, "ready")
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process)
    assert time.monotonic() - began < 4
    assert "state CLOSED" in out
    assert "+ 3 cancelled in the queue" in out
    assert code == -signal.SIGINT
    assert quiet(err)


def test_ctrl_c_while_the_pool_drains_cancels_what_is_left(start: Start) -> None:
    process = start(
        """
        async def main():
            global pool
            async with WorkerPool(max_workers=1, shutdown_timeout=3600) as pool:
                await pool.submit(tidy, name="running")
                await pool.submit(tidy, name="queued")
                asyncio.get_running_loop().call_later(0.05, say, "draining")

        try:
            asyncio.run(main())
        finally:
            say("report", pool.report)
        """
    )
    until(process, "draining")
    process.send_signal(signal.SIGINT)
    code, out, err = ended(process, 5)
    assert "tidied running" in out
    assert "1 cancelled in the queue + 1 cancelled while running" in out
    assert code == -signal.SIGINT
    assert quiet(err)


def test_sigterm_closes_a_pool_whose_service_handles_it(start: Start) -> None:
    process = start(
        """
        async def main():
            stop = asyncio.Event()
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
            async with WorkerPool(shutdown_timeout=0.6, cancel_grace=0.3) as pool:
                await pool.submit(asyncio.sleep, 0.1)
                await pool.submit(tidy, name="slow")
                say("ready")
                await stop.wait()
            say("report", pool.report)

        asyncio.run(main())
        """
    )
    until(process, "ready")
    process.send_signal(signal.SIGTERM)
    code, out, err = ended(process, 5)
    assert "1 succeeded" in out
    assert "1 cancelled while running" in out
    assert (code, quiet(err)) == (0, True)


# Jobs that swallow every cancellation ---------------------------------------------------------------------------------

STRAY = """
    async def main():
        async with WorkerPool(shutdown_timeout=0.4, cancel_grace=0.2) as pool:
            await pool.submit(deaf, name="deaf")
            await asyncio.sleep(0.01)
            began = asyncio.get_running_loop().time()
        say("closed after", round(asyncio.get_running_loop().time() - began, 2))
        say("report", pool.report)
        {then}

    asyncio.run(main())
"""


def test_a_service_with_a_stray_ends_if_it_looks_at_the_report_and_leaves(start: Start) -> None:
    process = start(
        STRAY.format(
            then="""
        if pool.report.strays:
            logging.shutdown()
            os._exit(70)
        """
        )
    )
    code, out, _ = ended(process, 10)
    assert code == 70
    (seconds,) = re.findall(r"closed after (\S+)", out)
    assert 0.35 < float(seconds) < 0.7
    assert out.count("ignored a cancellation") == 1
    line = 1 + PRELUDE.split("\n").index("            await asyncio.sleep(3600)  # hangs here")
    assert re.search(
        rf"still running: deaf \(running for .* s, shutdown\) at .*program\.py:{line} in deaf: await asyncio", out
    )
    assert "WARNING weirpool.job job 'deaf' of pool 'pool' ignores its cancellation (shutdown) and is abandoned" in out
    assert "WARNING weirpool.pool pool 'pool' closed: 1 accepted" in out


def test_a_service_with_a_stray_that_does_not_leave_is_held_up_by_asyncio_run_for_ever(start: Start) -> None:
    process = start(STRAY.format(then='say("end of main")'))
    until(process, "end of main")
    until(process, "ignored a cancellation")  # this one is asyncio.run's
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=1)


# SystemExit and KeyboardInterrupt in a job ----------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "code"), [("SystemExit(3)", 3), ("KeyboardInterrupt", -signal.SIGINT)])
def test_an_exit_raised_by_a_job_ends_the_process_with_its_code_after_the_pool_has_closed(
    start: Start, error: str, code: int
) -> None:
    process = start(
        f"""
        async def leave():
            await asyncio.sleep(0.01)
            raise {error}

        async def main():
            global pool, handle
            async with WorkerPool(max_workers=2) as pool:
                await pool.submit(tidy, name="running")
                handle = await pool.submit(leave)
                await pool.submit(tidy, name="queued")
                await asyncio.sleep(3600)

        try:
            asyncio.run(main())
        finally:
            say("report", pool.report)
            say("handle", handle.state.name, type(handle.exception()).__name__)
        """
    )
    got, out, err = ended(process)
    assert got == code
    assert f"handle FAILED {error.partition('(')[0]}" in out
    assert "tidied running" in out
    assert "3 accepted = 0 succeeded + 1 failed" in out
    assert quiet(err)


# Pools that the end of asyncio.run finds open -------------------------------------------------------------------------


def test_a_pool_that_is_left_open_is_closed_by_the_end_of_asyncio_run(start: Start) -> None:
    process = start(
        """
        async def main():
            global pool
            pool = await WorkerPool(max_workers=1).__aenter__()
            await pool.submit(tidy, name="running")
            await pool.submit(tidy, name="queued")
            await asyncio.sleep(0.01)

        asyncio.run(main())
        say("state", pool.state.name)
        say("report", pool.report)
        """
    )
    code, out, err = ended(process, 5)
    assert code == 0, err
    assert "state CLOSED" in out
    assert "1 cancelled in the queue + 1 cancelled while running + 0 abandoned" in out
    assert quiet(err)


def test_a_job_that_cleans_up_at_the_end_of_asyncio_run_is_not_disturbed_by_a_second_cancellation(start: Start) -> None:
    # asyncio.run cancels each task once and waits for it. Whoever cancels it again breaks off its cleaning up.
    process = start(
        """
        async def main():
            global pool
            pool = await WorkerPool(max_workers=20).__aenter__()
            for i in range(20):
                await pool.submit(tidy, name=f"job-{i}")
            await asyncio.sleep(0.01)

        asyncio.run(main())
        say("report", pool.report)
        """
    )
    code, out, err = ended(process, 5)
    assert code == 0, err
    assert out.count("tidied") == 20
    assert quiet(err)


def test_an_idle_pool_that_is_left_open_does_no_harm(start: Start) -> None:
    process = start(
        """
        async def main():
            global pool
            pool = await WorkerPool().__aenter__()
            await pool.run(asyncio.sleep, 0)

        asyncio.run(main())
        say("state", pool.state.name)
        """
    )
    code, out, err = ended(process, 5)
    assert (code, quiet(err)) == (0, True), err
    assert "state CLOSED" in out


def test_a_pool_in_another_task_is_closed_when_main_returns(start: Start) -> None:
    process = start(
        """
        async def service():
            global pool
            async with WorkerPool(max_workers=1) as pool:
                await pool.submit(tidy, name="running")
                await pool.submit(tidy, name="queued")
                say("serving")
                await asyncio.sleep(3600)

        async def main():
            global task
            task = asyncio.create_task(service())
            await asyncio.sleep(0.05)

        asyncio.run(main())
        say("task", task.cancelled())
        say("report", pool.report)
        """
    )
    code, out, err = ended(process, 5)
    assert code == 0, err
    assert "task True" in out
    assert "tidied running" in out
    assert "1 cancelled in the queue + 1 cancelled while running + 0 abandoned" in out
    assert quiet(err)


def test_a_pool_survives_loop_stop_and_is_closed_by_the_next_run_of_the_loop(start: Start) -> None:
    process = start(
        """
        loop = asyncio.new_event_loop()
        pool = WorkerPool(shutdown_timeout=0.6, cancel_grace=0.3)
        loop.run_until_complete(pool.__aenter__())
        handle = loop.run_until_complete(pool.submit(asyncio.sleep, 0.1, "done"))
        loop.run_until_complete(pool.submit(tidy, name="slow"))
        loop.call_later(0.01, loop.stop)
        loop.run_forever()
        say("stopped", pool.state.name)
        report = loop.run_until_complete(pool.aclose())
        say("report", report)
        say("result", handle.result())
        loop.close()
        """
    )
    code, out, err = ended(process, 5)
    assert code == 0, err
    assert "stopped OPEN" in out
    assert "1 succeeded" in out
    assert "1 cancelled while running" in out
    assert "result done" in out
    assert quiet(err)


def test_a_loop_that_is_stopped_while_the_pool_closes_can_be_torn_down(start: Start) -> None:
    process = start(
        """
        async def main():
            global pool
            async with WorkerPool(shutdown_timeout=3600) as pool:
                await pool.submit(tidy, name="slow")
                asyncio.get_running_loop().call_later(0.05, asyncio.get_running_loop().stop)

        try:
            asyncio.run(main())
        except RuntimeError as error:
            say("stopped:", error)
        say("report", pool.report)
        """
    )
    code, out, err = ended(process, 5)
    assert code == 0, err
    assert "stopped: Event loop stopped before Future completed." in out
    assert "tidied slow" in out
    assert "1 cancelled while running" in out
    assert quiet(err)


# Entered in one task, closed in another -------------------------------------------------------------------------------


def test_a_pool_may_be_entered_by_one_task_and_closed_by_another(start: Start) -> None:
    process = start(
        """
        async def open_pool():
            return await WorkerPool(max_workers=1).__aenter__()

        async def close_pool(pool):
            await pool.__aexit__(None, None, None)

        async def main():
            pool = await asyncio.create_task(open_pool())
            handles = [await pool.submit(asyncio.sleep, 0.01, i) for i in range(3)]
            await asyncio.create_task(close_pool(pool))
            say("results", *[await handle for handle in handles])
            say("report", pool.report)

        asyncio.run(main())
        """
    )
    code, out, err = ended(process, 5)
    assert code == 0, err
    assert "results 0 1 2" in out
    assert "3 accepted = 3 succeeded" in out
    assert quiet(err)


entered_in: list[object] = []


@pytest.fixture
async def fixture_pool() -> AsyncIterator[WorkerPool]:
    """A pool as a user's test suite would have it: pytest-asyncio enters, tests and leaves in tasks of their own."""
    entered_in.append(asyncio.current_task())
    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(sleep, 0.05)
        yield pool
        queued = await pool.submit(echo, "drained")
    assert await queued == "drained"
    assert pool.state is PoolState.CLOSED


async def test_a_pool_may_live_in_a_fixture(fixture_pool: WorkerPool) -> None:
    assert asyncio.current_task() is not entered_in[-1]
    assert await fixture_pool.run(echo, 7) == 7
    handle = await fixture_pool.submit(sleep, 0.01, "waits")
    assert await handle == "waits"
