"""Schedules: all that chance decided in one run, in a line of text that repeats it.

::

    fifo                          first come, first served
    random:17                     shuffled, seed 17
    pct:17~10                     random priorities, seed 17; the clock runs ahead in 10 % of the decisions
    script:12=3,40=-1             first come, first served, but decision 12 takes the fourth, and at 40 the clock runs on
    fifo @41:cancel:5             before step 41, task number 5 is cancelled
    fifo @41:cancel-all @60:close ... every task; then what the program itself calls "close"
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from ._policies import Fifo, Jitter, Policy, Priorities, Script, Shuffle

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Fault", "Schedule"]

_FAULT = re.compile(r"@(?P<step>\d+):(?P<action>[\w.-]+?)(?::(?P<task>\d+))?")
_ORDER = re.compile(r"(?P<policy>fifo|random|pct|script)(?::(?P<detail>[-\d=,]+))?(?:~(?P<jitter>\d+))?")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens to the program from outside, before one of its steps.

    Args:
        step: the number of that step, from 1.
        action: "cancel" (one task), "cancel-all" (every task), or what the program has put into `loop.actions`.
        task: the number of the task that is cancelled.
    """

    step: int
    action: str
    task: int | None = None

    def __str__(self) -> str:
        return f"@{self.step}:{self.action}" + ("" if self.task is None else f":{self.task}")


@dataclass(frozen=True, slots=True)
class Schedule:
    """In which order callbacks run, and what is done to the program meanwhile.

    Args:
        policy: "fifo", "random", "pct" or "script".
        seed: of "random" and "pct".
        jitter: in how many of a hundred decisions the clock runs ahead.
        script: of "script": by number of the decision, what is chosen instead of the first.
        faults: what is done to the program.
    """

    policy: str = "fifo"
    seed: int = 0
    jitter: int = 0
    script: Mapping[int, int] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the schedule that a line of text describes.

        Raises:
            ValueError: it describes none.
        """
        order, *faults = text.split()
        match = _ORDER.fullmatch(order)
        found = [_FAULT.fullmatch(fault) for fault in faults]
        if match is None or None in found:
            raise ValueError(f"a schedule looks like 'random:17~10 @41:cancel:5', got {text!r}")
        policy, detail = match["policy"], match["detail"] or ""
        script, seed = {}, 0
        if policy == "script":
            pairs = (pair.partition("=") for pair in detail.split(",") if pair)
            script = {int(decision): int(choice) for decision, _, choice in pairs}
        elif detail:
            seed = int(detail)
        return cls(
            policy,
            seed,
            int(match["jitter"] or 0),
            script,
            tuple(Fault(int(m["step"]), m["action"], int(m["task"]) if m["task"] else None) for m in found if m),
        )

    def __str__(self) -> str:
        if self.policy == "script":
            detail = ":" + ",".join(f"{decision}={choice}" for decision, choice in self.script.items()) if self.script else ""
        else:
            detail = "" if self.policy == "fifo" and not self.seed else f":{self.seed}"
        jitter = f"~{self.jitter}" if self.jitter else ""
        return " ".join([f"{self.policy}{detail}{jitter}", *map(str, self.faults)])

    def make_policy(self) -> Policy:
        """Return a new policy that decides as this schedule says."""
        policy: Policy
        match self.policy:
            case "random":
                policy = Shuffle(self.seed)
            case "pct":
                policy = Priorities(self.seed)
            case "script":
                policy = Script(self.script)
            case _:
                policy = Fifo()
        return Jitter(policy, self.jitter / 100, self.seed) if self.jitter else policy
