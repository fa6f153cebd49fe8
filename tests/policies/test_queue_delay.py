"""QueueDelay: holds the time in queue at a target, and waves of the load do not make it thrash (R20)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policies.support import decided, load
from weirpool.policies import QueueDelay, ScalingController

FULL: dict[str, Any] = {"workers": 10, "busy": 10, "peak_busy": 10}


def late(seconds: float, **more: Any) -> dict[str, Any]:
    """Return the numbers of a full pool in which even the luckiest of many jobs has waited so long."""
    return FULL | {"started": 100, "least_queue_delay": seconds, "queue_delay": seconds, "queued": 50} | more


@pytest.fixture
def controller() -> ScalingController:
    return QueueDelay(target=0.1).controller()


def test_it_does_not_act_on_a_single_job_that_waits() -> None:
    assert not QueueDelay().on_submit


def test_places_come_in_proportion_to_what_jobs_wait_too_long(controller: ScalingController) -> None:
    assert decided(controller, **late(0.15)) == 15


def test_at_most_as_many_again_come(controller: ScalingController) -> None:
    assert decided(controller, **late(60.0)) == 20


def test_a_little_above_the_target_brings_one_at_least(controller: ScalingController) -> None:
    assert decided(controller, **late(0.101)) == 11


def test_nothing_changes_at_the_target_or_below_while_all_places_are_in_use(controller: ScalingController) -> None:
    for second in range(100):
        assert decided(controller, now=second, **late(0.1 if second % 2 else 0.0)) is None


def test_it_stops_at_the_most(controller: ScalingController) -> None:
    assert decided(controller, **late(9.0, max_workers=12)) == 12
    assert decided(controller, now=200.0, **late(9.0, workers=12, max_workers=12)) is None


def test_a_few_jobs_are_no_evidence_until_they_have_become_enough(controller: ScalingController) -> None:
    assert decided(controller, now=1.0, **late(0.2, started=4)) is None
    assert decided(controller, now=2.0, **late(0.2, started=5)) is None
    assert decided(controller, now=3.0, **late(0.2, started=1)) == 20


def test_one_job_that_did_not_wait_shows_that_no_queue_stands(controller: ScalingController) -> None:
    assert decided(controller, now=1.0, **late(0.0, started=1)) is None
    assert decided(controller, now=2.0, **late(5.0, started=9)) is None
    assert decided(controller, now=3.0, **late(5.0, started=9)) is None, "what was judged by is not used again"
    assert decided(controller, now=4.0, **late(5.0, started=1)) == 20


def test_a_head_of_the_queue_that_waits_while_nothing_starts_is_evidence_enough(controller: ScalingController) -> None:
    assert decided(controller, now=1.0, **FULL, queued=1, queue_delay=0.09) is None
    assert decided(controller, now=2.0, **FULL, queued=1, queue_delay=1.09) == 20


def test_a_queue_that_gets_shorter_by_itself_is_left_alone(controller: ScalingController) -> None:
    assert decided(controller, now=1.0, **late(2.0)) == 20
    assert decided(controller, now=2.0, **late(1.0, workers=20)) is None
    assert decided(controller, now=3.0, **late(0.5, workers=20)) is None
    assert decided(controller, now=4.0, **late(0.48, workers=20)) == 40


def test_where_many_jobs_are_dropped_the_others_do_not_show_the_delay(controller: ScalingController) -> None:
    assert decided(controller, now=1.0, **late(0.0, dropped=10)) is None, "a tenth is not many"
    assert decided(controller, now=2.0, **late(0.0, dropped=11)) == 20


def test_jobs_that_are_all_dropped_are_evidence_too(controller: ScalingController) -> None:
    assert decided(controller, **FULL, dropped=20) == 20


def test_changes_come_no_faster_than_allowed() -> None:
    controller = QueueDelay(interval=0.1, changes_per_second=0.5).controller()
    changes = [tenth / 10 for tenth in range(100) if decided(controller, now=tenth / 10, **late(1.0)) is not None]
    assert changes == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_a_timer_that_is_a_little_early_does_not_halve_the_rate(controller: ScalingController) -> None:
    assert [decided(controller, now=second * 0.9999, **late(1.0)) for second in range(5)] == [20] * 5


def test_half_of_the_unused_places_go_after_an_idle_period(controller: ScalingController) -> None:
    decisions = [
        decided(controller, now=second, workers=10, busy=1, peak_busy=5 if second == 3 else 1) for second in range(11)
    ]
    assert decisions == [None] * 10 + [7]
    decisions = [decided(controller, now=11 + second, workers=7, peak_busy=1) for second in range(11)]
    assert decisions == [None] * 10 + [4]


def test_a_pool_at_rest_gets_down_to_its_least() -> None:
    controller, workers = QueueDelay().controller(), 100
    for second in range(200):
        workers = decided(controller, now=second, workers=workers, min_workers=3) or workers
    assert workers == 3


@pytest.mark.parametrize(
    "sign", [{"peak_busy": 10}, {"dropped": 1}, {"queue_delay": 0.06}, {"started": 1, "least_queue_delay": 0.06}]
)
def test_the_idle_period_starts_again_with_each_sign_of_use(controller: ScalingController, sign: dict[str, Any]) -> None:
    for second in range(30):
        assert decided(controller, now=second, workers=10, **(sign if second % 10 == 9 else {})) is None


def test_a_square_wave_shorter_than_the_idle_period_moves_it_once_to_what_its_peaks_need() -> None:
    """The load is that of 20 places for 4 s, then that of 2 for 4 s, and so on."""
    controller, workers, changes = QueueDelay().controller(), 2, []
    for second in range(400):
        needed = 20 if second // 4 % 2 else 2
        numbers = late(1.0) if needed > workers else {"started": 100, "busy": needed, "peak_busy": needed}
        numbers["workers"] = workers
        decision = controller.decide(load(second, **numbers))
        if decision is not None:
            workers = decision.workers
            changes.append(workers)
    assert changes == [4, 8, 16, 32, 26, 23, 21, 20]


def test_a_square_wave_longer_than_that_makes_no_more_changes_than_allowed() -> None:
    controller, workers, changes = QueueDelay(interval=0.1, changes_per_second=0.25).controller(), 2, 0
    for tenth in range(10_000):
        needed = 20 if tenth // 300 % 2 else 2
        numbers = late(1.0) if needed > workers else {"started": 10, "busy": needed, "peak_busy": needed}
        decision = controller.decide(load(tenth / 10, **(numbers | {"workers": workers})))
        if decision is not None:
            workers, changes = decision.workers, changes + 1
    assert 10 < changes <= 1000 * 0.25


def test_it_says_why(controller: ScalingController) -> None:
    decision = controller.decide(load(**late(0.25)))
    assert decision is not None
    assert decision.reason == "jobs wait 0.25 s, target 0.1 s"
    for second in range(200, 211):
        decision = controller.decide(load(second))
    assert decision is not None
    assert decision.reason == "at most 0 of 10 places in use"
