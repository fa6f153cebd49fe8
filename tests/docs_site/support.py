"""Where the pages are, and how they are built."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

__all__ = ["DOCS", "PAGES", "missing", "sphinx"]

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = sorted(page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md"))

_NEEDED = ("sphinx", "furo", "myst_parser", "aiohttp", "django", "fastapi", "litestar", "quart", "rich", "tqdm")
missing = "" if all(map(importlib.util.find_spec, _NEEDED)) else "missing: pip install 'weirpool[docs]'"


def sphinx(pages: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Build a site as docs/contributing.md says, with our settings."""
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", "-c", str(DOCS), str(pages), str(out)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)
