"""Trying a job again: all its attempts are one job, which has no place while it waits between two of them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from ._around import Around
from ._deadline import remaining
from ._lending import Lent
from ._run import current_run
from ._runner import NotAwaitable, as_awaitable

if TYPE_CHECKING:
    from types import TracebackType

    from ._crew import Crew
    from ._run import Run
    from .policies.retry import Retry

__all__ = ["retrying"]

_ALWAYS = 3


def retrying(fn: Any, policy: Retry, crew: Crew) -> Around:
    """Wrap a job's function, so that it is tried again as a policy says."""
    return Around.of(fn, partial(_attempts, policy, crew))


async def _attempts(policy: Retry, crew: Crew, fn: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    strategy = policy.retrying()
    run = current_run()
    assert run is not None

    def stop(state: Any) -> bool:
        left = remaining()
        return bool(
            strategy.stop(state)
            or isinstance(last, NotAwaitable)
            or run.job is None  # it has ignored its cancellation, and is abandoned
            or run.cause is not None
            or (left is not None and state.upcoming_sleep >= left)
            or crew.lending.retrying >= max(_ALWAYS, policy.share * crew.busy)
        )

    last: BaseException | None = None
    where: TracebackType | None = None

    async def attempt() -> Any:  # a callable that tenacity is sure to await
        nonlocal last, where
        try:
            return await as_awaitable(fn(*args, **keywords))
        except BaseException as error:
            last, where = error, error.__traceback__
            raise

    records: list[Any] = []
    attempts = strategy.copy(sleep=partial(_pause, run, crew), stop=stop, before=records.append, reraise=True)
    try:
        return await attempts(attempt)
    except BaseException as error:
        if error is not last:
            raise
        # Tenacity's frames hold its record of the attempt, and that holds the error: a reference cycle, and nothing to read.
        raise BaseException.with_traceback(error, where)  # noqa: B904  # it is the same one; past any method of its class
    finally:
        # Nor may this frame hold what holds this frame; and that of an attempt may lead back to tenacity's all the same.
        last = where = None
        for record in records:
            record.outcome = None
        records.clear()
        attempts.iter_state.reset()


async def _pause(run: Run, crew: Crew, seconds: float) -> None:
    """Wait between two attempts, without a place."""
    crew.lending.retrying += 1
    try:
        async with Lent(run, crew, anyway=True) as wait:
            await asyncio.sleep(seconds)
            if crew.steering.paced is not None and run.job is not None:
                await crew.steering.paced.again(run.job, wait)
    finally:
        crew.lending.retrying -= 1
