"""The published contract: FastAPI's, with every refusal as the problem it really is."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from service.errors import MEDIA_TYPE, Forbidden, Problem, ServiceError, Unauthorized

_SCHEMA = {"$ref": "#/components/schemas/Problem"}


def refusals(
    *errors: type[ServiceError], needs_key: bool = True
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these. Several may share a status."""
    responses: dict[int | str, dict[str, Any]] = {}
    for error in (*errors, *((Unauthorized, Forbidden) if needs_key else ())):
        response = responses.setdefault(
            error.status, {"description": "", "content": {MEDIA_TYPE: {"schema": _SCHEMA}}}
        )
        told = f"`{error.code}`: {error.title}."
        response["description"] = f"{response['description']} {told}".strip()
    return responses


def install(app: FastAPI) -> None:
    def schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            _, problems = models_json_schema(
                [(Problem, "serialization")], ref_template="#/components/schemas/{model}"
            )
            document["components"]["schemas"] |= problems["$defs"]
            _drop_fastapis_own(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = schema  # type: ignore[method-assign]


def _drop_fastapis_own(document: dict[str, Any]) -> None:
    """FastAPI adds a 422 of its own shape wherever none is declared, for an id in the path too."""
    for path in document["paths"].values():
        for operation in path.values():
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
