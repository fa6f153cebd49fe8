"""Row 14: one failure of weirpool itself, in place of any line of its core, the first time that it is run.

`python -m tests.proof --internal` does it each time that it is run.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.proof.internal_faults import EXEMPT, PROGRAMS, Tracer, each_line_once, inject_all, lines_of
from weirpool._closing import Closing
from weirpool._crew import Crew

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_failure_in_place_of_any_line_leaves_a_pool_that_closes_in_time_and_nobody_who_waits() -> None:
    counts, failures = inject_all(each_line_once())
    assert counts.total() > 600
    assert not failures, "\n".join(failures)


def test_the_lines_that_are_exempt_exist() -> None:
    lines = {str(place) for program in PROGRAMS for place in lines_of(program)}
    assert set(EXEMPT) <= lines


@pytest.mark.parametrize(
    ("owner", "name"), [(Closing, "_set_last_resort"), (Crew, "write_off")], ids=["no-last-resort", "no-search-for-the-lost"]
)
def test_without_the_last_resort_it_shows(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    nothing: Callable[..., None] = lambda *_: None  # noqa: E731
    monkeypatch.setattr(owner, name, nothing)
    program = "a task factory"
    _, failures = inject_all({program: range(1, len(lines_of(program)), 4)}, max_failures=3)
    assert len(failures) == 3


def test_whoever_traces_goes_on_tracing_afterwards() -> None:
    seen: list[str] = []

    def trace(frame: object, event: str, _: object) -> None:
        seen.append(event)

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with Tracer(1).tracing():
            assert sys.gettrace() is not trace
        after = sys.gettrace()
    finally:
        sys.settrace(before)
    assert after is trace
    assert seen
