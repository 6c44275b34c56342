"""GET /panoramas/{id}/events: a panorama's events as they happen, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.jobs import events
from panoweave.core.jobs.events import FIRST
from panoweave.core.jobs.record import TERMINAL
from panoweave.service.dependencies import ContextDep, SubscriptionsDep
from panoweave.service.http.auth import ViewerDep, raise_if_revoked
from panoweave.service.http.error_handlers import StreamEnded
from panoweave.service.http.errors import (
    InvalidRequest,
    JobStoreUnavailable,
    PanoramaNotFound,
    Unauthorized,
)
from panoweave.service.openapi.document import EVENT_STREAM, answer, refusals
from panoweave.service.panoramas.lookup import PanoramaId
from panoweave.service.schemas import EventView

router = APIRouter(prefix="/panoramas", tags=["panoramas"])


LastEventId = Annotated[
    str | None,
    Header(
        pattern=r"^[0-9]{1,19}-[0-9]{1,19}$",  # Redis refuses more than 64 bits
        description="The id of the last event that the client has seen. The stream goes on after "
        "it.",
        examples=["1795597242056-0"],
    ),
]


def _job_to_follow(
    job_id: PanoramaId, context: ContextDep, tenant: ViewerDep, last_event_id: LastEventId = None
) -> str:
    """Raises NotFound or StreamEnded while the answer can still have another status than 200."""
    record = context.store.get(job_id, tenant)
    if last_event_id and record.status in TERMINAL:
        following = events.read(context.redis, job_id, after=last_event_id, limit=1)
        if not following:
            raise StreamEnded
    return job_id


@router.get(
    "/{job_id}/events",
    response_class=EventSourceResponse,
    responses={
        200: answer("The events, from the first one or from the one after `Last-Event-ID`.")
        | {"content": {"text/event-stream": EVENT_STREAM}},
        204: answer("The stream has ended, and the client has seen its last event."),
        **refusals(PanoramaNotFound, InvalidRequest, JobStoreUnavailable),
    },
)
async def follow_events(
    request: Request,
    job_id: Annotated[str, Depends(_job_to_follow)],
    subscriptions: SubscriptionsDep,
    last_event_id: LastEventId = None,
) -> AsyncIterator[ServerSentEvent]:
    """The events `created`, `started`, `progress`, `cancel_requested`, `requeued` and `retried`.
    The stream ends with `succeeded`, `failed`, `cancelled` or `expired`. After a lost connection,
    browsers send `Last-Event-ID` by themselves, and the stream goes on without a gap or a
    repeat."""
    last_seen = last_event_id or FIRST
    with subscriptions.subscribe(job_id) as subscription:
        while True:
            try:
                found, is_over = await events.read_on(subscriptions.redis, job_id, after=last_seen)
            except StoreUnavailable:
                found, is_over = [], False  # go on where the stream was, once Redis is back
            for event in found:
                last_seen = event.id
                yield ServerSentEvent(id=event.id, event=event.type, data=_event_view(event))
            if is_over:
                return
            if not found:
                await subscription.wait()
                try:
                    await raise_if_revoked(request, subscriptions.redis)
                except Unauthorized:
                    return  # the client reads why when it reconnects


def _event_view(event: events.Event) -> EventView:
    return EventView(
        status=event.status,
        attempt=event.attempt,
        progress=event.data if event.type == "progress" else None,
        code=event.data.get("code") if event.type == "failed" else None,
        reason=event.data.get("reason") if event.type == "requeued" else None,
    )
