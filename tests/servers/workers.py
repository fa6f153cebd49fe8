"""The worker class that docs/servers.md gives to whoever runs uvicorn's worker under gunicorn."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from uvicorn_worker import UvicornWorker

from tests.servers.service import REQUESTS


class Worker(UvicornWorker):
    """Wait for requests for so long only."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        **UvicornWorker.CONFIG_KWARGS,
        "timeout_graceful_shutdown": int(os.environ[REQUESTS]),
    }
