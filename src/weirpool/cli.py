"""The command line. It owns signals and the terminal; what a command needs is loaded when it is called."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import io
import math
import os
import re
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

__all__ = ["main"]

_EXTRA = ("aiohttp", "fastapi", "rich", "uvicorn")
_BY_SIGNAL = 128  # a command that was ended by a signal returns this and the signal's number, as in a shell


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status.

    0 says that all is well, 1 that it is not, 2 that the command was not given what it needs, 130 that Ctrl-C was pressed.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        if argv[:1] == ["map"]:  # which has a parser of its own
            return _map(argv[1:])
        arguments = _parser().parse_args(argv)
        return int(arguments.command(arguments))
    except KeyboardInterrupt:  # while modules are loaded, or after the event loop; inside it, see _until_done
        return _BY_SIGNAL + signal.SIGINT


# The demo ---------------------------------------------------------------------------------------------------------------


def _demo(arguments: argparse.Namespace) -> int:
    missing = [package for package in _EXTRA if importlib.util.find_spec(package) is None]
    if missing:
        return _complain(f"the demo needs {', '.join(missing)}: pip install 'weirpool[demo]'", 2)
    from .demo.children import ChildError  # noqa: PLC0415
    from .demo.run import run  # noqa: PLC0415
    from .demo.settings import InputError, Settings  # noqa: PLC0415

    options = {name: value for name, value in vars(arguments).items() if name != "command"}
    if arguments.cancel_grace is None:
        options["cancel_grace"] = min(Settings.cancel_grace, arguments.shutdown_timeout)
    elif arguments.cancel_grace > arguments.shutdown_timeout:
        rule = f"must be at most --shutdown-timeout ({arguments.shutdown_timeout:g}), of which it is the last part"
        return _complain(f"argument --cancel-grace: {rule}, got {arguments.cancel_grace:g}", 2)
    status = 0
    try:
        status = _until_done(run(Settings(**options)))
    except* InputError as errors:
        status = _complain(errors.exceptions[0], 2)
    except* ChildError as errors:
        status = _complain(errors.exceptions[0], 1)
    except* BrokenPipeError:
        status = _unread()
    return status


def _complain(message: object, status: int, command: str = "demo") -> int:
    print(f"weirpool {command}: {message}", file=sys.stderr)  # noqa: T201
    return status


def _unread() -> int:
    """Whoever read the output has gone, `head` for instance. Python will flush it once more on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _BY_SIGNAL + signal.SIGPIPE


def _until_done(main: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine to its end. The first SIGINT or SIGTERM cancels it; more of them do not disturb its cleaning up."""

    async def guarded() -> int:
        loop, task, caught = asyncio.get_running_loop(), asyncio.current_task(), list[int]()
        assert task is not None

        def stop(number: int) -> None:
            if not caught:
                task.cancel()
            caught.append(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        try:
            return await main
        except asyncio.CancelledError:
            if not caught:
                raise
            return _complain("interrupted; nothing is left running", _BY_SIGNAL + caught[0])

    return asyncio.run(guarded())


# The view of pools elsewhere --------------------------------------------------------------------------------------------


def _top(arguments: argparse.Namespace) -> int:
    if importlib.util.find_spec("rich") is None:
        return _complain("it needs rich: pip install 'weirpool[top]'", 2, "top")
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        return _show(arguments)
    except KeyboardInterrupt:
        if arguments.once:
            raise
        _leave_sockets()
        return 0  # it is how one leaves
    except BrokenPipeError:
        return _unread()
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, _frame: object) -> None:
    _leave_sockets()
    raise SystemExit(_BY_SIGNAL + number)  # by way of all that puts the terminal back as it was


def _leave_sockets() -> None:
    """Say nothing of the socket of a request that a signal cuts short: it is closed by the end of the process."""
    warnings.simplefilter("ignore", ResourceWarning)


def _show(arguments: argparse.Namespace) -> int:
    from rich.console import Console  # noqa: PLC0415

    from .top.drawing import Scene  # noqa: PLC0415
    from .top.page import PageError, ask  # noqa: PLC0415
    from .top.watch import PlainView, view, watch  # noqa: PLC0415

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a job's name may have letters that the terminal has not
    url, headers, console = arguments.url, dict(arguments.header), Console(highlight=False)
    if arguments.once:
        try:
            page = ask(url, headers, arguments.timeout)
        except PageError as error:
            return _complain(f"{url}: {error}", 1, "top")
        PlainView(console).show(Scene(f"weirpool top: {url}", page, [{}] * len(page.pools)))
        return 0
    with view(console) as shown:
        watch(lambda: ask(url, headers, arguments.timeout), shown, url, arguments.interval)
    return 0


# The function that is called with each line of a file -----------------------------------------------------------------------


def _map(argv: Sequence[str]) -> int:
    missing = [package for package in ("cyclopts", "tenacity", "aiolimiter") if importlib.util.find_spec(package) is None]
    if missing:
        return _complain(f"it needs {', '.join(missing)}: pip install 'weirpool[cli]'", 2, "map")
    from .mapping.command import main as run  # noqa: PLC0415

    return run(argv)


# The options ------------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="weirpool", description="The worker pool for asyncio services.")
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_demo(commands.add_parser("demo", help="watch a pool under load, and how it goes at SIGTERM", description=_DEMO))
    _add_top(
        commands.add_parser(
            "top",
            help="watch the pools of another process, live",
            description=_TOP,
            epilog=_TOP_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    commands.add_parser("map", help="call a function with each line of a file", add_help=False)
    return parser


_DEMO = """Deliver webhooks through a pool: a FastAPI service takes events and delivers them to a receiver that is fast, slow,
failing or silent; a client sends it more than it can hold; SIGTERM comes in the middle of that. Then the journals of all
three are compared: every event that was accepted must have been delivered, or have failed for a reason, exactly once. Exit
status: 0 if it all adds up, 1 if not (the offending events are named), 2 for bad input, 130 for Ctrl-C."""


def _add(group: Any, option: str, metavar: str, type: Callable[[str], object], help: str) -> None:  # noqa: A002
    group.add_argument(option, metavar=metavar, type=type, help=f"{help} (default: %(default)s)")


def _add_demo(parser: argparse.ArgumentParser) -> None:
    from .demo.settings import Settings  # noqa: PLC0415

    parser.set_defaults(**vars(Settings()) | {"command": _demo, "cancel_grace": None})
    load = parser.add_argument_group("the load")
    service = parser.add_argument_group("the service and its pool")
    output = parser.add_argument_group("what to see of it")

    load.add_argument(
        "--events",
        metavar="FILE",
        type=Path,
        help="the events to send: one JSON object per line, with id, type, created, tenant, path and data; path begins with "
        "/fast, /slow, /error or /never, which is how the receiver answers (default: the sample in the package)",
    )
    _add(load, "--concurrency", "N", _whole(1, 400), "how many events the client has under way at once")
    _add(load, "--retries", "N", _whole(0, 1000), "how often the client sends an event again that was answered 503")
    _add(load, "--sigterm-after", "FRACTION", _number(0, 1), "send SIGTERM when this part of the events is dealt with")
    _add(service, "--workers", "N", _whole(1, 400), "how many deliveries run at once: max_workers")
    _add(service, "--queue-size", "N", _whole(0, 1_000_000), "how many more may wait: queue_size")
    _add(service, "--submit-timeout", "SECONDS", _number(0, 10), "how long a POST waits for room before it is answered 503")
    _add(service, "--job-timeout", "SECONDS", _number(0.01, 3600), "how long one delivery may take")
    _add(service, "--shutdown-timeout", "SECONDS", _number(0, 3600), "how long the pool may take to close")
    service.add_argument(
        "--cancel-grace",
        metavar="SECONDS",
        type=_number(0, 3600),
        help="the last part of that, kept for what is cancelled to end "
        f"(default: {Settings.cancel_grace}, or all of --shutdown-timeout if that is less)",
    )
    output.add_argument("--plain", action="store_true", help="print lines, even on a terminal (default: only elsewhere)")
    output.add_argument(
        "--journals",
        metavar="DIR",
        type=Path,
        help="keep the three journals and the logs in this directory, which must be empty or not exist (default: a temporary "
        "one, removed in the end)",
    )


_TOP = """Watch the pools of another process, as `top` does processes: how many workers are busy, how full the queue is, how
much a second ends, fails and is refused, how long jobs wait and run; and below that strays, the jobs that have been running
longest with the lines they are at, and failures by type. The other process must serve weirpool's status page. What can't be
read is shown, and asked again. Leave with q or Ctrl-C; without a terminal, snapshots are printed one after the other.

A pool is in trouble when its queue is full, when all of its workers are busy and its jobs wait longer and longer, and when a
job has been running for longer than any should. Exit status: 0; with --once 1 if there was no answer or a wrong one; 2 for
bad input."""

_TOP_EXAMPLES = """examples:
  weirpool top http://localhost:8000/weirpool
  weirpool top https://mail.example.com/weirpool --header "Authorization: Bearer $TOKEN" --interval 5
  weirpool top http://localhost:8000/weirpool --once | grep queue"""


def _add_top(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_top, interval=1, timeout=5)
    parser.add_argument("url", metavar="URL", type=_url, help="the address of the status page, http or https")
    seconds = _number(0.1, 3600)
    _add(parser, "--interval", "SECONDS", seconds, "how long to wait from one question to the next; rates are over this time")
    parser.add_argument("--once", action="store_true", help="print one snapshot, without rates, and exit (default: go on)")
    parser.add_argument(
        "--header",
        metavar="'NAME: VALUE'",
        type=_header,
        action="append",
        default=[],
        help="send this header, too, to be let in; may be given several times, and is sent to no other host (default: none)",
    )
    _add(parser, "--timeout", "SECONDS", seconds, "how long to wait for a connection, and then for the answer")


def _url(text: str) -> str:
    """Parse the address of a page."""
    try:
        parts = urlsplit(text)
        fine = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and parts.username is None
    except ValueError:  # a port that is none, or half an IPv6 address
        fine = False
    if not fine or not re.fullmatch("[!-~]+", text):
        rule = "an http:// or https:// address, without a user's name (use --header), a space or other than ASCII characters"
        raise argparse.ArgumentTypeError(f"must be {rule}, got {text!r:.80}")
    return text


def _header(text: str) -> tuple[str, str]:
    """Parse a header, which must fit into one line of a request."""
    name, _, value = text.partition(":")
    if not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII) or not re.fullmatch("[ -~]+", value):
        raise argparse.ArgumentTypeError(f"must be 'NAME: VALUE' in printable ASCII characters, got {text!r:.80}")
    return name, value.strip()


def _whole(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least:,} to {most:,}, got {text!r:.80}")
        return value

    return parse


def _number(least: float, most: float) -> Callable[[str], float]:
    """Return a parser of numbers from `least` to `most`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:  # NaN is in no range
            raise argparse.ArgumentTypeError(f"must be a number from {least:,} to {most:,}, got {text!r:.80}")
        return value

    return parse
