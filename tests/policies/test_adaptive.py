"""Adaptive: finds what the downstream bears, and does not go wrong as adaptive limits have elsewhere (R20)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policies.support import Downstream, World, decided, load
from weirpool.policies import Adaptive, ScalingController

BUSY: dict[str, Any] = {"workers": 10, "busy": 10, "peak_busy": 10, "succeeded": 50, "busy_seconds": 5.0}


def cost(place_seconds: float, **more: Any) -> dict[str, Any]:
    """Return the numbers of a full pool in which so many place-seconds were used for each of fifty successes."""
    return BUSY | {"busy_seconds": 50 * place_seconds} | more


def experienced(**options: Any) -> ScalingController:
    """Return a controller that has seen successes cost 0.1 place-seconds, with ten places."""
    controller = Adaptive(**options).controller()
    assert decided(controller, now=0.0, **cost(0.1, min_workers=10, max_workers=10)) is None
    return controller


def settled(world: World) -> float:
    """Let two minutes pass, and return how many places there are on average in the next one."""
    world.pass_time(120)
    last = world.pass_time(60)
    return sum(last) / len(last)


# It finds the number, and follows it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [1, 2, 5, 40, 200])
@pytest.mark.parametrize("thrash", [0.0, 0.5, 1.0])
def test_it_settles_a_little_above_what_the_downstream_bears(capacity: int, thrash: float) -> None:
    assert capacity <= settled(World(Adaptive(), Downstream(capacity, thrash=thrash))) <= 1.35 * capacity + 1


def test_it_settles_there_from_far_too_many() -> None:
    assert 36 <= settled(World(Adaptive(), Downstream(40), workers=500)) <= 54


def test_it_gets_there_within_seconds() -> None:
    assert World(Adaptive(), Downstream(40)).pass_time(5)[-1] >= 36


def test_it_doubles_only_up_to_half_of_where_it_was_too_high() -> None:
    world = World(Adaptive(), Downstream(40))
    assert world.pass_time(3.5) == [1, 2, 4, 8, 16, 32, 64]
    world.pass_time(5)
    world.pass_time(60, demand=1)
    assert world.workers <= 5
    assert max(world.pass_time(10)) <= 54


@pytest.mark.parametrize("capacity", [10, 80])
def test_it_follows_a_downstream_that_comes_to_bear_less_or_more(capacity: int) -> None:
    downstream = Downstream(40)
    world = World(Adaptive(), downstream)
    world.pass_time(60)
    downstream.capacity = capacity
    assert capacity * 0.9 <= settled(world) <= 1.35 * capacity + 1


def test_it_grows_to_the_most_where_nothing_is_ever_too_much() -> None:
    assert World(Adaptive(), Downstream(10**6), most=300).pass_time(20)[-1] == 300


def test_a_higher_tolerance_settles_higher() -> None:
    assert settled(World(Adaptive(tolerance=2), Downstream(40))) > 65


def test_it_is_not_asked_between_two_looks() -> None:
    assert not Adaptive().on_submit
    assert Adaptive(interval=2).interval == 2


# It waits for evidence ------------------------------------------------------------------------------------------------


def test_a_few_jobs_are_no_evidence_until_they_have_become_enough() -> None:
    controller = Adaptive(evidence=10).controller()
    few = cost(0.1, succeeded=4, busy_seconds=0.4, min_workers=10)
    assert [decided(controller, now=second, **few) for second in range(3)] == [None, None, 20]


def test_jobs_that_started_before_a_change_do_not_count_for_the_next_one() -> None:
    controller = experienced()
    assert decided(controller, now=1.0, **cost(0.1)) == 20
    assert decided(controller, now=2.0, **cost(9.0, workers=20, peak_busy=20)) is None, "each takes 9 s: this is of before"
    assert decided(controller, now=18.9, **cost(9.0, workers=20, peak_busy=20)) is None
    assert decided(controller, now=19.0, **cost(9.0, workers=20, peak_busy=20)) == 12


def test_what_chance_may_explain_changes_nothing_until_it_has_gone_on_for_long() -> None:
    controller = experienced()
    slower = cost(0.17, succeeded=12, busy_seconds=2.04, max_workers=10)
    decisions = [decided(controller, now=second, **slower) for second in range(1, 41)]
    assert decisions[:8] == [None] * 8
    assert 9 in decisions


def test_evidence_does_not_pile_up_without_end() -> None:
    controller = experienced()
    for second in range(1, 100):
        assert decided(controller, now=second, **cost(0.1, max_workers=10)) is None
    assert decided(controller, now=100.0, **cost(9.0, succeeded=500, busy_seconds=4500.0)) == 6


# The traps ------------------------------------------------------------------------------------------------------------


def test_it_does_not_grow_while_less_than_half_of_the_places_are_in_use() -> None:
    assert World(Adaptive(), Downstream(40), workers=20).pass_time(9, demand=9) == [20] * 18


def test_it_does_not_shrink_for_that_either_if_the_few_that_run_are_slow() -> None:
    world = World(Adaptive(), Downstream(40), workers=20)
    world.pass_time(5)
    before = world.workers
    world.downstream.run = 1.0
    assert world.pass_time(9, demand=before * 0.4) == [before] * 18


def test_a_limit_of_more_than_five_times_what_is_in_use_shrinks_after_a_while() -> None:
    world = World(Adaptive(), Downstream(40), workers=50)
    assert world.pass_time(9.5, demand=9) == [50] * 19
    assert world.pass_time(20, demand=9)[-1] <= 45
    assert world.workers * 2 > 9


def test_a_pool_at_rest_gets_down_to_its_least() -> None:
    world = World(Adaptive(), Downstream(40), workers=500)
    world.fewest = 3
    assert world.pass_time(60, demand=0)[-1] == 3


def test_a_latency_that_a_timeout_pins_does_not_make_it_run_away() -> None:
    """Netflix/concurrency-limits, issue 137: at 25 s all time out, and the run time no longer says that it is too long."""
    downstream = Downstream(40)
    downstream.gives_up = 0.25
    world = World(Adaptive(), downstream)
    assert max(world.pass_time(600)) <= 64
    assert 36 <= settled(world) <= 54


@pytest.mark.parametrize("workers", [64, 1000])
def test_where_everything_times_out_it_backs_off_until_it_does_not(workers: int) -> None:
    downstream = Downstream(40)
    downstream.gives_up = 0.11
    world = World(Adaptive(), downstream, workers=workers)
    world.pass_time(30)
    assert world.downstream.takes(world.workers) <= 0.2
    assert max(world.pass_time(300)) <= 80


def test_where_everything_times_out_whatever_it_does_it_goes_down_and_stays_there() -> None:
    downstream = Downstream(40, run=5.0)
    downstream.gives_up = 1.0
    world = World(Adaptive(), downstream, workers=200)
    world.pass_time(120)
    assert max(world.pass_time(600)) <= 2
    downstream.run = 0.1
    assert world.pass_time(20)[-1] >= 36, "and is there again when that is over"


@pytest.mark.parametrize("capacity", [5, 40, 200])
def test_a_moderate_overload_does_not_make_it_climb_in_an_hour(capacity: int) -> None:
    """Netflix/concurrency-limits, PR 134: where the gradient is about 0.8, constant headroom makes it climb for ever."""
    world = World(Adaptive(), Downstream(capacity, thrash=0.0))
    world.pass_time(60)
    assert max(world.pass_time(3600)) <= 2 * capacity


def test_failures_that_are_quick_do_not_make_more_places_look_good() -> None:
    downstream = Downstream(40)
    downstream.refuses = True
    assert max(World(Adaptive(), downstream).pass_time(300)) <= 200


def test_an_outage_in_which_all_fail_at_once_leaves_no_baseline_that_nothing_can_meet() -> None:
    controller = Adaptive().controller()
    workers = 10
    for second in range(100):
        outage = 30 <= second < 60
        ends = {"succeeded": 0, "failed": 5000, "busy_seconds": 1.0} if outage else {"busy_seconds": 5.0}
        workers = (
            decided(controller, now=second, **(BUSY | {"workers": workers, "busy": workers, "peak_busy": workers} | ends))
            or workers
        )
        assert workers >= 1
    assert workers > 10


def test_a_few_very_short_jobs_do_not_set_a_baseline_that_nothing_can_meet() -> None:
    """The research calls it min-RTT poisoning: one health check, and every other call looks slow."""
    controller = experienced()
    decided(controller, now=1.0, **cost(0.1, succeeded=3, busy_seconds=0.0001, max_workers=10))
    for second in range(2, 60):
        assert decided(controller, now=second, **cost(0.1, max_workers=10)) is None


def test_jobs_that_take_no_time_at_all_divide_nothing_by_zero() -> None:
    controller = Adaptive().controller()
    assert [decided(controller, now=second, **cost(0.0, min_workers=10)) for second in range(3)] == [20, 20, 20]


def test_what_the_pool_sheds_or_refuses_does_not_make_it_shrink() -> None:
    controller = experienced()
    for second in range(60):
        assert decided(controller, now=second, **cost(0.1, dropped=10_000, max_workers=10)) is None


def test_a_job_that_hangs_makes_each_success_dearer() -> None:
    controller = experienced()
    assert decided(controller, now=1.0, **cost(0.1, busy_seconds=15.0)) == 8, "its seconds count before it ends"


# Probes ---------------------------------------------------------------------------------------------------------------


def test_a_downstream_that_has_become_slower_by_itself_is_told_from_one_that_is_overloaded() -> None:
    downstream = Downstream(40)
    world = World(Adaptive(), downstream)
    world.pass_time(60)
    downstream.run = 0.3
    slow = world.pass_time(60)
    assert min(slow) <= 5, "it can't know at first"
    assert slow[-1] >= 36
    assert any("place-seconds with" in reason for reason in world.reasons)
    assert 36 <= settled(world) <= 54


def test_a_probe_halves_the_places_as_often_as_that_helps() -> None:
    downstream = Downstream(40)
    world = World(Adaptive(probe_after=2.0), downstream, workers=40)
    world.fewest = 40
    world.pass_time(60)
    downstream.capacity, world.fewest = 5.0, 1
    world.pass_time(60)
    assert 4 <= settled(world) <= 9


def test_a_probe_where_there_can_not_be_fewer_places_takes_what_it_costs_there() -> None:
    world = World(Adaptive(), Downstream(10), workers=40)
    world.fewest = 40
    world.pass_time(5)
    world.downstream.capacity = 5
    world.pass_time(60)
    assert 40 <= settled(world) <= 54
    assert any(" place-seconds with 40 places" in reason for reason in world.reasons)


def test_a_probe_in_which_nothing_succeeds_leaves_the_baseline_as_it_was() -> None:
    downstream = Downstream(40)
    world = World(Adaptive(probe_after=1.0), downstream)
    world.pass_time(20)
    downstream.run, downstream.gives_up = 9.0, 1.0
    world.pass_time(60)
    downstream.run = 0.1
    assert 36 <= settled(world) <= 54


def test_probes_are_rare_where_all_is_well_enough() -> None:
    world = World(Adaptive(), Downstream(40))
    world.pass_time(3600)
    assert sum("cheaper with fewer" in reason for reason in world.reasons) <= 60


def test_pools_with_different_seeds_probe_at_different_times() -> None:
    def probes(seed: int) -> list[int]:
        world = World(Adaptive(seed=seed), Downstream(40))
        return world.pass_time(600)

    assert probes(1) == probes(1)
    assert probes(1) != probes(2)


def test_it_says_why() -> None:
    decision = experienced().decide(load(**cost(0.1)))
    assert decision is not None
    assert decision.reason == "a success costs 0.1 place-seconds, at best 0.121"
    world = World(Adaptive(), Downstream(40), workers=100)
    world.pass_time(30, demand=1)
    assert world.reasons[0] == "1 of 100 places in use"
