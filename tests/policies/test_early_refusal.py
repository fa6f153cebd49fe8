"""EarlyRefusal: nobody up to one depth, everybody from another on, and in between the more the fuller."""

from __future__ import annotations

import pytest

from weirpool.policies import EarlyRefusal


def refused(depth: int, *, limit: int = 1000, submissions: int = 10_000, seed: int = 1) -> float:
    """Return which share of submissions is refused at a depth, between 600 and 800 of 1000."""
    controller = EarlyRefusal(low=0.6, high=0.8, seed=seed).controller()
    assert controller is not None
    return sum(controller.refuses(depth, limit) for _ in range(submissions)) / submissions


@pytest.mark.parametrize("depth", [0, 1, 599, 600])
def test_nothing_is_refused_up_to_the_lower_depth(depth: int) -> None:
    assert refused(depth) == 0


@pytest.mark.parametrize("depth", [800, 801, 1000, 5000])
def test_everything_is_refused_from_the_higher_depth_on(depth: int) -> None:
    assert refused(depth) == 1


@pytest.mark.parametrize(("depth", "share"), [(601, 0.005), (650, 0.25), (700, 0.5), (790, 0.95)])
def test_between_them_it_is_linear(depth: int, share: float) -> None:
    assert refused(depth) == pytest.approx(share, abs=0.015)


def test_a_seed_decides_the_same_each_time() -> None:
    def answers(seed: int) -> list[bool]:
        controller = EarlyRefusal(seed=seed).controller()
        assert controller is not None
        return [controller.refuses(700, 1000) for _ in range(50)]

    assert answers(1) == answers(1)
    assert answers(1) != answers(2)


def test_a_pool_with_no_room_for_any_that_wait_refuses_none_early() -> None:
    assert refused(0, limit=0) == 0


def test_nothing_that_was_accepted_is_shed_and_the_order_stays() -> None:
    controller = EarlyRefusal().controller()
    assert controller is not None
    assert not controller.sheds(9.0, 9.0)
    controller.idle(9.0)
    assert not controller.newest_first


def test_what_becomes_of_jobs_that_find_no_room_can_be_chosen() -> None:
    assert EarlyRefusal().when_full == "reject"
    assert EarlyRefusal(when_full="wait").when_full == "wait"
