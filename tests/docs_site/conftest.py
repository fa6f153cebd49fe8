"""The site, built once for all tests that look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs_site.support import DOCS, missing, sphinx

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, which has to go without a warning."""
    if missing:
        pytest.skip(missing)
    out = tmp_path_factory.mktemp("site")
    built = sphinx(DOCS, out)
    assert (built.returncode, built.stderr) == (0, "")
    return out
