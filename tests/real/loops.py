"""Make event loops of each kind; without pytest, since the programs that tests start do it too."""

from __future__ import annotations

import asyncio
import math

__all__ = ["new_loop"]


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """Make an event loop of a kind."""
    if kind == "uvloop":
        import uvloop

        uv: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return uv
    loop = asyncio.new_event_loop()
    if kind == "eager":
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]  # 3.12+
    if kind == "debug":
        loop.set_debug(True)
        loop.slow_callback_duration = math.inf  # tests that block the loop do it on purpose
    return loop
