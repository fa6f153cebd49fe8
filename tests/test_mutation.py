"""The mutation runner makes the mutants it should, names them for good, and its verdicts are about mutants that exist."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from tests.mutation.judged import judgements
from tests.mutation.mutants import ROOT, modules, mutants


def lines(source: str) -> set[str]:
    """Return what the statement of a function may become."""
    return {mutant.now for mutant in mutants("m", f"def f(a, b, c):\n{textwrap.indent(textwrap.dedent(source), '    ')}")}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("return a < b", {"return None", "return a <= b", "return a >= b"}),
        ("return a is None", {"return None", "return a is not None"}),
        ("return a and b", {"return None", "return a or b", "return a", "return b"}),
        ("return not a", {"return None", "return a"}),
        ("return a + 1", {"return None", "return a - 1", "return a + 2", "return a + 0"}),
        ("return a if b else c", {"return None", "return a", "return c"}),
        ("return 'full'", {"return None", "return 'not_full'"}),
        ("return min(a, b)", {"return None", "return max(a, b)", "return a", "return b"}),
        ("return a(b, c=c)", {"return None", "return a(b)"}),
        ("return {a, b}", {"return None", "return {b}", "return {a}"}),
        ("return [x for x in a if b]", {"return None", "return [x for x in a if True]", "return [x for x in () if b]"}),
        ("a += 1", {"pass", "a -= 1", "a += 2", "a += 0"}),
        ("a.b = True", {"pass", "a.b = False"}),
        ("a()", {"pass"}),
        ("raise a", {"pass"}),
        ("if a < b:\n    c()", {"if True:", "if False:", "if a <= b:", "pass"}),
        ("while a:\n    b()", {"while False:", "pass"}),
        ("for x in a:\n    b()", {"for x in ():", "pass"}),
        ("with a():\n    b()", {"if True:", "pass"}),
        ("try:\n    a()\nexcept BaseException:\n    b()", {"except Exception:", "except ():", "pass"}),
    ],
)
def test_what_may_be_wrong_in_a_line(source, expected):
    assert lines(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "'''A docstring.'''",
        "assert a is not None",
        "x: int",
        "import os",
        "if TYPE_CHECKING:\n    import os",
    ],
)
def test_what_nobody_executes_or_only_people_read_is_left_alone(source):
    assert lines(source) == set()


def test_the_text_of_a_message_is_left_alone():
    assert lines("raise ValueError(f'{a} is {b + 1}, not right')") == {"pass"}


def test_a_mutant_is_called_the_same_when_other_lines_move():
    source = "def f(a):\n    return a < 1\n"
    before = {mutant.id for mutant in mutants("m", source)}
    after = {mutant.id for mutant in mutants("m", f"import os\n\nX = os.sep\n\n{source}")}
    assert len(before) == 5
    assert after == before


@pytest.mark.timeout(300)  # it compiles the core some four thousand times
def test_no_two_mutants_of_the_core_have_the_same_name_and_every_verdict_is_about_one():
    all_of_them = [mutant for module in modules() for mutant in mutants(module)]
    assert len({mutant.id for mutant in all_of_them}) == len(all_of_them)
    texts = {(mutant.scope, mutant.was, mutant.now) for mutant in all_of_them}
    judged = [(j.scope, j.was, now) for j in judgements() for now in j.now]
    assert [text for text in judged if text not in texts] == []
    assert len(set(judged)) == len(judged)


def test_a_mutant_is_loaded_instead_of_the_module_and_the_file_stays_as_it_is():
    script = """
        from tests.mutation.mutants import SOURCE, mutants
        before = (SOURCE / "_queue.py").read_bytes()
        (mutant,) = [m for m in mutants("_queue") if m.scope == "_queue.JobQueue.full" and " > " in m.now]
        mutant.install()
        from weirpool import _queue
        assert not _queue.JobQueue(0).full()
        assert _queue.__file__ == str(SOURCE / "_queue.py")
        assert (SOURCE / "_queue.py").read_bytes() == before
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
