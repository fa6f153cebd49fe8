"""`run` is `asyncio.run` for workers: it takes an async function, gives an exit code, and refuses wrong places."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests.support import echo, fail, sleep
from weirpool import WorkerPool, run, serve
from weirpool.standalone import _ending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.realtime

TERM, INT = signal.SIGTERM, signal.SIGINT


@pytest.fixture(autouse=True)
def same_handlers() -> Iterator[None]:
    """Fail a test after which the process hears signals in another way than before."""
    before = [signal.getsignal(TERM), signal.getsignal(INT)]
    yield
    assert [signal.getsignal(TERM), signal.getsignal(INT)] == before


def runs(main: Callable[..., Any], *args: Any, **options: Any) -> int:
    """Run a main, and leave pytest's event loop what it is."""
    return run(main, *args, loop_factory=asyncio.new_event_loop, **options)


class Exited(BaseException):
    """What is raised in these tests where the process would end."""


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes with which the process would have been ended at once, if it were not for this."""
    codes: list[int] = []

    def note(code: int) -> NoReturn:
        codes.append(code)
        raise Exited

    monkeypatch.setattr(os, "_exit", note)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    return codes


# What it takes and returns --------------------------------------------------------------------------------------------


def test_it_passes_arguments_on_and_returns_0() -> None:
    got = []

    async def main(*args: Any, key: Any = None) -> str:
        got.append((args, key, asyncio.get_running_loop().get_debug()))
        return "ignored"

    assert runs(main, 1, 2, debug=True) == 0
    assert runs(functools.partial(main, key=3), debug=False) == 0
    assert got == [((1, 2), None, True), ((), 3, False)]


@pytest.mark.parametrize("error", [LookupError("no"), SystemExit(3), KeyboardInterrupt("yes"), asyncio.CancelledError("who?")])
def test_it_raises_what_main_raises(error: BaseException) -> None:
    with pytest.raises(type(error), match=str(error)):
        runs(fail, error)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LookupError(), 1),
        (SystemExit(), 0),
        (SystemExit(3), 3),
        (SystemExit("a message"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_if_it_has_to_end_the_process_itself_the_code_is_that_of_the_exception(error: BaseException, code: int) -> None:
    from weirpool.standalone._run import _code_of

    assert _code_of(error) == code


@pytest.mark.parametrize("sig", [TERM, INT])
@pytest.mark.complains
def test_a_signal_outside_of_serve_cancels_main(sig: signal.Signals, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        signal.raise_signal(sig)
        await asyncio.sleep(3600)

    assert runs(main) == 128 + sig
    assert f"{sig.name}: main() is cancelled, as it is not in serve()" in caplog.messages


def test_a_signal_before_serve_in_one_go_with_it_drains() -> None:
    async def main() -> None:
        async with WorkerPool() as pool:
            handle = await pool.submit(sleep, 0.01, "done")
            signal.raise_signal(TERM)
            await serve(pool)
            assert await handle == "done"

    assert runs(main) == 0


@pytest.mark.complains
def test_a_signal_after_serve_cancels_what_main_does_then() -> None:
    async def main() -> None:
        async with WorkerPool() as pool:
            asyncio.get_running_loop().call_soon(signal.raise_signal, TERM)
            await serve(pool)
        signal.raise_signal(TERM)
        await asyncio.sleep(3600)

    assert runs(main) == 128 + TERM


@pytest.mark.complains
def test_main_may_ignore_its_cancellation_and_end_as_it_likes() -> None:
    async def main() -> None:
        signal.raise_signal(TERM)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(0)

    assert runs(main) == 0


@pytest.mark.complains
def test_75_is_for_jobs_that_were_cut_short() -> None:
    async def main(seconds: float) -> None:
        async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.05) as pool:
            await pool.submit(sleep, seconds)
            (await pool.submit(sleep, 3600)).cancel()  # by the program itself: the shutdown has not cut it short
            asyncio.get_running_loop().call_soon(signal.raise_signal, TERM)
            await serve(pool)

    assert runs(main, 0) == 0
    assert runs(main, 3600) == 75 == os.EX_TEMPFAIL


def test_signals_that_come_when_main_is_over_change_nothing() -> None:
    async def late() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            signal.raise_signal(TERM)
            await asyncio.sleep(0)

    async def main() -> None:
        main.task = asyncio.create_task(late())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    assert runs(main) == 0


def test_a_signal_that_comes_when_the_loop_is_closed_changes_nothing() -> None:
    class Late(asyncio.SelectorEventLoop):
        def close(self) -> None:
            super().close()
            signal.raise_signal(TERM)

    assert run(echo, 1, loop_factory=Late) == 0


# Ending by force ------------------------------------------------------------------------------------------------------


@pytest.mark.complains
def test_the_third_signal_ends_the_process(exits: list[int], caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with WorkerPool() as pool:
            for _ in range(2):
                signal.raise_signal(TERM)
            with pytest.raises(Exited):
                signal.raise_signal(INT)
            signal.raise_signal(INT)
            await serve(pool)

    assert runs(main) == 0
    assert exits == [128 + INT]
    assert "SIGINT has come, the third signal to end: the process is ended" in caplog.text


def flush(error: BaseException | None = None) -> None:
    """Flush as is done before the process is ended."""
    lock = threading.Lock()
    lock.acquire()
    _ending._flush(lock, 9, "because of %s", ("this",), error)
    assert not lock.locked()


@pytest.mark.complains
def test_leaving_flushes_and_shows_the_error_that_nobody_would_see(
    exits: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging, "shutdown", lambda: exits.append(-1))
    flush(LookupError("unseen"))
    assert "because of this" in caplog.messages
    assert "LookupError: unseen" in capsys.readouterr().err
    with pytest.raises(Exited):
        _ending.leave(9, "because")
    assert exits == [-1, -1, 9]


@pytest.mark.complains
def test_leaving_does_what_it_can_with_whatever_is_broken(exits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> NoReturn:
        raise SystemExit("broken")

    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(logging, "shutdown", broken)
    monkeypatch.setattr(sys, "excepthook", broken)
    flush()
    flush(LookupError("unseen"))


def test_leaving_waits_a_while_for_a_lock_and_not_for_ever(exits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ending, "_TO_FLUSH", 0.05)
    released = threading.Event()
    monkeypatch.setattr(_ending._log, "critical", lambda *_, **__: released.wait(20))
    with pytest.raises(Exited):
        _ending.leave(9, "because")
    assert exits == [9]
    released.set()


def test_leaving_does_without_a_thread(exits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: Any) -> NoReturn:
        raise RuntimeError("can't start new thread")

    with pytest.raises(Exited):
        _ending.leave(9, "because", start=none_left)
    assert exits == [9]


@pytest.mark.complains
def test_leaving_is_prepared_for_an_interpreter_that_starts_no_thread_any_more(
    exits: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Exited):
        _ending.leave(9, "because", start=_ending._standby())
    assert exits == [9]
    assert "because" in caplog.messages


def left(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Return with what the process would be left; it is not."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(_ending, "leave", lambda code, why, *args, error=None, start: calls.append((code, why % args, error)))
    return calls


def until(calls: list[Any]) -> Any:
    deadline = time.monotonic() + 20
    while not calls and time.monotonic() < deadline:
        time.sleep(0.005)
    return calls.pop()


def test_a_bound_is_kept_with_the_code_and_the_error_of_main(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, error = left(monkeypatch), LookupError()
    bound = _ending.Bound(0.02)
    bound.error = error
    with bound:
        code, why, shown = until(calls)
    assert (code, shown) == (1, error)
    assert why.startswith("the process has not ended by itself 0.02 s after main(), and is ended now, with code 1: a task")


def test_a_bound_counts_for_the_interpreter_if_there_are_threads_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, at_exit = left(monkeypatch), list[Any]()
    monkeypatch.setattr(threading, "_register_atexit", at_exit.append)
    bound = _ending.Bound(0.05)
    bound.error = LookupError()
    with bound:
        pass
    bound.and_beyond()
    assert at_exit == []
    bound.code, release = 75, threading.Event()
    thread = threading.Thread(target=release.wait, name="uploads")
    thread.start()
    bound.and_beyond()
    (begin,) = at_exit
    assert calls == []
    begin()
    code, why, error = until(calls)
    release.set()
    thread.join()
    assert (code, error) == (75, None), "the interpreter has printed the error by then"
    assert why.endswith("with code 75: these threads still run: uploads")


def test_threads_can_be_asked_to_be_told_of_the_end() -> None:
    assert callable(threading._register_atexit)  # type: ignore[attr-defined]


# Wrong places, and bad input ------------------------------------------------------------------------------------------


def test_it_refuses_a_coroutine_and_closes_it() -> None:
    coroutine = echo(1)
    with pytest.raises(
        TypeError, match=r"main must be an async function, got the coroutine echo\(\.\.\.\): .*weirpool.run\(echo, "
    ):
        run(coroutine)  # type: ignore[arg-type]
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


@pytest.mark.parametrize("main", [7, None])
def test_it_refuses_what_is_no_function(main: Any) -> None:
    with pytest.raises(TypeError, match=f"main must be an async function, got {main}"):
        run(main)


def test_it_refuses_a_plain_function() -> None:
    with pytest.raises(TypeError, match=r"main must be an async function, and len\(\) returned 2"):
        runs(len, "ab")


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), (None, TypeError), (float("inf"), ValueError)]
)
def test_it_refuses_an_exit_timeout_that_is_none(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="exit_timeout must be a number of seconds above 0 and at most ten years, got"):
        runs(echo, 1, exit_timeout=value)


async def test_it_refuses_to_run_inside_a_loop() -> None:
    with pytest.raises(RuntimeError, match=r"here one runs already: await serve\(pool\) there instead"):
        run(echo, 1)


def test_it_refuses_other_threads() -> None:
    errors = []

    def elsewhere() -> None:
        try:
            run(echo, 1)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert errors == ["weirpool.run() handles signals, which Python allows in the main thread only: call it there"]


@pytest.mark.complains
def test_a_signal_before_the_first_step_of_main_cancels_it(caplog: pytest.LogCaptureFixture) -> None:
    went_on = []
    to_come = [TERM]

    class Loop(asyncio.SelectorEventLoop):
        def create_task(self, coro: Any, **options: Any) -> Any:
            while to_come:
                signal.raise_signal(to_come.pop())
            return super().create_task(coro, **options)

    async def main() -> None:
        await asyncio.sleep(0)
        went_on.append(True)

    assert run(main, loop_factory=Loop) == 143
    assert went_on == []
    assert [record.message for record in caplog.records] == ["SIGTERM: main() is cancelled, as it is not in serve()"]
