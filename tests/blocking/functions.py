"""Plain functions for jobs, which a process or an interpreter can import. Light: each that starts does."""

from __future__ import annotations

import contextvars
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="default")


def echo(value: Any = None, *, times: int = 1) -> Any:
    return value if times == 1 else [value] * times


def pid() -> int:
    return os.getpid()


def group() -> tuple[int, int]:
    return os.getpid(), os.getpgid(0)


def stuck(*, text: str = "a" * 40 + "b") -> None:
    """Hang in C, with the GIL held."""
    re.match(r"(a+)+$", text)


def stuck_with_a_child(file: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(file).write_text(str(child.pid), encoding="ascii")
    child.wait()


def seen() -> tuple[float | None, Any, str]:
    from weirpool import current_job, remaining

    return remaining(), current_job(), VAR.get()


def fail(text: str) -> None:
    raise ValueError(text)


def fail_bare() -> None:
    raise BaseException("bare")


class Odd(Exception):
    """An exception that can be pickled, and not be unpickled."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(f"{text} {number}")


class Unsayable(Exception):
    """An exception that can't even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    def __reduce__(self) -> Any:
        raise RuntimeError("no")


def fail_oddly() -> None:
    raise Odd(1, "odd")


def fail_unsayably() -> None:
    raise Unsayable


def unpicklable() -> Any:
    return lambda: None


class Trap:
    """Something that can be sent, and not be received."""

    def __reduce__(self) -> Any:
        return _spring, (os.getpid(),)


def _spring(pid: int) -> str:
    if pid != os.getpid():
        raise RuntimeError("sprung")
    return "not sprung"


class Text(Exception):
    """An exception that is something else when it has been sent."""

    def __reduce__(self) -> Any:
        return str, ("text",)


def fail_as_text() -> None:
    raise Text("odd")


class Shut(Exception):
    """An exception that nothing can be added to."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


def fail_shut() -> None:
    raise Shut("shut")


def close_stdout() -> int:
    sys.stdout.close()
    return 7


def trap() -> Trap:
    return Trap()


def leave(how: str) -> None:
    if how == "_exit":
        os._exit(3)
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "real-time signal":
        os.kill(os.getpid(), 40)
    if how == "interrupt":
        raise KeyboardInterrupt
    status: Any = {"exit": 4, "exit with words": "words", "exit with nothing": None}[how]
    sys.exit(status)


def stream() -> Any:
    yield 1


async def already() -> None:
    """Need no thread."""
