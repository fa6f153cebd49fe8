"""Refuse bad arguments at the call that brings them, with their name, their value and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["exception_types", "names", "shown", "whole"]


def shown(value: object) -> str:
    """Return a value's repr, whatever that does."""
    try:
        return repr(value)
    except Exception:
        return f"<{type(value).__name__} whose repr() failed>"


def whole(name: str, value: object, least: int, most: int | None = None) -> None:
    """Refuse what is not an int within bounds."""
    rule = f"{name} must be an int of at least {least}" + ("" if most is None else f" and at most {most}")
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{rule}, got {shown(value)} ({type(value).__name__})")
    if value < least or (most is not None and value > most):
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


def exception_types(name: str, value: object) -> None:
    """Refuse what is not a tuple of exception classes."""
    if not isinstance(value, tuple) or not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in value):
        raise TypeError(f"{name} must be a tuple of exception classes, such as (OSError,), got {shown(value)}")
