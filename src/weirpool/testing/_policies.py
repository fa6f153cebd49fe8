"""Policies: which of the callbacks that are ready runs next.

A policy sees what is ready and answers with a position in it, or with `ADVANCE`. It is asked once per decision and draws from
a generator of its own, so a policy made anew from the same seed decides alike.
"""

from __future__ import annotations

import asyncio
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

    _PATIENCE = 100  # turns in a row after which a task that spins ("until x: sleep(0)") makes way for the rest

    def __init__(self, seed: int, *, demotions: int = 3, horizon: int = 300) -> None:
        self._dice = random.Random(seed)
        self._demote_at = {self._dice.randrange(horizon) for _ in range(demotions)}
        self._priorities: dict[object, float] = {}
        self._decisions = 0
        self._lowest = 0.0
        self._last: object = None
        self._in_a_row = 0

    def choose(self, ready: Sequence[asyncio.Handle], timers: bool, /) -> int:  # noqa: ARG002
        """Return the first callback of the task with the highest priority."""
        actors = [_actor(handle) for handle in ready]
        for actor in actors:
            if actor not in self._priorities:
                self._priorities[actor] = self._dice.random()
        chosen = max(actors, key=self._priorities.__getitem__)
        self._in_a_row = self._in_a_row + 1 if chosen == self._last else 1
        self._last = chosen
        if self._decisions in self._demote_at or self._in_a_row > self._PATIENCE:
            self._lowest -= 1
            self._priorities[chosen] = self._lowest
        self._decisions += 1
        return actors.index(chosen)


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
    """Say whose callback this is: the task's that it steps or wakes, else one named after the function."""
    callback = handle._callback  # type: ignore[attr-defined]  # noqa: SLF001
    owner = getattr(callback, "__self__", None)
    return owner if isinstance(owner, asyncio.Task) else getattr(callback, "__qualname__", type(callback).__qualname__)
