"""Fail the tests that leave pools open or jobs running, or that lose the failure of a job; a plugin for pytest.

Load it in the `conftest.py` at the root of your tests::

    pytest_plugins = ["weirpool.testing.pytest_plugin"]

and have all tests checked, in your pytest configuration::

    weirpool_no_pool_leaks = true
    weirpool_no_unseen_failures = true

or some of them, with `@pytest.mark.usefixtures("no_pool_leaks")`. More in docs/testing.md.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from ._leaks import PoolWatch, text
from ._unseen import UnseenFailures
from ._unseen import no_unseen_failures as nothing_unseen

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["no_pool_leaks", "no_unseen_failures"]

_LEAKS, _UNSEEN = "no_pool_leaks", "no_unseen_failures"
_WATCH = pytest.StashKey[PoolWatch]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the settings."""
    parser.addini(f"weirpool_{_LEAKS}", "fail the tests that leave a weirpool.WorkerPool open", type="bool", default=False)
    parser.addini(f"weirpool_{_UNSEEN}", "fail the tests that lose the failure of a job", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line("markers", "allow_pool_leaks: this test may leave pools open and jobs running")
    config.addinivalue_line("markers", "allow_unseen_failures: jobs of this test may fail without anybody asking why")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Exempt what exists by now from the collections of garbage after each test, which find only what is new, and sooner."""
    if session.config.getini(f"weirpool_{_UNSEEN}"):
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def _checked_as_configured(request: pytest.FixtureRequest) -> None:
    for fixture in (_LEAKS, _UNSEEN):
        if request.config.getini(f"weirpool_{fixture}"):
            request.getfixturevalue(fixture)


@pytest.fixture
def no_pool_leaks(request: pytest.FixtureRequest) -> Generator[None, None, None]:
    """Fail the test if it, or a fixture of its own, leaves a pool open, or a job running that its pool has abandoned.

    A pool of a fixture of a wider scope is not the test's.
    """
    stash = request.config.stash
    with PoolWatch() as watch:
        stash[_WATCH] = watch
        try:
            yield
        finally:
            del stash[_WATCH]
        leaks = [] if request.node.get_closest_marker("allow_pool_leaks") else watch.leaks()
    _fail_for(leaks)


@pytest.fixture(scope="session", autouse=True)
def _no_pool_leaks_of_wider_fixtures(request: pytest.FixtureRequest) -> Generator[None, None, None]:
    """Fail, at the end, if a fixture of a wider scope has left a pool open."""
    if not request.config.getini(f"weirpool_{_LEAKS}"):
        yield
        return
    with PoolWatch() as watch:
        yield
        leaks = watch.leaks()
    _fail_for(leaks)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Do not hold against a test what a fixture of a wider scope opens when the test is the first to ask for it."""
    watch = request.config.stash.get(_WATCH, None)
    if watch is None or fixturedef.scope == "function":
        return (yield)
    paused, watch.paused = watch.paused, True
    try:
        return (yield)
    finally:
        watch.paused = paused


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """See what the test has left running, while its event loop is still there."""
    watch = item.config.stash.get(_WATCH, None)
    if watch is not None:
        watch.look()


@pytest.fixture
def no_unseen_failures(request: pytest.FixtureRequest) -> Generator[None, None, None]:
    """Fail the test if a job of its fails or times out, and nobody has asked why by its end."""
    if request.node.get_closest_marker("allow_unseen_failures"):
        yield
        return
    found = ""
    try:
        with nothing_unseen():
            yield
    except UnseenFailures as unseen:
        found = str(unseen)
    if found:  # not where it would be shown as what an exception has led to
        pytest.fail(found, pytrace=False)


def _fail_for(leaks: list[str]) -> None:
    if leaks:
        pytest.fail(text(leaks), pytrace=False)
