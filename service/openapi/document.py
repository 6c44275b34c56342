"""The published OpenAPI document: FastAPI's, completed with what FastAPI does not know.

Nothing here names a route. New routes are described by the same rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, get_args

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from panoweave.core.jobs.record import BATCH_ENDED, PING, WebhookEvent
from panoweave.service.http.errors import (
    MEDIA_TYPE,
    BodyTooLarge,
    BodyTooSlow,
    Forbidden,
    HeaderTooLarge,
    HeaderTooSlow,
    InternalError,
    InvalidRequest,
    MalformedJson,
    MalformedRequest,
    MethodNotAllowed,
    Problem,
    RateLimited,
    ServiceError,
    TooManyBodies,
    TooManyConnections,
    Unauthorized,
    UnknownPath,
    UnsupportedMediaType,
    WrongHost,
)
from panoweave.service.openai import errors as openai_errors
from panoweave.service.openai.schemas import OpenAIProblem, StreamedImage
from panoweave.service.openapi import examples, links, refusal_examples, response_headers
from panoweave.service.openapi.refusal_examples import REFUSALS
from panoweave.service.openapi.response_headers import ResponseHeader
from panoweave.service.schemas import EventView
from panoweave.service.webhooks.schemas import BatchMessage, PingMessage, WebhookMessage

_PROBLEM_SCHEMA = {"$ref": "#/components/schemas/Problem"}
_UNROUTED_MODELS: Final[tuple[type[BaseModel], ...]] = (
    *(Problem, EventView, WebhookMessage, BatchMessage, PingMessage),
    *(OpenAIProblem, StreamedImage),
)
_BODY_REFUSALS: Final = (
    MalformedJson,
    BodyTooSlow,
    BodyTooLarge,
    UnsupportedMediaType,
    TooManyBodies,
)
# Before a request has reached an operation of this document.
_UNROUTED_REFUSALS: Final = (
    MalformedRequest,
    UnknownPath,
    MethodNotAllowed,
    HeaderTooSlow,
    HeaderTooLarge,
    TooManyConnections,
)
_MESSAGES: Final[dict[str, type[BaseModel]]] = {BATCH_ENDED: BatchMessage, PING: PingMessage}
_WITH_BODY: Final = frozenset({"post", "put", "patch"})

# Before OpenAPI 3.2, the schema of a stream describes one event.
EVENT_STREAM: Final = {
    "schema": {
        "type": "object",
        "description": "One event.",
        "properties": {
            "id": {"type": "string", "description": "For `Last-Event-ID`."},
            "event": {"type": "string", "description": "What happened."},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"$ref": "#/components/schemas/EventView"},
            },
        },
        "required": ["id", "event", "data"],
    },
    "examples": examples.EVENTS,
}
TAGS: Final = [
    {
        "name": "panoramas",
        "description": "Create, read, follow, cancel, retry and delete panoramas.",
    },
    {"name": "webhooks", "description": "The deliveries of a panorama's webhook."},
    {"name": "uploads", "description": "Upload pictures that requests refer to."},
    {"name": "usage", "description": "What a tenant has used."},
    {
        "name": "admin",
        "description": "API keys, panoramas and webhooks of all tenants, for admin keys.",
    },
    {"name": "openai", "description": "For clients of OpenAI's images API."},
    {"name": "models", "description": "The models, and the sizes that they make."},
    {"name": "health", "description": "For operators, orchestrators and Prometheus."},
]


def operation_id(route: APIRoute) -> str:
    """The function's name. Generated clients name their method after it."""
    return route.name


def answer(
    description: str,
    *,
    shows: Sequence[str] = (),
    always: Sequence[ResponseHeader] = (),
    sometimes: Sequence[ResponseHeader] = (),
) -> dict[str, Any]:
    """One entry of a route's `responses`. `shows` names examples of `examples.ANSWERS`."""
    response: dict[str, Any] = {"description": description}
    if headers := response_headers.described(always, sometimes):
        response["headers"] = headers
    if shows:
        response["content"] = {"application/json": {"examples": examples.references(shows)}}
    return response


def refusals(
    *errors: type[ServiceError], needs_key: bool = True
) -> dict[int | str, dict[str, Any]]:
    """Entries of a route's `responses` for these errors. Several errors may share a status."""
    by_status: dict[int | str, list[type[ServiceError]]] = {}
    for error in (*errors, *((Unauthorized, Forbidden) if needs_key else ())):
        by_status.setdefault(error.status, []).append(error)
    return {status: _refusal(kinds) for status, kinds in by_status.items()}


def _refusal(kinds: Sequence[type[ServiceError]]) -> dict[str, Any]:
    shown = [example for kind in kinds if (example := REFUSALS.get(kind.code))]
    content: dict[str, Any] = {"schema": _PROBLEM_SCHEMA}
    if shown:
        # Named by their codes, so that a reader sees which codes a status may come with.
        content["examples"] = examples.references(one.code for one in shown)
    names = {name for one in shown for name in one.headers}
    always = {name for name in names if all(name in one.headers for one in shown)}
    sometimes = names - always
    known = response_headers.REFUSAL_HEADERS
    return {
        "description": " ".join(f"`{kind.code}`: {kind.title}." for kind in kinds),
        "headers": response_headers.described(
            [known[name] for name in sorted(always)], [known[name] for name in sorted(sometimes)]
        ),
        "content": {MEDIA_TYPE: content},
    }


def install(app: FastAPI) -> None:
    def schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=TAGS,
            )
            _, unrouted = models_json_schema(
                [(model, "serialization") for model in _UNROUTED_MODELS],
                ref_template="#/components/schemas/{model}",
            )
            document["components"]["schemas"] |= unrouted["$defs"]
            _finish(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = schema  # type: ignore[method-assign]


def _finish(document: dict[str, Any]) -> None:
    components = document["components"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _drop_default_422(operation)
            _add_common_refusals(method, operation)
            if path.startswith(openai_errors.PREFIX):
                _reshape_refusals(operation)
            for parameter in operation.get("parameters", []):
                _drop_null(parameter)
            for response in operation["responses"].values():
                _use_schema_for_streams(response)
                headers = {name: _header(name) for name in response_headers.on_every_answer()}
                if "security" in operation:
                    headers |= {name: _header(name) for name in response_headers.rate_limits()}
                response["headers"] = response.get("headers", {}) | headers
    events = (*get_args(WebhookEvent), PING)
    document["webhooks"] = {event: {"post": _webhook(event)} for event in events}
    links.add(document)
    components["headers"] = response_headers.on_every_answer() | response_headers.rate_limits()
    # Referred to from here, because FastAPI drops nulls from the examples of a route.
    components["examples"] = examples.components() | refusal_examples.components()
    components["responses"] = {kind.__name__: _refusal([kind]) for kind in _UNROUTED_REFUSALS}
    # FastAPI's own refusals; and PanoramaParams, whose fields PanoramaRequest's schema includes.
    for name in ("HTTPValidationError", "ValidationError", "PanoramaParams"):
        components["schemas"].pop(name, None)


def _webhook(event: str) -> dict[str, Any]:
    """What a receiver is sent, and what it should answer."""
    kind = _MESSAGES.get(event, WebhookMessage)
    message = {"$ref": f"#/components/schemas/{kind.__name__}"}
    responses = {"2XX": {"description": "Received."}}
    if event != PING:
        responses["410"] = {"description": "No more webhooks of this panorama."}
    return {
        "summary": "Signed as Standard Webhooks specifies",
        "requestBody": {"required": True, "content": {"application/json": {"schema": message}}},
        "responses": responses,
    }


def _drop_default_422(operation: dict[str, Any]) -> None:
    """FastAPI adds a 422 of its own shape to each route with parameters that declares none."""
    if "application/json" in operation["responses"].get("422", {}).get("content", {}):
        del operation["responses"]["422"]


def _add_common_refusals(method: str, operation: dict[str, Any]) -> None:
    """Add what every route may answer. Bodies are checked even if the route takes none."""
    common: list[type[ServiceError]] = [WrongHost, InvalidRequest, InternalError]
    if "security" in operation:
        common.append(RateLimited)
    responses = operation["responses"]
    for kind in (*common, *(_BODY_REFUSALS if method in _WITH_BODY else ())):
        status, added = str(kind.status), _refusal([kind])
        known = responses.get(status)
        if known is None:
            responses[status] = added
        elif kind.code not in known["content"][MEDIA_TYPE]["examples"]:
            responses[status] = _both(known, added)
    operation["responses"] = dict(sorted(responses.items()))


def _reshape_refusals(operation: dict[str, Any]) -> None:
    """As `OpenAIErrors` does, which answers some with another status."""
    responses: dict[str, Any] = operation["responses"]
    for status in [status for status in responses if status >= "400"]:
        own, described = str(openai_errors.status_of(int(status))), responses.pop(status)
        responses[own] = _both(responses[own], described) if own in responses else described
    for status, described in responses.items():
        if status >= "400":
            shown = described["content"].pop(MEDIA_TYPE)["examples"]
            described["content"]["application/json"] = {
                "schema": {"$ref": "#/components/schemas/OpenAIProblem"},
                "examples": {code: openai_errors.example(REFUSALS[code]) for code in shown},
            }
    operation["responses"] = dict(sorted(responses.items()))


def _both(known: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    """Two refusals of one status as one response."""
    shown, more = (one["content"][MEDIA_TYPE]["examples"] for one in (known, added))
    of_both = known["headers"].keys() & added["headers"].keys()
    headers = {
        name: header if name in of_both else {**header, "required": False}
        for name, header in (known["headers"] | added["headers"]).items()
    }
    return {
        "description": f"{known['description']} {added['description']}",
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": _PROBLEM_SCHEMA, "examples": shown | more}},
    }


def _drop_null(parameter: dict[str, Any]) -> None:
    """An absent parameter is None in Python, but a client cannot send a null."""
    schema = parameter["schema"]
    branches = schema.pop("anyOf", [])
    kept = [branch for branch in branches if branch != {"type": "null"}]
    schema |= kept[0] if len(kept) == 1 else {"anyOf": kept} if kept else {}


def _use_schema_for_streams(response: dict[str, Any]) -> None:
    """FastAPI writes OpenAPI 3.2's `itemSchema`; this document is 3.1."""
    for media_type in response.get("content", {}).values():
        if "itemSchema" in media_type:
            media_type.setdefault("schema", media_type.pop("itemSchema"))


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}
