"""Policies: which of the callbacks that are ready runs next.

A policy sees what is ready and answers with a position in it, or with `ADVANCE`. It is asked once per decision and draws from
a generator of its own, so a policy made anew from the same seed decides alike.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["ADVANCE", "Fifo", "Jitter", "Policy", "Priorities", "Script", "Shuffle"]

ADVANCE: Final = -1
"""Let the clock run on to the next timer although there is work: the loop is late."""


class Policy(Protocol):
    """Whoever decides what runs next."""

    def choose(self, ready: Sequence[asyncio.Handle], timers: bool, /) -> int:
        """Return the position in `ready` of what is to run next; or `ADVANCE`, if `timers` says that there are any."""
        ...


class Fifo:
    """First come, first served: the order of the stock event loop."""

    def choose(self, ready: Sequence[asyncio.Handle], timers: bool, /) -> int:  # noqa: ARG002
        """Return the first."""
        return 0


class Shuffle:
    """Any of them, each as likely as the others.

    Args:
        seed: of the generator.
    """

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)

    def choose(self, ready: Sequence[asyncio.Handle], timers: bool, /) -> int:  # noqa: ARG002
        """Return one of them."""
        return int(self._dice.random() * len(ready))


class Priorities:
    """The task with the highest priority, where priorities are random and fixed but for a few random demotions.

    This is probabilistic concurrency testing, which finds a bug of depth d (one that needs d orderings to be just so) with a
    known least probability, where plain shuffling rarely holds one task back for long enough. Source: S. Burckhardt et al., "A
    Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010.

    Args:
        seed: of the generator.
        demotions: how often, in the first `horizon` decisions, the task that has just been chosen becomes the last of all.
        horizon: how many decisions a run takes, about.
    """

    _PATIENCE = (
        200  # decisions after which whoever has waited longest takes the lead: others may spin until it has had its turn
    )

    def __init__(self, seed: int, *, demotions: int = 3, horizon: int = 300) -> None:
        self._dice = random.Random(seed)
        self._demote_at = {self._dice.randrange(horizon) for _ in range(demotions)}
        self._priorities: dict[object, float] = {}
        self._highest, self._lowest = 1.0, 0.0
        self._actors: list[object] = []  # of what is ready, in its order: only the end of `ready` is new each time
        self._decisions = 0
        self._eldest_waits = 0

    def choose(self, ready: Sequence[asyncio.Handle], timers: bool, /) -> int:  # noqa: ARG002
        """Return the first callback of the task with the highest priority."""
        actors, priorities = self._actors, self._priorities
        for handle in itertools.islice(ready, len(actors), None):
            actor = _actor(handle)
            actors.append(actor)
            if actor not in priorities:
                priorities[actor] = self._dice.random()
        if self._eldest_waits == self._PATIENCE:
            self._highest += 1
            priorities[actors[0]] = self._highest
        actor = max(actors, key=priorities.__getitem__)
        choice = actors.index(actor)
        del actors[choice]
        self._eldest_waits = self._eldest_waits + 1 if choice else 0
        if self._decisions in self._demote_at:
            self._lowest -= 1
            priorities[actor] = self._lowest
        self._decisions += 1
        return choice


class Jitter:
    """Another policy's choices, but now and then the clock runs on first, so that timers fire while there is work.

    A deterministic loop's clock moves only when nothing is ready; "the deadline came while the result was on its way" would
    never happen.

    Args:
        policy: the other policy.
        rate: how often, from 0 to 1.
        seed: of the generator.
    """

    def __init__(self, policy: Policy, rate: float, seed: int) -> None:
        self._policy = policy
        self._rate = rate
        self._dice = random.Random(seed)

    def choose(self, ready: Sequence[asyncio.Handle], timers: bool, /) -> int:
        """Return `ADVANCE` now and then, else what the other policy says."""
        if timers and self._dice.random() < self._rate:
            return ADVANCE
        return self._policy.choose(ready, timers)


class Script:
    """First come, first served, but for the given decisions.

    Args:
        deviations: by the number of the decision, what is chosen instead of the first.
    """

    def __init__(self, deviations: Mapping[int, int]) -> None:
        self._deviations = deviations
        self._decisions = -1

    def choose(self, ready: Sequence[asyncio.Handle], timers: bool, /) -> int:
        """Return what the script says; where that does not exist (the script was made for another program), the nearest."""
        self._decisions += 1
        choice = self._deviations.get(self._decisions, 0)
        if choice == ADVANCE and not timers:
            return 0
        return min(choice, len(ready) - 1)


def _actor(handle: asyncio.Handle) -> object:
    """Name whose callback this is: the task that it steps or wakes, by number or name, else the function.

    Not the task itself, which would then be kept alive, and no longer complain that its exception was never retrieved.
    """
    callback = handle._callback  # type: ignore[attr-defined]  # noqa: SLF001
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return getattr(owner, "number", None) or owner.get_name()
    return getattr(callback, "__qualname__", type(callback).__qualname__)
