"""The simplest way to repeat a run that failed."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from ._checks import shown, whole
from ._loop import MAX_STEPS
from ._run import Run, run
from ._schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._run import Main

__all__ = ["alike", "shrink", "text"]


def shrink(
    main: Main,
    failed: Run,
    *,
    attempts: int = 400,
    tolerate: tuple[type[BaseException], ...] = (),
    max_steps: int = MAX_STEPS,
) -> Run:
    """Return the simplest run found that fails as the given one does: that one itself, if no simpler one does.

    It drops the faults that are not needed; then, by halves, as many as it can of the choices that the policy made, so that
    the order is the stock one but where it matters (A. Zeller, "Yesterday, my program worked. Today, it does not. Why?",
    ESEC/FSE 1999).

    Args:
        main: the program.
        failed: a run of it that failed.
        attempts: how many runs this may take.
        tolerate: what `main` may raise when something has been done to it.
        max_steps: how many callbacks a run may take.
    """
    if not isinstance(failed, Run):
        raise TypeError(f"failed must be a Run that failed, got {shown(failed)} ({type(failed).__name__})")
    if failed.error is None:
        raise ValueError(f"failed must be a Run that failed, got one that passed, on {str(failed.schedule)!r}")
    whole("attempts", attempts, 0)
    tries = iter(range(attempts))

    def still_fails(schedule: Schedule) -> Run | None:
        if next(tries, None) is None:
            return None
        again = run(main, schedule, tolerate=tolerate, max_steps=max_steps)
        return again if alike(again.error, failed.error) else None

    best = failed
    for index in reversed(range(len(failed.schedule.faults))):
        kept = best.schedule.faults[:index] + best.schedule.faults[index + 1 :]
        best = still_fails(replace(best.schedule, faults=kept)) or best
    faults = best.schedule.faults

    def scripted(script: Mapping[int, int]) -> Run | None:
        return still_fails(Schedule("script", script=script, faults=faults) if script else Schedule(faults=faults))

    best = scripted(best.deviations) or best
    size = len(best.schedule.script)
    while size:
        script = list(best.schedule.script.items())
        for start in range(0, len(script), size):
            shorter = scripted(dict(script[:start] + script[start + size :]))
            if shorter is not None:
                best = shorter
                break
        else:
            size //= 2
    return best


def alike(error: BaseException | None, other: BaseException | None) -> bool:
    """Say whether two runs went wrong in the same way."""
    return error is not None and _kind(error) == _kind(other)


def _kind(error: BaseException | None) -> tuple[object, str]:
    """Tell what went wrong, without numbers and addresses, which may be other ones in another run."""
    return type(error), re.sub(r"0x[0-9a-fA-F]+|[0-9]+", "", text(error).partition("\n")[0])


def text(error: BaseException | None) -> str:
    """Return the text of an error, if it has one."""
    try:
        return str(error)
    except Exception:
        return "str() failed"
