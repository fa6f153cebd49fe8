"""The README's table and docs/comparison.md say what the tests show, all of it and nothing else."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import pytest

from tests.contrast.against import PLAYED
from tests.contrast.render import PAGE, README, ROOT, file_of, page, readme
from tests.contrast.rules import Breaks, Library, Rule
from tests.contrast.table import LIBRARIES, RULES


def test_the_table_in_the_readme_is_the_one_that_is_tested() -> None:
    text = README.read_text()
    assert text == readme(text), "run python -m tests.contrast"


def test_the_page_is_the_one_that_is_tested() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.contrast"


@pytest.mark.parametrize("key", RULES)
def test_each_verdict_on_a_rule_is_a_test(key: str) -> None:
    importlib.import_module(Path(file_of(key)).with_suffix("").as_posix().replace("/", "."))
    assert PLAYED[key] == set(LIBRARIES) - set(RULES[key].lacks)


def test_weirpool_keeps_every_rule_and_each_peer_breaks_one() -> None:
    breakers = {name for rule in RULES.values() for name in rule.breaks}
    assert breakers == set(LIBRARIES) - {"weirpool"}
    assert not any("weirpool" in rule.lacks for rule in RULES.values())
    assert all(rule.breaks for rule in RULES.values())


def test_the_releases_of_the_table_are_those_of_the_extra() -> None:
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["contrast"]
    assert [requirement.partition(";")[0] for requirement in extra] == [
        library.requirement for library in LIBRARIES.values() if library.release
    ]


def test_a_peer_that_changes_makes_its_test_fail() -> None:
    rule = Rule("rule", "It works", kept="fine", breaks={"anyio": Breaks("bad", "of a bug")})
    anyio, stdlib = LIBRARIES["anyio"], LIBRARIES["stdlib"]
    rule.judge(anyio, "bad")
    rule.judge(stdlib, "fine")
    with pytest.raises(AssertionError, match=r"the table is out of date, anyio .* keeps the rule now"):
        rule.judge(anyio, "fine")
    with pytest.raises(AssertionError, match="but in another way: 'worse'"):
        rule.judge(anyio, "worse")
    with pytest.raises(AssertionError, match=r"stdlib .* breaks the rule 'It works': 'bad' instead of 'fine'"):
        rule.judge(stdlib, "bad")


def test_an_older_release_than_that_of_the_table_is_not_tested() -> None:
    assert not LIBRARIES["anyio"].too_old()
    assert Library("anyio", "", release="999.1").too_old()
