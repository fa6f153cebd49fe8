"""The demo as a process, and a way to see every process that it started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

COMMAND = [sys.executable, "-c", "import sys; from weirpool.cli import main; sys.exit(main())", "demo"]
# More than the pool can hold, and all of it over in three seconds.
SMALL = ["--concurrency=20", "--workers=4", "--queue-size=5", "--submit-timeout=0.02", "--job-timeout=0.5"]


def event(number: int, manner: str = "fast", **changes: Any) -> dict[str, Any]:
    """Return an event as it is in a file."""
    return {
        "id": f"evt_{number}",
        "type": "order.paid",
        "created": "2026-01-30T08:00:14.127Z",
        "tenant": "acme",
        "path": f"/{manner}/acme",
        "data": {"total": number},
        **changes,
    }


def write(path: Path, events: Iterable[dict[str, Any]]) -> Path:
    """Write a file of events."""
    path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    return path


class Demo:
    """Run `weirpool demo` while the block lasts; know all its processes by a token in their environment."""

    def __init__(self, *arguments: str, stdout: int = subprocess.PIPE) -> None:
        self._token = f"weirpool-test-{uuid.uuid4().hex}"
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=os.environ | {"TOKEN": self._token, "TERM": "xterm", "PYTHONWARNINGS": "default::ResourceWarning"},
        )

    def wait_line(self, text: str) -> str:
        """Read standard output up to a line with this text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if text in line:
                return line
        raise AssertionError(f"the demo ended and never said {text!r}")

    def interrupt(self) -> None:
        """Press Ctrl-C, as far as the demo can tell."""
        self.process.send_signal(signal.SIGINT)

    def finish(self) -> tuple[int, str, str]:
        """Wait for the end; return the exit status and the rest of both outputs."""
        out, err = self.process.communicate(timeout=40)
        return self.process.returncode, out, err

    def pids(self, module: str = "") -> list[int]:
        """Return the demo's processes, or those of them that run a module."""
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            # A process may end, or be somebody else's; one that has ended and waits to be reaped has no environment.
            with contextlib.suppress(OSError):
                if self._token in (directory / "environ").read_text("utf-8", "replace"):
                    command = (directory / "cmdline").read_text("utf-8", "replace").split("\0")
                    if not module or module in command:
                        found.append(int(directory.name))
        return found

    def wait_gone(self, within: float = 5.0) -> list[int]:
        """Wait until no process is left; return those that are all the same."""
        end = time.monotonic() + within
        while (left := self.pids()) and time.monotonic() < end:
            time.sleep(0.02)
        return left

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate()
