"""`weirpool demo` as a person runs it: a process that is started, watched, interrupted and killed."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo.processes import SMALL, Demo, event, write

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes by way of /proc"),
]

MANNERS = {0: "error", 10: "never", 20: "slow", 30: "slow"}
LINE = (
    r"accepted \d+  queued \d+  running \d+  delivered \d+  failed \d+  timed out \d+  cancelled \d+  refused \d+  rate \d+/s"
)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a hundred events, of every manner."""
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    return write(path, (event(number, MANNERS.get(number % 40, "fast")) for number in range(100)))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, events: Path) -> tuple[Path, str]:
    """Run the demo once; return the journals that it kept and what it printed."""
    journals = tmp_path_factory.mktemp("kept") / "journals"
    with Demo(*SMALL, f"--events={events}", f"--journals={journals}") as demo:
        status, out, err = demo.finish()
        assert (status, err, demo.pids()) == (0, "", [])
    return journals, out


def numbers(out: str) -> dict[str, int]:
    """Return the rows of an account by the first words of their text."""
    rows = re.findall(r"^ *([\d,]+)  +(\S[^:,\n]*)", out, re.MULTILINE)
    return {what: int(count.replace(",", "")) for count, what in rows}


def audit(directory: Path) -> tuple[int, str]:
    """Draw up the account of a directory again, in a process of its own."""
    command = [sys.executable, "-m", "weirpool.demo.audit", str(directory)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=30, check=False)
    return done.returncode, done.stdout + done.stderr


# It runs ----------------------------------------------------------------------------------------------------------------


def test_a_run_overloads_the_pool_ends_it_under_load_and_accounts_for_every_event(kept: tuple[Path, str]) -> None:
    _, out = kept
    assert out.splitlines()[-2:] == ["duplicates: 0", "lost: 0"]
    account = numbers(out)
    assert account["events"] == 100
    assert 0 < account["answered 202"] < 100
    assert account["answered 202"] == account["delivered"] + account["failed"] + account["timed out"]
    assert account["events"] == account["answered 202"] + account["not accepted"] + account["unknown to the client"]
    assert account["the pool is overloaded"] > 0
    assert "failed: DeliveryError: the receiver answered 500" in out
    assert "timed out: ran out of its 0.5 s while running" in out


def test_output_that_is_no_terminal_is_lines_that_show_the_phases_and_the_pool(kept: tuple[Path, str]) -> None:
    _, out = kept
    phases = [out.index(text) for text in ("starting", "under load", "SIGTERM sent", "the service has ended", "done")]
    assert phases == sorted(phases)
    assert re.search(LINE, out)
    assert "\x1b" not in out


@pytest.mark.parametrize("plain", [False, True])
def test_a_terminal_gets_the_live_view_unless_it_is_told_not_to(tmp_path: Path, plain: bool) -> None:
    few = write(tmp_path / "few.jsonl", [event(1)])
    try:
        ours, theirs = pty.openpty()
    except OSError as error:  # as in a chroot without /dev/pts
        pytest.skip(f"this machine has no pseudo-terminals: {error}")
    with Demo(*["--plain"] * plain, f"--events={few}", stdout=theirs) as demo:
        os.close(theirs)
        out = read_all(ours)
        assert demo.finish()[0] == 0
    assert ("\x1b[" in out) == ("─ weirpool demo ─" in out) == (not plain)
    assert "lost: 0" in out


def read_all(terminal: int) -> str:
    """Read a terminal until nobody has it open any more."""
    chunks = []
    with open(terminal, "rb", buffering=0) as file, contextlib.suppress(OSError):  # which is how Linux says so
        while chunk := file.read(4096):
            chunks.append(chunk)
    return b"".join(chunks).decode()


def test_a_shutdown_without_time_names_what_it_cancelled(tmp_path: Path) -> None:
    endless = write(tmp_path / "endless.jsonl", (event(number, "never") for number in range(12)))
    options = ["--workers=2", "--job-timeout=60", "--shutdown-timeout=0.3", "--sigterm-after=1"]
    with Demo(*options, f"--events={endless}") as demo:
        status, out, _ = demo.finish()
    assert status == 0
    account = numbers(out)
    assert account["answered 202"] == 12
    assert "2      cancelled: shutdown, while running" in out
    assert "10      cancelled: shutdown, in the queue" in out


# The account is no formality --------------------------------------------------------------------------------------------


def test_the_journals_that_were_kept_give_the_same_account_again(kept: tuple[Path, str]) -> None:
    journals, out = kept
    status, again = audit(journals)
    assert status == 0
    table = again.splitlines()[:-2]
    assert "\n".join(table) in out


def test_a_delivery_that_is_missing_and_one_that_came_twice_are_found_and_named(
    kept: tuple[Path, str], tmp_path: Path
) -> None:
    journals, _ = kept
    doctored = tmp_path / "doctored"
    shutil.copytree(journals, doctored)
    receiver = doctored / "receiver.jsonl"
    lines = receiver.read_text("utf-8").splitlines(keepends=True)
    taken = [json.loads(line)["event"] for line in lines if json.loads(line)["status"] == 200]
    gone, twice = taken[0], taken[1]
    kept_lines = [line for line in lines if json.loads(line)["event"] != gone]
    kept_lines += [line for line in lines if json.loads(line)["event"] == twice]
    receiver.write_text("".join(kept_lines), "utf-8")

    status, out = audit(doctored)
    assert status == 1
    assert f"lost: {gone}: succeeded, but the receiver never got it" in out
    assert f"duplicate: {twice}: delivered 2 times" in out
    assert out.splitlines()[-2:] == ["duplicates: 1", "lost: 1"]


def test_a_journal_that_is_damaged_is_refused_with_its_line(kept: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copytree(kept[0], tmp_path / "damaged")
    with (tmp_path / "damaged" / "pool.jsonl").open("a") as journal:
        journal.write('{"kind": "accepted", "ev')
    status, out = audit(tmp_path / "damaged")
    assert status == 2
    assert re.search(r"pool\.jsonl, line \d+: not a record", out)


def test_a_service_that_is_killed_leaves_lost_events_and_they_are_named(events: Path) -> None:
    with Demo(*SMALL, f"--events={events}", "--sigterm-after=1", "--retries=0") as demo:
        demo.wait_line("running 4")
        (service,) = demo.pids("weirpool.demo.service")
        os.kill(service, signal.SIGKILL)
        status, out, _ = demo.finish()
        assert demo.pids() == []
    assert status == 1
    assert "numbers: report: the pool left none" in out
    lost = re.findall(r"lost: (evt_\d+): job \d+ was accepted and never ended", out)
    assert lost
    assert out.splitlines()[-1] == f"lost: {len(lost)}"


# It leaves nothing behind -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["starting the receiver", "accepted ", "SIGTERM sent"])
def test_ctrl_c_at_any_moment_leaves_no_process(events: Path, moment: str) -> None:
    with Demo(*SMALL, f"--events={events}", "--sigterm-after=0.2") as demo:
        demo.wait_line(moment)
        demo.interrupt()
        demo.interrupt()  # people press it twice
        status, _, err = demo.finish()
        assert demo.pids() == []
    assert status == 130
    assert err == "weirpool demo: interrupted; nothing is left running\n"


def test_sigterm_ends_it_like_ctrl_c(events: Path) -> None:
    with Demo(*SMALL, f"--events={events}") as demo:
        demo.wait_line("accepted ")
        assert len(demo.pids()) == 3
        demo.process.terminate()
        assert demo.finish()[0] == 128 + signal.SIGTERM
        assert demo.pids() == []


def test_a_demo_that_is_killed_takes_its_processes_with_it(events: Path, tmp_path: Path) -> None:
    with Demo(*SMALL, f"--events={events}", f"--journals={tmp_path / 'journals'}") as demo:
        demo.wait_line("accepted ")
        demo.process.kill()
        assert demo.wait_gone() == []


def test_a_reader_who_goes_away_ends_it_and_leaves_no_process(events: Path) -> None:
    with Demo(*SMALL, f"--events={events}") as demo:
        demo.wait_line("starting the receiver")
        assert demo.process.stdout is not None
        demo.process.stdout.close()
        assert demo.process.wait(20) == 128 + signal.SIGPIPE
        assert demo.process.stderr is not None
        assert demo.process.stderr.read() == ""
        assert demo.pids() == []


def test_a_service_that_hangs_is_killed_in_bound_and_that_is_no_success(events: Path) -> None:
    with Demo(*SMALL, f"--events={events}", "--sigterm-after=0.05", "--shutdown-timeout=0.1") as demo:
        demo.wait_line("SIGTERM sent")
        (service,) = demo.pids("weirpool.demo.service")
        os.kill(service, signal.SIGSTOP)
        status, out, _ = demo.finish()
        assert demo.pids() == []
    assert status == 1
    assert "THE SERVICE HAD TO BE KILLED" in out
