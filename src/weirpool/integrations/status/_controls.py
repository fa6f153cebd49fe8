"""The buttons of the page: what may ask for them, and what they do."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from weirpool import PoolClosed

from ._numbers import MOST_JOBS, key_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from weirpool import WorkerPool

__all__ = ["ACTIONS", "LONGEST_BODY", "Refused", "act", "check_origin"]

LONGEST_BODY = 10_000  # bytes
_PATIENCE = 0.2  # seconds


class Refused(Exception):
    """What was asked for is not done.

    Args:
        status: of the HTTP response.
        why: a sentence for whoever asked.
    """

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def check_origin(headers: Mapping[str, str]) -> None:
    """Refuse a request that another site may have made the browser send, with the cookies of whoever sits there.

    No form can send such a header or such a type, and a script of another site only after it has asked this one, which does
    not answer that. Browsers also say where a request is from (OWASP's "Cross-Site Request Forgery Prevention": custom request
    headers, fetch metadata, and the origin where there is no such metadata).

    Raises:
        Refused: it may be forged.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if headers.get("x-weirpool") != "1" or kind != "application/json":
        raise Refused(403, "an action needs the headers X-Weirpool: 1 and Content-Type: application/json")
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    here = {None, f"http://{headers.get('host')}", f"https://{headers.get('host')}"}
    if origin not in here if site is None else site != "same-origin":
        raise Refused(403, "an action must come from the page itself")


async def act(action: str, body: bytes, pools: Sequence[WorkerPool]) -> str:
    """Do what a button says; return a sentence that says what was done.

    Raises:
        Refused: the request makes no sense, or not any more.
    """
    wanted = _parsed(body)
    pool = _pool(wanted, pools)
    try:
        return await ACTIONS[action](pool, wanted)
    except PoolClosed as error:
        raise Refused(409, str(error)) from error
    except (RuntimeError, TypeError, ValueError) as error:
        raise Refused(400, str(error)) from error


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        wanted = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "the body must be JSON") from error
    if not isinstance(wanted, dict):
        raise Refused(400, "the body must be a JSON object")
    return wanted


def _pool(wanted: dict[str, Any], pools: Sequence[WorkerPool]) -> WorkerPool:
    for pool in pools:
        if key_of(pool) == wanted.get("pool"):
            return pool
    raise Refused(409, "there is no such pool (any more): pool must be the key that is in the JSON")


async def _pause(pool: WorkerPool, _: dict[str, Any]) -> str:
    pool.pause()
    return f"{pool.name} is paused"


async def _resume(pool: WorkerPool, _: dict[str, Any]) -> str:
    pool.resume()
    return f"{pool.name} goes on"


async def _resize(pool: WorkerPool, wanted: dict[str, Any]) -> str:
    # The change is made at once; that it waits for surplus jobs to end is not what a page should wait for.
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            await pool.resize(min_workers=wanted.get("min_workers"), max_workers=wanted.get("max_workers"))
    stats = pool.stats()
    return f"{pool.name} has {stats.min_workers} to {stats.max_workers} workers"


async def _cancel(pool: WorkerPool, wanted: dict[str, Any]) -> str:
    number = wanted.get("id")
    for job in pool.running(MOST_JOBS):  # those that are shown: among the oldest a job stays until it ends
        if type(number) is int and job.id == number and job.ending is None and job.handle.cancel():
            return f"{job.name} is being cancelled"
    raise Refused(409, "no such job is running any more, or it is being ended already")


ACTIONS = {"pause": _pause, "resume": _resume, "resize": _resize, "cancel": _cancel}
