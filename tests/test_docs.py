"""The pages under docs: their diagrams are those of the tables, their code runs, their links lead somewhere."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from weirpool._lifecycle import JOB_MOVES, POOL_MOVES, JobState, PoolState

if TYPE_CHECKING:
    from collections.abc import Mapping

State = TypeVar("State", JobState, PoolState)

DOCS = Path(__file__).parent.parent / "docs"


def diagram(first: State, moves: Mapping[State, frozenset[State]]) -> str:
    """Draw a table of moves as a Mermaid state diagram."""
    lines: list[str] = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first.value}"]
    for state in type(first):
        lines += [f"    {state.value} --> {after.value}" for after in type(first) if after in moves[state]]
        if not moves[state]:
            lines.append(f"    {state.value} --> [*]")
    return "\n".join([*lines, "```"])


def test_the_diagrams_are_those_of_the_tables() -> None:
    page = (DOCS / "design.md").read_text()
    assert diagram(JobState.QUEUED, JOB_MOVES) in page
    assert diagram(PoolState.NEW, POOL_MOVES) in page


def test_what_the_guide_to_the_source_names_is_there() -> None:
    named = re.findall(r"`(\w+)(?:\.(\w+))?` in \[`(\w+)\.py`\]", (DOCS / "contributing.md").read_text())
    assert len(named) > 6
    for thing, method, module in named:
        found = getattr(importlib.import_module(f"weirpool.{module}"), thing)
        assert not method or callable(getattr(found, method))


BLOCKS = [
    pytest.param(block[1], id=f"{page.name}-{number}")
    for page in sorted(DOCS.glob("*.md"))
    for number, block in enumerate(re.finditer(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE), 1)
]


@pytest.mark.realtime
@pytest.mark.parametrize("code", BLOCKS)
def test_the_code_on_a_page_runs(code: str) -> None:
    for module in re.findall(r"^(?:from|import) (\w+)", code, re.MULTILINE):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"missing: {module}: pip install 'weirpool[frameworks]'")
    subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", code], check=True, timeout=30)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda path: path.name)
def test_the_links_on_a_page_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), link
