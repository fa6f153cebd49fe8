"""Row 1: ten thousand jobs of every kind of end, and the same books on every kind of loop (R1, R2, R4, R5, R6, R7, R8).

A million of them, and the memory that they take, is for benchmarks/soak.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.real.kinds import EACH_KIND, run
from tests.real.load import WORKERS, MixedLoad, Steps
from weirpool import testing

if TYPE_CHECKING:
    from collections.abc import Coroutine

pytestmark = pytest.mark.realtime

JOBS = 10_000


def explored(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on the deterministic loop, and return its result."""
    results: list[Any] = []

    async def keep() -> None:
        results.append(await main)

    ran = testing.run(keep, max_steps=1_000_000)
    if ran.error is not None:
        raise ran.error
    return results[0]


def check(load: MixedLoad, books: Any) -> None:
    """Check the books against the plan, and what was seen of the pool meanwhile."""
    assert books == load.planned
    assert not load.imbalances
    assert WORKERS - 10 < load.most_inside <= WORKERS, "the load was too light to tell"


@pytest.mark.complains  # of the jobs that ignore their cancellation
@EACH_KIND
def test_the_books_of_a_mixed_load_are_what_follows_from_its_plan(kind: str) -> None:
    load = MixedLoad(1, JOBS if kind != "debug" else JOBS // 10)
    check(load, run(kind, load.run))


@pytest.mark.complains
def test_the_books_of_a_mixed_load_are_the_same_on_the_explorers_loop() -> None:
    load = MixedLoad(1, JOBS)
    check(load, explored(load.run()))


@EACH_KIND
@pytest.mark.parametrize("seed", range(3))
def test_the_same_steps_have_the_same_history_as_on_the_explorers_loop(kind: str, seed: int) -> None:
    expected = explored(Steps(seed, 500).run())
    assert {happening.what for happening in expected} == {"accepted", "started", "ended", "refused", "stats", "end"}
    assert run(kind, Steps(seed, 500).run) == expected
