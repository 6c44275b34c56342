"""Query parameters and headers: unknown ones are refused, and what would be legal is said."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from panoweave.core.checkpoint import InvalidParams

_MAX_NAME_CHARS = 64


def refuse_unknown_query(request: Request) -> None:
    """A dependency of all routes. Raises InvalidParams, also where a value would be left out."""
    described = {each["name"]: each for each in _described(request) if each["in"] == "query"}
    known = list(described)
    for name in request.query_params:
        if name not in known:
            legal = f"the parameters {', '.join(known)}" if known else "no parameters"
            raise InvalidParams(name[:_MAX_NAME_CHARS], "There is no such query parameter", legal)
        times = len(request.query_params.getlist(name))
        if times > 1 and described[name]["schema"].get("type") != "array":
            raise InvalidParams(name, f"It is given {times} times", "one value")


def legal_values(request: Request, name: str) -> str | None:
    """What a parameter accepts, as the OpenAPI document has it."""
    for each in _described(request):
        if each["name"].lower() == name.lower():
            schema = each["schema"]
            if reference := schema.get("$ref"):
                schemas = request.app.openapi()["components"]["schemas"]
                schema = schemas[reference.rpartition("/")[2]]
            return _describe(schema)
    return None


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
    text = "text"
    if "maxLength" in schema:
        text += f" of {schema.get('minLength', 0)} to {schema['maxLength']} characters"
    if "pattern" in schema:
        text += f" that matches {schema['pattern']}"
    return text
