"""A POST that may be sent several times, and is carried out once: `Idempotency-Key`.

After the IETF's draft (draft-ietf-httpapi-idempotency-key-header): the same key and body get the
same answer for 24 hours, another body is refused. Equal requests at the same moment wait for the
first one's answer.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Final, NamedTuple

from fastapi import Header
from pydantic import BaseModel

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.infra.errors import ObjectStoreError, StoreUnavailable
from panoweave.core.jobs.errors import ModelNotReady, QueueFull, StillInFlight
from panoweave.core.jobs.idempotency import Begun
from panoweave.core.jobs.record import new_job_id
from panoweave.service.dependencies import Context

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]*$",
        description="Any text of the client's own, new for each new request: a UUID, say. Sent "
        "again with the same body within 24 hours, the request is not carried out again.",
        examples=["1b0c7c5e-5f5e-4a5b-9c39-3f8f1d2a6e77"],
    ),
]

_WAIT_S: Final = 3.0
_LOOK_EVERY_S: Final = 0.05


class Answer(NamedTuple):
    body: str
    is_replayed: bool


def once(
    context: Context,
    owner: str,
    key: str | None,
    request: BaseModel,
    carry_out: Callable[[str], BaseModel],
) -> Answer:
    """`carry_out` makes a job of the id it is given; a second time with that id changes nothing.

    Raises what it raises, OtherRequest, StillInFlight, or NotFound where the job was deleted since.
    """
    if key is None:
        return Answer(carry_out(new_job_id()).model_dump_json(), False)
    begun = _begin(context, owner, key, fingerprint(request))
    if begun.answer is not None:
        return Answer(begun.answer, True)
    try:
        body = carry_out(begun.job_id).model_dump_json()
    except (InvalidParams, ModelNotReady, QueueFull):
        with suppress(StoreUnavailable):
            context.idempotency.forget(owner, key)
        raise
    except (StoreUnavailable, ObjectStoreError):
        # Perhaps it was carried out: whoever asks again, at once if they like, makes the same job.
        with suppress(StoreUnavailable):
            context.idempotency.release(owner, key)
        raise
    with suppress(StoreUnavailable):  # the job is there, and would be found again by its id
        context.idempotency.finish(owner, key, body)
    return Answer(body, False)


def _begin(context: Context, owner: str, key: str, fingerprint: str) -> Begun:
    patience_ends = time.monotonic() + _WAIT_S
    job_id = new_job_id()
    while True:
        try:
            return context.idempotency.begin(owner, key, fingerprint, job_id)
        except StillInFlight:
            if time.monotonic() > patience_ends:
                raise
            time.sleep(_LOOK_EVERY_S)


def fingerprint(request: BaseModel) -> str:
    """Equal for requests that say the same, however their JSON is spaced and ordered."""
    said = json.dumps(request.model_dump(mode="json", exclude_unset=True), sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()
