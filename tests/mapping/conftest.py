"""The command is called in a directory of its own, where a module has functions for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("cyclopts", reason="missing: pip install 'weirpool[cli]'")

from weirpool.cli import main
from weirpool.mapping import _function

if TYPE_CHECKING:
    from collections.abc import Iterator

WORK = Path(__file__).with_name("work.py")


class Command:
    """Call `weirpool map` in this process, with files."""

    def __init__(self, directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.directory = directory
        self._capfd = capfd
        self.said = ""

    def __call__(self, *argv: object) -> int:
        """Call it; return its exit status."""
        self._capfd.readouterr()
        status = main(["map", *map(str, argv)])
        self.said = self._capfd.readouterr().err
        return status

    def write(self, name: str, *lines: object) -> None:
        """Write a file of lines."""
        (self.directory / name).write_text("".join(f"{line}\n" for line in lines))

    def read(self, name: str) -> list[str]:
        """Read a file of lines."""
        return (self.directory / name).read_text().splitlines()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Be in a directory with functions."""
    (tmp_path / "work.py").write_text(WORK.read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("work", None)
    cached: Any = _function._found
    cached.cache_clear()


@pytest.fixture
def command(here: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    """Call the command there."""
    return Command(here, capfd)
