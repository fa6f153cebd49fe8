"""The world of a scenario: one pool, those who use it, and what is known of what happened to them.

What the oracle says of that is a promise of the design, by its number. It knows the pool by its public names only.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import re
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from weirpool import JobCancelled, JobHandle, JobState, PoolError, PoolOverloaded, PoolState, WorkerPool, current_job
from weirpool.testing import ADVANCE, DeterministicLoop

from .closing import Closing
from .jobs import OWN_ERRORS, BareBoom, nature_of
from .judge import A_LITTLE, Story, live, mark_of
from .nowhere import Nowhere
from .oracle import Oracle
from .watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence

    from weirpool import ShutdownReport
    from weirpool.events import Observer

    from .jobs import Job

__all__ = ["World"]

MARK: ContextVar[int] = ContextVar("MARK", default=0)
INSIDE: ContextVar[bool] = ContextVar("INSIDE", default=False)


class World:
    """Everything that there is in one run of a scenario.

    Args:
        seed: of the scenario's own dice: how large the pool is, who does what.
        faults: the numbers of the steps before which something may happen from nowhere.
    """

    def __init__(self, seed: int, faults: Collection[int] = ()) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.loop = DeterministicLoop.running()
        self.pool: WorkerPool
        self.other_pools: list[WorkerPool] = []
        self.options: dict[str, Any] = {}
        self.max_strays = 0
        self.unordered = (
            False  # whether jobs start in another order than they are accepted in, or others must wait for their key
        )
        self.sheds = False  # whether an overload policy refuses, drops and sheds
        self.opened = asyncio.Event()
        self.released = asyncio.Event()
        self.watcher = Watcher(self)
        self.oracle = Oracle(self)
        self._marks = itertools.count(1)
        self.stories: dict[int, Story] = {}  # of the jobs that were submitted, by mark
        self.pending: dict[int, Story] = {}  # of those that have not ended
        self.actors: list[asyncio.Task[Any]] = []
        self._cast: list[tuple[str, Callable[[], Coroutine[Any, Any, None]]]] = []
        self.reports: list[ShutdownReport] = []
        self.violations: list[str] = []
        self._gates: list[asyncio.Future[int]] = []
        self._plans: list[asyncio.TimerHandle] = []
        self._main = asyncio.current_task()
        # What has been done from nowhere, and to whom.
        self._nowhere = Nowhere(self.loop, faults, self._note_cancel)
        self.strangers_hit = 0  # how often tasks were cancelled that are neither the world's nor jobs of the pool
        self.blocked = 0.0  # for how long the loop has been blocked
        self.stalled_to = -math.inf  # the end of the last time
        self.closing = Closing()
        self.closers: set[asyncio.Task[Any] | None] = set()  # who is in `aclose()`, or leaves the block
        self._runs: dict[asyncio.Task[Any] | None, Story] = {}  # who is in `run()`

    # What scenarios are made of -----------------------------------------------------------------------------------------

    def make_pool(self, *, watched: bool = True, observers: Sequence[Observer] = (), **options: Any) -> None:
        """Make the pool."""
        observers = [*([self.watcher] if watched else []), *observers]
        self.pool = WorkerPool(name="p", observers=observers, **options)
        self.options = {"job_timeout": None, "submit_timeout": 5.0, **options}
        self.max_strays = options.get("max_strays", options.get("max_workers", 100))
        self.closing.grace = options["cancel_grace"]

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
            left: tuple[float, float] | None = None
            try:
                async with self.pool:
                    self.opened.set()
                    try:
                        await asyncio.sleep(stay)
                        if error is not None:
                            raise error
                    except BaseException as leaving:
                        left = self._begin_closing(None, at_once=not isinstance(leaving, Exception))
                        raise
                    left = self._begin_closing(None)
            except RuntimeError as refused:
                # Cancelled, or closed by somebody, before it was open.
                if not self.disturbed or not re.search("before it was open|or closed before", str(refused)):
                    raise
            except (BareBoom, ValueError) as raised:
                if raised is not error:
                    raise
            finally:
                if left is not None:
                    self._end_closing("leaving the block", left, None)
            self.oracle.judge_closed()

        self._cast.append(("owner", own))

    async def close(self, timeout: float | None = None) -> None:
        """Close the pool, and see whether that keeps its promises."""
        began = self._begin_closing(timeout)
        try:
            report = await self.pool.aclose(timeout=timeout)
        finally:
            self._end_closing(f"aclose({timeout})", began, timeout)
        self.reports.append(report)
        self.oracle.judge_closed()

    def _begin_closing(self, timeout: float | None, *, at_once: bool = False) -> tuple[float, float]:
        """Note that the pool is being closed from now on, and by when what has to be done."""
        now = self.loop.time()
        self.closing.begin(now, self.options["shutdown_timeout"] if timeout is None else timeout)
        if at_once:
            self.closing.cancel(now)
        self.closers.add(asyncio.current_task())
        return now, self.blocked

    def _end_closing(self, what: str, began: tuple[float, float], timeout: float | None) -> None:
        self.closers.discard(asyncio.current_task())
        took = self.loop.time() - began[0] - (self.blocked - began[1])
        budget = self.options["shutdown_timeout"] if timeout is None else timeout
        if took > budget + A_LITTLE and not self.jittered:
            self.violation(f"R13: {what} took {took:g} s")

    async def submit(self, job: Job, **options: Any) -> JobHandle[Any]:
        """Submit a job, which sees the mark in its context that its submitter has left there."""
        story = self._submitted(job, options)
        patience, began, blocked = self.options["submit_timeout"], self.loop.time(), self.blocked
        if story.deadline is not None:  # after which nobody waits for room
            patience = min(math.inf if patience is None else patience, max(0.0, story.deadline - began))
        try:
            handle = await self.pool.submit(self._called, job, story, name=f"job {story.mark}", **options)
        except PoolOverloaded as full:
            waited = self.loop.time() - began
            if self.sheds or full.reason in {"strays", "nesting"}:
                raise
            # A job hears of it when it has a place again.
            late = 0.0 if story.nested else waited - full.waited
            if full.reason != ("timeout" if patience else "full") or abs(late) > A_LITTLE:
                self.violation(f"patience is {patience}, and after {waited:g} s: {full!r} ({full.reason})")
            if waited < (patience or 0) - A_LITTLE:
                self.violation(f"patience is {patience}, and submit() gave up after {waited:g} s")
            raise
        finally:
            waited = self.loop.time() - began - (self.blocked - blocked)
            if story.nested or self.sheds:  # it waits to have its own place back, too, or until its job has ended
                patience = None
            if patience is not None and waited > patience + A_LITTLE and not self.jittered:
                self.violation(f"patience is {patience}, and submit() waited for {waited:g} s")
        return self._accepted(story, handle)

    def submit_nowait(self, job: Job, **options: Any) -> JobHandle[Any]:
        """Submit a job now or never."""
        story = self._submitted(job, options)
        return self._accepted(story, self.pool.submit_nowait(self._called, job, story, name=f"job {story.mark}", **options))

    async def run(self, job: Job, **options: Any) -> None:
        """Run a job, and see that the outcome is one that it can have; and that it has ended, if this is cancelled."""
        story = self._submitted(job, options)
        task = asyncio.current_task()
        self._runs[task] = story
        try:
            result = await self.pool.run(self._called, job, story, name=f"job {story.mark}", **options)
        except (PoolError, *OWN_ERRORS):
            return
        except asyncio.CancelledError:
            if story.handle is not None and not story.handle.done():
                self.violation(f"R7: run() was cancelled, and did not wait for job {story.mark}")
            raise
        finally:
            del self._runs[task]
            story.off = True  # accepted or not, it is over
        if result != story.mark:
            self.violation(f"R7: job {story.mark} returned {result!r}")

    async def outcome(self, handle: JobHandle[Any]) -> None:
        """Await a job, and see that the outcome is one that it can have."""
        try:
            result = await handle
        except (PoolError, *OWN_ERRORS) as error:
            if not handle.done():
                self.violation(f"R1: awaiting job {handle.id} raised {type(error).__name__} before its end")
            told = isinstance(error, JobCancelled | PoolOverloaded if self.sheds else JobCancelled)
            if told is not (handle.state is JobState.CANCELLED) and handle.state not in {
                JobState.ABANDONED,
                JobState.FAILED,
            }:
                self.violation(f"R1: job {handle.id} is {handle.state.name} and raised {type(error).__name__}")
            return
        if handle.state is not JobState.SUCCEEDED:
            self.violation(f"R1: job {handle.id} is {handle.state.name} and returned {result!r}")
        if (story := self.stories.get(result)) is None or story.handle is not handle:
            self.violation(f"R7: the handle of job {handle.id} gave the result of another")

    def _submitted(self, job: Job, options: dict[str, Any]) -> Story:
        """Begin the story of a job that is about to be submitted."""
        now = self.loop.time()
        deadline = options.get("deadline")
        parent = current_job()
        if parent is not None and (story := self.stories.get(mark_of(parent.name))) is not None and story.due < math.inf:
            deadline = story.due if deadline is None else min(deadline, story.due)
        timeout = options.get("timeout", self.options["job_timeout"])
        mark = next(self._marks)
        MARK.set(mark)
        story = self.stories[mark] = Story(mark, nature_of(job), now, timeout, deadline, self.blocked)
        # Also of a task that has outlived the job that started it. And what is known of a job that is shed, or run while its
        # submitter waits, comes late.
        story.nested = INSIDE.get() or self.sheds
        return story

    def _accepted(self, story: Story, handle: JobHandle[Any]) -> JobHandle[Any]:
        story.handle, story.accepted_at = handle, self.loop.time()
        self.pending[story.mark] = story
        return handle

    def _called(self, job: Job, story: Story) -> Awaitable[Any]:
        """Be the function of a job, which is called when it is started."""
        if story.started_at is not None:  # another attempt
            return live(story, job(self, story.mark))
        if MARK.get() != story.mark:
            self.violation(f"R4: a job sees the context of another: {MARK.get()} instead of {story.mark}")
        MARK.set(-story.mark)
        INSIDE.set(True)
        now = self.loop.time()
        if story.deadline is not None and now >= story.deadline:
            self.violation(f"R6: job {story.mark} was started at {now:g}, and its deadline was {story.deadline:g}")
        if story.off:
            self.violation(f"R7: job {story.mark} was started, and it had been cancelled before")
        if self.pool.state not in {PoolState.OPEN, PoolState.DRAINING}:
            self.violation(f"R12: job {story.mark} was started by a pool that is {self.pool.state.name}")
        if story.handle is None and (handle := current_job()) is not None:  # it is that of a `run()`
            self._accepted(story, handle)
        story.started_at, story.blocked = now, self.blocked
        try:
            awaitable = job(self, story.mark)
        except BaseException:
            story.over = True
            raise
        return live(story, awaitable)

    def sees_cancellations(self, mark: int, number: int) -> None:
        """Note that a co-operative job has seen so many more cancellations: 0 when it begins."""
        story = self.stories[mark]
        story.seen = (story.seen or 0) + number

    def cancel_job(self, handle: JobHandle[Any]) -> None:
        """Cancel a job by its handle."""
        story = self.stories[mark_of(handle.name)]
        story.ask(self.loop.time())
        if handle.cancel():
            story.off = True

    def cancel_jobs(self) -> None:
        """Cancel all jobs by their handles."""
        for handle in self.handles:
            self.cancel_job(handle)

    def block(self, seconds: float) -> None:
        """Block the loop."""
        self.loop.block(seconds)
        self.blocked += seconds
        self.closing.closed_by += seconds
        self.stalled_to = self.loop.time()

    def resize(self, workers: int) -> None:
        """Let somebody change the size of the pool."""

        async def resize() -> None:
            try:
                await self.pool.resize(max_workers=workers)
            except PoolError:
                return
            stats = self.pool.stats()
            if stats.running - stats.lending > stats.workers:
                self.violation(f"R20: resize() has returned, and more than {stats.workers} run: {stats}")

        if self.pool.state is not PoolState.NEW:
            self.join("resizer", resize())

    def steer(self, how: str) -> None:
        """Pause or resume the pool, if it is open."""
        with suppress(PoolError):
            if self.pool.state is not PoolState.NEW:
                getattr(self.pool, how)()

    @property
    def handles(self) -> list[JobHandle[Any]]:
        """All handles there have been."""
        return [story.handle for story in self.stories.values() if story.handle is not None]

    @property
    def disturbed(self) -> bool:
        """Whether anything has happened from nowhere."""
        return self._nowhere.happened

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

    def cancel(self, actor: asyncio.Task[Any]) -> None:
        """Cancel an actor."""
        self._note_cancel(actor)
        actor.cancel()

    def at(self, when: float, call: Callable[[], object]) -> None:
        """Have something happen at a time, unless everybody has gone by then."""
        self._plans.append(self.loop.call_at(when, call))

    def violation(self, what: str) -> None:
        """Note that a promise was broken; the run ends with this step."""
        self.violations.append(what)

    def _note_cancel(self, task: asyncio.Task[Any]) -> None:
        """Note that a task is cancelled by somebody else than the pool, and what the pool has to do, or may do, then."""
        now = self.loop.time()
        if task in self.actors:
            if task in self.closers:
                self.closing.cancel(now)
            elif task.get_name() == "owner":  # perhaps while it opens the pool
                self.closing.allow(now)
            elif task in self._runs:
                self._runs[task].ask(now)
        elif (story := self.stories.get(mark_of(task.get_name()))) is not None:
            story.touch(now)
        elif task is not self._main:
            self.strangers_hit += 1
            self.closing.allow(now)  # it may have been the supervisor

    # A run --------------------------------------------------------------------------------------------------------------

    async def play(self) -> None:
        """Let everybody act until all are done; then see what is left."""
        self.begin()
        self._nowhere.look_out()
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
            "cancel-handles": self.cancel_jobs,
            "raise-in-observer": self.watcher.raise_next,
            "block": lambda: self.block(1.0),
            "fewer": lambda: self.resize(1),
            "more": lambda: self.resize(4),
            "pause": lambda: self.steer("pause"),
            "resume": lambda: self.steer("resume"),
        }
        self.loop.actions.update({name: self._nowhere.action(act) for name, act in actions.items()})
        self.loop.after_step = self.oracle.check

    async def finish(self) -> None:
        """Wait until everybody is done; then see what is left."""
        await self._until(lambda: all(actor.done() for actor in self.actors))
        for plan in self._plans:
            plan.cancel()
        for actor in self.actors:
            self.oracle.judge_actor(actor)
        self.oracle.judge_end()
        self.released.set()
        for gate in self._gates:
            if not gate.done():
                gate.set_result(0)
        await self._until(lambda: len(self.loop.tasks()) == 1)
        for _ in range(3):  # whatever is due now, and what follows from that
            await self._patiently(asyncio.sleep(0))
            while not self.loop.idle:  # in a shuffled order, a callback may be held back for long
                await self._patiently(asyncio.sleep(0))
        self.oracle.judge_silence()
        self.oracle.check()
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
