"""Query parameters and headers: unknown ones are refused, and what would be legal is said."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from panoweave.core.checkpoint import InvalidParams

_MAX_NAME_CHARS = 64


# People share links to pages, and other sites add parameters to them, such as ?fbclid=.
_PAGES: Final = frozenset({"/", "/docs"})


async def refuse_unknown_query(request: Request) -> None:
    """A dependency of all routes. Raises InvalidParams, also where a value would be left out.
    Pages ignore parameters.

    It is `async` so that no request needs a thread before its key was read.
    """
    if request.scope["route"].path in _PAGES:
        return
    described = {each["name"]: each for each in _described(request) if each["in"] == "query"}
    known = list(described)
    for name in request.query_params:
        if name not in known:
            raise _no_such_parameter(name, known)
        times = len(request.query_params.getlist(name))
        if times > 1 and described[name]["schema"].get("type") != "array":
            raise InvalidParams(name, f"It is given {times} times", "one value")


class RefuseQuery:
    """An ASGI application that takes no query parameters: see `install`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = next(iter(parse_qs(scope.get("query_string", b"").decode("latin-1"), True)), None)
        if name is not None:
            raise _no_such_parameter(name, [])
        await self._app(scope, receive, send)


def install(app: FastAPI) -> None:
    """FastAPI's dependencies do not reach Starlette's own routes, such as /openapi.json and files.
    They have no parameters. Call this after all routes are added."""
    for route in app.routes:
        if isinstance(route, APIRoute) or not isinstance(route, Route | Mount):
            continue
        if route.path not in _PAGES:
            route.app = RefuseQuery(route.app)


def _no_such_parameter(name: str, known: list[str]) -> InvalidParams:
    legal = f"the parameters {', '.join(known)}" if known else "no parameters"
    return InvalidParams(name[:_MAX_NAME_CHARS], "There is no such query parameter", legal)


def legal_values(request: Request, name: str) -> str | None:
    """What a parameter accepts, as the OpenAPI document has it."""
    for each in _described(request):
        if each["name"].lower() == name.lower():
            schema = _resolved(request, each["schema"])
            if "items" in schema:
                schema = {**schema, "items": _resolved(request, schema["items"])}
            return _describe(schema)
    return None


def _resolved(request: Request, schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    schemas = request.app.openapi()["components"]["schemas"]
    found: dict[str, Any] = schemas[reference.rpartition("/")[2]]
    return found


def _described(request: Request) -> list[dict[str, Any]]:
    operations = request.app.openapi()["paths"].get(request.scope["route"].path_format, {})
    parameters: list[dict[str, Any]] = operations.get(request.method.lower(), {}).get(
        "parameters", []
    )
    return parameters


def _describe(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(repr(value) for value in schema["enum"])
    match schema.get("type"):
        case "boolean":
            return "true or false"
        case "integer":
            return f"a whole number from {schema['minimum']} to {schema['maximum']}"
        case "number":
            return f"a number from {schema['minimum']:g} to {schema['maximum']:g}"
        case "array":
            item = _describe(schema["items"])
            return f"{item}, up to {schema['maxItems']} times" if "maxItems" in schema else item
    if schema.get("format") == "date-time":
        return "a time with its zone, such as 2026-11-26T11:02:26.903Z"
    text = "text"
    if "maxLength" in schema:
        text += f" of {schema.get('minLength', 0)} to {schema['maxLength']} characters"
    if "pattern" in schema:
        text += f" that matches {schema['pattern']}"
    return text
