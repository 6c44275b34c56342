"""What a field of a model accepts, in words, read off the model's JSON schema. Torch-free.

The limits stand at the fields alone; a message that repeated one would be a second home for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel

_MAX_NAME_CHARS = 64
_Schema = dict[str, Any]


class FieldError(NamedTuple):
    """One thing that is wrong with a model's input. Never quotes the input's values."""

    field: str  # "" is the whole input
    detail: str
    legal: str


def explain(model: type[BaseModel], error: Mapping[str, Any]) -> FieldError:
    """One of pydantic's errors about the model, with what would be legal there."""
    location, detail = error["loc"], str(error["msg"]).removeprefix("Value error, ")
    schema = _Describer(_schema_of(model))
    if error["type"] == "extra_forbidden":
        field = ".".join(str(part)[:_MAX_NAME_CHARS] for part in location)
        parent, _ = schema.at(location[:-1])
        return FieldError(field, "There is no such field", schema.fields_of(parent))
    found, path = schema.at(location)
    return FieldError(".".join(path), detail, schema.describe(found))


@cache
def _schema_of(model: type[BaseModel]) -> _Schema:
    return model.model_json_schema()


class _Describer:
    def __init__(self, root: _Schema) -> None:
        self._root = root

    def at(self, location: Sequence[int | str]) -> tuple[_Schema, list[str]]:
        """The schema at a location, and the location's fields: pydantic's also names branches."""
        schema: _Schema = self._root
        path: list[str] = []
        for part in location:
            whole = self._resolved(schema)
            if isinstance(part, int) and "items" in whole:
                schema = whole["items"]
            elif part in whole.get("properties", {}):
                schema = whole["properties"][part]
            else:
                break
            path.append(str(part))
        return schema, path

    def fields_of(self, schema: _Schema) -> str:
        return "the fields " + ", ".join(self._resolved(schema)["properties"])

    def describe(self, schema: _Schema) -> str:
        if "anyOf" in schema:
            return " or ".join(self.describe(branch) for branch in schema["anyOf"])
        schema = self._resolved(schema)
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
                filled = ", not white space alone" if "pattern" in schema else ""
                return f"text of {least} to {most:,} characters{filled}"
            case "integer":
                most = schema["maximum"] if "maximum" in schema else schema["exclusiveMaximum"] - 1
                return f"a whole number from {schema['minimum']} to {most}"
            case "number":
                above = "exclusiveMinimum" in schema
                least = (
                    f"above {schema['exclusiveMinimum']}," if above else f"from {schema['minimum']}"
                )
                below = "exclusiveMaximum" in schema
                most = f"below {schema['exclusiveMaximum']}" if below else f"to {schema['maximum']}"
                return f"a number {least} {most}"
            case "object" if "properties" in schema:
                return "an object with " + self.fields_of(schema)
        return str(schema["description"]).rstrip(".")

    def _resolved(self, schema: _Schema) -> _Schema:
        """A definition by its reference; for an object or null, the object."""
        branches = [each for each in schema.get("anyOf", []) if each != {"type": "null"}]
        if len(branches) == 1:
            schema = branches[0]
        references = [each["$ref"] for each in branches if "$ref" in each]
        reference = references[0] if len(references) == 1 else schema.get("$ref")
        if reference is None:
            return schema
        definition: _Schema = self._root["$defs"][reference.rpartition("/")[2]]
        return definition
