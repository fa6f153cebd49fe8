"""A pool that runs each job at once, for tests of code that takes a pool."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weirpool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from weirpool import JobHandle

__all__ = ["InlinePool", "Submitted"]

_ONE_AT_A_TIME: dict[str, Any] = {
    "max_workers": 1,
    "min_workers": None,
    "scaling": None,
    "queue_size": 1_000_000_000,  # for what submit_nowait leaves for later
    "overload": "wait",
    # A job that submits others waits for them here, where it would not there: it must not be held up for that.
    "key_limit": 1_000_000,
    "max_lending": 1_000_000,
    "max_strays": 1_000_000,
}
_DEFAULTS: dict[str, Any] = WorkerPool.submit.__kwdefaults__ or {}


@dataclass(frozen=True, slots=True)
class Submitted:
    """Say what was submitted to an `InlinePool`.

    Attributes:
        fn: the function.
        args: its arguments.
        options: what else `submit` or `run` was given, if it is not the default: `{"timeout": 5}`, for instance.
        handle: the job.
    """

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    options: Mapping[str, Any]
    handle: JobHandle[Any]


class InlinePool(WorkerPool):
    """Run each job as soon as it is submitted, one at a time; for tests of code that takes a `WorkerPool`.

    ::

        async with InlinePool() as pool:
            await sign_up(pool, "ada")  # which submits jobs
        assert [(job.fn, job.args) for job in pool.submitted] == [(send_mail, ("ada",))]

    `submit` and `run` return when the job has ended. `submit_nowait` can't wait for that: it leaves the job to be run as soon
    as its caller awaits anything, ahead of what is submitted after it. What a job raises is in its handle, as always.

    All else is the real pool: tasks, contexts, deadlines, cancelling, observers, closing, report and checks of arguments. But
    it is never full, and jobs wait neither for a place (a job that submits another waits for that one) nor for others of
    their key. So a job that ends only when a later one has done something never does: that needs a real `WorkerPool`.

    Args:
        **options: those of `WorkerPool`, all checked as there. How many jobs may run or wait, and what happens when it is
            full, has no effect here.

    Raises:
        TypeError: an option is of the wrong kind.
        ValueError: an option is out of its range.
    """

    _options: dict[str, Any]
    _submitted: list[Submitted]
    _left: Counter[JobHandle[Any]]

    # To a type checker these have the signatures of WorkerPool, whose own way to say "not given" is not public.
    if not TYPE_CHECKING:

        def __init__(self, **options: Any) -> None:
            WorkerPool(**options)  # refuses what is wrong, also with that which has no effect here
            super().__init__(**{**options, **_ONE_AT_A_TIME})
            self._options = options
            self._submitted = []
            self._left = Counter()

        async def submit(self, fn: Callable[..., Any], /, *args: Any, **options: Any) -> JobHandle[Any]:
            """Run a job to its end, whichever that is, and return its handle.

            It waits for jobs that were submitted before, and while the pool is paused, as long as it takes. Cancelling it
            cancels the job, as with `run`. Arguments and errors are those of `WorkerPool.submit`.
            """
            handle = await super().submit(fn, *args, **options)
            self._note(fn, args, options, handle)
            await self._end_of(handle)
            return handle

        def submit_nowait(self, fn: Callable[..., Any], /, *args: Any, **options: Any) -> JobHandle[Any]:
            """Have a job run as soon as the caller awaits anything, after those that were submitted before.

            `await pool.wait_idle()` waits for all such. Arguments and errors are those of `WorkerPool.submit_nowait`.
            """
            handle = super().submit_nowait(fn, *args, **options)
            self._note(fn, args, options, handle)
            return handle

    @property
    def submitted(self) -> tuple[Submitted, ...]:
        """What was accepted, in that order; a submission that has joined the job of another (`coalesce`) has its handle.

        What other threads have submitted by `from_thread` is not in it.
        """
        return tuple(self._submitted)

    async def resize(self, *, min_workers: int | None = None, max_workers: int | None = None) -> None:
        """Check the numbers, and change nothing: one job runs at once here."""
        asked = {"min_workers": min_workers, "max_workers": max_workers}
        given = {name: value for name, value in asked.items() if value is not None}
        if given:
            WorkerPool(**{**self._options, **given})
            self._options |= given
        await super().resize(max_workers=1 if given else None)

    def _note(self, fn: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any], handle: JobHandle[Any]) -> None:
        given = {name: value for name, value in options.items() if value is not _DEFAULTS[name]}  # `run` passes all on
        self._submitted.append(Submitted(fn, args, given, handle))

    async def _end_of(self, handle: JobHandle[Any]) -> None:
        try:
            await handle.wait()
        except asyncio.CancelledError:
            self._left[handle] += 1
            if self._left[handle] == sum(it.handle is handle for it in self._submitted):
                handle.cancel()
                while not handle.done():  # at most for the pool's cancel_grace
                    with suppress(asyncio.CancelledError):
                        await handle.wait()
            raise
        except RuntimeError:
            # It has joined (`coalesce`) a job that waits for it, maybe itself. There the handle comes back at once; so here.
            return
