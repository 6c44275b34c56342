"""Turns exceptions into answers: one handler for each base class, and one for everything else."""

from __future__ import annotations

import logging
from typing import Final

from asgi_correlation_id import correlation_id
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.image_process import ReadersBusy
from panoweave.core.infra.errors import InfraError, ObjectStoreError, StoreUnavailable
from panoweave.core.jobs.errors import (
    JobsError,
    ModelNotReady,
    NotFound,
    OtherRequest,
    QueueFull,
    StillInFlight,
    TenantBytesFull,
    TenantQueueFull,
    TooManyUploads,
    UnreadableRecord,
    WorkersDiffer,
)
from panoweave.service.http.access_log import REQUEST_ID
from panoweave.service.http.errors import (
    FieldProblem,
    IdempotencyKeyInFlight,
    IdempotencyKeyReused,
    ImageReadersBusy,
    InternalError,
    InvalidRequest,
    JobStoreUnavailable,
    MethodNotAllowed,
    ModelNotLoaded,
    ObjectStoreUnavailable,
    PanoramaNotFound,
    ServiceError,
    TooManyBytesByTenant,
    TooManyQueued,
    TooManyQueuedByTenant,
    TooManyUploadsByTenant,
    Unavailable,
    UnknownPath,
)
from panoweave.service.http.headers import ON_EVERY_ANSWER
from panoweave.service.http.validation_messages import field_problem
from panoweave.service.openai import errors as openai_errors

log = logging.getLogger(__name__)

_EXPECTED: Final = (
    JobsError,
    InfraError,
    InvalidParams,
    RequestValidationError,
    HTTPException,
    ServiceError,
)


class StreamEnded(Exception):
    """The client has seen the last event. A 204 stops browsers, which would reconnect otherwise."""


def translate(request: Request, error: Exception) -> ServiceError:
    """The refusal that a client reads. An error that is not expected here is a 500."""
    match error:
        case ServiceError():
            return error
        case NotFound():
            return PanoramaNotFound(f"There is no panorama {error.job_id}.")
        case UnreadableRecord():
            return JobStoreUnavailable("This version cannot read the panorama's record.")
        case OtherRequest():
            return IdempotencyKeyReused()
        case StillInFlight():
            return IdempotencyKeyInFlight()
        case TenantQueueFull():
            return TooManyQueuedByTenant(f"{error.limit:,} of yours are waiting already.")
        case TenantBytesFull():
            return TooManyBytesByTenant(
                f"The records of your panoramas may take {error.limit:,} bytes. Delete some that "
                "have ended; each is deleted by itself some days after its end."
            )
        case QueueFull():
            return TooManyQueued(f"{error.limit:,} are waiting already.")
        case WorkersDiffer():
            return ModelNotLoaded(
                f"The workers of the model {error.model} are being replaced: one of them "
                f"{error.difference}. Try again when it has ended."
            )
        case ModelNotReady():
            return ModelNotLoaded(
                f"No worker has loaded the model {error.model} yet, and this server "
                f"{error.problem}. Start a worker of this model, or give this server its files."
            )
        case StoreUnavailable():
            return JobStoreUnavailable(
                "The job store did not answer in time. The request may have taken effect: look "
                "before you send it again."
            )
        case ObjectStoreError():
            return ObjectStoreUnavailable("The object store could not be used. Try again.")
        case TooManyUploads():
            detail = f"{error.limit:,} of your uploads are kept already."
            return TooManyUploadsByTenant(detail, error.retry_after_s)
        case ReadersBusy():
            return ImageReadersBusy("Other requests' pictures are being read. Send it again.")
        case InvalidParams():
            at_fault = FieldProblem(field=error.field, detail=error.problem, legal=error.legal)
            return InvalidRequest(f"{error.field}: {error.problem}.", errors=[at_fault])
        case RequestValidationError():
            return _invalid_request(request, error)
        case HTTPException(status_code=404):
            return UnknownPath("No such path: /openapi.json lists those there are.")
        case HTTPException(status_code=405):
            allow = _allowed(request)
            return MethodNotAllowed(f"Allowed here: {allow}.", headers={"Allow": allow})
    return InternalError("An unexpected error happened. It has been logged.")


def _invalid_request(request: Request, error: RequestValidationError) -> InvalidRequest:
    # pydantic reports each branch of a union. The first one of a field is kept.
    problems: dict[str, FieldProblem] = {}
    for found in error.errors():
        field, detail, legal = field_problem(request, found)
        problems.setdefault(field, FieldProblem(field=field, detail=detail, legal=legal))
    names = ", ".join(problems)
    return InvalidRequest(f"Cannot be accepted: {names}.", errors=list(problems.values()))


def _allowed(request: Request) -> str:
    # Starlette's own routes, such as /openapi.json, leave no note of themselves and answer GET.
    route = request.scope.get("route")
    path, own = (route.path_format, route.methods) if route else (request.url.path, {"GET"})
    # Starlette has one route for each method of a path, and its 405 knows only one of them.
    operations: dict[str, object] = request.app.openapi()["paths"].get(path, {})
    methods = {method.upper() for method in operations or own} | {"OPTIONS"}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def _remedy(error: Exception) -> str:
    """For the operator. The rest of the error may hold what the client sent."""
    return f": {error.remedy}" if isinstance(error, ObjectStoreError) and error.remedy else ""


async def _no_content(_request: Request, _error: Exception) -> Response:
    return Response(status_code=204)


async def respond(request: Request, error: Exception) -> Response:
    translated = translate(request, error)
    if request.method == "OPTIONS" and isinstance(translated, MethodNotAllowed):
        return Response(status_code=204, headers=translated.headers)
    if isinstance(translated, Unavailable | InternalError):
        log.warning("answered with %s%s", translated.code, _remedy(error))
    return translated.response()


async def _respond_to_unexpected(request: Request, error: Exception) -> Response:
    """Runs outside all middleware, so it adds the headers that they would have added."""
    response = await respond(request, error)
    if request.url.path.startswith(openai_errors.PREFIX):
        response = openai_errors.response(translate(request, error))
    response.headers.update({**ON_EVERY_ANSWER, REQUEST_ID: correlation_id.get() or ""})
    return response


def install(app: FastAPI) -> None:
    app.add_exception_handler(StreamEnded, _no_content)
    for kind in _EXPECTED:
        app.add_exception_handler(kind, respond)
    app.add_exception_handler(Exception, _respond_to_unexpected)
