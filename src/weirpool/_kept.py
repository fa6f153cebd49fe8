"""Keep what functions are called in (processes, interpreters) from one job of a pool to the next, until the pool closes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from ._job import JobOwner

__all__ = ["Kept", "Place"]


class Place(Protocol):
    """What a function is called in, one at a time."""

    @property
    def fit(self) -> bool:
        """Whether another function can be called in it."""
        ...

    @classmethod
    def start(cls) -> Self:
        """Make a new one."""
        ...

    def stop(self) -> None:
        """Begin to end it, if that takes a while."""
        ...

    def end(self) -> None:
        """End it, and be done with that when this returns; a second time changes nothing."""
        ...


P = TypeVar("P", bound=Place)


class Kept(Generic[P]):
    """Keep places that are not in use, those of each pool apart.

    There are never more of a pool than jobs of it that run, or have run at once. The last used is used first.

    Args:
        kind: which kind of places.
    """

    def __init__(self, kind: type[P]) -> None:
        self._kind = kind
        self._idle: WeakKeyDictionary[JobOwner, list[P]] = WeakKeyDictionary()

    def take(self, owner: JobOwner | None) -> P:
        """Return a place for a job of a pool, a new one if none is idle."""
        idle = () if owner is None else self._idle.get(owner, ())
        while idle:
            place = idle.pop()
            if place.fit:
                return place
            place.end()
        return self._kind.start()

    def give_back(self, owner: JobOwner | None, place: P) -> None:
        """Keep a place for the next job of a pool; end it if there will be none: the pool has closed, or there is none."""
        if owner is None or not place.fit:
            place.end()
            return
        if owner not in self._idle:
            if not owner.at_close(self._dismiss):
                place.end()
                return
            self._idle[owner] = []
        self._idle[owner].append(place)

    def _dismiss(self, owner: JobOwner) -> None:
        places = self._idle.pop(owner, [])
        for place in places:
            place.stop()
        for place in places:
            with suppress(Exception):  # there are others, and the pool has to close
                place.end()
