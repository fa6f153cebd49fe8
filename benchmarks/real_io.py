"""How much of a real request is the pool's overhead?

Measured: a request of 1 KiB, sent over loopback TCP and echoed, through each contestant: 200 callers, 100 at once, a deadline
of 30 s on each; the time per request, and the client's processor time per request, which is what the pool adds to.

Fair because all contestants use the same connections, which stay open, with asyncio's own streams, against an echo server in
a process of its own; they run in turn, round by round (A B C A B C ...), and only ratios within one round count. `floor` is
the 200 callers with no limit at all. aiometer can't submit: it gets the same requests as one list.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from measuring.command import Command
from measuring.field import Field
from measuring.report import Report, Table
from measuring.rounds import interleaved

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from measuring.contestant import Contestant

CALLERS = 200
WORKERS = 100
DEADLINE = 30.0
REQUEST = b"x" * 1024
SERVE = "--serve"


class Echo(asyncio.Protocol):
    """Send back what comes."""

    def connection_made(self, transport: Any) -> None:
        """Keep what to answer with."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer."""
        self.transport.write(data)


async def serve() -> None:
    """Serve until standard input is closed, as it is when whoever started this ends."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=CALLERS)
    print(server.sockets[0].getsockname()[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    await server.serve_forever()


@contextmanager
def served() -> Iterator[int]:
    """Run the server in a process of its own, and say on which port."""
    command = [sys.executable, __file__, SERVE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield int(server.stdout.readline())
        server.stdin.close()


class Client:
    """As many connections as callers, open all the time; a request uses whichever is free."""

    def __init__(self) -> None:
        self.free: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()

    async def connect(self, port: int) -> None:
        """Open them all."""
        for _ in range(CALLERS):
            self.free.append(await asyncio.open_connection("127.0.0.1", port))

    async def request(self, *_: object) -> int:
        """Send one request, and read the answer."""
        connection = reader, writer = self.free.popleft()
        writer.write(REQUEST)
        await writer.drain()
        answer = await reader.readexactly(len(REQUEST))
        self.free.append(connection)
        return len(answer)

    async def close(self) -> None:
        """Close them all."""
        for _, writer in self.free:
            writer.close()
            await writer.wait_closed()


async def requests(contestant: Contestant, client: Client, number: int) -> None:
    """Have so many requests made."""
    if not contestant.can("call"):
        await contestant.flood(client.request, range(number))
        return

    async def caller() -> None:
        for _ in range(number // CALLERS):
            await contestant.call(client.request)

    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(caller())


async def timed(contestant: Contestant, client: Client, number: int, processor: list[float]) -> float:
    """Return the microseconds per request, and note those of the processor."""
    start, used = time.perf_counter(), time.process_time()
    await requests(contestant, client, number)
    processor.append((time.process_time() - used) / number * 1e6)
    return (time.perf_counter() - start) / number * 1e6


async def measure(field: Field, rounds: int, number: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Time all of them."""
    number = max(1, number // CALLERS) * CALLERS
    processor: dict[str, list[float]] = {name: [] for name in field.contestants}
    client = Client()
    with served() as port:
        await client.connect(port)
        async with AsyncExitStack() as stack:
            runs = {}
            for name, kind in field.contestants.items():
                contestant = await stack.enter_async_context(kind(workers=WORKERS, deadline=DEADLINE))
                runs[name] = partial(timed, contestant, client, number, processor[name])
            times = await interleaved(rounds, runs)
        await client.close()
    return times, {name: used[-rounds:] for name, used in processor.items()}  # without the round to warm up


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 15, 3, "rounds of each")
COMMAND.number("requests", 10_000, 2_000, "requests per round")
COMMAND.peers()


def answer(options: argparse.Namespace) -> Report:
    """Measure."""
    report = COMMAND.report(options)
    field = Field.of("call", "flood", peers=options.peers)
    report.left_out = field.left_out
    times, processor = asyncio.run(measure(field, options.rounds, options.requests))
    report.tables.append(Table("time", "us per request", times, over="weirpool"))
    report.tables.append(Table("the client's processor time", "us per request", processor, over="weirpool"))
    return report


if __name__ == "__main__":
    if SERVE in sys.argv:
        asyncio.run(serve())
    else:
        COMMAND.main(answer)
