"""Gunicorn's configuration for uvicorn's worker, as docs/servers.md has it."""

from __future__ import annotations

import os
from typing import Any

from tests.servers.service import REQUESTS


def post_worker_init(worker: Any) -> None:
    """Have uvicorn wait for its requests for so long only."""
    worker.config.timeout_graceful_shutdown = int(os.environ[REQUESTS])
