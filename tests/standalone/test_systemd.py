"""systemd is told what a service of Type=notify tells it, and a socket that is not there never hurts."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.standalone.test_serve import begun, hears
from tests.support import Gate
from weirpool import WorkerPool, serve
from weirpool.standalone._systemd import notify

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.realtime


def manager(where: str) -> socket.socket:
    """Return the socket on which the service manager listens."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(where)
    sock.setblocking(False)
    return sock


def read(sock: socket.socket) -> list[str]:
    """Return what the manager has been told."""
    told = []
    try:
        while True:
            told.append(sock.recv(4096).decode())
    except BlockingIOError:
        return told


@pytest.mark.complains
async def test_it_is_told_when_serving_begins_when_it_ends_and_how_much_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with closing(manager(str(tmp_path / "notify"))) as sock:
        gate = Gate()
        async with WorkerPool(max_workers=2, name="a") as a, WorkerPool(max_workers=1, name="b") as b:
            for pool in (a, b):
                for _ in range(3):
                    await pool.submit(gate)
            assert read(sock) == []
            serving = await begun(serve(a, b, delay=0.01))
            assert read(sock) == ["READY=1\nSTATUS=serving pool 'a', pool 'b'"]
            await hears()
            assert read(sock) == ["STOPPING=1\nSTATUS=draining: 3 running, 3 queued"]
            await hears()
            await serving
            assert read(sock) == ["STATUS=cancelling: 3 running, 3 queued"]


def test_its_socket_may_have_an_abstract_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"weirpool{tmp_path}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with closing(manager(f"\0{name}")) as sock:
        notify("READY=1")
        assert read(sock) == ["READY=1"]


@pytest.mark.parametrize("where", ["", "vsock:2:1234", "relative/path", "/nowhere/at/all", "/" + "too long" * 50, "@nobody"])
def test_a_socket_that_is_not_there_does_not_hurt(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", where)
    notify("READY=1")


def test_a_socket_that_is_full_or_dead_does_not_hurt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with closing(manager(str(tmp_path / "notify"))) as sock:
        for _ in range(1000):
            notify("STATUS=" + "x" * 1000)
        assert 1 <= len(read(sock)) < 1000, "it was full, and nobody waited"
    notify("STOPPING=1")  # nobody reads it any more
    assert (tmp_path / "notify").exists()


async def test_without_a_manager_serving_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    async with WorkerPool() as pool:
        serving = await begun(serve(pool))
        await hears()
        await asyncio.wait_for(serving, 5)
