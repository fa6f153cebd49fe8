"""One run of a program on one schedule, and whether all was well.

Not only an exception of the program counts as a failure, but whatever asyncio or Python complain about: a call of the loop's
exception handler, a warning, an exception in a destructor, a task that the end of the program does not end.
"""

from __future__ import annotations

import asyncio
import traceback
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ._checks import exception_types, shown
from ._loop import MAX_STEPS, DeterministicLoop
from ._schedule import CANCELLATIONS, as_schedule
from ._seal import sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from ._schedule import Fault, Schedule

    Main = Callable[[], Coroutine[Any, Any, object]]

__all__ = ["Complaint", "Run", "run"]

_STEPS_TO_END = 10_000  # on top of what the program may take
_ATTEMPTS_TO_UNWIND = 100


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

    def check(self) -> None:
        """Raise what went wrong, if anything did."""
        if self.error is not None:
            raise self.error


def run(
    main: Main,
    schedule: Schedule | str = "fifo",
    *,
    tolerate: tuple[type[BaseException], ...] = (),
    max_steps: int = MAX_STEPS,
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
    if asyncio._get_running_loop() is not None:  # noqa: SLF001
        raise RuntimeError(
            "an event loop is running here, and run() makes one of its own: call it from a synchronous function"
        )
    schedule = as_schedule(schedule)
    exception_types("tolerate", tolerate)
    tolerated: tuple[type[BaseException], ...] = (asyncio.CancelledError, *tolerate) if schedule.faults else ()
    loop = DeterministicLoop(schedule.make_policy(), max_steps=max_steps)
    loop.intervene = _intervention(loop, schedule.faults, before_step)
    with sealed(loop.complaints):
        try:
            error = _begin(loop, main, tolerated)
            if error is None:
                error = _end(loop)
            result = Run(schedule, loop.steps, error, dict(loop.deviations))
            if error is not None:
                _end(loop)  # let it put its things away; what its frames hold must not be found in the middle of another run
                traceback.clear_frames(error.__traceback__)
        finally:
            _abandon(loop)
    if error is None and loop.complaints:
        return replace(result, error=Complaint("\n".join(loop.complaints)))
    if error is not None:
        for complaint in loop.complaints:  # which may tell the cause: a worker that died, so that all wait for it
            error.add_note(complaint)
    return result


def _intervention(
    loop: DeterministicLoop, faults: tuple[Fault, ...], also: Callable[[DeterministicLoop], None] | None
) -> Callable[[], None] | None:
    if not faults and also is None:
        return None

    def intervene() -> None:
        if also is not None:
            also(loop)
        for fault in faults:
            if fault.step == loop.steps:
                _inject(loop, fault)

    return intervene


def _inject(loop: DeterministicLoop, fault: Fault) -> None:
    if fault.action in CANCELLATIONS and fault.action in loop.actions:
        raise ValueError(
            f"loop.actions must have names other than {fault.action!r}, which cancels tasks and would never call "
            f"{shown(loop.actions[fault.action])}"
        )
    tasks = loop.tasks()
    if fault.action == "cancel-all":
        for task in tasks.values():
            task.cancel()
    elif fault.action == "cancel":
        if fault.task in tasks:  # else the script was made for another program
            tasks[fault.task].cancel()
    elif fault.action in loop.actions:  # else the program has not come to the point where that could happen
        loop.actions[fault.action]()


def _begin(loop: DeterministicLoop, main: Main, tolerated: tuple[type[BaseException], ...]) -> BaseException | None:
    """Run the program to its end; return what goes wrong and is not tolerated of `main`."""
    task = loop.create_task(_called(main), name="main")
    try:
        loop.run_until_complete(task)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        mains = isinstance(error, asyncio.CancelledError) if task.cancelled() else task.done() and error is task.exception()
        return None if mains and _consists_of(error, tolerated) else error
    return None


def _called(main: Any) -> Coroutine[Any, Any, object]:
    if asyncio.iscoroutine(main):
        main.close()  # or it would complain that it was never awaited
        raise TypeError("main must be an async function, got a coroutine: pass main, not main()")
    coroutine = main()
    if not asyncio.iscoroutine(coroutine):
        raise TypeError(f"main must be an async function, got {shown(main)}, which returned {shown(coroutine)}")
    return coroutine


def _consists_of(error: BaseException, kinds: tuple[type[BaseException], ...]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_consists_of(part, kinds) for part in error.exceptions)
    return isinstance(error, kinds)


def _end(loop: DeterministicLoop) -> BaseException | None:
    """Do what `asyncio.run` does when its program has ended; return what goes wrong."""
    loop.intervene = loop.before_step = loop.after_step = None
    loop.max_steps = loop.steps + _STEPS_TO_END

    async def end() -> None:
        tasks = dict.fromkeys([*loop.tasks().values(), *asyncio.all_tasks()])  # the second has those that were not made here
        left = [task for task in tasks if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        await loop.shutdown_asyncgens()

    try:
        loop.run_until_complete(loop.create_task(end(), name="the end of the run"))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return error
    if left := loop.stacks():
        return Complaint(f"these were begun when the program had ended, and would never end:\n{left}")
    return None


def _abandon(loop: DeterministicLoop) -> None:
    """Close a loop, whatever is still going on on it."""
    asyncio._set_running_loop(loop)  # noqa: SLF001  # for coroutines that wait for something even now
    try:
        for task in asyncio.all_tasks(loop):
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
            _unwind(task.get_coro())
    finally:
        asyncio._set_running_loop(None)  # noqa: SLF001
    loop.actions.clear()
    loop.close()


def _unwind(coroutine: Any) -> None:
    """Make a coroutine end that did not end on cancellation, or it would complain in some later test."""
    for _ in range(_ATTEMPTS_TO_UNWIND):
        with suppress(Exception, GeneratorExit, asyncio.CancelledError):
            coroutine.close()
            return
