"""Find where a suspended task hangs."""

from __future__ import annotations

import asyncio
import linecache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import types

__all__ = ["where"]

_ASYNCIO = Path(asyncio.__file__).parent


def where(task: asyncio.Task[Any]) -> tuple[str, ...]:
    """Return the calls that a suspended task is in, outermost first, as "file:line in function: source".

    `Task.get_stack()` shows only the outermost coroutine of a suspended task; the line where it hangs is in the innermost.
    The walk ends at the first thing that is not a coroutine or generator: a future, or an awaitable written in C. The pool's
    own frame (outermost) and asyncio's (innermost, such as the inside of `asyncio.sleep`) are left out.
    """
    frames: list[types.FrameType] = []
    inner: Any = task.get_coro()
    while inner is not None:
        frame = getattr(inner, "cr_frame", None) or getattr(inner, "gi_frame", None) or getattr(inner, "ag_frame", None)
        if frame is None:
            break
        frames.append(frame)
        inner = getattr(inner, "cr_await", None) or getattr(inner, "gi_yieldfrom", None) or getattr(inner, "ag_await", None)
    frames = frames[1:]
    while len(frames) > 1 and Path(frames[-1].f_code.co_filename).parent == _ASYNCIO:
        frames.pop()
    return tuple(map(_line, frames))


def _line(frame: types.FrameType) -> str:
    code = frame.f_code
    source = linecache.getline(code.co_filename, frame.f_lineno).strip()
    return f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}{f': {source}' if source else ''}"
