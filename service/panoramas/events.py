"""What happens to a panorama, as it happens: server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.jobs import events
from panoweave.core.jobs.events import FIRST
from panoweave.core.jobs.record import TERMINAL
from panoweave.service.dependencies import InContext, InWatch
from panoweave.service.http.auth import Tenant
from panoweave.service.http.errors import InvalidRequest, NoSuchPanorama, NothingFollows, RedisAway
from panoweave.service.openapi.document import EVENT_STREAM, answer, refusals
from panoweave.service.panoramas.lookup import PanoramaId
from panoweave.service.schemas import EventView

router = APIRouter(prefix="/panoramas", tags=["panoramas"])


LastEventId = Annotated[
    str | None,
    Header(
        pattern=r"^[0-9]{1,19}-[0-9]{1,19}$",  # Redis refuses more than 64 bits
        description="The id of the last event that was seen: those after it follow.",
        examples=["1795597242056-0"],
    ),
]


def _existing(
    job_id: PanoramaId, context: InContext, tenant: Tenant, last_event_id: LastEventId = None
) -> str:
    """Before the stream begins, so that another tenant's is a plain 404."""
    record = context.store.get(job_id, tenant)
    if last_event_id and record.status in TERMINAL:
        follows = events.read(context.redis, job_id, after=last_event_id, limit=1)
        if not follows:
            raise NothingFollows
    return job_id


@router.get(
    "/{job_id}/events",
    response_class=EventSourceResponse,
    responses={
        200: answer("The events, from the first or the one after `Last-Event-ID`.")
        | {"content": {"text/event-stream": EVENT_STREAM}},
        204: answer("The stream has ended, with the event that was seen last."),
        **refusals(NoSuchPanorama, InvalidRequest, RedisAway),
    },
)
async def follow_events(
    job_id: Annotated[str, Depends(_existing)],
    watch: InWatch,
    last_event_id: LastEventId = None,
) -> AsyncIterator[ServerSentEvent]:
    """`created`, `started`, `progress`, `cancel_requested`, `requeued`, `retried`, and at last
    `succeeded`, `failed` or `cancelled`, with which the stream ends. Sent again with the
    `Last-Event-ID` that browsers send by themselves, it goes on without a gap or a repeat."""
    seen = last_event_id or FIRST
    with watch.bell(job_id) as bell:
        while True:
            try:
                found, is_over = await events.read_on(watch.redis, job_id, after=seen)
            except StoreUnavailable:
                found, is_over = [], False  # the stream goes on where it was, once Redis is back
            for event in found:
                seen = event.id
                yield ServerSentEvent(id=event.id, event=event.type, data=_view(event))
            if is_over:
                return
            if not found:
                await bell.wait()


def _view(event: events.Event) -> EventView:
    return EventView(
        status=event.status,
        attempt=event.attempt,
        progress=event.data if event.type == "progress" else None,
        reason=event.data.get("reason") if event.type == "requeued" else None,
    )
