"""One run of a program on one schedule, and whether all was well.

Not only an exception of the program counts as a failure, but whatever asyncio or Python complain about: a call of the loop's
exception handler, a warning, an exception in a destructor, a task that the end of the program does not end.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import traceback
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._loop import DeterministicLoop
from ._schedule import Fault, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Mapping

    Main = Callable[[], Coroutine[Any, Any, object]]

__all__ = ["Complaint", "Run", "run"]

_CLEANUP_STEPS = 100_000


class Complaint(Exception):
    """The program ended, but asyncio or Python had something to complain about."""


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a program on a schedule.

    Args:
        schedule: the schedule.
        steps: how many callbacks were run.
        error: what went wrong, or None.
        deviations: the choices that were not the first, by number of the decision.
    """

    schedule: Schedule
    steps: int
    error: BaseException | None
    deviations: Mapping[int, int]


def run(
    main: Main,
    schedule: Schedule | str = "fifo",
    *,
    tolerate: tuple[type[BaseException], ...] = (),
    max_steps: int = 100_000,
    before_step: Callable[[DeterministicLoop], None] | None = None,
) -> Run:
    """Run a program once, as `asyncio.run` would, on a `DeterministicLoop`, on a schedule.

    When `main` has ended, what is left of its tasks is cancelled and waited for.

    Args:
        main: the program, an async function without arguments. All that it uses it must make itself: it may be run often.
        schedule: the schedule, or its text.
        tolerate: what `main` may raise if the schedule has faults, beside `CancelledError`; also in an exception group.
        max_steps: how many callbacks may run before this counts as a livelock.
        before_step: called with the loop before each step.

    Returns:
        What became of it.
    """
    if isinstance(schedule, str):
        schedule = Schedule.parse(schedule)
    loop = DeterministicLoop(schedule.make_policy(), max_steps=max_steps)
    loop.before_step = _prepared(loop, schedule.faults, before_step)
    error: BaseException | None = None
    with _sealed(loop.complaints):
        try:
            loop.run_until_complete(loop.create_task(main(), name="main"))
        except (KeyboardInterrupt, SystemExit):
            _abandon(loop)
            raise
        except BaseException as raised:
            if not schedule.faults or not _consists_of(raised, (asyncio.CancelledError, *tolerate)):
                error = raised
        if error is None:
            error = _end(loop)
        _abandon(loop)
        if error is not None:
            # What its frames hold would be found by the garbage collector later, in the middle of another run.
            traceback.clear_frames(error.__traceback__)
        gc.collect()
    if error is None and loop.complaints:
        error = Complaint("\n".join(loop.complaints))
    return Run(schedule, loop.steps, error, loop.deviations)


def _consists_of(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_consists_of(part, kinds) for part in error.exceptions)
    return isinstance(error, kinds)


def _prepared(
    loop: DeterministicLoop, faults: tuple[Fault, ...], also: Callable[[DeterministicLoop], None] | None
) -> Callable[[], None] | None:
    if not faults and also is None:
        return None

    def before_step() -> None:
        if also is not None:
            also(loop)
        for fault in faults:
            if fault.step == loop.steps:
                _inject(loop, fault)

    return before_step


def _inject(loop: DeterministicLoop, fault: Fault) -> None:
    if fault.action == "cancel-all":
        for task in loop.tasks().values():
            task.cancel()
    elif fault.action == "cancel":
        if (target := loop.tasks().get(fault.task or 0)) is not None:
            target.cancel()
    elif fault.action in loop.actions:  # else the program has not come to the point where that could happen
        loop.actions[fault.action]()


def _end(loop: DeterministicLoop) -> BaseException | None:
    """Do what `asyncio.run` does when its program has ended; return what goes wrong."""
    loop.before_step = loop.after_step = None

    async def end() -> None:
        left = [task for task in loop.tasks().values() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        await loop.shutdown_asyncgens()

    try:
        loop.run_until_complete(loop.create_task(end(), name="the end of the run"))
    except Exception as error:
        return error
    return None


def _abandon(loop: DeterministicLoop) -> None:
    """Close a loop, whatever is still going on on it."""
    for task in loop.tasks().values():
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
        with suppress(BaseException):  # a coroutine may refuse to end; it is not the garbage collector who should find out
            task.get_coro().close()
    loop.before_step = loop.after_step = None
    loop.actions.clear()
    loop.close()


@contextmanager
def _sealed(complaints: list[str]) -> Generator[None, None, None]:
    """Collect garbage at no other time than between runs, and take down what would be printed."""
    collecting, hook = gc.isenabled(), sys.unraisablehook
    gc.disable()
    sys.unraisablehook = lambda args: complaints.append(f"{args.err_msg or 'exception ignored'}: {args.exc_value!r}")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        sys.unraisablehook = hook
        if collecting:
            gc.enable()
    complaints.extend(f"{warning.category.__name__}: {warning.message}" for warning in caught)
