"""What an overload policy says of one pool, and nothing of what it raises.

A policy may be a user's. What it raises is logged once, and it is not asked again: the pool then lets jobs wait, and sheds
none.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from ._errors import is_a
from ._exits import raise_in_loop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from ._job import Job
    from .policies import OverloadController, OverloadPolicy

__all__ = ["Overload"]

T = TypeVar("T")

_log = logging.getLogger("weirpool.overload")


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

    __slots__ = ("_controller", "_loop", "_pool", "retry_after", "when_full")

    def __init__(self, pool: str, policy: OverloadPolicy, loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop
        self.when_full = policy.when_full
        self.retry_after: Callable[[], int] = lambda: 1
        self._controller: OverloadController | None = policy.controller()

    def refuses(self, queued: int, limit: int) -> bool:
        """Say whether a submission is to be refused, although there is room."""
        return self._ask(lambda controller: bool(controller.refuses(queued, limit)), False)

    def sheds(self, job: Job) -> bool:
        """Say whether a job that has just been taken from the queue is to be ended instead of started."""
        now = self._loop.time()
        return self._ask(lambda controller: bool(controller.sheds(now, now - job.accepted_at)), False)

    @property
    def newest_first(self) -> bool:
        """Whether the newest job is to be taken from the queue, and not the oldest."""
        return self._ask(lambda controller: bool(controller.newest_first), False)

    def idle(self) -> None:
        """Tell that nothing waits."""
        self._ask(lambda controller: controller.idle(self._loop.time()), None)

    def _ask(self, question: Callable[[OverloadController], T], otherwise: T) -> T:
        if self._controller is None:
            return otherwise
        try:
            return question(self._controller)
        except BaseException as error:
            self._controller = None
            with suppress(Exception):  # whatever a logging handler does, the pool has to go on
                _log.exception("the overload policy of pool %r raised, and is not asked any more", self._pool)
            if is_a(error, KeyboardInterrupt, SystemExit):
                raise_in_loop(self._loop, error)
            return otherwise
