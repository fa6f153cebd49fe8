"""What log records have in common: a name that stays the same, and fields; and a way not to say often what happens often.

Each concern has its own logger, which stand beside what they are about: `weirpool.pool`, `weirpool.admission`, `weirpool.job`,
`weirpool.scaler`, `weirpool.overload`, `weirpool.observer`, `weirpool.telemetry`, `weirpool.loop`, `weirpool.worker`,
`weirpool.resource`, `weirpool.map`, `weirpool.integrations`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Seldom", "fields"]


def fields(event: str, pool: str, **more: Any) -> dict[str, Any]:
    """Return the `extra` of a log record: `event`, which names what has happened, `pool`, and what else there is to say."""
    return {"event": f"weirpool.{event}", "pool": pool, **more}


class Seldom:
    """Say something at once when it happens first, and then at most once in a while, with how often it has happened since.

    Args:
        time: the clock.
        pause: for how long nothing is said, in seconds.
    """

    __slots__ = ("_count", "_next", "_pause", "_time")

    def __init__(self, time: Callable[[], float], pause: float = 10.0) -> None:
        self._time = time
        self._pause = pause
        self._next = -float("inf")
        self._count = 0

    def due(self) -> int:
        """Note that it happens; return how often it has since it was said last, if it is to be said now, else 0."""
        self._count += 1
        now = self._time()
        if now < self._next:
            return 0
        count, self._count, self._next = self._count, 0, now + self._pause
        return count
