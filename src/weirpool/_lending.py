"""Places that jobs lend while they wait for their own pool.

A job that waits for its pool (for a handle, for `run`, for room) holds a place that what it waits for may need; with enough of
such jobs, none would ever get on. So it lends its place, and before it goes on it takes the next free one, ahead of the queue:
at no instant do more jobs hold a place than there are.

Pools may wait for each other in a circle: a job of A waits for B, while one of B waits for A. So a job that waits for another
pool lends its place, too, from the moment on in which that one waits for its own. It need not be the same jobs that do: what a
job waits for may itself have to wait for any that is ahead of it.

What is counted are the waits of everything in the job's context, that is of the tasks that it has started, too: while any of
them waits, the job as a whole does.
"""

from __future__ import annotations

from asyncio import CancelledError, Future
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from anyio import CancelScope

from ._errors import PoolOverloaded
from ._run import Run, current_run

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable, Collection, Iterator

    from ._job import Job, JobOwner
    from ._lifecycle import Ledger

__all__ = ["Guest", "Lending", "Lent", "Loan", "Wait", "Waiter", "inside", "outlast"]


class Places(Protocol):
    """Whoever has the places of a pool."""

    name: str
    places: int

    def place_freed(self) -> None:
        """Give a place that has become free to whoever is next."""
        ...

    def crowded(self) -> None:
        """See whether there should be more places, as somebody may wait for one."""
        ...


class Lending:
    """Lend the places of one pool's jobs.

    Args:
        places: who has the places.
        ledger: the pool's books.
        most: how many jobs may lend at once.
    """

    __slots__ = ("_ledger", "_most", "_places", "abroad", "back", "retrying")

    def __init__(self, places: Places, ledger: Ledger, most: int) -> None:
        self._places = places
        self._ledger = ledger
        self._most = most
        self.retrying = 0
        """How many jobs wait for another attempt."""
        self.back: deque[Loan] = deque()
        """Those that wait to have a place again."""
        self.abroad: dict[Lending, Edge] = {}
        """The other pools that its jobs wait for."""

    def check(self, more: int) -> None:
        """Refuse a wait that would make more jobs lend their places than may.

        Raises:
            PoolOverloaded: it would.
        """
        lending = self._ledger.lending
        if more and lending + more > self._most:
            raise PoolOverloaded(self._places.name, "nesting", depth=lending, limit=self._most)

    def lend(self) -> None:
        """Free a place."""
        self._ledger.lend()
        self._places.place_freed()

    def ask_back(self, loan: Loan) -> None:
        """Give a place to a job that has lent its own, now or as soon as there is one."""
        self.back.append(loan)
        self.serve()
        if loan.asked:
            self._places.crowded()

    def serve(self) -> None:
        """Give free places back, first come, first served."""
        back, ledger = self.back, self._ledger
        while back and ledger.running < self._places.places:
            loan = back.popleft()
            loan.asked = False
            if loan.out and not loan.due:
                ledger.take_back()
                loan.out = False
            loan.wake()


class Loan:
    """The place of one job, which it lends while it waits for its own pool.

    Attributes:
        out: whether the job has no place at present.
        asked: whether it waits for one.
        waits: what it waits for, for itself or in a task of its own.
    """

    __slots__ = ("_back", "_lending", "_reasons", "asked", "out", "waits")

    def __init__(self, lending: Lending) -> None:
        self._lending = lending
        self._reasons = 0
        self._back: list[asyncio.Future[None]] = []
        self.out = False
        self.asked = False
        self.waits: dict[Wait, None] = {}

    @classmethod
    def of(cls, run: Run) -> Loan:
        """Return the loan of a run that goes on."""
        assert run.job is not None
        assert run.job.owner is not None
        if run.loan is None:
            run.loan = cls(run.job.owner.lending)
        return run.loan

    @property
    def due(self) -> bool:
        """Whether the job is to lend its place."""
        return self._reasons > 0

    @property
    def wanted(self) -> bool:
        """Whether a place is needed when one of the reasons to lend it is over."""
        return self.out and self._reasons == 1

    def begin(self) -> None:
        """Count one more reason to lend the place."""
        self._reasons += 1
        if not self.out:
            self.out = True
            self._lending.lend()

    def over(self, run: Run) -> None:
        """Count one less."""
        self._reasons -= 1
        if self.out and not self.due and not self.asked and run.loan is self:
            self.asked = True
            self._lending.ask_back(self)

    def may_go_on(self, run: Run) -> bool:
        """Say whether the job has a place; or is to lend it again, or is being ended, or has ended, and needs none."""
        return not self.out or self.due or run.job is None or run.cause is not None or run.late

    async def returned(self, run: Run) -> None:
        """Wait until the job may go on."""
        while not self.may_go_on(run):
            waiter: asyncio.Future[None] = Future()
            self._back.append(waiter)
            try:
                await waiter
            finally:
                self._back.remove(waiter)

    async def returned_for_sure(self, run: Run) -> None:
        """Wait until the job may go on, however often it is cancelled meanwhile: as `asyncio.Condition.wait` does.

        The job's own `asyncio.timeout`, or the end of a TaskGroup in it, does not get it past the bound of the pool.
        """
        await outlast(lambda: self.returned(run), lambda: self.may_go_on(run))

    def end(self) -> None:
        """Note that the job has ended, and with it all that it waits for: what a task of its own waits for now is not its."""
        self.out = False
        for wait in tuple(self.waits):
            wait.over()
        self.wake()

    def wake(self) -> None:
        """Have whoever waits in `returned` look again."""
        for waiter in self._back:
            if not waiter.done():
                waiter.set_result(None)


class Guest(Loan):
    """What a job has instead that never had a place: its caller runs it."""

    __slots__ = ()

    def __init__(self, lending: Lending) -> None:
        super().__init__(lending)
        self.out = True

    @property
    def wanted(self) -> bool:
        """No."""
        return False

    def begin(self) -> None:
        """Have nothing to lend."""

    def over(self, run: Run) -> None:
        """Want nothing back."""

    def may_go_on(self, run: Run) -> bool:  # noqa: ARG002
        """Go on without a place."""
        return True


class Edge:
    """The waits of one pool's jobs for another pool.

    Attributes:
        waits: those that go on.
        circular: whether the other pool waits for this one, maybe by way of others.
    """

    __slots__ = ("circular", "waits")

    def __init__(self) -> None:
        self.waits: dict[Wait, None] = {}
        self.circular = False


def inside(loop: asyncio.AbstractEventLoop) -> Run | None:
    """Return the run of the job that runs the caller, if there is one, on this loop."""
    run = current_run()
    if run is None or run.job is None or run.job.owner is None or run.job.owner.loop is not loop:
        return None
    return run


class Wait:
    """One wait for a pool from inside a job, from its beginning to `over()`.

    To begin it may free a place, and with that start and end other jobs: what is waited for may be there when it has begun.

    Args:
        run: the run of the job.
        owner: the pool that is waited for.
        targets: the jobs that are waited for, if the job can't go on before all of them have ended; it is asked each time, and
            may change.

    Raises:
        PoolOverloaded: one more job would lend its place than may.
    """

    __slots__ = ("_away", "_home", "_lends", "loan", "run", "targets")

    def __init__(self, run: Run, owner: JobOwner, targets: Collection[Job] = ()) -> None:
        assert run.job is not None
        assert run.job.owner is not None
        self.loan = Loan.of(run)
        self._home, self._away = run.job.owner.lending, owner.lending
        self._lends = False
        self.targets = targets
        self.run: Run | None = run
        lenders: tuple[Wait, ...] = (self,)
        if self._home is self._away:
            self._home.check(not self.loan.out)
        else:
            lenders = _go_abroad(self, self._home, self._away)
        self.loan.waits[self] = None
        for each in lenders:
            each.lend()

    def lends_from(self, pool: Lending) -> bool:
        """Say whether it is a wait of one of a pool's jobs."""
        return self._home is pool

    def lend(self) -> None:
        """Have the job lend its place until this is over."""
        if self.run is not None and not self._lends:
            self._lends = True
            self.loan.begin()

    def over(self) -> None:
        """Note that what is waited for is there, or not waited for any more; a second time changes nothing."""
        run, self.run = self.run, None
        if run is None:
            return
        del self.loan.waits[self]
        if self._home is not self._away:
            _come_home(self, self._home, self._away)
        if self._lends:
            self.loan.over(run)


class Waiter(Future[None]):
    """A future for a job to wait for, and a wait that is over in the moment in which this is done.

    Not when the job wakes: by then what it has waited for, a job that has ended, would have given its place to the next in the
    queue.
    """

    def __init__(self, wait: Wait) -> None:
        super().__init__()
        self.wait = wait

    def set_result(self, result: None) -> None:
        """Be done."""
        self.wait.over()
        super().set_result(result)


class Lent:
    """The block in which a job waits for a pool, and lends its place if it waits for its own by that.

    However it is left, the job has a place again before it goes on; unless it is being ended, and cleans up.

    Args:
        run: the run of the job.
        owner: the pool that is waited for.
        targets: the jobs that are waited for; see `Wait`.
        abort: called if waiting is refused, fails or is cancelled, and awaited before the job waits for its place.
        anyway: whether to wait without lending the place if too many lend theirs already.
    """

    __slots__ = ("_abort", "_anyway", "_owner", "_run", "_targets", "_wait")

    def __init__(
        self,
        run: Run,
        owner: JobOwner,
        targets: Collection[Job] = (),
        *,
        abort: Callable[[BaseException], Awaitable[None]] | None = None,
        anyway: bool = False,
    ) -> None:
        self._run = run
        self._owner = owner
        self._targets = targets
        self._abort = abort
        self._anyway = anyway
        self._wait: Wait | None = None

    async def __aenter__(self) -> Wait | None:
        """Begin to wait; None: without lending the place.

        Raises:
            PoolOverloaded: one more job would lend its place than may.
        """
        try:
            self._wait = Wait(self._run, self._owner, self._targets)
        except PoolOverloaded as refusal:
            if not self._anyway:
                await self._give_up(refusal)
                raise
        return self._wait

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Wait until the job may go on."""
        if error is not None:
            await self._give_up(error)
        elif self._wait is not None:
            self._wait.over()
            try:
                await self._wait.loan.returned(self._run)
            except BaseException as cancelled:
                await self._give_up(cancelled)
                raise

    async def _give_up(self, error: BaseException) -> None:
        if self._abort is not None:
            await self._abort(error)
        if self._wait is not None:
            self._wait.over()
            if not isinstance(error, GeneratorExit):  # of a coroutine that is being closed, and can't wait
                await self._wait.loan.returned_for_sure(self._run)


async def outlast(wait: Callable[[], Awaitable[None]], over: Callable[[], bool]) -> None:
    """Wait until something is over, however often the waiter is cancelled meanwhile; the caller raises afterwards.

    anyio's cancel scopes (Starlette's handlers run in one) cancel whoever is in them again at each turn of the loop; the
    shield keeps that from becoming a busy loop.
    """
    if over():
        return
    with CancelScope(shield=True):
        while not over():
            with suppress(CancelledError):
                await wait()


# Pools that wait for each other ---------------------------------------------------------------------------------------------


def _go_abroad(wait: Wait, home: Lending, away: Lending) -> tuple[Wait, ...]:
    """Note that a job waits for another pool; return whose jobs have to lend their places for that.

    That are all that wait along a circle which this wait closes.

    Raises:
        PoolOverloaded: one more job would lend its place than may; nothing was changed.
    """
    edge = home.abroad.get(away)
    closed: tuple[tuple[Lending, Edge], ...] = ()
    if edge is None:  # else it has closed what it can
        edge = home.abroad[away] = Edge()
        closed = tuple((pool, part) for pool, part in _circular(home) if not part.circular)
    edge.waits[wait] = None
    lenders = (wait,) if edge.circular else tuple(each for _, part in closed for each in part.waits)
    try:
        for pool in {home, *(pool for pool, _ in closed)}:
            pool.check(len({each.loan for each in lenders if each.lends_from(pool) and not each.loan.out}))
    except PoolOverloaded:
        _leave(wait, home, away)
        raise
    for _, part in closed:
        part.circular = True
    return lenders


def _come_home(wait: Wait, home: Lending, away: Lending) -> None:
    """Note that a job waits for another pool no more; who waits from now on along what was a circle keeps his place."""
    edge = _leave(wait, home, away)
    if edge.circular and not edge.waits:
        still = {part for _, part in _circular(away)}
        for pool in _reachable(away):
            for part in pool.abroad.values():
                part.circular = part in still


def _leave(wait: Wait, home: Lending, away: Lending) -> Edge:
    edge = home.abroad[away]
    del edge.waits[wait]
    if not edge.waits:
        del home.abroad[away]
    return edge


def _reachable(pool: Lending) -> list[Lending]:
    """Return the pools that a pool waits for, directly or by way of others, after itself."""
    reached = {pool: None}
    todo = [pool]
    for each in todo:
        for other in each.abroad:
            if other not in reached:
                reached[other] = None
                todo.append(other)
    return todo


def _circular(pool: Lending) -> Iterator[tuple[Lending, Edge]]:
    """Return what pools wait for each other in a circle, among those that a pool waits for."""
    for lender in _reachable(pool):
        for other, edge in lender.abroad.items():
            if lender in _reachable(other):
                yield lender, edge
