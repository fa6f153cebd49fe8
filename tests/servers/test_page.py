"""docs/servers.md: its numbers are those of the servers and fit together, its commands are what the tests run, and serve."""

from __future__ import annotations

import configparser
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.real.programs import ROOT
from tests.servers.launchers import SERVERS, need
from weirpool import WorkerPool
from weirpool.integrations import check_budget

PAGE = (ROOT / "docs/servers.md").read_text()
GRACE, PRESTOP, REQUESTS, POOLS, MARGIN = 30.0, 3.0, 5.0, 20.0, 1.0


def blocks(language: str) -> list[str]:
    """Return what the page has in a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found


def settings() -> dict[str, list[str]]:
    """Return the table of the settings, by server, without its head."""
    section = PAGE.partition("## The settings\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    return {name: cells for name, *cells in rows[2:]}


def seconds(cell: str) -> float | None:
    """Read a cell, of which some are products; None: there is nothing to set, or no end."""
    if not cell[0].isdigit():
        return None
    factors = [float(factor) for factor in cell.split("\N{MULTIPLICATION SIGN}")]
    return factors[0] * (factors[1] if len(factors) > 1 else 1)


def defaults(name: str) -> tuple[Any, Any]:
    """Ask a server how long it waits for requests, and when it kills its workers; None: it does not end."""
    if name == "uvicorn":
        import uvicorn

        return uvicorn.Config("x").timeout_graceful_shutdown, None
    if name.startswith("hypercorn"):
        from hypercorn.config import Config

        assert Config().shutdown_timeout == 60
        assert Config().workers == 1
        return Config().graceful_timeout if "3.11" in name else None, None
    if name == "granian":
        import inspect

        from granian.server.common import AbstractServer

        return None, inspect.signature(AbstractServer).parameters["workers_kill_timeout"].default
    if name == "aiohttp `run_app`":
        import inspect

        from aiohttp import web

        return 2 * inspect.signature(web.run_app).parameters["shutdown_timeout"].default, None
    from gunicorn.config import Config as GunicornConfig

    graceful = GunicornConfig().graceful_timeout
    return 2 * 0.95 * graceful if "aiohttp" in name else None, graceful


@pytest.mark.parametrize("name", settings())
def test_the_defaults_are_those_of_the_server(name: str) -> None:
    need("uvicorn", "hypercorn", "granian", "gunicorn", "aiohttp")
    _, waits, _, _, kills, _ = settings()[name]
    assert (seconds(waits), seconds(kills)) == defaults(name)


@pytest.mark.parametrize("name", settings())
def test_the_settings_fit(name: str) -> None:
    _, _, waits, _, _, kills = settings()[name]
    assert seconds(waits) in {None, REQUESTS}  # None: the service's request_timeout
    assert check_budget(POOLS, server_timeout=REQUESTS, prestop=PRESTOP, grace_period=GRACE, margin=MARGIN) == []
    assert seconds(kills) in {None, REQUESTS + POOLS + MARGIN}
    assert check_budget(POOLS, server_timeout=REQUESTS, grace_period=GRACE - PRESTOP, margin=MARGIN) == []
    assert WorkerPool().shutdown_timeout == POOLS


def test_the_settings_could_not_be_longer() -> None:
    assert check_budget(POOLS + 1.1, server_timeout=REQUESTS, prestop=PRESTOP, grace_period=GRACE, margin=MARGIN)


def test_every_server_is_in_the_table() -> None:
    rows = " ".join(settings()).replace(" + uvicorn-worker", "+uvicorn").replace(" + ", "+")
    assert [name for name in SERVERS if name not in rows] == []


def test_the_commands_are_those_that_the_tests_run() -> None:
    """With which each server takes them."""
    run: dict[str, set[str]] = {}
    for server in SERVERS.values():
        program, *arguments = server.command("app:app", 0, 0, 5)
        run.setdefault(program, {"--workers"}).update(a.partition("=")[0] for a in arguments)
    for line in "".join(blocks("sh")).splitlines():
        program, *arguments = line.split()
        if program != "python":
            assert {a.partition("=")[0] for a in arguments if a.startswith("--")} <= run[program], line


@pytest.mark.parametrize(
    "name", [name for name, cells in settings().items() if cells[5] != "\N{EN DASH}" or cells[0].startswith("`--")]
)
def test_the_commands_have_the_settings_of_the_table(name: str) -> None:
    flag, _, waits, kill, _, kills = settings()[name]
    wanted = [f"{f.strip('`')}={v}" for f, v in ((flag, waits), (kill, kills)) if f.startswith("`--")]
    program = name.split(maxsplit=1)[0]
    assert any(line.startswith(program) and all(w in line for w in wanted) for line in "".join(blocks("sh")).splitlines())


def commands() -> dict[str, dict[str, str]]:
    """Return each command with the files that it serves: those that the page has shown last, by their names."""
    found: dict[str, dict[str, str]] = {}
    shown: dict[str, str] = {}
    for language, text in re.findall(r"^```(python|sh)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
        if language == "python" and (named := re.match(r"# (\S+\.py)$", text, re.MULTILINE)):
            shown[named[1]] = text
        for line in text.splitlines() if language == "sh" else []:
            # As the page says, what is in gunicorn's configuration fits uvicorn's worker only.
            found[line] = {name: of for name, of in shown.items() if name == "service.py" or "uvicorn_worker" in line}
    return found


PORT = {"uvicorn": "--port={}", "hypercorn": "--bind=127.0.0.1:{}", "granian": "--port={}", "gunicorn": "--bind=127.0.0.1:{}"}
# What the services get beside: a page that says which process answers.
WHO = {
    "@app.get": '@app.get("/who")\nasync def who() -> int:\n    return os.getpid()\n\n\n@app.get',
    "    return app": '    app.router.add_get("/who", who)\n    return app',
    "def application": "async def who(_):\n    return web.json_response(__import__('os').getpid())\n\n\ndef application",
}


@pytest.mark.realtime
@pytest.mark.parametrize("command", commands())
def test_a_command_serves_the_service_of_the_page_and_ends_on_sigterm(command: str, tmp_path: Path) -> None:
    """As written, but for the port, which somebody else may have."""
    need("uvicorn", "uvicorn_worker", "hypercorn", "granian", "gunicorn", "aiohttp", "fastapi")
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    for name, text in commands()[command].items():
        for place, more in {"web.run_app(": f"web.run_app(port={port}, app=", **WHO}.items():
            text = text.replace(place, more)
        (tmp_path / name).write_text(text)
    option = PORT.get(command.partition(" ")[0], "").format(port)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            ["sh", "-c", f"exec {command} {option}"],
            cwd=tmp_path, env={**os.environ, "PATH": path}, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        reach(server, port, workers=2 if "--workers=2" in command else 1)
        server.send_signal(signal.SIGTERM)
        code = server.wait(20)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)  # the workers too
        server.wait()
        said = (tmp_path / "log").read_text()
        print(said)  # noqa: T201  # which pytest shows if it fails
    assert code in {0, -signal.SIGTERM}
    assert "does not fit" not in said


def reach(server: subprocess.Popen[bytes], port: int, workers: int) -> None:
    """Ask until so many processes have answered: gunicorn's ASGI worker does not hear a SIGTERM that comes while it starts."""
    seen: set[bytes] = set()
    until = time.monotonic() + 30
    while len(seen) < workers:
        assert server.poll() is None
        assert time.monotonic() < until
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        with closing(connection), suppress(ConnectionRefusedError):  # it is not up yet
            connection.request("GET", "/who")
            seen.add(connection.getresponse().read())
        time.sleep(0.02)


def test_the_picture_has_the_numbers_of_the_page() -> None:
    (picture,) = blocks("text")
    assert list(map(float, re.findall(r"(\d+) s\b", picture))) == [PRESTOP, REQUESTS, POOLS, MARGIN, GRACE]


def test_the_manifest_fits() -> None:
    (manifest,) = blocks("yaml")
    spec = yaml.safe_load(manifest)["spec"]
    (container,) = spec["containers"]
    assert spec["terminationGracePeriodSeconds"] == GRACE
    assert f"--timeout-graceful-shutdown={REQUESTS:g}" in container["command"]
    hook, probe = container["lifecycle"]["preStop"]["httpGet"], container["readinessProbe"]
    program = blocks("python")[0]
    assert f'@app.get("{hook["path"]}")' in program
    assert f'app.mount("{probe["httpGet"]["path"].removesuffix("/ready")}", StatusPage(pools))' in program
    assert f"pools.leave({PRESTOP:g})" in program
    assert f"request_timeout={REQUESTS:g}" in program
    assert f"prestop={PRESTOP:g}, server_timeout={REQUESTS:g}, grace_period={GRACE:g}" in program
    assert probe["periodSeconds"] * probe["failureThreshold"] < PRESTOP


def test_the_unit_fits() -> None:
    (text,) = blocks("ini")
    unit = configparser.ConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    assert unit["Service"]["KillMode"] == "mixed"
    assert float(unit["Service"]["TimeoutStopSec"]) == GRACE
    assert f"--timeout-graceful-shutdown={REQUESTS:g}" in unit["Service"]["ExecStart"]
