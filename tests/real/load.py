"""Loads whose books do not depend on how the jobs interleave, so that they have to be the same on every event loop.

`MixedLoad` is large, and only its sums are compared, with those that follow from its plan. `Steps` is small and waits after
each step until nothing moves any more, and so its whole history can be compared.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support import FOREVER, Stubborn, adds_up, balanced, turns
from weirpool import JobState, PoolOverloaded, WorkerPool
from weirpool.events import JobAccepted, JobEnded, JobStarted, Observer, SubmitRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weirpool import JobHandle

_MIX = {  # fate: weight, how such a job ends
    "returns": (86, JobState.SUCCEEDED),
    "is slow": (2, JobState.SUCCEEDED),
    "raises": (5, JobState.FAILED),
    "times out": (2, JobState.TIMED_OUT),
    "raises CancelledError": (1, JobState.CANCELLED),
    "is cancelled": (4, JobState.CANCELLED),
}
_DEAF = 3
WORKERS = 64

request: ContextVar[int] = ContextVar("request")


class MixedLoad:
    """Jobs that end in every way, from submitters that wait for room, with handles cancelled at any moment."""

    def __init__(self, seed: int, jobs: int) -> None:
        self._dice = random.Random(seed)
        self._fates = self._dice.choices(list(_MIX), [weight for weight, _ in _MIX.values()], k=jobs)
        for number in self._dice.sample(range(jobs), _DEAF):
            self._fates[number] = "is deaf"
        self._deaf: list[Stubborn] = []
        self._handles: dict[int, JobHandle[int]] = {}
        self._inside = 0
        self.most_inside = 0
        self.imbalances: list[Any] = []

    @property
    def planned(self) -> Counter[str]:
        """What the books must say in the end."""
        return Counter(self._end(fate).value for fate in self._fates) + Counter(accepted=len(self._fates))

    async def run(self) -> Counter[str]:
        """Run it, check what became of each job, and return what the pool's report says."""
        auditor = _Auditor()
        async with WorkerPool(
            max_workers=WORKERS,
            queue_size=100,
            submit_timeout=None,
            cancel_grace=0.1,
            observers=[auditor],
        ) as pool:
            auditor.pool = pool
            todo = iter(enumerate(self._fates))
            async with asyncio.TaskGroup() as group:
                for _ in range(8):
                    group.create_task(self._submit(pool, todo))
        self.imbalances = auditor.imbalances
        for number, fate in enumerate(self._fates):
            self._judge(number, fate)
        for deaf in self._deaf:
            await deaf.release()
        assert pool.stats().strays == 0
        assert self._inside == 0
        report = pool.report
        assert report is not None
        assert adds_up(report)
        assert sum(report.refused.values()) == 0
        ends = ("accepted", "succeeded", "failed", "timed_out", "cancelled", "abandoned")
        return Counter({end: getattr(report, end) for end in ends})

    async def _submit(self, pool: WorkerPool, todo: Iterator[tuple[int, str]]) -> None:
        loop = asyncio.get_running_loop()
        for number, fate in todo:
            request.set(number)
            timeout = 0.02 if fate in {"times out", "is deaf"} else None
            handle = self._handles[number] = await pool.submit(self._job, number, fate, timeout=timeout)
            if fate == "is cancelled" and number % 2:
                handle.cancel()  # in the queue, most of the time
            elif fate == "is cancelled":
                loop.call_later(self._dice.uniform(0, 0.02), handle.cancel)

    async def _job(self, number: int, fate: str) -> int:
        self._inside += 1
        self.most_inside = max(self.most_inside, self._inside - len(self._deaf))
        assert request.get() == number, "a job sees its own submitter's context"
        request.set(-1)
        try:
            return await self._live(number, fate)
        finally:
            self._inside -= 1

    async def _live(self, number: int, fate: str) -> int:
        if fate != "is deaf":  # which must have begun to be so by its deadline
            await turns(1 + number % 3)
        match fate:
            case "raises":
                raise ValueError(number)
            case "raises CancelledError":
                raise asyncio.CancelledError
            case "is slow":
                await asyncio.sleep(0.002)
            case "times out" | "is cancelled":
                await asyncio.sleep(FOREVER)
            case "is deaf":
                self._deaf.append(Stubborn())
                await self._deaf[-1]()
        return number

    @staticmethod
    def _end(fate: str) -> JobState:
        return JobState.ABANDONED if fate == "is deaf" else _MIX[fate][1]

    def _judge(self, number: int, fate: str) -> None:
        handle = self._handles[number]
        assert handle.state is self._end(fate), f"job {number} {fate}"
        error = handle.exception()
        if handle.state is JobState.SUCCEEDED:
            assert handle.result() == number
        elif handle.state is JobState.FAILED:
            assert isinstance(error, ValueError)
            assert error.args == (number,)


class _Auditor(Observer):
    """Check the books at every event."""

    def __init__(self) -> None:
        self.pool: WorkerPool | None = None
        self.imbalances: list[Any] = []

    def _check(self, event: object) -> None:
        if self.pool is not None and not balanced(self.pool):
            self.imbalances.append((event, self.pool.stats()))

    job_accepted = job_started = job_ended = stray_ended = submit_refused = pool_moved = _check


class Happening(NamedTuple):
    """One line of a history."""

    what: str
    job: int = 0
    detail: str = ""


class Steps(Observer):
    """Random steps, each taken only when nothing moves any more, and the history of all that they led to."""

    def __init__(self, seed: int, steps: int) -> None:
        self._dice = random.Random(seed)
        self._steps = steps
        self._ends: dict[int, asyncio.Future[None]] = {}
        self._handles: list[JobHandle[None]] = []
        self._submitters: list[asyncio.Task[JobHandle[None]]] = []
        self._numbers = iter(range(steps))
        self.history: list[Happening] = []

    async def run(self) -> list[Happening]:
        """Take the steps, and return what happened."""
        async with WorkerPool(max_workers=3, queue_size=4, submit_timeout=None, observers=[self]) as pool:
            moves = (self._submit, self._submit, self._submit_nowait, self._cancel_submitter, self._cancel_job, self._end_job)
            for _ in range(self._steps):
                self._dice.choice(moves)(pool)
                await turns(10)
                stats = pool.stats()
                assert balanced(pool)
                self.history.append(Happening("stats", stats.queued, f"{stats.running} running, {stats.waiting} waiting"))
            for submitter in self._submitters:
                submitter.cancel()
            while self._ends:
                for end in self._ends.values():
                    end.set_result(None)
                await turns(10)
        for handle in self._handles:
            error = handle.exception()
            self.history.append(Happening("end", handle.id, f"{handle.state.value} {type(error).__name__}"))
        return self.history

    async def _job(self, number: int) -> None:
        end = self._ends[number] = asyncio.get_running_loop().create_future()
        try:
            await end
        finally:
            del self._ends[number]

    def _submit(self, pool: WorkerPool) -> None:
        async def submitter(number: int) -> JobHandle[None]:
            handle = await pool.submit(self._job, number)
            self._handles.append(handle)
            return handle

        self._submitters = [task for task in self._submitters if not task.done()]
        self._submitters.append(asyncio.create_task(submitter(next(self._numbers))))

    def _submit_nowait(self, pool: WorkerPool) -> None:
        try:
            self._handles.append(pool.submit_nowait(self._job, next(self._numbers)))
        except PoolOverloaded as error:
            self.history.append(Happening("refused", 0, error.reason))

    def _cancel_submitter(self, _: WorkerPool) -> None:
        if waiting := [task for task in self._submitters if not task.done()]:
            self._dice.choice(waiting).cancel()

    def _cancel_job(self, _: WorkerPool) -> None:
        if live := [handle for handle in self._handles if not handle.done()]:
            self._dice.choice(live).cancel()

    def _end_job(self, _: WorkerPool) -> None:
        if self._ends:
            end = self._ends[self._dice.choice(sorted(self._ends))]
            match self._dice.randrange(3):
                case 0:
                    end.set_exception(KeyError("so it goes"))
                case 1:
                    end.set_exception(asyncio.CancelledError())
                case _:
                    end.set_result(None)

    def job_accepted(self, event: JobAccepted) -> None:
        self.history.append(Happening("accepted", event.id))

    def job_started(self, event: JobStarted) -> None:
        self.history.append(Happening("started", event.id))

    def job_ended(self, event: JobEnded) -> None:
        self.history.append(Happening("ended", event.id, event.state.value))

    def submit_refused(self, event: SubmitRefused) -> None:
        self.history.append(Happening("refused", 0, event.reason))
