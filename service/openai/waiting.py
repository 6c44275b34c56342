"""Waits for the end of panoramas while a client holds its connection open."""

from __future__ import annotations

import time
from typing import NamedTuple

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.jobs.record import TERMINAL, JobRecord, Status
from panoweave.service.dependencies import Context
from panoweave.service.http.auth import raise_if_revoked
from panoweave.service.http.errors import NotEnded, PanoramaCancelled, PanoramaFailed
from panoweave.service.panoramas.lookup import lookup_job
from panoweave.service.panoramas.subscriptions import JobSubscription, JobSubscriptions

SHOULD_RETRY = "X-Should-Retry"
"""OpenAI's clients send a request again, or do not, as this header says."""


class ClientGone(Exception):
    """The client has closed its connection. The panorama is made all the same."""


class Waiting(NamedTuple):
    context: Context
    subscriptions: JobSubscriptions
    request: Request
    tenant: str
    deadline: float  # of time.monotonic()
    is_idempotent: bool  # the same request, sent again, waits for the same panorama

    async def until_ended(self, job_id: str) -> JobRecord:
        """Raises NotEnded, Unauthorized, NotFound or ClientGone."""
        with self.subscriptions.subscribe(job_id) as subscription:
            while True:
                record = await self.read(job_id)
                if record and record.status in TERMINAL:
                    return record
                await self.for_news(subscription)

    async def read(self, job_id: str) -> JobRecord | None:
        """None while the store is away: the panorama is accepted, so the wait goes on."""
        try:
            return await run_in_threadpool(lookup_job, self.context, job_id, self.tenant)
        except StoreUnavailable:
            return None

    async def for_news(self, subscription: JobSubscription, limit_s: float = 5.0) -> None:
        """Return once the job may have changed, or after `limit_s`. Raises as `until_ended`."""
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise NotEnded(
                "The panorama is not finished yet. Send the request again with an Idempotency-Key, "
                "or read the panorama at the Location.",
                headers={"Retry-After": "1", SHOULD_RETRY: _yes_or_no(self.is_idempotent)},
            )
        await subscription.wait(min(left_s, limit_s))
        await raise_if_revoked(self.request, self.subscriptions.redis)
        if await self.request.is_disconnected():
            raise ClientGone

    def require_picture(self, record: JobRecord) -> None:
        """Raises PanoramaFailed or PanoramaCancelled."""
        if record.status is Status.SUCCEEDED:
            return
        if record.error is None:
            raise PanoramaCancelled("It was cancelled.", headers={SHOULD_RETRY: "false"})
        # The same request with the same key would be answered with the same failure.
        may_help = record.error.retryable and not self.is_idempotent
        raise PanoramaFailed(
            f"{record.error.code}: {record.error.detail}",
            headers={SHOULD_RETRY: _yes_or_no(may_help)},
        )


def _yes_or_no(answer: bool) -> str:
    return "true" if answer else "false"
