"""What a child process of the demo owes its parent: to listen where there is room, to talk, and not to outlive it."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import Any

__all__ = ["die_with_parent", "listen", "say"]


def die_with_parent() -> None:
    """End this process, whatever it is doing, as soon as its standard input ends: even SIGKILL closes a parent's pipes."""

    def watch() -> None:
        while os.read(0, 1024):  # not sys.stdin: its lock, held by a thread, aborts the interpreter's own exit
            pass
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def listen() -> socket.socket:
    """Return a listening socket on a free port of loopback: nobody can take the port between choosing and using it."""
    return socket.create_server(("127.0.0.1", 0), backlog=1024)


def say(**message: Any) -> None:
    """Tell the parent something: one JSON object on a line of standard output."""
    print(json.dumps(message), flush=True)
