"""`in_interpreter`: a plain function as a job, in a thread and an interpreter of its own (R5 to R8, R17).

Python 3.14 and later have interpreters. On older ones, a stand-in has what is used of them, and weirpool is the same.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import sys
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from anyio import BrokenWorkerInterpreter

from tests.blocking import functions
from tests.support import turns
from weirpool import JobCancelled, JobState, WorkerPool, _blocking, _callee, in_interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weirpool._interpreters import Interpreter

pytestmark = pytest.mark.realtime

NEEDED = _blocking._need_interpreters
REAL = sys.version_info >= (3, 14)


class StandIn:
    """What is used of `concurrent.interpreters`, without interpreters."""

    living: list[StandIn] = []  # noqa: RUF012
    numbers = itertools.count(1)
    create_queue = queue.Queue

    class ExecutionFailed(Exception):
        def __init__(self, error: BaseException) -> None:
            super().__init__(f"{type(error).__name__}: {error}")
            self.excinfo = types.SimpleNamespace(formatted=str(self))

    def __init__(self) -> None:
        self.id = next(self.numbers)
        self._main: dict[str, Any] = {}
        self._running = False
        self.living.append(self)

    @classmethod
    def create(cls) -> StandIn:
        return cls()

    @classmethod
    def list_all(cls) -> list[Any]:
        return [None, *cls.living]

    def prepare_main(self, **names: Any) -> None:
        self._main.update(names)

    def exec(self, code: str) -> None:  # as the real one's
        self._running = True
        try:
            exec(code, self._main)
        except BaseException as error:
            raise self.ExecutionFailed(error) from None
        finally:
            self._running = False

    def close(self) -> None:
        if self._running:
            raise RuntimeError("interpreter running")
        self.living.remove(self)


@pytest.fixture(autouse=True)
def interpreters(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Have interpreters, or what stands in for them; and see that none is left."""
    if REAL:
        from concurrent import interpreters as module  # type: ignore[attr-defined,unused-ignore]
    else:
        module = StandIn
        monkeypatch.setitem(sys.modules, "concurrent.interpreters", StandIn)
        monkeypatch.setattr(_blocking, "_need_interpreters", lambda: None)
        monkeypatch.setitem(sys.modules, _callee.__name__, _callee)  # which an interpreter of its own would have of its own
    path, argv = [*sys.path], [*sys.argv]
    yield module
    sys.path[:], sys.argv[:] = path, argv
    assert len(module.list_all()) == 1


def hold(file: str) -> str:
    """Go on until there is a file: that can be told to an interpreter of its own, too."""
    while not Path(file).exists():
        time.sleep(0.001)
    return "late"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return what lets `hold` go."""
    return tmp_path / "go"


@pytest.mark.skipif(REAL, reason="for older Pythons")
def test_an_older_python_is_told_what_to_use_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_blocking, "_need_interpreters", NEEDED)
    with pytest.raises(
        NotImplementedError, match=r"needs Python 3\.14, and this is 3\.1.*: use in_process\(\), or in_thread\(\)"
    ):
        in_interpreter(functions.echo)


def test_a_python_that_is_new_enough_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 14))
    NEEDED()


async def test_a_plain_function_runs_in_an_interpreter_that_is_kept_for_the_next_job(interpreters: Any) -> None:
    async with WorkerPool(max_workers=1) as pool:
        handle = await pool.submit(in_interpreter(functions.echo), 7)
        assert await handle == 7
        assert handle.name == "echo#1"
        assert await in_interpreter(functions.echo)(7, times=2) == [7, 7]
        first = interpreters.list_all()
        assert len(first) == 2
        assert await pool.run(in_interpreter(functions.pid)) == await asyncio.to_thread(functions.pid)
        assert [one and one.id for one in interpreters.list_all()] == [one and one.id for one in first]


@pytest.mark.skipif(not REAL, reason="of what an interpreter of its own has in memory")
async def test_of_what_is_in_memory_here_only_the_time_that_remains_is_carried() -> None:
    functions.VAR.set("of the submitter")
    async with WorkerPool() as pool:
        left, job, value = await pool.run(in_interpreter(functions.seen), timeout=30)
    assert (job, value) == (None, "default")
    assert left is not None
    assert 20 < left < 30


async def test_what_it_raises_is_raised_here_with_its_lines_there_as_a_note() -> None:
    async with WorkerPool() as pool:
        with pytest.raises(ValueError, match="wrong") as caught:
            await pool.run(in_interpreter(functions.fail), "wrong")
        (note,) = caught.value.__notes__
        assert note.startswith("there, in in_interpreter(fail):\nTraceback")
        with pytest.raises(TypeError, match=r"in_interpreter\(unpicklable\) returned function, which can't be pickled"):
            await pool.run(in_interpreter(functions.unpicklable))


async def test_a_function_that_wants_to_end_its_interpreter_fails_its_job_and_no_other() -> None:
    async with WorkerPool(max_workers=1) as pool:
        with pytest.raises(BrokenWorkerInterpreter, match="SystemExit: 4"):
            await pool.run(in_interpreter(functions.leave), "exit")
        assert await pool.run(in_interpreter(functions.echo), 1) == 1


async def stack_of(pool: WorkerPool, says: str) -> str:
    """Return where the one job is that runs, once it is there."""
    while says not in (stack := "".join(pool.running()[0].stack)):
        await asyncio.sleep(0.001)
    return stack


async def test_it_can_not_be_killed_so_what_it_returns_in_its_grace_stands(file: Path) -> None:
    async with WorkerPool(cancel_grace=20, shutdown_timeout=30) as pool:
        handle = await pool.submit(in_interpreter(hold), str(file))
        stack = await stack_of(pool, "<interpreter ")
        assert stack.endswith("> in hold")
        handle.cancel()
        await turns()
        assert handle.state is JobState.RUNNING
        file.touch()
        assert await handle == "late"


@pytest.mark.complains  # about a job that is abandoned
async def test_if_it_goes_on_its_job_is_abandoned_and_its_interpreter_is_not_used_until_it_ends(
    interpreters: Any, file: Path
) -> None:
    async with WorkerPool(max_workers=1, cancel_grace=0) as pool:
        handle = await pool.submit(in_interpreter(hold), str(file))
        await stack_of(pool, "<interpreter ")
        handle.cancel()
        with pytest.raises(JobCancelled) as caught:
            await handle
        assert caught.value.abandoned
        assert pool.stats().strays == 1
        assert await pool.run(in_interpreter(functions.echo), 1) == 1
        assert len(interpreters.list_all()) == 3
        file.touch()
        while pool.stats().strays:
            await asyncio.sleep(0.001)


@pytest.mark.complains
async def test_an_interpreter_whose_job_outlives_the_pool_ends_with_that(interpreters: Any, file: Path) -> None:
    async with WorkerPool(max_workers=1, cancel_grace=0, shutdown_timeout=0.1) as pool:
        handle = await pool.submit(in_interpreter(hold), str(file))
        await stack_of(pool, "<interpreter ")
        assert len((await pool.aclose()).strays) == 1
        assert len(interpreters.list_all()) == 2
        with pytest.raises(JobCancelled):
            await handle
        file.touch()
        while len(interpreters.list_all()) > 1:
            await asyncio.sleep(0.001)
        await turns()


async def test_a_job_that_is_cancelled_before_it_has_an_interpreter_makes_none(interpreters: Any) -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(in_interpreter(functions.echo))
        await turns(1)
        assert pool.running()[0].stack[-1] != ""
        handle.cancel()
        with pytest.raises(JobCancelled):
            await handle
        assert len(interpreters.list_all()) == 1


async def test_a_coroutine_that_is_closed_leaves_its_interpreter_to_its_thread(interpreters: Any, file: Path) -> None:
    waiting = in_interpreter(hold)(str(file))

    async def job() -> None:
        await waiting

    task = asyncio.create_task(job())
    while len(interpreters.list_all()) == 1:
        await asyncio.sleep(0.001)
    frame: Any = waiting.cr_await.cr_frame  # type: ignore[attr-defined]
    interpreter: Interpreter = frame.f_locals["work"]
    while not interpreter.where():
        await asyncio.sleep(0.001)
    assert not interpreter.fit
    interpreter.stop()
    interpreter.end()  # changes nothing: it runs
    assert len(interpreters.list_all()) == 2
    file.touch()
    await task
    await turns()


def test_what_is_no_plain_function_is_refused() -> None:
    with pytest.raises(TypeError, match=r"in_interpreter\(\) takes a plain function, got the async function already"):
        in_interpreter(functions.already)
    with pytest.raises(TypeError, match=r"in_interpreter\(\) takes a function that can be pickled, which .*<lambda> can not"):
        in_interpreter(lambda: 1)
