"""The pools of an application: how they are made, opened with it, and closed with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self
from weakref import WeakSet

from weirpool import PoolState, WorkerPool

from ._budget import check_budget, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from ._budget import Budget

__all__ = ["DEFAULT", "KEY", "TWICE", "OpenPools", "Pools", "checked_pools", "of_app"]

DEFAULT: Final = "default"
KEY: Final = "weirpool"  # under which an application's state has its pools
TWICE: Final = "install() was called twice for one application: give all of its pools to one Pools(...)"

_log = logging.getLogger("weirpool.integrations")


class Pools:
    """Say which pools an application has; they are made anew each time that the application starts, and closed when it stops.

    ::

        pools = Pools(lambda: WorkerPool(max_workers=32))  # one, which is called "default" here
        pools = Pools(mail=lambda: WorkerPool(name="mail"), thumbs=lambda: WorkerPool(name="thumbs"))
        install(app, pools)

    A definition has no state of an application: several applications, and several event loops, may share it.

    Args:
        default: makes the pool that is used where no name is given: a function without arguments.
        drain_delay: for how many seconds, when the application stops, pools still accept jobs after `ready` has turned False;
            for servers that go on serving meanwhile. Most don't: see `OpenPools.leave`.
        budget: what else takes time when the process is stopped, for `check_budget`; what does not fit is logged at the start.
        **named: make the pools that have names.

    Raises:
        TypeError: an argument is of the wrong kind, or there is no pool.
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        default: Callable[[], WorkerPool] | None = None,
        /,
        *,
        drain_delay: float = 0.0,
        budget: Budget | None = None,
        **named: Callable[[], WorkerPool],
    ) -> None:
        factories = dict(named) if default is None else {DEFAULT: default, **named}
        if default is not None and DEFAULT in named:
            raise TypeError(f"the pool {DEFAULT!r} was given twice: as the first argument, and by its name")
        if not factories:
            raise TypeError("Pools() needs at least one function that makes a pool: Pools(lambda: WorkerPool(...))")
        for name, factory in factories.items():
            if isinstance(factory, WorkerPool) or not callable(factory):
                raise TypeError(
                    f"{name} must be a function that makes a pool, as one is used once and an application may start again: "
                    f"lambda: WorkerPool(...), got {factory!r:.80}"
                )
        self._factories = factories
        self._drain_delay = seconds("drain_delay", drain_delay)
        if budget is not None:
            if not isinstance(budget, Mapping):
                raise TypeError(f"budget must be a weirpool.integrations.Budget(...), got {budget!r:.80}")
            check_budget(0, **budget)  # so that what makes no sense is refused here
        self._budget = budget
        self._opened: WeakSet[OpenPools] = WeakSet()

    @property
    def names(self) -> tuple[str, ...]:
        """What the pools are called here, in the order in which they were given."""
        return tuple(self._factories)

    @property
    def ready(self) -> bool:
        """Whether all that have been opened accept jobs, and none is about to close."""
        return bool(self._opened) and all(opened.ready for opened in self._opened)

    def __iter__(self) -> Iterator[WorkerPool]:
        """Yield the pools that are open in this process."""
        for opened in tuple(self._opened):
            yield from opened

    def open(self) -> OpenPools:
        """Return fresh pools, to be entered: `async with pools.open() as opened`. `install` does that.

        Raises:
            TypeError: one of the functions returns something else than a pool.
        """
        made: dict[str, WorkerPool] = {}
        for name, factory in self._factories.items():
            pool: object = factory()
            if not isinstance(pool, WorkerPool):
                raise TypeError(f"the function given for {name} must return a WorkerPool, got {pool!r:.80}")
            made[name] = pool
        return OpenPools(made, self._drain_delay, self._budget, self._opened)

    def check(self, name: str) -> None:
        """Refuse the name of a pool that there is not.

        Raises:
            ValueError: there is none of this name.
        """
        _known(name, self._factories)

    def __repr__(self) -> str:
        return f"<Pools {', '.join(self._factories)}>"


class OpenPools:
    """Hold the pools of an application that runs; an async context manager, which opens and closes them.

    `Pools.open` makes it. They are opened one after the other; if one can't be, those that are open are closed again. They
    are closed all at once, each within its own `shutdown_timeout`, as leaving the block of each pool would: drained after a
    normal end, cancelled at once when the block is left by a cancellation.
    """

    def __init__(
        self, pools: Mapping[str, WorkerPool], drain_delay: float, budget: Budget | None, register: WeakSet[OpenPools]
    ) -> None:
        self._pools = dict(pools)
        self._drain_delay = drain_delay
        self._budget = budget
        self._register = register
        self._leaving: float | None = None  # since when, on the loop's clock

    @property
    def ready(self) -> bool:
        """Whether a load balancer should send requests: all pools accept jobs, and `leave` was not called."""
        return self._leaving is None and all(pool.state is PoolState.OPEN for pool in self)

    @property
    def names(self) -> tuple[str, ...]:
        """What the pools are called here."""
        return tuple(self._pools)

    def pool(self, name: str = DEFAULT) -> WorkerPool:
        """Return a pool by the name that `Pools` has for it.

        Raises:
            ValueError: there is none of this name.
        """
        _known(name, self._pools)
        return self._pools[name]

    def __iter__(self) -> Iterator[WorkerPool]:
        return iter(self._pools.values())

    async def leave(self, delay: float | None = None) -> None:
        """Say that the application is about to stop: `ready` is False from now on; return after some time.

        Meanwhile the pools accept jobs, as the load balancer still sends some. Call it where Kubernetes calls the preStop
        hook, as a server stops listening before it tells the application to stop. When the application stops, this is called,
        too; the time counts from the first call. Cancelling it does not make the application ready again.

        Args:
            delay: how long it takes, in seconds, from the first call on; None: `drain_delay`.

        Raises:
            TypeError: `delay` is of the wrong kind.
            ValueError: `delay` is out of its range.
        """
        delay = self._drain_delay if delay is None else seconds("delay", delay)
        now = asyncio.get_running_loop().time()
        if self._leaving is None:
            self._leaving = now
        left = self._leaving + delay - now
        if left > 0:
            await asyncio.sleep(left)

    async def __aenter__(self) -> Self:
        """Open the pools.

        Raises:
            RuntimeError: this has been entered before.
        """
        opened: list[WorkerPool] = []
        try:
            for pool in self._pools.values():
                await pool.__aenter__()
                opened.append(pool)
        except BaseException as error:
            await _close(opened, type(error), error, error.__traceback__)
            raise
        self._register.add(self)
        if self._budget is not None:
            closing = max(pool.shutdown_timeout for pool in self)
            delay = max(0.0, self._drain_delay - self._budget.get("prestop", 0.0))  # what `leave` has not waited by then
            for problem in check_budget(closing + delay, **self._budget):
                _log.warning("the time for stopping does not fit: %s", problem, extra={"event": "weirpool.budget"})
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the pools, all at once; `drain_delay` before, `ready` turns False."""
        try:
            try:
                if exc_type is None:
                    await self.leave()
            except BaseException as error:
                exc_type, exc, traceback = type(error), error, error.__traceback__
                raise
            finally:
                await _close(list(self), exc_type, exc, traceback)
        finally:
            self._register.discard(self)

    def __repr__(self) -> str:
        return f"<OpenPools {', '.join(self._pools)}>"


async def _close(pools: list[WorkerPool], *reason: Any) -> None:
    """Leave the blocks of pools, all at once; if this is cancelled, so is each, and all are waited for."""
    ends = await asyncio.gather(*(pool.__aexit__(*reason) for pool in pools), return_exceptions=True)
    errors = [end for end in ends if isinstance(end, BaseException)]
    if errors:
        raise errors[0] if len(errors) == 1 else BaseExceptionGroup("pools could not be closed", errors)


def checked_pools(pools: object) -> Pools:
    """Return `pools` if that is what `install` needs."""
    if not isinstance(pools, Pools):
        raise TypeError(f"pools must be a weirpool.integrations.Pools, got {pools!r:.80}")
    return pools


def of_app(opened: object) -> OpenPools:
    """Return what an application's state has of its pools, or say why that is nothing."""
    if not isinstance(opened, OpenPools):
        raise RuntimeError(  # noqa: TRY004
            "this application has no open pools: call install(app, pools) where the application is made, and see that its "
            "lifespan runs (served, or in a test client used with `with`); of applications that are mounted in each other, "
            "it is the outermost that needs it"
        )
    return opened


def _known(name: str, names: Mapping[str, object]) -> None:
    if type(name) is not str or name not in names:
        known = ", ".join(map(repr, names))
        raise ValueError(f"name must be the name of a pool that Pools() was given ({known}), got {name!r:.80}")
