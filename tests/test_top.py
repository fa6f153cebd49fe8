"""`weirpool top`: the pools of another process on a terminal, whatever that process answers and whatever the terminal is."""

from __future__ import annotations

import copy
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import tty
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions

from weirpool.cli import main
from weirpool.top import page as page_module
from weirpool.top.drawing import Scene, _time, draw, rates
from weirpool.top.page import Page, PageError, ask, read
from weirpool.top.watch import LiveView, PlainView, watch

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.realtime

COMMAND = [sys.executable, "-W", "error", "-c", "import sys; from weirpool.cli import main; sys.exit(main())", "top"]
JOB = {
    "id": 1,
    "name": "send#1",
    "running_for": 1.5,
    "time_left": 3.5,
    "lending": False,
    "ending": None,
    "stack": ["/srv/jobs.py:3 in send: await post()", "/srv/app/smtp.py:41 in post: await reader.readline()"],
}
STRAY = {"id": 9, "name": "hang#9", "reason": "deadline", "running_for": 300.0, "stack": []}
FAILURE = {
    "type": "builtins.ValueError",
    "count": 3,
    "seconds_ago": 1.2,
    "job": "send#7",
    "traceback": 'Traceback (most recent call last):\n  File "x"\nValueError: no such address\n',
}
TIMES = {"count": 10, "p50": 0.012, "p90": 0.1, "p99": 75.0}


def a_pool(**changes: Any) -> dict[str, Any]:
    """Return what a status page says of a pool."""
    counts = "queued running lending strays retrying coalesced waiting accepted succeeded failed timed_out cancelled abandoned"
    values = {"name": "mail", "state": "open", "paused": False, "min_workers": 2, "max_workers": 8, "workers": 4}
    lists: dict[str, Any] = {"running_jobs": [], "stray_jobs": [], "failures": []}
    times = {"time_in_queue": None, "run_time": None}
    return copy.deepcopy(
        values
        | {"queue_size": 10, "refused": {"full": 0, "timeout": 0}}
        | dict.fromkeys(counts.split(), 0)
        | lists
        | times
        | changes
    )


def a_page(*pools: dict[str, Any], at: float = 1000.0) -> dict[str, Any]:
    return {"at": at, "pools": list(pools)}


def parsed(*pools: dict[str, Any], at: float = 1000.0) -> Page:
    return read(json.dumps(a_page(*pools, at=at)).encode())


class Server(ThreadingHTTPServer):
    """A server that gives one answer after the other, and the last one again and again."""

    daemon_threads = True

    def __init__(self, *answers: object) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.answers = list(answers)
        self.headers: list[dict[str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/weirpool"
        self.enough = threading.Event()  # ends what waits

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.enough.set()
        self.shutdown()
        self.server_close()


class Answering(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.headers.append({name.lower(): value for name, value in self.headers.items()})
        answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        if callable(answer):
            answer(self)
            return
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def error(code: int, reason: str) -> Any:
    return lambda handler: handler.send_error(code, reason)


def redirection(to: str) -> Any:
    def answer(handler: Answering) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.end_headers()

    return answer


def once(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run `weirpool top --once`; return its exit status and what it printed."""
    status = main(["top", "--once", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def drawn(scene: Scene, width: int = 80, height: int | None = None) -> str:
    """Return a scene as text."""
    file = io.StringIO()
    Console(file=file, width=width, height=height, color_system=None).print(draw(scene, width, height))
    return file.getvalue()


def shown(*pools: dict[str, Any], width: int = 80, height: int | None = None) -> str:
    page = parsed(*pools)
    return drawn(Scene("top", page, rates(None, page)), width, height)


@pytest.fixture(autouse=True)
def a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "http_proxy", "HTTP_PROXY", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")


# What it shows ----------------------------------------------------------------------------------------------------------


def test_once_prints_one_snapshot_and_exits(capsys: pytest.CaptureFixture[str]) -> None:
    pool = a_pool(
        running=3,
        lending=1,
        queued=1,
        succeeded=1234,
        failed=1,
        coalesced=2,
        strays=1,
        waiting=5,
        refused={"full": 2, "timeout": 0},
        time_in_queue=TIMES,
        run_time=None,
        running_jobs=[JOB],
        stray_jobs=[STRAY],
        failures=[FAILURE],
    )
    with Server(a_page(pool)) as server:
        status, out, err = once(capsys, server.url)
        assert (status, err) == (0, "")
        assert server.headers[0]["accept"] == "application/json"
    assert out.startswith(f"weirpool top: {server.url}\n")
    assert "─ mail: open ─" in out
    for text in (
        "workers  [||||||||||          ] 2 of 4 busy (2 to 8), 1 lending, 1 stray ",
        "queue    [||                  ] 1 of 10, 5 waiting for room ",
        "ended    1,234 succeeded, 1 failed, 2 coalesced ",
        "refused  2 full ",
        "in queue p50 12 ms, p90 100 ms, p99 1m15s ",
        "run time - ",
    ):
        assert f"│ {text}" in out
    assert re.search(r"stray    hang#9 +5m00s deadline ", out)
    assert re.search(r"running  send#1 +1\.50 s 3\.50 s left +smtp\.py:41 in post: await…", out)
    assert re.search(r"failed   ValueError +3 x 1\.20 s ago +send#7: no such address ", out)
    assert "\x1b" not in out


def test_once_prints_to_whatever_takes_text(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    with Server(a_page(a_pool())) as server:
        assert main(["top", server.url, "--once"]) == 0
    assert "mail: open" in out.getvalue()


def test_rates_are_between_two_answers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    first = a_page(a_pool(succeeded=10, failed=1, refused={"full": 1}), at=1000)
    second = a_page(a_pool(succeeded=30, failed=2, timed_out=1, refused={"full": 5, "timeout": 1}), at=1002)
    third = a_page(a_pool(succeeded=530, failed=2, timed_out=1, refused={"full": 5, "timeout": 1}), at=1004)
    with Server(first, second, third, error(500, "stop")) as server:
        waits = iter([False, False, True])
        monkeypatch.setattr(PlainView, "wait", lambda self, due: next(waits))
        assert main(["top", server.url, "--interval=0.5"]) == 0
    snapshots = capsys.readouterr().out.split("weirpool top ")
    assert len(snapshots) == 4
    assert "ended    10 succeeded, 1 failed " in snapshots[1]
    assert "ended    11.0/s; 30 succeeded, 2 failed (0.5/s), 1 timed out (0.5/s) " in snapshots[2]
    assert "refused  2.5/s; 5 full, 1 timeout " in snapshots[2]
    assert "ended    250/s; 530 succeeded, 2 failed, 1 timed out " in snapshots[3]
    assert "refused  0.0/s; 5 full, 1 timeout " in snapshots[3]


def test_a_pool_that_is_new_or_was_started_anew_has_no_rates_and_namesakes_have_their_own() -> None:
    before = parsed(a_pool(succeeded=9), a_pool(succeeded=2), a_pool(name="web"), at=1)
    now = parsed(a_pool(succeeded=1), a_pool(succeeded=4), a_pool(name="new"), at=2)
    assert [rate.get("ended") for rate in rates(before, now)] == [None, 2.0, None]
    assert rates(now, now) == [{}, {}, {}]  # no time has passed
    assert rates(None, now) == [{}, {}, {}]


def test_the_page_on_observing_shows_what_it_draws() -> None:
    page = (Path(__file__).parent.parent / "docs" / "observing.md").read_text()
    (shown,) = re.findall(r"^```console\n\$ (.*?)^```$", page, re.DOTALL | re.MULTILINE)
    command, title, panels = shown.split("\n", 2)
    *words, url = command.split()
    assert re.sub(r"[\d:]{8}", "...", title) == f"{' '.join(words)} ...: {url}"
    sending = {"workers": 8, "min_workers": 8, "max_workers": 8, "running": 8, "queued": 15, "queue_size": 20}
    places = {
        "send": "/srv/app/service.py:6 in Smtp.deliver: await self",
        "resize": "/srv/app/service.py:11 in resize: await turn",
    }
    mails = {342: (0.457, 1.04), 343: (0.393, 1.11), 346: (0.153, 1.35), 347: (0.152, 1.35), 348: (0.064, 1.44)}
    reset = {"type": "ConnectionResetError", "count": 9, "seconds_ago": 0.059, "job": "send#341"}

    def job(name: str, number: int, age: float, left: float) -> dict[str, Any]:
        return JOB | {"id": number, "name": f"{name}#{number}", "running_for": age, "time_left": left, "stack": [places[name]]}

    mail = a_pool(
        **sending,
        succeeded=332,
        failed=9,
        timed_out=2,
        refused={"full": 10},
        time_in_queue={"count": 1, "p50": 0.132, "p90": 0.669, "p99": 0.754},
        run_time={"count": 1, "p50": 0.227, "p90": 0.710, "p99": 1.46},
        running_jobs=[job("send", number, *times) for number, times in mails.items()],
        failures=[reset | {"traceback": "ConnectionResetError: [Errno 104] Connection reset by peer\n"}],
    )
    thumbnails = a_pool(
        name="thumbnails",
        workers=4,
        min_workers=1,
        max_workers=4,
        running=1,
        queue_size=1000,
        succeeded=55,
        time_in_queue={"count": 1, "p50": 0.0001, "p90": 0.0002, "p99": 0.064},
        run_time={"count": 1, "p50": 0.367, "p90": 0.903, "p99": 1.02},
        running_jobs=[job("resize", 53, 0.804, 0.696)],
    )
    before = parsed(mail | {"succeeded": 313, "failed": 8, "refused": {"full": 6}}, thumbnails | {"succeeded": 51}, at=999)
    now = parsed(mail, thumbnails, at=1000)
    assert drawn(Scene(title, now, rates(before, now))) == f"{title}\n{panels}"


def test_what_is_at_its_bound_is_said_in_words() -> None:
    text = shown(
        a_pool(running=4, queued=10), a_pool(state="draining", running=1, queued=8, retrying=1, strays=2), a_pool(paused=True)
    )
    assert "4 of 4 busy (2 to 8), none free" in text
    assert "10 of 10, full" in text
    assert "mail: draining" in text
    assert "8 of 10 " in text
    assert "1 retrying, 2 strays" in text
    assert "mail: open, paused" in text
    assert "none free" not in shown(a_pool(workers=0))
    assert "0 of 0 " in shown(a_pool(queue_size=0))


def test_a_job_says_how_long_it_may_run_or_why_it_may_not() -> None:
    jobs = [
        JOB | {"name": "a", "running_for": 1, "time_left": None},
        JOB | {"name": "b", "running_for": 3, "ending": "cancel"},
        JOB | {"name": "c", "running_for": 2, "lending": True},
        JOB | {"name": "d", "running_for": 4, "time_left": 0, "stack": ["C:\\app\\x.py:1 in f"]},
    ]
    rows = [
        line for line in shown(a_pool(running_jobs=jobs), width=100).splitlines() if re.match("│ (running|        ) ", line)
    ]
    assert [line[10:].split()[0] for line in rows] == ["d", "b", "c", "a"]  # the longest-running first
    for row, text in zip(rows, ("0.0 ms left", "ends: cancel", "lending", "no limit"), strict=True):
        assert text in row
    assert " x.py:1 in f " in rows[0]


def test_without_pools_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with Server(a_page()) as server:
        assert once(capsys, server.url)[:2] == (0, f"weirpool top: {server.url}\nno pools\n")


def test_a_snapshot_lists_ten_of_a_kind() -> None:
    text = shown(a_pool(running_jobs=[JOB | {"name": f"send#{number}"} for number in range(30)]))
    assert text.count("send#") == 10


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *[(-1, "0.0 ms"), (0.0004, "0.4 ms"), (0.00995, "10 ms"), (0.9994, "999 ms"), (0.9996, "1.00 s"), (9.994, "9.99 s")],
        *[(9.996, "10.0 s"), (59.96, "1m00s"), (3599.7, "1h00m"), (86400 * 3 + 4 * 3600, "3d04h")],
    ],
)
def test_times_have_three_digits_or_so(seconds: float, text: str) -> None:
    assert _time(seconds) == text


# Texts from elsewhere ---------------------------------------------------------------------------------------------------


def test_markup_and_control_characters_are_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "[red]x[/red]\x1b[31m\n\u202e:bomb:"
    seen = "[red]x[/red]\\x1b[31m\\n\\u202e:bomb:"
    pool = a_pool(
        name=evil,
        state=evil,
        refused={evil: 1},
        running_jobs=[JOB | {"name": evil, "ending": evil, "stack": [evil]}],
        stray_jobs=[STRAY | {"name": evil, "reason": evil}],
        failures=[FAILURE | {"type": evil, "job": evil, "traceback": evil}],
    )
    with Server(a_page(pool)) as server:
        status, out, err = once(capsys, server.url)
    assert (status, err) == (0, "")
    assert f"1 {seen}" in out
    assert f"─ {seen}: {seen[:5]}" in out
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", out)
    assert "running  [red]x[/red]" in shown(pool, width=120)


def test_letters_that_the_output_has_not_are_replaced() -> None:
    with Server(a_page(a_pool(name="Größe"))) as server:
        environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
        done = subprocess.run([*COMMAND, server.url, "--once"], env=environment, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Gr??e: open" in done.stdout


# The terminal -----------------------------------------------------------------------------------------------------------


def test_it_fits_into_every_terminal() -> None:
    pool = a_pool(
        running=4,
        queued=10,
        waiting=12345,
        succeeded=10**9,
        failed=10**6,
        time_in_queue=TIMES,
        running_jobs=[JOB] * 30,
        stray_jobs=[STRAY] * 5,
        failures=[FAILURE] * 5,
        strays=5,
    )
    for pools in ([pool], [pool, pool | {"name": "a name that is longer than it should be, 漢字"}, a_pool()], [pool] * 40):
        page = parsed(*pools)
        for scene in (Scene("top", page, rates(page, page)), Scene("top", page, [{}] * len(pools), "no answer within 5 s")):
            for width in (5, 20, 40, 60, 66, 110):
                for height in (1, 2, 3, 5, 10, 24, 40, 100):
                    lines = drawn(scene, width, height).splitlines()
                    assert len(lines) <= height, (width, height)
                    assert max(map(cell_len, lines)) <= width, (width, height)


def test_a_low_terminal_has_fewer_jobs_and_a_high_one_all() -> None:
    pool = a_pool(running_jobs=[JOB] * 30, stray_jobs=[STRAY] * 2, failures=[FAILURE])
    assert [shown(pool, height=height).count("send#1 ") for height in (9, 12, 14, 24, 42)] == [0, 1, 2, 12, 30]
    assert [shown(pool, height=height).count("hang#9") for height in (9, 12, 14, 24, 42)] == [0, 1, 2, 2, 2]
    many, few = a_pool(running_jobs=[JOB] * 30), a_pool(running_jobs=[JOB | {"name": "two"}])
    text = shown(many, few, height=24)
    assert text.count("send#1 ") == 6  # what the other pool leaves over
    assert text.count("two ") == 1


def test_a_narrow_terminal_leaves_out_bars_and_places_and_keeps_names_and_times() -> None:
    text = shown(a_pool(running_jobs=[JOB], failures=[FAILURE], stray_jobs=[STRAY]), width=40, height=24)
    assert re.search(r"│ running  send#1 +1\.50 s 3\.50 s +│", text)
    assert re.search(r"│ failed   ValueEr\S+ +3 x 1\.20 s +│", text)
    assert re.search(r"│ stray    hang#9 +5m00s deadline +│", text)
    assert "smtp.py" not in text
    assert "[" not in text


def test_a_wide_terminal_has_all_percentiles_in_a_line() -> None:
    assert re.search(
        r"in queue p50 12 ms, .* run time p50 12 ms, ", shown(a_pool(time_in_queue=TIMES, run_time=TIMES), width=120)
    )


def test_many_pools_have_a_line_each_and_those_that_do_not_fit_are_counted() -> None:
    pools = [a_pool(name=f"pool-{number}", running=4, queued=1, refused={"full": 7}, succeeded=5) for number in range(9)]
    lines = shown(*pools[:8], height=10).splitlines()
    assert lines[1].split() == ["pool", "state", "busy", "queue", "ended", "refused", "strays"]
    assert lines[2].split() == ["pool-0", "open", "4/4", "1/10", "5", "7", "0"]
    assert len(lines) == 10
    lines = shown(*pools, height=10).splitlines()
    assert len(lines) == 10
    assert lines[-1] == "and 2 more pools"
    page = parsed(*pools, at=2)
    text = drawn(Scene("top", page, rates(parsed(*pools, at=1), page)), 40, 10)
    assert "0.0/s" in text
    assert "refused" not in text


class Terminal:
    """A pseudo-terminal, and all that was written to it."""

    def __init__(self, columns: int = 80, lines: int = 24) -> None:
        try:
            self.master, self.slave = pty.openpty()
        except OSError as error:  # a container may have none
            pytest.skip(f"missing: pseudo-terminals ({error})")
        self.before = termios.tcgetattr(self.slave)
        self.text = ""
        self.resize(columns, lines)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def read_until(self, text: str) -> None:
        end = time.monotonic() + 20
        while text not in self.text:
            assert time.monotonic() < end, f"{text!r} is not in {self.text[-2000:]!r}"
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65536).decode(errors="replace")

    def is_as_before(self) -> bool:
        return termios.tcgetattr(self.slave) == self.before

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    it = Terminal()
    yield it
    it.close()


def started(terminal: Terminal, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return subprocess.Popen(
        [*COMMAND, *arguments], stdin=terminal.slave, stdout=terminal.slave, stderr=subprocess.PIPE, env=environment
    )


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, err = process.communicate(timeout=20)
    return process.returncode, err.decode()


@pytest.mark.parametrize(("end", "status"), [("q", 0), (signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_on_a_terminal_it_is_live_until_it_is_ended_and_leaves_the_terminal_as_it_was(
    terminal: Terminal, end: str | signal.Signals, status: int
) -> None:
    with Server(a_page(a_pool(queued=1), at=1), a_page(a_pool(queued=2), at=2)) as server:
        process = started(terminal, server.url, "--interval=0.1")
        terminal.read_until(" 1 of 10")
        terminal.read_until(" 2 of 10")
        assert "\x1b[?1049h" in terminal.text  # the other screen
        assert not terminal.is_as_before()
        terminal.resize(40, 10)
        terminal.read_until("2 of 10                     │")
        terminal.type(b"x")  # no key of ours
        if isinstance(end, str):
            terminal.type(end.encode())
        else:
            process.send_signal(end)
        terminal.read_until("\x1b[?1049l")
        assert ended(process) == (status, "")
    assert terminal.is_as_before()


def test_an_error_is_shown_in_the_view_which_keeps_trying(terminal: Terminal) -> None:
    answers = [error(503, "Not \x1b[31mnow"), a_page(a_pool(queued=3)), b"{}", a_page(a_pool(queued=4))]
    with Server(*answers) as server:
        process = started(terminal, server.url, "--interval=0.1")
        terminal.read_until("error: the answer is 503 Not \\x1b[31mnow")
        terminal.read_until(" 3 of 10")
        terminal.read_until("error: the answer is no status page: at is missing (the numbers are ")
        terminal.read_until(" 4 of 10")
        terminal.type(b"q")
        terminal.read_until("\x1b[?1049l")  # else it may wait for somebody to read what it draws
        assert ended(process) == (0, "")


def colours(text: str) -> set[str]:
    """Return the codes of colours in what was written to a terminal."""
    codes = {code for codes in re.findall("\x1b\\[([0-9;]*)m", text) for code in codes.split(";")}
    return {code for code in codes if re.fullmatch("[349][0-7]|38|48", code)}


def test_colours_are_left_out_if_no_color_is_set(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(a_page(a_pool(queued=10))) as server:
        assert ended(started(terminal, server.url, "--once")) == (0, "")
        terminal.read_until("10 of 10, full")
        assert "31" in colours(terminal.text)
        terminal.text = ""
        monkeypatch.setenv("NO_COLOR", "1")
        assert ended(started(terminal, server.url, "--once")) == (0, "")
        terminal.read_until("10 of 10, full")
        assert colours(terminal.text) == set()


def test_a_terminal_that_can_do_nothing_gets_snapshots(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with Server(a_page(a_pool())) as server:
        process = started(terminal, server.url, "--interval=0.1")
        terminal.read_until("0 of 10")
        process.send_signal(signal.SIGINT)
        assert ended(process) == (0, "")
    assert "\x1b" not in terminal.text


def test_without_a_terminal_it_prints_snapshots_and_errors_apart() -> None:
    with Server(error(404, "Not Found"), a_page(a_pool(queued=1)), a_page(a_pool(queued=2))) as server:
        process = subprocess.Popen(
            [*COMMAND, server.url, "--interval=0.1"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert process.stdout is not None
        lines = iter(process.stdout.readline, b"")
        assert any(b"] 1 of 10" in line for line in lines)
        assert any(b"] 2 of 10" in line for line in lines)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0
    assert b"\x1b" not in out
    assert re.fullmatch(rf"weirpool top \d\d:\d\d:\d\d: {server.url}: the answer is 404 Not Found\n", err.decode())


def test_a_reader_who_has_gone_ends_it() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with Server(a_page(a_pool())) as server:
        process = subprocess.Popen([*COMMAND, server.url], stdout=writing, stderr=subprocess.PIPE)
        os.close(writing)
        assert ended(process) == (141, "")


def test_ctrl_c_ends_a_single_snapshot_as_it_does_any_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(page_module, "ask", interrupted)
    assert main(["top", "http://127.0.0.1:1", "--once"]) == 130
    assert main(["top", "http://127.0.0.1:1"]) == 0


def test_the_view_fits_itself_to_a_terminal_that_changes_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    monkeypatch.setattr(sys, "stdin", None)  # as under some supervisors
    pages = [parsed(a_pool())]

    def a_page_or_an_error() -> Page:
        if not pages:
            console.size = ConsoleDimensions(40, 10)
            raise PageError("gone")
        return pages.pop()

    waits = iter([False, False, True])
    view = LiveView(console)
    really_wait = view.wait

    def wait(due: float) -> bool:
        really_wait(time.monotonic() + 0.01)
        console.size = ConsoleDimensions(50, 12)
        really_wait(time.monotonic() + 0.25)
        return next(waits)

    monkeypatch.setattr(view, "wait", wait)
    with view:
        watch(a_page_or_an_error, view, "http://pools", 1)
    assert view._size == (50, 12)
    assert re.fullmatch(r"gone \(the numbers are \d+ s old\)", view._scene.error)


def test_keys_are_heard_where_every_answer_takes_longer_than_the_interval(terminal: Terminal) -> None:
    view = LiveView(Console(file=io.StringIO(), force_terminal=True))
    view._keys = [terminal.slave]
    tty.setcbreak(terminal.slave)
    late = time.monotonic() - 1
    assert not view.wait(late)
    terminal.type(b"x")
    assert not view.wait(late)
    terminal.type(b"xQ")
    assert view.wait(late)


def test_a_terminal_whose_other_end_has_gone_ends_the_view(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    view = LiveView(Console(file=io.StringIO(), force_terminal=True))
    view._keys = [terminal.slave]
    monkeypatch.setattr("weirpool.top.watch.os.read", lambda file, size: b"")
    terminal.type(b"\n")
    assert view.wait(time.monotonic() + 20)


# What goes wrong --------------------------------------------------------------------------------------------------------


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run `weirpool top --once`, which must fail; return the one line that it says."""
    status, out, err = once(capsys, *arguments)
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (error(404, "Not Found"), "the answer is 404 Not Found"),
        (error(500, "Oh \x1b[31m no"), r"the answer is 500 Oh \x1b[31m no"),
        (b"<html>", "the answer is no status page: not JSON"),
        (b"\xff", "the answer is no status page: not JSON"),
        (b"[" * 100_000, "the answer is no status page: not JSON"),
        ([], "the answer is no status page: it must be an object, got []"),
        ({"at": 1}, "the answer is no status page: pools is missing"),
        (redirection("ftp://127.0.0.1/x"), "no connection: unknown url type: ftp"),
        (redirection("file:///etc/passwd"), "the answer is 302 "),
        (redirection("http://127.0.0.1:none/"), "no proper answer: nonnumeric port: 'none'"),
        (lambda handler: handler.wfile.write(b"SSH-2.0\r\n"), "no proper answer: SSH-2.0"),
        (lambda handler: None, "no proper answer: Remote end closed connection without response"),
    ],
)
def test_an_answer_that_is_none(capsys: pytest.CaptureFixture[str], answer: object, said: str) -> None:
    with Server(answer) as server:
        assert f"weirpool top: {server.url}: {said}" in fails(capsys, server.url)


def test_a_server_that_can_not_be_reached(capsys: pytest.CaptureFixture[str]) -> None:
    with Server() as server:
        pass
    assert f"{server.url}: no connection: Connection refused" in fails(capsys, server.url)


def test_a_server_that_takes_too_long(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def never(handler: Answering) -> None:
        handler.server.enough.wait(20)

    def in_parts(handler: Answering) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not handler.server.enough.wait(0.02):
            handler.wfile.write(b" ")

    for answer in (never, in_parts):
        with Server(answer) as server:
            assert "no answer within 0.1 s" in fails(capsys, server.url, "--timeout=0.1")

    def no_connection(*_: object, **__: object) -> None:
        raise TimeoutError

    monkeypatch.setattr("socket.create_connection", no_connection)
    assert "no answer within 5 s" in fails(capsys, server.url)


def test_an_answer_without_end_is_not_read_to_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "_LARGEST", 2**20)
    with Server(b" " * (2**20 + 1)) as server:
        assert "the answer is no status page: more than 1 MiB" in fails(capsys, server.url)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": 3}, "pools[0].name must be a text, got 3"),
        ({"paused": 0}, "pools[0].paused must be true or false, got 0"),
        ({"workers": True}, "pools[0].workers must be a number, got true"),
        ({"workers": -1}, "pools[0].workers must be a whole number, not negative, got -1"),
        ({"queued": 1.5}, "pools[0].queued must be a whole number, not negative, got 1.5"),
        ({"refused": None}, "pools[0].refused must be an object, got null"),
        ({"refused": {"\x1b": "1"}}, 'pools[0].refused.\\x1b must be a number, got "1"'),
        ({"run_time": 3}, "pools[0].run_time must be an object, got 3"),
        ({"run_time": TIMES | {"p50": float("nan")}}, "pools[0].run_time.p50 must be a number, got NaN"),
        ({"run_time": TIMES | {"p99": 10**400}}, "pools[0].run_time.p99 must be a number, got 1000"),
        ({"running_jobs": {}}, "pools[0].running_jobs must be a list, got {}"),
        ({"running_jobs": [JOB, 1]}, "pools[0].running_jobs[1] must be an object, got 1"),
        ({"running_jobs": [JOB | {"stack": [1]}]}, "pools[0].running_jobs[0].stack must be a text, got 1"),
        ({"failures": [{}]}, "pools[0].failures[0].type is missing"),
    ],
)
def test_json_that_is_no_status_page_is_refused_with_the_place(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(PageError) as raised:
        parsed(a_pool(**changes))
    assert str(raised.value).startswith(f"the answer is no status page: {said}")


def test_what_a_later_version_adds_does_no_harm() -> None:
    assert parsed(a_pool(colour="green", failures=[FAILURE | {"traceback": ""}])).pools[0].failures[0].said == ""


# Asking -----------------------------------------------------------------------------------------------------------------


def test_headers_are_sent_and_a_redirection_is_followed_but_takes_them_to_no_other_host(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = a_page(a_pool())
    with Server(page) as other, Server(redirection("/there"), page, redirection(other.url)) as server:
        arguments = (server.url, "--header=Authorization: Bearer a:b", "--header", "X-Team:mail")
        assert once(capsys, *arguments)[0] == 0
        assert once(capsys, *arguments)[0] == 0
    assert len(server.headers) == 3
    for headers in server.headers:
        assert (headers["authorization"], headers["x-team"]) == ("Bearer a:b", "mail")
    assert other.headers[0].keys().isdisjoint({"authorization", "x-team"})
    assert other.headers[0]["accept"] == "application/json"


def test_only_http_is_asked() -> None:
    with pytest.raises(PageError, match="no connection: unknown url type: file"):
        ask("file:///etc/passwd", {}, 1)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the command, which must refuse; return what it says."""
    try:
        status = main(["top", *arguments])
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    return err


@pytest.mark.parametrize(
    "url",
    [
        *["localhost:8000", "ftp://host/", "http://", "http:///x", "http://host:port/", "http://host:0/", "http://[::1/", ""],
        *["http://me:secret@host/", "http://host/a b", "http://größe/", "http://host/\n", "file:///etc/passwd"],
    ],
)
def test_an_address_that_is_none_is_refused(capsys: pytest.CaptureFixture[str], url: str) -> None:
    said = refused(capsys, url)
    assert "argument URL: must be an http:// or https:// address, " in said
    assert f"got {url!r}" in said


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        *[("--interval", value, "a number from 0.1 to 3,600") for value in ("0", "-1", "nan", "soon", "inf")],
        *[("--timeout", value, "a number from 0.1 to 3,600") for value in ("0", "later")],
        *[
            ("--header", value, "'NAME: VALUE' in printable ASCII characters")
            for value in ("", "x", "a b: c", "a:", "a: b\n", ": c")
        ],
    ],
)
def test_an_option_that_can_not_be_is_refused(
    capsys: pytest.CaptureFixture[str], option: str, value: str, allowed: str
) -> None:
    said = refused(capsys, "http://host/", f"{option}={value}")
    assert f"argument {option}: must be {allowed}, got {value!r}" in said


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["top", "--help"])
    assert exit_.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in ("URL", "--interval SECONDS", "--once", "--header 'NAME: VALUE'", "--timeout SECONDS"):
        assert part in text
    assert "A pool is in trouble when" in text
    assert "Exit status:" in text
    assert text.count("(default: ") == 4


def test_without_the_extra_it_says_how_to_get_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    assert refused(capsys, "http://host/") == "weirpool top: it needs rich: pip install 'weirpool[top]'\n"
