"""Make tests of a scenario and the libraries that it is played by: each has to do what the table says of it."""

from __future__ import annotations

import inspect
import sys
from collections import defaultdict
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.contrast.brokers import Saq, Taskiq
from tests.contrast.pools import Aiojobs, AiolibsExecutor, Anyio, AsyncioPool, Pool, Stdlib, Weirpool, imported
from tests.contrast.stage import forgiven, play
from tests.contrast.table import LIBRARIES, RULES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PLAYED", "against"]

POOLS: dict[str, type[Pool]] = {
    "weirpool": Weirpool,
    "aiojobs": Aiojobs,
    "aiolibs-executor": AiolibsExecutor,
    "asyncio-pool": AsyncioPool,
    "anyio": Anyio,
    "stdlib": Stdlib,
    "taskiq": Taskiq,
    "SAQ": Saq,
}


def _found(name: str) -> Any:
    """Import a library, or return None."""
    package = POOLS[name].package if name in POOLS else name
    try:
        return imported(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        return None


# While tests are collected, so that conftest exempts their modules from garbage collection: each test collects garbage.
FOUND = {name: _found(name) for name, library in LIBRARIES.items() if sys.version_info[:2] >= library.python}
PLAYED: defaultdict[str, set[str]] = defaultdict(set)  # by rule, the libraries for which there is a test


def against(key: str, *names: str) -> Callable[[Callable[[Any], Any]], Callable[[str], None]]:
    """Make a scenario the test of a rule, for some libraries.

    The scenario gets the library's adapter, or the library itself where there is none, and returns what it has seen. If it
    is a coroutine function, it is played on the stage.
    """

    def decorate(scenario: Callable[[Any], Any]) -> Callable[[str], None]:
        @pytest.mark.complains
        @pytest.mark.parametrize("name", names)
        def test(name: str) -> None:
            subject = _subject(name)
            with nullcontext() if name == "weirpool" else forgiven():
                saw = play(partial(scenario, subject)) if inspect.iscoroutinefunction(scenario) else scenario(subject)
            RULES[key].judge(LIBRARIES[name], saw)

        PLAYED[key].update(names)
        test.__name__ = test.__qualname__ = scenario.__name__
        test.__doc__ = scenario.__doc__
        test.__module__ = scenario.__module__
        return test

    return decorate


def _subject(name: str) -> Any:
    """Return the adapter of a library, or the library; skip the test where it can't be had."""
    library = LIBRARIES[name]
    if name not in FOUND:
        pytest.skip(f"{name} needs Python {library.python[0]}.{library.python[1]}")
    if FOUND[name] is None or library.too_old():
        pytest.skip(f"missing: pip install '{library.requirement}'")
    return POOLS.get(name, FOUND[name])
