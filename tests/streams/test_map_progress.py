"""`pool.map(..., progress=)` is told of each item, in time, and can hurt nobody; the bars of tqdm and rich."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from typing import Any

import pytest

from tests.streams.test_map import numbers, odd
from tests.support import FOREVER, Gate, echo, sleep, turns
from weirpool import MapProgress, WorkerPool
from weirpool.integrations.progress import rich_progress, tqdm_progress


async def told_of(items: Any, **options: Any) -> list[MapProgress]:
    """Return what is told of a map."""
    told: list[MapProgress] = []
    async with WorkerPool(max_workers=1) as pool:
        async for _ in pool.map(odd, items, progress=told.append, **options):
            pass
    return told


async def test_it_is_told_of_each_item_and_of_the_end() -> None:
    told = await told_of(range(4), on_error="skip")
    assert [(each.done, each.failed, each.skipped, each.ended) for each in told] == [
        (1, 0, 0, False),
        (2, 1, 1, False),
        (3, 1, 1, False),
        (4, 2, 2, False),
        (4, 2, 2, True),
    ]


async def test_what_fails_and_is_returned_is_not_skipped() -> None:
    told = await told_of(range(2), on_error="return")
    assert [(each.done, each.failed, each.skipped) for each in told] == [(1, 0, 0), (2, 1, 0), (2, 1, 0)]


@pytest.mark.parametrize(
    ("items", "options", "total"),
    [
        ([2, 4], {}, 2),
        ([2, 4], {"total": 7}, 7),
        (iter([2, 4]), {}, None),
        (iter([2, 4]), {"total": 0}, 0),
        (numbers(1), {"total": 1}, 1),
    ],
)
async def test_the_total_is_what_is_said_or_the_length_of_the_items(items: Any, options: Any, total: int | None) -> None:
    assert {each.total for each in await told_of(items, **options)} == {total}


@pytest.mark.virtual  # for rates that are exact
async def test_the_rate_and_the_time_to_go_are_of_the_time_since_the_first_item() -> None:
    told: list[MapProgress] = []
    async with WorkerPool(max_workers=1) as pool:
        results = pool.map(sleep, [0.1, 0.1, 0.2, 0.1], progress=told.append)
        await asyncio.sleep(0.1)  # before anybody asks for the first
        assert [result async for result in results] == [None] * 4
    assert [round(each.rate) for each in told] == [10, 10, 8, 8, 8]
    assert [round(each.eta or 0, 1) for each in told] == [0.3, 0.2, 0.1, 0.0, 0.0]


async def test_nothing_is_known_of_the_time_to_go_without_a_total_or_at_the_beginning() -> None:
    assert {each.eta for each in await told_of(iter([2]))} == {None}
    first = (await told_of([2]))[0]
    assert first.rate >= 0


async def test_it_is_told_while_a_slow_item_holds_up_the_results() -> None:
    gate = Gate()
    told: list[MapProgress] = []
    async with WorkerPool(max_workers=5) as pool:
        results = pool.map(lambda n: gate() if n == 0 else echo(n), range(4), progress=told.append)
        taking = asyncio.ensure_future(anext(results))
        await turns(10)
        assert [each.done for each in told] == [1, 2, 3]
        gate.open()
        await taking
        assert told[-1].done == 4
        assert not told[-1].ended
        await results.aclose()
        assert told[-1].ended


async def test_it_is_told_of_an_item_before_its_result_is_there() -> None:
    told: list[MapProgress] = []
    async with WorkerPool(max_workers=3) as pool:
        count = 0
        async for _ in pool.map(echo, range(50), progress=told.append):
            count += 1
            assert told[-1].done >= count


async def test_what_is_cancelled_as_the_loop_is_left_is_not_done() -> None:
    told: list[MapProgress] = []
    async with WorkerPool(max_workers=3) as pool:
        async for _ in pool.map(lambda n: sleep(FOREVER if n else 0), range(50), progress=told.append):
            break
        await turns(10)
    assert [(each.done, each.ended) for each in told] == [(1, False), (1, True)]


@pytest.mark.complains
async def test_one_that_raises_is_dropped_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    calls = 0

    def raising(_: MapProgress) -> None:
        nonlocal calls
        calls += 1
        raise LookupError("bar")

    async with WorkerPool() as pool:
        assert [result async for result in pool.map(echo, range(5), progress=raising)] == [*range(5)]
    assert calls == 1
    [record] = [record for record in caplog.records if record.name == "weirpool.map"]
    assert record.getMessage() == "the progress callback of a map of pool 'pool' raised and is dropped"
    assert record.exc_info is not None


@pytest.mark.complains
@pytest.mark.realtime
def test_an_interrupt_in_one_stops_the_program_and_no_job() -> None:
    def interrupting(_: MapProgress) -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        async with WorkerPool() as pool:
            async for _ in pool.map(echo, range(5), progress=interrupting):
                pass
            await asyncio.sleep(FOREVER)

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())


# Bars -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave", ["at the end", "early"])
async def test_tqdm_shows_a_bar_and_closes_it(leave: str) -> None:
    out = io.StringIO()
    async with WorkerPool(max_workers=2) as pool:
        show = tqdm_progress("pages", file=out, ascii=True, ncols=80, mininterval=0, unit="page")
        async for result in pool.map(odd, range(20), on_error="skip", progress=show):
            if leave == "early" and result == 4:
                break
        await turns(10)
    last = out.getvalue().rstrip("\n").rpartition("\r")[2]
    assert last.startswith("pages: ")
    assert out.getvalue().endswith("\n")  # it is closed
    if leave == "at the end":
        assert "20/20" in last
        assert "failed=10" in last
    else:
        assert "/20" in last


async def test_tqdm_without_a_total_counts() -> None:
    out = io.StringIO()
    async with WorkerPool() as pool:
        async for _ in pool.map(echo, iter(range(7)), progress=tqdm_progress(file=out, ascii=True, mininterval=0)):
            pass
    assert "7it [" in out.getvalue()


async def test_rich_shows_a_bar_and_stops_its_display() -> None:
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system=None)
    async with WorkerPool(max_workers=2) as pool:
        show = rich_progress("pages", console=console, auto_refresh=False)
        async for _ in pool.map(odd, range(20), on_error="skip", progress=show):
            pass
    assert "pages" in out.getvalue()
    assert "20/20" in out.getvalue()
    assert "10 failed" in out.getvalue()
    assert out.getvalue().rstrip("\n").endswith("\x1b[?25h")  # the cursor is back


async def test_several_maps_share_a_display_of_richs() -> None:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=io.StringIO()), auto_refresh=False) as display:
        async with WorkerPool() as pool:
            for name in ("pages", "pictures"):
                async for _ in pool.map(echo, range(3), progress=rich_progress(name, progress=display)):
                    pass
        assert [(task.description, task.completed, task.total) for task in display.tasks] == [
            ("pages", 3, 3),
            ("pictures", 3, 3),
        ]
        assert not display.finished or display.live.is_started
        with pytest.raises(TypeError, match="options are for a display of the bar's own"):
            rich_progress("x", progress=display, transient=True)


@pytest.fixture(params=["tqdm", "rich"])
def missing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in [name for name in sys.modules if name.partition(".")[0] == request.param]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, request.param, None)
    return str(request.param)


async def test_what_is_missing_is_named_with_the_command_that_brings_it(missing: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=rf"{missing}_progress needs {missing}: pip install 'weirpool\[{missing}\]'"):
        {"tqdm": tqdm_progress, "rich": rich_progress}[missing]()


@pytest.mark.realtime
def test_neither_is_imported_before_it_is_asked_for() -> None:
    script = "import sys, weirpool.integrations.progress; assert not {'tqdm', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
