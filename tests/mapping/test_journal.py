"""The journal of `weirpool map`: whenever the command is ended, the same one goes on, and nothing is lost or there twice."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from weirpool.mapping import _progress
from weirpool.mapping._errors import CommandError
from weirpool.mapping._journal import Journal, Ranges
from weirpool.mapping._lines import Line
from weirpool.mapping._outputs import Outputs

if TYPE_CHECKING:
    from tests.mapping.conftest import Command

pytestmark = pytest.mark.realtime

JOB = ["-i", "in", "-o", "out", "--failures", "failed", "--journal", "journal", "-w", 2]


def done(path: Path) -> set[int]:
    """Return the lines of which a journal says that they are done."""
    numbers = set()
    *lines, _torn = path.read_text().split("\n")
    for line in lines[1:]:
        for first, last in json.loads(line)["done"]:
            numbers |= set(range(first, last + 1))
    return numbers


def test_the_same_command_goes_on_where_it_was_ended(command: Command) -> None:
    command.write("in", *range(100))
    assert command("work:interrupt_at_3", *JOB) == 130
    before = command.read("out")
    assert 3 < len(before) < 50
    command.write("work.py", "called = []", "async def interrupt_at_3(item):", "    called.append(item)", "    return item")
    sys.modules.pop("work")
    assert command("work:interrupt_at_3", *JOB) == 0
    assert command.read("out") == [str(number) for number in range(100)]
    assert sys.modules["work"].called == list(range(len(before), 100))


def test_progress_goes_on_where_it_was_as_well(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    command.write("in", *range(40))
    arguments = ["work:interrupt_at_3", *JOB, "--total", 40]
    assert command(*arguments) == 130
    before = len(command.read("out"))
    monkeypatch.setattr(_progress, "_SELDOM", 0.01)
    assert command(*arguments) == 0
    shown = [int(number) for number in re.findall(r"^(\d+) of 40 ", command.said, re.MULTILINE)]
    assert 0 < before <= min(shown)
    assert f"{40 - before} done in " in command.said


def test_when_all_is_done_nothing_is_done_again_and_the_status_is_the_same(command: Command) -> None:
    command.write("in", *range(10))
    assert command("work:odd_fails", *JOB) == 1
    before = command.read("out"), command.read("failed")
    assert command("work:odd_fails", *JOB) == 1
    assert (command.read("out"), command.read("failed")) == before
    assert "0 done in " in command.said


@pytest.mark.complains
@pytest.mark.parametrize("order", [[], ["--unordered"]], ids=["ordered", "unordered"])
def test_what_is_cut_off_has_not_failed_whatever_the_function_makes_of_that(command: Command, order: list[str]) -> None:
    command.write("in", *range(4))
    arguments = ["work:turned", *JOB[:-1], 4, *order]
    assert command(*arguments) == 130
    assert command.read("out") == []
    assert [json.loads(line)["message"] for line in command.read("failed")] == ["one"]  # which waited for 0, if in order
    assert done(Path("journal")) == {2}
    command.write("work.py", "async def turned(item):", "    return item")
    sys.modules.pop("work")
    assert command(*arguments) == 1
    assert command.read("out") == ["0", "2", "3"]
    assert len(command.read("failed")) == 1


@pytest.mark.complains
def test_nor_has_what_is_cut_off_in_a_thread(command: Command) -> None:
    command.write("in", *range(3))
    assert command("work:turned_in_threads", *JOB[:-1], 3) == 130
    assert command.read("failed") == []
    assert done(Path("journal")) == set()


@pytest.mark.complains
@pytest.mark.parametrize(
    ("function", "status"),
    [("work:interrupt_itself", 130), ("work:interrupt_thread", 130), ("work:leave_by_a_task", 3)],
)
def test_what_is_done_is_written_also_where_the_function_ends_the_run(command: Command, function: str, status: int) -> None:
    command.write("in", *range(10))
    arguments = [function, *JOB[:-1], 1]
    assert command(*arguments) == status
    assert command.read("out") == ["0", "1", "2"]
    assert command.read("failed") == []
    assert done(Path("journal")) == {1, 2, 3}


def test_a_file_that_has_grown_is_gone_on_with(command: Command) -> None:
    command.write("in", *range(10))
    assert command("work:double", *JOB) == 0
    command.write("in", *range(20))
    assert command("work:double", *JOB) == 0
    assert command.read("out") == [str(2 * number) for number in range(20)]


def test_what_the_journal_does_not_know_of_is_cut_off_and_a_torn_line_counts_for_nothing(command: Command) -> None:
    command.write("in", *range(10))
    assert command("work:double", *JOB) == 0
    command.write("in", *range(12))
    for name in ("out", "failed", "journal"):
        with Path(name).open("a") as file:
            file.write('{"done":[[11,12]],"fai')
    assert command("work:double", *JOB) == 0
    assert command.read("out") == [str(2 * number) for number in range(12)]
    assert command.read("failed") == []


def test_its_size_is_bounded_by_what_one_run_adds(command: Command) -> None:
    command.write("in", *range(10))
    for _ in range(5):
        assert command("work:double", *JOB) == 0
    assert len(command.read("journal")) == 2
    assert done(Path("journal")) == set(range(1, 11))


def test_items_from_a_pipe_are_gone_on_with_as_well(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    command.write("in", *range(100))
    for status in (130, 0):
        with subprocess.Popen(["cat", "in"], stdout=subprocess.PIPE) as cat:
            monkeypatch.setattr(sys, "stdin", cat.stdout)
            assert command("work:interrupt_at_3", *JOB[2:]) == status
    assert command.read("out") == [str(number) for number in range(100)]


OTHER = "--journal: journal belongs to another input, or this one has changed; it may grow, and no more"


@pytest.mark.parametrize("resumed", ["pipe", "file"])
@pytest.mark.parametrize("begun", ["pipe", "file"])
def test_another_input_is_refused_also_where_one_of_them_is_a_pipe(
    command: Command, monkeypatch: pytest.MonkeyPatch, begun: str, resumed: str
) -> None:
    def ran(lines: list[int], source: str) -> int:
        command.write("in", *lines)
        if source == "file":
            return command("work:double", *JOB)
        with subprocess.Popen(["cat", "in"], stdout=subprocess.PIPE) as cat:
            monkeypatch.setattr(sys, "stdin", cat.stdout)
            return command("work:double", *JOB[2:])

    assert ran(list(range(10)), begun) == 0
    for other in ([*range(9), 10], list(range(5)), []):
        assert ran(other, resumed) == 2
        assert OTHER in command.said
        assert command.read("out") == [str(2 * number) for number in range(10)]
    for grown in (20, 30):  # and once more, when the journal has been written anew
        assert ran(list(range(grown)), resumed) == 0
        assert command.read("out") == [str(2 * number) for number in range(grown)]
    assert ran([1], resumed) == 2


def test_after_a_run_without_any_input_each_is_the_right_one(command: Command) -> None:
    command.write("in", 1)
    assert command("work:double", "-i", "/dev/null", *JOB[2:]) == 0
    assert command("work:double", *JOB) == 0
    assert command.read("out") == ["2"]


def test_what_is_compared_may_come_in_pieces(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("in").write_text("1\n2\n")
    with Path("in").open() as file:
        journal = Journal(here / "journal", {}, file.fileno())
        journal.begin()
        journal.close()
    ours, theirs = os.pipe()
    os.write(theirs, b"1\n2\n3\n")
    read = os.read
    with monkeypatch.context() as slow:
        slow.setattr(os, "read", lambda file, most: read(file, min(most, 1)))
        journal = Journal(here / "journal", {}, ours)
    assert journal.head == b"1\n2\n"
    assert os.read(ours, 100) == b"3\n"
    journal.close()
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("function", "--journal: journal belongs to a call with function 'work:double', and this has 'work:shop'"),
        ("lines", "--journal: journal belongs to a call with lines False, and this has True"),
        ("output", "--journal: journal belongs to a call with output '"),
        ("other input", "--journal: journal belongs to another input, or this one has changed; it may grow, and no more"),
        ("shorter input", "--journal: journal belongs to another input"),
        ("short output", "--output: out is shorter than the journal says (2 of 25 bytes)"),
        ("no journal", "--journal: journal is no journal of this command; it was left as it is"),
        ("one line", "--journal: journal is no journal of this command; it was left as it is"),
        ("torn header", "--journal: journal is no journal of this command; it was left as it is"),
        ("new journal", "--output: out is not empty, and the journal says nothing of it: move one of them away"),
        ("in use", "--journal: journal is in use by another process"),
    ],
)
def test_a_journal_of_something_else_is_refused_and_nothing_changed(command: Command, change: str, message: str) -> None:
    command.write("in", *range(10))
    assert command("work:double", *JOB) == 0
    arguments = ["work:double", *JOB]
    match change:
        case "function":
            arguments[0] = "work:shop"
        case "lines":
            arguments.append("--lines")
        case "output":
            arguments[4] = "other"
        case "other input":
            command.write("in", *range(1, 20))
        case "shorter input":
            command.write("in", *range(9))
        case "short output":
            command.write("out", 1)
        case "no journal":
            command.write("journal", "dear diary", "today I have")
        case "one line":
            command.write("journal", command.read("journal")[0])
        case "torn header":
            Path("journal").write_text("dear di")
        case "new journal":
            Path("journal").unlink()
        case _:
            lock = os.open("journal", os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX)
    before = {name: command.read(name) for name in ("out", "failed", "in")}
    for _ in range(2):
        assert command(*arguments) == 2
        assert f"weirpool map: {message}" in command.said
    assert {name: command.read(name) for name in ("out", "failed", "in")} == before
    if change == "in use":
        os.close(lock)


def test_who_opens_it_while_another_writes_it_anew_does_not_have_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = here / "journal"
    lock = fcntl.flock

    def late(file: int, how: int) -> None:
        path.with_name("new").write_text("")
        path.with_name("new").replace(path)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(CommandError, match="in use by another process"):
        Journal(path, {}, 0)


def test_a_file_that_has_grown_in_the_midst_of_a_line_is_refused(command: Command) -> None:
    Path("in").write_text("1\n2")
    assert command("work:double", *JOB) == 0
    Path("in").write_text("1\n23\n4\n")
    assert command("work:double", *JOB) == 2
    assert "--journal: the input has grown in the midst of a line" in command.said


def test_lines_without_an_item_are_done_as_well(command: Command) -> None:
    command.write("in", *["", 1, "  ", "no json"] * 50)
    assert command("work:double", *JOB) == 1
    assert command("work:double", *JOB) == 1
    assert len(command.read("journal")) == 2
    assert json.loads(command.read("journal")[1])["done"] == [[1, 200]]


@pytest.mark.parametrize("room", [0, 10])
def test_a_disk_without_room_for_it_leaves_the_journal_as_it_is(
    command: Command, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    command.write("in", *range(10))
    assert command("work:double", *JOB) == 0
    before = command.read("journal")
    write, left = os.write, room

    def nearly_full(file: int, data: Any) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(file, bytes(data)[:left])
        left -= written
        return written

    with monkeypatch.context() as full:
        full.setattr(os, "write", nearly_full)
        assert command("work:double", *JOB) == 2
    assert "--journal: [Errno 28] No space left on device" in command.said
    assert command.read("journal") == before
    assert not Path("journal.new").exists()


def test_numbers_are_held_as_ranges() -> None:
    numbers = list(range(1, 200))
    random.Random(1).shuffle(numbers)
    ranges = Ranges()
    for number in numbers:
        assert number not in ranges
        ranges.add(number)
        ranges.add(number)
        assert number in ranges
    assert ranges.pairs() == [[1, 199]]
    assert len(ranges) == 199
    ranges.add(202)
    ranges.add(203)
    ranges.add(205)
    assert ranges.pairs() == [[1, 199], [202, 203], [205, 205]]
    assert len(ranges) == 202


@pytest.mark.parametrize("steps", range(8))
async def test_who_is_cancelled_while_results_are_written_takes_none_of_them_with_him(here: Path, steps: int) -> None:
    file = os.open("out", os.O_WRONLY | os.O_CREAT)
    journal = Journal(here / "journal", {}, 0)
    journal.begin()
    outputs = Outputs(file, None, journal)
    outputs.succeed(Line(1, None), "first")
    writing = asyncio.create_task(outputs.keep_writing())
    flushing = asyncio.create_task(outputs.flush())
    for _ in range(steps):
        await asyncio.sleep(0)
    writing.cancel()
    flushing.cancel()
    await asyncio.wait([writing, flushing])
    outputs.succeed(Line(2, None), "second")
    await outputs.flush()
    assert (here / "out").read_text() == '"first"\n"second"\n'
    assert done(here / "journal") == {1, 2}
    os.close(file)
    journal.close()


async def test_after_a_write_that_has_failed_nothing_is_written_even_if_there_is_room_again(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the journal would count what has come to nothing, and the output have a gap there."""
    file = os.open("out", os.O_WRONLY | os.O_CREAT)
    journal = Journal(here / "journal", {}, 0)
    journal.begin()
    outputs = Outputs(file, None, journal)

    def full(file: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    outputs.succeed(Line(1, None), "first")
    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            await outputs.flush()
    outputs.succeed(Line(2, None), "second")
    with pytest.raises(OSError, match="No space left"):
        await outputs.flush()
    assert (here / "out").read_text() == ""
    assert done(here / "journal") == set()
    os.close(file)
    journal.close()


@pytest.mark.parametrize("order", ["ordered", "unordered"])
def test_killed_at_ten_moments_and_resumed_no_result_is_missing_and_none_there_twice(here: Path, order: str) -> None:
    """By SIGKILL, which no process can do anything about; and what the journal says is done is not done again."""
    items = 3000
    (here / "in").write_text("".join(f"{number}\n" for number in range(1, items + 1)))
    moments = random.Random(order)
    line = [
        sys.executable,
        "-m",
        "weirpool",
        "map",
        "work:noted",
        *JOB[:-1],
        "20",
        *(["--unordered"] if order == "unordered" else []),
    ]
    journal, called = here / "journal", here / "called"
    called.touch()
    killed = 0
    while True:
        known = done(journal) if journal.exists() else set()
        before = len(called.read_text().splitlines())
        with subprocess.Popen(list(map(str, line)), cwd=here, stderr=subprocess.DEVNULL) as process:
            if killed < 10:
                while len(called.read_text().splitlines()) == before:
                    time.sleep(0.001)
                time.sleep(moments.uniform(0, 0.15))
                assert process.poll() is None, "it has come to its end before it was killed ten times"
                process.kill()
                killed += 1
            else:
                assert process.wait(60) == 1
        again = {int(number) for number in called.read_text().splitlines()[before:]}
        assert not again & known
        if killed == 10 and process.returncode == 1:
            break
    results = [int(result) for result in (here / "out").read_text().splitlines()]
    wanted = [number * number for number in range(1, items + 1) if number % 50]
    assert (results if order == "ordered" else sorted(results)) == wanted
    failed = [json.loads(entry)["item"] for entry in (here / "failed").read_text().splitlines()]
    assert sorted(failed) == list(range(50, items + 1, 50))
    times = Counter(called.read_text().splitlines())
    assert set(times) == set(map(str, range(1, items + 1)))
