"""A function, run in a process of its own: whose memory is new, and is given back."""

from __future__ import annotations

import os
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

__all__ = ["apart"]

P = ParamSpec("P")
T = TypeVar("T")


def apart(function: Callable[Concatenate[Callable[[T], None], P], None], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function of a module in a new process, which inherits nothing, and return what it tells.

    It gets what to tell it with as its first argument. Telling ends the process, so that nobody has to wait until a million
    jobs have been cleaned up.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_inside, args=(theirs, function, args, kwargs), daemon=True)
    process.start()
    theirs.close()
    try:
        told: T = ours.recv()
    except EOFError:
        process.join()
        raise RuntimeError(f"{function.__name__}{args!r} ended with status {process.exitcode}, and told nothing") from None
    finally:
        ours.close()
    process.join()
    return told


def _inside(pipe: Connection, function: Callable[..., None], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    def tell(result: object) -> None:
        pipe.send(result)
        pipe.close()
        os._exit(0)

    function(tell, *args, **kwargs)
