"""The published contract: FastAPI's, with what it cannot know of a route by itself.

Nothing here names a route: what is added later is described by the same rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from panoweave.service.http.errors import (
    MEDIA_TYPE,
    BodyTooLarge,
    Forbidden,
    InternalError,
    MalformedJson,
    MethodNotAllowed,
    Problem,
    ServiceError,
    Unauthorized,
    UnknownPath,
    UnsupportedMediaType,
)
from panoweave.service.openapi import examples, links, response_headers
from panoweave.service.openapi.response_headers import ResponseHeader
from panoweave.service.schemas import EventView

_SCHEMA = {"$ref": "#/components/schemas/Problem"}
_BESIDE_ROUTES: Final[tuple[type[BaseModel], ...]] = (Problem, EventView)
_BODY_REFUSALS: Final = (MalformedJson, BodyTooLarge, UnsupportedMediaType)
_WITH_BODY: Final = frozenset({"post", "put", "patch"})

# Before OpenAPI 3.2 the schema of a stream is that of one event.
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
    {"name": "panoramas", "description": "Ask for one, follow it, fetch it, forget it."},
    {"name": "webhooks", "description": "What was told of a panorama, and to whom."},
    {"name": "uploads", "description": "A place for pictures that requests name."},
    {"name": "models", "description": "What makes the panoramas, and in which sizes."},
    {"name": "health", "description": "For operators and their probes."},
]


def operation_id(route: APIRoute) -> str:
    """The name of the function: what a generated client calls it."""
    return route.name


def answer(
    description: str,
    *,
    shows: Sequence[str] = (),
    always: Sequence[ResponseHeader] = (),
    sometimes: Sequence[ResponseHeader] = (),
) -> dict[str, Any]:
    """One of a route's `responses`: what of `examples.ANSWERS` it shows, and the headers that it
    always or sometimes has."""
    response: dict[str, Any] = {"description": description}
    if headers := response_headers.described(always, sometimes):
        response["headers"] = headers
    if shows:
        response["content"] = {"application/json": {"examples": examples.references(shows)}}
    return response


def refusals(
    *errors: type[ServiceError], needs_key: bool = True
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these. Several may share a status."""
    by_status: dict[int | str, list[type[ServiceError]]] = {}
    for error in (*errors, *((Unauthorized, Forbidden) if needs_key else ())):
        by_status.setdefault(error.status, []).append(error)
    return {status: _refusal(kinds) for status, kinds in by_status.items()}


def _refusal(kinds: Sequence[type[ServiceError]]) -> dict[str, Any]:
    shown = [example for kind in kinds if (example := examples.refusal(kind))]
    content: dict[str, Any] = {"schema": _SCHEMA}
    if shown:
        # By their codes: which codes a status may come with is read off here.
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
            _, others = models_json_schema(
                [(model, "serialization") for model in _BESIDE_ROUTES],
                ref_template="#/components/schemas/{model}",
            )
            document["components"]["schemas"] |= others["$defs"]
            _finish(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = schema  # type: ignore[method-assign]


def _finish(document: dict[str, Any]) -> None:
    components = document["components"]
    for path in document["paths"].values():
        for method, operation in path.items():
            _drop_fastapis_own(operation)
            _add_what_any_may_answer(method, operation)
            for parameter in operation.get("parameters", []):
                _leave_null_out(parameter)
            for response in operation["responses"].values():
                _describe_stream(response)
                headers = {name: _header(name) for name in response_headers.on_every_answer()}
                response["headers"] = response.get("headers", {}) | headers
    links.add(document)
    components["headers"] = response_headers.on_every_answer()
    # Put here and referred to, since FastAPI drops every null from what a route is given.
    components["examples"] = examples.components()
    # What no operation answers: paths and methods that are not in this document.
    components["responses"] = {
        kind.__name__: _refusal([kind]) for kind in (UnknownPath, MethodNotAllowed)
    }
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)


def _drop_fastapis_own(operation: dict[str, Any]) -> None:
    """FastAPI adds a 422 of its own shape wherever none is declared, for an id in the path too."""
    if "application/json" in operation["responses"].get("422", {}).get("content", {}):
        del operation["responses"]["422"]


def _add_what_any_may_answer(method: str, operation: dict[str, Any]) -> None:
    """Bodies are read before a route is chosen, also where a route takes none."""
    kinds = (InternalError, *(_BODY_REFUSALS if method in _WITH_BODY else ()))
    added = {str(status): one for status, one in refusals(*kinds, needs_key=False).items()}
    operation["responses"] = dict(sorted((added | operation["responses"]).items()))


def _leave_null_out(parameter: dict[str, Any]) -> None:
    """A parameter is there or not; null is what Python calls one that is not."""
    schema = parameter["schema"]
    branches = schema.pop("anyOf", [])
    kept = [branch for branch in branches if branch != {"type": "null"}]
    schema |= kept[0] if len(kept) == 1 else {"anyOf": kept} if kept else {}


def _describe_stream(response: dict[str, Any]) -> None:
    """FastAPI writes the word that OpenAPI has for it since 3.2."""
    for media_type in response.get("content", {}).values():
        if "itemSchema" in media_type:
            media_type.setdefault("schema", media_type.pop("itemSchema"))


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}
