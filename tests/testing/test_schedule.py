"""A schedule and its line of text are the same thing, and what is neither is refused."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weirpool.testing import ADVANCE, Fault, Fifo, Jitter, Priorities, Schedule, Script, Shuffle

steps = st.integers(1, 10**6)
actions = st.from_regex(r"\A[\w.-]+\Z").filter(lambda name: name != "cancel")
faults = st.builds(Fault, steps, actions) | st.builds(Fault, steps, st.just("cancel"), steps)
common = {"faults": st.lists(faults, max_size=3).map(tuple)}
schedules = st.builds(
    Schedule, st.sampled_from(["fifo", "random", "pct"]), st.integers(0, 2**64), st.integers(0, 100), **common
) | st.builds(
    Schedule, st.just("script"), script=st.dictionaries(st.integers(0, 10**6), st.integers(ADVANCE, 100), max_size=5), **common
)


@given(schedules)
def test_a_schedule_is_what_its_text_describes(schedule: Schedule) -> None:
    again = Schedule.parse(str(schedule))
    assert again == schedule
    assert hash(again) == hash(schedule)


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        ("fifo", Schedule()),
        ("fifo:3~10", Schedule("fifo", 3, 10)),
        ("random:17", Schedule("random", 17)),
        ("pct:17~10", Schedule("pct", 17, 10)),
        ("script", Schedule("script")),
        ("script:12=3,40=-1", Schedule("script", script={12: 3, 40: ADVANCE})),
        ("fifo @41:cancel:5", Schedule(faults=(Fault(41, "cancel", 5),))),
        ("fifo @41:cancel-all @60:close", Schedule(faults=(Fault(41, "cancel-all"), Fault(60, "close")))),
    ],
)
def test_the_text_is_short(text: str, schedule: Schedule) -> None:
    assert str(schedule) == text
    assert Schedule.parse(text) == schedule


def test_blanks_and_a_missing_seed_are_forgiven() -> None:
    assert Schedule.parse("  random \n @1:close ") == Schedule("random", faults=(Fault(1, "close"),))


@pytest.mark.parametrize(
    ("text", "policy"),
    [("fifo", Fifo), ("random:1", Shuffle), ("pct:1", Priorities), ("script:1=1", Script), ("fifo~1", Jitter)],
)
def test_a_schedule_makes_a_new_policy_each_time(text: str, policy: type) -> None:
    schedule = Schedule.parse(text)
    assert type(schedule.make_policy()) is policy
    assert schedule.make_policy() is not schedule.make_policy()


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "lifo", "@5:close", "random:x", "random:-1", "random:1=2", "random:1~", "random:1~101", "random:\u0661"),
        *("script:5", "script:1=-2", "script:1=2,", "script~5", "fifo random", "fifo cancel:5", "fifo @5", "fifo @x:close"),
        *("fifo @0:close", "fifo @5:close:1", "fifo @5:cancel", "fifo @5:cancel:0"),
    ],
)
def test_a_text_that_describes_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|a schedule looks like 'random:17~10 @41:cancel:5'"):
        Schedule.parse(text)


def test_a_script_may_be_any_mapping() -> None:
    assert str(Schedule("script", script=MappingProxyType({12: 3}))) == "script:12=3"


@given(st.text())
def test_any_text_is_a_schedule_or_a_value_error(text: str) -> None:
    try:
        schedule = Schedule.parse(text)
    except ValueError:
        return
    assert Schedule.parse(str(schedule)) == schedule


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"policy": "pctt"}, ValueError, "policy must be one of fifo, random, pct, script, got 'pctt'"),
        ({"policy": None}, ValueError, "policy must be one of fifo, random, pct, script, got None"),
        ({"seed": -1}, ValueError, "seed must be an int of at least 0, got -1"),
        ({"seed": "7"}, TypeError, r"seed must be an int of at least 0, got '7' \(str\)"),
        ({"seed": True}, TypeError, r"seed must be an int of at least 0, got True \(bool\)"),
        ({"jitter": 101}, ValueError, "jitter must be an int of at least 0 and at most 100, got 101"),
        ({"jitter": 0.1}, TypeError, r"jitter must be an int of at least 0 and at most 100, got 0.1 \(float\)"),
        ({"policy": "script", "script": {-1: 0}}, ValueError, "each decision in script must be an int of at least 0, got -1"),
        ({"policy": "script", "script": {1: -2}}, ValueError, "each choice in script must be an int of at least -1, got -2"),
        ({"policy": "script", "seed": 1}, ValueError, "a script leaves nothing to chance"),
        ({"policy": "script", "jitter": 1}, ValueError, "a script leaves nothing to chance"),
        ({"policy": "script", "script": [1]}, TypeError, r"script must be a mapping, such as {12: 3}, got \[1\] \(list\)"),
        ({"script": None}, TypeError, r"script must be a mapping, such as {12: 3}, got None \(NoneType\)"),
        ({"faults": None}, TypeError, r"faults must be a tuple of Faults, such as \(Fault\(.*\),\), got None \(NoneType\)"),
        ({"faults": [Fault(1, "close")]}, TypeError, r"faults must be a tuple of Faults, .*, got \[Fault.*\] \(list\)"),
        ({"faults": "x"}, TypeError, r"faults must be a tuple of Faults, .*, got 'x' \(str\)"),
        ({"faults": ("x",)}, TypeError, r"faults must be a tuple of Faults, .*, got 'x' \(str\) in it"),
        ({"faults": (Fault(1, "close"), None)}, TypeError, r"faults must be a .*, got None \(NoneType\) in it"),
        ({"script": {1: 1}}, ValueError, "only the policy 'script' has a script, 'fifo' can't"),
    ],
)
def test_a_bad_schedule_is_refused(arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Schedule(**arguments)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((0, "close"), ValueError, "step must be an int of at least 1, got 0"),
        (("1", "close"), TypeError, "step must be an int of at least 1, got '1'"),
        ((1, "close it"), ValueError, "action must be a name of letters, digits, '_', '.' and '-', got 'close it'"),
        ((1, ""), ValueError, "action must be a name"),
        ((1, None), ValueError, "action must be a name"),
        ((1, "cancel"), ValueError, "task must be the number of a task for 'cancel', else None, got None for 'cancel'"),
        ((1, "close", 5), ValueError, "task must be the number of a task for 'cancel', else None, got 5 for 'close'"),
        ((1, "cancel"), ValueError, "'cancel', which cancels one task, and can't be an action of the program"),
        ((1, "cancel-all", 5), ValueError, "else None, got 5 for 'cancel-all'$"),
        ((1, "cancel", 0), ValueError, "task must be an int of at least 1, got 0"),
    ],
)
def test_a_bad_fault_is_refused(arguments: tuple[Any, ...], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Fault(*arguments)
