"""The other side: real HTTP over real sockets, and every answer written down."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

POSTERS, WAITERS = 6, 4
PATIENCE = 30.0


@dataclass(frozen=True)
class Answer:
    """How a request ended.

    Attributes:
        number: of the job that was asked for.
        what: whether it was to be submitted, or waited for.
        status: the answer's; None if there was none.
        note: what happened instead.
    """

    number: int
    what: Literal["submit", "wait"]
    status: int | None
    note: str = ""


@dataclass
class Client:
    """Ask for jobs, for as long as there is somebody to answer.

    Attributes:
        url: whom to ask.
        spread: whether to keep no connection, so that requests go to each process of the service.
        answers: all of them.
    """

    url: str
    spread: bool = False
    answers: list[Answer] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _asking: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        patience = aiohttp.ClientTimeout(PATIENCE)
        self._kept = aiohttp.ClientSession(self.url, timeout=patience)
        self._fresh = aiohttp.ClientSession(self.url, timeout=patience, connector=aiohttp.TCPConnector(force_close=True))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        await self._kept.close()
        await self._fresh.close()

    def begin(self, *numbers: int) -> None:
        """Wait for certain jobs, and keep asking for others: some on connections that are kept, some on new ones."""
        self._asking += [asyncio.create_task(self._once(number)) for number in numbers]
        self._asking += [asyncio.create_task(self._keep_on(self.submit)) for _ in range(POSTERS)]
        self._asking += [asyncio.create_task(self._keep_on(self.wait)) for _ in range(WAITERS)]

    async def reach(self, workers: int, state: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until so many processes have been seen in a state."""
        seen: set[int] = set()
        while len(seen) < workers:
            with contextlib.suppress(aiohttp.ClientConnectorError):  # it is not up yet
                async with self._fresh.get("/account") as response:
                    account = await response.json()
                if state(account):
                    seen.add(account["pid"])
            await asyncio.sleep(0.01)

    async def end(self) -> None:
        """Wait until there is nobody left to ask."""
        await asyncio.gather(*self._asking)

    async def submit(self, number: int) -> bool:
        session = self._fresh if self.spread else self._kept
        return await self._ask(number, "submit", session.post(f"/jobs/{number}"))

    async def wait(self, number: int) -> bool:
        return await self._ask(number, "wait", self._fresh.post(f"/wait/{number}"))

    async def _once(self, number: int) -> None:
        await self.wait(number)

    async def _keep_on(self, ask: Callable[[int], Awaitable[bool]]) -> None:
        while await ask(next(self._numbers)):
            await asyncio.sleep(0.005)

    async def _ask(self, number: int, what: Literal["submit", "wait"], request: Any) -> bool:
        """Ask, write down the answer, and say whether there may be somebody to ask again."""
        try:
            async with request as response:
                await response.read()
            self.answers.append(Answer(number, what, response.status))
        except aiohttp.ClientConnectorError:
            self.answers.append(Answer(number, what, None, "never sent"))
            return False
        except (aiohttp.ClientError, TimeoutError) as error:
            self.answers.append(Answer(number, what, None, f"{type(error).__name__}: {error}"))
        return True
