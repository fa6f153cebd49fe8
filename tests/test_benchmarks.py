"""The benchmarks: their statistics, their pictures and their contestants are right, their scripts run, their guard guards."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import itertools
import json
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.conftest import LOOP

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.append(str(BENCHMARKS))

from measuring import bars, pictures, plot, rounds  # noqa: E402
from measuring.contestant import Contestant  # noqa: E402
from measuring.field import CONTESTANTS, Field  # noqa: E402
from measuring.report import Report, Table, described, machine  # noqa: E402

ODD = 'a "<b>" & c'
pytestmark = pytest.mark.timeout(120)
only_once = pytest.mark.skipif(bool(LOOP), reason="the stock loop is what is measured; asyncio-pool fails on eager tasks")


def run(script: str, *arguments: str, plant: Path | None = None) -> tuple[int, str]:
    """Run a script; if there is something to plant, in this process and its children."""
    # Not measured for coverage, which takes time of its own.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    if plant is not None:
        env["PYTHONPATH"] = str(plant)
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, timeout=110
    )
    return done.returncode, done.stdout


# Statistics -----------------------------------------------------------------------------------------------------------------


def test_ratios_are_paired_by_round_so_a_slow_moment_of_the_machine_does_not_count() -> None:
    ours, theirs = [10.0, 30.0, 10.0, 10.0, 50.0], [5.0, 15.0, 5.0, 5.0, 25.0]  # the machine was slow twice
    assert rounds.paired(ours, theirs) == [2.0] * 5
    with pytest.raises(ValueError, match="shorter"):
        rounds.paired(ours, theirs[:-1])


def test_a_spread_has_the_median_and_the_quartiles() -> None:
    assert rounds.Spread.of([5.0, 1.0, 2.0, 4.0, 3.0]) == rounds.Spread(2.0, 3.0, 4.0)
    assert rounds.Spread.of([1.0, 2.0]) == rounds.Spread(1.25, 1.5, 1.75)
    assert rounds.Spread.of([7.0]) == rounds.Spread(7.0, 7.0, 7.0)


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(value) for value in range(1000, 0, -1)]
    assert [rounds.percentile(values, share) for share in (0.5, 0.99, 0.999, 1.0)] == [500.0, 990.0, 999.0, 1000.0]
    assert rounds.percentile([3.0], 0.999) == 3.0
    with pytest.raises(ValueError, match="share must be over 0 and at most 1, got 99"):
        rounds.percentile(values, 99)


async def test_contestants_take_turns_and_the_first_round_only_warms_up() -> None:
    turns: list[str] = []

    async def turn(name: str) -> float:
        turns.append(name)
        return float(len(turns))

    found = await rounds.interleaved(2, {name: lambda name=name: turn(name) for name in "ABC"})  # type: ignore[misc]
    assert "".join(turns) == "ABCABCABC"
    assert found == {"A": [4.0, 7.0], "B": [5.0, 8.0], "C": [6.0, 9.0]}


# Reports and bars -----------------------------------------------------------------------------------------------------------


def reports() -> dict[str, Report]:
    """Make reports on the questions that have a picture, with a name that has to be escaped."""
    three = {"weirpool": [2.0, 4.0, 6.0], ODD: [1.0, 2.0, 3.0], "aiojobs": [4.0, 8.0, 12.0]}
    by_depth = {"1,000": [1.0, 2.0], "1,000,000": [3.0, 6.0]}
    tables = {
        "round_trip": [Table(bars.ROUND_TRIP, "us per job", three, over="weirpool")],
        "flood": [Table(bars.FLOOD, "us per job", three, over="weirpool")],
        "latency": [Table(f"{part} at {load} % load", "us", three) for load in (50, 80) for part in ("p50", "p99")],
        "depth": [Table("weirpool", "us per job", by_depth, under="1,000"), Table(ODD, "us per job", {"1,000": [7.0]})],
        "memory": [Table("queued job", "bytes", {"weirpool": [425.0]})],
        "idle": [Table("idle pool", "wake-ups per second", {"weirpool": [0.0], "aiojobs": [0.0]}, over="weirpool")],
    }
    about = machine()
    return {name: Report(name, "A question?", {"quick": True}, its, {ODD: "why"}, about) for name, its in tables.items()}


def test_what_is_printed_is_what_is_written(tmp_path: Path) -> None:
    report = reports()["round_trip"]
    report.write(tmp_path / "it.json")
    read = Report.read(tmp_path / "it.json")
    assert read == report
    assert read.text() == report.text()
    written = json.loads((tmp_path / "it.json").read_text())["tables"][0]
    assert written["medians"] == {"weirpool": 4.0, ODD: 2.0, "aiojobs": 8.0}
    assert written["ratios"][ODD] == {"low": 2.0, "median": 2.0, "high": 2.0}
    (line,) = (line for line in report.text().splitlines() if line.startswith("  aiojobs"))
    assert line.split() == ["aiojobs", "8.000", "0.500", "0.500", "to", "0.500"]
    assert f"left out: {ODD}: why" in report.text()
    assert described(report.machine) in report.text()


def test_a_ratio_to_nothing_is_left_out() -> None:
    assert reports()["idle"].tables[0].ratios() == {}


def test_bars_are_held_against_the_medians_and_what_was_not_measured_is_not_held() -> None:
    found = {verdict.bar.what: verdict for verdict in bars.judged(bars.BARS, reports())}
    assert found["round trip, against aiojobs"].measured == 0.5
    assert found["round trip, against aiojobs"].word == "held"
    assert found["a queue of 1,000,000, against one of 1,000"].measured == 3.0
    assert found["a queue of 1,000,000, against one of 1,000"].word == "no"
    assert found["bytes per queued job"].measured == 425.0
    assert found["wake-ups of an idle pool, per second"].word == "reached"
    assert found["round trip, against Semaphore + timeout"].word == "not measured"
    assert not found["round trip, against Semaphore + timeout"].held
    table = bars.verdicts(found.values()).splitlines()
    assert len(table) == 1 + len(bars.BARS)
    assert table[0].split() == ["question", "measured", "bar", "reach", "for", "held"]


def test_pictures_are_well_formed_and_escape_names(tmp_path: Path) -> None:
    drawn = pictures.pictures(reports())
    assert set(drawn) == {"ratios.svg", "latency.svg", "depth.svg"}
    for svg in drawn.values():
        root = ET.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert ODD in {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
        assert "@media (prefers-color-scheme: dark)" in svg
        numbers = [float(value) for element in root.iter() for name, value in element.items() if name in {"x", "x1", "x2"}]
        assert all(0 <= number <= plot.WIDTH for number in numbers)


def test_pictures_that_are_not_measured_are_not_drawn() -> None:
    assert pictures.pictures({}) == {}


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (0.3, 0.4), (21.0, 38.0), (9.0, 70_000.0), (1e-3, 1e6)])
def test_scales_are_round_and_hold_the_values(low: float, high: float) -> None:
    scale = plot._scale(low, high)
    assert scale[0] <= low
    assert high <= scale[-1]
    assert 4 <= len(scale) <= 12


# Contestants ----------------------------------------------------------------------------------------------------------------


def installed(skill: str) -> list[Any]:
    """Return those that can do something, those that are missing marked to be skipped."""
    able = Field.of(skill)
    return [
        pytest.param(kind, id=name, marks=[pytest.mark.skip(able.left_out[name])] if name in able.left_out else [])
        for name, kind in CONTESTANTS.items()
        if kind.can(skill) and name != "floor"
    ]


class Gauge:
    """Jobs that know how many of them run at once."""

    def __init__(self) -> None:
        self.running = self.most = self.ran = 0

    async def job(self, number: int) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.01)
        self.running -= 1
        self.ran += 1
        return number


@pytest.mark.parametrize("kind", installed("call"))
@only_once
async def test_every_contestant_gives_results_and_keeps_to_its_workers(kind: type[Contestant]) -> None:
    gauge = Gauge()
    async with kind(workers=3, waiting=20) as contestant:
        assert await asyncio.gather(*(contestant.call(gauge.job, number) for number in range(9))) == [*range(9)]
    assert gauge.most == 3


@pytest.mark.parametrize("deadline", [None, 30.0])
@pytest.mark.parametrize("kind", installed("flood"))
@only_once
async def test_every_contestant_runs_a_batch_and_returns_all_results(kind: type[Contestant], deadline: float | None) -> None:
    gauge = Gauge()
    async with kind(workers=3, waiting=4, deadline=deadline) as contestant:
        assert sorted(await contestant.flood(gauge.job, range(20))) == [*range(20)]
    assert gauge.most == 3


@pytest.mark.parametrize("kind", installed("fire"))
@only_once
async def test_every_contestant_has_run_what_was_dropped_when_it_is_left(kind: type[Contestant]) -> None:
    gauge = Gauge()
    async with kind(workers=3, waiting=20) as contestant:
        await contestant.fire(gauge.job, range(20))
    assert (gauge.ran, gauge.most) == (20, 3)


@pytest.mark.parametrize("kind", installed("abort"))
@pytest.mark.complains
@only_once
async def test_every_contestant_cancels_what_runs_and_what_waits(kind: type[Contestant]) -> None:
    gauge = Gauge()
    async with kind(workers=3, waiting=20) as contestant:
        for number in range(10):
            await contestant.post(gauge.job, number)
        for _ in range(5):
            await asyncio.sleep(0)
        assert gauge.running == 3
        await contestant.abort()
    assert gauge.ran == 0


@pytest.mark.parametrize(("kind", "how"), [
    pytest.param(*param.values, how, id=f"{param.id}-{how}", marks=param.marks)
    for how in ("call", "flood")
    for param in installed(how)
])  # fmt: skip
@pytest.mark.complains
@only_once
async def test_every_contestant_keeps_the_deadline_that_it_is_measured_with(kind: type[Contestant], how: str) -> None:
    stopped: list[int] = []

    async def job(number: int) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            stopped.append(number)

    start = asyncio.get_running_loop().time()
    with pytest.raises((TimeoutError, BaseExceptionGroup)):
        async with kind(workers=3, waiting=20, deadline=0.05) as contestant:
            await (contestant.call(job, 1) if how == "call" else contestant.flood(job, [1]))
    assert stopped == [1]
    assert asyncio.get_running_loop().time() - start < 1


def test_who_is_not_installed_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CONTESTANTS["aiojobs"], "package", "not_to_be_found")
    field = Field.of("call", peers=["aiojobs", "Semaphore"])
    assert field.left_out == {"aiojobs": "not installed"}
    assert list(field.contestants) == ["weirpool", "Semaphore"]


# Scripts --------------------------------------------------------------------------------------------------------------------


class Stalling(Contestant):
    """Blocks the loop when it gets its first job."""

    name = "stalling"
    stalled = False

    def life(self) -> Any:
        return nullcontext()

    async def post(self, fn: Any, *args: Any) -> Any:
        if not self.stalled:
            self.stalled = True
            time.sleep(0.1)
        return asyncio.create_task(fn(*args))


@pytest.mark.realtime
@pytest.mark.complains  # asyncio's debug mode names what takes long
@only_once
async def test_no_latency_is_omitted_when_a_contestant_stalls() -> None:
    import latency

    waited = await latency.waits(Stalling(), [0.0, 0.001, 0.002, 0.3])
    assert [wait > 90_000 for wait in waited] == [True, True, True, False]
    assert latency.arrivals(1000, 1, seed=1) == latency.arrivals(1000, 1, seed=1)
    assert 800 < len(latency.arrivals(1000, 1, seed=1)) < 1200


class Polling(Stalling):
    """Looks after its jobs every few milliseconds."""

    name = "polling"

    async def __aenter__(self) -> Any:
        self.poll = asyncio.create_task(self._poll())
        return self

    async def __aexit__(self, *error: object) -> None:
        self.poll.cancel()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(0.01)

    async def call(self, fn: Any, *args: Any) -> Any:
        return await fn(*args)


@pytest.mark.realtime
@pytest.mark.complains  # asyncio's debug mode names what takes long
@only_once
def test_polling_is_seen_and_idling_is_not() -> None:
    import idle

    assert 20 < idle.measured(Polling, 0.2) <= 200
    assert idle.measured(CONTESTANTS["weirpool"], 0.2) == 0


SCRIPTS = {
    "round_trip": ["--rounds=2", "--calls=400"],
    "budget": ["--rounds=2", "--calls=400"],
    "flood": ["--rounds=2", "--jobs=300"],
    "map": ["--rounds=1", "--items=300", "--endless=2,000", "--peers", "anyio"],
    "map_command": ["--rounds=1", "--items=300", "--many=2000"],
    "batch": ["--rounds=1", "--items=1000"],
    "fire_and_forget": ["--rounds=2", "--jobs=300"],
    "real_io": ["--rounds=1", "--requests=400"],
    "latency": ["--rounds=1", "--seconds=0.02"],
    "depth": ["--rounds=2", "--depths", "1,000", "2,000", "--peers", "Queue workers"],
    "width": ["--rounds=2", "--callers=50", "--widths", "10", "100"],
    "idle": ["--rounds=1", "--seconds=0.05"],
    "memory": ["--rounds=1", "--jobs=1000", "--workers=100", "--peers", "Queue workers"],
    "closing": ["--rounds=1", "--running=10", "--queued", "100"],
    "blocking": ["--rounds=1", "--calls=60"],
    "from_thread": ["--rounds=1", "--calls=100", "--threads=2"],
    "start": ["--rounds=1", "--workers=100", "--peers", "Queue workers"],
}


@pytest.mark.realtime
@only_once
@pytest.mark.parametrize("question", SCRIPTS)
def test_a_script_runs_to_its_end_and_writes_what_it_prints(question: str, tmp_path: Path) -> None:
    if question == "memory" and not Path("/proc/self/statm").exists():
        pytest.skip("reads /proc")
    status, output = run(f"{question}.py", *SCRIPTS[question], "--json", str(tmp_path / "it.json"))
    assert status == 0, output
    report = Report.read(tmp_path / "it.json")
    assert output.startswith(report.text())
    assert report.question == question
    assert report.machine["versions"]["weirpool"]
    assert all(all(len(its) == report.settings["rounds"] for its in table.rounds.values()) for table in report.tables)
    mine = [bar for bar in bars.BARS if bar.question == question]
    assert {bar.table for bar in mine} <= {table.title for table in report.tables}
    assert all(bar.what in output for bar in mine)


@pytest.mark.realtime
@only_once
def test_one_command_reads_what_was_kept_says_which_bars_held_and_draws(tmp_path: Path) -> None:
    for name, report in reports().items():
        report.write(tmp_path / f"{name}.json")
    status, output = run("run.py", "--from", str(tmp_path), "--plots", str(tmp_path / "plots"))
    assert status == 0, output
    assert output.rstrip() == bars.verdicts(bars.judged(bars.BARS, reports()))
    assert {file.name for file in (tmp_path / "plots").iterdir()} == {"ratios.svg", "latency.svg", "depth.svg"}


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("run no_such_question", "there is no question 'no_such_question': choose from round_trip, "),
        ("run --from /no/such/directory", "argument --from: there are no figures in '/no/such/directory'"),
        ("run --from . --quick", "--from measures nothing: it can't be combined with --json, --quick or questions"),
        ("round_trip --rounds=0", "argument --rounds: must be at least 1, got 0"),
        ("latency --seconds=nan", "argument --seconds: must be more than 0, got nan"),
        ("flood --peers nobody", "argument --peers: invalid choice: 'nobody'"),
        ("idle --json /no/such/directory/x", "argument --json: there is no directory '/no/such/directory'"),
        ("guard --rounds=many", "argument --rounds: invalid count value: 'many'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_measured(
    command: str, error: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script, *arguments = command.split()
    module = importlib.import_module(script)
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        module.main() if hasattr(module, "main") else module.COMMAND.main(module.answer)
    assert ended.value.code == 2
    assert error in capsys.readouterr().err


# The guard ------------------------------------------------------------------------------------------------------------------

# In turns of a loop and not in microseconds: what is twice as slow has to be so on a slow machine, too.
SLOW = """
from collections import Counter
from weirpool import WorkerPool

submit, submit_nowait, waiting = WorkerPool.submit, WorkerPool.submit_nowait, Counter()

async def slow(*args, **kwargs):
    for _ in range(4_000):
        pass
    return await submit(*args, **kwargs)

def slow_when_deep(pool, fn, *args, **kwargs):
    waiting[id(pool)] += 1
    async def job(*args):
        waiting[id(pool)] -= 1
        for _ in range(waiting[id(pool)] // 25):
            pass
        return await fn(*args)
    return submit_nowait(pool, job, *args, **kwargs)

WorkerPool.submit, WorkerPool.submit_nowait = slow, slow_when_deep
"""


@pytest.mark.realtime
@only_once
def test_the_guard_measures_and_its_exit_status_is_its_verdict() -> None:
    """How fast it is on this machine, with other tests beside it, is not for a test to judge."""
    status, output = run("guard.py", "--rounds=3")
    rows = [line for bar in bars.GUARD for line in output.splitlines() if line.startswith(bar.what)]
    assert len(rows) == len(bars.GUARD), output
    held = [line.split()[-1] for line in rows]
    assert set(held) <= {"reached", "held", "no"}, output
    assert status == ("no" in held), output


@pytest.mark.realtime
@only_once
def test_the_guard_fails_when_the_pool_gets_slow(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    status, output = run("guard.py", "--rounds=1", plant=tmp_path)
    assert status == 1, output
    *table, last = output.strip().splitlines()[-3:]
    assert last.startswith("a lot slower than it was")
    assert [line.split()[-1] for line in table] == ["no", "no"]


@pytest.mark.parametrize(("slower", "status"), [(1.0, None), (2.0, "a lot slower than it was")])
def test_the_guard_lets_pass_what_is_as_fast_as_it_was(
    slower: float, status: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import guard

    for bar in bars.GUARD:
        assert bar.under is not None
        table = Table(bar.table, "us", {bar.over: [slower * bar.reach], bar.under: [1.0]}, over=bar.over)

        def measure(_: int, table: Table = table) -> Table:
            return table

        monkeypatch.setitem(guard.MEASURES, bar.question, measure)
    monkeypatch.setattr("sys.argv", ["guard.py"])
    monkeypatch.setattr("logging.disable", lambda: None)  # it is not in a process of its own
    if status is None:
        guard.main()
    else:
        with pytest.raises(SystemExit, match=status):
            guard.main()


@pytest.mark.parametrize(("ratios", "held"), [([1.0], True), ([9.0, 1.0], True), ([9.0, 9.0], False)])
def test_the_guard_measures_once_more_and_longer_before_it_fails(
    ratios: list[float], held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import guard

    asked: list[int] = []
    measured = iter(ratios)

    def measure(rounds: int) -> Table:
        asked.append(rounds)
        return Table("t", "us", {"weirpool": [next(measured)], "it": [1.0]}, over="weirpool")

    monkeypatch.setitem(guard.MEASURES, "q", measure)
    assert guard.guarded(bars.Bar("q", "q", "t", "weirpool", "it", 2.0, 1.0), 5).held == held
    assert asked == [5, 10][: len(ratios)]


def test_the_guards_limits_are_beyond_the_bars() -> None:
    limits = {(bar.question, bar.over): bar.limit for bar in bars.BARS if bar.under in ("Semaphore", "1,000")}
    for bar, (question, limit) in itertools.product(bars.GUARD, ((key[0], value) for key, value in limits.items())):
        assert bar.question != question or bar.limit > 1.25 * limit, dataclasses.asdict(bar)
