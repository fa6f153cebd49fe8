"""CoDel: folly's rule, with its constants; the newest job first while a queue stands."""

from __future__ import annotations

import pytest

from weirpool.policies import CoDel, OverloadController


@pytest.fixture
def codel() -> OverloadController:
    """Return a controller with folly's constants: 5 ms and 100 ms."""
    controller = CoDel(target=0.005, interval=0.1).controller()
    assert controller is not None
    return controller


def overload(codel: OverloadController) -> None:
    """Let a whole interval pass in which every job has waited 6 ms, and the first of the next one begin that."""
    assert [codel.sheds(0.0, 0.006), codel.sheds(0.05, 0.006), codel.sheds(0.1, 0.006), codel.sheds(0.11, 0.006)] == [
        False
    ] * 4


def test_what_waits_is_never_shed_before_a_whole_interval_was_bad(codel: OverloadController) -> None:
    assert not any(codel.sheds(0.001 * milliseconds, 5.0) for milliseconds in range(101))
    assert not codel.newest_first


def test_then_what_has_waited_more_than_twice_the_target_is_shed(codel: OverloadController) -> None:
    overload(codel)
    assert codel.sheds(0.12, 0.011)
    assert not codel.sheds(0.12, 0.010)


def test_the_first_of_an_interval_is_never_shed(codel: OverloadController) -> None:
    overload(codel)
    for interval in range(2, 50):
        assert not codel.sheds(0.11 * interval, 5.0)
        assert codel.sheds(0.11 * interval + 0.01, 5.0)


def test_it_is_the_least_of_an_interval_that_counts(codel: OverloadController) -> None:
    waits = [5.0, 5.0, 0.005, 5.0]
    assert [codel.sheds(0.02 * number, waited) for number, waited in enumerate(waits)] == [False] * 4
    assert not codel.sheds(0.11, 5.0)
    assert not codel.sheds(0.12, 5.0), "one job had waited no longer than the target"


def test_a_first_job_that_did_not_wait_counts_as_well(codel: OverloadController) -> None:
    assert not any(codel.sheds(0.01 * number, 0.001 if number == 0 else 5.0) for number in range(15))


def test_a_better_interval_ends_it(codel: OverloadController) -> None:
    overload(codel)
    assert not codel.sheds(0.12, 0.004)
    assert codel.sheds(0.13, 5.0), "the interval is not over"
    assert not codel.sheds(0.22, 5.0)
    assert not codel.sheds(0.23, 5.0)
    assert not codel.newest_first


def test_the_newest_is_taken_first_while_a_queue_stands(codel: OverloadController) -> None:
    assert not codel.newest_first
    overload(codel)
    assert codel.newest_first


def test_a_queue_that_has_become_empty_does_not_stand(codel: OverloadController) -> None:
    overload(codel)
    codel.idle(0.13)
    assert not codel.newest_first
    assert not codel.sheds(0.13, 5.0)
    assert not codel.sheds(0.23, 5.0)
    assert codel.sheds(0.24, 5.0) is False, "the first of the next interval"
    assert codel.sheds(0.25, 5.0)


def test_a_long_time_without_jobs_that_is_not_told_ends_the_interval_all_the_same(codel: OverloadController) -> None:
    assert not codel.sheds(0.0, 0.001)
    assert not codel.sheds(9.0, 5.0)
    assert not codel.sheds(9.01, 5.0)


def test_it_refuses_nobody(codel: OverloadController) -> None:
    assert not codel.refuses(1000, 1000)


def test_what_becomes_of_jobs_that_find_no_room_can_be_chosen() -> None:
    assert CoDel().when_full == "wait"
    assert CoDel(when_full="drop_oldest").when_full == "drop_oldest"


def test_the_interval_is_a_multiple_of_the_target() -> None:
    assert CoDel().interval == 5 * CoDel().target
