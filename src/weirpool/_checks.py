"""Refuse bad input at the call that brings it, with the argument's name, its value and what is allowed.

Each check either returns the value to use or raises: TypeError for the wrong kind, ValueError for the wrong size,
RuntimeError for the wrong place. No check changes anything.

The bounds are stricter than asyncio's on purpose: there, NaN as a deadline kills the event loop on 3.13, and a queue size
of 0, -1 or NaN means "infinite".
"""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["instances", "job_function", "label", "loop_time", "on_loop", "seconds", "whole"]

T = TypeVar("T")

_TEN_YEARS = 10 * 365 * 86_400
_A_BILLION = 1_000_000_000
_LONGEST_NAME = 128
_NATIVE = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE


def _shown(value: object) -> str:
    """Show a value in an error without trusting its repr to be short, or to work."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__} whose repr() failed>"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _kind(rule: str, value: object) -> TypeError:
    return TypeError(f"{rule}, got {_shown(value)} ({type(value).__name__})")


def whole(name: str, value: object, unit: str, least: int) -> int:
    """Return `value` if it is an int of at least `least`."""
    rule = f"{name} must be an int of at least {least} ({unit}, at most {_A_BILLION:,})"
    if isinstance(value, bool) or not isinstance(value, int):
        raise _kind(rule, value)
    if not least <= value <= _A_BILLION:
        raise ValueError(f"{rule}, got {_shown(value)}")
    return int(value)


def seconds(name: str, value: object, *, zero: str = "", none: str = "") -> float:
    """Return `value` if it is a finite number of seconds above 0.

    Args:
        name: the argument's name.
        value: what was given.
        zero: what 0 means, where it is allowed.
        none: what None means, where it is allowed; the caller has dealt with None itself.
    """
    # A comparison with NaN is false, and one with an int is exact however large that is.
    if type(value) is float or type(value) is int:
        if 0 < value <= _TEN_YEARS or (zero and value == 0):
            return value
        refusal: type[Exception] = ValueError
    elif isinstance(value, int | float) and not isinstance(value, bool):  # a subclass, such as numpy.float64
        return seconds(name, float(value), zero=zero, none=none)
    else:
        refusal = TypeError
    rule = [f"{name} must be a number of seconds above 0 and at most ten years"]
    if zero:
        rule.append(f"0 ({zero})")
    if none:
        rule.append(f"None ({none})")
    raise refusal(f"{' or '.join(rule)}, got {_shown(value)} ({type(value).__name__})")


def loop_time(name: str, value: object) -> float:
    """Return `value` if it is a finite point on the event loop's clock."""
    rule = f"{name} must be a finite loop time in seconds, such as loop.time() + 5, or None (no deadline)"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _kind(rule, value)
    if not -1e15 < value < 1e15:
        raise ValueError(f"{rule}, got {_shown(value)}")
    return float(value)


def label(name: str, value: object) -> str:
    """Return `value` if it is a name that is safe in a log line and on a page."""
    rule = f"{name} must be a printable str of 1 to {_LONGEST_NAME} characters"
    if not isinstance(value, str):
        raise _kind(rule, value)
    if not 0 < len(value) <= _LONGEST_NAME or not value.isprintable():
        raise ValueError(f"{rule}, got {_shown(value)}")
    return str(value)


def instances(name: str, value: object, kind: type[T]) -> tuple[T, ...]:
    """Return `value` as a tuple if it is a sequence of instances of `kind`."""
    rule = f"{name} must be a sequence of {kind.__module__}.{kind.__qualname__} instances"
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise _kind(rule, value)
    for index, item in enumerate(value):
        if not isinstance(item, kind):
            raise TypeError(f"{rule}, got {_shown(item)} ({type(item).__name__}) as number {index}")
    return tuple(value)


def job_function(fn: Callable[..., Awaitable[Any]]) -> None:
    """Refuse what can't be a job: anything that calling will surely not turn into an awaitable.

    A plain function is let through, since a decorated one may well return a coroutine; if it does not, the job fails.
    """
    if type(fn) is types.FunctionType and fn.__code__.co_flags & _NATIVE:
        return  # nearly every job; the rest of this function is for the others
    thing: object = fn
    if isinstance(thing, types.CoroutineType):
        called = thing.__qualname__
        thing.close()  # or it would warn, later and elsewhere, that it was never awaited
        raise TypeError(
            f"fn must be an async function, got the coroutine {called}(...): "
            f"pass the function and its arguments, submit({called}, ...) instead of submit({called}(...))"
        )
    if not callable(thing):
        hint = ": await it yourself, or pass an async function that does" if inspect.isawaitable(thing) else ""
        raise TypeError(f"fn must be an async function, got {_shown(thing)} ({type(thing).__name__}){hint}")
    if inspect.isasyncgenfunction(thing) or inspect.isgeneratorfunction(thing):
        raise TypeError(
            f"fn must be an async function, got the generator function {_shown(thing)}: wrap it in one that consumes it"
        )
    if inspect.isclass(thing):
        raise TypeError(f"fn must be an async function, got the class {_shown(thing)}")


def on_loop(what: str, loop: asyncio.AbstractEventLoop) -> None:
    """Refuse a call from another thread, or from another event loop of this one."""
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is not loop:
        where = "a place where no event loop runs (another thread?)" if running is None else "another event loop"
        raise RuntimeError(
            f"{what} was called from {where}; it must be called on the event loop that the pool was entered on, "
            f"for instance with loop.call_soon_threadsafe() or asyncio.run_coroutine_threadsafe()"
        )
