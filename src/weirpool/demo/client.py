"""Who sends the events: so many at once, over real sockets, and writes down every answer.

It does what a sender of webhooks does. A 503 is no end: it waits for as long as Retry-After asks, and up to half of that
more, so that those who were refused together do not come back together; after some retries it gives up. A refused
connection is an end: nothing was sent. A connection that dies before the answer is one too, and the bad one: the event may
have been accepted, so sending it again might deliver it twice.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import aiohttp

from .journals import Answer, Journal, Load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .events import Event

__all__ = ["Client"]

_PATIENCE = 30.0  # seconds for an answer
_HEADERS = {"Content-Type": "application/json"}


class Client:
    """Send events to a service.

    Attributes:
        answered: how many events have come to their end here, whichever way.
    """

    def __init__(self, url: str, journal: Journal, *, retries: int) -> None:
        self.answered: int = 0
        self._url = f"{url}/events"
        self._journal = journal
        self._retries = retries
        self._goal = 0
        self._reached = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self, events: Sequence[Event], concurrency: int) -> None:
        """Send all events, so many at once."""
        self._journal.write(Load(len(events)))
        rest = iter(events)
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=_PATIENCE)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, asyncio.TaskGroup() as senders:
            for _ in range(concurrency):
                senders.create_task(self._send_each(session, rest))

    async def wait_answered(self, goal: int) -> None:
        """Wait until so many events have come to their end here."""
        self._goal = goal
        self._reached.clear()
        self._check_goal()
        await self._reached.wait()

    def hurry(self) -> None:
        """Wait no longer before retries: whoever asked for that is gone."""
        self._hurry.set()

    async def _send_each(self, session: aiohttp.ClientSession, events: Iterator[Event]) -> None:
        for event in events:  # all senders take from the same iterator
            await self._send(session, event)
            self.answered += 1
            self._check_goal()

    def _check_goal(self) -> None:
        if self.answered >= self._goal:
            self._reached.set()

    async def _send(self, session: aiohttp.ClientSession, event: Event) -> None:
        for attempt in range(1, self._retries + 2):
            answer = await self._attempt(session, event, attempt)
            self._journal.write(answer)
            if answer.retry_after is None or attempt > self._retries:
                return
            await self._wait(answer.retry_after)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds * random.uniform(1.0, 1.5)):
                await self._hurry.wait()
        except TimeoutError:
            pass

    async def _attempt(self, session: aiohttp.ClientSession, event: Event, attempt: int) -> Answer:
        """Send an event once; return what there is to write down about it."""
        try:
            async with session.post(self._url, data=event.model_dump_json(), headers=_HEADERS) as response:
                match response.status:
                    case 202:
                        return Answer(event.id, attempt, 202, job=(await response.json())["id"])
                    case 503:
                        retry_after = int(response.headers["Retry-After"])
                        reason = (await response.json())["reason"]
                        return Answer(event.id, attempt, 503, retry_after=retry_after, note=reason)
                    case status:
                        return Answer(event.id, attempt, status, note=f"HTTP {status} {response.reason}")
        except aiohttp.ClientConnectorError:
            return Answer(event.id, attempt, None, sent=False, note="connection refused")
        except (aiohttp.ClientError, TimeoutError) as error:
            return Answer(event.id, attempt, None, note=f"{type(error).__name__}: {error}")
