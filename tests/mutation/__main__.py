"""Change one thing at a time in the core, and see whether a test notices.

The results are kept, so an interrupted run goes on where it was; what survived before is tried again. The command fails if
a mutant survives that `judged.toml` does not judge, or if that judges one that does not survive the tests nearest to it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import sys
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.mutation.forks import run_pytest, silence, test_files, warm
from tests.mutation.judged import judgements
from tests.mutation.mutants import ROOT, Mutant, modules, mutants
from tests.mutation.selection import Selection
from tests.mutation.stages import judge, stages

if TYPE_CHECKING:
    from collections.abc import Sequence

_NICE = 5


def main() -> int:
    """Run the command."""
    options = _options()
    options.store.mkdir(parents=True, exist_ok=True)
    results: Path = options.store / "results.jsonl"
    if options.fresh:
        results.unlink(missing_ok=True)
    wanted = [
        mutant
        for module in options.module or modules()
        for mutant in mutants(module)
        if not options.only or any(text in f"{mutant.id} {mutant.scope}" for text in options.only)
    ]
    if options.sample:
        wanted = random.Random(0).sample(wanted, min(options.sample, len(wanted)))
    if not options.report:
        warm()
        selection = Selection(options.store / "selection.json")
        known = {name: result["verdict"] for name, result in _read(results).items()}
        to_try = [mutant for mutant in wanted if known.get(mutant.id) != "killed"]
        to_try.sort(key=lambda mutant: mutant.id in known)  # those that survived once more, but last
        print(f"{len(wanted)} mutants, {len(to_try)} to try, {len(selection.tests)} tests", flush=True)
        anew = [mutant for mutant in to_try if mutant.function is None or selection.imported_by(mutant)]
        in_session = [mutant for mutant in to_try if mutant not in anew]
        for some, work in ((in_session, _Lane.in_session), (anew, _Lane.anew)):
            lanes = [_Lane(some[lane :: options.jobs], selection, results) for lane in range(options.jobs)]
            processes = [get_context("fork").Process(target=work, args=(lane,)) for lane in lanes]
            for process in processes:
                process.start()
            for process in processes:
                process.join()
    return _report(wanted, _read(results), complete=not (options.only or options.sample))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, choices=(1, 2), help="how many mutants are tried at once")
    parser.add_argument("--module", action="append", help="only this module, such as _crew; may be repeated")
    parser.add_argument("--only", action="append", help="only mutants whose id or function contains this; may be repeated")
    parser.add_argument("--sample", type=int, help="only so many mutants, chosen at random, always the same ones")
    parser.add_argument("--fresh", action="store_true", help="forget earlier results")
    parser.add_argument("--report", action="store_true", help="only report earlier results")
    parser.add_argument("--store", type=Path, default=ROOT / ".mutation", help="where results are kept")
    return parser.parse_args()


class _Lane:
    """Try some mutants, one after the other.

    Most differ in what is executed when a test runs, and are tried in forks of a process in which pytest has collected all
    tests: its session forks instead of running them. The others are executed on import: weirpool has to be imported anew.
    """

    def __init__(self, to_try: Sequence[Mutant], selection: Selection, results: Path) -> None:
        self.to_try = to_try
        self.selection = selection
        self.results = results
        self.verdicts = judgements()
        self.kills: Counter[tuple[str, str]] = Counter()
        self.out = os.fdopen(os.dup(1), "w")
        self.pid = 0

    def anew(self) -> None:
        os.nice(_NICE)
        for mutant in self.to_try:
            self._try(mutant, None)

    def in_session(self) -> None:
        os.nice(_NICE)
        self.pid = os.getpid()
        with silence():
            run_pytest(test_files(), self)
        os._exit(0)  # without the garbage of a session that has run nothing

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if os.getpid() != self.pid:
            return None  # in a fork: run what there is to run
        for mutant in self.to_try:
            self._try(mutant, session)
        return True

    def _try(self, mutant: Mutant, session: pytest.Session | None) -> None:
        kills = Counter({test: n for (scope, test), n in self.kills.items() if scope == mutant.scope})
        since = time.monotonic()
        plan = stages(mutant, self.selection, kills, session)
        if any(judgement.fits(mutant) for judgement in self.verdicts):
            plan = itertools.islice(plan, 1)  # most of the time would go into running all tests on what is known to live
        verdict, stage, by = judge(mutant, plan)
        if by is not None:
            self.kills[mutant.scope, by] += 1
        result = {
            "id": mutant.id,
            "in": mutant.scope,
            "was": mutant.was,
            "now": mutant.now,
            "verdict": verdict,
            "stage": stage,
            "by": by,
            "seconds": round(time.monotonic() - since, 2),
        }
        with self.results.open("a") as file:
            file.write(json.dumps(result) + "\n")
        if verdict != "killed":
            print(mutant, file=self.out, flush=True)


def _read(results: Path) -> dict[str, Any]:
    lines = results.read_text().splitlines() if results.exists() else []
    return {result["id"]: result for result in map(json.loads, lines)}


def _report(wanted: Sequence[Mutant], results: dict[str, Any], *, complete: bool) -> int:
    verdicts = judgements()
    used = set()
    counts: dict[str, Counter[str]] = {}
    unjudged = []
    for mutant in wanted:
        verdict = results[mutant.id]["verdict"] if mutant.id in results else "untried"
        if verdict == "survived":
            judgement = next((j for j in verdicts if j.fits(mutant)), None)
            if judgement is None:
                unjudged.append(mutant)
            else:
                used.add((judgement, mutant.now))
                verdict = judgement.verdict
        counts.setdefault(mutant.module, Counter())[verdict] += 1
    counts["all"] = sum(counts.values(), Counter())
    columns = ("killed", "survived", "accepted", "equivalent", "untried")
    print(f"\n{'module':<14}{''.join(f'{column:>12}' for column in columns)}{'score':>9}")
    for module, count in counts.items():
        telling = count["killed"] + count["survived"] + count["accepted"]
        score = f"{100 * count['killed'] / telling:.1f} %" if telling else ""
        print(f"{module:<14}{''.join(f'{count[column]:>12}' for column in columns)}{score:>9}")
    if unjudged:
        print("\nSurvived, and not judged:\n", *unjudged, sep="\n")
    stale = [
        f"{j.scope}\n  - {j.was}\n  + {now}"
        for j in verdicts
        for now in j.now
        if complete and any(mutant.module == j.scope.split(".")[0] for mutant in wanted) and (j, now) not in used
    ]
    if stale:
        print("\nJudged, but killed, or no longer there:\n", *stale, sep="\n")
    return 1 if unjudged or stale or counts["all"]["untried"] else 0


if __name__ == "__main__":
    sys.exit(main())
