"""`import weirpool` is light, without effects and without surprises: its public names, and no telemetry or framework."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest

import weirpool
import weirpool.events

PUBLIC = [
    "Batch",
    "Failed",
    "FailureType",
    "Group",
    "JobCancelled",
    "JobHandle",
    "JobState",
    "JobTimeout",
    "MapProgress",
    "MapResults",
    "Percentiles",
    "PoolClosed",
    "PoolError",
    "PoolOverloaded",
    "PoolState",
    "PoolStats",
    "Results",
    "RunningJob",
    "ShutdownReport",
    "Worker",
    "WorkerPool",
    "current_job",
    "current_worker",
    "deadline_scope",
    "in_interpreter",
    "in_process",
    "in_thread",
    "remaining",
    "run",
    "serve",
]
PUBLIC_EVENTS = [
    "JobAccepted",
    "JobEnded",
    "JobStarted",
    "Observer",
    "PoolMoved",
    "PoolResized",
    "Stray",
    "StrayEnded",
    "SubmitRefused",
]
TOO_MUCH = {
    "opentelemetry",
    "fastapi",
    "starlette",
    "aiohttp",
    "litestar",
    "quart",
    "sanic",
    "uvicorn",
    "hypercorn",
    "httpx",
    "httpx2",
    "pydantic",
    "rich",
    "click",
    "typer",
    "uvloop",
    "trio",
    "pytest",
    "numpy",
    "multiprocessing",
    "sqlite3",
}


def in_a_new_process(script: str) -> Any:
    """Run a script in a new interpreter, with warnings as errors, and return what it printed as JSON."""
    done = subprocess.run(  # the script is written here
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env={name: value for name, value in os.environ.items() if not name.startswith("COV")},  # it imports things, too
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_the_public_names_are_those_of_the_design_and_no_others() -> None:
    assert weirpool.__all__ == PUBLIC
    assert weirpool.events.__all__ == PUBLIC_EVENTS
    for name in (*PUBLIC, *PUBLIC_EVENTS):
        assert hasattr(weirpool if name in PUBLIC else weirpool.events, name)
    unexpected = {name for name in vars(weirpool) if not name.startswith("_")} - set(PUBLIC)
    submodules = {name for name in unexpected if f"weirpool.{name}" in sys.modules}
    assert unexpected - submodules == {"annotations"}


def test_public_names_say_that_they_are_weirpools() -> None:
    for name in PUBLIC:
        assert getattr(weirpool, name).__module__ == "weirpool", name
        assert getattr(weirpool, name).__qualname__ == name
    assert repr(weirpool.WorkerPool) == "<class 'weirpool.WorkerPool'>"


def test_a_name_that_there_is_not_is_missing_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'weirpool' has no attribute 'serf'"):
        _ = weirpool.serf


def test_every_public_name_is_documented() -> None:
    for name in PUBLIC:
        thing = getattr(weirpool, name)
        assert thing.__doc__, name
        for member, value in vars(thing).items() if isinstance(thing, type) else ():
            if not member.startswith("_") and callable(value):
                assert value.__doc__, f"{name}.{member}"


@pytest.mark.realtime
def test_importing_brings_neither_telemetry_nor_a_framework() -> None:
    loaded = in_a_new_process(
        """
        import json, sys
        import weirpool, weirpool.events
        print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
        """
    )
    assert "weirpool" in loaded
    assert "anyio" in loaded
    assert TOO_MUCH & set(loaded) == set()


@pytest.mark.realtime
def test_a_pool_that_runs_jobs_needs_no_more_than_what_was_imported() -> None:
    loaded = in_a_new_process(
        """
        import asyncio, json, sys
        import weirpool

        async def main():
            async with weirpool.WorkerPool() as pool:
                await pool.run(asyncio.sleep, 0)
                try:
                    await pool.run(asyncio.sleep, 9, timeout=0.01)
                except weirpool.JobTimeout:
                    pass

        asyncio.run(main())
        print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
        """
    )
    assert TOO_MUCH & set(loaded) == set()


@pytest.mark.realtime
def test_importing_has_no_effect() -> None:
    before, after, names = in_a_new_process(
        """
        import json, logging, os, signal, sys, threading

        def state():
            return [
                len(threading.enumerate()),
                [str(signal.getsignal(s)) for s in (signal.SIGINT, signal.SIGTERM)],
                len(logging.getLogger().handlers),
                logging.getLogger().level,
                logging.getLogger("weirpool").level,
                len(logging.getLogger("weirpool").handlers),
                str(sys.excepthook),
                str(sys.unraisablehook),
            ]

        before = state()
        import weirpool
        after = state()
        namespace = {}
        exec("from weirpool import *", namespace)
        print(json.dumps([before, after, sorted(set(namespace) - {"__builtins__"})]))
        """
    )
    assert before == after
    assert names == sorted(PUBLIC)


def test_weirpool_says_that_it_is_typed() -> None:
    from importlib.resources import files

    assert (files("weirpool") / "py.typed").is_file()
