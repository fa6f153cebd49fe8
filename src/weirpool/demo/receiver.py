"""Whom the events are delivered to: a server that answers as the path says, and writes down what it got.

`/fast/...` answers 200 within some tens of milliseconds, `/slow/...` after a second or two, `/error/...` answers 500, and
`/never/...` does not answer.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from pathlib import Path

from aiohttp import web

from .child import die_with_parent, listen, say
from .journals import Journal, Receipt

__all__ = ["application"]

# Seconds to think, from and to, and the status then.
_MANNERS = {"fast": (0.02, 0.06, 200), "slow": (1.0, 2.0, 200), "error": (0.01, 0.03, 500)}


def application(journal: Journal) -> web.Application:
    """Return the receiver as an aiohttp application."""

    async def take(request: web.Request) -> web.Response:
        event = (await request.json())["id"]
        journal.write(Receipt(event, None))
        manner = request.match_info["manner"]
        if manner == "never":
            await asyncio.Event().wait()
        least, most, status = _MANNERS[manner]
        await asyncio.sleep(random.Random(event).uniform(least, most))  # the same event takes the same time in every run
        journal.write(Receipt(event, status))
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/{manner:fast|slow|error|never}{rest:.*}", take)
    return app


async def serve(journal: Path) -> None:
    """Serve until the process is ended from outside."""
    with Journal(journal) as written, listen() as sock:
        # Who hangs up is not answered, and then no answer is written down.
        runner = web.AppRunner(application(written), access_log=None, handler_cancellation=True)
        await runner.setup()
        await web.SockSite(runner, sock, backlog=1024).start()
        say(ready=f"http://127.0.0.1:{sock.getsockname()[1]}")
        await asyncio.Event().wait()


def main() -> None:
    """Run the receiver's process."""
    parser = argparse.ArgumentParser(prog="python -m weirpool.demo.receiver", description=__doc__)
    parser.add_argument("--journal", type=Path, required=True, help="the file to write down what was received")
    arguments = parser.parse_args()
    die_with_parent()
    asyncio.run(serve(arguments.journal))


if __name__ == "__main__":
    main()
