"""Say what a user's thing is without trusting it: its repr and its name may raise, be endless, or forge a line in a log."""

from __future__ import annotations

import functools
from types import FunctionType, MethodType
from typing import Any

__all__ = ["full_type_name", "function_name", "innermost", "shown", "type_name"]

_LONGEST_REPR = 80
_LONGEST_NAME = 128

# Straight from `type`: a metaclass can answer for the name of its classes, and raise.
_name = type.__dict__["__name__"].__get__
_qualified_name = type.__dict__["__qualname__"].__get__
_module = type.__dict__["__module__"].__get__


def shown(value: object) -> str:
    """Return a value's repr, cut and on one line."""
    try:
        # The repr of 10 MB of text takes a while, and would be cut afterwards.
        text: Any = value[:_LONGEST_REPR] if issubclass(type(value), str | bytes) else value  # type: ignore[index]
        return _printable(repr(text), _LONGEST_REPR)
    except Exception:
        return f"<{type_name(value)} whose repr() failed>"


def type_name(value: object) -> str:
    """Return the name of a value's type."""
    return _printable(_name(type(value)), _LONGEST_REPR)


def full_type_name(value: object) -> str:
    """Return the qualified name of a value's type, with that of its module, unless it is a built-in one."""
    name, module = _qualified_name(type(value)), _module(type(value))
    return name if module == "builtins" else f"{module}.{name}"


def function_name(fn: Any) -> str:
    """Return the qualified name of a function, or of the type of a callable that has no name of its own."""
    if type(fn) is FunctionType:
        name = fn.__qualname__
        if type(name) is str and len(name) <= _LONGEST_NAME and name.isprintable():
            return name  # nearly every job; the rest of this function is for the others
    inner = innermost(fn)
    try:
        return _printable(inner.__qualname__, _LONGEST_NAME)
    except BaseException:  # a callable object has none; a proxy may raise anything, and a job that is accepted needs a name
        return _printable(_qualified_name(type(inner)), _LONGEST_NAME)


def innermost(fn: Any) -> Any:
    """Return the callable that partials and bound methods are made of."""
    while True:
        if type(fn) is MethodType:
            fn = fn.__func__
        elif issubclass(type(fn), functools.partial):
            fn = fn.func
        else:
            return fn


def _printable(text: str, longest: int) -> str:
    """Return a text as a plain one that has no line breaks, control characters or surrogates, and is not too long."""
    if type(text) is not str:
        text = str.__str__(text)  # a subclass may say anything of itself; what is no str raises TypeError here
    if not text.isprintable():
        text = ascii(text)[1:-1]
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
