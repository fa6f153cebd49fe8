"""Row 14 of the list: weirpool itself fails, at any one line of its core, and what was promised to its users still comes true.

A program runs on the deterministic loop while every line of `src/weirpool/_*.py` that it comes by is counted. Then it is run
again for each of them, with an exception raised in place of that line. What must hold after one such failure, wherever it is:

1. `aclose()` returns within its bound, or raises what was injected; called once more then, it returns. It has closed the pool.
   The bound is `shutdown_timeout` and the hundredth of a second that the last resort waits to be sure.
2. Nobody hangs: every handle that was given out has ended, everybody who awaited one or waited for room knows.
3. The books balance, and the report adds up.
4. Once the jobs have ended that ignore their cancellation, no task and no timer is left.
"""

from __future__ import annotations

import asyncio
import gc
import linecache
import sys
import warnings
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import weirpool
from tests.support import adds_up
from weirpool import JobHandle, PoolState, WorkerPool
from weirpool.events import Observer
from weirpool.testing import DeterministicLoop, run

if TYPE_CHECKING:
    import types
    from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping

__all__ = ["EXEMPT", "PROGRAMS", "Place", "Tracer", "Verdict", "each_line_once", "inject", "inject_all", "lines_of"]

CORE = str(Path(weirpool.__file__).parent / "_")
BUDGET, GRACE, A_LITTLE = 4.0, 1.0, 0.0111

EXEMPT = {
    "Crew.begin: self.spawning = True": "the coroutine, closed because of that, takes it for the end of its job",
    "Crew.begin: self.spawning = False": "the tasks of new jobs go round in circles while it is True",
    "Job.end: self.owner = self.run = None": "who awaits the job already is told, but who does so later hangs",
    "Supervisor.open: return ready": "entering fails as if there were no supervisor yet, but there is",
}
"""Lines after whose failure not all of that holds, and what goes wrong then.

All that these lines do is to assign a constant to an attribute that exists, or to return a local variable. They can't raise
unless somebody makes them, as is done here.
"""


class Injected(Exception):
    """What weirpool raises in place of one of its lines."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the core."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.function}: {linecache.getline(str(Path(CORE).with_name(self.file)), self.line).strip()}"


@dataclass(slots=True)
class Verdict:
    """What became of a program with a failure in it."""

    place: Place | None
    wrongs: list[str]


class Tracer:
    """Count the lines of the core that are run while `armed`, and raise in place of one of them.

    Args:
        strike: the number of the line; None: raise nowhere.
    """

    def __init__(self, strike: int | None) -> None:
        self.armed = False
        self.places: list[Place] = []
        self.count = 0
        self.hit: Place | None = None
        self._strike = strike

    def __call__(self, frame: types.FrameType, event: str, _: object) -> Tracer | None:
        code = frame.f_code
        if not code.co_filename.startswith(CORE):
            return None
        if event == "line" and self.armed:
            self.count += 1
            if self._strike is None:
                self.places.append(_place(frame))
            elif self.count == self._strike:
                self.hit = _place(frame)
                raise Injected
        return self

    @contextmanager
    def tracing(self) -> Generator[None, None, None]:
        """Trace, in place of whoever does now: a debugger, or the measurement of coverage."""
        before = sys.gettrace()
        sys.settrace(self)
        try:
            yield
        finally:
            sys.settrace(before)


def _place(frame: types.FrameType) -> Place:
    return Place(Path(frame.f_code.co_filename).name, frame.f_lineno, frame.f_code.co_qualname)


# The programs -----------------------------------------------------------------------------------------------------------


class Listener(Observer):
    """Hear everything, and say nothing."""

    def _hear(self, event: Any) -> None:
        pass

    job_accepted = job_started = job_ended = stray_ended = submit_refused = pool_moved = _hear


@dataclass
class Scene:
    """One pool and those who use it."""

    options: dict[str, Any] = field(default_factory=dict)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    handles: list[JobHandle[Any]] = field(default_factory=list)
    clients: list[asyncio.Task[None]] = field(default_factory=list)
    wrongs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = WorkerPool(
            max_workers=2, queue_size=3, submit_timeout=None, shutdown_timeout=BUDGET, cancel_grace=GRACE, **self.options
        )

    def client(self, *acts: Callable[[], Awaitable[object]]) -> None:
        """Let a client do one thing after the other, whatever comes of each."""

        async def live() -> None:
            for act in acts:
                with suppress(Exception):  # jobs fail, and pools are full or closed: all that is as it should be
                    await act()

        self.clients.append(asyncio.create_task(live()))

    def job(self, fn: Callable[..., Awaitable[Any]], *args: Any, **options: Any) -> Callable[[], Awaitable[object]]:
        """Return the act of submitting a job and awaiting it."""

        async def act() -> None:
            handle = await self.pool.submit(fn, *args, **options)
            self.handles.append(handle)
            await handle

        return act

    async def stubborn(self) -> None:
        """Ignore every cancellation until released."""
        while not self.released.is_set():
            with suppress(asyncio.CancelledError):
                await self.released.wait()

    async def close(self) -> None:
        """Close the pool, and see that this is done within its bound."""
        loop = asyncio.get_running_loop()
        for _ in range(2):
            began = loop.time()
            try:
                await self.pool.aclose()
                break
            except Injected:
                pass
            finally:
                if loop.time() - began > BUDGET + A_LITTLE:
                    self.wrongs.append(f"aclose() took {loop.time() - began:.3g} s")
        else:
            self.wrongs.append("aclose() raised, and raised again")

    async def judge(self) -> None:
        """See that all is as it should be after closing, now and when the last stray has ended."""
        loop = DeterministicLoop.running()
        await asyncio.sleep(0.001)
        stats = self.pool.stats()
        if self.pool.state is not PoolState.CLOSED or not adds_up(self.pool.report):
            self.wrongs.append(f"the pool is {self.pool.state.name}, with the report {self.pool.report}")
        if stats.accepted != stats.ended or stats.queued or stats.running:
            self.wrongs.append(f"the books do not balance: {stats}")
        if pending := [handle for handle in self.handles if not handle.done()]:
            self.wrongs.append(f"have not ended: {pending}")
        if self.clients and (hang := (await asyncio.wait(self.clients, timeout=BUDGET + A_LITTLE))[1]):
            self.wrongs.append(f"{len(hang)} clients hang")
        if self.handles:
            waits = [asyncio.create_task(handle.wait()) for handle in self.handles]
            _, hang = await asyncio.wait(waits, timeout=1)
            if hang:
                self.wrongs.append(f"{len(hang)} handles can't be awaited any more")
            for wait in hang:
                wait.cancel()
        self.released.set()
        for client in self.clients:
            client.cancel()
        await asyncio.sleep(1)
        if left := [task.get_name() for task in loop.tasks().values() if task is not asyncio.current_task()]:
            self.wrongs.append(f"tasks are left: {left}")
        if timers := loop.timers():
            self.wrongs.append(f"timers are left: {timers}")


async def _ok(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def _fails() -> None:
    raise ValueError


async def _cooperates() -> None:
    try:
        await asyncio.sleep(50)
    except asyncio.CancelledError:
        await asyncio.sleep(0.1)
        raise


async def a_full_day(scene: Scene) -> None:
    """Have jobs of all kinds, a queue that is full, submitters that wait, and half of them when the pool is closed."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(1):
        await scene.pool.__aenter__()
    scene.client(scene.job(_ok, 0.1), scene.job(_fails))
    scene.client(scene.job(_ok, 0.2, timeout=1), scene.job(_ok, 5, timeout=0.1))
    scene.client(scene.job(_ok, 0.3, deadline=loop.time() + 0.05))
    scene.client(scene.job(_ok, 0.1), scene.job(_cooperates))
    scene.client(lambda: scene.pool.run(_ok, 0.1))
    await asyncio.sleep(0.15)
    scene.clients[-1].cancel()
    await asyncio.sleep(1)
    scene.client(scene.job(scene.stubborn))
    for _ in range(2):
        scene.client(scene.job(_ok, 2.2))
    for _ in range(3):
        scene.client(scene.job(_ok, 0.1))
    await asyncio.sleep(0.1)
    for handle in scene.handles[-1:]:
        handle.cancel()


async def cancelled_in_the_midst(scene: Scene) -> None:
    """Have a client's block cancelled while its pool is full."""

    async def own() -> None:
        async with scene.pool as pool:
            for fn in (_cooperates, scene.stubborn, _cooperates):
                scene.handles.append(await pool.submit(fn))
            await asyncio.sleep(50)

    scene.client(own)
    await asyncio.sleep(0.1)
    scene.clients[0].cancel()


async def abandoned_at_last(scene: Scene) -> None:
    """Have a job that ignores its deadline, and ends at last."""
    await scene.pool.__aenter__()
    scene.client(scene.job(scene.stubborn, timeout=0.1))
    await asyncio.sleep(2)
    scene.released.set()
    scene.client(scene.job(_ok, 0.1))
    await asyncio.sleep(0.2)
    scene.released.clear()


async def under_a_task_factory(scene: Scene) -> None:
    """Have a task factory, and a client that gives up."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, coro, **options: asyncio.Task(coro, loop=loop, **options))
    await scene.pool.__aenter__()
    for seconds in (0.1, 0.2, 0.1):
        scene.client(scene.job(_ok, seconds))
    scene.client(scene.job(_cooperates))
    await asyncio.sleep(0.25)


@dataclass(frozen=True)
class Program:
    """What is done before closing, in which pool."""

    act: Callable[[Scene], Coroutine[Any, Any, None]]
    observed: bool = False

    def scene(self) -> Scene:
        """Set the scene."""
        return Scene({"observers": [Listener()]} if self.observed else {})


PROGRAMS = {
    "a full day": Program(a_full_day),
    "observed": Program(abandoned_at_last, observed=True),
    "cancelled": Program(cancelled_in_the_midst),
    "a task factory": Program(under_a_task_factory),
}


# A run ------------------------------------------------------------------------------------------------------------------


def _run(program: Program, tracer: Tracer) -> list[str]:
    scenes: list[Scene] = []
    loops: list[DeterministicLoop] = []

    async def main() -> None:
        loops.append(DeterministicLoop.running())
        scene = program.scene()
        scenes.append(scene)
        tracer.armed = True
        with suppress(Injected, RuntimeError):  # the latter: it was closed while it was being opened
            await program.act(scene)
        await scene.close()
        tracer.armed = False
        await scene.judge()

    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        # A line that is not run may well leave a coroutine behind that nobody awaits, for instance.
        warnings.simplefilter("ignore")
        patch.setattr(sys, "unraisablehook", lambda _: None)
        with tracer.tracing():
            result = run(main, max_steps=20_000)
        wrongs = scenes.pop().wrongs
        if result.error is not None and not loops.pop().complaints:
            wrongs.append(f"{type(result.error).__name__}: {result.error}".partition("\n")[0])
        del result
        gc.collect()
    return wrongs


def lines_of(program: str) -> list[Place]:
    """Return the lines of the core that a program comes by, in that order."""
    tracer = Tracer(None)
    wrongs = _run(PROGRAMS[program], tracer)
    assert not wrongs, wrongs
    return tracer.places


def inject(program: str, number: int) -> Verdict:
    """Run a program with a failure in place of the line of that number, the first of which is 1."""
    tracer = Tracer(number)
    wrongs = _run(PROGRAMS[program], tracer)
    return Verdict(tracer.hit, wrongs)


def each_line_once() -> dict[str, list[int]]:
    """Return, by program, the numbers at which each line of the core is come by for the very first time."""
    first: dict[Place, tuple[str, int]] = {}
    for program in PROGRAMS:
        for number, place in enumerate(lines_of(program), 1):
            first.setdefault(place, (program, number))
    return {program: [number for name, number in first.values() if name == program] for program in PROGRAMS}


def inject_all(numbers: Mapping[str, Iterable[int]], max_failures: int = 10) -> tuple[Counter[str], list[str]]:
    """Inject failures, by program and number of the line; return how many there were of each kind, and what went wrong."""
    counts: Counter[str] = Counter()
    failures: list[str] = []
    for program, number in ((name, number) for name in numbers for number in numbers[name]):
        verdict = inject(program, number)
        assert verdict.place is not None, f"{program}, line {number}: the program is not the same each time"
        if str(verdict.place) not in EXEMPT:
            counts[program] += 1
            if verdict.wrongs:
                where = f"{verdict.place.file}:{verdict.place.line} in {verdict.place}"
                failures.append(f"{program}, {number}: {where}\n    {'; '.join(verdict.wrongs)}")
        if len(failures) >= max_failures:
            break
    return counts, failures
