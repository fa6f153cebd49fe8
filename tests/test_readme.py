"""What the README shows is run here as it stands: the two services on real servers, the interface, the links."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import textwrap
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()

UVICORN = "import uvicorn, example; uvicorn.run(example.app, fd={fd}, log_level='warning')"
AIOHTTP = "import socket; from example import *; web.run_app(app, sock=socket.socket(fileno={fd}), print=None)"


def blocks(language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


FASTAPI_SERVICE, AIOHTTP_SERVICE, WORKER, INTERFACE = blocks("python")


@contextmanager
def served(code: str, command: str, folder: Path) -> Iterator[int]:
    """Serve an example in a process of its own; end it with SIGTERM, and see that it ends by itself."""
    (folder / "example.py").write_text(code)
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        fd = listener.fileno()
        server = subprocess.Popen([sys.executable, "-c", command.format(fd=fd)], cwd=folder, pass_fds=[fd])
        try:
            yield listener.getsockname()[1]
            server.send_signal(signal.SIGTERM)
            assert server.wait(10) in (0, -signal.SIGTERM)
        finally:
            server.kill()
            server.wait()


def post(port: int, path: str) -> tuple[int, dict[str, object]]:
    """Send one request; the server's socket exists before the server does, so this waits until it serves."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("POST", path)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def test_the_first_two_shell_blocks_are_one_line_each_for_the_demo_and_for_the_tests() -> None:
    demo, tests = blocks("sh")[:2]
    assert demo.count("\n") == tests.count("\n") == 1
    assert demo.rstrip().endswith("weirpool demo")
    assert "pytest" in tests


@pytest.mark.realtime
def test_the_fastapi_example_serves_and_ends_on_sigterm(tmp_path: Path) -> None:
    with served(FASTAPI_SERVICE, UVICORN, tmp_path) as port:
        assert post(port, "/mail/ada") == (202, {"job": 1, "pool": "pool"})
        assert post(port, "/mail/bob") == (202, {"job": 2, "pool": "pool"})


@pytest.mark.realtime
def test_the_fastapi_example_answers_503_with_retry_after_when_the_pool_is_full(tmp_path: Path) -> None:
    code = FASTAPI_SERVICE.replace("max_workers=32, queue_size=1000", "max_workers=1, queue_size=0").replace(
        'return f"sent to {to}"', "await __import__('asyncio').sleep(1)"
    )
    with served(code, UVICORN, tmp_path) as port:
        assert post(port, "/mail/ada")[0] == 202
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
            connection.request("POST", "/mail/bob")
            response = connection.getresponse()
            assert response.status == 503
            assert int(response.headers["Retry-After"]) >= 1


@pytest.mark.realtime
def test_the_aiohttp_example_serves_and_ends_on_sigterm(tmp_path: Path) -> None:
    with served(AIOHTTP_SERVICE, AIOHTTP, tmp_path) as port:
        assert post(port, "/mail/ada") == (200, {"receipt": "sent to ada"})


@pytest.mark.realtime
def test_the_standalone_worker_runs_until_it_is_told_to_stop(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(WORKER.replace("...  # start", "print('open', flush=True)  # start"))
    with subprocess.Popen([sys.executable, "worker.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "open\n"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(10) == 0


@pytest.mark.realtime
async def test_the_interface_works_as_shown(capsys: pytest.CaptureFixture[str]) -> None:
    async def deliver(event: str) -> str:
        return f"delivered {event}"

    scope: dict[str, object] = {}
    head = "from weirpool import WorkerPool, in_thread\nasync def main(deliver, event, resize, fetch, urls):\n"
    exec(head + textwrap.indent(INTERFACE, "    "), scope)
    main = scope["main"]
    assert callable(main)
    await main(deliver, "one", str.upper, deliver, ["two", "three"])
    await asyncio.sleep(0)
    assert "accepted" in capsys.readouterr().out


def test_every_promise_links_to_a_test_and_every_link_leads_somewhere() -> None:
    rows = re.findall(r"^\| (R\d+) \|.*\((tests/[^)]+)\) \|$", README, re.MULTILINE)
    assert [name for name, _ in rows] == [f"R{n}" for n in range(1, 22)]
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / link).exists(), link
