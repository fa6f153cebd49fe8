"""Event-loop lag: how late the loop is, and who holds it up, while somebody asks."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from weirpool import WorkerPool
from weirpool.telemetry import LoopLag

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.realtime


async def until(true: Callable[[], bool]) -> None:
    """Wait for something, on the real clock."""
    for _ in range(500):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


@pytest.mark.complains
async def test_a_job_that_blocks_the_loop_is_named_with_its_line_once(caplog: pytest.LogCaptureFixture) -> None:
    async def computes() -> None:
        time.sleep(0.4)  # here it hangs

    async with WorkerPool() as pool, LoopLag(threshold=0.1, interval=0.02) as lag:
        await pool.run(computes, name="billing")
        await until(lambda: lag.worst >= 0.25)
        assert lag.blocked == 1
    (record,) = [record for record in caplog.records if record.name == "weirpool.loop"]
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert "by task 'billing', which is at" in message
    assert message.splitlines()[-1].endswith("time.sleep(0.4)  # here it hangs")
    assert "base_events" not in message
    assert vars(record)["event"] == "weirpool.loop.blocked"


@pytest.mark.complains
async def test_a_callback_that_blocks_the_loop_is_one(caplog: pytest.LogCaptureFixture) -> None:
    async with LoopLag(threshold=0.05, interval=0.01) as lag:
        asyncio.get_running_loop().call_soon(time.sleep, 0.3)
        await until(lambda: lag.blocked == 1)
    assert any("by a callback" in record.getMessage() for record in caplog.records)


async def test_while_the_loop_is_free_it_is_hardly_late_and_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async with LoopLag(threshold=30.0, interval=0.01) as lag:
        await asyncio.sleep(0.1)
        assert 0 <= lag.last <= lag.worst < 30
        assert lag.blocked == 0
    assert not [record for record in caplog.records if record.name == "weirpool.loop"]


async def test_nothing_is_left_and_it_can_be_used_again() -> None:
    before = threading.active_count()
    lag = LoopLag()
    for _ in range(2):
        async with lag:
            assert threading.active_count() == before + 1
            with pytest.raises(RuntimeError, match="measures one loop at a time"):
                await lag.__aenter__()
        assert threading.active_count() == before


@pytest.mark.parametrize(("argument", "bad"), [("threshold", 0), ("interval", -1), ("threshold", "1"), ("interval", None)])
def test_what_makes_no_sense_is_refused(argument: str, bad: object) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{argument} must be"):
        LoopLag(**{argument: bad})  # type: ignore[arg-type]


def test_the_example_of_the_page_logs_what_it_shows(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "observing.md").read_text()
    ((code, shown),) = re.findall(r"^```python\n([^`]*?)^```\n\n```text\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "service.py").write_text(code)
    ran = subprocess.run([sys.executable, "service.py"], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=30)
    said = ran.stderr.replace(str(tmp_path), "/srv/app")  # beside it, on a busy machine, that the loop was late for no reason
    assert re.sub(r"for [\d.]+ s", "for ... s", shown) in re.sub(r"for [\d.]+ s", "for ... s", said)
