"""Which pictures there are, and where they are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.drawings.shutdown import record
from tests.drawings.states import job_states, pool_states
from tests.drawings.timeline import timeline

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FOLDER", "PICTURES"]

FOLDER = Path(__file__).parent.parent.parent / "docs" / "diagrams"

PICTURES: dict[str, Callable[[], str]] = {
    "job-states.svg": job_states,
    "pool-states.svg": pool_states,
    "shutdown.svg": lambda: timeline(record()),
}
