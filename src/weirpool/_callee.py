"""Call functions for a pool, in a process or an interpreter of their own: what runs at the other end.

A process runs this file as its script, an interpreter gets its source. Nothing here may import weirpool, or anything that
takes long: only what the function that is called needs is to be loaded.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import socket
import struct
import sys
import time
from contextlib import suppress
from types import ModuleType
from typing import Any

__all__ = [
    "HEADER",
    "RAISED",
    "RETURNED",
    "UNLOADABLE",
    "UNPICKLABLE",
    "Loader",
    "answered",
    "loads_main",
    "prepare",
    "remaining",
    "serve",
]

HEADER = struct.Struct("<dQ")
"""What goes before a message: for how long its call may run, in seconds (or infinity), and how many bytes follow."""
_MAIN = "__mp_main__"  # as with multiprocessing, so that it is not its `if __name__ == "__main__"` that runs

# How a call has ended: the first byte of the answer, and what the rest is.
RETURNED, RAISED, UNPICKLABLE, UNLOADABLE = 0, 1, 2, 3

_main: tuple[str | None, str | None] | None = None
"""The name or the path of the main module, where it has yet to be loaded."""
_loading = False
_due = math.inf


def loads_main() -> bool:
    """Say whether the main module is just being loaded: that should define things, and start nothing."""
    return _loading


def remaining() -> float | None:
    """Return how long the call that is being made may still run, in seconds; None: as long as it takes."""
    return None if _due == math.inf else max(0.0, _due - time.monotonic())


class Loader(pickle.Unpickler):
    """Load what was pickled at the other end, where the main module goes by another name."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a global of a module, and load the main module when it is asked for: few need it."""
        if module in {"__main__", _MAIN}:
            if _main is not None:
                _load_main(*_main)
            module = "__main__"
        return super().find_class(module, name)


def _load_main(name: str | None, path: str | None) -> None:
    import runpy  # noqa: PLC0415  # few functions are those of a script

    global _main, _loading  # noqa: PLW0603
    if not name and not os.path.isfile(path or ""):  # noqa: PTH113  # pathlib takes long to load
        raise ImportError("the main program is no file that can be loaded: define the function in a module, and import that")
    _loading = True
    try:
        found = runpy.run_module(name, run_name=_MAIN, alter_sys=True) if name else runpy.run_path(path or "", run_name=_MAIN)
    finally:
        _loading = False
    module = ModuleType(_MAIN)
    module.__dict__.update(found)
    sys.modules["__main__"] = sys.modules[_MAIN] = module
    _main = None


def prepare(message: bytes) -> None:
    """Set up what functions may rely on: where modules are found, the arguments of the program, the main module."""
    global _main
    sys.path[:], sys.argv[:], _main = pickle.loads(message)  # noqa: S301  # from our own parent
    sys.modules["weirpool._callee"] = sys.modules[__name__]  # where weirpool, if the function has it, finds `remaining`


def answered(request: bytes, left: float) -> bytes:
    """Call a function as a request says, and return the answer.

    Only what is to end a process passes through: `SystemExit` and `KeyboardInterrupt`.

    Args:
        request: a function, its positional and its other arguments, pickled.
        left: for how long it may run, in seconds, or infinity.
    """
    global _due  # noqa: PLW0603  # one call at a time
    _due = time.monotonic() + left
    try:
        return _answered(request)
    finally:
        _due = math.inf


def _answered(request: bytes) -> bytes:
    try:
        fn, args, keywords = Loader(io.BytesIO(request)).load()
    except Exception as error:
        return _text(UNLOADABLE, _described(error))
    try:
        result = fn(*args, **keywords)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # whatever it raises is the job's
        return _raised(error)
    try:
        return bytes([RETURNED]) + pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return _text(UNPICKLABLE, f"returned {type(result).__qualname__}, which can't be pickled ({_described(error)})")


def _raised(error: BaseException) -> bytes:
    import traceback  # noqa: PLC0415  # most calls return

    try:
        lines = "".join(traceback.format_exception(error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)))
    except Exception:
        lines = ""
    try:
        answer = pickle.dumps((error, lines), pickle.HIGHEST_PROTOCOL)
        # Our own. An exception whose arguments are not those of its class fails only here.
        back, _ = pickle.loads(answer)  # noqa: S301
        if not isinstance(back, BaseException):
            return _text(
                UNPICKLABLE, f"raised {_described(error)}, which is {type(back).__qualname__} when unpickled\n{lines}"
            )
    except Exception as why:
        return _text(UNPICKLABLE, f"raised {_described(error)}, which can't be pickled ({_described(why)})\n{lines}")
    return bytes([RAISED]) + answer


def _text(status: int, text: str) -> bytes:
    return bytes([status]) + text.encode(errors="backslashreplace")


def _described(error: BaseException) -> str:
    try:
        return f"{type(error).__qualname__}: {error}"
    except Exception:
        return type(error).__qualname__


def serve(connection: socket.socket) -> None:
    """Answer requests until the other end is closed."""
    _, message = _receive(connection) or (0.0, None)
    if message is None:
        return
    prepare(message)
    while (received := _receive(connection)) is not None:
        left, request = received
        answer = answered(request, left)
        _flush()  # nobody knows when this process will be killed
        connection.sendall(HEADER.pack(0.0, len(answer)) + answer)
        del received, request, answer  # nothing of a job is kept until the next


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):  # nobody reads it any more, or the function has closed it
                stream.flush()


def _receive(connection: socket.socket) -> tuple[float, bytes] | None:
    header = _exactly(connection, HEADER.size)
    if header is None:
        return None
    left, length = HEADER.unpack(header)
    message = _exactly(connection, length)
    return None if message is None else (left, message)


def _exactly(connection: socket.socket, length: int) -> bytes | None:
    """Return so many bytes, or None if the other end closes before they are there."""
    received = bytearray(length)
    view = memoryview(received)
    while view:
        count = connection.recv_into(view)
        if not count:
            return None
        view = view[count:]
    return bytes(received)


def main() -> None:
    """Serve whoever has started this process, and end it.

    By `os._exit`: the connection is open until the very end, so whoever sees it closed can ask for the exit status.
    """
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    connection = socket.socket(fileno=descriptor)
    status: Any = None
    try:
        serve(connection)
    except ConnectionError:  # whoever wanted the answer is gone
        status = 1
    except KeyboardInterrupt:
        status = 130
    except SystemExit as error:
        status = error.code
    if status is not None and not isinstance(status, int):
        print(status, file=sys.stderr)  # noqa: T201  # as Python does
        status = 1
    _flush()
    os._exit((status or 0) & 0xFF)


if __name__ == "__main__":
    main()
