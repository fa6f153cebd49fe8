"""The other end of a process or interpreter of a job, tried in this process: what it answers, and how it ends."""

from __future__ import annotations

import gc
import math
import os
import pickle
import runpy
import socket
import sys
import threading
import types
from typing import TYPE_CHECKING, Any

import pytest

from tests.blocking import functions
from weirpool import _callee, remaining
from weirpool._pickles import introduction, outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.realtime


@pytest.fixture(autouse=True)
def unprepared(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave this process as it was."""
    path, argv = [*sys.path], [*sys.argv]
    monkeypatch.setattr(_callee, "_main", None)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    yield
    sys.path[:], sys.argv[:] = path, argv
    sys.modules.pop("__mp_main__", None)


def answered(fn: Any, *args: Any, left: float = math.inf, **keywords: Any) -> tuple[int, Any]:
    answer = _callee.answered(pickle.dumps((fn, args, keywords)), left)
    rest: Any = answer[1:]
    return answer[0], pickle.loads(rest) if answer[0] in {_callee.RETURNED, _callee.RAISED} else rest.decode()


def test_an_answer_says_how_the_call_has_ended() -> None:
    assert answered(functions.echo, 7, times=2) == (_callee.RETURNED, [7, 7])
    status, (error, lines) = answered(functions.fail, "wrong")
    assert (status, str(error)) == (_callee.RAISED, "wrong")
    assert lines.splitlines()[-1] == "ValueError: wrong"
    status, text = answered(functions.unpicklable)
    assert (status, text.partition(",")[0]) == (_callee.UNPICKLABLE, "returned function")
    status, text = answered(functions.fail_oddly)
    assert (status, text.partition(",")[0]) == (_callee.UNPICKLABLE, "raised Odd: odd 1")
    status, text = answered(functions.fail_unsayably)
    assert (status, text.partition(",")[0]) == (_callee.UNPICKLABLE, "raised Unsayable")
    status, text = answered(functions.fail_as_text)
    assert (status, text.splitlines()[0]) == (_callee.UNPICKLABLE, "raised Text: odd, which is str when unpickled")
    assert _callee.answered(b"nonsense", 1)[0] == _callee.UNLOADABLE
    with pytest.raises(SystemExit):
        answered(functions.leave, "exit")


def test_a_traceback_that_can_not_be_written_costs_only_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("traceback.format_exception", lambda _: 1 / 0)
    assert answered(functions.fail, "wrong")[1][1] == ""


def test_an_exception_without_its_lines_has_no_note() -> None:
    answer = bytes([_callee.RAISED]) + pickle.dumps((ValueError("wrong"), ""))
    with pytest.raises(ValueError, match="wrong") as caught:
        outcome("in_process", functions.fail, memoryview(answer))
    assert not hasattr(caught.value, "__notes__")


def test_the_time_that_remains_counts_for_one_call() -> None:
    _, (left, _, _) = answered(functions.seen, left=30.0)
    assert 29 < left <= 30
    assert answered(functions.seen, left=-1.0)[1][0] == 0
    assert answered(functions.seen)[1][0] is None
    assert remaining() is None


def test_the_main_module_is_loaded_when_it_is_asked_for_under_another_name(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("def fn(): return __name__\n")
    request = b"c__main__\nfn\n."  # a global, as pickle writes it
    _callee.prepare(pickle.dumps((sys.path, sys.argv, (None, str(script)))))
    sys.modules["__mp_main__"] = sys.modules["__main__"]  # as importing multiprocessing does
    for _ in range(2):
        assert _callee.Loader(_bytes(request)).load()() == "__mp_main__"
    assert sys.modules["__main__"] is sys.modules["__mp_main__"]


def test_the_main_module_may_be_one_that_was_run_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "module_of_mine.py").write_text("def fn(): return __name__\n")
    _callee.prepare(pickle.dumps(([*sys.path, str(tmp_path)], sys.argv, ("module_of_mine", None))))
    assert _callee.Loader(_bytes(b"c__main__\nfn\n.")).load()() == "__mp_main__"


def test_what_is_of_the_main_module_there_is_of_the_main_module_here(monkeypatch: pytest.MonkeyPatch) -> None:
    main = types.ModuleType("__main__")
    main.__dict__["thing"] = functions.echo
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert _callee.Loader(_bytes(b"c__mp_main__\nthing\n.")).load() is functions.echo


def test_an_introduction_tells_of_a_main_module_by_name_or_else_by_path(monkeypatch: pytest.MonkeyPatch) -> None:
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert pickle.loads(introduction()) == (sys.path, sys.argv, (None, None))
    main.__file__ = "script.py"
    assert pickle.loads(introduction())[2] == (None, "script.py")
    main.__spec__ = types.SimpleNamespace(name="a.module")  # type: ignore[assignment]
    assert pickle.loads(introduction())[2] == ("a.module", None)
    main.__spec__ = types.SimpleNamespace(name="__main__")  # type: ignore[assignment]
    assert pickle.loads(introduction())[2] == (None, "script.py"), "as of a folder that is run"


def test_a_main_module_may_define_things_and_not_start_processes_while_it_is_loaded(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from weirpool._pickles import introduction\nintroduction()\n")
    _callee.prepare(pickle.dumps((sys.path, sys.argv, (None, str(script)))))
    with pytest.raises(RuntimeError, match="belongs under `if __name__"):
        _callee.Loader(_bytes(b"c__main__\nfn\n.")).load()
    assert not _callee.loads_main()


def test_a_main_program_that_is_no_file_says_so() -> None:
    for path in (None, "<stdin>"):
        _callee.prepare(pickle.dumps((sys.path, sys.argv, (None, path))))
        with pytest.raises(ImportError, match="the main program is no file that can be loaded"):
            _callee.Loader(_bytes(b"c__main__\nfn\n.")).load()


def _bytes(data: bytes) -> Any:
    import io

    return io.BytesIO(data)


# How it serves --------------------------------------------------------------------------------------------------------------


def ask(connection: socket.socket, message: bytes, left: float = math.inf) -> None:
    connection.sendall(_callee.HEADER.pack(left, len(message)) + message)


def answer(connection: socket.socket) -> Any:
    received = _callee._receive(connection)
    return None if received is None else pickle.loads(received[1][1:])


@pytest.mark.parametrize("heard", [0, 5, 100])
def test_it_ends_when_the_other_end_is_closed_wherever_that_is(heard: int) -> None:
    here, there = socket.socketpair()
    with there, here:
        here.sendall(_callee.HEADER.pack(0, 1000)[:heard])
        here.shutdown(socket.SHUT_WR)
        _callee.serve(there)


def test_it_answers_one_request_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as under pythonw, or if somebody has closed it
    here, there = socket.socketpair()
    with there, here:
        serving = threading.Thread(target=_callee.serve, args=[there])
        serving.start()
        ask(here, introduction())
        for number in range(3):
            ask(here, pickle.dumps((functions.echo, (number,), {})))
            assert answer(here) == number
        here.sendall(b"half a header")
        here.shutdown(socket.SHUT_WR)
        serving.join(30)
        assert not serving.is_alive()


class Exit(BaseException):
    """What `os._exit` raises in these tests."""


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [("exit", 4, ""), ("exit with words", 1, "words\n"), ("exit with nothing", 0, ""), ("interrupt", 130, ""), ("", 0, "")],
)
def test_it_ends_as_the_function_says(
    how: str, status: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, lambda here: ask(here, pickle.dumps((functions.leave, (how,), {}))) if how else None) == status
    assert capsys.readouterr().err == words


def test_as_a_script_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = socket.socketpair()
    here.close()
    monkeypatch.setattr(sys, "argv", ["_callee.py", str(there.detach())])
    monkeypatch.setattr(os, "_exit", lambda status: statuses.append(status))
    statuses: list[int] = []
    with pytest.warns(ResourceWarning, match="unclosed"):  # noqa: PT031  # elsewhere, os._exit does not come to that
        runpy.run_path(_callee.__file__, run_name="__main__")
        gc.collect()
    assert statuses == [0]


def test_it_ends_if_nobody_is_there_for_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(here: socket.socket) -> None:
        ask(here, pickle.dumps((functions.echo, (bytes(1_000_000),), {})))
        here.close()

    assert ended(monkeypatch, leave) == 1


def ended(monkeypatch: pytest.MonkeyPatch, tell: Any) -> int:
    """Run the main program of a process in this one, and return its exit status."""

    def leave(status: int) -> None:
        raise Exit(status)

    here, there = socket.socketpair()
    monkeypatch.setattr(sys, "argv", ["_callee.py", str(there.fileno())])
    monkeypatch.setattr(os, "_exit", leave)

    def talk() -> None:
        ask(here, introduction())
        tell(here)
        if here.fileno() != -1:
            here.shutdown(socket.SHUT_WR)

    talking = threading.Thread(target=talk)
    talking.start()
    there.detach()
    with here:
        with pytest.raises(Exit) as caught:
            _callee.main()
        talking.join()  # before it is closed, which `talk` looks at
    status: int = caught.value.args[0]
    caught.traceback[1].frame.f_locals["connection"].close()
    return status
