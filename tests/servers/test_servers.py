"""SIGTERM in the midst of load: in each server the process ends inside the bound, and nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.launchers import REQUESTS, SERVERS, TERM, Running, need
from tests.servers.service import HANGS, Options

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.realtime

FRAMEWORKS = {"uvicorn": ["fastapi", "starlette", "litestar", "quart", "django"], "aiohttp": ["aiohttp"], "gunicorn+aiohttp": ["aiohttp"]}
PAIRINGS = [(server, app) for server in SERVERS for app in FRAMEWORKS.get(server, ["fastapi"])]


@pytest.mark.parametrize(("server", "app"), PAIRINGS)
async def test_sigterm_in_mid_load_loses_nothing(tmp_path: Path, server: str, app: str) -> None:
    need(*SERVERS[server].needs, app)
    options = Options(str(tmp_path))
    async with Running(SERVERS[server], app, options) as running:
        await running.load()
        await running.end(bound=REQUESTS + options.shutdown)
    print(running.took, running.code, running.report, len(running.answers))
    from collections import Counter
    print(Counter((a.what, a.status, a.note[:40]) for a in running.answers))
    print(running.cut())
    print(running.log[-1500:])
    assert running.offences() == [], running.log
