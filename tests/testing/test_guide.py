"""The example in docs/exploring.md prints what the page shows, and the line that it prints works."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

import weirpool.testing

PAGE = (Path(__file__).parents[2] / "docs" / "exploring.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def without_lines_of_asyncio(text: str) -> str:
    return re.sub(r"\(line \d{3,}\)", "(line ...)", text)


def test_the_example_prints_what_the_page_shows_and_the_line_repeats_it() -> None:
    printed = io.StringIO()
    scope: dict[str, Any] = {}
    with contextlib.redirect_stdout(printed):
        exec(compile(blocks("python")[0], "example", "exec"), scope)
    (shown,) = blocks("text")
    assert without_lines_of_asyncio(printed.getvalue()) == without_lines_of_asyncio(shown)
    line = re.search(r"repeat this with (.*)", printed.getvalue())
    assert line is not None
    with pytest.raises(weirpool.testing.Deadlock):
        eval(line[1], {"weirpool": weirpool, "main": scope["two_callers"]})


def test_the_example_can_be_mended_as_the_page_says() -> None:
    mended = blocks("python")[0].replace(
        "self.value = asyncio.get_running_loop().create_future()\n            self.value.set_result(await self.load())\n"
        "        return await self.value",
        "self.value = asyncio.create_task(self.load())\n        return await asyncio.shield(self.value)",
    )
    assert "shield" in mended
    scope: dict[str, Any] = {}
    exec(compile(mended, "example", "exec"), scope)
    weirpool.testing.run(scope["two_callers"], "fifo @3:cancel:2").check()
    assert weirpool.testing.explore(scope["two_callers"], jitter=5).runs > 200


def test_every_public_name_is_documented() -> None:
    for name in weirpool.testing.__all__:
        thing = getattr(weirpool.testing, name)
        assert name == "ADVANCE" or thing.__doc__, name
        for member, value in vars(thing).items() if isinstance(thing, type) else ():
            if not member.startswith("_") and callable(value):
                assert value.__doc__, f"{name}.{member}"
