"""The how-to pages that consist of several files: they run together, and what they say to each other agrees."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from weirpool import WorkerPool
from weirpool.integrations import Budget, check_budget

HOW_TO = Path(__file__).parent.parent / "docs" / "how-to"

pytestmark = pytest.mark.realtime


def files(page: str) -> dict[str, str]:
    """Return the files of a page: the blocks before which a line names them."""
    text = (HOW_TO / page).read_text()
    found = dict(re.findall(r"^`([\w./]+)`[^\n`]*:\n\n```\w+\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))
    assert found
    return found


def write(page: str, there: Path) -> dict[str, str]:
    if importlib.util.find_spec("fastapi") is None:
        pytest.skip("missing: fastapi: pip install 'weirpool[demo]'")
    for name, text in files(page).items():
        (there / name).write_text(text)
    return files(page)


def run(there: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=there, capture_output=True, text=True, timeout=50, check=False,
        env={name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))},
    )  # fmt: skip


def manifest() -> dict[str, dict[str, Any]]:
    return {part["kind"]: part for part in yaml.safe_load_all(files("kubernetes.md")["service.yaml"])}


def pod() -> dict[str, Any]:
    return manifest()["Deployment"]["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def budget_of_the_manifest() -> Budget:
    """Take the times from where Kubernetes and the server take them."""
    (graceful,) = re.findall(r"--timeout-graceful-shutdown=(\d+)", files("kubernetes.md")["Dockerfile"])
    (leaves,) = re.findall(r"pools\.leave\((\d+)\)", files("kubernetes.md")["service.py"])
    return Budget(prestop=float(leaves), server_timeout=float(graceful), grace_period=pod()["terminationGracePeriodSeconds"])


def test_the_service_for_kubernetes_does_what_it_tries_of_itself(tmp_path: Path) -> None:
    assert set(write("kubernetes.md", tmp_path)) == {"service.py", "Dockerfile", "service.yaml"}
    ended = run(tmp_path, "-X", "dev", "-W", "error", "service.py")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_paths_of_the_manifest_are_those_of_the_service(tmp_path: Path) -> None:
    write("kubernetes.md", tmp_path)
    (container,) = pod()["containers"]
    probes = [container[name] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    asked = [probe["httpGet"] for probe in [*probes, container["lifecycle"]["preStop"]]]
    assert {each["port"] for each in asked} == {port["containerPort"] for port in container["ports"]}
    assert asked[-1]["path"] == "/leave"
    ask = "import service\nfrom fastapi.testclient import TestClient\nwith TestClient(service.app) as client:\n"
    ask += f"    print(*[client.get(path).status_code for path in {[each['path'] for each in asked]}])"
    ended = run(tmp_path, "-c", ask)
    assert ended.stdout.split() == ["200", "200", "200", "204"], ended.stderr


def test_the_image_has_what_its_command_needs() -> None:
    shown = files("kubernetes.md")
    instructions = [line.partition(" ")[::2] for line in shown["Dockerfile"].splitlines() if not line.startswith("#")]
    assert [name for name, _ in instructions] == ["FROM", "RUN", "WORKDIR", "COPY", "USER", "CMD"]
    dockerfile = dict(instructions)
    assert dockerfile["COPY"] == "service.py ."
    program, app, *options = json.loads(dockerfile["CMD"])
    installed = dockerfile["RUN"].removeprefix("pip install --no-cache-dir ").split()
    assert {program, *re.findall(r"^from (\w+)", shown["service.py"], re.MULTILINE)} - set(sys.stdlib_module_names) == set(
        installed
    )
    assert app == "service:app"
    import uvicorn

    assert uvicorn.main.make_context(program, [app, *options]).params["timeout_graceful_shutdown"] == 5


def test_the_service_of_the_manifest_finds_its_pods() -> None:
    parts = manifest()
    spec = parts["Deployment"]["spec"]
    assert parts["Service"]["spec"]["selector"] == spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert (
        parts["Service"]["spec"]["ports"][0]["targetPort"]
        == spec["template"]["spec"]["containers"][0]["ports"][0]["containerPort"]
    )


def test_the_times_of_the_manifest_fit_and_no_second_more() -> None:
    said, declared = budget_of_the_manifest(), files("kubernetes.md")["service.py"]
    (pools,) = re.findall(r"shutdown_timeout=(\d+)", declared)
    assert re.findall(r"budget = Budget\((.*)\)", declared) == [
        f"prestop={said['prestop']:g}, server_timeout={said['server_timeout']:g}, grace_period={said['grace_period']:g}"
    ]
    assert check_budget(float(pools), **said) == []
    assert check_budget(float(pools) + 2, **said) != []
    assert said["grace_period"] is not None
    assert said["grace_period"] > said["prestop"] + (said["server_timeout"] or 0) + float(pools)


def test_the_table_of_the_end_has_the_numbers_of_the_manifest() -> None:
    text, said = (HOW_TO / "kubernetes.md").read_text(), budget_of_the_manifest()
    leave, requests = int(said["prestop"]), int(said["prestop"] + (said["server_timeout"] or 0))
    (pools,) = re.findall(r"shutdown_timeout=(\d+)", files("kubernetes.md")["service.py"])
    rows = [f"| 0 to {leave} |", f"| {leave} to {requests} |", f"| {requests} to {requests + int(pools)} |"]
    assert [row in text for row in rows] == [True, True, True]
    grace = inspect.signature(WorkerPool).parameters["cancel_grace"].default
    assert f"A job takes longer than {float(pools) - grace:g} s?" in text
    assert f"`cancel_grace={grace:g}`" in text


def test_the_sums_of_the_page_on_overload_come_out() -> None:
    (text,) = re.findall(r"^```text\n(.*?)^```$", (HOW_TO / "overload.md").read_text(), re.DOTALL | re.MULTILINE)
    sums = re.findall(r"e\.g\. (\d+) s x (\d+)/s = (\d+)$|e\.g\. (\d+) / ([\d.]+) s = (\d+)$", text, re.MULTILINE)
    assert len(sums) == text.count("\n") == 2
    (patience, rate, queue, *_), (*_, workers, run_time, ends) = sums
    assert int(patience) * int(rate) == int(queue)
    assert round(int(workers) / float(run_time)) == int(ends) == int(rate)


def test_the_tests_of_the_page_on_tests_pass_and_print_what_it_shows(tmp_path: Path) -> None:
    for name in ("pytest_asyncio", "looptime", "httpx2"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"missing: {name}: pip install 'weirpool[test]'")
    written = write("tests.md", tmp_path)
    assert set(written) == {"service.py", "pyproject.toml", "conftest.py", "test_service.py"}
    ended = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    page = (HOW_TO / "tests.md").read_text()
    (shown,) = re.findall(r"^```console\n\$ python -m pytest -q\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    assert without_time(ended.stdout) == without_time(shown), ended.stderr


def without_time(text: str) -> str:
    return re.sub(r"in [\d.]+s", "in ... s", text)


def test_a_job_that_fails_unseen_fails_its_test_without_the_mark(tmp_path: Path) -> None:
    written = write("tests.md", tmp_path)
    (tmp_path / "test_service.py").write_text(written["test_service.py"].replace("@pytest.mark.allow_unseen_failures\n", ""))
    ended = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert "6 passed, 1 error" in ended.stdout, ended.stdout
