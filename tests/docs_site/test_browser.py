"""The site in a real browser: light and dark, on a desktop and on a phone.

WEIRPOOL_SITE_PICTURES=some/folder keeps the screenshots there. Where WEIRPOOL_BROWSER is set, as in CI, a browser that is
missing is a failure.
"""

from __future__ import annotations

import functools
import http.server
import importlib.util
import os
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs_site.support import PAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

CHROMIUM = shutil.which("chromium")

if CHROMIUM is None or importlib.util.find_spec("playwright") is None:
    missing = "missing: apt-get install chromium; pip install 'weirpool[browser,docs]'"
    if os.environ.get("WEIRPOOL_BROWSER"):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing, allow_module_level=True)

pytestmark = [pytest.mark.realtime, pytest.mark.timeout(300)]

WIDTHS = {"desktop": 1280, "phone": 390}
SHOWN = (
    "index",
    "contract",
    "design",
    "shutdown",
    "benchmarks",
    "comparison",
    "observing",
    "reference/pool",
    "reference/index",
)

# The theme cuts off what is too wide, so the window's own width tells nothing: what sticks out has to be within what scrolls.
OVERFLOWING = """() => {
    const scrolls = e => {
        for (let p = e.parentElement; p && p.tagName !== "ARTICLE"; p = p.parentElement)
            if (["auto", "scroll"].includes(getComputedStyle(p).overflowX)) return true;
        return false;
    };
    const wide = e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
    const found = [...document.querySelectorAll("article *")].filter(e => e.checkVisibility() && wide(e) && !scrolls(e));
    return found.slice(0, 3).map(e => e.outerHTML.slice(0, 120));
}"""
BROKEN = "() => [...document.images].filter(i => i.offsetParent && !(i.complete && i.naturalWidth)).map(i => i.src)"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serve files, and say nothing of that."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Be quiet."""


class Browser:
    """Chromium, with the site; what goes wrong on any page is kept.

    Attributes:
        complaints: what the browser complained of, and what was not there.
    """

    def __init__(self, chromium: Any, url: str) -> None:
        self.complaints: list[str] = []
        self._chromium, self._url = chromium, url

    @contextmanager
    def window(self, width: int, scheme: str) -> Iterator[Any]:
        """Open a window, and close it."""
        context = self._chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, base_url=self._url)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("response", lambda got: self.complaints.append(f"{got.status} {got.url}") if got.status >= 400 else None)
        page.on("requestfailed", self.failed)
        page.on(
            "request", lambda asked: None if asked.url.startswith(self._url) else self.complaints.append(f"away: {asked.url}")
        )
        try:
            yield page
        finally:
            context.close()

    def failed(self, request: Any) -> None:
        """Note a request that came to nothing, unless that was because the page had been left meanwhile."""
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"failed: {request.url}: {request.failure}")


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    """Serve the site."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture
def browser(served: str) -> Iterator[Browser]:
    """Drive a browser, which must have had nothing to complain of at the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        this = Browser(chromium, served)
        yield this
        chromium.close()
    assert not this.complaints


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return where screenshots go."""
    folder = Path(os.environ.get("WEIRPOOL_SITE_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def open_page(page: Any, name: str) -> None:
    """Go to a page, and see all of it, so that nothing is left to be loaded."""
    page.goto(f"{name}.html", wait_until="load")
    page.evaluate(
        "() => Promise.all([...document.images].map(i => { i.loading = 'eager'; return i.decode().catch(() => 0); }))"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", WIDTHS)
def test_every_page_fits_the_window_and_has_all_its_pictures(browser: Browser, pictures: Path, kind: str, scheme: str) -> None:
    wrong: dict[str, list[str]] = {}
    with browser.window(WIDTHS[kind], scheme) as page:
        for name in PAGES:
            if scheme == "dark" and name not in SHOWN:
                continue  # colours change no sizes
            open_page(page, name)
            if problems := page.evaluate(OVERFLOWING) + page.evaluate(BROKEN):
                wrong[name] = problems
            if name in SHOWN:
                file = pictures / f"{name.replace('/', '-')}-{kind}-{scheme}.png"
                page.screenshot(path=file, full_page=name != "reference/pool")
                assert file.stat().st_size > 10_000
    assert wrong == {}


def test_the_navigation_and_the_search_are_there_on_a_desktop(browser: Browser) -> None:
    with browser.window(1280, "light") as page:
        open_page(page, "index")
        sidebar = page.locator(".sidebar-tree")
        assert sidebar.is_visible()
        for section in ("Tutorial", "How-to", "Guides", "Reference", "Design", "About"):
            assert sidebar.get_by_text(section, exact=True).is_visible()
        page.get_by_placeholder("Search").fill("submit_nowait")
        page.get_by_placeholder("Search").press("Enter")
        page.wait_for_selector("#search-results li a")
        assert page.locator("#search-results li a", has_text="submit_nowait").count() >= 1


def test_the_navigation_slides_in_on_a_phone(browser: Browser) -> None:
    with browser.window(390, "light") as page:
        open_page(page, "contract")
        link = page.locator(".sidebar-tree").get_by_role("link", name="The contract", exact=True)
        assert page.evaluate("e => e.getBoundingClientRect().right", link.element_handle()) <= 0
        page.locator("label.nav-overlay-icon").first.click()
        page.wait_for_function("e => e.getBoundingClientRect().left >= 0", arg=link.element_handle())


def test_pictures_follow_the_button_for_light_and_dark_whatever_the_system_says(browser: Browser) -> None:
    with browser.window(1280, "dark") as page:
        open_page(page, "contract")
        picture = page.locator("img[alt='A shutdown, job by job']")
        assert [image.is_visible() for image in picture.all()] == [False, True]
        button = page.locator(".content-icon-container button.theme-toggle, .theme-toggle-content button.theme-toggle").first
        for _ in range(3):  # auto, light, dark
            if page.evaluate("document.body.dataset.theme") == "light":
                break
            button.click()
        assert page.evaluate("document.body.dataset.theme") == "light"
        assert [image.is_visible() for image in picture.all()] == [True, False]


def test_a_link_out_of_docs_leads_to_the_line(browser: Browser) -> None:
    with browser.window(1280, "light") as page:
        open_page(page, "reference/pool")
        page.locator("dt[id='weirpool.WorkerPool.submit'] .viewcode-link").click()
        page.wait_for_url("**/source/src/weirpool/_pool.py.html#L-*")
        page.wait_for_function(  # it scrolls there smoothly
            "id => { const y = document.getElementById(id).getBoundingClientRect().y; return 0 <= y && y < 450; }",
            arg=page.url.partition("#")[2],
        )


def test_what_does_not_fit_or_is_not_there_would_be_found(browser: Browser) -> None:
    with browser.window(390, "light") as page:
        open_page(page, "index")
        assert page.evaluate(OVERFLOWING) == page.evaluate(BROKEN) == []
        page.evaluate(
            "document.querySelector('article').insertAdjacentHTML('beforeend', '<p style=\"width: 800px\">wide</p>')"
        )
        page.evaluate(
            "document.querySelector('article').insertAdjacentHTML('beforeend', '<img width=9 src=\"data:image/png,none\">')"
        )
        page.wait_for_function("() => [...document.images].every(image => image.complete)")
        assert page.evaluate(OVERFLOWING) == ['<p style="width: 800px">wide</p>']
        assert page.evaluate(BROKEN) == ["data:image/png,none"]
