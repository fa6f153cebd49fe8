"""Find where a suspended task hangs."""

from __future__ import annotations

import asyncio
import linecache
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator

__all__ = ["RUNNER", "line_of", "where"]

_DEEPEST = 100
_ASYNCIO = asyncio.__file__.removesuffix("__init__.py")  # pathlib would be imported for this only
RUNNER = __file__.removesuffix("_stack.py") + "_runner.py"
"""The file of the pool's own frame in the task of a job."""
_BLOCKING = __file__.removesuffix("_stack.py") + "_blocking.py"


def where(task: asyncio.Task[Any]) -> tuple[str, ...]:
    """Return the calls that a suspended task is in, outermost first, as "file:line in function: source".

    `Task.get_stack()` shows only the outermost coroutine of a suspended task; the line where it hangs is in the innermost.
    The walk ends at the first thing that is not a coroutine or generator: a future, or an awaitable written in C. The pool's
    own frame (else the outermost), what a task factory has put around it, and asyncio's innermost (the inside of
    `asyncio.sleep`) are left out. Where it waits for a function that it has called in a thread, the walk goes on in that.
    """
    lines: list[str] = []
    with suppress(Exception):  # an awaitable of a user's may raise when looked at; what was found by then is still something
        lines.extend(_lines(task.get_coro()))
    lines = lines[next((number for number, line in enumerate(lines, 1) if line.startswith(RUNNER)), 1) :]
    while len(lines) > 1 and lines[-1].startswith(_ASYNCIO):
        lines.pop()
    return tuple(lines)


def line_of(frame: types.FrameType) -> str:
    """Return where a frame is, as "file:line in function: source"."""
    code = frame.f_code
    source = linecache.getline(code.co_filename, frame.f_lineno).strip()
    return f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}{f': {source}' if source else ''}"


def _lines(awaitable: Any) -> Iterator[str]:
    for _ in range(_DEEPEST):
        frame: types.FrameType | None = (
            getattr(awaitable, "cr_frame", None)
            or getattr(awaitable, "gi_frame", None)
            or getattr(awaitable, "ag_frame", None)
        )
        if frame is None:
            return
        if frame.f_code.co_filename == _BLOCKING and (elsewhere := _elsewhere(awaitable)):
            yield from elsewhere
            return
        yield line_of(frame)
        awaitable = (
            getattr(awaitable, "cr_await", None)
            or getattr(awaitable, "gi_yieldfrom", None)
            or getattr(awaitable, "ag_await", None)
        )


def _elsewhere(call: types.CoroutineType[Any, Any, Any]) -> tuple[str, ...]:
    """Return where the function is that a task has called in a thread, or in a process.

    What it waits for there says so itself, and is found in the frame of whoever waits: a list of all would have to be kept.
    """
    waiting: Any = call.cr_await
    work = waiting.cr_frame.f_locals.get("work")
    lines: tuple[str, ...] = () if work is None else work.where()
    return lines
