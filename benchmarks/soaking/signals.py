"""Part "signals": the demo's service under load, and SIGTERM, SIGKILL, or the one and then the other, at random moments.

After SIGTERM the service ends within its bound, and the account of all three journals adds up. SIGKILL leaves no time for
an account. Then the journals must say exactly what is known: what was answered 202 was accepted, what is said to be done was
done, nothing was done twice, and what was under way is named, as what nobody can say the end of.

It is the demo's own service, receiver, client and audit that are run here, unchanged.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weirpool.demo.audit import audit
from weirpool.demo.children import Child
from weirpool.demo.client import Client
from weirpool.demo.events import Event
from weirpool.demo.journals import CLIENT, POOL, RECEIVER, Journal

from .bars import Bar, Mistakes, Result, at_most, say

__all__ = ["soak"]

_WAYS = ("SIGTERM", "SIGKILL", "SIGTERM, then SIGKILL")
_AT_ONCE = 2
_WORKERS = 25
_QUEUE = 100
_CONCURRENCY = 150  # more than the pool holds
_PER_SECOND = 800  # events; more than the service takes
_MARGIN = 3.0  # seconds that uvicorn and Python may take on top of the pool's bound
_PATHS = {"/fast/a": 88, "/slow/a": 6, "/error/a": 4, "/never/a": 2}


@dataclass(frozen=True, slots=True)
class Round:
    """One service and its end.

    Attributes:
        way: which signals it gets.
        moment: when, after the first answer, in seconds.
        gap: how long after SIGTERM comes SIGKILL, in seconds.
        bound: the pool's `shutdown_timeout`, in seconds.
        seed: of its events.
    """

    way: str
    moment: float
    gap: float
    bound: float
    seed: int

    def events(self) -> list[Event]:
        """Make more events than can be dealt with by then."""
        count = int(_PER_SECOND * (self.moment + 0.5))
        paths = random.Random(self.seed).choices(list(_PATHS), list(_PATHS.values()), k=count)
        now = datetime.now(UTC)
        return [
            Event(id=f"evt_{number}", type="soak", created=now, tenant="a", path=path, data={})
            for number, path in enumerate(paths)
        ]


class Yard:
    """Run the rounds, and keep what is counted.

    Attributes:
        slowest: how long after SIGTERM a service ended, less its bound, at worst, in seconds.
        unknown: events whose end nobody can say, of all services that were killed.
        torn: lines that a writer was killed in the midst of.
    """

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.mistakes = Mistakes()
        self.slowest = -60.0
        self.accepted = 0
        self.delivered = 0
        self.unknown = 0
        self.torn = 0
        self.ways: Counter[str] = Counter()
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def run(self, plan: Round) -> None:
        """Run one round, when it is its turn."""
        async with self._turn:
            with tempfile.TemporaryDirectory(prefix="weirpool-soak-") as directory:
                journals = Path(directory)
                ended_after = await self._perform(plan, journals)
                self._judge(plan, journals, ended_after)

    async def _perform(self, plan: Round, journals: Path) -> float:
        """Let the service run under load and end it; return how long after the (first) signal it was gone, in seconds."""
        clock = asyncio.get_running_loop().time
        with Journal(journals / CLIENT) as journal:
            async with (
                Child("weirpool.demo.receiver", f"--journal={journals / RECEIVER}", log=journals / "receiver.log") as receiver,
                _service(plan, await receiver.ready(), journals) as service,
                asyncio.TaskGroup() as tasks,
            ):
                client = Client(await service.ready(), journal, retries=0)
                tasks.create_task(_listen(service))
                sending = tasks.create_task(client.run(plan.events(), _CONCURRENCY))
                await client.wait_answered(1)
                await asyncio.sleep(plan.moment)
                began = clock()
                if plan.way != "SIGKILL":
                    service.terminate()
                if plan.way == "SIGTERM, then SIGKILL":
                    await asyncio.sleep(plan.gap)
                if plan.way != "SIGTERM":
                    service.kill()
                if not await service.ended(plan.bound + _MARGIN):
                    service.kill()
                    self.mistakes.note("the service did not end in its bound", plan)
                ended_after = clock() - began
                await sending
        return ended_after

    def _judge(self, plan: Round, journals: Path, ended_after: float) -> None:
        self.torn += sum(_untear(journals / name) for name in (CLIENT, POOL, RECEIVER))
        pool = _lines(journals / POOL)
        accepted = {line["job"]: line["event"] for line in pool if line["kind"] == "accepted"}
        ended = {line["job"] for line in pool if line["kind"] == "ended"}
        unknown = {event for job, event in accepted.items() if job not in ended}
        reported = any(line["kind"] == "report" for line in pool)
        delivered = {line["event"] for line in _lines(journals / RECEIVER)}
        if plan.way == "SIGTERM":
            self.slowest = max(self.slowest, ended_after - plan.bound)
            if unknown or not reported:
                self.mistakes.note("no full account after SIGTERM", plan)
        if len(unknown) > _WORKERS + _QUEUE or len(unknown & delivered) > _WORKERS:
            self.mistakes.note("more was under way than the pool holds", f"{len(unknown)} {len(unknown & delivered)} {plan}")
        if reported and unknown:
            self.mistakes.note("a report, although jobs were under way", plan)
        # Nothing else may be wrong with the account than that it was cut short: the audit names just what was under way.
        account = audit(journals)
        expected = {("lost", event) for event in unknown} | (set() if reported else {("numbers", "report")})
        found = Counter((offence.kind, offence.event) for offence in account.offences)
        if found != Counter(expected):
            wrong = [offence for offence in account.offences if (offence.kind, offence.event) not in expected]
            self.mistakes.note("the account says something else", f"{plan} {wrong[:3]} {len(found)} {len(expected)}")
        self.ways[plan.way] += 1
        self.accepted += len(accepted)
        self.delivered += len(delivered)
        self.unknown += len(unknown)
        say(
            f"  {self.ways.total():3} of {self.rounds}: {plan.way} after {plan.moment:.2f} s of load: {len(accepted):,}"
            f" accepted of {account.events:,}, {len(unknown)} under way at the end, {len(unknown & delivered)} of them with"
            f" the receiver; gone after {ended_after:.2f} s  mistakes {self.mistakes.counts.total()}"
        )


def _service(plan: Round, receiver: str, journals: Path) -> Child:
    return Child(
        "weirpool.demo.service",
        f"--receiver={receiver}",
        f"--journal={journals / POOL}",
        f"--workers={_WORKERS}",
        f"--queue-size={_QUEUE}",
        "--submit-timeout=0.05",
        "--job-timeout=1.0",
        f"--shutdown-timeout={plan.bound}",
        f"--cancel-grace={plan.bound / 3}",
        log=journals / "service.log",
    )


async def _listen(service: Child) -> None:
    """Hear the service out, so that it is not held up by a full pipe."""
    async for _ in service.messages():
        pass


def _untear(path: Path) -> bool:
    """Cut off a last line that its writer was killed in the midst of: it had not gone on, so that was never said."""
    text = path.read_bytes() if path.exists() else b""
    torn = bool(text) and not text.endswith(b"\n")
    if torn:
        path.write_bytes(text[: text.rfind(b"\n") + 1])
    return torn


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


async def _run(rounds: int, longest: float, seed: int) -> Yard:
    rng = random.Random(seed)
    yard = Yard(rounds)
    async with asyncio.TaskGroup() as tasks:
        for number in range(rounds):
            bound = rng.choice((0.3, 1.0, 3.0))
            moment, gap = rng.uniform(0, longest), rng.uniform(0, min(bound, 1.0))
            plan = Round(_WAYS[number % len(_WAYS)], moment, gap, bound, rng.randrange(1 << 30))
            tasks.create_task(yard.run(plan))
    return yard


def soak(rounds: int, longest: float, seed: int) -> Result:
    """Run the part, and judge it.

    Args:
        rounds: how many services are ended.
        longest: the first signal comes so many seconds after the first answer, at most.
        seed: of the moments.
    """
    began = time.perf_counter()
    yard = asyncio.run(_run(rounds, longest, seed))
    figures = {
        "seconds": round(time.perf_counter() - began, 1),
        "rounds": dict(yard.ways),
        "accepted": yard.accepted,
        "delivered": yard.delivered,
        "named_as_unknown": yard.unknown,
        "torn_lines": yard.torn,
        "slowest_end_over_bound": round(yard.slowest, 3),
    }
    bars = [
        yard.mistakes.bar(),
        at_most("slowest end after SIGTERM, over the pool's bound", yard.slowest, _MARGIN, "s"),
        Bar("events under way at SIGKILL, all of them named", f"{yard.unknown:,}", "some", yard.unknown > 0),
    ]
    return Result("signals", figures, bars)
