"""Refuse bad arguments at the call that brings them, with their name, their value and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["exception_types", "instances", "mapping", "names", "shown", "whole"]


def shown(value: object) -> str:
    """Return a value's repr, whatever that does."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__} whose repr() failed>"


def whole(name: str, value: object, least: int, most: int | None = None) -> None:
    """Refuse what is not an int within bounds."""
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    if number is not None and least <= number and (most is None or number <= most):
        return
    rule = f"{name} must be an int of at least {least}" + ("" if most is None else f" and at most {most}")
    if number is None:
        raise TypeError(f"{rule}, got {shown(value)} ({type(value).__name__})")
    raise ValueError(f"{rule}, got {shown(value)}")


def names(name: str, value: object) -> tuple[str, ...]:
    """Return names as a tuple; refuse a single one, whose letters would be taken for names."""
    rule = f"{name} must be a collection of str, such as ('close',)"
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{rule}, got {shown(value)} ({type(value).__name__})")
    for item in (found := tuple(value)):
        if not isinstance(item, str):
            raise TypeError(f"{rule}, got {shown(item)} ({type(item).__name__}) in it")
    return found


def instances(name: str, value: object, kind: type, such_as: str) -> None:
    """Refuse what is not a tuple of instances of a class."""
    rule = "{} must be a tuple of {}s, such as {}, got {} ({}){}"
    if not isinstance(value, tuple):
        raise TypeError(rule.format(name, kind.__name__, such_as, shown(value), type(value).__name__, ""))
    for item in value:
        if not isinstance(item, kind):
            raise TypeError(rule.format(name, kind.__name__, such_as, shown(item), type(item).__name__, " in it"))


def mapping(name: str, value: object, such_as: str) -> None:
    """Refuse what is not a mapping."""
    if not isinstance(value, (dict, Mapping)):  # a dict is one, too, but that takes longer to find out
        raise TypeError(f"{name} must be a mapping, such as {such_as}, got {shown(value)} ({type(value).__name__})")


def exception_types(name: str, value: object) -> None:
    """Refuse what is not a tuple of exception classes."""
    if not isinstance(value, tuple) or not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in value):
        raise TypeError(f"{name} must be a tuple of exception classes, such as (OSError,), got {shown(value)}")
