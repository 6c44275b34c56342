"""`POST /v1/images/generations` and `GET /v1/models`, as OpenAI's clients call them.

A request becomes one to /panoramas and takes its way: the same checks, limits, records and
idempotency keys. Only here the answer waits for the picture.
"""

from __future__ import annotations

import math
import time
from typing import Annotated, Final

from fastapi import APIRouter, Body, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from panoweave.service.dependencies import ContextDep, SubscriptionsDep
from panoweave.service.http import conditional
from panoweave.service.http.auth import CallerDep
from panoweave.service.http.errors import (
    NotEnded,
    PanoramaCancelled,
    PanoramaFailed,
    ServiceError,
)
from panoweave.service.http.idempotency import IdempotencyKey
from panoweave.service.http.rate_limits import count_more
from panoweave.service.http.trace import TraceDep
from panoweave.service.openai import examples, stream
from panoweave.service.openai.pictures import images_answer
from panoweave.service.openai.schemas import (
    ImagesAnswer,
    ImagesRequest,
    OpenAIModel,
    OpenAIModelList,
)
from panoweave.service.openai.translate import in_openai_terms, panorama_request
from panoweave.service.openai.waiting import ClientGone, Waiting
from panoweave.service.openapi.document import answer, refusals
from panoweave.service.openapi.response_headers import IDEMPOTENCY_REPLAYED, LOCATION
from panoweave.service.panoramas.submit import SUBMIT_REFUSALS, submit

router = APIRouter(prefix="/v1", tags=["openai"])

_CLIENT_CLOSED_REQUEST: Final = 499  # nobody reads it; the log has it

PreferWait = Annotated[
    str | None,
    Header(
        description="`wait=N`: answer after N seconds at the latest, and after "
        f"{conditional.MAX_WAIT_S} at most: 409 `not_ended` if the panorama is not finished then. "
        "Without it, the answer waits for the end.",
        examples=["wait=10"],
    ),
]


@router.post(
    "/images/generations",
    responses={
        200: answer(
            "The pictures or, with `stream`, the events until there is one.",
            always=(LOCATION,),
            sometimes=(IDEMPOTENCY_REPLAYED,),
        )
        | {
            "model": ImagesAnswer,
            "content": {
                "application/json": {"examples": examples.ANSWERS},
                stream.MEDIA_TYPE: examples.STREAM,
            },
        },
        **refusals(*SUBMIT_REFUSALS, NotEnded, PanoramaCancelled, PanoramaFailed),
    },
    response_model=ImagesAnswer,
)
async def generate_images(
    asked: Annotated[ImagesRequest, Body(openapi_examples=examples.REQUESTS)],
    http_request: Request,
    context: ContextDep,
    caller: CallerDep,
    trace: TraceDep,
    subscriptions: SubscriptionsDep,
    idempotency_key: IdempotencyKey = None,
    prefer: PreferWait = None,
) -> Response:
    """Make panoramas and answer with the pictures. A panorama is made also if the client has closed
    its connection: `GET /panoramas` has it."""
    wait_s = conditional.wait_s(prefer)
    deadline = math.inf if wait_s is None else time.monotonic() + wait_s
    with in_openai_terms():
        request = panorama_request(asked)
        await count_more(http_request, context, caller.tenant, request.n - 1)
        accepted = await run_in_threadpool(submit, context, caller, request, trace, idempotency_key)
    headers = accepted.headers()
    is_idempotent = idempotency_key is not None
    waiting = Waiting(context, subscriptions, http_request, caller.tenant, deadline, is_idempotent)
    if asked.stream:
        return StreamingResponse(
            stream.image_events(waiting, accepted.job_ids[0], asked.partial_images),
            headers={**headers, **stream.HEADERS},
            media_type=stream.MEDIA_TYPE,
        )
    try:
        records = [await waiting.until_ended(job_id) for job_id in accepted.job_ids]
        for record in records:
            waiting.require_picture(record)
        as_urls = asked.response_format == "url"
        return await run_in_threadpool(
            images_answer, context.objects, records, as_urls=as_urls, headers=headers
        )
    except ServiceError as error:
        error.headers |= headers
        raise
    except ClientGone:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)


@router.get(
    "/models",
    responses={
        200: answer("The models that requests may name.")
        | {"content": {"application/json": {"examples": examples.MODELS}}},
        **refusals(),
    },
)
def list_openai_models(context: ContextDep, _: CallerDep) -> OpenAIModelList:
    """The names of the models, as OpenAI lists them. `GET /models` says more of each."""
    return OpenAIModelList(data=[OpenAIModel(id=name) for name in context.settings.model_names])
