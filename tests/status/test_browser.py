"""The status page in a real browser, mounted in a FastAPI service under load.

WEIRPOOL_SCREENSHOTS=docs/observing makes the screenshots of the documentation anew. Where WEIRPOOL_BROWSER is set, as in CI, a
browser that is missing is a failure.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import random
import shutil
import socket
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from weirpool import JobState, WorkerPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from weirpool import JobHandle

CHROMIUM = shutil.which("chromium")
EVIL = "<script>alert(1)</script>"

if CHROMIUM is None or importlib.util.find_spec("playwright") is None:
    missing = "missing: apt-get install chromium; pip install 'weirpool[browser]'"
    if os.environ.get("WEIRPOOL_BROWSER"):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing, allow_module_level=True)


class Service:
    """A FastAPI service with two pools, under load, and a browser.

    Attributes:
        mail: a pool that is full now and then, and whose jobs fail now and then.
        thumbnails: another.
        url: of the page.
        browser: Chromium.
        server: uvicorn's.
    """

    def __init__(self, browser: Any) -> None:
        self.browser = browser
        self.mail = WorkerPool(
            min_workers=2, max_workers=8, queue_size=20, name="mail", overload="reject", job_timeout=60, cancel_grace=0.2
        )
        self.thumbnails = WorkerPool(max_workers=4, name="thumbnails")
        self.complaints: list[str] = []
        self.url = ""
        self.server: Any = None

    async def send(self, number: int) -> None:
        await asyncio.sleep(random.expovariate(6))
        if number % 9 == 0:
            raise ConnectionError(f"{EVIL} {number}")

    async def load(self) -> None:
        for number in range(1_000_000):
            pool = self.thumbnails if number % 5 == 0 else self.mail
            with suppress(Exception):
                asyncio.ensure_future(self.look_at(pool.submit_nowait(self.send, number, name=f"send-{number}")))
            await asyncio.sleep(random.expovariate(60))

    async def look_at(self, handle: JobHandle[None]) -> None:
        with suppress(Exception):
            await handle

    async def open(self, width: int = 1200, height: int = 900, scheme: str = "light") -> Any:
        """Open the page in a window of its own; what the browser complains of is kept."""
        context = await self.browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        page = await context.new_page()
        page.set_default_timeout(15_000)
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        await page.goto(self.url)
        return page


@asynccontextmanager
async def service(*, controls: bool) -> AsyncIterator[Service]:
    """Serve the page, and drive a browser."""
    import uvicorn
    from fastapi import FastAPI
    from playwright.async_api import async_playwright

    from weirpool.integrations.status import StatusPage

    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        this = Service(browser)

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            async with this.mail, this.thumbnails:
                load = asyncio.create_task(this.load())
                yield
                load.cancel()

        app = FastAPI(lifespan=lifespan)
        app.mount("/pools", StatusPage([this.mail, this.thumbnails], controls=controls, interval=0.25))
        this.server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            this.url = f"http://127.0.0.1:{listening.getsockname()[1]}/pools/"
            serving = asyncio.create_task(this.server._serve([listening]))
            while not this.server.started:
                await asyncio.sleep(0.01)
            try:
                yield this
            finally:
                for context in browser.contexts:  # of whose last requests nobody should be told any more
                    await context.close()
                this.server.should_exit = True
                await serving
        await browser.close()
    assert not this.complaints


def in_service(test: Callable[[Service], Awaitable[None]], *, controls: bool = True) -> None:
    """Run a test in an event loop of its own, with the real clock."""

    async def main() -> None:
        async with asyncio.timeout(55), service(controls=controls) as this:
            await test(this)

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    while not condition():
        await asyncio.sleep(0.02)


def test_charts_move_and_numbers_change_while_a_real_load_runs() -> None:
    async def test(this: Service) -> None:
        page = await this.open()
        chart = page.get_by_label("pool mail").get_by_role("img", name="Jobs per second")
        line = chart.locator("polyline").first
        await page.wait_for_function(
            "line => line.getAttribute('points').split(' ').length >= 4", arg=await line.element_handle()
        )
        first = await line.get_attribute("points")
        accepted = page.get_by_label("pool mail").locator("dt", has_text="accepted").locator("xpath=following-sibling::dd")
        before = await accepted.inner_text()
        await page.wait_for_function(
            "([line, first]) => line.getAttribute('points') !== first", arg=[await line.element_handle(), first]
        )
        heights = {point.split(",")[1] for point in ((await line.get_attribute("points")) or "").split()}
        assert len(heights) > 1, "it is not a flat line"
        assert int(before.replace(",", "")) < this.mail.stats().accepted
        assert "ended" in (await chart.get_attribute("aria-label") or "")
        assert await page.locator("#link").inner_text() == "live"
        assert not await page.get_by_role("button").all(), "the controls are off unless asked for"

    in_service(test, controls=False)


def test_a_job_that_is_cancelled_there_disappears_and_names_are_text() -> None:
    async def test(this: Service) -> None:
        handle = this.thumbnails.submit_nowait(asyncio.sleep, 3600, name=EVIL)
        page = await this.open()
        pool = page.get_by_label("pool thumbnails")
        row = pool.get_by_role("row").filter(has_text="alert(1)").filter(has=page.get_by_role("button"))
        assert await row.get_by_role("cell").first.inner_text() == EVIL
        await row.get_by_role("button", name=f"Cancel {EVIL}").click()
        await row.wait_for(state="detached")
        assert handle.state is JobState.CANCELLED
        assert await page.locator("#said").inner_text() == f"{EVIL} is being cancelled"
        details = page.get_by_label("pool mail").locator("details").first
        await details.locator("summary").click()
        assert "ConnectionError: <script>" in await details.locator("pre").inner_text()
        assert await page.locator("script").count() == 1

    in_service(test)


def test_the_buttons_work_by_keyboard_and_the_focus_stays() -> None:
    async def test(this: Service) -> None:
        page = await this.open()
        pool = page.get_by_label("pool mail")
        await pool.get_by_role("button", name="Pause").focus()
        await page.keyboard.press("Enter")
        await until(lambda: this.mail.stats().paused)
        await pool.get_by_text("open, paused").wait_for()
        assert await page.evaluate("document.activeElement.textContent") == "Resume"
        await page.keyboard.press("Enter")
        await until(lambda: not this.mail.stats().paused)
        await page.keyboard.press("Tab")
        await page.keyboard.type("3")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Control+a")
        await page.keyboard.type("5")
        await page.keyboard.press("Enter")
        await until(lambda: this.mail.stats().max_workers == 5)
        await page.locator("#said").get_by_text("mail has 3 to 5 workers").wait_for()

    in_service(test)


def test_another_site_can_do_nothing_with_the_buttons() -> None:
    async def test(this: Service) -> None:
        page = await this.open()
        body = '{"pool": 0, "name": "mail"}'
        html = f"""<form method=post enctype=text/plain action={this.url}pause><input name='{body}'></form><script>
        const wanted = {{"X-Weirpool": "1", "Content-Type": "application/json"}};
        for (const mode of ["no-cors", "cors"]) for (const headers of [{{}}, wanted])
          fetch("{this.url}pause", {{method: "POST", mode, headers, body: '{body}'}}).catch(() => 0);
        document.forms[0].submit();</script>"""

        async def answer(route: Any) -> None:
            await route.fulfill(content_type="text/html", body=html)

        other = await (await this.browser.new_context()).new_page()
        await other.route("http://elsewhere.test/", answer)
        await other.goto("http://elsewhere.test/")
        await other.wait_for_url(f"{this.url}pause")  # where the form has led
        assert "headers" in await other.inner_text("body")
        assert not this.mail.stats().paused
        await page.get_by_label("pool mail").get_by_text("open", exact=True).wait_for()

    in_service(test)


@pytest.mark.complains
def test_it_fits_a_phone_and_a_desk_in_the_dark_and_in_the_light(tmp_path: Path) -> None:
    shots = Path(os.environ.get("WEIRPOOL_SCREENSHOTS") or tmp_path)

    over = False

    async def stubborn() -> None:
        while not over:  # and not for so many seconds, which may pass before the pages are open
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.1)

    async def test(this: Service) -> None:
        nonlocal over
        stray = this.thumbnails.submit_nowait(stubborn, name="stubborn")
        endless = this.mail.submit_nowait(asyncio.sleep, 3600, name=EVIL)
        await asyncio.sleep(0.1)
        stray.cancel()
        wide, dark, phone = [await this.open(*how) for how in ((1200, 1000), (1200, 1000, "dark"), (390, 844, "dark"))]
        await asyncio.sleep(8)
        for name, page in (("status", wide), ("status-dark", dark), ("status-phone", phone)):
            await page.get_by_label("pool thumbnails").get_by_text("Strays: abandoned").wait_for()
            inside, window = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert inside <= window, "nothing has to be scrolled to the side"
            await page.screenshot(path=shots / f"{name}.png")
        colours = [await page.evaluate("getComputedStyle(document.body).backgroundColor") for page in (wide, dark)]
        assert colours[0] != colours[1]
        over = True
        for handle in (stray, endless):
            handle.cancel()
            with suppress(Exception):
                await handle

    in_service(test)


def test_a_server_that_goes_is_not_held_by_a_page_that_is_open() -> None:
    async def test(this: Service) -> None:
        page = await this.open()
        await page.get_by_label("pool mail").get_by_text("open", exact=True).wait_for()
        this.server.should_exit = True
        async with asyncio.timeout(10):
            await until(lambda: this.mail.report is not None)
        await page.close()
        this.complaints.clear()  # of a page that asked in vain for the next stream, at any time until it was closed

    in_service(test)
