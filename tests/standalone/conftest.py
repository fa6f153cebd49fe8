"""Programs are started as those under `asyncio.run` are."""

from __future__ import annotations

from tests.test_asyncio_run import start

__all__ = ["start"]
