"""The conductor: starts the processes, has the events sent, sends SIGTERM in the middle of it, and draws up the account."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .audit import audit, text
from .children import Child
from .client import Client
from .events import SAMPLE, Event, load
from .journals import CLIENT, POOL, RECEIVER, Journal
from .settings import InputError, Settings
from .view import LiveView, PlainView, View

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["run"]

# What the service may take on top of the pool's shutdown_timeout, in seconds: uvicorn for its connections, Python to exit.
_MARGIN = 3.0


@dataclass(frozen=True, slots=True)
class Shutdown:
    """How the service went: seconds from SIGTERM to its end, or that it had to be killed."""

    seconds: float
    in_time: bool


async def run(settings: Settings) -> int:
    """Run the demo; return 0 if the account adds up and the service ended in its bound, else 1.

    However this ends, by cancellation too, the processes it started have ended before it does.

    Raises:
        InputError: the events or the directory for the journals are not what they must be.
        ChildError: a process did not come up.
    """
    events = load(settings.events or SAMPLE)
    with _directory(settings.journals) as journals:
        terminal = not settings.plain and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        view = LiveView(len(events)) if terminal else PlainView(len(events))
        with view:
            shutdown = await _perform(settings, events, journals, view)
        account = audit(journals)
    fine = shutdown.in_time and not account.offences
    view.finish(text(account, *_remarks(settings, shutdown)), fine)
    return 0 if fine else 1


@contextlib.contextmanager
def _directory(wanted: Path | None) -> Iterator[Path]:
    """Make the directory for the journals; remove it in the end if nobody asked for it."""
    if wanted is None:
        with tempfile.TemporaryDirectory(prefix="weirpool-demo-") as directory:
            yield Path(directory)
        return
    rule = "--journals must be a directory that is empty or can be made"
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        found = next(wanted.iterdir(), None)
    except OSError as error:
        raise InputError(f"{rule}, got {str(wanted)!r}: {error.strerror}") from error
    if found is not None:
        raise InputError(f"{rule}, got {str(wanted)!r}: it has {found.name!r} in it")
    yield wanted


async def _perform(settings: Settings, events: Sequence[Event], journals: Path, view: View) -> Shutdown:
    """Let the three act: receiver, service, client."""
    view.enter("starting the receiver and the service")
    with Journal(journals / CLIENT) as journal:  # outside of the tasks that write to it, which end last when interrupted
        async with (
            _receiver(journals) as receiver,
            _service(settings, await receiver.ready(), journals) as service,
            asyncio.TaskGroup() as tasks,
        ):
            client = Client(await service.ready(), journal, retries=settings.retries)
            watching = tasks.create_task(_watch(service, client, view))
            goal = math.ceil(len(events) * settings.sigterm_after)
            view.enter(f"under load, {settings.concurrency:,} at once; SIGTERM after {goal:,} of {len(events):,} events")
            sending = tasks.create_task(client.run(events, settings.concurrency))
            await client.wait_answered(goal)
            view.enter("SIGTERM sent: intake closed, the pool finishes what it accepted")
            shutdown = await _shut_down(service, settings)
            client.hurry()
            view.enter("the service has ended; the client finds nobody there")
            await sending
            stats = await watching
            view.enter("done")
            if stats:
                view.update(stats, client.answered)
    return shutdown


async def _shut_down(service: Child, settings: Settings) -> Shutdown:
    clock = asyncio.get_running_loop().time
    began = clock()
    service.terminate()
    in_time = await service.ended(settings.shutdown_timeout + _MARGIN)
    if not in_time:
        service.kill()
    return Shutdown(clock() - began, in_time)


async def _watch(service: Child, client: Client, view: View) -> dict[str, Any]:
    """Show what the service tells, until it ends; return the last of it."""
    stats: dict[str, Any] = {}
    async for message in service.messages():
        stats = message.get("stats", stats)
        view.update(stats, client.answered)
    return stats


def _receiver(journals: Path) -> Child:
    return Child("weirpool.demo.receiver", f"--journal={journals / RECEIVER}", log=journals / "receiver.log")


def _service(settings: Settings, receiver: str, journals: Path) -> Child:
    return Child(
        "weirpool.demo.service",
        f"--receiver={receiver}",
        f"--journal={journals / POOL}",
        f"--workers={settings.workers}",
        f"--queue-size={settings.queue_size}",
        f"--submit-timeout={settings.submit_timeout}",
        f"--job-timeout={settings.job_timeout}",
        f"--shutdown-timeout={settings.shutdown_timeout}",
        f"--cancel-grace={settings.cancel_grace}",
        log=journals / "service.log",
    )


def _remarks(settings: Settings, shutdown: Shutdown) -> Iterator[str]:
    """Say what the journals do not know: how long the service took to go, and where the journals are."""
    bound = f"the pool's bound is {settings.shutdown_timeout:g} s"
    if shutdown.in_time:
        yield f"the service ended {shutdown.seconds:.1f} s after SIGTERM; {bound}"
    else:
        yield f"THE SERVICE HAD TO BE KILLED, {shutdown.seconds:.1f} s after SIGTERM; {bound}"
    if settings.journals is not None:
        yield f"the journals are in {settings.journals}"
