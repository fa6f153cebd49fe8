"""`weirpool demo` refuses what it can't work with: what it names, what was given, what is allowed; exit status 2."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.demo.processes import event, write
from weirpool.cli import main
from weirpool.demo.events import SAMPLE, load
from weirpool.demo.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.realtime


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run the demo, which must refuse; return what it says."""
    try:
        status = main(["demo", *arguments])
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    return err


def test_help_explains_every_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["demo", "--help"])
    assert exit_.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for setting in dataclasses.fields(Settings):
        option = f"--{setting.name.replace('_', '-')} "
        assert option in text
        if isinstance(setting.default, int | float) and not isinstance(setting.default, bool):
            assert re.search(rf"{option}[A-Z]+ [^()]*\(default: {setting.default}[,)]", text)
    assert text.count("(default: ") == len(dataclasses.fields(Settings))


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--concurrency", "0", "a whole number from 1 to 400"),
        ("--concurrency", "many", "a whole number from 1 to 400"),
        ("--workers", "401", "a whole number from 1 to 400"),
        ("--workers", "2.5", "a whole number from 1 to 400"),
        ("--queue-size", "-1", "a whole number from 0 to 1,000,000"),
        ("--retries", "-1", "a whole number from 0 to 1,000"),
        ("--submit-timeout", "nan", "a number from 0 to 10"),
        ("--job-timeout", "0", "a number from 0.01 to 3,600"),
        ("--shutdown-timeout", "inf", "a number from 0 to 3,600"),
        ("--cancel-grace", "soon", "a number from 0 to 3,600"),
        ("--sigterm-after", "1.01", "a number from 0 to 1"),
    ],
)
def test_an_option_out_of_its_range(capsys: pytest.CaptureFixture[str], option: str, value: str, allowed: str) -> None:
    assert f"argument {option}: must be {allowed}, got '{value}'" in refused(capsys, f"{option}={value}")


def test_a_grace_longer_than_the_whole_shutdown(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "--shutdown-timeout=1", "--cancel-grace=2")
    assert "argument --cancel-grace: must be at most --shutdown-timeout (1), of which it is the last part, got 2" in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: must be a JSON object, got []"),
        ('"evt"', "line 2: must be a JSON object"),
        (
            json.dumps({key: value for key, value in event(2).items() if key != "tenant"}),
            "line 2: the key 'tenant' is missing",
        ),
        (json.dumps(event(2, created="yesterday")), "line 2: created: "),
        (json.dumps(event(2, path="/elsewhere")), "line 2: path: String should match pattern '^/(fast|slow|error|never)"),
        (json.dumps(event(2, id="")), "line 2: id: "),
        (json.dumps(event(2, data=3)), "line 2: data: "),
        (json.dumps(event(1)), "line 2: id must be unique, 'evt_1' is on line 1 already"),
        ("\udcff", "line 2: not JSON"),
    ],
)
def test_a_line_that_is_no_event(capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(f"{json.dumps(event(1))}\n{line}\n", encoding="utf-8", errors="surrogateescape")
    err = refused(capsys, f"--events={path}")
    assert f"{path}, {said}" in err
    assert "Traceback" not in err


def test_a_file_that_is_not_there_or_empty_or_a_directory(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n\n")
    assert "--events must be a readable file" in refused(capsys, f"--events={tmp_path / 'none'}")
    assert "--events must be a readable file" in refused(capsys, f"--events={tmp_path}")
    assert "--events must be a file with at least one event" in refused(capsys, f"--events={tmp_path / 'empty'}")


def test_a_directory_for_journals_that_is_in_use_or_is_none(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    events = write(tmp_path / "events.jsonl", [event(1)])
    said = refused(capsys, f"--events={events}", f"--journals={tmp_path}")
    assert (
        f"--journals must be a directory that is empty or can be made, got '{tmp_path}': it has 'events.jsonl' in it" in said
    )
    assert "--journals must be a directory" in refused(capsys, f"--events={events}", f"--journals={events}")


def test_without_the_extra_it_says_how_to_get_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("rich", "uvicorn"):
        monkeypatch.setitem(sys.modules, package, None)
    assert "the demo needs rich, uvicorn: pip install 'weirpool[demo]'" in refused(capsys)


def test_importing_weirpool_loads_nothing_of_the_demo_and_nor_does_the_command_line() -> None:
    look = "import sys; print(*{name.partition('.')[0] for name in sys.modules} & {'aiohttp', 'fastapi', 'rich', 'uvicorn'})"
    code = f"import sys, weirpool\nassert not [n for n in sys.modules if 'demo' in n]\nimport weirpool.cli\n{look}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_sample_is_at_least_two_thousand_events_of_every_manner() -> None:
    manners = Counter(event.path.split("/")[1] for event in load(SAMPLE))
    total = manners.total()
    assert total >= 2000
    shares = {manner: round(100 * count / total) for manner, count in manners.items()}
    assert shares == {"fast": 90, "slow": 7, "error": 2, "never": 1}
