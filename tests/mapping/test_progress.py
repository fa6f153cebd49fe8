"""What a person sees of `weirpool map`."""

from __future__ import annotations

import io
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from weirpool import Percentiles
from weirpool.mapping._progress import Progress, duration, fitting, milliseconds


class Seen:
    """A progress, and what it is made of."""

    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        self.stream = io.StringIO()
        self.lines = SimpleNamespace(size=None, read=0, number=0, items=0)
        self.outputs = SimpleNamespace(succeeded=0, failed=0)
        self.stats = SimpleNamespace(running=7, run_time=None)
        given: dict[str, Any] = {"terminal": False, "quiet": False, "total": None, "before": 0} | options
        self.progress = Progress(
            given.pop("stream", self.stream),
            lines=self.lines,  # type: ignore[arg-type]
            outputs=self.outputs,  # type: ignore[arg-type]
            stats=lambda: self.stats,  # type: ignore[arg-type, return-value]
            clock=lambda: self.now,
            **given,
        )

    def after(self, seconds: float, done: int, failed: int = 0) -> str:
        """Return the line after a time."""
        self.now += seconds
        self.outputs.succeeded, self.outputs.failed = done - failed, failed
        return self.progress.line()


def test_a_line_says_how_many_how_fast_and_how_many_failed() -> None:
    seen = Seen()
    assert seen.progress.line() == "0 done, 0/s, 0 failed, 7 running"
    assert seen.after(2, 5000, 3) == "5,000 done, 2,500/s, 3 failed, 7 running"


def test_and_how_many_are_left_if_it_is_said_how_many_there_are() -> None:
    seen = Seen(total=10_000)
    assert seen.after(2, 1000) == "1,000 of 10,000 (10%), 500/s, 18 s left, 0 failed, 7 running"


def test_else_that_is_guessed_from_the_size_of_the_file() -> None:
    seen = Seen()
    seen.lines.__dict__.update(size=10_000, read=1000, number=110, items=100)
    assert seen.after(1, 50) == "50 of ~1,090 (5%), 50/s, 21 s left, 0 failed, 7 running"
    seen.lines.__dict__.update(read=10_000, number=1000, items=900)
    assert seen.after(1, 900).startswith("900 of ~900 (100%), ")


def test_what_was_done_before_counts_as_done_and_not_for_the_rate() -> None:
    seen = Seen(total=10_000, before=5000)
    assert seen.progress.line() == "5,000 of 10,000 (50%), 0/s, 0 failed, 7 running"
    assert seen.after(2, 1000) == "6,000 of 10,000 (60%), 500/s, 8.0 s left, 0 failed, 7 running"
    seen.progress.end()
    assert seen.stream.getvalue().startswith("1,000 done in 2.0 s, 500/s, ")


def test_the_rate_is_that_of_late() -> None:
    seen = Seen()
    for _ in range(30):
        seen.after(1, seen.outputs.succeeded + 100)
    line = seen.after(1, seen.outputs.succeeded)
    assert ", 70/s" in line


def test_it_says_how_long_items_take() -> None:
    seen = Seen()
    seen.stats.run_time = Percentiles(count=5, p50=0.0123, p90=0.5, p99=2.5)
    assert seen.progress.line().endswith(", 7 running, p50 12.3 ms, p99 2.5 s")


def test_on_a_terminal_a_message_takes_the_place_of_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    seen = Seen(terminal=True)
    seen.progress.note = "stopping"
    seen.progress.show()
    seen.progress.say("something")
    assert seen.stream.getvalue() == "\rstopping: 0 done\x1b[K\r\x1b[Ksomething\n"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (42, "1,000 of ~2,000 (50%), 10/s, 0 failed, p50"),
        (41, "1,000 of ~2,000 (50%), 10/s, 0 failed"),
        (28, "1,000 of ~2,000 (50%), 10/s"),
        (26, "1,000 of ~2,000 (50%)"),
        (5, "1,000"),
    ],
)
def test_parts_for_which_there_is_no_room_are_left_out_as_a_whole(width: int, shown: str) -> None:
    assert fitting("1,000 of ~2,000 (50%), 10/s, 0 failed, p50", width) == shown


def test_elsewhere_each_has_a_line() -> None:
    seen = Seen()
    seen.progress.show()
    seen.progress.say("something")
    seen.now = 4
    seen.outputs.succeeded = 100
    seen.progress.end()
    assert seen.stream.getvalue() == "0 done, 0/s, 0 failed, 7 running\nsomething\n100 done in 4.0 s, 25/s, 0 failed\n"


def test_quiet_shows_messages_only() -> None:
    seen = Seen(quiet=True, terminal=True)
    seen.progress.show()
    seen.progress.end()
    seen.progress.say("something")
    assert seen.stream.getvalue() == "something\n"


def test_log_records_are_shown_as_messages() -> None:
    seen = Seen(terminal=True)
    seen.progress.handle(logging.LogRecord("mine", logging.WARNING, "", 1, "careful with %s", ("that",), None))
    assert seen.stream.getvalue() == "\r\x1b[Kcareful with that\n"


def test_each_line_of_a_log_record_has_one() -> None:
    seen = Seen(terminal=True)
    seen.progress.handle(logging.LogRecord("mine", logging.WARNING, "", 1, "first\nsecond", (), None))
    assert seen.stream.getvalue() == "\r\x1b[Kfirst\n\r\x1b[Ksecond\n"


def test_what_is_said_of_an_item_can_only_be_read_and_does_nothing_to_a_terminal() -> None:
    seen = Seen()
    seen.progress.say("line 1: ValueError: \x1b[2Jä\nline 2: fine\r")
    seen.progress.handle(logging.LogRecord("mine", logging.WARNING, "", 1, "\x1b]0;mine\x07", (), None))
    assert seen.stream.getvalue() == "line 1: ValueError: \\x1b[2Jä\\nline 2: fine\\r\n\\x1b]0;mine\\x07\n"


def test_nobody_who_looks_is_no_reason_to_stop() -> None:
    stream = io.StringIO()
    stream.close()
    Seen(stream=stream).progress.say("something")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (61, "1:01"), (3599.7, "1:00:00"), (7384, "2:03:04")],
)
def test_times_are_said_as_persons_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(("seconds", "said"), [(0.0000123, "0.0123 ms"), (0.25, "250 ms"), (1.5, "1.5 s")])
def test_and_those_of_items(seconds: float, said: str) -> None:
    assert milliseconds(seconds) == said
