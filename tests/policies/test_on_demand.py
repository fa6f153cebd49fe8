"""OnDemand: places come at once, as many as are missing, and go one by one (R20)."""

from __future__ import annotations

from tests.policies.support import decided, load
from weirpool.policies import OnDemand


def test_it_is_asked_when_a_job_has_to_wait() -> None:
    assert OnDemand().on_submit
    assert OnDemand(idle_period=3).interval == 3


def test_a_job_that_has_to_wait_gets_a_place_at_once() -> None:
    assert decided(OnDemand().controller(), workers=10, busy=10, queued=1) == 11


def test_as_many_places_come_as_jobs_wait_in_the_queue_and_for_it() -> None:
    assert decided(OnDemand().controller(), workers=10, busy=10, queued=5, waiting=3) == 18


def test_it_stops_at_the_most() -> None:
    assert decided(OnDemand().controller(), workers=10, busy=10, queued=500) == 100
    assert decided(OnDemand().controller(), workers=100, busy=100, queued=500) is None


def test_a_free_place_is_used_before_one_is_added() -> None:
    assert decided(OnDemand().controller(), workers=10, busy=9, peak_busy=10, queued=1) is None


def test_one_place_goes_after_a_period_in_which_not_all_were_in_use() -> None:
    assert decided(OnDemand().controller(), workers=10, busy=2, peak_busy=9) == 9
    assert decided(OnDemand().controller(), workers=10, busy=2, peak_busy=10) is None


def test_it_never_goes_below_the_least() -> None:
    assert decided(OnDemand().controller(), workers=4, min_workers=4) is None


def test_no_place_goes_because_it_is_asked_between_two_looks() -> None:
    assert decided(OnDemand().controller(), workers=100, busy=100, queued=1, peak_busy=0) is None


def test_it_says_why() -> None:
    grown = OnDemand().controller().decide(load(workers=1, busy=1, queued=2))
    shrunk = OnDemand().controller().decide(load(workers=2))
    assert grown is not None
    assert shrunk is not None
    assert grown.reason == "2 waiting, no free place"
    assert shrunk.reason == "not all places were in use"
