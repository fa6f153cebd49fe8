"""The proof in small: what every run of the tests can afford. `python -m tests.proof` is the whole."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proof.campaign import FACTORIES, Case, Profile, cases, explore_cases, push, simplest
from tests.proof.planted import BUGS, Bug
from tests.proof.scenarios import SCENARIOS
from tests.proof.textbook import close_while_submitting, outcomes
from weirpool.testing import Schedule, run

SEEDS = Path(__file__).with_name("seeds.txt")


def once_failed() -> list[str]:
    """Return the cases in the file of seeds."""
    lines = (line.partition("#")[0].strip() for line in SEEDS.read_text().splitlines())
    return [line for line in lines if line]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_promise_holds_at_every_step_on_some_schedules(scenario: str) -> None:
    tally = explore_cases(cases(Profile(range(12)), [scenario]))
    assert tally.runs.total() == 12 * 3 + 6
    for case, failed in tally.failures:
        pytest.fail(f"{simplest(case, failed)[0]}: {failed.error}")


@pytest.mark.parametrize("scenario", ["close_full", "putters", "same_tick"])
def test_every_promise_holds_whatever_happens_at_whichever_step(scenario: str) -> None:
    tally = explore_cases(cases(Profile([1], policies=(), every_fault=1), [scenario]))
    assert tally.runs.total() > 200
    for case, failed in tally.failures:
        pytest.fail(f"{simplest(case, failed)[0]}: {failed.error}")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_promise_holds_whoever_makes_the_tasks(scenario: str) -> None:
    kinds = [kind for kind, factory in FACTORIES.items() if factory is not None]
    for kind in kinds:
        tally = explore_cases(cases(Profile(range(4), tasks=f"{kind}/"), [scenario]))
        for case, failed in tally.failures:
            pytest.fail(f"{simplest(case, failed)[0]}: {failed.error}")


def test_the_pool_of_the_tutorials_passes_a_plain_test_and_no_other() -> None:
    assert run(close_while_submitting).error is None
    assert outcomes(400) == {"works": 300, "loses a job": 92, "hangs": 8}


@pytest.mark.parametrize("line", once_failed())
def test_a_bug_that_was_found_stays_away(line: str) -> None:
    assert Case.parse(line).run().error is None


@pytest.mark.realtime
def test_the_line_that_the_page_shows_can_be_run() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "proof.md").read_text()
    (shown,) = re.findall(r"^```text\n(.*?)\n```$", page, re.DOTALL | re.MULTILINE)
    command = [sys.executable, *shlex.split(shown)[1:]]
    ran = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True, timeout=30)
    assert ran.stdout.endswith("nothing went wrong\n")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: re.sub(r"\W+", "-", bug.what))
def test_the_explorer_finds_a_planted_bug(bug: Bug) -> None:
    with bug.planted():
        tally = explore_cases(cases(push()[0]))
        assert tally.failures, "the explorer is blind to this"
        case, failed = tally.failures[0]
        simple, shortest = simplest(case, failed)
        again = Case.parse(str(simple)).run()  # the line alone repeats it
        assert str(again.error) == str(shortest.error)
    assert simple.run().error is None  # without the bug, all is well


def test_a_case_is_a_line_of_text() -> None:
    case = Case("putters", 5, Schedule.parse("random:17~10 @41:cancel:5"))
    assert str(case) == "putters 5 random:17~10 @41:cancel:5"
    assert Case.parse(str(case)) == case


def test_every_scenario_says_which_row_of_the_list_it_is() -> None:
    for function in SCENARIOS.values():
        assert re.match(r"E?\d+: \w", function.__doc__ or "")
