"""The page about the command line: its commands run, in their order, in one directory, and do what it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent.parent / "docs" / "command-line.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.realtime
def test_the_commands_on_the_page_run(tmp_path):
    (shop,) = blocks("python")
    (tmp_path / "shop.py").write_text(shop)
    tools = tmp_path / "bin"
    tools.mkdir()
    command = tools / "weirpool"
    program = "import sys; from weirpool.cli import main; sys.exit(main())"
    command.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-W", "error", "-c", program])} "$@"\n')
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    shown = [
        subprocess.run(
            ["sh", "-eu", "-c", block], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True, timeout=50
        )
        for block in blocks("sh")
    ]
    first, lines, failures, journal = shown
    assert first.stdout == "3\n" * 9
    assert lines.stdout.startswith('{"line":1,"result":{"url":"https://example.org/a"')
    assert failures.stdout.startswith('{"line":10,"item":"https://example.org/missing","error":"LookupError"')
    assert (tmp_path / "more.jsonl").read_text() == ""
    assert journal.stdout.split() == ["10", "all.jsonl"]


def test_the_page_names_each_option_that_it_should():
    page = PAGE.read_text()
    for option in [
        "--workers",
        "--timeout",
        "--rate",
        "--retries",
        "--lines",
        "--unordered",
        "--numbered",
        "--failures",
        "--replay",
        "--journal",
    ]:
        assert f"`{option}" in page
