"""`weirpool map`: a function is called with each line of a file, and what it returns is written."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from weirpool.cli import main
from weirpool.mapping import _lines, _outputs, _run
from weirpool.mapping._lines import Line, Lines
from weirpool.mapping._outputs import Outputs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mapping.conftest import Command

pytestmark = pytest.mark.realtime


# Results ----------------------------------------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_items(command: Command) -> None:
    command.write("in", *range(10))
    assert command("work:later_first", "-i", "in", "-o", "out") == 0
    assert command.read("out") == [str(number) for number in range(10)]
    assert "10 done in " in command.said
    assert "0 failed" in command.said


def test_or_as_they_are_ready(command: Command) -> None:
    command.write("in", *range(10))
    assert command("work:later_first", "-i", "in", "-o", "out", "--unordered") == 0
    assert command.read("out") == [str(number) for number in reversed(range(10))]


def test_items_and_results_are_json_in_a_line_each(command: Command) -> None:
    command.write("in", '{"a": "ä"}', "[1, 2.5]", "null", '"text"')
    assert command("work:shop.fetch", "-i", "in", "-o", "out", "--quiet") == 0
    assert command.read("out") == ['{"item":{"a":"ä"}}', '{"item":[1,2.5]}', '{"item":null}', '{"item":"text"}']
    assert not command.said


def test_with_lines_an_item_is_the_text_of_a_line(command: Command) -> None:
    (command.directory / "in").write_bytes(b'\xef\xbb\xbfone\r\n\n  \n{"two"}\nthree')
    assert command("work:shop", "-i", "in", "-o", "out", "--lines") == 0
    assert command.read("out") == ['"one"', '"{\\"two\\"}"', '"three"']


def test_a_long_line_comes_in_several_reads(command: Command) -> None:
    text = "x" * 200_000
    (command.directory / "in").write_text(f"{text}\n{text}")
    assert command("work:double", "-i", "in", "-o", "out", "--lines") == 0
    assert command.read("out") == [f'"{text}{text}"'] * 2


@pytest.mark.parametrize("end", ["", "\n", "  "])
def test_the_last_line_may_end_anyhow(command: Command, end: str) -> None:
    (command.directory / "in").write_text(f"1\n2\n{end}")
    assert command("work:double", "-i", "in", "-o", "out") == 0
    assert command.read("out") == ["2", "4"]


def test_a_result_may_say_of_which_line_it_is(command: Command) -> None:
    command.write("in", 1, "", 2)
    assert command("work:double", "-i", "in", "-o", "out", "--numbered", "--failures", "failed") == 0
    assert command.read("out") == ['{"line":1,"result":2}', '{"line":3,"result":4}']


def test_an_empty_file_has_no_items(command: Command) -> None:
    command.write("in")
    assert command("work:double", "-i", "in", "-o", "out") == 0
    assert command.read("out") == []


async def test_lines_of_a_pipe_come_as_they_are_written_and_the_loop_is_not_held_up() -> None:
    ours, theirs = os.pipe()
    lines = Lines(ours, text=False, replay=False, is_done=lambda _: False, blank=lambda _: None)
    source: Any = lines.source()
    for number in range(3):
        asking = asyncio.ensure_future(anext(source))
        await asyncio.sleep(0.01)
        assert not asking.done()
        os.write(theirs, b"%d\n" % number)
        assert await asking == Line(number + 1, number)
    await source.aclose()

    source = lines.source()
    asking = asyncio.ensure_future(anext(source))
    await asyncio.sleep(0.01)
    lines.stop()
    lines.stop()
    with pytest.raises(StopAsyncIteration):
        await asking
    lines.stop()
    os.close(ours)
    os.close(theirs)


async def test_the_last_line_of_a_pipe_may_have_no_end() -> None:
    ours, theirs = os.pipe()
    lines = Lines(ours, text=True, replay=False, is_done=lambda _: False, blank=lambda _: None)
    os.write(theirs, b"first\nlast")
    os.close(theirs)
    source: Any = lines.source()
    assert [line.item async for line in source] == ["first", "last"]
    os.close(ours)


def test_what_was_in_the_output_before_is_gone_as_with_any_command(command: Command) -> None:
    command.write("in", 1)
    command.write("out", *range(100))
    assert command("work:double", "-i", "in", "-o", "out") == 0
    assert command.read("out") == ["2"]


@pytest.mark.parametrize("source", ["file", "pipe", "slow pipe", "null"])
def test_items_come_from_standard_input_and_results_go_to_standard_output(here: Path, source: str) -> None:
    (here / "in").write_text("".join(f"{number}\n" for number in range(5000)))
    commands = {
        "file": "<in",
        "null": "</dev/null",
        "pipe": "<in cat |",
        "slow pipe": "(head -2500 in; sleep 0.3; tail -2500 in) |",
    }
    before, after = (commands[source], "") if source.endswith("pipe") else ("", commands[source])
    line = f"{before} {sys.executable} -m weirpool map work:plain {after}"
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=here, check=True)
    assert ran.stdout.splitlines() == [f"[{number}]" for number in range(5000 if source != "null" else 0)]
    assert ran.stderr.count("this is not a result") == (5000 if source != "null" else 0)


@pytest.mark.parametrize("options", [["-i", "-", "-o", "-"], ["--input=-", "--output=-"]])
def test_a_dash_is_standard_input_and_output_as_in_other_commands(here: Path, options: list[str]) -> None:
    asked = [sys.executable, "-m", "weirpool", "map", "work:double", *options]
    ran = subprocess.run(asked, input="1\n2\n", capture_output=True, text=True, cwd=here, check=True)
    assert ran.stdout == "2\n4\n"


# Functions --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "result"),
    [("work:double", "4"), ("work:plain", "[2]"), ("work:shop", "2"), ("work:shop.fetch", '{"item":2}'), ("work:triple", "6"),
     ("work:sixfold", "12"), ("math:sqrt", "1.4142135623730951")],
)  # fmt: skip
def test_async_functions_and_plain_ones_and_whatever_else_can_be_called(command: Command, function: str, result: str) -> None:
    command.write("in", 2, "no json")
    assert command(function, "-i", "in", "-o", "out") == 1
    assert command.read("out") == [result]


def test_what_a_plain_function_raises_in_its_thread_is_a_failure_of_that_item(command: Command) -> None:
    command.write("in", 4, -1, 9)
    assert command("math:sqrt", "-i", "in", "-o", "out") == 1
    assert command.read("out") == ["2.0", "3.0"]
    assert "line 2: ValueError: " in command.said


def test_plain_functions_may_run_in_processes(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    command.write("in", *range(4))
    assert command("work:process_id", "-i", "in", "-o", "out", "--processes", "-w", 2) == 0
    assert len(set(command.read("out"))) <= 2
    assert str(os.getpid()) not in command.read("out")


def test_the_call_that_is_made_in_a_process(here: Path) -> None:
    from weirpool.mapping._function import Call

    line = _lines.Line(1, 5)
    assert Call("work:plain", str(here))(line) == (line, [5])
    bad = _lines.BadLine(2, "", "")
    assert Call("work:plain", str(here))(bad) == (bad, None)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("work", "FUNCTION must be module:name, as in shop.prices:fetch, got 'work'"),
        ("work:", "FUNCTION must be module:name"),
        ("work:a-b", "FUNCTION must be module:name"),
        ("nowhere:double", "FUNCTION: can't import 'nowhere': ModuleNotFoundError: No module named 'nowhere'"),
        ("broken:double", "FUNCTION: can't import 'broken': ZeroDivisionError: division by zero"),
        ("leaving:double", "FUNCTION: can't import 'leaving': SystemExit: 0"),
        ("work:nothing", "FUNCTION: 'work:nothing': there is no 'nothing' in <module 'work'"),
        ("work:shop.nothing", "FUNCTION: 'work:shop.nothing': there is no 'nothing' in <work.Shop"),
        ("work:number", "FUNCTION must name a function, and 'work:number' is 3"),
    ],
)
def test_what_is_no_function_is_refused(command: Command, function: str, message: str) -> None:
    command.write("broken.py", "1 / 0")
    command.write("leaving.py", "import sys", "sys.exit(0)")
    command.write("out", "precious")
    assert command(function, "-i", "out", "-o", "other") == 2
    assert f"weirpool map: {message}" in command.said
    assert command.read("out") == ["precious"]


def test_an_async_function_needs_no_processes(command: Command) -> None:
    assert command("work:double", "-i", "work.py", "--processes") == 2
    assert "--processes is for plain functions, and 'work:double' is an async one" in command.said


# Failures ---------------------------------------------------------------------------------------------------------------


def test_items_that_fail_are_written_to_a_file_of_their_own_and_can_be_done_again(command: Command) -> None:
    command.write("in", *range(10, 16))
    assert command("work:odd_fails", "-i", "in", "-o", "out", "--failures", "failed") == 1
    assert command.read("out") == ["10", "12", "14"]
    entries = [json.loads(line) for line in command.read("failed")]
    assert [(entry["line"], entry["item"]) for entry in entries] == [(2, 11), (4, 13), (6, 15)]
    assert (entries[0]["error"], entries[0]["message"]) == ("ValueError", "11 is odd")
    assert "work.py:" in entries[0]["where"]
    assert "3 failed" in command.said
    assert "11 is odd" not in command.said

    assert command("work:odd_fails", "-i", "failed", "--replay", "-o", "again", "--failures", "failed again") == 1
    assert [json.loads(line)["line"] for line in command.read("failed again")] == [2, 4, 6]
    command.write("none", '{"item": NaN}', "[]", '{"line": 1}')
    assert command("work:double", "-i", "none", "--replay", "-o", "again") == 1
    assert command.said.count("BadLine: ValueError: ") == 3
    assert command("work:double", "-i", "failed", "--replay", "-o", "again") == 0
    assert command.read("again") == ["22", "26", "30"]


def test_without_such_a_file_the_first_of_them_are_said(command: Command) -> None:
    command.write("in", *range(30))
    assert command("work:odd_fails", "-i", "in", "-o", "out") == 1
    assert command.said.count(" is odd") == 5
    assert "weirpool map: line 2: ValueError: 1 is odd" in command.said
    assert "--failures FILE has all of them" in command.said


def test_few_of_them_are_all(command: Command) -> None:
    command.write("in", 1)
    assert command("work:odd_fails", "-i", "in", "-o", "out") == 1
    assert "--failures FILE" not in command.said


def test_a_line_that_is_none_is_a_failure_with_its_number(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lines, "MOST", 1000)
    long = b"[" + b"1," * 100_000 + b"1]"
    (command.directory / "in").write_bytes(b"1\n{no json\n\xff\xfe\nNaN\n" + long + b"\n" + b"[" * 999 + b"\n2\n")
    assert command("work:double", "-i", "in", "-o", "out", "--failures", "failed") == 1
    assert command.read("out") == ["2", "4"]
    entries = [json.loads(line) for line in command.read("failed")]
    assert [(entry["line"], entry["error"]) for entry in entries] == [
        (2, "BadLine"),
        (3, "BadLine"),
        (4, "BadLine"),
        (5, "BadLine"),
        (6, "BadLine"),
    ]
    assert entries[0]["text"] == "{no json"
    assert entries[0]["message"].startswith("JSONDecodeError: ")
    assert entries[1]["message"].startswith("UnicodeDecodeError: ")
    assert entries[2]["message"] == "ValueError: NaN is no JSON"
    assert entries[3]["message"] == "ValueError: a line of more than 1,000 bytes"
    assert command("work:double", "-i", "failed", "--replay", "-o", "again") == 1
    assert 'no failure as --failures writes it, an object with "item"' in command.said


@pytest.mark.parametrize(
    ("what", "error"),
    [("set", "TypeError"), ("nan", "ValueError"), ("surrogate", "UnicodeEncodeError"), ("deep", "RecursionError")],
)
def test_a_result_that_json_has_not_is_a_failure(command: Command, what: str, error: str) -> None:
    command.write("in", json.dumps(what))
    assert command("work:no_json", "-i", "in", "-o", "out", "--failures", "failed") == 1
    assert [json.loads(line)["error"] for line in command.read("failed")] == [error]
    assert command.read("out") == []


def test_an_item_is_what_it_was_whatever_the_function_has_made_of_it(command: Command) -> None:
    command.write("in", '{"a": 1}', "[1]")
    assert command("work:spoil", "-i", "in", "-o", "out", "--failures", "failed") == 1
    assert [json.loads(line)["item"] for line in command.read("failed")] == [{"a": 1}, [1]]
    assert command("work:spoil", "-i", "failed", "--replay", "-o", "out", "--failures", "failed again") == 1
    assert [json.loads(line)["item"] for line in command.read("failed again")] == [{"a": 1}, [1]]


def test_a_result_whose_own_methods_fail_is_a_failure(command: Command) -> None:
    command.write("in", 1)
    assert command("work:trapped", "-i", "in", "-o", "out") == 1
    assert "line 1: RuntimeError: " in command.said


def test_a_bug_of_the_command_is_no_failure_of_items(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    command.write("in", 1)
    monkeypatch.setattr(_run, "run", lambda *_: 1 / 0)
    assert command("work:double", "-i", "in", "-o", "out") == 70
    assert "ZeroDivisionError" in command.said


@pytest.mark.parametrize("lines", [["no json"] * 5000, ["no json", ""] * 5000])
def test_lines_that_are_none_count_for_max_failures_and_keep_nothing_waiting(command: Command, lines: list[str]) -> None:
    command.write("in", *lines)
    assert command("work:double", "-i", "in", "-o", "out", "--failures", "failed", "--max-failures", 1, "-w", 2) == 3
    assert len(command.read("failed")) < 20


@pytest.mark.parametrize("function", ["work:plain_by_wraps", "work:async_by_wraps"])
def test_what_a_function_wraps_does_not_matter(command: Command, function: str) -> None:
    command.write("in", 1)
    assert command(function, "-i", "in", "-o", "out") == 0
    assert command.read("out") == ["2"]


@pytest.mark.parametrize("options", [["-w", "5"], ["--processes", "-w", "1"]])
def test_what_the_function_starts_neither_reads_the_items_nor_writes_among_the_results(here: Path, options: list[str]) -> None:
    line = f"seq 3000 | {sys.executable} -m weirpool map loud:starts {' '.join(options)}"
    (here / "loud.py").write_text("print('imported')\nfrom work import starts\n")
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=here, check=True)
    assert ran.stdout.splitlines() == [str(number) for number in range(1, 3001)]
    assert "imported" in ran.stderr
    assert "a child" in ran.stderr


@pytest.mark.parametrize(("closed", "name"), [("<&-", "input"), ("<in >&-", "output")])
def test_a_standard_stream_that_is_closed_is_said_to_be(here: Path, closed: str, name: str) -> None:
    (here / "in").write_text("1\n")
    line = f"{sys.executable} -m weirpool map work:double {closed}"
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=here, check=False)
    assert ran.returncode == 2
    assert f"weirpool map: standard {name} is closed: use --{name} FILE" in ran.stderr


def test_standard_output_may_be_one_that_does_not_block() -> None:
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    outputs = Outputs(theirs, None, None)
    reader = threading.Thread(target=lambda: [os.read(ours, 65536) for _ in range(6)])
    data = b"x" * 300_000
    reader.start()
    outputs._write([data, b""], b"")
    os.close(theirs)
    reader.join()
    os.close(ours)


@pytest.mark.parametrize(("function", "said"), [("work:leave", "sys.exit('enough')"), ("work:leave_thread", "sys.exit(3)")])
def test_a_function_that_wants_to_leave_ends_its_item_and_not_the_command(command: Command, function: str, said: str) -> None:
    command.write("in", 0, 1, 0)
    assert command(function, "-i", "in", "-o", "out") == 1
    assert f"line 2: Exited: {said}" in command.said
    assert command.read("out") == ["null", "null"]


def test_an_exception_may_be_a_trap(command: Command) -> None:
    command.write("in", 1)
    assert command("work:trap", "-i", "in", "-o", "out") == 1
    assert "line 1: Trap: (its message can't be shown)" in command.said


def test_an_item_may_take_so_long_and_no_longer(command: Command) -> None:
    command.write("in", 0, 1, 0)
    assert command("work:hang", "-i", "in", "-o", "out", "--timeout", 0.1) == 1
    assert command.read("out") == ["0", "0"]
    assert "line 2: JobTimeout: " in command.said


def test_an_item_that_has_failed_is_tried_again_however_many_have(command: Command) -> None:
    command.write("in", *range(60))
    assert command("work:second_time", "-i", "in", "-o", "out", "--retries", 1, "-w", 60) == 0
    assert command.read("out") == [*map(str, range(60))]


def test_so_many_items_start_in_a_second(command: Command) -> None:
    command.write("in", *range(10))
    since = time.monotonic()
    assert command("work:double", "-i", "in", "-o", "out", "--rate", 20) == 0
    assert time.monotonic() - since > 0.35


@pytest.mark.parametrize("source", ["in", "pipe"])
def test_it_stops_when_so_many_have_failed(command: Command, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command.write("in", *range(10_000))
    arguments = ["work:odd_fails", "-o", "out", "--max-failures", 3, "-w", 2, "--failures", "failed"]
    if source == "in":
        assert command(*arguments, "-i", "in") == 3
    else:
        with subprocess.Popen(["cat", "in"], stdout=subprocess.PIPE) as cat:
            monkeypatch.setattr(sys, "stdin", cat.stdout)
            assert command(*arguments) == 3
    assert 3 <= len(command.read("failed")) < 10
    assert "weirpool map: stopped after 3 failures (--max-failures)" in command.said


@pytest.mark.complains
def test_it_stops_when_too_many_ignore_their_timeout(command: Command) -> None:
    command.write("in", *range(100))
    assert command("work:swallow", "-i", "in", "-o", "out", "-w", 1, "--timeout", 0.05, "--shutdown-timeout", 0.1) == 3
    assert "weirpool map: stopped: " in command.said


# Ends -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "status"), [("work:interrupt_at_3", 130), ("work:terminate_at_3", 143)])
def test_a_signal_reads_no_more_and_finishes_what_has_begun(command: Command, function: str, status: int) -> None:
    command.write("in", *range(1000))
    assert command(function, "-i", "in", "-o", "out", "-w", 2) == status
    results = command.read("out")
    assert results == [str(number) for number in range(len(results))]
    assert 4 <= len(results) < 20
    assert "no more items are read; what has begun is finished (once more: it is cancelled)" in command.said


def test_a_rate_does_not_hold_up_the_end(command: Command) -> None:
    command.write("in", 3, *range(4, 100))
    since = time.monotonic()
    assert command("work:interrupt_at_3", "-i", "in", "-o", "out", "--rate", 0.1) == 130
    assert time.monotonic() - since < 5
    assert command.read("out") == ["3"]


@pytest.mark.complains
def test_a_second_one_cancels_that_which_then_counts_as_not_done(command: Command) -> None:
    command.write("in", *range(1000))
    since = time.monotonic()
    arguments = ["work:interrupt_twice_at_3", "-i", "in", "-o", "out", "-w", 2, "--unordered", "--failures", "failed"]
    assert command(*arguments) == 130
    assert time.monotonic() - since < 10
    assert command.read("failed") == []
    assert "3" not in command.read("out")


@pytest.mark.complains
def test_what_has_begun_may_take_so_long(command: Command) -> None:
    command.write("in", *range(3), 3, *range(4, 100))
    command.write(
        "hang.py",
        "import work",
        "async def hang(item):",
        "    await work.interrupt_at_3(item)",
        "    return await work.hang(item)",
    )
    since = time.monotonic()
    assert command("hang:hang", "-i", "in", "-o", "out", "-w", 4, "--shutdown-timeout", 0.2) == 130
    assert time.monotonic() - since < 5
    sys.modules.pop("hang")


def test_ctrl_c_while_it_waits_for_input_ends_it(here: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "weirpool", "map", "work:double"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=here,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("1\n")
        process.stdin.flush()
        assert process.stdout.readline() == "2\n"  # though no more comes, and nothing has ended
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_who_reads_the_results_may_go(here: Path) -> None:
    (here / "in").write_text("".join(f"{number}\n" for number in range(100_000)))
    line = f"set -o pipefail; {sys.executable} -m weirpool map work:double -q <in | head -2"
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=here, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (141, "0\n2\n", "")


def test_a_disk_that_is_full_stops_it(command: Command) -> None:
    command.write("in", *range(1000))
    assert command("work:double", "-i", "in", "-o", "/dev/full") == 3
    assert "weirpool map: can't write: [Errno 28] No space left on device" in command.said


def test_results_are_written_as_they_come_where_there_are_many(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_outputs, "_MANY", 100)
    command.write("in", *range(1000))
    assert command("work:double", "-i", "in", "-o", "out") == 0
    assert len(command.read("out")) == 1000


# Options ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", 0], 'Invalid value "0" for --workers. must be a number of items from 1 to 1,000,000, got 0'),
        (["--workers", "x"], 'Invalid value for --workers: unable to convert "x" into int.'),
        (["--timeout", 0], "must be a number of seconds above 0 and at most 1,000,000,000, got 0"),
        (["--timeout", "nan"], "must be a number of seconds above 0 and at most 1,000,000,000, got nan"),
        (["--rate", -1], "must be a number of items per second from 1e-06 to 1,000,000, got -1"),
        (["--retries", -1], "must be a number of attempts from 0 to 1,000, got -1"),
        (["--max-failures", 0], "must be a number of items from 1 to 1,000,000,000, got 0"),
        (["--total", 0], "must be a number of items from 1 to 1,000,000,000,000, got 0"),
        (["--wokers", 1], "Unknown option: --wokers. Did you mean --workers?"),
        (["-i", "nowhere"], "--input: [Errno 2] No such file or directory: 'nowhere'"),
        (["-i", "in", "-o", "in"], "--output: in is the input, too"),
        (["-i", "in", "-o", "out", "--failures", "./out"], "--failures: out is --output, too"),
        (["-i", "in", "-o", "nowhere/out"], "--output: [Errno 2] No such file or directory: 'nowhere/out'"),
        (["-i", "."], "--input: . is a directory"),
        (["-i", "--lines"], "Invalid value for -i: FILE is missing, or is './--lines' meant?"),
        (["--\x1b[2J"], "Unknown option: --\\x1b[2J"),
        (["-i", "j.new", "-o", "out", "--journal", "j"], "--journal, while it is written anew: j.new is the input, too"),
        (["-i", "in", "-o", "out", "--journal", "null"], "--journal: null is no regular file"),
        (
            ["-i", "in", "--lines", "--replay"],
            "--replay reads failures, which are JSON, whatever the items are: leave out --lines",
        ),
        (
            ["-i", "in", "-o", "precious", "--failures", "nowhere/f"],
            "--failures: [Errno 2] No such file or directory: 'nowhere/f'",
        ),
        (["-i", "in", "--journal", "j"], "--journal needs --output FILE: a shell's > FILE would empty the file"),
        (["-i", "in", "-o", "out", "--journal", "nowhere/j"], "--journal: [Errno 2] No such file or directory: 'nowhere/j'"),
    ],
)
def test_bad_input_is_refused_before_anything_changes(command: Command, arguments: list[object], message: str) -> None:
    command.write("in", 1)
    command.write("j.new", 1)
    command.write("precious", "this")
    os.mkfifo("null")
    assert command("work:double", *(["-i", "in"] if "-i" not in arguments else []), *arguments) == 2
    assert command.said.startswith("weirpool map: ")
    assert message in command.said
    assert (command.read("in"), command.read("j.new"), command.read("precious")) == (["1"], ["1"], ["this"])


def test_standard_output_is_none_of_the_other_files(here: Path) -> None:
    (here / "in").write_text("1\n")
    line = f"{sys.executable} -m weirpool map work:double -i in --failures both > both"
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=here, check=False)
    assert (ran.returncode, ran.stderr) == (2, "weirpool map: --failures: both is standard output, too\n")


def test_without_a_function_it_says_so(command: Command) -> None:
    assert command() == 2
    assert "FUNCTION" in command.said


def test_help_says_how_it_ends_and_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", "--help"]) == 0
    said = capsys.readouterr().out
    for part in ("Exit status: 0 all items", "Ctrl-C", "--journal", "weirpool map prices:fetch < products.jsonl"):
        assert part in said
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "map" in capsys.readouterr().out


def test_help_that_nobody_reads_ends_quietly(here: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    asked = [sys.executable, "-m", "weirpool", "map", "--help"]
    ran = subprocess.run(asked, stdout=theirs, stderr=subprocess.PIPE, text=True, cwd=here, check=False)
    os.close(theirs)
    assert (ran.returncode, ran.stderr) == (141, "")


def test_help_for_which_there_is_no_room_says_so(here: Path) -> None:
    line = f"{sys.executable} -m weirpool map --help > /dev/full"
    ran = subprocess.run(["bash", "-c", line], stderr=subprocess.PIPE, text=True, cwd=here, check=False)
    assert (ran.returncode, ran.stderr) == (3, "weirpool map: can't write: [Errno 28] No space left on device\n")


def test_without_cyclopts_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["map", "--help"]) == 2
    assert capsys.readouterr().err == "weirpool map: it needs cyclopts, tenacity, aiolimiter: pip install 'weirpool[cli]'\n"


# A terminal -------------------------------------------------------------------------------------------------------------


def test_on_a_terminal_there_is_one_line_that_changes(here: Path) -> None:
    (here / "in").write_text("".join(f"{number}\n" for number in range(40)))
    try:
        ours, theirs = pty.openpty()
    except OSError:
        pytest.skip("there are no pseudo-terminals here")
    with subprocess.Popen(
        [sys.executable, "-m", "weirpool", "map", "work:slow", "-i", "in", "-o", "out", "-w", "8", "--total", "40"],
        stdin=subprocess.DEVNULL,
        stderr=theirs,
        cwd=here,
        env={**os.environ, "COLUMNS": "80"},
    ) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                chunk: Any = os.read(ours, 4096)
            except OSError:  # it has ended
                break
            shown += chunk
        os.close(ours)
        assert process.wait(20) == 0
    *lines, last = shown.decode().replace("\r\n", "\n").rstrip("\n").split("\r")
    assert len(lines) >= 3
    assert all(line.endswith("\x1b[K") and len(line) < 84 for line in lines if line)
    assert any("of 40 (" in line and "left, 0 failed, 8 running" in line for line in lines)
    assert last.startswith("\x1b[K40 done in ")
