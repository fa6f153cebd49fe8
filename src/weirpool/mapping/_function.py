"""The function that the user names, as something that a pool can run for each line."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import sys
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from weirpool import in_process, in_thread

from ._errors import CommandError
from ._lines import BadLine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._lines import Line

__all__ = ["find", "job"]


class Exited(Exception):
    """The function has called `sys.exit`, which is to end its item, and not the command."""

    def __init__(self, end: SystemExit) -> None:
        super().__init__(f"sys.exit({end.code!r})")


def find(spec: str, directory: str) -> Callable[[Any], Any]:
    """Return the function that `module:name` names, where modules of a directory can be imported, too.

    Raises:
        CommandError: there is none.
    """
    module_name, colon, path = spec.partition(":")
    if not colon or not all(part.isidentifier() for part in [*module_name.split("."), *path.split(".")]):
        raise CommandError(f"FUNCTION must be module:name, as in shop.prices:fetch, got {spec!r}")
    if directory not in sys.path:
        sys.path.insert(0, directory)
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # the module may do anything when it is imported
        raise CommandError(f"FUNCTION: can't import {module_name!r}: {type(error).__name__}: {error}") from error
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise CommandError(f"FUNCTION: {spec!r}: there is no {part!r} in {found!r:.200}") from None
    if not callable(found):
        raise CommandError(f"FUNCTION must name a function, and {spec!r} is {found!r:.200}")
    function: Callable[[Any], Any] = found
    return function


def job(
    spec: str, is_cut_off: Callable[[], bool], *, processes: bool
) -> Callable[[Line | BadLine], Awaitable[tuple[Line | BadLine, Any]]]:
    """Return what is to be run for each line: an async function that returns it with what the function has returned.

    With a line that is none, the function is not called. But it goes the same way: so the order, and what is in memory, are
    those of any.

    A plain function is called in a thread, or in a process of its own.

    Args:
        spec: the function.
        is_cut_off: says whether all that is under way has been cancelled.
        processes: whether a plain one is called in processes; these are killed when they are cancelled, and raise nothing.

    Raises:
        CommandError: there is no such function, or not for processes.
    """
    directory = os.getcwd()  # noqa: PTH109  # as sys.path has it
    fn = find(spec, directory)
    if _is_async(fn):
        if processes:
            raise CommandError(f"--processes is for plain functions, and {spec!r} is an async one, which needs none")

        async def called(line: Line | BadLine) -> tuple[Line | BadLine, Any]:
            if isinstance(line, BadLine):
                return line, None
            try:
                return line, await fn(line.item)
            except (Exception, SystemExit) as error:
                _raise_instead(error, is_cut_off)
                raise

        return called
    if processes:
        return in_process(Call(spec, directory))

    def call(line: Line | BadLine) -> tuple[Line | BadLine, Any]:
        if isinstance(line, BadLine):
            return line, None
        try:
            return line, fn(line.item)
        except (Exception, SystemExit) as error:
            _raise_instead(error, is_cut_off)
            raise

    return in_thread(call)


def _raise_instead(error: BaseException, is_cut_off: Callable[[], bool]) -> None:
    """Raise what an exception of the function counts as, if not as itself.

    A function may make anything of its cancellation. It has not failed then, and is to be called again.
    """
    if is_cut_off():
        raise asyncio.CancelledError from None
    if isinstance(error, SystemExit):
        raise Exited(error) from None


def _is_async(fn: Any) -> bool:
    """Say whether calling a function makes a coroutine, as far as it shows."""
    while isinstance(fn, partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(type(fn), "__call__", None))  # noqa: B004


@dataclass(frozen=True)
class Call:
    """Call the function in another process, where it has to be found again."""

    spec: str
    directory: str

    def __call__(self, line: Line | BadLine) -> tuple[Line | BadLine, Any]:
        """Call it with one item."""
        if isinstance(line, BadLine):
            return line, None
        return line, _found(self.spec, self.directory)(line.item)


_found = cache(find)
