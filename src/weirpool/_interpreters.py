"""Call a function in an interpreter of its own, in a thread: Python 3.14 or later.

Not by anyio's `to_interpreter`, which takes an interpreter for idle whose caller has been cancelled, while it still runs.
"""

from __future__ import annotations

import math
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from anyio import BrokenWorkerInterpreter

from . import _worker
from ._kept import Kept
from ._pickles import as_request, introduction, outcome
from ._show import function_name
from ._threads import in_a_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._job import JobOwner

__all__ = ["Interpreter", "in_an_interpreter"]


class Interpreter:
    """An interpreter that calls functions, one at a time. Made by `start`."""

    __slots__ = ("_answers", "_doing", "_interpreter", "fit")

    _interpreter: Any

    def __init__(self) -> None:
        self._interpreter = None
        self._answers: Any = None
        self._doing = ""
        self.fit = True
        """Whether it can call a function: it is not calling one, and none has ended it."""

    @classmethod
    def start(cls) -> Self:
        """Return one that is made when it is asked first, in a thread: that takes milliseconds."""
        return cls()

    def _begin(self) -> None:
        self._answers = _module().create_queue()
        self._interpreter = _module().create()
        # The source, and not the module: to import that would import all of weirpool.
        source = Path(_worker.__file__).read_text(encoding="utf-8")
        self._interpreter.prepare_main(answers=self._answers, source=source, message=introduction())
        self._interpreter.exec(_BEGIN)

    def ask(self, name: str, request: bytes, left: float) -> memoryview:
        """Have it call a function, and return its answer; in a thread.

        Raises:
            BrokenWorkerInterpreter: the function wanted to end it.
        """
        self._doing = name
        self.fit = False
        if self._interpreter is None:
            self._begin()
        self._interpreter.prepare_main(request=request, left=left)
        try:
            self._interpreter.exec("answers.put(worker.answered(request, left)); del request")
        except _module().ExecutionFailed as error:
            raise BrokenWorkerInterpreter(error.excinfo) from None
        answer = memoryview(self._answers.get())
        self.fit = True
        return answer

    def where(self) -> tuple[str, ...]:
        """Return what it is doing."""
        return (f"<interpreter {self._interpreter.id}> in {self._doing}",) if self._interpreter is not None else ()

    def stop(self) -> None:
        """Do nothing: to end one takes no time."""

    def end(self) -> None:
        """Close it, unless it still runs: whoever waited for it has gone."""
        self.fit = False
        if self._interpreter is not None:
            with suppress(Exception):
                self._interpreter.close()


def _module() -> Any:
    return import_module("concurrent.interpreters")  # which type checkers do not know before 3.14


_BEGIN = """
import sys, types
worker = sys.modules["weirpool._worker"] = types.ModuleType("weirpool._worker")
exec(compile(source, "weirpool/_worker.py", "exec"), worker.__dict__)
worker.prepare(message)
"""
_KEPT = Kept(Interpreter)


async def in_an_interpreter(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    keywords: dict[str, Any],
    owner: JobOwner | None,
    left: float | None,
    stands: Callable[[], bool],
) -> Any:
    """Call a function in an interpreter, and return or raise what it does. Cancelled, it waits all the same.

    Args:
        fn: the function.
        args: its positional arguments.
        keywords: the others.
        owner: the pool of the job that calls, which keeps its interpreters.
        left: for how long it may run, in seconds.
        stands: asked whether what the function returned stands although the waiter has been cancelled.
    """
    request = as_request("in_interpreter", fn, args, keywords)
    work = _KEPT.take(owner)  # by this name `_stack` finds it
    try:
        asked = (function_name(fn), request, math.inf if left is None else left)
        answer = await in_a_thread(work.ask, asked, {}, stands)
    finally:
        _KEPT.give_back(owner, work)
    return outcome("in_interpreter", fn, answer)
