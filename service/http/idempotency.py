"""`Idempotency-Key`: a POST that is sent several times takes effect once.

Follows the IETF draft (draft-ietf-httpapi-idempotency-key-header). For 24 hours, the same key with
the same body gets the same answer, and the same key with another body is refused. A duplicate that
arrives while the first request is being carried out waits for the first one's answer.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Header
from pydantic import BaseModel

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.jobs.errors import ModelNotReady, OtherRequest, QueueFull, StillInFlight
from panoweave.core.jobs.idempotency import Begun, Idempotency
from panoweave.core.jobs.record import new_job_id

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]*$",
        description="Text that the client makes up for each new request, such as a UUID. If the "
        "same key and body are sent again within 24 hours, the request is not carried out again.",
        examples=["1b0c7c5e-5f5e-4a5b-9c39-3f8f1d2a6e77"],
    ),
]

_MAX_WAIT_S: Final = 3.0
_POLL_INTERVAL_S: Final = 0.05

# Raised before a job is made.
_REFUSALS: Final = (InvalidParams, ModelNotReady, QueueFull)


@dataclass
class IdempotentRequest:
    """A request that has begun. `answer` is what an earlier request with the same key was
    answered; if it is None, this request is to be carried out and then finished."""

    job_id: str  # for the job to make, which an earlier attempt that was cut short may have made
    answer: str | None = None
    new_answer: str | None = None

    def finish(self, answer: str) -> None:
        """Give this answer to later requests with the same key."""
        self.new_answer = answer


@contextmanager
def begin(
    store: Idempotency, owner: str, key: str | None, request: BaseModel
) -> Iterator[IdempotentRequest]:
    """The block carries the request out, unless there is an answer already.

    Keys belong to their owner, the tenant. Raises OtherRequest, StillInFlight, or NotFound if the
    job of the first request was deleted.
    """
    if key is None:
        yield IdempotentRequest(new_job_id())
        return
    try:
        begun = _begin(store, owner, key, fingerprint(request))
    except OtherRequest:
        # Before version 0.3, null and absent were two requests.
        begun = _begin(store, owner, key, fingerprint(request, null_is_absent=False))
    current = IdempotentRequest(begun.job_id, begun.answer)
    try:
        yield current
    except _REFUSALS:
        with suppress(StoreUnavailable):
            store.forget(owner, key)  # no job was made: the key is free for another request
        raise
    except Exception:
        with suppress(StoreUnavailable):
            store.release(owner, key)  # a repeated request goes on with the job, if it was made
        raise
    if current.new_answer is not None:
        with suppress(StoreUnavailable):  # without its answer, the job is still found by its id
            store.finish(owner, key, current.new_answer)


def _begin(store: Idempotency, owner: str, key: str, fingerprint: str) -> Begun:
    deadline = time.monotonic() + _MAX_WAIT_S
    job_id = new_job_id()
    while True:
        try:
            return store.begin(owner, key, fingerprint, job_id)
        except StillInFlight:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_INTERVAL_S)


def fingerprint(request: BaseModel, *, null_is_absent: bool = True) -> str:
    """Equal for equal requests, however their JSON is ordered and spaced."""
    fields = request.model_dump(mode="json", exclude_unset=True)
    if null_is_absent:
        short = request.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        # What is inside metadata is the client's own.
        fields = short | {name: fields[name] for name in fields.keys() & {"metadata"}}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
