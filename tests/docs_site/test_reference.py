"""The reference has every public name, and no other."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

import weirpool
from tests.docs_site.support import DOCS

SOURCE = Path(weirpool.__file__).parent
INTEGRATIONS = [
    f"weirpool.integrations.{path.stem}"
    for path in sorted((SOURCE / "integrations").iterdir())
    if not path.name.startswith("_") and (path.suffix == ".py" or (path / "__init__.py").exists())
]
MODULES = [
    "weirpool",
    "weirpool.policies",
    "weirpool.events",
    "weirpool.telemetry",
    "weirpool.integrations",
    *INTEGRATIONS,
    "weirpool.testing",
    "weirpool.testing.pytest_plugin",
]
# What a public attribute or method returns, for which no module has a name: nobody makes one, or asks for its type.
RETURNED = {"weirpool._from_thread.FromThread", "weirpool._executor.PoolExecutor"}


def public(module: str) -> set[str]:
    """Return the names of a module's `__all__`, without importing it: it may need a framework."""
    path = SOURCE.parent.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    for statement in ast.parse(file.read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            return {f"{module}.{name}" for name in ast.literal_eval(statement.value)}
    raise AssertionError(f"{file} has no __all__")


def documented() -> list[str]:
    """Return what the pages of the reference ask autodoc for."""
    names: list[str] = []
    for page in sorted((DOCS / "reference").glob("*.md")):
        module = ""
        for what, name in re.findall(r"^\.\. (\w+):: (\S+)$", page.read_text(), re.MULTILINE):
            if what == "currentmodule":
                module = name
            else:
                assert what.startswith("auto")
                names.append(f"{module}.{name}")
    return names


def test_every_public_name_is_in_the_reference_once_and_no_other() -> None:
    names = documented()
    assert set(names) == RETURNED.union(*map(public, MODULES))
    assert len(names) == len(set(names))


def test_all_public_modules_are_asked() -> None:
    assert len(INTEGRATIONS) >= 9
    assert all(map(importlib.util.find_spec, MODULES[:5]))


@pytest.mark.realtime
@pytest.mark.timeout(300)
def test_every_public_name_has_a_place_on_the_site_and_a_link_to_its_source(site: Path) -> None:
    pages = "".join(page.read_text() for page in (site / "reference").glob("*.html"))
    anchors = set(re.findall(r'<dt [^>]*id="([^"]+)"', pages))
    assert not set(documented()) - anchors
    assert {"weirpool.WorkerPool.submit", "weirpool.JobHandle.cancel", "weirpool.testing.Recorder.wait_for"} <= anchors
    for name, file, start in (
        ("WorkerPool", "_pool", "class WorkerPool("),
        ("WorkerPool.submit", "_pool", "async def submit("),
        ("ShutdownReport", "_snapshot", "class ShutdownReport"),
        ("policies.Adaptive", "policies/adaptive", "class Adaptive"),
    ):
        place = re.search(rf'<dt [^>]*id="weirpool\.{name}".*?/{file}\.py\.html#L-(\d+)', pages, re.DOTALL)
        assert place is not None, name
        line = (SOURCE / f"{file}.py").read_text().splitlines()[int(place[1]) - 1]
        assert start in line, name
