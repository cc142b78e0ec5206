"""Rate limits per key and class of request; the operator is not limited. With Redis, all processes share the counts.

Requests without a valid key are counted by address, after they are refused, so they never slow down valid callers at
the same address, which may be a proxy's.
"""

import logging
import math
import time
from typing import Literal

from limits import RateLimitItem, parse_many
from limits.errors import StorageError
from limits.storage import storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.concurrency import run_in_threadpool

from api.caller import READING, Caller
from api.errors import RateLimited
from api.settings import Settings

log = logging.getLogger(__name__)

Kind = Literal["default", "submit", "download", "stranger"]
PATIENCE = 1.0  # seconds to wait for Redis


class Rates:
    """Counts requests in sliding windows."""

    def __init__(self, settings: Settings) -> None:
        self._shared = settings.broker_url.startswith("redis")
        patience = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE, "wrap_exceptions": True}
        url, options = (settings.broker_url, patience) if self._shared else ("memory://", {})
        self._limiter = SlidingWindowCounterRateLimiter(storage_from_string(url, **options))
        self._limits: dict[Kind, list[RateLimitItem]] = {
            "default": parsed(settings.rate_default),
            "submit": parsed(settings.rate_submit),
            "download": parsed(settings.rate_download),
            "stranger": parsed(settings.rate_stranger),
        }

    async def check(self, caller: Caller, method: str, path: str) -> None:
        """Count a request.

        Raises:
            RateLimited: its key has exceeded the rate; the header tells when to retry.
        """
        if caller.owner is not None:
            await self._count(kind_of(method, path), caller.key)

    async def check_stranger(self, address: str) -> None:
        """Count a request that came without a valid key.

        Raises:
            RateLimited: there were too many from this address.
        """
        await self._count("stranger", address)

    async def _count(self, kind: Kind, who: str) -> None:
        if self._shared and self._limits[kind]:
            await run_in_threadpool(self._hit, kind, who)
        else:
            self._hit(kind, who)

    def _hit(self, kind: Kind, who: str) -> None:
        one = "address" if kind == "stranger" else "key"
        try:
            for limit in self._limits[kind]:
                if not self._limiter.hit(limit, kind, who):
                    stats = self._limiter.get_window_stats(limit, kind, who)
                    wait = max(1, math.ceil(stats.reset_time - time.time()))
                    detail = f"expected at most {limit} of the class {kind} from one {one}, got more; wait {wait} s"
                    raise RateLimited(detail, headers={"Retry-After": str(wait)})
        except StorageError as error:  # a limit that cannot be counted must not stop the service
            log.warning("rate limits are off because Redis does not respond: %s", error)


def parsed(text: str) -> list[RateLimitItem]:
    """Parse limits such as `60/minute`, several joined by `;`; an empty text means no limit.

    Raises:
        ValueError: it is not a limit.

    >>> [str(limit) for limit in parsed("60/minute; 1000/day")], parsed("")
    (['60 per 1 minute', '1000 per 1 day'], [])
    """
    return parse_many(text) if text.strip() else []


def kind_of(method: str, path: str) -> Kind:
    """Return the class of a request.

    >>> [kind_of(*asked) for asked in (("GET", "/v1/jobs"), ("POST", "/v1/jobs"), ("GET", "/v1/jobs/job_1/weights"))]
    ['default', 'submit', 'download']
    """
    if method not in READING:
        # A resumable upload counts once: its pieces are many.
        return "default" if method == "PATCH" and path.startswith("/v1/uploads/") else "submit"
    tail = path.split("/")[4:]
    files = tail[:1] in (["weights"], ["report"], ["preview"]) or (tail[:1] == ["artifacts"] and len(tail) > 1)
    return "download" if files or path == "/v1/source" else "default"
