"""What a status page answers: how it is asked for, and what it must be. All texts in it come from elsewhere: see `_short`."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, NoReturn
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from .._plain import plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http.client import HTTPMessage, HTTPResponse
    from typing import IO

__all__ = ["COUNTS", "Failure", "Job", "Page", "PageError", "Percentiles", "Pool", "Stray", "ask", "read"]

COUNTS = (
    *("min_workers", "max_workers", "workers", "queue_size", "queued", "running", "lending", "retrying", "waiting", "strays"),
    *("accepted", "succeeded", "failed", "timed_out", "cancelled", "abandoned", "coalesced"),
)
_LARGEST = 16 * 2**20  # bytes; a hundred pools with a hundred jobs each are less
_LONGEST = 300  # characters of a text


class PageError(Exception):
    """There was no answer, or not the answer of a status page; says why, in one line."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """How long something took: half, nine in ten and ninety-nine in a hundred of `count` jobs no longer, in seconds."""

    count: int
    p50: float
    p90: float
    p99: float


@dataclass(frozen=True, slots=True)
class Job:
    """A running job. Times are in seconds; `where` is the line it is at, or "" if that is unknown."""

    name: str
    running_for: float
    time_left: float | None
    lending: bool
    ending: str | None
    where: str


@dataclass(frozen=True, slots=True)
class Stray:
    """An abandoned job that has not ended, why it was to end, and for how many seconds it has been running."""

    name: str
    reason: str
    running_for: float
    where: str


@dataclass(frozen=True, slots=True)
class Failure:
    """How often jobs have failed with a type of exception; the latest: how many seconds ago, which job, what it said."""

    type: str
    count: int
    seconds_ago: float
    job: str
    said: str


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool. `counts` has a number for each of COUNTS; `refused` one per reason."""

    name: str
    state: str
    paused: bool
    counts: Mapping[str, int]
    refused: Mapping[str, int]
    time_in_queue: Percentiles | None
    run_time: Percentiles | None
    jobs: tuple[Job, ...]
    strays: tuple[Stray, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """An answer: the pools at one moment, in Unix seconds."""

    at: float
    pools: tuple[Pool, ...]


# Asking -----------------------------------------------------------------------------------------------------------------


def ask(url: str, headers: Mapping[str, str], timeout: float) -> Page:
    """Ask a status page once.

    Args:
        url: its address, http or https.
        headers: what else to send, for authentication.
        timeout: how long to wait for a connection, and for each part of the answer, in seconds; the body must be here by then.

    Returns:
        What it answered.

    Raises:
        PageError: there was no answer in time, or it was an error, or is none that a status page gives.
    """
    sent = {"Accept": "application/json", "User-Agent": "weirpool-top", **headers}
    asked = request.Request(url, headers=sent)  # noqa: S310  # _opener knows http and https only
    try:
        with _opener().open(asked, timeout=timeout) as answer:
            body = _body(answer, timeout)
    except HTTPError as error:
        with error:
            raise PageError(_short(f"the answer is {error.code} {error.reason}")) from None
    except TimeoutError:
        raise PageError(f"no answer within {timeout:g} s") from None
    except URLError as error:
        late = isinstance(error.reason, TimeoutError)
        raise PageError(f"no answer within {timeout:g} s" if late else f"no connection: {_says(error.reason)}") from None
    except (OSError, HTTPException, ValueError) as error:  # ValueError: a redirection to an address that is none
        raise PageError(f"no proper answer: {_says(error)}") from None
    return read(body)


def _says(error: object) -> str:
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return _short(text or type(error).__name__)


def _opener() -> request.OpenerDirector:
    """Return an opener that knows http and https, and nothing else that a redirection could lead to."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler,
        request.HTTPHandler,
        request.HTTPSHandler,
        request.HTTPDefaultErrorHandler,
        request.HTTPErrorProcessor,
        request.UnknownHandler,
        _Redirects,
    ):
        opener.add_handler(handler())
    return opener


class _Redirects(request.HTTPRedirectHandler):
    """Follow redirections, but take the caller's headers, which may be secret, to no other host, port or scheme."""

    def redirect_request(
        self, req: request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> request.Request | None:
        again = super().redirect_request(req, fp, code, msg, headers, newurl)
        if again is not None and urlsplit(req.full_url)[:2] != urlsplit(newurl)[:2]:
            again.headers = {name: again.headers[name] for name in ("Accept", "User-agent")}
        return again


def _body(answer: HTTPResponse, timeout: float) -> bytes:
    body, end = bytearray(), time.monotonic() + timeout
    while part := answer.read1(2**16):
        body += part
        if len(body) > _LARGEST:
            raise PageError(f"the answer is no status page: more than {_LARGEST // 2**20} MiB")
        if time.monotonic() > end:  # the socket's timeout is for each part, and there may be a part now and then
            raise TimeoutError
    return bytes(body)


# Reading ----------------------------------------------------------------------------------------------------------------


def read(body: bytes) -> Page:
    """Return what an answer says.

    Raises:
        PageError: it is not JSON, or something in it is not what a status page has there.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise PageError("the answer is no status page: not JSON") from None
    page = _Object(value, "")
    return Page(at=page.number("at"), pools=tuple(_pool(pool) for pool in page.objects("pools")))


def _pool(pool: _Object) -> Pool:
    return Pool(
        name=pool.text("name"),
        state=pool.text("state"),
        paused=pool.flag("paused"),
        counts={name: pool.count(name) for name in COUNTS},
        refused=pool.counts("refused"),
        time_in_queue=_percentiles(pool.object_or_none("time_in_queue")),
        run_time=_percentiles(pool.object_or_none("run_time")),
        jobs=tuple(
            Job(
                name=job.text("name"),
                running_for=job.number("running_for"),
                time_left=job.number_or_none("time_left"),
                lending=job.flag("lending"),
                ending=job.text_or_none("ending"),
                where=job.last_text("stack"),
            )
            for job in pool.objects("running_jobs")
        ),
        strays=tuple(
            Stray(job.text("name"), job.text("reason"), job.number("running_for"), job.last_text("stack"))
            for job in pool.objects("stray_jobs")
        ),
        failures=tuple(
            Failure(
                type=failure.text("type"),
                count=failure.count("count"),
                seconds_ago=failure.number("seconds_ago"),
                job=failure.text("job"),
                said=failure.last_line("traceback"),
            )
            for failure in pool.objects("failures")
        ),
    )


def _percentiles(of: _Object | None) -> Percentiles | None:
    return None if of is None else Percentiles(of.count("count"), of.number("p50"), of.number("p90"), of.number("p99"))


def _short(text: str) -> str:
    """Return a text from elsewhere as one that a terminal only shows, and not too long."""
    return plain(text[:_LONGEST])


class _Object:
    """A JSON object, and where it is in the answer: its values by key, each of which must be what is asked for."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            _refuse(path or "it", "an object", value)
        self._values: dict[str, Any] = value
        self._path = path

    def number(self, key: str) -> float:
        value = self._get(key)
        # JSON has numbers that no float can hold, and Python reads NaN; a bool is an int.
        if type(value) not in {int, float} or not -1e15 < value < 1e15:
            _refuse(self._at(key), "a number", value)
        return float(value)

    def number_or_none(self, key: str) -> float | None:
        return None if self._get(key) is None else self.number(key)

    def count(self, key: str) -> int:
        value = self.number(key)
        if value < 0 or not value.is_integer():
            _refuse(self._at(key), "a whole number, not negative", value)
        return int(value)

    def counts(self, key: str) -> dict[str, int]:
        inner = _Object(self._get(key), self._at(key))
        return {_short(name): inner.count(name) for name in inner._values}

    def flag(self, key: str) -> bool:
        value = self._get(key)
        if not isinstance(value, bool):
            _refuse(self._at(key), "true or false", value)
        return value

    def text(self, key: str) -> str:
        return _short(self._text(key))

    def text_or_none(self, key: str) -> str | None:
        return None if self._get(key) is None else self.text(key)

    def last_line(self, key: str) -> str:
        return _short((self._text(key).splitlines() or [""])[-1])

    def last_text(self, key: str) -> str:
        items = self._list(key)
        return _Object({"": items[-1]}, self._at(key)).text("") if items else ""

    def object_or_none(self, key: str) -> _Object | None:
        value = self._get(key)
        return None if value is None else _Object(value, self._at(key))

    def objects(self, key: str) -> list[_Object]:
        return [_Object(value, f"{self._at(key)}[{index}]") for index, value in enumerate(self._list(key))]

    def _list(self, key: str) -> list[Any]:
        value = self._get(key)
        if not isinstance(value, list):
            _refuse(self._at(key), "a list", value)
        return value

    def _text(self, key: str) -> str:
        value = self._get(key)
        if not isinstance(value, str):
            _refuse(self._at(key), "a text", value)
        return value

    def _get(self, key: str) -> Any:
        if key not in self._values:
            raise PageError(f"the answer is no status page: {_short(self._at(key))} is missing")
        return self._values[key]

    def _at(self, key: str) -> str:
        return f"{self._path}.{key}".strip(".")


def _refuse(path: str, rule: str, value: object) -> NoReturn:
    raise PageError(_short(f"the answer is no status page: {path} must be {rule}, got {json.dumps(value)[:80]}"))
