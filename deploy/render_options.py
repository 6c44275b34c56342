"""The options of `panoweave render`, derived from the fields of the parameters.

A parameter that is a single value has an option: `steps` is --steps, `sync.weight` is
--sync-weight. Lists and pictures come in the file of --params.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final

import typer

from panoweave.core.params import PanoramaParams

_NO_OPTION: Final = {("prompt",), ("output", "format")}  # an argument; the ending of --output
_TYPES: Final = {"integer": int, "number": float, "boolean": bool, "string": str}

FieldPath = tuple[str, ...]
Schema = dict[str, Any]


def with_parameter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every parameter, instead of its `**parameters`."""
    signature = inspect.signature(command, eval_str=True)
    written = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    derived = [_option(path, field) for path, field in _FIELDS.items()]
    # typer reads a command's options from its signature.
    command.__signature__ = signature.replace(parameters=[*written, *derived])  # type: ignore[attr-defined]
    return command


def to_request(options: Mapping[str, Any]) -> dict[str, Any]:
    """The request's fields, nested, of the options that were given."""
    request: dict[str, Any] = {}
    for path in _FIELDS:
        value = options["_".join(path)]
        if value is not None:
            *sections, name = path
            fields = request
            for section in sections:
                fields = fields.setdefault(section, {})
            fields[name] = value
    return request


def option_name(field: str) -> str:
    """The name under which a person gives a field: PROMPT, --sync-weight or regions.0.width."""
    path = tuple(field.split("."))
    if path == ("prompt",):
        return "PROMPT"
    return _flag(path) if path in _FIELDS else ".".join(path)


def _flag(path: FieldPath) -> str:
    return f"--{'-'.join(path).replace('_', '-')}"


def _option(path: FieldPath, field: Schema) -> inspect.Parameter:
    branches = _branches(field)
    words = [str(word) for one in branches for word in one.get("enum", [one.get("const")]) if word]
    kind: Any = _TYPES[branches[0]["type"]]
    option: dict[str, Any] = {"metavar": "|".join(words) or None}
    if len(branches) > 1:
        kind = Any
        option = {"metavar": "|".join([*words, "int"]), "parser": _number_or_word}
    default = field.get("default")
    text: str = field.get("description", "")
    # A flag that is off by default needs no --no-flag.
    names = [_flag(path)] if default is False else []
    return inspect.Parameter(
        "_".join(path),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            kind | None,
            typer.Option(*names, help=f"{text} Default: {default}." if default else text, **option),
        ],
    )


def _number_or_word(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _single_values(
    model: Schema, definitions: Schema, section: FieldPath = ()
) -> Iterator[tuple[FieldPath, Schema]]:
    """The fields with one value, at the top and in the objects that every request has."""
    for name, field in model["properties"].items():
        path = (*section, name)
        branches = _branches(field)
        if len(branches) == 1 and "$ref" in branches[0]:
            if field.get("default", ...) is not None:
                nested = definitions[branches[0]["$ref"].rpartition("/")[2]]
                yield from _single_values(nested, definitions, path)
        elif path not in _NO_OPTION and all(one.get("type") in _TYPES for one in branches):
            yield path, field


def _branches(field: Schema) -> list[Schema]:
    """What a field may be, besides null."""
    return [one for one in field.get("anyOf", [field]) if one.get("type") != "null"]


_SCHEMA: Final = PanoramaParams.model_json_schema()
_FIELDS: Final = dict(_single_values(_SCHEMA, _SCHEMA["$defs"]))
