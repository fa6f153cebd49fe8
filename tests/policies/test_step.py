"""Step: the rule of the articles, as they give it (R20)."""

from __future__ import annotations

from tests.policies.support import decided, load
from weirpool.policies import Step


def test_it_looks_every_five_seconds_and_not_in_between() -> None:
    assert Step().interval == 5.0
    assert not Step().on_submit


def test_a_queue_longer_than_there_are_workers_brings_two_more() -> None:
    assert decided(Step().controller(), workers=10, busy=10, queued=11) == 12
    assert decided(Step().controller(), workers=10, busy=10, queued=10) is None


def test_submitters_that_wait_for_room_count_as_queued() -> None:
    assert decided(Step().controller(), workers=10, busy=10, queued=4, waiting=7) == 12


def test_an_empty_queue_and_less_than_half_at_work_takes_two_away() -> None:
    assert decided(Step().controller(), workers=10, busy=4) == 8
    assert decided(Step().controller(), workers=10, busy=5) is None
    assert decided(Step().controller(), workers=10, busy=4, queued=1) is None


def test_it_keeps_within_the_bounds() -> None:
    assert decided(Step().controller(), workers=99, busy=99, queued=500) == 100
    assert decided(Step().controller(), workers=100, busy=100, queued=500) is None
    assert decided(Step().controller(), workers=5, min_workers=4) == 4
    assert decided(Step().controller(), workers=4, min_workers=4) is None


def test_the_step_can_be_chosen() -> None:
    assert decided(Step(step=7).controller(), workers=10, busy=10, queued=11) == 17


def test_it_says_why() -> None:
    grown = Step().controller().decide(load(workers=2, busy=2, queued=3))
    shrunk = Step().controller().decide(load(workers=3))
    assert grown is not None
    assert shrunk is not None
    assert grown.reason == "3 waiting for 2 places"
    assert shrunk.reason == "0 of 3 places in use"
