"""Nonsense of all kinds is either legal or refused by name, and a refusal changes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.bad_input.support import (
    NAN,
    TEN_YEARS,
    on_a_loop_of_its_own,
)
from tests.support import echo
from weirpool import JobHandle, JobState, PoolState, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable


nonsense = st.one_of(
    st.integers(),
    st.integers(min_value=-(10**30), max_value=10**30),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(min_value=0, max_value=1e9),
    st.booleans(),
    st.none(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.decimals(),
    st.fractions(),
    st.complex_numbers(),
    st.timedeltas(),
    st.lists(st.integers(), max_size=2),
)
thorough = settings(max_examples=100, deadline=None, database=None, derandomize=True)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_seconds(value: Any) -> bool:
    return is_number(value) and 0 < value <= TEN_YEARS


LEGAL: dict[str, Callable[[Any], bool]] = {
    "max_workers": lambda value: is_whole(value, 1, 10**6),
    "queue_size": lambda value: is_whole(value, 0, 10**9),
    "job_timeout": lambda value: value is None or is_seconds(value),
    "submit_timeout": lambda value: value is None or is_seconds(value) or (is_number(value) and value == 0),
    "shutdown_timeout": lambda value: is_seconds(value) or (is_number(value) and value == 0),
    "cancel_grace": lambda value: (is_seconds(value) or (is_number(value) and value == 0)) and value <= 20,
}


@pytest.mark.parametrize("argument", LEGAL)
@thorough
@given(value=nonsense)
@example(value=NAN)
@example(value=0)
@example(value=-0.0)
@example(value=5e-324)
@example(value=10**6)
@example(value=10**9)
def test_a_number_for_the_constructor_is_either_legal_or_refused_by_name(argument: str, value: Any) -> None:
    options: dict[str, Any] = {"cancel_grace": 0} if argument == "shutdown_timeout" else {}
    refusal = refusal_of(lambda: WorkerPool(**{argument: value, **options}))
    whole = argument in {"max_workers", "queue_size"}
    of_the_right_kind = is_number(value) and (isinstance(value, int) or not whole)
    check(refusal, argument, legal=LEGAL[argument](value), of_the_right_kind=of_the_right_kind)


def refusal_of(call: Callable[[], object]) -> Exception | None:
    """Return what a call raises, if it does."""
    try:
        call()
    except Exception as error:  # noqa: BLE001, RUF100
        return error
    return None


def check(refusal: Exception | None, argument: str, *, legal: bool, of_the_right_kind: bool) -> None:
    """Check that a value was refused if it is not legal, and rightly."""
    if legal:
        assert refusal is None
    else:
        assert type(refusal) is (ValueError if of_the_right_kind else TypeError)
        assert str(refusal).startswith(f"{argument} must be ")


@pytest.mark.realtime
@pytest.mark.parametrize("argument", ["timeout", "deadline"])
@thorough
@given(value=nonsense)
@example(value=NAN)
@example(value=5e-324)
def test_a_number_for_submit_is_either_legal_or_refused_by_name(argument: str, value: Any) -> None:
    async def main() -> None:
        async with WorkerPool() as pool:
            ahead = TEN_YEARS + asyncio.get_running_loop().time()
            legal = value is None or (
                is_seconds(value) if argument == "timeout" else is_number(value) and -1e300 < value <= ahead
            )
            handles: list[JobHandle[Any]] = []
            refusal = refusal_of(lambda: handles.append(pool.submit_nowait(echo, 1, **{argument: value})))
            check(refusal, argument, legal=legal, of_the_right_kind=is_number(value))
            assert pool.stats().accepted == len(handles) == legal
            for handle in handles:
                await handle.wait()
                assert handle.state in {JobState.SUCCEEDED, JobState.TIMED_OUT}
                handle.exception()
            assert await pool.run(echo, 7) == 7

    on_a_loop_of_its_own(main())


@pytest.mark.realtime
@thorough
@given(value=nonsense)
@example(value=NAN)
def test_a_number_for_aclose_is_either_legal_or_refused_by_name(value: Any) -> None:
    async def main() -> None:
        async with WorkerPool() as pool:
            legal = value is None or is_seconds(value) or (is_number(value) and value == 0)
            (refusal,) = await asyncio.gather(pool.aclose(timeout=value), return_exceptions=True)
            error = refusal if isinstance(refusal, Exception) else None
            check(error, "timeout", legal=legal, of_the_right_kind=is_number(value))
            assert pool.state is (PoolState.CLOSED if legal else PoolState.OPEN)
            assert legal or await pool.run(echo, 7) == 7

    on_a_loop_of_its_own(main())
