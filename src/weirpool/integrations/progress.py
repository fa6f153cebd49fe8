"""Progress bars for `pool.map`, of tqdm or rich: `pool.map(fetch, urls, progress=tqdm_progress())`.

In a terminal and in a notebook: both libraries find out by themselves where they are. `pip install 'weirpool[tqdm]'` or
`'weirpool[rich]'`; neither is imported before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress, TaskID

    from weirpool import MapProgress

__all__ = ["rich_progress", "tqdm_progress"]


def tqdm_progress(description: str | None = None, /, **options: Any) -> Callable[[MapProgress], None]:
    """Return a callback for `pool.map(..., progress=)` that shows a bar of tqdm, for one map.

    The bar appears with the first item that is done, and is closed at the end of the map, however that comes. How many items
    have failed stands behind it.

    Args:
        description: what stands before the bar.
        **options: others of `tqdm.tqdm`: `unit="page"`, `leave=False`, for instance.

    Raises:
        ModuleNotFoundError: tqdm is not installed.
    """
    try:
        from tqdm.auto import tqdm  # noqa: PLC0415  # an extra, which few need
    except ModuleNotFoundError:
        raise ModuleNotFoundError("tqdm_progress needs tqdm: pip install 'weirpool[tqdm]'", name="tqdm") from None
    bar: Any = None
    failed = 0

    def show(progress: MapProgress) -> None:
        nonlocal bar, failed
        if bar is None:
            bar = tqdm(**{"desc": description, "total": progress.total, **options})
        if progress.failed != failed:
            failed = progress.failed
            bar.set_postfix(failed=failed, refresh=False)
        bar.update(progress.done - bar.n)
        if progress.ended:
            bar.close()

    return show


def rich_progress(
    description: str = "", /, *, progress: Progress | None = None, **options: Any
) -> Callable[[MapProgress], None]:
    """Return a callback for `pool.map(..., progress=)` that shows a bar of rich, for one map.

    Args:
        description: what stands before the bar.
        progress: the display that the bar is added to, which its owner starts and stops: so several maps have one. None: a
            display of the bar's own, from the first item that is done to the end of the map, however that comes.
        **options: others of `rich.progress.Progress`, for the bar's own display: `transient=True`, for instance.

    Raises:
        ModuleNotFoundError: rich is not installed.
        TypeError: `options` were given beside `progress`, which has them already.
    """
    if progress is not None and options:
        raise TypeError(f"options are for a display of the bar's own, and progress was given: got {', '.join(options)}")
    try:
        from rich.progress import (  # noqa: PLC0415  # an extra, which few need
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )
    except ModuleNotFoundError:
        raise ModuleNotFoundError("rich_progress needs rich: pip install 'weirpool[rich]'", name="rich") from None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}"),
    )
    display = Progress(*columns, **options) if progress is None else progress
    bar: TaskID | None = None

    def show(done: MapProgress) -> None:
        nonlocal bar
        if bar is None:
            if progress is None:
                display.start()
            bar = display.add_task(description, total=done.total, failed="")
        display.update(bar, completed=done.done, failed=f"{done.failed:,} failed" if done.failed else "")
        if done.ended and progress is None:
            display.stop()

    return show
