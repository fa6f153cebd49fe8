"""The world of a scenario: one pool, those who use it, and the oracle that looks at it after every step.

What the oracle says is a promise of the design, by its number. It knows the pool by its public names only.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from weirpool import JobCancelled, JobHandle, JobState, PoolError, PoolState, PoolStats, ShutdownReport, WorkerPool
from weirpool.events import JobAccepted, JobEnded, JobStarted, Observer, PoolMoved, StrayEnded, SubmitRefused
from weirpool.testing import ADVANCE, DeterministicLoop

from .jobs import OWN_ERRORS, BareBoom

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from .jobs import Job

__all__ = ["Violation", "World"]

MARK: ContextVar[int] = ContextVar("MARK", default=0)

_A_LITTLE = 1e-6


class Violation(AssertionError):
    """A promise was not kept."""


class World:
    """Everything that there is in one run of a scenario.

    Args:
        seed: of the scenario's own dice: how large the pool is, who does what.
    """

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.loop = DeterministicLoop.running()
        self.disturbed = self.loop.intervene is not None  # cancellations may come from nowhere
        self.pool: WorkerPool
        self.other_pools: list[WorkerPool] = []
        self.budget = 0.0
        self.opened = asyncio.Event()
        self.released = asyncio.Event()
        self.cancellations: dict[int, int] = {}  # by the mark of a co-operative job: how many it has seen
        self.watcher = Watcher(self)
        self._marks = itertools.count(1)
        self._by_mark: dict[int, JobHandle[Any]] = {}
        self._pending: set[JobHandle[Any]] = set()
        self._ended: dict[JobHandle[Any], JobState] = {}
        self.actors: list[asyncio.Task[Any]] = []
        self._cast: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = []
        self._reports: list[ShutdownReport] = []
        self._violations: list[str] = []
        self._gates: list[asyncio.Future[int]] = []
        self._plans: list[asyncio.TimerHandle] = []
        self._blocked = 0.0
        self._closing = False
        self._final_accepted: int | None = None

    # What scenarios are made of -----------------------------------------------------------------------------------------

    def make_pool(self, *, watched: bool = True, observers: Sequence[Observer] = (), **options: Any) -> None:
        """Make the pool."""
        observers = [*([self.watcher] if watched else []), *observers]
        self.pool = WorkerPool(name="p", observers=observers, **options)
        self.budget = options["shutdown_timeout"]

    def actor(self, name: str, act: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Let somebody act, in a task of their own, once the pool is open."""

        async def play() -> None:
            await self.opened.wait()
            if self.pool.state is not PoolState.NEW:
                await act(*args)

        self._cast.append((name, play))

    def owner(self, stay: float, error: BaseException | None = None) -> None:
        """Let somebody open the pool in an `async with`, stay in the block for a while, and leave it."""

        async def own() -> None:
            try:
                async with self.pool:
                    self.opened.set()
                    try:
                        await asyncio.sleep(stay)
                        if error is not None:
                            raise error
                    finally:
                        self._closing = True
            except RuntimeError as refused:
                # Cancelled, or closed by somebody, before it was open.
                if not self.disturbed or not re.search("before it was open|or closed before", str(refused)):
                    raise
            except (BareBoom, ValueError) as raised:
                if raised is not error:
                    raise
            self.see_closed()

        self._cast.append(("owner", own))

    async def close(self, timeout: float | None = None) -> None:
        """Close the pool, and see whether that keeps its promises."""
        began, blocked = self.loop.time(), self._blocked
        self._closing = True
        try:
            report = await self.pool.aclose(timeout=timeout)
        finally:
            budget = self.budget if timeout is None else timeout
            took = self.loop.time() - began - (self._blocked - blocked)
            if took > budget + _A_LITTLE and not self.jittered:
                self.violation(f"R13: aclose({timeout}) took {took:g} s")
        self._reports.append(report)
        self.see_closed()

    def see_closed(self) -> None:
        """See that the pool is what it has to be after closing."""
        stats = self.pool.stats()
        if stats.state is not PoolState.CLOSED or stats.queued or stats.running:
            self.violation(f"R13: closing returned, and the pool is not closed: {stats}")

    async def submit(self, job: Job, **options: Any) -> JobHandle[Any]:
        """Submit a job, which sees the mark in its context that its submitter has left there."""
        mark = next(self._marks)
        MARK.set(mark)
        return self._accepted(mark, await self.pool.submit(self._marked, job, mark, **options))

    def submit_nowait(self, job: Job, **options: Any) -> JobHandle[Any]:
        """Submit a job now or never."""
        mark = next(self._marks)
        MARK.set(mark)
        return self._accepted(mark, self.pool.submit_nowait(self._marked, job, mark, **options))

    async def run(self, job: Job, **options: Any) -> None:
        """Run a job, and see that the outcome is one that it can have."""
        mark = next(self._marks)
        MARK.set(mark)
        try:
            result = await self.pool.run(self._marked, job, mark, **options)
        except (PoolError, *OWN_ERRORS):
            return
        self.judge(mark, result)

    async def outcome(self, handle: JobHandle[Any]) -> None:
        """Await a job, and see that the outcome is one that it can have."""
        try:
            result = await handle
        except (PoolError, *OWN_ERRORS) as error:
            if not handle.done():
                self.violation(f"R1: awaiting job {handle.id} raised {type(error).__name__} before its end")
            if isinstance(error, JobCancelled) is not (handle.state is JobState.CANCELLED) and handle.state not in {
                JobState.ABANDONED,
                JobState.FAILED,
            }:
                self.violation(f"R1: job {handle.id} is {handle.state.name} and raised {type(error).__name__}")
            return
        if handle.state is not JobState.SUCCEEDED:
            self.violation(f"R1: job {handle.id} is {handle.state.name} and returned {result!r}")
        if self._by_mark.get(result) is not handle:
            self.violation(f"R7: the handle of job {handle.id} gave the result of another")

    def judge(self, mark: int, result: object) -> None:
        """See that a job returned its own mark."""
        if result != mark:
            self.violation(f"R7: job with mark {mark} returned {result!r}")

    def _accepted(self, mark: int, handle: JobHandle[Any]) -> JobHandle[Any]:
        self._by_mark[mark] = handle
        self._pending.add(handle)
        return handle

    def _marked(self, job: Job, mark: int) -> Awaitable[Any]:
        if MARK.get() != mark:
            self.violation(f"R4: a job sees the context of another: {MARK.get()} instead of {mark}")
        MARK.set(-mark)
        return job(self, mark)

    def block(self, seconds: float) -> None:
        """Block the loop."""
        self.loop.block(seconds)
        self._blocked += seconds

    @property
    def handles(self) -> list[JobHandle[Any]]:
        """All handles there have been."""
        return list(self._by_mark.values())

    @property
    def jittered(self) -> bool:
        """Whether the clock has run ahead of the work, so that times prove nothing."""
        return ADVANCE in self.loop.deviations.values()

    @property
    def in_stock_order(self) -> bool:
        """Whether callbacks have run as on the stock loop, which is what fairness can be asked of."""
        return not self.loop.deviations and not self.disturbed

    def gate(self) -> asyncio.Future[int]:
        """Return a future that is done at the latest when the world ends."""
        gate: asyncio.Future[int] = self.loop.create_future()
        self._gates.append(gate)
        return gate

    def find(self, name: str) -> asyncio.Task[Any]:
        """Return an actor's task."""
        return next(actor for actor in self.actors if actor.get_name() == name)

    def cancel(self, name: str) -> None:
        """Cancel an actor."""
        self.find(name).cancel()

    def at(self, when: float, call: Callable[[], object]) -> None:
        """Have something happen at a time, unless everybody has gone by then."""
        self._plans.append(self.loop.call_at(when, call))

    def violation(self, what: str) -> None:
        """Note that a promise was broken; the run ends with this step."""
        self._violations.append(what)

    # The oracle ---------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """See that what must hold at every instant holds now."""
        stats = self.pool.stats()
        self._check_books(stats)
        for handle in [handle for handle in self._pending if handle.done()]:
            self._pending.discard(handle)
            self._ended[handle] = handle.state
        for handle, state in self._ended.items():
            if handle.state is not state:
                self.violation(f"R1: job {handle.id} was {state.name} and is {handle.state.name} now")
        if stats.state is PoolState.CLOSED and self._pending:
            self.violation(f"R1: closed, and these have not ended: {self._pending}")
        if self._closing and stats.state is PoolState.OPEN:
            self.violation("R10: aclose() has been called, and intake is still open")
        if stats.state not in {PoolState.NEW, PoolState.OPEN}:
            if self._final_accepted is None:
                self._final_accepted = stats.accepted
            elif stats.accepted != self._final_accepted:
                self.violation("R10: a job was accepted after intake had been closed")
        if self._violations:
            raise Violation("; ".join(self._violations))

    def _check_books(self, stats: PoolStats) -> None:
        if stats.accepted != stats.ended + stats.queued + stats.running or stats.strays > stats.abandoned:
            self.violation(f"R1: the books do not balance: {stats}")
        if not (0 <= stats.running <= stats.max_workers and 0 <= stats.queued <= stats.queue_size):
            self.violation(f"R2: out of bounds: {stats}")
        if stats.queued and stats.running < stats.max_workers and stats.state is not PoolState.CANCELLING:
            self.violation(f"R2: a worker idles while jobs wait: {stats}")
        if stats.waiting and stats.state is PoolState.OPEN and self.loop.idle:
            full = stats.queued == stats.queue_size if stats.queue_size else stats.running == stats.max_workers
            if not full:
                self.violation(f"R3: there is room, and submitters wait for ever: {stats}")

    # A run --------------------------------------------------------------------------------------------------------------

    async def play(self) -> None:
        """Let everybody act until all are done; then see what is left."""
        self.begin()
        for name, act in self._cast:
            self.join(name, act())
            if name == "owner":
                self.actors[-1].add_done_callback(lambda _: self.opened.set())
        await self.finish()

    def begin(self) -> None:
        """From now on the oracle looks at the pool after each step."""
        actions = {
            "close": lambda: self.join("closer from nowhere", self.close()),
            "close-now": lambda: self.join("closer from nowhere", self.close(0)),
            "close-intake": self.close_intake,
            "cancel-handles": lambda: [handle.cancel() for handle in self.handles],
            "raise-in-observer": self.watcher.raise_next,
            "block": lambda: self.block(1.0),
        }
        self.loop.actions.update(actions)
        self.loop.after_step = self.check

    async def finish(self) -> None:
        """Wait until everybody is done; then see what is left."""
        await self._until(lambda: all(actor.done() for actor in self.actors))
        for plan in self._plans:
            plan.cancel()
        for actor in self.actors:
            self._judge_actor(actor)
        self._judge_end()
        self.released.set()
        for gate in self._gates:
            if not gate.done():
                gate.set_result(0)
        await self._until(lambda: len(self.loop.tasks()) == 1)
        for _ in range(3):  # whatever is due now
            await self._patiently(asyncio.sleep(0))
        self._judge_silence()
        self.check()
        self.loop.actions.clear()

    def join(self, name: str, act: Coroutine[Any, Any, None]) -> None:
        """Let somebody else act, now."""
        self.actors.append(self.loop.create_task(act, name=name))

    def close_intake(self) -> None:
        """Close the intake of the pool, if it has one."""
        if self.pool.state not in {PoolState.NEW, PoolState.CLOSED}:
            self.pool.close_intake()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, whoever cancels this; if it never is, the loop says that this is a deadlock."""
        while not condition():
            others = [task for task in self.loop.tasks().values() if task is not asyncio.current_task()]
            if not others:
                return
            await self._patiently(asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED))

    async def _patiently(self, waiting: Awaitable[Any]) -> None:
        with suppress(asyncio.CancelledError):
            await waiting

    def _judge_actor(self, actor: asyncio.Task[Any]) -> None:
        name = actor.get_name()
        if actor.cancelled():
            if not actor.cancelling():
                self.violation(f"R7: {name} got a CancelledError, and nobody had cancelled it")
        elif (error := actor.exception()) is not None:
            self.violation(f"{name} got {error!r}")
        elif actor.cancelling():
            self.violation(f"R7: {name} was cancelled, and nobody told it")

    def _judge_end(self) -> None:
        """See what is left when everybody has gone."""
        stats = self.pool.stats()
        if stats.state is not PoolState.CLOSED and (stats.state is not PoolState.NEW or stats.accepted):
            self.violation(f"R13: everybody has gone, and the pool is not closed: {stats}")
        report = self.pool.report
        if report is not None:
            counts = (report.succeeded, report.failed, report.timed_out, report.cancelled, report.abandoned)
            if (report.accepted, sum(counts)) != (stats.accepted, stats.accepted):
                self.violation(f"R14: the report does not add up: {report}")
        if any(other is not report for other in self._reports):
            self.violation("R15: closers got different reports")
        if not any(pool.stats().abandoned for pool in (self.pool, *self.other_pools)):
            main = asyncio.current_task()
            if left := [task.get_name() for task in self.loop.tasks().values() if task is not main]:
                self.violation(f"R17: tasks are left: {left}")
            if timers := self.loop.timers():
                self.violation(f"R17: timers are left: {timers}")
        for mark, seen in self.cancellations.items():
            self._judge_cancellations(mark, seen)

    def _judge_cancellations(self, mark: int, seen: int) -> None:
        if self.jittered:  # its grace may have been over before it could take the step in which it is told
            return
        handle = self._by_mark.get(mark)
        if seen > (3 if self.disturbed else 1):
            self.violation(f"R7: a co-operative job was cancelled {seen} times")
        told = {JobState.CANCELLED, JobState.TIMED_OUT}
        if not self.loop.deviations:  # else a grace of nothing may be over before the step in which it is told
            told.add(JobState.ABANDONED)
        if handle is not None and handle.state in told and not seen:
            self.violation(f"R12: job {handle.id} is {handle.state.name}, and was never told")

    def _judge_silence(self) -> None:
        """See what is left when even the strays have ended."""
        stats = self.pool.stats()
        if stats.strays:
            self.violation(f"R8: all tasks have ended, and {stats.strays} strays are counted")
        if timers := self.loop.timers():
            self.violation(f"R17: timers are left: {timers}")
        self.watcher.judge(stats)


class Watcher(Observer):
    """An observer that writes down each job's history, and raises when it is told to."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._histories: dict[int, str] = {}
        self._last_started = 0
        self._raise_next = False
        self._dropped = False
        self.meddled_with = False

    def raise_next(self) -> None:
        """Raise when called next, after which the pool calls no more."""
        self._raise_next = True

    def _note(self, event: JobAccepted | JobStarted | JobEnded | StrayEnded, letter: str) -> None:
        self._histories[event.id] = self._histories.get(event.id, "") + letter
        self._maybe_raise()

    def _maybe_raise(self) -> None:
        if self._dropped:
            self._world.violation("R19: an observer that had raised was called again")
        if self._raise_next:
            self._dropped = True
            raise RuntimeError("an observer's bug")

    def job_accepted(self, event: JobAccepted, /) -> None:
        """Note it."""
        self._note(event, "A")

    def job_started(self, event: JobStarted, /) -> None:
        """Note it, and see that jobs start in the order in which they were accepted."""
        if event.id < self._last_started and not self.meddled_with:
            self._world.violation(f"R3: job {event.id} started after job {self._last_started}")
        self._last_started = event.id
        self._note(event, "S")

    def job_ended(self, event: JobEnded, /) -> None:
        """Note it."""
        self._note(event, "E")

    def stray_ended(self, event: StrayEnded, /) -> None:
        """Note it."""
        self._note(event, "X")

    def submit_refused(self, event: SubmitRefused, /) -> None:
        """Raise if told to."""
        self._maybe_raise()

    def pool_moved(self, event: PoolMoved, /) -> None:
        """Raise if told to."""
        self._maybe_raise()

    def judge(self, stats: PoolStats) -> None:
        """See that every job came to one end, and had been accepted."""
        if self._dropped or not self._histories:
            return
        histories = {number: "".join(sorted(letters)) for number, letters in self._histories.items()}
        if not self.meddled_with:
            histories = self._histories
        if wrong := {
            number: history for number, history in histories.items() if history not in {"AE", "ASE", "ASEX", "AES", "AESX"}
        }:
            self._world.violation(f"R1: histories that cannot be: {wrong}")
        if len(self._histories) != stats.accepted:
            self._world.violation(f"R19: {stats.accepted} jobs were accepted, observers heard of {len(self._histories)}")
