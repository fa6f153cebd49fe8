"""The killers, in the order in which they are tried on a mutant; each works in a fork of its own.

A further one needs a `name`, a `limit` in seconds and a call that returns what noticed the mutant, or None.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.mutation.forks import in_fork, run_pytest

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator

    from tests.mutation.mutants import Mutant
    from tests.mutation.selection import Selection

_NEAREST = 20
_LONG = 0.3  # seconds; of the other tests, only quicker ones: a mutant that lives would take minutes otherwise
_SLOWER = 10  # a mutant that makes a test so many times slower than it was
_AT_LEAST = 5.0  # seconds, and not by less than this, hangs
_START = 15.0


@dataclass(frozen=True)
class Stage:
    """Try to notice a mutant.

    Attributes:
        name: what it is called in the results.
        limit: past so many seconds, the mutant hangs, and is noticed by that.
        attempt: called in a fork, with the mutant installed; returns if nothing has noticed it, else tells what has, with the
            function that it is given, which does not return.
    """

    name: str
    limit: float
    attempt: Callable[[Callable[[str], None]], None]


def stages(
    mutant: Mutant, selection: Selection, kills: Counter[str], session: pytest.Session | None = None
) -> Iterator[Stage]:
    """Plan what is tried on a mutant: the nearest tests, which mostly notice it, and then all quick ones that execute it.

    Args:
        mutant: the mutant.
        selection: knows the tests.
        kills: how many other mutants of the same function each test has noticed.
        session: the session of pytest that runs, which has collected all tests; None: one must be made in the fork.
    """
    tests = selection.of(mutant, kills)
    others = [test for test in tests[_NEAREST:] if selection.seconds(test) < _LONG]
    for name, some in (("nearest tests", tests[:_NEAREST]), ("other tests", others)):
        if some:
            limits = {test: max(_AT_LEAST, _SLOWER * selection.seconds(test)) for test in some}
            expected = sum(map(selection.seconds, some))
            yield Stage(name, _START + 4 * expected, partial(_notice, session, some, limits))


def judge(mutant: Mutant, plan: Iterator[Stage]) -> tuple[str, str, str | None]:
    """Try the stages on a mutant until one notices it; return "killed" or "survived", the last stage, and what noticed it."""
    name = ""
    for stage in plan:
        name = stage.name
        noticed = _tried(mutant, stage)
        if noticed is not None:
            return "killed", name, noticed
    return "survived", name, None


def _tried(mutant: Mutant, stage: Stage) -> str | None:
    for limit in (stage.limit, 3 * stage.limit):  # on a busy machine, a fork may get nowhere for a while
        try:
            noticed: str | None = in_fork(limit, partial(_attempt, mutant, stage))
        except TimeoutError:
            continue
        except EOFError:
            return "kills the process"
        return noticed
    return "hangs"


def _attempt(mutant: Mutant, stage: Stage, tell: Callable[[str], None]) -> None:
    mutant.install()
    stage.attempt(tell)


class Noticer:
    """Run some tests of a pytest session, in the order that was asked for, and tell of the first that fails."""

    def __init__(self, tests: list[str], limits: dict[str, float], tell: Callable[[str], None]) -> None:
        self.order = {test: index for index, test in enumerate(tests)}
        self.limits = limits
        self.tell = tell

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self.order), key=lambda item: self.order[item.nodeid])
        for item in items:
            item.add_marker(pytest.mark.timeout(self.limits[item.nodeid]), append=False)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:  # do not wait for its teardown, which may hang
            self.tell(f"{report.nodeid}{' (hangs)' if 'Timeout (>' in report.longreprtext else ''}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.tell(f"collecting {report.nodeid}")


def _notice(session: pytest.Session | None, tests: list[str], limits: dict[str, float], tell: Callable[[str], None]) -> None:
    noticer = Noticer(tests, limits, tell)
    if session is None:
        code = run_pytest(sorted({test.split("::")[0] for test in tests}), noticer)
        if code != 0:
            tell(f"pytest ended with {code}")
    else:
        noticer.pytest_collection_modifyitems(session.items)
        session.config.pluginmanager.register(noticer)
        session.config.hook.pytest_runtestloop(session=session)
