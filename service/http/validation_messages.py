"""What a field of the request accepts, in words, read off the request's own JSON schema.

The limits stand in panoweave.core.params alone; a message that repeated one would be a second home.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from panoweave.service.schemas import PanoramaRequest

_MAX_NAME_CHARS = 64
_Schema = dict[str, Any]


def field_problem(error: dict[str, Any]) -> tuple[str, str, str | None]:
    """Field, detail and legal values of one of pydantic's errors. Never quotes the input."""
    place, *location = error["loc"]
    detail = str(error["msg"]).removeprefix("Value error, ")
    if place != "body":  # a parameter of the URL: pydantic's message holds its limit
        return str(location[0]), detail, None
    if not location:
        return "body", "The body must be a JSON object", _fields_of(_root())
    if error["type"] == "extra_forbidden":
        parent, _ = _walk(location[:-1])
        field = ".".join(str(part)[:_MAX_NAME_CHARS] for part in location)
        return field, "There is no such field", _fields_of(parent)
    schema, path = _walk(location)
    return ".".join(path), detail, _describe(schema)


@cache
def _root() -> _Schema:
    return PanoramaRequest.model_json_schema()


def _walk(location: list[Any]) -> tuple[_Schema, list[str]]:
    """The schema at a location and the location's fields: pydantic adds the branch of a union."""
    schema, path = _root(), []
    for part in location:
        whole = _resolved(schema)
        if isinstance(part, int) and "items" in whole:
            schema = whole["items"]
        elif part in whole.get("properties", {}):
            schema = whole["properties"][part]
        else:
            break
        path.append(str(part))
    return schema, path


def _resolved(schema: _Schema) -> _Schema:
    """A definition by its reference; of what may be an object or null, the object."""
    branches = [branch for branch in schema.get("anyOf", []) if "$ref" in branch]
    reference = branches[0]["$ref"] if len(branches) == 1 else schema.get("$ref")
    if reference is None:
        return schema
    definition: _Schema = _root()["$defs"][reference.rpartition("/")[2]]
    return definition


def _fields_of(schema: _Schema) -> str:
    return "the fields " + ", ".join(_resolved(schema)["properties"])


def _describe(schema: _Schema) -> str:
    if "anyOf" not in schema:
        schema = _resolved(schema)
    else:
        return " or ".join(_describe(branch) for branch in schema["anyOf"])
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        return " or ".join(repr(value) for value in schema["enum"])
    match schema.get("type"):
        case "null":
            return "null"
        case "boolean":
            return "true or false"
        case "string":
            least, most = schema.get("minLength", 0), schema["maxLength"]
            return f"text of {least} to {most:,} characters, not white space alone"
        case "integer":
            most = schema["maximum"] if "maximum" in schema else schema["exclusiveMaximum"] - 1
            return f"a whole number from {schema['minimum']} to {most}"
        case "number":
            above = "exclusiveMinimum" in schema
            least = f"above {schema['exclusiveMinimum']}," if above else f"from {schema['minimum']}"
            return f"a number {least} to {schema['maximum']}"
        case "object" if "properties" in schema:
            return "an object with " + _fields_of(schema)
    return str(schema["description"])
