"""The loop: ask, show, wait. On a terminal it draws in place; anywhere else it prints one snapshot after the other."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from rich.live import Live

from .drawing import Scene, draw, rates
from .page import PageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from .page import Page

__all__ = ["LiveView", "PlainView", "view", "watch"]

_LOOK = 0.2  # seconds between two looks at the terminal's size
_AT_ONCE = 64  # keys that are read at once


def watch(ask: Callable[[], Page], view: PlainView, url: str, interval: float) -> None:
    """Ask and show until `q` is pressed; what goes wrong is shown, and asked again.

    Args:
        ask: how to get an answer; may raise PageError.
        view: where to show it.
        url: what is asked, for the headline.
        interval: how many seconds lie between two questions.
    """
    scene, seen = Scene(f"weirpool top: {url}"), time.monotonic()
    while True:
        due = time.monotonic() + interval
        title = f"weirpool top {time.strftime('%H:%M:%S')}: {url}"
        try:
            page = ask()
        except PageError as error:
            age = "" if scene.page is None else f" (the numbers are {time.monotonic() - seen:.0f} s old)"
            scene = replace(scene, title=title, error=f"{error}{age}")
        else:
            scene, seen = Scene(title, page, rates(scene.page, page)), time.monotonic()
        view.show(scene)
        if view.wait(due):
            return


def view(console: Console) -> PlainView:
    """Return the view that the console can show."""
    # rich takes FORCE_COLOR for a terminal; and to what is none, it would show nothing before the end.
    live = sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal
    return LiveView(console) if live else PlainView(console)


class PlainView:
    """Print snapshots on standard output, and errors on standard error."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, scene: Scene) -> None:
        """Print a scene, or what is wrong."""
        if scene.error:
            print(f"{scene.title}: {scene.error}", file=sys.stderr, flush=True)  # noqa: T201
            return
        with self._console.capture() as capture:
            self._console.print(draw(scene, self._console.width))
        print(capture.get(), end="", flush=True)  # noqa: T201  # rich exits by itself if the reader has gone

    def wait(self, due: float) -> bool:
        """Wait until a moment of the monotonic clock; return whether the user wants to leave before."""
        time.sleep(max(due - time.monotonic(), 0))
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class LiveView(PlainView):
    """Draw on the whole terminal, in its size; leave it as it was."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(console=console, screen=True, auto_refresh=False)
        self._scene = Scene("weirpool top")
        self._size = console.size
        self._keys: list[int] = []
        self._exits = ExitStack()

    def show(self, scene: Scene) -> None:
        """Draw a scene."""
        self._scene, self._size = scene, self._console.size
        self._live.update(draw(scene, self._size.width, self._size.height), refresh=True)

    def wait(self, due: float) -> bool:
        """Wait for a moment or `q`; fit the picture to the terminal meanwhile."""
        while True:
            # Once in any case: where to ask takes longer than the interval, the moment has passed already.
            left = max(due - time.monotonic(), 0)
            readable, _, _ = select.select(self._keys, [], [], min(left, _LOOK))
            if readable:
                keys = os.read(readable[0], _AT_ONCE)
                if not keys or b"q" in keys.lower():
                    return True
            if self._console.size != self._size:
                self.show(self._scene)
            if not left:
                return False

    def __enter__(self) -> Self:
        self._keys = self._exits.enter_context(_keys())
        self._exits.enter_context(self._live)
        self.show(self._scene)
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()


@contextmanager
def _keys() -> Iterator[list[int]]:
    """Have keys as they are pressed, without an echo: yield the one file to read them from, or none."""
    if sys.stdin is None or not sys.stdin.isatty():
        yield []
        return
    file = sys.stdin.fileno()
    before = termios.tcgetattr(file)
    tty.setcbreak(file)
    try:
        yield [file]
    finally:
        termios.tcsetattr(file, termios.TCSAFLUSH, before)
