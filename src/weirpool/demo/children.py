"""How the conductor holds a child process: started, heard, ended, and in any case gone when the block is left."""

from __future__ import annotations

import asyncio
import contextlib
import json
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
        async for message in self.messages():
            if "ready" in message:
                return str(message["ready"])
        tail = self._log.read_text("utf-8", "replace").splitlines()[-15:]
        raise ChildError("\n".join([f"{self._module} ended before it was ready:", *tail]))

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """Iterate over what the child says, until it ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            yield json.loads(line)

    def terminate(self) -> None:
        """Send SIGTERM, if there is still somebody to get it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End the child, whatever it is doing."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def ended(self, within: float) -> bool:
        """Wait until the child has ended, for so many seconds at most; say whether it has."""
        try:
            async with asyncio.timeout(within):
                await self._process.wait()
        except TimeoutError:
            return False
        return True
