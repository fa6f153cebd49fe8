"""What holds for every policy: bounds, repeatability, names, arguments, looks."""

from __future__ import annotations

import dataclasses
import pickle
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import weirpool.policies
from tests.bad_input.support import INF, NAN, SECONDS, SIZES, WHOLE, cases, refused
from tests.policies.support import load
from weirpool.policies import (
    Adaptive,
    CallerRuns,
    CoDel,
    DropOldest,
    EarlyRefusal,
    OnDemand,
    OverloadPolicy,
    QueueDelay,
    Reject,
    ScalingPolicy,
    Step,
    Wait,
    named,
)

SCALING: list[ScalingPolicy] = [
    OnDemand(),
    Step(),
    Step(step=1_000_000),
    QueueDelay(),
    QueueDelay(evidence=1, changes_per_second=100, idle_period=0.1),
    Adaptive(),
    Adaptive(evidence=1, tolerance=1, probe_after=0.1),
]
OVERLOAD: list[OverloadPolicy] = [Wait(), Reject(), DropOldest(), CallerRuns(), CoDel(), EarlyRefusal()]
every_scaling = pytest.mark.parametrize("policy", SCALING, ids=repr)
every_policy = pytest.mark.parametrize("policy", [*SCALING, *OVERLOAD], ids=repr)

# Bounds ---------------------------------------------------------------------------------------------------------------

counts = st.integers(0, 10**6) | st.integers(0, 20)
durations = st.floats(0, 1e6) | st.just(0.0)
happenings = st.fixed_dictionaries(
    {"passed": st.floats(0, 100), "fewest": st.integers(1, 50), "spread": st.integers(0, 200)},
    optional=dict.fromkeys(
        ["busy", "queued", "waiting", "started", "succeeded", "failed", "timed_out", "dropped", "peak_busy"], counts
    )
    | dict.fromkeys(["queue_delay", "least_queue_delay", "busy_seconds"], durations),
)


@every_scaling
@given(st.lists(happenings, max_size=40), st.integers(1, 250))
@settings(max_examples=100, deadline=None, database=None, derandomize=True)
def test_whatever_it_is_told_it_stays_within_the_bounds_and_above_zero(
    policy: ScalingPolicy, history: list[dict[str, Any]], workers: int
) -> None:
    controller, now = policy.controller(), 0.0
    for numbers in history:
        now += numbers.pop("passed")
        fewest = numbers.pop("fewest")
        most = fewest + numbers.pop("spread")
        workers = min(max(workers, fewest), most)
        decision = controller.decide(load(now, workers, min_workers=fewest, max_workers=most, **numbers))
        if decision is not None:
            assert 1 <= fewest <= decision.workers <= most
            assert decision.workers != workers
            assert decision.reason.isprintable()
            workers = decision.workers


@every_scaling
def test_a_pool_with_bounds_of_nonsense_still_keeps_a_place(policy: ScalingPolicy) -> None:
    controller = policy.controller()
    for second in range(100):
        decision = controller.decide(load(second, 5, min_workers=0, max_workers=0, peak_busy=2))
        assert decision is None or decision.workers >= 1


@every_scaling
@given(st.lists(happenings, max_size=20))
@settings(max_examples=50, deadline=None, database=None, derandomize=True)
def test_the_same_loads_get_the_same_decisions(policy: ScalingPolicy, history: list[dict[str, Any]]) -> None:
    controllers = [policy.controller(), policy.controller()]
    now = 0.0
    for numbers in history:
        now += numbers.pop("passed")
        numbers = numbers | {"min_workers": numbers.pop("fewest"), "max_workers": 50 + numbers.pop("spread")}
        first, second = (controller.decide(load(now, 50, **numbers)) for controller in controllers)
        assert first == second


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "policy"),
    [("wait", Wait()), ("reject", Reject()), ("drop_oldest", DropOldest()), ("caller_runs", CallerRuns())],
)
def test_the_simple_policies_have_names_and_nobody_to_ask(name: str, policy: OverloadPolicy) -> None:
    assert named(name) == policy
    assert policy.when_full == name
    assert policy.controller() is None


def test_a_name_may_be_of_a_class_of_its_own() -> None:
    class Name(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "lies"

    assert named(Name("reject")) == Reject()


NAMES = "one of wait, reject, drop_oldest, caller_runs"
WHEN_FULL = cases(NAMES, [None, 3, b"wait", Wait(), ["wait"]], ["", "Wait", "waits", "codel", "wait\n"])


@pytest.mark.parametrize(("value", "kind", "allowed"), WHEN_FULL)
def test_other_names_are_refused(value: Any, kind: type[Exception], allowed: str) -> None:
    with refused(kind, "overload", value, allowed):
        named(value)


# Arguments ------------------------------------------------------------------------------------------------------------

PERIODS = cases("a number of seconds above 0 and at most ten years", [None, *SECONDS], [0, 0.0, *SIZES])
EVIDENCE = cases("an int of at least 1 (jobs, at most 1,000,000)", WHOLE, [0, -1, 1_000_001])
SEED = cases("an int of at least 0 (of a generator", WHOLE, [-1, 2**64 + 1])
NO_NUMBER = [None, True, "1", [1], 1j]
SHARES = cases("a number of at least 0 (a share of the queue, at most 1)", NO_NUMBER, [-0.1, 1.1, NAN, INF, 10**400])
RATES = cases("a number of at least 0.001 (changes in a second, at most 100)", NO_NUMBER, [0, 0.0009, 101, NAN, INF])
TOLERANCES = cases("a number of at least 1 (times the baseline, at most 100)", NO_NUMBER, [0, 0.99, 101, NAN, -INF, 10**400])
ARGUMENTS: list[tuple[type, str, list[tuple[Any, type[Exception], str]]]] = [
    (OnDemand, "idle_period", PERIODS),
    (Step, "interval", PERIODS),
    (Step, "step", cases("an int of at least 1 (places, at most 1,000,000)", WHOLE, [0, -2])),
    (QueueDelay, "target", PERIODS),
    (QueueDelay, "interval", PERIODS),
    (QueueDelay, "evidence", EVIDENCE),
    (QueueDelay, "changes_per_second", RATES),
    (QueueDelay, "idle_period", PERIODS),
    (Adaptive, "interval", PERIODS),
    (Adaptive, "evidence", EVIDENCE),
    (Adaptive, "tolerance", TOLERANCES),
    (Adaptive, "probe_after", PERIODS),
    (Adaptive, "seed", SEED),
    (CoDel, "target", PERIODS),
    (CoDel, "interval", PERIODS),
    (CoDel, "when_full", WHEN_FULL),
    (EarlyRefusal, "low", SHARES),
    (EarlyRefusal, "high", SHARES),
    (EarlyRefusal, "when_full", WHEN_FULL),
    (EarlyRefusal, "seed", SEED),
]


@pytest.mark.parametrize(
    ("policy", "argument", "listed"), ARGUMENTS, ids=[f"{policy.__name__}.{argument}" for policy, argument, _ in ARGUMENTS]
)
def test_a_bad_argument_is_named(policy: type, argument: str, listed: list[tuple[Any, type[Exception], str]]) -> None:
    for value, kind, allowed in listed:
        with refused(kind, argument, value, allowed):
            policy(**{argument: value})


def test_these_are_all_the_arguments_there_are() -> None:
    taken = {(type(policy), field.name) for policy in [*SCALING, *OVERLOAD] for field in dataclasses.fields(policy)}  # type: ignore[arg-type]
    assert {(policy, argument) for policy, argument, _ in ARGUMENTS} == taken


def test_an_interval_that_is_not_longer_than_the_target_is_refused() -> None:
    with refused(ValueError, "interval", 0.1, "above target (0.1 s)"):
        CoDel(target=0.1, interval=0.1)


def test_a_higher_depth_that_is_not_above_the_lower_one_is_refused() -> None:
    with refused(ValueError, "high", 0.5, "above low (0.5)"):
        EarlyRefusal(low=0.5, high=0.5)


def test_arguments_are_plain_numbers_afterwards() -> None:
    class Lying(float):
        def __lt__(self, other: object) -> bool:
            return True

    assert type(CoDel(target=Lying(0.2)).target) is float
    assert type(QueueDelay(changes_per_second=Lying(1)).changes_per_second) is float


# Looks ----------------------------------------------------------------------------------------------------------------


@every_policy
def test_a_policy_is_a_value(policy: Any) -> None:
    assert policy == pickle.loads(pickle.dumps(policy))
    assert hash(policy) == hash(dataclasses.replace(policy))
    assert repr(policy).startswith(type(policy).__name__ + "(")
    for field in dataclasses.fields(policy):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(policy, field.name, 1)


def test_public_names_say_that_they_are_of_the_package() -> None:
    for name in weirpool.policies.__all__:
        thing = getattr(weirpool.policies, name)
        assert thing.__module__ == "weirpool.policies", name
        assert thing.__doc__, name
        assert typing.get_type_hints(thing) is not None, name
