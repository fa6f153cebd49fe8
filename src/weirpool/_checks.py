"""Refuse bad input at the call that brings it, with the argument's name, its value and what is allowed.

Each check either returns the value to use or raises: TypeError for the wrong kind, ValueError for the wrong size,
RuntimeError for the wrong place. No check changes anything.

The bounds are stricter than asyncio's on purpose: there, NaN as a deadline kills the event loop on 3.13, and a queue size
of 0, -1 or NaN means "infinite". What a value is, is asked of its type; the value itself may lie, or raise. What is
returned is a plain number, text or tuple, which can do neither.
"""

from __future__ import annotations

import inspect
import sys
from asyncio import _get_running_loop as running_loop  # which does not raise where none runs
from collections.abc import Coroutine, Sequence
from contextlib import AsyncContextDecorator
from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ._show import function_name, innermost, shown, type_name

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

__all__ = [
    "NATIVE",
    "blocking_function",
    "context_factory",
    "is_async",
    "job_function",
    "key",
    "label",
    "loop_time",
    "missing_attribute",
    "number",
    "observers",
    "on_loop",
    "policy",
    "priority",
    "rate",
    "running_loop",
    "seconds",
    "shown",
    "whole",
]

T = TypeVar("T")

_TEN_YEARS = 10 * 365 * 86_400
_LONGEST_NAME = 128
_MOST_PRIORITY = 1_000_000
_FIRST_LOOKED_AT = {"_closing", "_ledger", "_name", "_report", "_settings"}  # by the public methods of a pool
NATIVE = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE
_GENERATOR = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def whole(name: str, value: object, unit: str, least: int, most: int) -> int:
    """Return `value` if it is an int from `least` to `most`."""
    rule = f"{name} must be an int of at least {least} ({unit}, at most {most:,})"
    number = _number(value)
    if type(number) is not int:
        raise _kind(rule, value)
    if not least <= number <= most:
        raise ValueError(f"{rule}, got {shown(value)}")
    return number


def number(name: str, value: object, unit: str, least: float, most: float) -> float:
    """Return `value` if it is a finite number from `least` to `most`."""
    rule = f"{name} must be a number of at least {least:g} ({unit}, at most {most:,g})"
    found = _number(value)
    if found is None:
        raise _kind(rule, value)
    if not least <= found <= most:
        raise ValueError(f"{rule}, got {shown(value)}")
    return found


def seconds(name: str, value: object, *, zero: str = "", none: str = "") -> float:
    """Return `value` if it is a finite number of seconds above 0.

    Args:
        name: the argument's name.
        value: what was given.
        zero: what 0 means, where it is allowed.
        none: what None means, where it is allowed; the caller has dealt with None itself.
    """
    # A comparison with NaN is false, and one with an int is exact however large that is.
    if type(value) is float and 0 < value <= _TEN_YEARS:
        return value  # nearly always
    number = _number(value)
    if number is not None and (0 < number <= _TEN_YEARS or (zero and number == 0)):
        return number
    rule = [f"{name} must be a number of seconds above 0 and at most ten years"]
    if zero:
        rule.append(f"0 ({zero})")
    if none:
        rule.append(f"None ({none})")
    refusal = f"{' or '.join(rule)}, got {shown(value)} ({type_name(value)})"
    if number is not None:
        raise ValueError(refusal)
    raise TypeError(f"{refusal}: use its total_seconds()" if hasattr(type(value), "total_seconds") else refusal)


def rate(name: str, value: object, other: str = "") -> float:
    """Return `value` if it is a number per second that a timer can keep to; `other` is what else it may be."""
    number = _number(value)
    if number is not None and 1e-6 <= number <= 1e6:
        return number
    rule = f"{name} must be a number of jobs per second from 0.000001 to 1,000,000"
    raise (TypeError if number is None else ValueError)(
        f"{rule}{other and f', or {other}'} or None (no limit), got {shown(value)} ({type_name(value)})"
    )


def loop_time(name: str, value: object, now: float) -> float:
    """Return `value` if it is a point on the event loop's clock, in the past or not too far ahead."""
    rule = (
        f"{name} must be a finite loop time in seconds, at most ten years ahead: loop.time() + 5, for instance "
        f"(time.time() is another clock); or None (no deadline)"
    )
    number = _number(value)
    if number is None:
        raise _kind(rule, value)
    if not -1e300 < number <= now + _TEN_YEARS:
        raise ValueError(f"{rule}, got {shown(value)}")
    return number


def priority(value: object) -> int:
    """Return `value` if it is a priority."""
    number = _number(value)
    rule = f"priority must be an int from {-_MOST_PRIORITY:,} to {_MOST_PRIORITY:,} (lower is sooner)"
    if type(number) is not int:
        raise _kind(rule, value)
    if not -_MOST_PRIORITY <= number <= _MOST_PRIORITY:
        raise ValueError(f"{rule}, got {shown(value)}")
    return number


def key(value: Any) -> Any:
    """Return `value` if it is a key: something whose hash and equality can be trusted."""
    plain = _plain_key(value)
    if plain is None:
        raise _kind("key must be a str, int, bytes, UUID or a tuple of these", value)
    return plain


def _plain_key(value: Any) -> Any:
    kind = type(value)
    if kind is str or kind is int or kind is bytes or kind is bool:
        return value
    if kind is tuple:
        parts = tuple(map(_plain_key, value))
        return None if None in parts else parts
    if (uuid := sys.modules.get("uuid")) is not None and kind is uuid.UUID:
        return value
    for base in (str, int, bytes):
        if issubclass(kind, base):
            return base.__str__(value) if base is str else base.__int__(value) if base is int else bytes(memoryview(value))
    return None


def label(name: str, value: Any) -> str:
    """Return `value` if it is a name that is safe in a log line and on a page."""
    rule = f"{name} must be a printable str of 1 to {_LONGEST_NAME} characters"
    if not issubclass(type(value), str):
        raise _kind(rule, value)
    text = str.__str__(value)  # not str(), which an enum's member answers with its own name
    if not 0 < len(text) <= _LONGEST_NAME or not text.isprintable():
        raise ValueError(f"{rule}, got {shown(value)}")
    return text


def observers(name: str, value: Any, kind: type[T]) -> tuple[T, ...]:
    """Return `value` as a tuple if it is a sequence of instances of `kind`, whose methods can be called and not awaited."""
    rule = f"{name} must be a sequence of weirpool.events.{kind.__name__} instances"
    try:
        items = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else None
    except Exception as error:
        raise _kind(rule, value) from error
    if items is None:
        raise _kind(rule, value)
    for number, item in enumerate(items):
        got = f"got {shown(item)} ({type_name(item)}) as number {number}"
        if not _is(item, kind):
            raise TypeError(f"{rule}, {got}")
        for hook in vars(kind):
            if not hook.startswith("_") and not _answers(lambda thing: _is_plain(getattr(thing, hook)), item):  # noqa: B023
                raise TypeError(f"{rule}, {got}: its {hook} must be a plain function, it is called and never awaited")
    return items


def policy(name: str, value: Any, kind: str, attributes: tuple[str, ...]) -> Any:
    """Return `value` if it looks like a policy: it has these attributes, and a method `controller`."""
    if isinstance(value, type) or not _answers(
        lambda thing: callable(thing.controller) and all(hasattr(thing, attribute) for attribute in attributes), value
    ):
        has = ", ".join((*attributes, "controller()"))
        raise TypeError(f"{name} must be a weirpool.policies.{kind} (with {has}), got {shown(value)} ({type_name(value)})")
    return value


def provider(name: str, value: Any, method: str) -> Any:
    """Return `value` if it looks like one of OpenTelemetry's providers, which has this method; or None."""
    if value is not None and (isinstance(value, type) or not _answers(lambda thing: callable(getattr(thing, method)), value)):
        raise TypeError(f"{name} must be a provider, which has {method}(), or None, got {shown(value)} ({type_name(value)})")
    return value


def context_factory(name: str, value: Any) -> Any:
    """Return `value` if it may return an async context manager when it is called."""
    rule = f"{name} must be a function that returns an async context manager (one with @asynccontextmanager, for instance)"
    if not callable(value) or _is(value, AsyncContextDecorator):  # which can be called too, with a function
        hint = ": pass what makes it, since each worker has one of its own" if _answers(_is_context, value) else ""
        raise TypeError(f"{rule}, got {shown(value)} ({type_name(value)}){hint}")
    inner = innermost(value)
    if type(inner) is FunctionType and inner.__code__.co_flags & (NATIVE | _GENERATOR) and value is inner:
        raise TypeError(f"{rule}, got {shown(value)}, which lacks that decorator")
    return value


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> Any:
    """Return `value` if it is one of these words."""
    if type(value) is not str or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {shown(value)}")
    return value


def flag(name: str, value: Any) -> bool:
    """Return `value` if it is True or False."""
    if type(value) is not bool:
        raise TypeError(f"{name} must be True or False, got {shown(value)}")
    return value


def job_function(fn: Callable[..., Awaitable[Any]]) -> None:
    """Refuse what can't be a job: anything that calling will surely not turn into an awaitable.

    A plain function is let through, since a decorated one, a lambda or one written in C may well return a coroutine; if it
    does not, the job fails.
    """
    thing: object = fn
    inner = innermost(fn)
    if type(inner) is FunctionType and inner.__code__.co_flags & NATIVE:
        return
    rule = "fn must be an async function"
    if not callable(thing):
        if _is(thing, Coroutine):
            called = function_name(thing)
            _discard(thing)
            raise TypeError(
                f"{rule}, got the coroutine {called}(...): "
                f"pass the function and its arguments, submit({called}, ...) instead of submit({called}(...))"
            )
        hint = ": await it yourself, or pass an async function that does" if _answers(inspect.isawaitable, thing) else ""
        raise TypeError(f"{rule}, got {shown(thing)} ({type_name(thing)}){hint}")
    if issubclass(type(inner), type):
        raise TypeError(f"{rule}, got the class {shown(inner)}: {_PLAIN}")
    if _flags(inner) & _GENERATOR:
        raise TypeError(f"{rule}, got the generator function {shown(thing)}: wrap it in one that consumes it")


_PLAIN = "a plain function or a class goes in as in_thread(fn), in_process(fn) or in_interpreter(fn)"


def blocking_function(what: str, fn: Any) -> None:
    """Refuse what `in_thread`, `in_process` or `in_interpreter` can't make a job of.

    Args:
        what: the name of that.
        fn: what was given.
    """
    example = f"submit({'' if what == 'submit' else f'{what}('}fn{'' if what == 'submit' else ')'}, ...)"
    rule = f"{what}() takes a {'' if what == 'submit' else 'plain '}function"
    if not callable(fn):
        if _is(fn, Coroutine):
            called = function_name(fn)
            _discard(fn)
            raise TypeError(f"{rule}, got the coroutine {called}(...): it is async already: submit({called}, ...)")
        raise TypeError(f"{rule}, got {shown(fn)} ({type_name(fn)}): pass the function and its arguments apart, {example}")
    inner = innermost(fn)
    if is_async(fn):
        raise TypeError(f"{rule}, got the async function {function_name(fn)}: it is async already: submit it as it is")
    if _flags(inner) & _GENERATOR and not issubclass(type(inner), type):
        raise TypeError(f"{rule}, got the generator function {function_name(fn)}: wrap it in one that consumes it")


def is_async(fn: Any) -> bool:
    """Say whether something is an async function, or an object that is called as one."""
    return bool(_flags(innermost(fn)) & NATIVE) or _answers(inspect.iscoroutinefunction, fn)


def on_loop(what: str, loop: asyncio.AbstractEventLoop) -> None:
    """Refuse a call from another thread, or from another event loop of this one."""
    running = running_loop()
    if running is not loop:
        where = (
            "a place where no event loop runs (another thread, or a forked process?)"
            if running is None
            else "another event loop"
        )
        raise RuntimeError(
            f"{what} was called from {where}; it must be called on the event loop that the pool was entered on: other threads "
            f"submit by pool.from_thread, and call the rest with loop.call_soon_threadsafe() or "
            f"asyncio.run_coroutine_threadsafe()"
        )


def missing_attribute(pool: object, name: str) -> NoReturn:
    """Say why a pool of a subclass lacks an attribute; this is the `__getattr__` of subclasses."""
    if name in _FIRST_LOOKED_AT:
        raise RuntimeError(f"{type_name(pool)}.__init__() must call super().__init__(), which makes it a pool")
    raise AttributeError(f"{type_name(pool)!r} object has no attribute {name!r}", name=name, obj=pool)


def _kind(rule: str, value: object) -> TypeError:
    return TypeError(f"{rule}, got {shown(value)} ({type_name(value)})")


def _number(value: Any) -> int | float | None:
    """Return a number as a plain one, and None for what is none: a bool is none, numpy.float64 (a subclass) is one."""
    kind = type(value)
    if kind is int or kind is float:
        number: int | float = value
        return number
    if issubclass(kind, int):
        return None if kind is bool else int.__int__(value)
    return float.__float__(value) if issubclass(kind, float) else None


def _is(value: object, kind: type) -> bool:
    """Say whether a value is an instance: of a mock, which says so itself, and of a proxy that raises when it is asked."""
    return _answers(lambda thing: isinstance(thing, kind), value)


def _is_context(value: Any) -> bool:
    return hasattr(type(value), "__aenter__")


def _answers(question: Callable[[Any], bool], value: object) -> bool:
    try:
        return question(value)
    except Exception:
        return False


def _is_plain(hook: Any) -> bool:
    return callable(hook) and not inspect.iscoroutinefunction(hook)


def _flags(fn: Any) -> int:
    """Return the flags of the code that calling something runs, 0 if it is not written in Python."""
    if type(fn) is not FunctionType:
        try:
            fn = type(fn).__call__
        except Exception:
            return 0
    return fn.__code__.co_flags if type(fn) is FunctionType else 0


def _discard(coroutine: Any) -> None:
    """Close a coroutine that was never started, or it would warn, later and elsewhere, that it was never awaited.

    One that was started belongs to whoever runs it.
    """
    if _answers(_is_fresh, coroutine):
        coroutine.close()


def _is_fresh(coroutine: Any) -> bool:
    """Say whether a coroutine was never started; a compiled one, too, of which `inspect` on Python 3.15 can not."""
    return not coroutine.cr_running and not coroutine.cr_suspended and coroutine.cr_frame is not None
