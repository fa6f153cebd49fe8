"""Bad values, and what an error has to say about them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import decimal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.bad_input.hostile import Big, FightingFloat, FightingInt, Subtle
from weirpool.events import Observer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weirpool import WorkerPool

TEN_YEARS = 10 * 365 * 86_400
NAN, INF = float("nan"), float("inf")


def cases(allowed: str, wrong_kind: list[Any], wrong_size: list[Any]) -> list[tuple[Any, type[Exception], str]]:
    """Pair each bad value with the error that it deserves and what that has to say."""
    return [(value, TypeError, allowed) for value in wrong_kind] + [(value, ValueError, allowed) for value in wrong_size]


def shown(value: object) -> str:
    """Return how an error shows a value."""
    try:
        text = str.__str__(repr(value))
    except Exception:  # noqa: BLE001, RUF100
        return "repr() failed"
    return (text if text.isprintable() else ascii(text)[1:-1])[:77]


WHOLE = [True, False, 2.5, 2.0, NAN, INF, "3", b"3", None, [1], decimal.Decimal(3), 3j]
SECONDS = [True, False, "1", b"1", [1], decimal.Decimal(1), dt.timedelta(seconds=1), 1j, object()]
SIZES = [-1, -0.001, NAN, INF, -INF, TEN_YEARS + 1, TEN_YEARS * 1.01, 10**400, 10**5000, Subtle(-1), Big(10**400)]
SIZES += [FightingInt(-1), FightingFloat("nan")]
NAMES_KIND = [None, 3, b"pool", ["pool"], object()]
NAMES_SIZE = ["", "x" * 129, "evil\nCRITICAL forged entry", "a\tb", "\x1b[31mred", "zero\u200bwidth", "\u202eright-to-left"]

CONSTRUCTOR = {
    "max_workers": cases("an int of at least 1", WHOLE, [0, -1, 1_000_001, 10**5000, Big(0)]),
    "queue_size": cases("an int of at least 0", WHOLE, [-1, -(10**400), 10**10]),
    "job_timeout": cases("a number of seconds above 0 and at most ten years or None", SECONDS, [0, 0.0, *SIZES]),
    "submit_timeout": cases("a number of seconds above 0 and at most ten years or 0 (do not wait) or None", SECONDS, SIZES),
    "shutdown_timeout": cases("a number of seconds above 0 and at most ten years or 0", [None, *SECONDS], SIZES),
    "cancel_grace": cases("a number of seconds above 0 and at most ten years or 0", [None, *SECONDS], SIZES),
    "name": cases("a printable str of 1 to 128 characters", NAMES_KIND, NAMES_SIZE),
    "observers": cases(
        "a sequence of weirpool",
        [None, 3, Observer(), {Observer()}, "observers", [object()], [Observer], [Observer(), None]],
        [],
    ),
}
SUBMIT = {
    "timeout": cases("a number of seconds above 0 and at most ten years or None (no limit)", SECONDS, [0, 0.0, *SIZES]),
    "deadline": cases(
        "a finite loop time in seconds, at most ten years ahead",
        SECONDS,
        [NAN, INF, -INF, 1e300, 10**400, -(10**5000), 1.01 * TEN_YEARS + time.monotonic(), FightingFloat("nan")],
    ),
    "name": cases("a printable str of 1 to 128 characters", NAMES_KIND[1:], NAMES_SIZE),
}
ACLOSE = cases("a number of seconds above 0 and at most ten years or 0 (wait for nothing) or None", SECONDS, SIZES)


@contextlib.contextmanager
def refused(kind: type[Exception], argument: str, value: object, allowed: str) -> Iterator[None]:
    """Expect an error that names the argument, the value and what is allowed, on one line of reasonable length."""
    try:
        yield
    except Exception as error:  # noqa: BLE001, RUF100
        caught: Exception | None = error
    else:
        caught = None
    assert type(caught) is kind, (shown(value), caught)
    text = str(caught)
    assert text.isprintable(), "it may be logged, and a page may show it"
    assert text.startswith(f"{argument} must be ")
    assert allowed in text
    assert shown(value[-1] if type(value) is list and argument == "observers" else value) in text
    assert len(text) < 350


Submitting = Any


async def _submit(pool: WorkerPool, *args: Any, **options: Any) -> Any:
    return await (await pool.submit(*args, **options))


async def _submit_nowait(pool: WorkerPool, *args: Any, **options: Any) -> Any:
    return await pool.submit_nowait(*args, **options)


async def _run(pool: WorkerPool, *args: Any, **options: Any) -> Any:
    return await pool.run(*args, **options)


every_way = pytest.mark.parametrize("submit", [_submit, _submit_nowait, _run], ids=["submit", "submit_nowait", "run"])


def on_a_loop_of_its_own(main: Any) -> Any:
    """Run a coroutine to its end; hypothesis calls its tests more than once, and pytest-asyncio does not."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()
