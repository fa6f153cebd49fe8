"""Worker processes, real signals: the first drains, the second cancels, the third ends; the exit code says how it went."""

from __future__ import annotations

import importlib.util
import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.test_asyncio_run import quiet, until

if TYPE_CHECKING:
    import subprocess

    from tests.test_asyncio_run import Start

pytestmark = pytest.mark.realtime

TERM, INT = signal.SIGTERM, signal.SIGINT

# Two jobs run and two wait; each tells when it begins.
WORKER = """
    import anyio, threading, time, weirpool
    from concurrent.futures import ThreadPoolExecutor

    async def brief():
        say("began", current_job().name)
        await asyncio.sleep(0.1)

    async def work(job, **budget):
        async with WorkerPool(max_workers=2, **({"shutdown_timeout": 30, "cancel_grace": 20} | budget)) as pool:
            for name in "abcd":
                await pool.submit(job, name=name)
            asyncio.get_running_loop().call_soon(say, "serving")  # when serve() waits
            await weirpool.serve(pool)
        say("closed by", pool.report)
"""


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end of a process, and return its exit code and all that is left of its output, also what was read ahead."""
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()
    return process.wait(), out, err


def gone(process: subprocess.Popen[str], sig: signal.Signals) -> tuple[int, str, str]:
    """Send a signal again and again, until the process has ended: it may hear two that come at once as one."""
    for _ in range(400):
        if process.poll() is not None:
            break
        process.send_signal(sig)
        time.sleep(0.05)
    return ended(process)


RUNNERS = {
    "weirpool.run": "sys.exit(weirpool.run(work, brief))",
    "asyncio.run": "asyncio.run(work(brief))",
    "anyio.run": "anyio.run(work, brief)",
    "uvloop": "import uvloop; sys.exit(weirpool.run(work, brief, loop_factory=uvloop.new_event_loop))",
    "uvloop.run": "import uvloop; uvloop.run(work(brief))",
}


@pytest.mark.parametrize(("runner", "sig"), [*((runner, TERM) for runner in RUNNERS), ("weirpool.run", INT)])
def test_the_first_signal_drains_whatever_runs_main(start: Start, runner: str, sig: signal.Signals) -> None:
    if "uvloop" in runner and not importlib.util.find_spec("uvloop"):
        pytest.skip("missing: pip install uvloop")
    process = start(WORKER + f"    {RUNNERS[runner]}\n")
    until(process, "serving")
    process.send_signal(sig)
    code, out, err = ended(process)
    assert code == 0, err
    assert f"INFO weirpool.worker {sig.name}: draining pool 'pool'" in out
    assert "4 accepted = 4 succeeded" in out
    assert quiet(err)


@pytest.mark.parametrize("sig", [TERM, INT])
def test_the_second_signal_cancels_and_the_exit_code_says_so(start: Start, sig: signal.Signals) -> None:
    process = start(WORKER + "    sys.exit(weirpool.run(work, tidy))\n")
    until(process, "serving")
    process.send_signal(sig)
    until(process, "draining")
    process.send_signal(sig)
    code, out, err = ended(process)
    assert code == 75
    assert f"WARNING weirpool.worker {sig.name}: cancelling what is left, 2 running, 2 queued" in out
    assert "tidied a" in out
    assert "2 cancelled in the queue + 2 cancelled while running + 0 abandoned" in out
    assert quiet(err)


def test_the_third_signal_ends_a_process_that_would_wait_for_a_job(start: Start) -> None:
    process = start(WORKER + "    sys.exit(weirpool.run(work, deaf))\n")
    until(process, "serving")
    process.send_signal(TERM)
    until(process, "draining")
    process.send_signal(TERM)
    until(process, "ignored a cancellation")
    process.send_signal(INT)
    code, out, _ = ended(process)
    assert code == 128 + INT
    assert "CRITICAL weirpool.worker SIGINT has come, the third signal" in out, "the log was flushed"
    assert "closed by" not in out


@pytest.mark.parametrize("block", ["while True: pass", "time.sleep(3600)", "threading.Lock().__enter__(), stuck.__enter__()"])
def test_the_third_signal_ends_a_process_whose_loop_is_blocked(start: Start, block: str) -> None:
    process = start(
        WORKER
        + f"""
    stuck = threading.Lock()
    stuck.acquire()
    async def blocks():
        say("blocks")
        {block}
    print("not flushed yet")
    sys.exit(weirpool.run(work, blocks))
    """
    )
    read = until(process, "blocks")
    code, out, err = gone(process, TERM)
    assert code == 128 + TERM, err
    assert "not flushed yet" in read + out
    assert "the third signal" in out


def test_what_ignores_its_cancellation_does_not_keep_the_process_alive(start: Start) -> None:
    process = start(WORKER + "    sys.exit(weirpool.run(lambda: work(deaf, cancel_grace=0.1), exit_timeout=0.2))\n")
    until(process, "serving")
    process.send_signal(TERM)
    until(process, "draining")
    process.send_signal(TERM)
    code, out, _ = ended(process)
    assert code == 75
    assert "closed by" in out
    assert "2 abandoned" in out
    assert "CRITICAL weirpool.worker the process has not ended by itself 0.2 s after main()" in out
    assert "a task ignores its cancellation" in out


THREADS = {
    "of asyncio": "await asyncio.to_thread(time.sleep, 3600)",
    "of an executor": "await asyncio.get_running_loop().run_in_executor(executor, time.sleep, 3600)",
    "of anyio": "await anyio.to_thread.run_sync(time.sleep, 3600)",
}


@pytest.mark.parametrize("thread", THREADS)
def test_a_thread_that_outlives_its_job_does_not_keep_the_process_alive(start: Start, thread: str) -> None:
    process = start(
        WORKER
        + f"""
    import anyio.to_thread
    executor = ThreadPoolExecutor()
    async def blocks():
        say("blocks")
        {THREADS[thread]}
    sys.exit(weirpool.run(lambda: work(blocks, shutdown_timeout=0.4, cancel_grace=0.2), exit_timeout=0.3))
    """
    )
    until(process, "serving")
    process.send_signal(TERM)
    code, out, _ = ended(process)
    assert code == 75
    assert "closed by" in out
    assert re.search("not ended by itself 0.3 s after main.*these threads still run: .*(Thread|asyncio|AnyIO)", out)


def test_threads_that_are_done_are_no_reason_to_end_the_process_by_force(start: Start) -> None:
    process = start(
        """
        import atexit, threading, weirpool
        from concurrent.futures import ThreadPoolExecutor

        executor = ThreadPoolExecutor()
        async def main():
            await asyncio.get_running_loop().run_in_executor(executor, print, "used")
        code = weirpool.run(main)
        atexit.register(print, "at exit")
        sys.exit(code)
        """
    )
    code, out, err = ended(process)
    assert code == 0
    assert out.split("\n")[-2] == "at exit"
    assert "by itself" not in out
    assert quiet(err)


EARLY = {
    "connects": "await asyncio.sleep(3600)",  # to a broker that does not answer
    "opens the pool": "observers = [Now()]",
}


@pytest.mark.parametrize("early", EARLY)
def test_a_signal_that_comes_before_serve_ends_the_process_too(start: Start, early: str) -> None:
    process = start(
        f"""
        import weirpool
        from weirpool.events import Observer

        class Now(Observer):
            def pool_moved(self, event):
                if event.now is PoolState.OPEN:
                    say("opens the pool")
                    signal.raise_signal(signal.SIGTERM)

        async def main():
            try:
                observers = []
                say("connects")
                {EARLY[early]}
                async with WorkerPool(observers=observers) as pool:
                    await weirpool.serve(pool)
            finally:
                say("tidied up")
        sys.exit(weirpool.run(main))
        """
    )
    until(process, early)
    if early == "connects":
        process.send_signal(TERM)
    code, out, err = ended(process)
    assert code in {0, 128 + TERM} if early == "opens the pool" else {128 + TERM}, err  # serve() may just be reached
    assert "tidied up" in out
    assert err == ""


def test_main_that_raises_ends_with_a_traceback_and_1_also_by_force(start: Start) -> None:
    process = start(
        """
        import weirpool

        async def main(stay):
            async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.1) as pool:
                if stay:
                    await pool.submit(deaf)
                raise LookupError("no such queue")

        try:
            weirpool.run(main, False)
        except LookupError:
            say("raised")
        weirpool.run(main, True, exit_timeout=0.2)
        """
    )
    code, out, err = ended(process)
    assert code == 1
    assert "raised" in out
    assert err.count("LookupError: no such queue") == 1
    assert "not ended by itself" in out


def test_a_job_that_raises_system_exit_ends_the_process_with_its_code(start: Start) -> None:
    process = start(
        """
        import weirpool

        async def leaves():
            sys.exit(7)

        async def main():
            async with WorkerPool() as pool:
                await pool.submit(leaves)
                await weirpool.serve(pool)

        weirpool.run(main)
        """
    )
    code, out, err = ended(process)
    assert code == 7, err
    assert "1 accepted" in out
    assert quiet(err)
