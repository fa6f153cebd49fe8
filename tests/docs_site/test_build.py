"""The site is built from the pages under docs without a warning, has all of them in its navigation, and no dead link.

What a browser makes of it is in test_browser.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs_site.support import PAGES, missing, sphinx

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

pytestmark = [pytest.mark.realtime, pytest.mark.timeout(300), pytest.mark.skipif(bool(missing), reason=missing)]


def links(page: Path) -> list[str]:
    """Return what a page links to or shows."""
    return re.findall(r'\b(?:href|src)="([^"]+)"', page.read_text())


def test_every_page_is_in_the_navigation(site: Path) -> None:
    sidebar = re.search(r'<div class="sidebar-tree">(.*?)</div>', (site / "index.html").read_text(), re.DOTALL)
    assert sidebar is not None
    there = {href.removesuffix(".html") for href in re.findall(r'href="([^"#]+)"', sidebar[1])}
    assert there | {"index"} == set(PAGES)


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    seen: dict[Path, set[str]] = {}
    checked = 0
    for page in sorted(site.rglob("*.html")):
        for link in links(page):
            target = urlsplit(link)
            if target.scheme or not (target.path or target.fragment):
                continue
            path = (page.parent / unquote(target.path)).resolve() if target.path else page
            assert path.is_file(), f"{page}: {link}"
            if target.fragment and path.suffix == ".html":
                if path not in seen:
                    seen[path] = set(re.findall(r'\b(?:id|name)="([^"]+)"', path.read_text()))
                assert unquote(target.fragment) in seen[path] | {""}, f"{page}: {link}"
            checked += 1
    assert checked > 1000


def test_a_page_asks_nothing_of_other_servers(site: Path) -> None:
    for page in PAGES:
        text = (site / f"{page}.html").read_text()
        loaded = re.findall(r'<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="([^"]+)"', text)
        assert loaded
        assert not [address for address in loaded if urlsplit(address).netloc]


def test_links_out_of_docs_show_the_source(site: Path) -> None:
    assert "source/src/weirpool/_crew.py.html" in links(site / "contributing.html")
    text = (site / "source/src/weirpool/_crew.py.html").read_text()
    assert 'id="L-1"' in text
    assert "highlight" in text
    assert "real/test_d20_signals.py.html" in links(site / "source/tests/real.html"), "a folder lists what is in it"


def small(folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    """Build a site of two pages, with lines of a test's own in the first."""
    pages = folder / "docs"
    pages.mkdir(exist_ok=True)
    body = "\n\n".join(lines)
    (pages / "index.md").write_text(f"# A page\n\n{body}\n\n```{{toctree}}\nother\n```\n")
    (pages / "other.md").write_text("# Another\n\n## A part\n")
    return sphinx(pages, folder / "out")


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    broken = {
        "[1](gone.md)": "target not found: 'gone.md'",
        "[2](#gone-here)": "target not found: 'gone-here'",
        "[3](other.md#gone-there)": "local id not found in doc 'other': 'gone-there'",
        "[4](../src/gone.py)": "target not found: '../src/gone.py'",
        "![5](gone.svg)": "image file not readable: gone.svg",
        "{py:class}`weirpool.Gone`": "reference target not found: weirpool.Gone",
    }
    built = small(tmp_path, *broken)
    assert built.returncode != 0
    for complaint in broken.values():
        assert complaint in built.stderr
    assert built.stderr.count(" WARNING: ") == len(broken)


def test_a_good_link_does_not(tmp_path: Path) -> None:
    assert small(tmp_path, "[one](other.md)", "[two](other.md#a-part)").stderr == ""


def test_a_page_in_no_section_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/lost.md").write_text("# A lost page\n")
    built = small(tmp_path)
    assert built.returncode != 0
    assert "lost.md: WARNING: document isn't included in any toctree" in built.stderr
