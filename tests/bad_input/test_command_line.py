"""Whatever stands on the command line is taken or refused by the option's name, with exit status 2 and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from weirpool.cli import _parser, main
from weirpool.demo.settings import Settings

pytestmark = pytest.mark.realtime

thorough = settings(max_examples=100, deadline=None, database=None, derandomize=True)

WHOLE = {"concurrency": (1, 400), "workers": (1, 400), "queue_size": (0, 1_000_000), "retries": (0, 1000)}
NUMBERS = {
    "sigterm_after": (0.0, 1.0),
    "submit_timeout": (0.0, 10.0),
    "job_timeout": (0.01, 3600.0),
    "shutdown_timeout": (0.0, 3600.0),
    "cancel_grace": (0.0, 3600.0),
}
PATHS = ["events", "journals"]

# No operating system hands over a NUL. What is no UTF-8 arrives as lone surrogates.
text = st.text(st.characters(exclude_characters="\0"), max_size=10)
numerals = st.one_of(
    st.integers().map(str),
    st.integers(-1, 1001).map(str),
    st.floats().map(str),
    st.floats(-1, 11).map(str),
    st.sampled_from(
        ["", "-0", "-0.0", "1e400", "9" * 5000, "1_0", " 7 ", "\u0663", "0x10", "1.", ".5", "nan", "-inf", "infinity"]
    ),
)


def option(name: str) -> str:
    """Return how a setting is called on the command line."""
    return f"--{name.replace('_', '-')}"


def parsed(*arguments: str) -> dict[str, Any] | None:
    """Return what the demo would run with; None if it refuses."""
    status: Any = None
    try:
        return vars(_parser().parse_args(["demo", *arguments]))
    except SystemExit as exit_:
        status = exit_.code
    assert status == 2
    return None


def test_these_are_all_the_options_that_take_a_value() -> None:
    assert {*WHOLE, *NUMBERS, *PATHS, "plain"} == set(vars(Settings()))


@pytest.mark.parametrize("name", WHOLE)
@thorough
@given(value=st.one_of(numerals, text))
def test_a_whole_number_is_taken_if_it_is_in_its_range(name: str, value: str) -> None:
    least, most = WHOLE[name]
    options = parsed(f"{option(name)}={value}")
    try:
        legal = least <= int(value) <= most
    except ValueError:
        legal = False
    assert (options is not None) == legal
    if options is not None:
        assert options[name] == int(value)


@pytest.mark.parametrize("name", NUMBERS)
@thorough
@given(value=st.one_of(numerals, text))
@example(value="nan")
def test_a_number_is_taken_if_it_is_in_its_range(name: str, value: str) -> None:
    least, most = NUMBERS[name]
    options = parsed(f"{option(name)}={value}")
    try:
        legal = least <= float(value) <= most
    except ValueError:
        legal = False
    assert (options is not None) == legal
    if options is not None:
        assert options[name] == float(value)


@pytest.mark.parametrize("name", [*WHOLE, *NUMBERS])
@pytest.mark.parametrize(
    "value", ["x" * 100_000, "9" * 100_000, "two\nlines", "\x1b[31m7", "\udcff", "%s", "{}"], ids=range(7)
)
def test_a_refusal_names_the_option_and_shows_the_value_on_one_line(
    capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    assert parsed(f"{option(name)}={value}") is None
    out, err = capsys.readouterr()
    last = err.rstrip("\n").rpartition("\n")[2]
    assert out == ""
    assert last.startswith(f"weirpool demo: error: argument {option(name)}: must be a ")
    assert f"got {value!r}"[:80] in last
    assert last.isprintable()
    assert len(last) < 250


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["demos"],
        ["demo", "now"],
        ["demo", "--speed=3"],
        ["demo", "--workers"],
        ["demo", "--plain=3"],
        ["--workers=3"],
        ["\udcff"],
    ],
    ids=range(8),
)
def test_what_is_no_command_or_option_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    out, err = capsys.readouterr()
    assert (exit_.value.code, out) == (2, "")
    assert err.startswith("usage: weirpool")


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("value", ["", "x" * 5000, "no/such\udcff/path", "two\nlines/x", "/dev/null/x"], ids=range(5))
def test_a_path_that_leads_nowhere_is_refused_by_the_options_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two\nlines").write_text("a file, where a directory would have to be")
    (tmp_path / "no").write_text("as above")
    assert main(["demo", f"{option(name)}={value}"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"weirpool demo: {option(name)} must be ")
    assert err.count("\n") == 1


def test_bytes_that_are_no_text_are_refused_in_text(tmp_path: Any) -> None:
    command = [sys.executable, "-c", "from weirpool.cli import main; raise SystemExit(main())", "demo"]
    for argument in (b"--workers=\xff", b"--events=\xff"):
        run = subprocess.run([*map(os.fsencode, command), argument], capture_output=True, check=False, cwd=tmp_path)
        assert (run.returncode, run.stdout) == (2, b"")
        assert "Traceback" not in run.stderr.decode("utf-8")
