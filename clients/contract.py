"""The service's contract, as the clients' types are generated from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from panoweave.core.infra.settings import Settings
from panoweave.service.app import create_app

Schema = dict[str, Any]

OPENAI_PREFIX: Final = "/v1/"
_REFERENCE: Final = "#/components/schemas/"
# Of requests and answers, what a type cannot say. The service checks it.
_NOT_IN_TYPES: Final = frozenset(
    {
        *("if", "then", "else", "title", "examples", "contentEncoding", "pattern"),
        *("minLength", "maxLength", "minItems", "maxItems"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    }
)


def document() -> Schema:
    """The OpenAPI document that a server without any settings of its own publishes."""
    return create_app(Settings(_env_file=None)).openapi()


def operations(contract: Schema) -> Iterator[tuple[str, str, Schema]]:
    """Method, path and description of each operation that is not there for OpenAI's clients."""
    for path, by_method in contract["paths"].items():
        if path.startswith(OPENAI_PREFIX):
            continue
        for method, operation in by_method.items():
            yield method.upper(), path, operation


def problem_codes(contract: Schema) -> list[str]:
    """The `code` of every refusal: the document names its examples of refusals by them."""
    responses = [
        *(one for _, _, each in operations(contract) for one in each["responses"].values()),
        *contract["components"]["responses"].values(),
    ]
    refusals = (each.get("content", {}).get("application/problem+json") for each in responses)
    return sorted({code for refusal in refusals if refusal for code in refusal["examples"]})


def query_name(operation: Schema) -> str:
    """Such as `ListPanoramasQuery`."""
    words = operation["operationId"].split("_")
    return "".join(word.capitalize() for word in words) + "Query"


def request_schemas(contract: Schema) -> Schema:
    """The schemas of all requests' bodies and query parameters. None of their defaults: the
    service fills them in."""
    dropped = _NOT_IN_TYPES | {"default"}
    bodies, queries = [], {}
    for _, _, operation in operations(contract):
        bodies.append(operation.get("requestBody"))
        if query := [each for each in operation.get("parameters", ()) if each["in"] == "query"]:
            queries[query_name(operation)] = _plain(_query(query), dropped)
    return _reachable(contract, [bodies, queries], dropped) | queries


def _query(parameters: list[Schema]) -> Schema:
    described = {
        each["name"]: {"description": each.get("description", ""), **each["schema"]}
        for each in parameters
    }
    return {"type": "object", "properties": described}


def answer_schemas(contract: Schema) -> Schema:
    """The schemas of all answers, events and webhooks. Their enumerations are open: a newer
    service may answer with a value that this client does not know."""
    schemas = contract["components"]["schemas"]
    schemas["ProblemCode"] = {"type": "string", "enum": problem_codes(contract)}
    schemas["Problem"]["properties"]["code"] = {"$ref": f"{_REFERENCE}ProblemCode"}
    answers = [each["responses"] for _, _, each in operations(contract)]
    wanted = _reachable(contract, [answers, contract["webhooks"]], _NOT_IN_TYPES)
    return {name: _opened(schema) for name, schema in wanted.items()}


def _reachable(contract: Schema, parts: object, without: frozenset[str]) -> Schema:
    """The schemas that these parts of the document refer to, and those that they refer to."""
    schemas, found = contract["components"]["schemas"], {}
    waiting = list(_references(parts))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _plain(schemas[name], without)
            waiting += _references(found[name])
    return {name: found[name] for name in sorted(found)}


def _references(part: object) -> Iterator[str]:
    if isinstance(part, Mapping):
        reference = part.get("$ref", "")
        if isinstance(reference, str) and reference.startswith(_REFERENCE):
            yield reference.removeprefix(_REFERENCE)
        part = part.values()
    elif not isinstance(part, list):
        return
    for each in part:
        yield from _references(each)


def _plain(schema: Any, dropped: frozenset[str]) -> Any:
    """The schema without these keywords. Names of properties are no keywords."""
    if isinstance(schema, list):
        return [_plain(each, dropped) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _plain(each, dropped) for name, each in value.items()}
        if key == "properties"
        else _plain(value, dropped)
        for key, value in schema.items()
        if key not in dropped and (key, value) != ("additionalProperties", False)
    }


def _opened(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_opened(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    opened = {key: _opened(value) for key, value in schema.items()}
    if "enum" in opened and opened.get("type") == "string":
        known = {"type": opened.pop("type"), "enum": opened.pop("enum")}
        opened["anyOf"] = [known, {"type": "string", "x-other-text": True}]
    return opened
