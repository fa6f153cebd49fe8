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

from ._checks import instances, mapping, names, shown, whole
from ._policies import ADVANCE, Fifo, Jitter, Policy, Priorities, Script, Shuffle

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CANCELLATIONS", "Fault", "Schedule", "action_names", "as_schedule"]

CANCELLATIONS = ("cancel", "cancel-all")  # so no action of the program can be called this

_POLICIES = ("fifo", "random", "pct", "script")
_DEVIATION = r"[0-9]+=(?:-1|[0-9]+)"
_ORDER = re.compile(
    rf"script(?::(?P<script>{_DEVIATION}(?:,{_DEVIATION})*))?"
    r"|(?P<policy>fifo|random|pct)(?::(?P<seed>[0-9]+))?(?:~(?P<jitter>[0-9]+))?"
)
_ACTION = r"[\w.-]+"
_FAULT = re.compile(rf"@(?P<step>[0-9]+):(?P<action>{_ACTION})(?::(?P<task>[0-9]+))?")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens to the program from outside, before one of its steps.

    Args:
        step: the number of that step, from 1.
        action: "cancel" (one task), "cancel-all" (every task), or another name, which the program has put into `loop.actions`.
        task: the number of the task that is cancelled.
    """

    step: int
    action: str
    task: int | None = None

    def __post_init__(self) -> None:
        whole("step", self.step, 1)
        if not isinstance(self.action, str) or not re.fullmatch(_ACTION, self.action):
            raise ValueError(f"action must be a name of letters, digits, '_', '.' and '-', got {shown(self.action)}")
        if (self.action == "cancel") != (self.task is not None):
            hint = ", which cancels one task, and can't be an action of the program" if self.action == "cancel" else ""
            raise ValueError(
                f"task must be the number of a task for 'cancel', else None, got {shown(self.task)} for {self.action!r}{hint}"
            )
        if self.task is not None:
            whole("task", self.task, 1)

    def __str__(self) -> str:
        return f"@{self.step}:{self.action}" + ("" if self.task is None else f":{self.task}")


@dataclass(frozen=True, slots=True)
class Schedule:
    """In which order callbacks run, and what is done to the program meanwhile.

    Args:
        policy: "fifo", "random", "pct" or "script".
        seed: of "random" and "pct", and of jitter.
        jitter: in how many of a hundred decisions the clock runs ahead.
        script: of "script": by number of the decision, what is chosen instead of the first.
        faults: what is done to the program.
    """

    policy: str = "fifo"
    seed: int = 0
    jitter: int = 0
    script: Mapping[int, int] = field(default_factory=dict, hash=False)
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        if self.policy not in _POLICIES:
            raise ValueError(f"policy must be one of {', '.join(_POLICIES)}, got {shown(self.policy)}")
        whole("seed", self.seed, 0)
        whole("jitter", self.jitter, 0, 100)
        mapping("script", self.script, "{12: 3}")
        for decision, choice in self.script.items():
            whole("each decision in script", decision, 0)
            whole("each choice in script", choice, ADVANCE)
        instances("faults", self.faults, Fault, "(Fault(41, 'cancel', 5),)")
        if self.policy == "script" and (self.seed or self.jitter):
            raise ValueError("a script leaves nothing to chance: it can't have a seed or jitter")
        if self.policy != "script" and self.script:
            raise ValueError(f"only the policy 'script' has a script, {self.policy!r} can't")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the schedule that a line of text describes.

        Raises:
            ValueError: it describes none.
        """
        order, *rest = text.split() or [""]
        match = _ORDER.fullmatch(order)
        faults = [found for fault in rest if (found := _FAULT.fullmatch(fault))]
        if match is None or len(faults) < len(rest):
            raise ValueError(
                f"a schedule looks like 'random:17~10 @41:cancel:5' (policies: {', '.join(_POLICIES)}), got {shown(text)}"
            )
        script = (pair.split("=") for pair in (match["script"] or "").split(",") if pair)
        return cls(
            match["policy"] or "script",
            int(match["seed"] or 0),
            int(match["jitter"] or 0),
            {int(decision): int(choice) for decision, choice in script},
            tuple(Fault(int(f["step"]), f["action"], int(f["task"]) if f["task"] else None) for f in faults),
        )

    def __str__(self) -> str:
        detail = ",".join(f"{decision}={choice}" for decision, choice in self.script.items())
        if self.seed or self.policy in {"random", "pct"}:
            detail = str(self.seed)
        order = self.policy + (f":{detail}" if detail else "") + (f"~{self.jitter}" if self.jitter else "")
        return " ".join([order, *map(str, self.faults)])

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


def as_schedule(value: object) -> Schedule:
    """Return a schedule that is given as such or as its text."""
    if isinstance(value, str):
        return Schedule.parse(value)
    if not isinstance(value, Schedule):
        raise TypeError(f"schedule must be a Schedule or its text, got {shown(value)}")
    return value


def action_names(value: object) -> tuple[str, ...]:
    """Return names of actions of a program as a tuple; refuse those that mean something else in a schedule."""
    found = names("actions", value)
    if not set(found).isdisjoint(CANCELLATIONS):
        raise ValueError(
            f"actions must be names other than {' and '.join(map(repr, CANCELLATIONS))}, "
            f"which cancel tasks and never call what main puts into loop.actions, got {shown(found)}"
        )
    return found
