"""What an overload policy says of one pool. Once it has raised, the pool lets jobs wait, and sheds none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._asking import Asking

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ._job import Job
    from .policies import OverloadController, OverloadPolicy

__all__ = ["Overload"]


class Overload:
    """Ask one pool's overload policy.

    Args:
        pool: the pool's name.
        policy: the policy.
        loop: whose clock counts.

    Attributes:
        when_full: what becomes of a submission that finds the queue full.
        retry_after: called for when to try again, in seconds.
    """

    __slots__ = ("_asking", "_loop", "retry_after", "when_full")

    def __init__(self, pool: str, policy: OverloadPolicy, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.when_full = policy.when_full
        self.retry_after: Callable[[], int] = lambda: 1
        self._asking: Asking[OverloadController] = Asking("overload", pool, policy.controller(), loop)

    def refuses(self, queued: int, limit: int) -> bool:
        """Say whether a submission is to be refused, although there is room."""
        return self._asking.ask(lambda controller: bool(controller.refuses(queued, limit)), False)

    def sheds(self, job: Job) -> bool:
        """Say whether a job that has just been taken from the queue is to be ended instead of started."""
        now = self._loop.time()
        return self._asking.ask(lambda controller: bool(controller.sheds(now, now - job.accepted_at)), False)

    @property
    def newest_first(self) -> bool:
        """Whether the newest job is to be taken from the queue, and not the oldest."""
        return self._asking.ask(lambda controller: bool(controller.newest_first), False)

    def idle(self) -> None:
        """Tell that nothing waits."""
        self._asking.ask(lambda controller: controller.idle(self._loop.time()), None)
