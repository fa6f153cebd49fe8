"""Each block of docs/testing.md runs as a test file of a user's: with the plugin on, all pass but the one that is to fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import weirpool.testing  # noqa: F401  # here, as what the inner pytest imports first is forgotten after it
from tests.testing.test_pytest_plugin import ANYIO, ASYNCIO, PLUGIN, outcome

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
(SETTINGS,) = re.findall(r"^```toml\n\[tool.pytest.ini_options\]\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)

pytestmark = [pytest.mark.complains, pytest.mark.realtime]


def test_the_plugin_is_loaded_as_the_page_says() -> None:
    assert BLOCKS[0] == PLUGIN


@pytest.mark.parametrize("block", BLOCKS[1:], ids=lambda block: re.findall(r"def (test_\w+)", block)[0])
def test_the_tests_on_the_page_do_as_it_says(block: str, pytester: pytest.Pytester) -> None:
    tests = re.findall(r"^(?:async )?def (test_\w+)", block, re.MULTILINE)
    reports = outcome(pytester, block, *(ANYIO if "anyio" in block else ASYNCIO), ini=SETTINGS, start="")
    assert reports.passed == tests
    if "forgets" not in block:
        assert reports.failed == {}
        return
    (shown,) = re.findall(r"^```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    text = reports.failed["test_that_forgets"].removeprefix("teardown: ")
    assert [without_places(line) for line in text.splitlines()] == [without_places(line) for line in shown.splitlines()]


def without_places(line: str) -> str:
    line = re.sub(r"accepted = .*", "accepted = ...", line)
    return re.sub(r"at \S+\.py:\d+", "at ...", re.sub(r"[\d.e-]+ s\b", "... s", line))
