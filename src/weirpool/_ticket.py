"""What only some jobs have: a priority, a key, and others that share the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uuid import UUID

__all__ = ["Key", "Ticket"]

if TYPE_CHECKING:
    Key = str | int | bytes | UUID | tuple[object, ...]


class Ticket:
    """Say where a job belongs in the queue; a job without one has priority 0 and no key.

    Args:
        priority: lower is sooner.
        key: what it shares with the jobs that must not all run at once; None: nothing.
        coalesce: whether another of the same key will do.
    """

    __slots__ = ("coalesce", "key", "priority", "sharers")

    def __init__(self, priority: int, key: Key | None, *, coalesce: bool = False) -> None:
        self.priority = priority
        self.key = key
        self.coalesce = coalesce
        self.sharers = 1
        """How many submissions it is the job of."""
