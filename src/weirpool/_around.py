"""A job's function with something around it: tried again, or given a worker to work with."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Around"]


class Around(partial[Any]):
    """A job's function that is called by something else; a partial, so that the job is called as its function is."""

    call: Callable[[Any, tuple[Any, ...], dict[str, Any]], Coroutine[Any, Any, Any]]

    @classmethod
    def of(cls, fn: Any, call: Callable[[Any, tuple[Any, ...], dict[str, Any]], Coroutine[Any, Any, Any]]) -> Around:
        """Have `call` called with a job's function, its arguments and its keywords, instead of the function."""
        self = cls(fn)
        self.call = call
        return self

    def __call__(self, /, *args: Any) -> Any:
        """Return what runs the job. Where its function is a partial, that has been taken apart, and its arguments are here."""
        return self.call(self.func, (*self.args, *args), self.keywords)
