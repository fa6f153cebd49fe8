"""Row 20: SIGTERM or SIGINT, once or twice, at any moment, under the servers that people use.

The process ends within the budgets, and the pool has accounted for every job (R1, R12 to R16; docs/shutdown.md).
The moments are drawn from a seed, as far as they can be told in advance: processes run as they like. More runs than the usual
few: WEIRPOOL_SIGNAL_SEEDS=100, or =100:120 for those seeds only.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import random
import re
import signal
import socket
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import LOOP
from tests.real.programs import ROOT
from tests.real.service import MIXES, REQUESTS, SERVERS, SHUTDOWN

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Iterator

pytestmark = pytest.mark.realtime

first, _, last = os.environ.get("WEIRPOOL_SIGNAL_SEEDS", "4").rpartition(":")
SEEDS = range(int(first or 0), int(last))

TERM, INT = signal.SIGTERM, signal.SIGINT
SEQUENCES = [[TERM], [INT], [INT, INT], [TERM, TERM]]

KINDS = [kind for kind in ("stock", "debug") if LOOP in {"", kind}]
if sys.version_info >= (3, 12) and LOOP in {"", "eager"}:
    KINDS.append("eager")
if importlib.util.find_spec("uvloop") and LOOP in {"", "uvloop"}:
    KINDS.append("uvloop")

# How a process may end that was asked once. uvicorn raises the signal again when it has done, asyncio.run KeyboardInterrupt,
# and hypercorn an error if it had to cancel the lifespan. (With strays the service leaves by os._exit(70).)
CODES = {
    ("asyncio.run", TERM): {0},
    ("asyncio.run", INT): {-INT},
    ("uvicorn", TERM): {-TERM},
    ("uvicorn", INT): {-INT},
    ("aiohttp", TERM): {0},
    ("aiohttp", INT): {0},
    ("hypercorn", TERM): {0, 1},
    ("hypercorn", INT): {0, 1},
}
# What the servers may take, all in all; and what a busy machine may take beside.
BUDGET, SLACK = REQUESTS + SHUTDOWN + 0.5, 10.0


@dataclass(frozen=True)
class Plan:
    """What to start, and when to send which signals."""

    server: str
    kind: str
    mix: str
    seed: int
    signals: tuple[signal.Signals, ...]
    after: float
    gap: float

    @classmethod
    def of(cls, server: str, seed: int) -> Plan:
        """Draw a plan."""
        dice = random.Random(f"{server} {seed}")
        signals = SEQUENCES[seed % len(SEQUENCES)]
        # Not drawn: even few seeds have each of these, and many have each with each.
        turn = seed + seed // len(SEQUENCES) + list(SERVERS).index(server)
        mix = list(MIXES)[turn % len(MIXES)]
        if mix == "deaf" and server == "aiohttp" and len(signals) > 1:
            mix = "endless"  # the second signal skips the service's own cleaning up, and asyncio waits for strays for ever
        return cls(
            server,
            kind=KINDS[turn % len(KINDS)],
            mix=mix,
            seed=seed,
            signals=tuple(signals),
            after=dice.uniform(0, 0.2),
            gap=dice.choice([0, dice.uniform(0, 0.1), dice.uniform(0, BUDGET / 2)]),
        )


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    plan: Plan
    code: int
    took: float
    out: str
    err: str

    def __str__(self) -> str:
        return f"{self.plan}: exit code {self.code} after {self.took:.2f} s\n{self.out[-3000:]}\n{self.err[-3000:]}"


async def run(plan: Plan) -> Ended:
    """Start a service, ask it for this and that, send it the signals, and wait for its end."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as sock:
        options = {"server": plan.server, "kind": plan.kind, "mix": plan.mix, "seed": plan.seed, "fd": sock.fileno()}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(["-X", "dev"] if plan.kind == "debug" else []),
            "-m",
            "tests.real.service",
            json.dumps(options),
            cwd=ROOT,
            pass_fds=[sock.fileno()],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        port = sock.getsockname()[1]
    assert process.stdout is not None
    asking: list[asyncio.Task[None]] = []
    try:
        said = await process.stdout.readline()
        if plan.server != "asyncio.run":
            asking = [asyncio.create_task(ask(port)) for _ in range(3)]
        await asyncio.sleep(plan.after)
        began = time.monotonic()
        for number, sig in enumerate(plan.signals):
            await asyncio.sleep(plan.gap if number else 0)
            send(process, sig)
        async with asyncio.timeout(BUDGET + SLACK):
            out, err = await process.communicate()
        took = time.monotonic() - began
    except TimeoutError:
        send(process, signal.SIGABRT)  # with faulthandler on in dev mode, it says where it hangs
        out, err = await process.communicate()
        took = float("inf")
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        send(process, signal.SIGKILL)
    assert process.returncode is not None
    return Ended(plan, process.returncode, took, (said + out).decode(), err.decode())


def send(process: Process, sig: signal.Signals) -> None:
    """Send a signal, if there is still somebody to get it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, sig)


async def ask(port: int) -> None:
    """Send one request after the other, for as long as there is somebody to answer."""
    with contextlib.suppress(OSError):
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                await reader.read()
            finally:
                writer.close()
            await asyncio.sleep(0.01)


def faults(ended: Ended) -> Iterator[str]:
    """Name what is wrong with how a process ended."""
    if ended.took > BUDGET + SLACK:
        yield "it had to be killed"
    lines = [json.loads(line) for line in ended.out.splitlines() if line.startswith("{")]
    if len(lines) != 1 or lines[0]["report"] is None:
        yield f"there are {len(lines)} accounts, and there should be one"
        return
    (account,) = lines
    yield from (f"the books: {fault}" for fault in imbalances(account))
    strays = account["report"]["strays"]
    if any(stray["name"] != "is deaf" for stray in strays):
        yield "it gave up on a job that does not ignore its cancellation"
    if strays:
        expected = {70}
    elif len(ended.plan.signals) == 1:
        expected = CODES[ended.plan.server, ended.plan.signals[0]]
    else:
        expected = {0, 1, -TERM, -INT, 128 + TERM}  # the second may come at the very end, when nobody handles it any more
    if ended.code not in expected:
        yield f"the exit code is not in {expected}"
    if found := re.search(r"never awaited|never retrieved|was destroyed|never closed|from within", ended.err):
        yield f"something complained: {found[0]}"


def imbalances(account: dict[str, Any]) -> Iterator[str]:
    """Compare the pool's report with what an observer and the jobs themselves have counted."""
    report, seen = account["report"], Counter(account["seen"])
    states = Counter(state for _, state in account["ended"])
    states["cancelled_queued + cancelled_running"] = states.pop("cancelled", 0)
    for state, count in states.items():
        if count != sum(report[part] for part in state.split(" + ")):
            yield f"{state}: an observer saw {count}"
    if report["accepted"] != sum(states.values()):
        yield "they do not balance"
    if sorted(account["accepted"]) != sorted(job for job, _ in account["ended"]):
        yield "not every job that was accepted has ended, and once"
    if len(account["accepted"]) != report["accepted"]:
        yield "an observer saw another number of jobs accepted"
    if seen["begun"] > report["accepted"] - report["cancelled_queued"]:
        yield "a job was begun that was cancelled in the queue"
    if not (seen["answered"] <= report["succeeded"] <= seen["returned"] and report["failed"] <= seen["raised"]):
        yield "the jobs know it better"
    if report["drained"] + report["cancelled_queued"] + report["cancelled_running"] + report["abandoned"] == 0:
        yield "there was nothing to do at the end"


@pytest.mark.timeout(60 + 4 * len(SEEDS))
@pytest.mark.parametrize("server", SERVERS)
async def test_signals_at_any_moment_end_the_process_in_time_and_with_an_account(server: str) -> None:
    if server != "asyncio.run":
        pytest.importorskip(server, reason=f"missing: pip install {server}")
    two_at_a_time = asyncio.Semaphore(2)

    async def one(seed: int) -> Ended:
        async with two_at_a_time:
            return await run(Plan.of(server, seed))

    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(one(seed)) for seed in SEEDS]
    failures = {str(ended.result()): found for ended in runs if (found := list(faults(ended.result())))}
    assert not failures, "\n\n".join(f"{found}\n{ended}" for ended, found in failures.items())
