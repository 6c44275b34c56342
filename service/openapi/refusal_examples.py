"""The refusals that the OpenAPI document shows as examples. A test compares them with real ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from panoweave.service.http import errors
from panoweave.service.http.body import MAX_BODY_BYTES
from panoweave.service.http.errors import FieldProblem, ServiceError
from panoweave.service.openapi.examples import JOB_ID

_ALL: Final = (
    errors.MalformedRequest("Invalid HTTP request received."),
    errors.MalformedJson("Expected value at line 1 column 1."),
    errors.Unauthorized("Send Authorization: Bearer and an API key."),
    errors.Forbidden("This API key lacks the scope write."),
    errors.UnknownPath("No such path: /openapi.json lists those there are."),
    errors.PanoramaNotFound(f"There is no panorama {JOB_ID}."),
    errors.KeyNotFound("There is no key of this id: GET /keys lists them."),
    errors.PingNotFound("There is no ping of this id. Each is kept for an hour."),
    errors.ModelNotFound("This server has the models embedded, org/sea@v1."),
    errors.MethodNotAllowed(
        "Allowed here: GET, HEAD, OPTIONS, POST.", headers={"Allow": "GET, HEAD, OPTIONS, POST"}
    ),
    errors.HeaderTooSlow("A header may take 10 s."),
    errors.BodyTooSlow("A body may take 60 s."),
    errors.NotEnded("This panorama is queued. Cancel it first."),
    errors.NotFailed("This panorama is succeeded."),
    errors.NotSucceeded("This panorama is queued."),
    errors.PreviewUnavailable("This panorama is queued and has no preview yet."),
    errors.PanoramaCancelled("It was cancelled."),
    errors.IdempotencyKeyInFlight(),
    errors.BodyTooLarge(f"A body may have up to {MAX_BODY_BYTES:,} bytes."),
    errors.UnsupportedMediaType("Send Content-Type: application/json."),
    errors.WrongHost("Its Host is not one of this server's: PANOWEAVE_ALLOWED_HOSTS lists them."),
    errors.InvalidRequest(
        "width: windows of 128 px every 32 px cannot cover 700 px exactly.",
        errors=[
            FieldProblem(
                field="width",
                detail="windows of 128 px every 32 px cannot cover 700 px exactly",
                legal="128 plus a multiple of 32, nearest: 672 or 704",
            )
        ],
    ),
    errors.IdempotencyKeyReused(),
    errors.TooManyQueued("10,000 are waiting already."),
    errors.TooManyQueuedByTenant("1,000 of yours are waiting already."),
    errors.TooManyBytesByTenant(
        "The records of your panoramas may take 268,435,456 bytes. Delete some that have ended; "
        "each is deleted by itself some days after its end."
    ),
    errors.RateLimited("write", 1_200, 1),
    errors.HeaderTooLarge("A header may have 32,768 bytes."),
    errors.TooManyUploadsByTenant("200 of your uploads are kept already.", 3_600),
    errors.PanoramaFailed("worker_lost: The worker was lost in each of 3 attempts."),
    errors.InternalError("An unexpected error happened. It has been logged."),
    errors.TooManyConnections(),
    errors.TooManyBodies(),
    errors.ModelNotLoaded(
        "No worker has loaded the model ./sea yet, and this server cannot read the checkpoint "
        "'./sea': there is no directory ./sea. Start a worker of this model, or give this server "
        "its files."
    ),
    errors.JobStoreUnavailable(
        "The job store did not answer in time. The request may have taken effect: look before "
        "you send it again."
    ),
    errors.ObjectStoreUnavailable("The object store could not be used. Try again."),
    errors.ImageReadersBusy("Other requests' pictures are being read. Send it again."),
)
REFUSALS: Final[Mapping[str, ServiceError]] = {each.code: each for each in _ALL}
"""By their codes."""


def components() -> dict[str, dict[str, Any]]:
    """As OpenAPI writes them."""
    return {code: {"summary": one.title, "value": one.problem()} for code, one in REFUSALS.items()}
