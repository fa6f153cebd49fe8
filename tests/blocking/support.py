"""What tests of blocking jobs use."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any


class Blocking:
    """A function that blocks its thread until it is let go."""

    def __init__(self, outcome: Any = "late") -> None:
        self.outcome = outcome
        self.begun = threading.Event()
        self.released = threading.Event()
        self.ended = threading.Event()
        self.calls = 0

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        self.begun.set()
        try:
            assert self.released.wait(30), "nobody has let it go"
            if isinstance(self.outcome, BaseException):
                raise self.outcome
            return self.outcome
        finally:
            self.ended.set()


async def until(event: threading.Event) -> None:
    """Wait for something that happens in a thread."""
    assert await asyncio.to_thread(event.wait, 30)


def gone(pid: int) -> bool:
    """Say whether a process is gone: not even a zombie."""
    return not Path(f"/proc/{pid}").exists()


def dead(pid: int) -> bool:
    """Say whether a process that is no child of this one runs no more; whether it is a zombie is up to its new parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True
