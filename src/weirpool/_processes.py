"""Call a function in a process, which is killed with what it has started if nobody wants the answer any more.

Not by anyio's `to_process`: cancelled while a worker of its starts, it leaves that behind, running; its workers live as long
as the event loop and not as the pool; and a task of its keeps the context of the first caller. What is here has no task.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

from anyio import BrokenWorkerProcess

from . import _callee
from ._callee import HEADER
from ._kept import Kept
from ._lending import outlast
from ._pickles import as_request, introduction, outcome
from ._show import function_name
from ._threads import in_a_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._job import JobOwner

__all__ = ["Process", "in_a_process"]


_AT_ONCE = 65_536  # bytes that are read at first: nearly every answer


class Process:
    """A process that calls functions, one at a time. Made by `start`."""

    __slots__ = ("_connection", "_doing", "_process")

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket) -> None:
        self._process = process
        self._connection = connection
        self._doing = ""

    @classmethod
    def start(cls) -> Self:
        """Start one, which has yet to load what it needs: that takes it longer than this does."""
        connection, its = socket.socketpair()
        with its, ExitStack() as stack:
            stack.enter_context(connection)
            # As multiprocessing does: -W, -X and their like.
            flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
            process = subprocess.Popen(  # noqa: S603  # our own file
                [sys.executable, *flags, "-P", _callee.__file__, str(its.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
                process_group=0,  # so that it gets no Ctrl-C of the terminal's, and can be killed with what it has started
            )
            stack.pop_all()
        message = introduction()
        with suppress(OSError):  # it has ended, as whoever asks it will hear
            connection.sendall(HEADER.pack(0.0, len(message)) + message)
        connection.setblocking(False)
        return cls(process, connection)

    @property
    def fit(self) -> bool:
        """Whether it can call another function: it has not ended."""
        return self._process.poll() is None

    async def ask(self, name: str, request: bytes, left: float) -> memoryview:
        """Have it call a function, and return its answer.

        Raises:
            BrokenWorkerProcess: it has ended instead.
        """
        self._doing = name
        loop, connection = asyncio.get_running_loop(), self._connection
        try:
            await loop.sock_sendall(connection, HEADER.pack(left, len(request)) + request)
            return await self._answer(loop)
        except (OSError, EOFError):
            await self.kill()
            raise BrokenWorkerProcess(f"the process that ran {name} has {self._end()}") from None

    async def _answer(self, loop: asyncio.AbstractEventLoop) -> memoryview:
        begun = await loop.sock_recv(self._connection, _AT_ONCE)
        if len(begun) < HEADER.size:  # it is sent in one piece, so this is the end
            raise EOFError
        answer = memoryview(bytearray(HEADER.unpack_from(begun)[1]))
        count = len(begun) - HEADER.size
        answer[:count] = memoryview(begun)[HEADER.size :]
        missing = answer[count:]
        while missing:
            count = await loop.sock_recv_into(self._connection, missing)
            if not count:
                raise EOFError
            missing = missing[count:]
        return answer

    def _end(self) -> str:
        code = self._process.returncode
        if code >= 0:
            return f"ended with exit status {code}"
        try:
            return f"been killed by {signal.Signals(-code).name}"
        except ValueError:  # a real-time signal: few of them have names
            return f"been killed by signal {-code}"

    def where(self) -> tuple[str, ...]:
        """Return what it is doing."""
        return (f"<process {self._process.pid}> in {self._doing}",)

    def unwatch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the loop look at the connection no more: whoever waits for an answer vanishes, without cancelling that."""
        with suppress(Exception):  # the loop is closed
            loop.remove_reader(self._connection)
            loop.remove_writer(self._connection)

    def stop(self) -> None:
        """Kill it, and what it has started; it takes a moment to be gone."""
        self._connection.close()
        if self._process.returncode is None:  # else its number may be another's by now
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()  # should it have left its group

    def end(self) -> None:
        """Kill it while it is idle, which takes no time worth mentioning."""
        self.stop()
        self._process.wait()

    async def kill(self) -> None:
        """Kill it, whatever it is doing, and wait until it is gone, however often the waiter is cancelled meanwhile."""
        self.stop()
        await outlast(
            lambda: in_a_thread(self._process.wait, (), {}, lambda: True), lambda: self._process.returncode is not None
        )


_KEPT = Kept(Process)


async def in_a_process(
    fn: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any], owner: JobOwner | None, left: float | None
) -> Any:
    """Call a function in a process, and return or raise what it does. Cancelled, it kills the process.

    Args:
        fn: the function.
        args: its positional arguments.
        keywords: the others.
        owner: the pool of the job that calls, which keeps its processes.
        left: for how long it may run, in seconds.
    """
    request = as_request("in_process", fn, args, keywords)
    loop = asyncio.get_running_loop()
    work = _KEPT.take(owner)  # by this name `_stack` finds it
    try:
        answer = await work.ask(function_name(fn), request, math.inf if left is None else left)
    except BaseException as error:
        if isinstance(error, GeneratorExit):  # of a coroutine that is being closed, and can't wait
            work.unwatch(loop)
            work.end()
        else:
            await work.kill()
        raise
    _KEPT.give_back(owner, work)
    return outcome("in_process", fn, answer)
