"""docs/tutorial.md, done as written: its files, its commands in one shell, and what it says that they print."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "tutorial.md").read_text()
KUBERNETES = (Path(__file__).parent.parent / "docs" / "how-to" / "kubernetes.md").read_text()
FILES = re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^```sh\n(.*?)^```\n\n```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
STEP = "---- step"


def test_every_command_shows_what_it_prints_and_little_is_not_run() -> None:
    assert len(COMMANDS) == PAGE.count("```sh\n") > 8
    assert PAGE.count("```text\n") == len(COMMANDS)
    assert PAGE.count("```python\n") == sum(name.endswith(".py") for name, _ in FILES)
    assert re.findall(r"^\$ (\w+)", PAGE, re.MULTILINE) == ["python3", "pip", "docker", "docker"]


def test_the_manifest_to_which_it_leads_fits_its_service() -> None:
    service = dict(FILES)["service.py"]
    (budget,) = re.findall(r"BUDGET = (Budget\(.*?\))", service)
    assert f"budget = {budget}" in KUBERNETES
    for path in re.findall(r"path: (\S+),", KUBERNETES):
        assert path in {"/pools/ready", "/pools/live"} if path != "/leave" else '@app.get("/leave"' in service, path


def test_its_image_is_that_of_the_manifest() -> None:
    (image,) = re.findall(r"^`Dockerfile`:\n\n```dockerfile\n(.*?)^```$", KUBERNETES, re.DOTALL | re.MULTILINE)
    assert set(dict(FILES)["Dockerfile"].splitlines()) <= set(image.splitlines())


@pytest.mark.realtime
def test_the_tutorial_prints_what_it_shows(tmp_path: Path) -> None:
    for name, extra in {"fastapi": "demo", "httpx2": "test", "tenacity": "retry", "opentelemetry.sdk": "test"}.items():
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"missing: {name}: pip install 'weirpool[{extra}]'")
    if shutil.which("curl") is None:
        pytest.skip("missing: curl")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for name, text in FILES:
        (tmp_path / name).write_text(text)
    script = "".join(f"echo '{STEP}'\n{command}" for command, _ in COMMANDS).replace("8000", port)
    (tmp_path / "all.sh").write_text(f"exec 2>&1\ntrap 'kill $(jobs -p) 2> /dev/null' EXIT\n{script}")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    environ |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
    environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # as with what step 1 installs, which has no plugins
    ended = subprocess.run(
        ["bash", "all.sh"], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True, timeout=55, check=False
    )
    printed = ended.stdout.split(f"{STEP}\n")[1:]
    if os.environ.get("WEIRPOOL_TUTORIAL"):  # to see what a page should show
        Path(os.environ["WEIRPOOL_TUTORIAL"]).write_text(STEP.join(printed))
    assert len(printed) == len(COMMANDS), ended.stdout
    for (command, shown), was in zip(COMMANDS, printed, strict=True):
        assert without_what_varies(was) == without_what_varies(shown), command


def without_what_varies(text: str) -> str:
    """Keep the rule of the page: numbers with a decimal point vary, and so do times in seconds."""
    return re.sub(r"\b(?:\d+\.\d+(?:e-\d+)?|\d+e-\d+|\d+(?= s\b))", "#", text)
