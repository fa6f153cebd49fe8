"""Writing all of something to a descriptor."""

from __future__ import annotations

import os
import select

__all__ = ["write_all"]


def write_all(file: int, data: bytes) -> None:
    """Write all of it: a disk that is nearly full takes a part, and says so only the next time; so does a pipe."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(file, rest) :]
        except BlockingIOError:  # it is shared with somebody who wants it so
            select.select([], [file], [])
