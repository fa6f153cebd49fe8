"""Whether and when a job that has failed is tried again.

The strategies are tenacity's (https://tenacity.readthedocs.io, the extra `retry`); what the pool adds is that a job which
waits between attempts gives its place back, stays inside its deadline, and that no more than a share of the pool does so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import _checks

if TYPE_CHECKING:
    from tenacity import AsyncRetrying

__all__ = ["Retry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Try a job again that has raised, after a pause that doubles each time, at random between 0 and that ("full jitter").

    That randomness keeps those who failed together from coming back together; see "Exponential Backoff And Jitter" in the AWS
    Architecture Blog (2015). A job that waits between attempts is running, without a place. It is not tried again if its time
    would be over by then, or if too many of the pool's jobs wait for another attempt by now: where everything fails, retries
    would make it worse. Then what it has raised last is its outcome.

    Args:
        attempts: how often it is tried, at most, the first time included.
        first: the longest first pause, in seconds.
        longest: the longest of all pauses, in seconds.
        on: which exceptions to try again after; `asyncio.CancelledError` never is.
        share: which part of the pool's running jobs may wait for another attempt, from 0 to 1; 3 always may (the figures of
            Envoy's and failsafe-go's retry budgets).

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: an argument is out of its range.
        ModuleNotFoundError: tenacity is not installed: `pip install 'weirpool[retry]'`.
    """

    attempts: int = 3
    first: float = 0.1
    longest: float = 10.0
    on: type[Exception] | tuple[type[Exception], ...] = Exception
    share: float = 0.2

    def __post_init__(self) -> None:
        _checks.whole("attempts", self.attempts, "attempts, the first included", 1, 1_000_000)
        _checks.seconds("first", self.first)
        _checks.seconds("longest", self.longest)
        _checks.number("share", self.share, "a share of the running jobs", 0, 1)
        kinds: Any = self.on if type(self.on) is tuple else (self.on,)
        if not kinds or not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
            raise TypeError(f"on must be a subclass of Exception, or a tuple of such, got {self.on!r}")
        self.retrying()

    def retrying(self) -> AsyncRetrying:
        """Return the strategies as tenacity has them."""
        try:
            import tenacity  # noqa: PLC0415  # an extra, which few need
        except ModuleNotFoundError:
            raise ModuleNotFoundError("Retry needs tenacity: pip install 'weirpool[retry]'", name="tenacity") from None
        return tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=tenacity.wait_random_exponential(multiplier=self.first, max=self.longest),
            retry=tenacity.retry_if_exception_type(self.on),
        )
