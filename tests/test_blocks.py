"""Every block of the README and of the pages under docs is run or compared by a test, or says on its page why it is not.

What is not run is there, at least, and takes the options that the page gives it.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CI = (ROOT / ".ci" / "run").read_text()
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

# Which test has all blocks of a page in some languages, or, where a line before the block names a file, all files.
HELD = {
    "README.md python": "tests/test_readme.py",
    "docs/* python": "tests/test_docs.py",
    "docs/* {*": "tests/docs_site/test_build.py",
    "docs/command-line.md file sh": "tests/mapping/test_page.py",
    "docs/exploring.md text": "tests/testing/test_guide.py",
    "docs/how-to/kubernetes.md file": "tests/test_howto.py",
    "docs/how-to/overload.md text": "tests/test_howto.py",
    "docs/how-to/tests.md console file": "tests/test_howto.py",
    "docs/observing.md console": "tests/test_top.py",
    "docs/observing.md text": "tests/telemetry/test_lag.py",
    "docs/proof.md text": "tests/proof/test_proof.py",
    "docs/servers.md ini sh text yaml": "tests/servers/test_page.py",
    "docs/shutdown.md text": "tests/test_r08_stubborn.py",
    "docs/testing.md text toml": "tests/testing/test_testing_page.py",
    "docs/tutorial.md file sh text": "tests/test_tutorial.py",
    "docs/workers.md dockerfile ini text yaml": "tests/standalone/test_page.py",
}
REASONS = ["it installs packages", "it needs Docker", "it takes minutes"]
HELP = f"""Each block needs one test that runs it, or compares it with what it shows: name that in HELD. What can't be run
there has <!-- not run by a test: REASON --> in the line before it, with one of the reasons {REASONS}."""

FENCE = re.compile(r"^([ >]*(?:`{3,}|~{3,}))([^\n]*)\n(.*?)^\1$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"^`(?:[\w/]+\.\w+|Dockerfile)`[^\n]*:\n\n\Z", re.MULTILINE)
BY_CI = "; .ci/run runs its last command"
EXCUSE = re.compile(rf"^<!-- not run by a test: (?:{'|'.join(REASONS)})(?:{re.escape(BY_CI)})? -->\n\Z", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block: where it is, its language (or "file"), what is in it, and the comment that says why it is not run, if any."""

    page: str
    line: int
    kind: str
    text: str
    excuse: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def is_of(self, rule: str) -> bool:
        """Whether a rule is about it."""
        page, *kinds = rule.split()
        return fnmatch(self.page, page) and any(fnmatch(self.kind, kind) for kind in kinds)

    @property
    def holders(self) -> list[str]:
        """What accounts for it."""
        return [test for rule, test in HELD.items() if self.is_of(rule)] + ([self.excuse] if self.excuse else [])

    @property
    def commands(self) -> list[str]:
        """What it has a shell do, without the names of our environment and the prompt."""
        lines = re.sub(r"^\$ |\.venv/bin/|\s+# .*$", "", self.text.strip(), flags=re.MULTILINE).splitlines()
        return [command for line in lines for command in line.split(" && ")]


def blocks_of(page: str) -> list[Block]:
    """Return the blocks of a page."""
    found, text = [], (ROOT / page).read_text()
    for match in FENCE.finditer(text):
        fence, language, inside = match.groups()
        before = text[: match.start()]
        # The tests that have all blocks of a language would not find one that is indented, or fenced by tildes.
        kind = "unusual" if fence != "```" else "file" if FILE.search(before) else language
        excuse = EXCUSE.search(before)
        found.append(Block(page, before.count("\n") + 1, kind, inside, excuse[0] if excuse else ""))
    return found


PAGES = ["README.md", *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs").rglob("*.md")))]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
EXCUSED = [block for block in BLOCKS if block.excuse]


def test_every_block_is_run_or_compared_by_a_test_or_says_why_it_is_not() -> None:
    assert len(BLOCKS) > 200
    unaccounted = {f"{block} {block.kind}": block.holders for block in BLOCKS if len(block.holders) != 1}
    assert unaccounted == {}, HELP


@pytest.mark.parametrize("rule", HELD)
def test_a_test_that_has_blocks_of_a_page_knows_the_page(rule: str) -> None:
    page, *kinds = rule.split()
    assert page == "docs/*" or Path(page).name in (ROOT / HELD[rule]).read_text()
    for kind in kinds:
        assert any(block.is_of(f"{page} {kind}") for block in BLOCKS), kind


@functools.cache
def options_of(*command: str) -> set[str]:
    """Return the options that a command's help shows."""
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # which take seconds, and have none of these options
    ran = subprocess.run([*command, "--help"], cwd=ROOT, env=environ, check=True, capture_output=True, text=True, timeout=30)
    return set(re.findall(r"(?<![\w-])--?\w[\w-]*", ran.stdout))


@pytest.mark.realtime
@pytest.mark.parametrize("block", EXCUSED, ids=str)
def test_what_is_not_run_is_there_and_takes_its_options(block: Block) -> None:
    python = [sys.executable]
    programs = {"pip": [*python, "-m", "pip"], "python": python, "python3": python, "weirpool": [*python, "-m", "weirpool"]}
    for command in block.commands:
        program, *words = shlex.split(command)
        if program == ".":  # .venv/bin/activate
            continue
        if program == "docker" and shutil.which(program) is None:
            pytest.skip("there is no Docker here")
        if words[0] == "-m" and importlib.util.find_spec(words[1]) is None:
            pytest.skip(f"missing: {words[1]}: pip install 'weirpool[docs]'")
        # What to do is a module, a script, or a subcommand; bash only reads the script.
        what, rest = (words[:2], words[2:]) if words[0] == "-m" else (words[:1], words[1:])
        does = ["bash", "-n"] if program == "bash" else programs.get(program, [program])
        assert {word.partition("=")[0] for word in rest if word.startswith("-")} <= options_of(*does, *what), command
        for word in rest:
            if extras := re.search(r"\[(.*)\]$", word):
                assert set(extras[1].split(",")) <= EXTRAS.keys(), command
            elif "/" in word:
                assert (ROOT / word).exists(), command


@pytest.mark.parametrize("block", [block for block in EXCUSED if BY_CI in block.excuse], ids=str)
def test_what_ci_is_said_to_run_it_runs(block: Block) -> None:
    number = [each for each in BLOCKS if each.is_of(f"{block.page} sh")].index(block) + 1
    assert block.commands[-1] in CI or (block.page == "README.md" and f"$(block {number})" in CI)


@pytest.mark.realtime
@pytest.mark.parametrize("unit", [block for block in BLOCKS if "[Service]\n" in block.text], ids=str)
def test_systemd_has_nothing_to_say_against_a_unit(unit: Block, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd here")
    file = tmp_path / "worker.service"
    file.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.text, flags=re.MULTILINE))  # theirs is not here
    ran = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)], check=True, capture_output=True, text=True, timeout=30
    )
    assert ran.stdout + ran.stderr == ""
