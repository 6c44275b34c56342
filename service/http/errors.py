"""Every refusal of the API, as RFC 9457 `application/problem+json` with a stable `code`.

    ServiceError
    ├── MalformedJson          400  malformed_json
    ├── Unauthorized           401  unauthorized
    ├── Forbidden              403  forbidden
    ├── UnknownPath            404  unknown_path
    ├── NoSuchPanorama         404  not_found
    ├── MethodNotAllowed       405  method_not_allowed
    ├── NotEnded               409  not_ended
    ├── NotFailed              409  not_failed
    ├── NotSucceeded           409  not_succeeded
    ├── NothingToSee           409  no_preview
    ├── StillBusy              409  idempotency_key_in_flight
    ├── BodyTooLarge           413  body_too_large
    ├── UnsupportedMediaType   415  unsupported_media_type
    ├── InvalidRequest         422  invalid_params
    ├── KeyReused              422  idempotency_key_reused
    ├── TooMany                429  queue_full, tenant_queue_full
    ├── InternalError          500  internal_error
    └── Unavailable            503
        ├── NotReady                model_not_ready
        ├── RedisAway               store_unavailable
        └── ObjectsAway             storage_unavailable

What `core.jobs` and `core.params` raise becomes one of these; nothing quotes the request's values.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar

from asgi_correlation_id import correlation_id
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.infra.errors import InfraError, ObjectStoreError, StoreUnavailable
from panoweave.core.jobs.errors import (
    JobsError,
    ModelNotReady,
    NotFound,
    OtherRequest,
    QueueFull,
    StillInFlight,
    TenantQueueFull,
)
from panoweave.service.http.access_log import REQUEST_ID
from panoweave.service.http.headers import ON_EVERY_ANSWER
from panoweave.service.http.validation_messages import field_problem

log = logging.getLogger(__name__)

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


class NoSuchPanorama(ServiceError):
    status, code, title = 404, "not_found", "No such panorama"


class MethodNotAllowed(ServiceError):
    status, code, title = 405, "method_not_allowed", "This path takes another method"


class NotEnded(ServiceError):
    status, code, title = 409, "not_ended", "The panorama has not ended yet"


class NotFailed(ServiceError):
    status, code, title = 409, "not_failed", "Only a failed panorama can be retried"


class NotSucceeded(ServiceError):
    status, code, title = 409, "not_succeeded", "There is no finished picture"


class NothingToSee(ServiceError):
    status, code, title = 409, "no_preview", "There is no preview"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "2"})


class StillBusy(ServiceError):
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


class InvalidRequest(ServiceError):
    status, code, title = 422, "invalid_params", "The request cannot be carried out"


class KeyReused(ServiceError):
    status, code = 422, "idempotency_key_reused"
    title = "The key belongs to another request"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used with another body within 24 hours. A new request needs "
            "a new key."
        )


class TooMany(ServiceError):
    status, code, title = 429, "queue_full", "Too many panoramas are waiting"
    retry_after_s: ClassVar[int] = 10

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": str(self.retry_after_s)})


class TooManyOfYours(TooMany):
    code, title = "tenant_queue_full", "Too many of your panoramas are waiting"


class InternalError(ServiceError):
    status, code, title = 500, "internal_error", "Something went wrong on our side"


class Unavailable(ServiceError):
    status = 503
    retry_after_s: ClassVar[int]

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": str(self.retry_after_s)})


class NotReady(Unavailable):
    code, title, retry_after_s = "model_not_ready", "The model is not ready yet", 5


class RedisAway(Unavailable):
    code, title, retry_after_s = "store_unavailable", "The job store is away", 2


class ObjectsAway(Unavailable):
    code, title, retry_after_s = "storage_unavailable", "The object store is away", 5


def _translate(request: Request, error: Exception) -> ServiceError:
    match error:
        case ServiceError():
            return error
        case NotFound():
            return NoSuchPanorama(f"There is no panorama {error.job_id}.")
        case OtherRequest():
            return KeyReused()
        case StillInFlight():
            return StillBusy()
        case TenantQueueFull():
            return TooManyOfYours(f"{error.limit:,} of yours are waiting already.")
        case QueueFull():
            return TooMany(f"{error.limit:,} are waiting already.")
        case ModelNotReady():
            return NotReady(f"No worker has loaded the model {error.model} yet.")
        case StoreUnavailable():
            return RedisAway(
                "The job store did not answer in time. Look whether it happened, then try again."
            )
        case ObjectStoreError():
            return ObjectsAway("The object store could not be used. Try again.")
        case InvalidParams():
            at_fault = FieldProblem(field=error.field, detail=error.problem, legal=error.legal)
            return InvalidRequest(f"{error.field}: {error.problem}.", errors=[at_fault])
        case RequestValidationError():
            return _invalid_request(error)
        case HTTPException(status_code=404):
            return UnknownPath("No such path: /openapi.json lists those there are.")
        case HTTPException(status_code=405):
            allow = _allowed(request)
            return MethodNotAllowed(f"Allowed here: {allow}.", headers={"Allow": allow})
    return InternalError("The request was not carried out. It has been logged.")


def _invalid_request(error: RequestValidationError) -> InvalidRequest:
    # One a field: a union reports each of its branches.
    problems: dict[str, FieldProblem] = {}
    for found in error.errors():
        field, detail, legal = field_problem(found)
        problems.setdefault(field, FieldProblem(field=field, detail=detail, legal=legal))
    names = ", ".join(problems)
    return InvalidRequest(f"Cannot be accepted: {names}.", errors=list(problems.values()))


def _allowed(request: Request) -> str:
    route = request.scope["route"]
    # Starlette knows of one route at a time; a path has one for each of its methods.
    operations: dict[str, object] = request.app.openapi()["paths"].get(route.path, {})
    return ", ".join(sorted(method.upper() for method in operations or route.methods))


class NothingFollows(Exception):
    """The one who asks has seen a stream to its end. 204 keeps browsers from asking again."""


async def _no_content(_request: Request, _error: Exception) -> Response:
    return Response(status_code=204)


async def _respond(request: Request, error: Exception) -> JSONResponse:
    translated = _translate(request, error)
    if isinstance(translated, Unavailable | InternalError):
        log.warning("refused: %s", translated.code)
    return translated.response()


async def _respond_to_fault(request: Request, error: Exception) -> JSONResponse:
    """Outside all middleware, so what they add is to be added here."""
    response = await _respond(request, error)
    response.headers.update({**ON_EVERY_ANSWER, REQUEST_ID: correlation_id.get() or ""})
    return response


def install(app: FastAPI) -> None:
    handled = (
        JobsError,
        InfraError,
        InvalidParams,
        RequestValidationError,
        HTTPException,
        ServiceError,
    )
    app.add_exception_handler(NothingFollows, _no_content)
    for kind in handled:
        app.add_exception_handler(kind, _respond)
    app.add_exception_handler(Exception, _respond_to_fault)
