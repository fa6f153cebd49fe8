"""Part "jobs": millions of jobs of every kind, under disturbances, and the books compared all along.

A few hundred submitters each have one job at a time, so the memory that this needs of its own does not grow.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from weirpool import JobState

from .bars import Bar, Mistakes, Result, at_most, exactly, say
from .books import Books, WitnessedPool
from .disturbances import GRACE, close, disturb
from .gauges import Noise, Pulse, Sample, Samples, live_objects, take
from .loops import StopByJob, drive, until
from .work import Ticket, draw

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["soak"]

ACTORS = 256
WORKERS = 64
QUEUES = (0, 16, 96)
PATIENCES = (0, 0.01, 1.0, None)
SLOPE = 1.0  # MiB per million jobs, at most
NOISE = 2.0  # MiB by which the resident memory of a process moves anyway: all that a short run can show
BLOCKS = 0.25  # blocks of memory that stay per job, at most; their number moves with what runs just now, by some thousands
_WINDOW = 5_000  # jobs without the garbage collector, after every tenth sample
_TASKS = ACTORS + 16 * WORKERS  # at most: the submitters, the jobs of a few pools and their strays


class Actor:
    """Submit one job after the other, see what becomes of each, and take every cancellation in its stride.

    Attributes:
        phase: where it is: "submit" (perhaps waiting for room), "run", "await" or "".
        ticket: its job.
        sent: how many cancellations it was sent.
        seen: how many it has seen, which must be as many.
    """

    def __init__(self, world: World) -> None:
        self.phase = ""
        self.ticket: Ticket | None = None
        self.sent = 0
        self.seen = 0
        self._world = world
        self.task = world.start(self._live())

    def cancel(self) -> None:
        """Cancel it; again, if it has not come round from the last time."""
        if not self.task.done():
            self.sent += not self.task.cancelling()
            self.task.cancel()

    def _come_round(self) -> None:
        self.seen += 1
        if not self.task.cancelling():
            self._world.mistakes.note("CancelledError in a task that nobody cancelled", self.ticket and self.ticket.handle)
        while self.task.uncancel():
            pass

    async def _live(self) -> None:
        world = self._world
        while world.accepted < world.wanted:
            try:
                if not await self._submit(world.pool):
                    await asyncio.sleep(world.rng.uniform(0, 0.01))
            except asyncio.CancelledError:
                self._come_round()

    async def _submit(self, pool: WitnessedPool) -> bool:
        """Have one job done; say whether it was accepted."""
        world, books = self._world, pool.books
        ticket = self.ticket = world.draw(books)
        limits: dict[str, Any] = {"timeout": ticket.timeout, "deadline": ticket.deadline}
        how = world.rng.random()
        books.attempts += 1
        try:
            if how < 0.25:
                self.phase, ticket.forget = "run", False
                await pool.run(ticket.kind.fn, ticket, **limits)
            elif how < 0.75:
                self.phase = "submit"
                await pool.submit(ticket.kind.fn, ticket, **limits)
            else:
                pool.submit_nowait(ticket.kind.fn, ticket, **limits)
        except BaseException as error:  # what run() passes on of the job's may be anything
            if ticket.handle is None:
                books.refuse(error)
            elif self.phase != "run" or not ticket.handle.done():
                world.mistakes.note("run() left its job behind", ticket.handle)
            if isinstance(error, asyncio.CancelledError):
                ticket.asked = True
                self._come_round()
        books.attempts -= 1
        self.phase = ""
        if ticket.handle is None:
            self.ticket = None
            return False
        world.accepted += 1
        await self._see(ticket)
        return True

    async def _see(self, ticket: Ticket) -> None:
        """Wait for the end of a job, come what may, and note it."""
        world, handle = self._world, ticket.handle
        assert handle is not None
        self.phase = "await"
        while not handle.done():
            try:
                if ticket.forget or ticket.token % 2:
                    await handle.wait()
                else:
                    await handle
            except asyncio.CancelledError:
                self._come_round()
            except BaseException:  # whatever the job raised; it is judged below
                assert handle.done()
        self.phase = ""
        ticket.books.end(ticket, world.loop.time())
        ticket.released = handle.state is JobState.ABANDONED
        self.ticket = ticket.handle = None
        world.one_more()


class World:
    """Hold what the submitters and the disturbances share.

    Attributes:
        pool: the one to submit to.
        accepted: how many jobs were accepted, by any pool.
        ended: how many of those have been seen to end.
        closing: how many pools are being closed.
        last: a sample, when all is over.
        latest: by how much the latest of all closings was later than its bound (negative: it was not), in seconds.
    """

    pool: WitnessedPool
    last: Sample

    def __init__(self, wanted: int, every: int, seed: int) -> None:
        self.wanted = wanted
        self.rng = random.Random(seed)
        self.loop = asyncio.get_running_loop()
        self.pulse = Pulse()
        self.mistakes = Mistakes()
        self.noise = Noise(self.mistakes)
        self.noise.install()
        self.accepted = 0
        self.ended = 0
        self.closing = 0
        self.latest = -60.0
        self.disturbed: Counter[str] = Counter()
        self.closings: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.samples = Samples()
        self.garbage: Counter[str] = Counter()
        self.windows = 0
        self.actors: list[Actor] = []
        self._every = every
        self._window_end = -1
        self._living: dict[Books, WitnessedPool] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pools = 0
        self._tokens = 0
        self._finished = False
        self._began = time.perf_counter()

    @property
    def pools(self) -> int:
        """How many pools have been opened."""
        return self._pools

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that the end waits for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def draw(self, books: Books) -> Ticket:
        """Draw the next job for a pool."""
        self._tokens += 1
        return draw(self.rng, self._tokens, books, self.loop.time())

    async def open(self) -> None:
        """Open a new pool, of another shape, to submit to from now on."""
        self._pools += 1
        books = Books(f"pool-{self._pools}", self.mistakes)
        pool = WitnessedPool(
            books,
            max_workers=WORKERS,
            queue_size=self.rng.choice(QUEUES),
            submit_timeout=self.rng.choice(PATIENCES),
            shutdown_timeout=10.0,
            cancel_grace=GRACE,
        )
        await pool.__aenter__()
        self._living[books] = pool
        self.pool = pool

    async def compare(self, pool: WitnessedPool, report: Any) -> None:
        """Compare the books of a closed pool with its tally, once nobody has anything to do with it any more."""
        books = pool.books
        if not await until(lambda: (pool is not self.pool or self._finished) and books.settled() and not pool.stats().strays):
            self.mistakes.note("somebody waits for a closed pool", f"{vars(books)} {pool.stats()}")
        books.compare(pool.stats(), report)
        del self._living[books]
        self.totals.update({state.value: count for state, count in books.ended.items()})
        self.totals.update(forgotten=books.forgotten)
        self.refused.update(books.refused)

    def prompt(self, actor: Actor, sent: int) -> None:
        """Check, one turn after it was sent, that a submitter has seen its cancellation."""
        if actor.seen < sent:
            self.mistakes.note("submit() was not cancelled within one turn", actor.phase)

    # Measuring ----------------------------------------------------------------------------------------------------------

    def one_more(self) -> None:
        """Count a job that has been seen to end, and measure at intervals."""
        self.ended += 1
        if self.ended == self._window_end:
            self._look_into_the_garbage()
        if self.ended % self._every == 0:
            self._sample()
            if len(self.samples) % 10 == 1:
                gc.collect()
                gc.disable()
                self._window_end = self.ended + _WINDOW

    def _sample(self) -> None:
        for books, pool in self._living.items():
            books.check(pool.stats())
        sample = take(self.ended)
        rate = self.ended / (time.perf_counter() - self._began)
        self.samples.add(sample)
        say(
            f"  {self.ended:>10,} jobs  {rate:7,.0f}/s  {self._pools:5,} pools  rss {sample.rss:6.2f} MiB  fds {sample.fds}"
            f"  tasks {sample.tasks:,}  threads {sample.threads}  loop late by {self.pulse.worst * 1000:,.0f} ms at worst"
            f"  mistakes {self.mistakes.counts.total()}"
        )

    def _look_into_the_garbage(self) -> None:
        """Count what a window without the collector has left for it: of weirpool's own, that must be nothing."""
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        gc.set_debug(0)
        self.garbage.update(live_objects(gc.garbage))
        gc.garbage.clear()
        gc.enable()
        self.windows += 1

    async def finish(self) -> None:
        """Wait for the submitters and the closings, and close the last pool."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._finished = True
        await close(self, self.pool)
        del self.pool
        self.pulse.stop()


async def _run(jobs: int, every: int, seed: int) -> World:
    world = World(jobs, every, seed)
    await world.open()
    world.actors += [Actor(world) for _ in range(ACTORS)]
    disturbing = asyncio.create_task(disturb(world))
    await asyncio.wait([actor.task for actor in world.actors])
    disturbing.cancel()
    await asyncio.wait([disturbing])
    await world.finish()
    await until(lambda: len(asyncio.all_tasks()) == 1)  # the supervisor of a pool's last stray ends some turns after that
    gc.collect()
    world.last = take(world.ended)
    return world


def soak(jobs: int, every: int, seed: int, loop: str) -> Result:
    """Run the part, and judge it."""
    began = time.perf_counter()
    before = live_objects()  # states and the like
    world, stops = drive(_run(jobs, every, seed), loop)
    return _judge(world, stops, jobs, before, loop, time.perf_counter() - began)


def _judge(world: World, stops: int, jobs: int, before: Counter[str], loop: str, seconds: float) -> Result:
    samples = world.samples
    slope, grown = samples.grown("rss", 0.1)
    blocks, _ = samples.grown("blocks", 0.1)
    gc.collect()  # what the loop itself held is gone by now
    left = live_objects() - before
    garbage = sum(world.garbage[kind] for kind in ("Job", "JobHandle", "Failure", "Cause"))
    sent = sum(actor.sent for actor in world.actors)
    figures = {
        "jobs": world.ended,
        "seconds": round(seconds, 1),
        "ends": dict(world.totals),
        "refused": dict(world.refused),
        "pools": world.pools,
        "closings": dict(world.closings),
        "disturbances": dict(world.disturbed),
        "loop_stops": stops,
        "logged": dict(world.noise.counts),
        "latest_closing_over_bound": round(world.latest, 4),
        "garbage": dict(world.garbage),
        "rss_slope_mib_per_million": round(slope * 1e6, 4),
        "blocks_per_job": round(blocks, 5),
        "loop_late_ms": round(world.pulse.worst * 1000),
        "samples": samples.plain(),
    }
    bars = [
        exactly("jobs that were seen to end", world.ended, world.accepted),
        world.mistakes.bar(),
        exactly("cancellations seen by callers, of those sent", sum(actor.seen for actor in world.actors), sent),
        _stops(stops, loop),
        exactly("unseen failures logged", world.noise.counts["weirpool.job.failed"], world.totals["forgotten"]),
        exactly("abandoned jobs logged", world.noise.counts["weirpool.job.abandoned"], world.totals["abandoned"]),
        exactly("reports logged", world.noise.counts["weirpool.pool.closed"], world.pools),
        # Of a run too short for that, all that can be said is that the growth may be noise.
        at_most("growth of memory after warm-up", slope * 1e6, SLOPE, "MiB per million jobs")
        if jobs >= 2e6
        else at_most("growth of memory after warm-up", grown, NOISE, "MiB"),
        at_most("blocks of memory that stay, per job", blocks, BLOCKS),
        exactly("most open descriptors, as at the start", samples.most("fds"), samples.first("fds")),
        exactly("most threads, as at the start", samples.most("threads"), samples.first("threads")),
        at_most("most tasks", samples.most("tasks"), _TASKS),
        exactly("tasks left", world.last.tasks, 1),
        Bar("objects of weirpool left", ", ".join(left) or "none", "none", not left),
        exactly(f"jobs in the garbage of {world.windows} windows without collector", garbage, 0),
    ]
    return Result("jobs", figures, bars)


def _stops(stops: int, loop: str) -> Bar:
    """Say whether each KeyboardInterrupt and SystemExit of a job that had to come out of the loop did so, once.

    uvloop goes on for a moment when one has been raised in it, in which another may be passed on.
    """
    what = "the loop was stopped by jobs that do that"
    if loop != "uvloop":
        return exactly(what, stops, StopByJob.due)
    least, most = StopByJob.due, StopByJob.raised
    return Bar(what, f"{stops:,}", f"from {least:,} to {most:,}", least <= stops <= most)
