"""What a contestant can be asked to do. Each does what a competent user of it would write, and nothing more.

A question asks for one thing: `call`, `flood`, `fire`, `post` or `abort`. Who has no way to do it does not define it, and
does not take part. The bodies are written out for each contestant instead of being put together from smaller methods,
since a call between the two would cost a tenth of what is measured.

A deadline bounds the run of a job. Where a library has none, it is an `asyncio.timeout` (anyio: `fail_after`) inside the
job, which is what its user would write.
"""

from __future__ import annotations

import asyncio
import importlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

__all__ = ["Contestant", "Job", "within"]

Job = Callable[..., Coroutine[Any, Any, Any]]


async def within(seconds: float, fn: Job, *args: Any) -> Any:
    """Run a job under a deadline, for a library that has none."""
    async with asyncio.timeout(seconds):
        return await fn(*args)


class Contestant(ABC):
    """So many jobs at once, so many that wait (where there is a bound on that), and so many seconds for each.

    Entering it opens it; leaving it waits for the jobs that it still has, and closes it.
    """

    name: ClassVar[str]  # of a library: under which it is installed
    package: ClassVar[str | None] = None  # under which it is imported

    def __init__(self, *, workers: int = 100, waiting: int = 1000, deadline: float | None = 30.0) -> None:
        self.library: Any = self.imported()
        self.workers = workers
        self.waiting = waiting
        self.deadline = deadline
        self._life = self.life()

    @classmethod
    def imported(cls) -> Any:
        """Import the library; what warns while its modules load is not of interest here."""
        if cls.package is None:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(cls.package)

    @classmethod
    def can(cls, skill: str) -> bool:
        """Say whether it has a way to do that."""
        return getattr(cls, skill) is not getattr(Contestant, skill)

    async def __aenter__(self) -> Self:
        await self._life.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> bool | None:
        return await self._life.__aexit__(*error)  # type: ignore[arg-type]

    @abstractmethod
    def life(self) -> AbstractAsyncContextManager[None]:
        """Open it; afterwards close it."""

    async def call(self, fn: Job, *args: Any) -> Any:
        """Submit one job and wait for its result."""
        raise NotImplementedError

    async def flood(self, fn: Job, arguments: Sequence[Any]) -> list[Any]:
        """Submit a job for each argument, one after the other, then wait for all results."""
        raise NotImplementedError

    async def fire(self, fn: Job, arguments: Sequence[Any]) -> None:
        """Submit a job for each argument, for all of which there is room, and drop what the library returns for it."""
        raise NotImplementedError

    async def post(self, fn: Job, *args: Any) -> Any:
        """Submit one job, without waiting for it, and return what the library returns."""
        raise NotImplementedError

    async def abort(self) -> None:
        """Cancel all jobs, whether they wait or run, so that it can be left at once."""
        raise NotImplementedError
