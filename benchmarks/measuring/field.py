"""The field: who takes part in a question, and who is left out and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .libraries import Aiojobs, AiolibsExecutor, Aiometer, Anyio, AsyncioPool, Weirpool
from .standard import BareSemaphore, Floor, QueueWorkers, TaskGroupSemaphore

if TYPE_CHECKING:
    from collections.abc import Collection

    from .contestant import Contestant

__all__ = ["CONTESTANTS", "Field"]

# In the order in which they take their turns and are printed.
CONTESTANTS: dict[str, type[Contestant]] = {
    contestant.name: contestant
    for contestant in (
        Weirpool,
        Floor,
        BareSemaphore,
        TaskGroupSemaphore,
        QueueWorkers,
        Anyio,
        Aiojobs,
        AsyncioPool,
        Aiometer,
        AiolibsExecutor,
    )
}


@dataclass(frozen=True, slots=True)
class Field:
    """Those who take part in a question, and for each of the others a line that says why it does not."""

    contestants: dict[str, type[Contestant]]
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, *skills: str, peers: Collection[str] = tuple(CONTESTANTS)) -> Field:
        """Gather those who can do at least one of these things and are installed; weirpool always takes part."""
        result = cls({})
        for name, contestant in CONTESTANTS.items():
            if not any(contestant.can(skill) for skill in skills) or (name not in peers and contestant is not Weirpool):
                continue
            try:
                contestant.imported()
            except Exception as exc:  # a library that is not made for this Python may raise anything
                missing = isinstance(exc, ModuleNotFoundError) and exc.name == contestant.package
                result.left_out[name] = "not installed" if missing else f"can't be imported: {exc!r}"
            else:
                result.contestants[name] = contestant
        return result
