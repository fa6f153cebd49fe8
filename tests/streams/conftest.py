"""Maps that pause only where a test is about that, however slow the machine."""

from __future__ import annotations

import math

import pytest


@pytest.fixture(autouse=True)
def no_pauses(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let maps read without a pause for as long as it takes; but for tests that are marked `realtime`."""
    if request.node.get_closest_marker("realtime") is None:
        monkeypatch.setattr("weirpool._flow._LONGEST_STRETCH", math.inf)
