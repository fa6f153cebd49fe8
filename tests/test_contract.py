"""docs/contract.md has the promises of the README: the same numbers, the same names, and at least the same tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "contract.md").read_text()
ROWS = re.findall(r"^\| (R\d+) \| \*\*(.+?)\*\*(.*?) \| (.*) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
PROMISES = [f"R{number}" for number in range(1, 22)]


def part(number: str) -> str:
    """Return what the page says under the heading of a promise."""
    return re.split(rf"^### {number} .*\n", PAGE, flags=re.MULTILINE)[1].partition("\n#")[0]


def links(text: str) -> set[str]:
    """Return the tests that a text links to, as seen from the repository's root."""
    return {link.removeprefix("../") for link in re.findall(r"\]\(((?:\.\./)?tests/[^)]+)\)", text)}


def test_the_readme_has_all_promises() -> None:
    assert [row[0] for row in ROWS] == PROMISES


def test_the_promises_have_the_names_of_the_readme_in_its_order() -> None:
    assert re.findall(r"^### (R\d+) (.+)$", PAGE, re.MULTILINE) == [(number, name.rstrip(".")) for number, name, *_ in ROWS]


@pytest.mark.parametrize("number", PROMISES)
def test_a_promise_names_its_tests_and_at_least_those_of_the_readme(number: str) -> None:
    held = re.search(r"^Held by: (.*)", part(number), re.MULTILINE | re.DOTALL)
    assert held is not None
    assert links(held[1]) >= links(ROWS[PROMISES.index(number)][3]) != set()


@pytest.mark.parametrize("number", PROMISES)
def test_a_promise_says_more_than_its_name_and_speaks_of_what_the_readme_does(number: str) -> None:
    _, _, short, _ = ROWS[PROMISES.index(number)]
    text = part(number)
    assert set(re.findall(r"`[^`]+`", short)) <= set(re.findall(r"`[^`]+`", text))


def test_every_test_of_a_promise_is_named_on_the_page() -> None:
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").glob("test_r[0-9][0-9]_*.py")}
    assert len(files) > 21
    assert files <= links(PAGE)
