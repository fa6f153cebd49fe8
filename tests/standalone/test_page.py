"""docs/workers.md: its units, images and manifests start one program, and give it the time that it takes to end."""

from __future__ import annotations

import configparser
import inspect
import json
import re
import signal
from pathlib import Path

import yaml

import weirpool

PAGE = (Path(__file__).parents[2] / "docs" / "workers.md").read_text()
PROGRAM = ["python", "-m", "mail.worker"]
LOGGED = 1  # second in which the log is written at the very end


def block(language: str) -> str:
    """Return the one block that the page has in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def times() -> dict[str, float]:
    """Return what the page adds up, with the defaults."""
    return {
        "delay": inspect.signature(weirpool.serve).parameters["delay"].default,
        "the longest shutdown_timeout": weirpool.WorkerPool().shutdown_timeout,
        "exit_timeout": inspect.signature(weirpool.run).parameters["exit_timeout"].default,
        "1 s to write the log": LOGGED,
    }


def test_the_sum_has_the_defaults() -> None:
    for name in times():
        assert name in block("text")
    shown = " + ".join(f"{each:g}" for each in times().values())
    assert f"With the defaults that is {shown} = {sum(times().values()):g} seconds" in PAGE


def test_the_unit_starts_the_worker_and_gives_it_enough_time() -> None:
    unit = configparser.ConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(block("ini"))
    service = unit["Service"]
    assert (service["Type"], service["KillMode"]) == ("notify", "mixed")
    assert service["ExecStart"].rpartition("/")[2].split() == PROGRAM
    assert float(service["TimeoutStopSec"]) > sum(times().values())
    assert int(service["SuccessExitStatus"]) == 128 + signal.SIGTERM


def test_the_image_starts_the_worker_without_a_shell() -> None:
    instruction, _, command = block("dockerfile").splitlines()[-1].partition(" ")
    assert instruction == "CMD"
    assert json.loads(command) == PROGRAM


def test_the_manifest_starts_the_worker_and_gives_it_enough_time() -> None:
    spec = yaml.safe_load(block("yaml"))["spec"]
    (container,) = spec["containers"]
    assert container["command"] == PROGRAM
    assert spec["terminationGracePeriodSeconds"] > sum(times().values())
