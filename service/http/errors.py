"""Every refusal of the API, as RFC 9457 `application/problem+json` with a stable `code`.

    ServiceError
    ├── MalformedRequest           400  malformed_request
    ├── MalformedJson              400  malformed_json
    ├── Unauthorized               401  unauthorized
    ├── Forbidden                  403  forbidden
    ├── UnknownPath                404  unknown_path
    ├── PanoramaNotFound           404  not_found
    ├── KeyNotFound                404  key_not_found
    ├── ModelNotFound              404  model_not_found
    ├── MethodNotAllowed           405  method_not_allowed
    ├── HeaderTooSlow              408  header_too_slow
    ├── BodyTooSlow                408  body_too_slow
    ├── NotEnded                   409  not_ended
    ├── NotFailed                  409  not_failed
    ├── NotSucceeded               409  not_succeeded
    ├── PreviewUnavailable         409  no_preview
    ├── PanoramaCancelled          409  panorama_cancelled
    ├── IdempotencyKeyInFlight     409  idempotency_key_in_flight
    ├── BodyTooLarge               413  body_too_large
    ├── UnsupportedMediaType       415  unsupported_media_type
    ├── WrongHost                  421  wrong_host
    ├── InvalidRequest             422  invalid_params
    ├── IdempotencyKeyReused       422  idempotency_key_reused
    ├── TooManyQueued              429  queue_full
    │   ├── TooManyQueuedByTenant  429  tenant_queue_full
    │   └── TooManyBytesByTenant   429  tenant_bytes_full
    ├── RateLimited                429  rate_limited
    ├── HeaderTooLarge             431  header_too_large
    ├── TooManyUploadsByTenant     429  tenant_uploads_full
    ├── PanoramaFailed             500  panorama_failed
    ├── InternalError              500  internal_error
    └── Unavailable
        ├── ModelNotLoaded         503  model_not_ready
        ├── TooManyConnections     503  too_many_connections
        ├── TooManyBodies          503  too_many_bodies
        ├── JobStoreUnavailable    503  store_unavailable
        ├── ObjectStoreUnavailable 503  storage_unavailable
        └── ImageReadersBusy       503  image_readers_busy

TooManyQueued and Unavailable are `TryLater`: their answers have a Retry-After.
`error_handlers` turns the errors of `panoweave.core` into these. No message quotes what the client
sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

MEDIA_TYPE = "application/problem+json"


class FieldProblem(BaseModel):
    """One field that cannot be accepted."""

    field: str = Field(description="Dotted path, such as `sync.weight`.")
    detail: str
    legal: str | None = Field(None, description="What would be accepted.")


class Problem(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(description="`urn:panoweave:problem:` and the code.")
    title: str
    status: int
    code: str = Field(description="Stable: for programs to decide upon.")
    detail: str
    errors: list[FieldProblem] | None = Field(None, description="The fields at fault, if any.")


class ServiceError(Exception):
    """Base of all refusals: the answer is its `problem`."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = list(errors)
        self.headers = headers or {}

    def problem(self) -> dict[str, Any]:
        problem = Problem(
            type=f"urn:panoweave:problem:{self.code}",
            title=self.title,
            status=self.status,
            code=self.code,
            detail=self.detail,
            errors=self.errors or None,
        )
        return problem.model_dump(exclude_none=True)

    def response(self) -> JSONResponse:
        return JSONResponse(
            self.problem(),
            status_code=self.status,
            headers=self.headers,
            media_type=MEDIA_TYPE,
        )


class MalformedRequest(ServiceError):
    status, code, title = 400, "malformed_request", "This is not HTTP"


class MalformedJson(ServiceError):
    status, code, title = 400, "malformed_json", "The body is not JSON"


class Unauthorized(ServiceError):
    status, code, title = 401, "unauthorized", "An API key is needed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(ServiceError):
    status, code, title = 403, "forbidden", "The API key does not allow this"


class UnknownPath(ServiceError):
    status, code, title = 404, "unknown_path", "There is nothing here"


class PanoramaNotFound(ServiceError):
    status, code, title = 404, "not_found", "No such panorama"


class KeyNotFound(ServiceError):
    status, code, title = 404, "key_not_found", "No such API key"


class PingNotFound(ServiceError):
    status, code, title = 404, "ping_not_found", "No such ping"


class ModelNotFound(ServiceError):
    status, code, title = 404, "model_not_found", "No such model"


class MethodNotAllowed(ServiceError):
    status, code, title = 405, "method_not_allowed", "This path takes another method"


class HeaderTooSlow(ServiceError):
    status, code, title = 408, "header_too_slow", "The header took too long"


class BodyTooSlow(ServiceError):
    status, code, title = 408, "body_too_slow", "The body took too long"


class NotEnded(ServiceError):
    status, code, title = 409, "not_ended", "The panorama has not ended yet"


class NotFailed(ServiceError):
    status, code, title = 409, "not_failed", "Only a failed panorama can be retried"


class NotSucceeded(ServiceError):
    status, code, title = 409, "not_succeeded", "There is no finished picture"


class PreviewUnavailable(ServiceError):
    status, code, title = 409, "no_preview", "There is no preview"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "2"})


class PanoramaCancelled(ServiceError):
    status, code, title = 409, "panorama_cancelled", "The panorama was cancelled"


class IdempotencyKeyInFlight(ServiceError):
    status, code = 409, "idempotency_key_in_flight"
    title = "The first request with this key is still being carried out"

    def __init__(self) -> None:
        super().__init__(
            "A request with this Idempotency-Key has not been answered yet. Send it again.",
            headers={"Retry-After": "1"},
        )


class BodyTooLarge(ServiceError):
    status, code, title = 413, "body_too_large", "The body is too large"


class UnsupportedMediaType(ServiceError):
    status, code, title = 415, "unsupported_media_type", "The body must be JSON"

    def __init__(self, detail: str, **headers: str) -> None:
        super().__init__(detail, headers={"Accept": "application/json", **headers})


class WrongHost(ServiceError):
    status, code, title = 421, "wrong_host", "This server does not go by this name"


class InvalidRequest(ServiceError):
    status, code, title = 422, "invalid_params", "The request cannot be carried out"


class IdempotencyKeyReused(ServiceError):
    status, code = 422, "idempotency_key_reused"
    title = "The key belongs to another request"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used with another body within 24 hours. A new request needs "
            "a new key."
        )


class TryLater(ServiceError):
    """Refused for now: the client may repeat the request after `retry_after_s`."""

    retry_after_s: ClassVar[int]

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": str(self.retry_after_s)})


class TooManyQueued(TryLater):
    status, code, title = 429, "queue_full", "Too many panoramas are waiting"
    retry_after_s = 10


class TooManyQueuedByTenant(TooManyQueued):
    code, title = "tenant_queue_full", "Too many of your panoramas are waiting"


class TooManyBytesByTenant(TooManyQueued):
    code, title, retry_after_s = "tenant_bytes_full", "Too many of your panoramas are kept", 60


class RateLimited(ServiceError):
    status, code, title = 429, "rate_limited", "Too many requests"

    def __init__(self, kind: str, limit: int, retry_after_s: int) -> None:
        super().__init__(
            f"You may send {limit:,} {kind} requests in a minute.",
            headers={"Retry-After": str(retry_after_s)},
        )


class HeaderTooLarge(ServiceError):
    status, code, title = 431, "header_too_large", "The header is too large"


class TooManyUploadsByTenant(ServiceError):
    status, code, title = 429, "tenant_uploads_full", "Too many of your uploads are kept"

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_s)})


class PanoramaFailed(ServiceError):
    status, code, title = 500, "panorama_failed", "The panorama failed"


class InternalError(ServiceError):
    status, code, title = 500, "internal_error", "Something went wrong on our side"


class Unavailable(TryLater):
    status = 503


class ModelNotLoaded(Unavailable):
    code, title, retry_after_s = "model_not_ready", "The model is not ready yet", 5


class TooManyConnections(Unavailable):
    code, title, retry_after_s = "too_many_connections", "Too many connections are open", 5

    def __init__(self) -> None:
        super().__init__("All connections of this server are at work. Try again.")


class TooManyBodies(Unavailable):
    code, title, retry_after_s = "too_many_bodies", "Too many requests are being read", 2

    def __init__(self) -> None:
        super().__init__("The server is reading as many bodies as it has room for. Try again.")


class JobStoreUnavailable(Unavailable):
    code, title, retry_after_s = "store_unavailable", "The job store is away", 2


class ObjectStoreUnavailable(Unavailable):
    code, title, retry_after_s = "storage_unavailable", "The object store is away", 5


class ImageReadersBusy(Unavailable):
    code, title, retry_after_s = "image_readers_busy", "Too many requests bring pictures", 5
