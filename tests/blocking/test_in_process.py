"""`in_process`: a plain function as a job, in a process that is killed if nobody wants the answer any more (R5 to R8, R17)."""

from __future__ import annotations

import asyncio
import functools
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from anyio import BrokenWorkerProcess

from tests.blocking import functions
from tests.blocking.support import dead, gone
from tests.support import adds_up, turns
from weirpool import JobCancelled, JobState, JobTimeout, WorkerPool, in_process
from weirpool._callee import HEADER
from weirpool._processes import Process

if TYPE_CHECKING:
    from weirpool import JobHandle

pytestmark = pytest.mark.realtime

LATE = pytest.mark.complains  # about having to cancel


async def number_of(pool: WorkerPool) -> int:
    """Return the process of the one job that runs, once it has one."""
    while not (stack := "".join(pool.running()[0].stack)).startswith("<process "):
        await asyncio.sleep(0.001)
    return int(stack.split()[1].rstrip(">"))


# What it is -----------------------------------------------------------------------------------------------------------------


async def test_a_plain_function_runs_in_a_process_that_is_kept_for_the_next_job_and_gone_when_the_pool_is_closed() -> None:
    async with WorkerPool(max_workers=1) as pool:
        handle = await pool.submit(in_process(functions.pid))
        first = await handle
        assert handle.name == "pid#1"
        assert first != os.getpid()
        assert await pool.run(in_process(functions.echo), 7) == 7
        assert await pool.run(functools.partial(in_process(functions.echo), times=2), 7) == [7, 7]
        assert await pool.run(in_process(functools.partial(functions.echo, times=2)), 7) == [7, 7]
        assert await pool.run(in_process(functions.pid)) == first
        assert not gone(first)
        large = os.urandom(5_000_000)
        assert await pool.run(in_process(functions.echo), large) == large, "more than fits into a pipe at once"
    assert gone(first)


async def test_the_bound_is_the_pools() -> None:
    async with WorkerPool(max_workers=2) as pool:
        handles = [await pool.submit(in_process(functions.pid)) for _ in range(6)]
        assert len({await handle for handle in handles}) <= 2


async def test_of_what_is_in_memory_here_only_the_time_that_remains_is_carried() -> None:
    functions.VAR.set("of the submitter")
    async with WorkerPool() as pool:
        left, job, value = await pool.run(in_process(functions.seen), timeout=30)
        assert (job, value) == (None, "default")
        assert left is not None
        assert 20 < left < 30
        assert (await pool.run(in_process(functions.seen)))[0] is None, "what the job before had is forgotten"


async def test_a_process_is_of_a_group_of_its_own_so_ctrl_c_is_the_services_alone() -> None:
    async with WorkerPool() as pool:
        pid, group = await pool.run(in_process(functions.group))
        assert pid == group != os.getpgid(0)


async def test_outside_of_any_job_each_call_has_a_process_that_ends_with_it() -> None:
    first, second = await asyncio.gather(in_process(functions.pid)(), in_process(functions.pid)())
    assert first != second
    assert gone(first)
    assert gone(second)


# When it is cancelled -------------------------------------------------------------------------------------------------------


async def test_a_job_in_an_endless_c_loop_ends_at_its_deadline_and_its_process_is_gone() -> None:
    async with WorkerPool(cancel_grace=20, shutdown_timeout=30) as pool:
        handle = await pool.submit(in_process(functions.stuck), timeout=0.5)
        pid = await number_of(pool)
        assert pool.running()[0].stack == (f"<process {pid}> in stuck",)
        with pytest.raises(JobTimeout) as caught:
            await handle
        assert (handle.state, caught.value.abandoned) == (JobState.TIMED_OUT, False)
        assert gone(pid)
        assert pool.stats().strays == 0
        assert await pool.run(in_process(functions.echo), 1) == 1
    assert adds_up(pool.report)


@LATE
@pytest.mark.parametrize("how", ["cancel", "shutdown"])
@pytest.mark.parametrize("begun", [True, False])
async def test_a_job_that_is_cancelled_or_closed_upon_is_killed_even_while_its_process_starts(how: str, begun: bool) -> None:
    async with WorkerPool(cancel_grace=20, shutdown_timeout=20) as pool:
        handle: JobHandle[None] = await pool.submit(in_process(functions.stuck))
        pid = await number_of(pool)
        await asyncio.sleep(0.2 if begun else 0)
        if how == "cancel":
            handle.cancel()
        else:
            await pool.aclose()
        with pytest.raises(JobCancelled) as caught:
            await handle
        assert (caught.value.reason, caught.value.abandoned) == (how, False)
        assert gone(pid)


async def test_what_the_function_has_started_is_killed_with_it(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    async with WorkerPool() as pool:
        handle = await pool.submit(in_process(functions.stuck_with_a_child), str(file))
        pid = await number_of(pool)
        while not file.exists() or not file.read_text():
            await asyncio.sleep(0.001)
        child = int(file.read_text())
        assert not dead(child)
        handle.cancel()
        await handle.wait()
        assert gone(pid)
        while not dead(child):
            await asyncio.sleep(0.001)


async def test_who_is_cancelled_again_while_its_process_is_killed_waits_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Process] = []
    stop = Process.stop

    def remembered(self: Process) -> None:
        seen.append(self)
        stop(self)

    monkeypatch.setattr(Process, "stop", remembered)
    task = asyncio.create_task(in_process(functions.stuck)())
    await turns()
    for _ in range(3):
        task.cancel()
        await turns(1)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen[0]._process.returncode == -signal.SIGKILL


async def test_a_coroutine_that_is_closed_kills_its_process_at_once() -> None:
    waiting = in_process(functions.stuck)()
    waiting.send(None)
    frame: Any = waiting.cr_await.cr_frame  # type: ignore[attr-defined]
    process: Process = frame.f_locals["work"]
    waiting.close()
    assert process._process.returncode == -signal.SIGKILL


# When it dies ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("_exit", "ended with exit status 3"),
        ("exit", "ended with exit status 4"),
        ("exit with words", "ended with exit status 1"),
        ("exit with nothing", "ended with exit status 0"),
        ("interrupt", "ended with exit status 130"),
        ("kill", "been killed by SIGKILL"),
        ("real-time signal", "been killed by signal 40"),
    ],
)
async def test_a_process_that_dies_fails_its_job_and_no_other(how: str, says: str) -> None:
    async with WorkerPool(max_workers=1) as pool:
        with pytest.raises(BrokenWorkerProcess, match=f"the process that ran leave has {says}"):
            await pool.run(in_process(functions.leave), how)
        assert pool.stats().failed == 1
        assert await pool.run(in_process(functions.echo), 1) == 1


async def test_a_process_that_dies_while_it_is_idle_is_replaced() -> None:
    async with WorkerPool(max_workers=1) as pool:
        first = await pool.run(in_process(functions.pid))
        os.kill(first, signal.SIGKILL)
        os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
        assert await pool.run(in_process(functions.pid)) != first
        assert gone(first)


async def test_a_process_that_dies_in_the_midst_of_its_answer_fails_its_job() -> None:
    here, there = socket.socketpair()
    here.setblocking(False)
    process = Process(subprocess.Popen(["sleep", "600"], process_group=0), here)
    with there:
        there.sendall(HEADER.pack(0, 1000) + b"begun")
        asking = asyncio.create_task(process.ask("fn", b"", 1))
        await turns()
        assert there.recv(100)  # closed upon it, this end would not see the end, but an error
    with pytest.raises(BrokenWorkerProcess, match="the process that ran fn has been killed by SIGKILL"):
        await asking


async def test_a_process_that_can_not_even_begin_fails_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    async with WorkerPool() as pool:
        with pytest.raises(BrokenWorkerProcess, match="ended with exit status 1"):
            await pool.run(in_process(functions.echo))


async def test_a_process_that_can_not_be_started_fails_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    async with WorkerPool() as pool:
        with pytest.raises(FileNotFoundError):
            await pool.run(in_process(functions.echo))


# What is raised, and what can't be sent -------------------------------------------------------------------------------------


async def test_what_the_function_raises_is_raised_here_with_its_lines_there_as_a_note() -> None:
    async with WorkerPool() as pool:
        with pytest.raises(ValueError, match="wrong") as caught:
            await pool.run(in_process(functions.fail), "wrong")
        (note,) = caught.value.__notes__
        assert note.startswith("there, in in_process(fail):\nTraceback")
        assert "raise ValueError(text)" in note
        assert "_callee.py" not in note
        with pytest.raises(BaseException, match="bare") as bare:
            await pool.run(in_process(functions.fail_bare))
        assert type(bare.value) is BaseException


async def test_an_exception_that_takes_no_note_is_raised_without() -> None:
    with pytest.raises(functions.Shut, match="shut"):
        await in_process(functions.fail_shut)()


async def test_a_function_that_closes_stdout_returns_all_the_same() -> None:
    async with WorkerPool(max_workers=1) as pool:
        assert await pool.run(in_process(functions.close_stdout)) == 7
        assert await pool.run(in_process(functions.echo), 8) == 8


CAN_NOT: dict[str, tuple[Any, tuple[Any, ...], str]] = {
    "argument": (functions.echo, (lambda: 1,), r"in_process\(echo\) can't send argument 1 \(function\): it can't be pickled"),
    "result": (functions.unpicklable, (), r"in_process\(unpicklable\) returned function, which can't be pickled"),
    "result, here": (
        functions.trap,
        (),
        r"in_process\(trap\) answered with what can't be unpickled here \(RuntimeError: sprung",
    ),
    "exception": (functions.fail_oddly, (), r"in_process\(fail_oddly\) raised Odd: odd 1, which can't be pickled"),
    "exception that is none there": (functions.fail_as_text, (), r"raised Text: odd, which is str when unpickled"),
    "what has no text": (functions.fail_unsayably, (), r"in_process\(fail_unsayably\) raised Unsayable, which can't be"),
    "argument, there": (functions.echo, (functions.Trap(),), r"in_process\(echo\) can't be called: it can't be loaded there"),
}


@pytest.mark.parametrize(("fn", "args", "says"), CAN_NOT.values(), ids=CAN_NOT)
async def test_what_can_not_be_sent_fails_the_job_by_name_and_the_process_goes_on(fn: Any, args: Any, says: str) -> None:
    async with WorkerPool(max_workers=1) as pool:
        first = await pool.run(in_process(functions.pid))
        with pytest.raises(TypeError, match=says):
            await pool.run(in_process(fn), *args)
        assert await pool.run(in_process(functions.pid)) == first


async def test_an_argument_by_keyword_that_can_not_be_sent_is_named() -> None:
    with pytest.raises(TypeError, match=r"can't send argument times \(lock\)"):
        await in_process(functions.echo)(1, times=threading.Lock())  # type: ignore[arg-type]


async def test_arguments_that_can_not_be_sent_together_only_are_refused_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    dumps = pickle.dumps
    failing = iter([True])

    def once(*args: Any) -> bytes:
        if next(failing, False):
            raise RecursionError("too deep")
        return dumps(*args)

    call = in_process(functions.echo)
    monkeypatch.setattr(pickle, "dumps", once)
    with pytest.raises(TypeError, match=r"can't send an argument: it can't be pickled \(too deep\)"):
        await call(1)


async def test_a_function_that_the_process_can_not_import_fails_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("of_this_process_only")
    exec("def fn(): pass", module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(TypeError, match=r"in_process\(fn\) can't be called: it can't be loaded there \(ModuleNotFoundError"):
        await in_process(module.fn)()


def test_a_function_that_can_not_be_sent_is_refused_at_once() -> None:
    for fn, name in ((lambda: 1, "<lambda>"), (functools.partial(print, file=sys.stdout), "print")):
        with pytest.raises(TypeError, match=r"in_process\(\) takes a function that can be pickled, which .*can not") as caught:
            in_process(fn)
        assert name in str(caught.value)
        assert "define it at the top level of a module" in str(caught.value)


def test_what_is_no_plain_function_is_refused() -> None:
    with pytest.raises(TypeError, match=r"in_process\(\) takes a plain function, got the async function already"):
        in_process(functions.already)


# Whole programs -------------------------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, os, sys
from weirpool import WorkerPool, in_process

class Mine:
    pass

def work(mine):
    print("from there", sys.argv[1:], __name__)
    return os.getpid(), mine

async def main():
    global pool  # or it would warn that it was never closed
    pool = await WorkerPool().__aenter__()
    pid, mine = await pool.run(in_process(work), Mine())
    assert type(mine) is Mine
    busy = await pool.submit(in_process(stuck))
    while "process" not in str(pool.running()[0].stack):
        await asyncio.sleep(0.001)
    print(pid, pool.running()[0].stack[0].split()[1].rstrip(">"), flush=True)

def stuck():
    import time
    time.sleep(600)

if __name__ == "__main__":
    asyncio.run(main())
"""


@LATE
@pytest.mark.parametrize("module", [False, True])
def test_functions_of_a_script_can_be_called_and_nothing_is_left_of_a_pool_that_nobody_closed(
    module: bool, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-X", "dev", "-W", "error", *(["-m", "program"] if module else ["program.py"]), "argument"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    there, pids = done.stdout.splitlines()
    assert there == "from there ['argument'] __mp_main__"
    assert all(gone(int(pid)) for pid in pids.split())
    assert "Warning" not in done.stderr, done.stderr


UNGUARDED = """
import asyncio
from weirpool import WorkerPool, in_process

def work():
    return 7

async def main():
    async with WorkerPool() as pool:
        print(await pool.run(in_process(work)))

"""


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("script", 'what it runs, and does not only define, belongs under `if __name__ == "__main__":`'),
        ("-c", "the main program is no file that can be loaded: define the function in a module, and import that"),
        ("folder", "7"),
    ],
)
def test_a_main_module_that_can_not_be_loaded_there_says_what_to_do(how: str, says: str, tmp_path: Path) -> None:
    program = UNGUARDED + ('if __name__ == "__main__": ' if how == "folder" else "") + "asyncio.run(main())"
    (tmp_path / "__main__.py").write_text(program)
    command = {"script": ["__main__.py"], "-c": ["-c", program], "folder": ["."]}[how]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    assert says in (done.stdout + done.stderr).splitlines()[-1]
