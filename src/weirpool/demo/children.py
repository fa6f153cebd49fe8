"""How the conductor holds a child process: started, heard, ended, and in any case gone when the block is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["Child", "ChildError"]


class ChildError(Exception):
    """Say that a child process ended before it was ready, with the end of its log."""


class Child:
    """Run `python -m module arguments` while the block lasts.

    The child has a session of its own, so that Ctrl-C reaches the conductor alone. Its standard input stays open for as long
    as the conductor lives, its standard output carries messages, and its standard error goes to a file.
    """

    def __init__(self, module: str, *arguments: str, log: Path) -> None:
        self._module = module
        self._command = (sys.executable, "-P", "-m", module, *arguments)  # -P: not what lies about in the current directory
        self._log = log
        self._process: Process

    async def __aenter__(self) -> Self:
        with self._log.open("xb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.communicate()

    async def ready(self) -> str:
        """Return the URL at which the child says it serves.

        Raises:
            ChildError: it ended without one.
        """
        while message := await self._message():
            if "ready" in message:
                return str(message["ready"])
        tail = self._log.read_text("utf-8", "replace").splitlines()[-15:]
        raise ChildError("\n".join([f"{self._module} ended before it was ready:", *tail]))

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Iterate over what the child says, until it ends."""
        while message := await self._message():
            yield message

    async def _message(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        return json.loads(line) if line else None

    def terminate(self) -> None:
        """Send SIGTERM, if there is still somebody to get it."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the child, whatever it is doing."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # Not Process.send_signal: it looks first whether the child has ended, and thereby takes the exit status away from
        # asyncio's own watcher, if that is a thread and comes second (up to Python 3.11).
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def ended(self, within: float) -> bool:
        """Wait until the child has ended, for so many seconds at most; say whether it has."""
        try:
            async with asyncio.timeout(within):
                await self._process.wait()
        except TimeoutError:
            return False
        return True
