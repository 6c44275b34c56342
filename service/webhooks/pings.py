"""Pings over HTTP, for admin keys: webhooks that try an address."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Annotated, Final

from fastapi import APIRouter, Body, Header, Path, Request, Response, status
from fastapi.concurrency import run_in_threadpool
from fastapi.openapi.models import Example

from panoweave.core.webhooks.deliveries import State
from panoweave.core.webhooks.pings import ID_PATTERN
from panoweave.service.dependencies import Context, ContextDep, SubscriptionsDep
from panoweave.service.http import conditional
from panoweave.service.http.auth import AdminOnly, raise_if_revoked
from panoweave.service.http.errors import JobStoreUnavailable, PingNotFound
from panoweave.service.openapi.document import answer, refusals
from panoweave.service.openapi.response_headers import PREFERENCE_APPLIED
from panoweave.service.tenant_names import check_tenant
from panoweave.service.webhooks.schemas import PingRequest, PingView
from panoweave.service.webhooks.targets import check_secret, check_target
from panoweave.service.webhooks.views import ping_view

router = APIRouter(prefix="/webhooks/pings", tags=["admin"], dependencies=[AdminOnly])

_LOOK_EVERY_S: Final = 0.2

_EXAMPLES: Final[dict[str, Example]] = {
    "usual": {
        "summary": "To the address that a tenant's panoramas name",
        "value": {"tenant": "ada", "url": "https://example.com/panoramas"},
    },
    "another port": {
        "summary": "To a receiver that is not in use yet",
        "value": {"tenant": "ada", "url": "https://example.com:8443/try"},
    },
}
PreferOnPing = Annotated[
    str | None,
    Header(
        description="`wait=N`: answer once it has been tried, with 200. At the latest after N "
        f"seconds, and after {conditional.MAX_WAIT_S} at most, with 202. A try takes 15 s at most.",
        examples=["wait=20"],
    ),
]


@router.post(
    "",
    status_code=status.HTTP_202_ACCEPTED,
    responses={
        200: answer(
            "With `Prefer: wait`: it has been tried.",
            shows=("ping",),
            always=(PREFERENCE_APPLIED,),
        )
        | {"model": PingView},
        202: answer("It will be sent.", shows=("pending_ping",), sometimes=(PREFERENCE_APPLIED,)),
        **refusals(JobStoreUnavailable),
    },
)
async def ping_webhook(
    request: Annotated[PingRequest, Body(openapi_examples=_EXAMPLES)],
    http_request: Request,
    response: Response,
    context: ContextDep,
    subscriptions: SubscriptionsDep,
    prefer: PreferOnPing = None,
) -> PingView:
    """Send the webhook `webhook.ping` to an address, once: signed with the tenant's secrets, by the
    same process and with the same checks as every other webhook. Needs a key of scope `admin`."""
    ping_id = await run_in_threadpool(_create, context, request)
    wait_s = conditional.wait_s(prefer)
    deadline = time.monotonic() + (wait_s or 0)
    while True:
        view = await run_in_threadpool(get_webhook_ping, ping_id, context)
        if view.state != State.PENDING or time.monotonic() >= deadline:
            break
        await raise_if_revoked(http_request, subscriptions.redis)
        await asyncio.sleep(_LOOK_EVERY_S)
    if wait_s is not None:
        response.headers["Preference-Applied"] = f"wait={wait_s}"
    if wait_s and view.state != State.PENDING:
        response.status_code = status.HTTP_200_OK
    return view


@router.get(
    "/{ping_id}",
    responses={
        200: answer("The ping as it is now.", shows=("ping", "pending_ping")),
        **refusals(PingNotFound, JobStoreUnavailable),
    },
)
def get_webhook_ping(
    ping_id: Annotated[
        str,
        Path(
            description="The `id` of the ping.",
            json_schema_extra={"pattern": ID_PATTERN},
            examples=["ping_07e8f9595bdbd83c07e8f9595bdbd83c"],
        ),
    ],
    context: ContextDep,
) -> PingView:
    """A ping is kept for an hour."""
    found = context.pings.find(ping_id) if re.fullmatch(ID_PATTERN, ping_id) else None
    if found is None:
        raise PingNotFound("There is no ping of this id. Each is kept for an hour.")
    return ping_view(found)


def _create(context: Context, request: PingRequest) -> str:
    check_tenant(request.tenant)
    check_target(context, "url", request.url)
    check_secret(context, "tenant", request.tenant)
    return context.pings.create(request.tenant, request.url)
