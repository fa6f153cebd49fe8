"""What a rule is, what a library is, and how a library is held to what the table says of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Breaks", "Library", "Rule"]

REMEDY = "Correct tests/contrast/table.py, and run python -m tests.contrast"


@dataclass(frozen=True)
class Library:
    """A library, in the release that the table was made with."""

    name: str
    used: str
    release: str = ""
    url: str = ""
    python: tuple[int, int] = (3, 11)

    @property
    def requirement(self) -> str:
        """What pyproject.toml asks for, without the Python version."""
        return f"{self.name.lower()}>={self.release}"

    @property
    def installed(self) -> str:
        """The release that is installed."""
        return sys.version.split()[0] if self.name == "stdlib" else version(self.name)

    def too_old(self) -> bool:
        """Say whether an older release is installed than that of the table."""
        return bool(self.release) and _numbers(self.installed) < _numbers(self.release)


def _numbers(release: str) -> list[int]:
    return [int(part) for part in release.split(".") if part.isdigit()]


@dataclass(frozen=True)
class Breaks:
    """How a library breaks a rule: what its scenario has seen, why that is, and since which Python."""

    saw: str
    why: str
    by_design: bool = False
    python: tuple[int, int] = (3, 11)


@dataclass(frozen=True)
class Rule:
    """A rule, what a scenario has seen where it is kept, who breaks it, and to whom it does not apply.

    A library that is named under neither `breaks` nor `lacks` keeps it; those under `by_hand` have no function for it.
    """

    key: str
    text: str
    kept: str
    breaks: Mapping[str, Breaks]
    lacks: Mapping[str, str] = field(default_factory=dict)
    by_hand: tuple[str, ...] = ()

    def judge(self, library: Library, saw: str) -> None:
        """Fail unless a library has done what the table says of it."""
        who = f"{library.name} {library.installed}"
        broken = self.breaks.get(library.name)
        if broken is None or sys.version_info[:2] < broken.python:
            assert saw == self.kept, f"{who} breaks the rule {self.text!r}: {saw!r} instead of {self.kept!r}"
        else:
            assert saw != self.kept, f"the table is out of date, {who} keeps the rule now: {self.text!r}. {REMEDY}"
            assert saw == broken.saw, f"{who} breaks the rule {self.text!r}, but in another way: {saw!r}. {REMEDY}"
