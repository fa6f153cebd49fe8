"""The verdicts on mutants that no test notices, from `judged.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.mutation.mutants import Mutant

FILE = Path(__file__).with_name("judged.toml")


@dataclass(frozen=True)
class Judgement:
    """Say why a mutant may live.

    Attributes:
        scope: what it is in.
        was: the line as it is.
        now: the lines as they may be.
        verdict: "equivalent" (nobody can tell the difference), or "accepted" (the difference breaks no promise).
        because: the reason.
    """

    scope: str
    was: str
    now: tuple[str, ...]
    verdict: str
    because: str

    def fits(self, mutant: Mutant) -> bool:
        """Say whether this is about a mutant."""
        return (mutant.scope, mutant.was) == (self.scope, self.was) and mutant.now in self.now


def judgements() -> list[Judgement]:
    """Read all verdicts.

    Raises:
        ValueError: one is neither "equivalent" nor "accepted", or gives no reason.
    """
    found = []
    for entry in tomllib.loads(FILE.read_text())["judged"]:
        (verdict,) = {"equivalent", "accepted"} & set(entry)
        found.append(Judgement(entry["in"], entry["was"], tuple(entry["now"]), verdict, entry[verdict]))
    return found
