"""Do something in a process of its own, forked from this one, which has imported all but weirpool and its tests."""

from __future__ import annotations

import contextlib
import gc
import importlib
import multiprocessing
import os
import resource
import selectors
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.mutation.mutants import ROOT, SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

_MEMORY = 4 << 30  # a mutant that loops may fill whatever there is

FOLDERS = ("", "bad_input", "real", "proof")
# Not what tests other processes, other tools or the documentation: it does not execute a mutant. Nor what takes long.
NOT_HERE = [
    "test_docs.py",
    "test_internal_faults.py",
    "test_mutation.py",
    "test_r21_typing.py",
    "test_readme.py",
    "test_soak.py",
]


def warm() -> None:
    """Import what every fork needs: pytest with its plugins, and what the tests and weirpool import themselves."""
    sys.path.insert(0, str(SOURCE.parent))
    os.chdir(ROOT)
    os.environ.pop("CI", None)
    with silence():
        pytest.main(["--version", "--version"])
    for name in ("anyio._backends._asyncio", "hypothesis.strategies", "opentelemetry.sdk.trace"):
        importlib.import_module(name)
    import hypothesis

    hypothesis.settings.register_profile(
        "mutation", database=None, phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate]
    )
    hypothesis.settings.load_profile("mutation")
    assert "weirpool" not in sys.modules
    gc.freeze()


def in_fork(limit: float, call: Callable[[Callable[[Any], None]], Any]) -> Any:
    """Return what a call returns in a fork, or what it tells before that: the fork ends when it does either.

    Args:
        limit: how long that may take, in seconds.
        call: is given a function to tell the result with.

    Raises:
        TimeoutError: it took longer.
        EOFError: the fork ended without a result.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_fork, args=(sender, call))
    process.start()
    sender.close()
    try:
        if not receiver.poll(limit):
            raise TimeoutError
        return receiver.recv()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid or 0, signal.SIGKILL)
        process.join()
        receiver.close()


def _fork(sender: Connection, call: Callable[[Callable[[Any], None]], Any]) -> None:
    def tell(result: Any) -> None:
        sender.send(result)
        _end()

    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    try:
        with silence():
            tell(call(tell))
    finally:
        _end()


def _end() -> None:
    """End this process and its children at once: neither handlers nor threads of a mutant have a say in it."""
    os.killpg(0, signal.SIGKILL)


@contextlib.contextmanager
def silence() -> Any:
    """Let nothing be heard of what is printed meanwhile."""
    kept = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for fd in (*kept, nowhere):
            os.close(fd)


def test_files() -> list[str]:
    """Name the files whose tests execute mutants."""
    found = [path for folder in FOLDERS for path in sorted((ROOT / "tests" / folder).glob("test_*.py"))]
    return [str(path.relative_to(ROOT)) for path in found if path.name not in NOT_HERE]


def run_pytest(arguments: Sequence[str], plugin: object) -> int:
    """Run pytest, once in a process."""
    options = ["-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    return int(pytest.main([*options, *arguments], plugins=[plugin, _Impatience()]))


class _Impatience:
    """Fail a test in virtual time whose loop waits for nothing that could ever happen, instead of waiting with it."""

    def __init__(self) -> None:
        self.virtual = False
        original = selectors.DefaultSelector.select

        def select(selector: Any, timeout: float | None = None) -> Any:
            if timeout is not None or not self.virtual:
                return original(selector, timeout)
            events = original(selector, 0.5)
            assert events, "a deadlock"
            return events

        selectors.DefaultSelector.select = select  # type: ignore[assignment, method-assign]

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.virtual = item.get_closest_marker("realtime") is None
