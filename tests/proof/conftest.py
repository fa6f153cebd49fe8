"""What the tests of the proof have in common."""

from __future__ import annotations

import gc
import logging
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def hushed() -> Iterator[None]:
    """Keep the pool's log to itself: thousands of pools are closed here, on purpose in the worst of ways."""
    log = logging.getLogger("weirpool")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    yield
    gc.collect()  # what nobody has looked at is logged when it goes
    log.setLevel(level)
