"""What goes to a function in a process or interpreter, and what comes back: pickled, or an error that says what can't be."""

from __future__ import annotations

import io
import pickle
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ._callee import RAISED, RETURNED, UNLOADABLE, Loader, loads_main
from ._show import function_name, type_name

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["as_request", "introduction", "outcome", "picklable"]


def picklable(what: str, fn: Callable[..., Any]) -> None:
    """Refuse a function that can't be sent.

    Args:
        what: `in_process` or `in_interpreter`.
        fn: the function.

    Raises:
        TypeError: it can't be pickled, or only as something else: a decorator has taken its name.
    """
    try:
        pickle.dumps(fn, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        hint = "define it at the top level of a module, and do not decorate it with this"
        raise TypeError(
            f"{what}() takes a function that can be pickled, which {function_name(fn)} can not ({error}): {hint}"
        ) from error


def as_request(what: str, fn: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]) -> bytes:
    """Return a call as what is sent.

    Raises:
        TypeError: an argument can't be pickled.
    """
    try:
        return pickle.dumps((fn, args, keywords), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        given = next((name for name, value in _named(args, keywords) if not _can_be_sent(value)), "an argument")
        raise TypeError(f"{what}({function_name(fn)}) can't send {given}: it can't be pickled ({error})") from error


def _named(args: tuple[Any, ...], keywords: dict[str, Any]) -> list[tuple[str, Any]]:
    numbered = [(f"argument {number} ({type_name(value)})", value) for number, value in enumerate(args, 1)]
    return [*numbered, *((f"argument {name} ({type_name(value)})", value) for name, value in keywords.items())]


def _can_be_sent(value: Any) -> bool:
    try:
        pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:
        return False
    return True


def introduction() -> bytes:
    """Return what a new process or interpreter is told first: see `_callee.prepare`."""
    if loads_main():
        raise RuntimeError(
            "in_process() was called by the program's main module while that was loaded in a process of it: what it runs, "
            'and does not only define, belongs under `if __name__ == "__main__":`'
        )
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    name = None if spec is None or spec.name == "__main__" else spec.name  # which is so of a folder that is run
    return pickle.dumps(
        ([*map(str, sys.path)], [*map(str, sys.argv)], (name, None if name else getattr(main, "__file__", None)))
    )


def outcome(what: str, fn: Callable[..., Any], answer: memoryview) -> Any:
    """Return what a function has returned, or raise what it has raised.

    Args:
        what: `in_process` or `in_interpreter`.
        fn: the function.
        answer: what came back.

    Raises:
        TypeError: it could not be sent, or not be received.
        BaseException: what the function has raised, with its traceback there as a note.
    """
    status, rest = answer[0], answer[1:]
    called = f"{what}({function_name(fn)})"
    if status not in {RETURNED, RAISED}:
        text = bytes(rest).decode()
        raise TypeError(
            f"{called} can't be called: it can't be loaded there ({text})" if status == UNLOADABLE else f"{called} {text}"
        )
    try:
        result = Loader(io.BytesIO(rest)).load()
    except Exception as error:
        raise TypeError(f"{called} answered with what can't be unpickled here ({type_name(error)}: {error})") from error
    if status == RETURNED:
        return result
    raised, lines = result
    try:
        if lines:
            with suppress(Exception):  # its class may not let its attributes be set
                BaseException.add_note(raised, f"there, in {called}:\n{lines.rstrip()}")
        raise raised
    finally:
        del raised, result
