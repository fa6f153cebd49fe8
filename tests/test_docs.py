"""The pages under docs: their code runs, their links lead somewhere."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
# The extra that brings what a page imports; one that is in none is a mistake of the page.
EXTRAS = {
    **dict.fromkeys(("aiohttp", "fastapi", "uvicorn"), "demo"),
    **dict.fromkeys(("django", "litestar", "quart", "starlette"), "frameworks"),
    **dict.fromkeys(("httpx2", "looptime", "opentelemetry", "pytest", "yaml"), "test"),
    "aiojobs": "contrast",
    "aiolimiter": "rate",
    "rich": "rich",
    "tenacity": "retry",
    "tqdm": "tqdm",
}


def test_what_the_guide_to_the_source_names_is_there() -> None:
    named = re.findall(r"`(\w+)(?:\.(\w+))?` in \[`(\w+)\.py`\]", (DOCS / "contributing.md").read_text())
    assert len(named) > 6
    for thing, method, module in named:
        found = getattr(importlib.import_module(f"weirpool.{module}"), thing)
        assert not method or callable(getattr(found, method))


# A block after a line that names its file, as in "`service.py`:", is a part of something larger, which a test of its own runs.
BLOCK = re.compile(r"^(`[\w./]+`:\n\n)?```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = [
    pytest.param(block[2], id=f"{page.relative_to(DOCS).with_suffix('')}-{number}".replace("/", "-"))
    for page in PAGES
    for number, block in enumerate(BLOCK.finditer(page.read_text()), 1)
    if not block[1]
]


@pytest.mark.realtime
@pytest.mark.parametrize("code", BLOCKS)
def test_the_code_on_a_page_runs(code: str) -> None:
    for module in re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"missing: {module}: pip install 'weirpool[{EXTRAS[module]}]'")
    subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", code], check=True, timeout=30)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_links_on_a_page_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), link


@pytest.mark.realtime
def test_what_is_said_of_windows_holds_where_what_it_lacks_is_taken_away() -> None:
    assert "Windows" in (DOCS / "what-weirpool-is-not.md").read_text()
    code = """
import asyncio, importlib, os, signal, sys

del os.EX_TEMPFAIL, os.killpg, signal.SIGKILL, signal.SIGPIPE
sys.modules["termios"] = sys.modules["fcntl"] = None
del asyncio.SelectorEventLoop.add_signal_handler  # what is left of it raises NotImplementedError

import weirpool


async def main():
    async with weirpool.WorkerPool() as pool:
        assert await pool.run(asyncio.sleep, 0, "slept") == "slept"
        assert await pool.run(weirpool.in_thread(abs), -1) == 1
    assert pool.report.succeeded == 2


async def worker():
    async with weirpool.WorkerPool() as pool:
        await pool.submit(asyncio.sleep, 0)
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        (report,) = await weirpool.serve(pool)
    assert report.succeeded == 1


asyncio.run(main())
assert weirpool.run(worker) == 0
lacking = {"weirpool.mapping._journal": ImportError, "weirpool.top.watch": ImportError}
for name, error in lacking.items():
    try:
        importlib.import_module(name)
    except error:
        continue
    raise AssertionError(name)
"""
    subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", code], check=True, timeout=30)
