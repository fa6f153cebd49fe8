"""KeyboardInterrupt and SystemExit end the event loop, and not the job or the observer that they happen to come up in."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["raise_in_loop"]

# Per thread: the loop that is about to stop for an exit.
_stopping = threading.local()


def raise_in_loop(loop: asyncio.AbstractEventLoop, error: BaseException) -> None:
    """Pass a KeyboardInterrupt or SystemExit on to the event loop, which stops for it, without unwinding the caller.

    The first of each turn, that is. What stops the loop is followed by its teardown (the end of `asyncio.run`), which another
    one that is still to come would cut short: nothing would be closed or cleaned up.
    """
    about_to = getattr(_stopping, "loop", None)
    if about_to is not None and about_to() is loop:
        return

    def throw() -> None:
        _stopping.loop = None
        raise error

    _stopping.loop = weakref.ref(loop)
    loop.call_soon(throw)
