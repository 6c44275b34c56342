"""Which requests are sent again, and when."""

from __future__ import annotations

import random
import time
from typing import Final

import httpx

from panoweave_client.errors import ApiError, ConnectionFailed

_LONGEST_PAUSE_S: Final = 5.0
# A proxy's answers while the service starts again.
_STATUSES: Final = frozenset({502, 503, 504})
# The request was not sent.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Retries:
    """The tries at one request, or at following one panorama's events."""

    def __init__(self, url: str, for_s: float, *, repeatable: bool = True) -> None:
        """`repeatable`: whether the service may carry out the request twice."""
        self._url = url
        self._for_s = for_s
        self._repeatable = repeatable
        self._failures = 0
        self._until = 0.0

    def reset(self) -> None:
        """The service has answered."""
        self._failures = 0

    def pause_s(self, error: httpx.RequestError | ApiError) -> float:
        """Seconds until the next try. Raises the error if there is none."""
        if self._failures == 0:
            self._until = time.monotonic() + self._for_s
        self._failures += 1
        backoff_s = min(0.1 * 2**self._failures, _LONGEST_PAUSE_S) * random.uniform(0.5, 1)
        asked_s = error.retry_after_s if isinstance(error, ApiError) else None
        pause_s = backoff_s if asked_s is None else asked_s
        if not self._is_temporary(error) or time.monotonic() + pause_s > self._until:
            if isinstance(error, httpx.RequestError):
                raise ConnectionFailed(f"{self._url} does not answer: {error!r}") from error
            raise error
        return pause_s

    def _is_temporary(self, error: httpx.RequestError | ApiError) -> bool:
        if isinstance(error, ApiError):
            # 429, 503, and 409 while the first request with this Idempotency-Key is carried out.
            return error.retry_after_s is not None or (
                self._repeatable and error.status in _STATUSES
            )
        return self._repeatable or isinstance(error, _NOT_SENT)
