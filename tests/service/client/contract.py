"""What the OpenAPI document offers, and what a client has sent of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import httpx

from clients.contract import operations

# `watch` and waiting are what polling with an ETag is for.
NOT_SENT: Final = {("get_panorama", "if-none-match")}


def described(document: dict[str, Any]) -> set[tuple[str, str]]:
    """Each operation with each of its parameters, and with none."""
    found = set()
    for _, _, operation in operations(document):
        found.add((operation["operationId"], ""))
        for each in operation.get("parameters", ()):
            if each["in"] != "path":
                found.add((operation["operationId"], each["name"]))
    return found


def recognised(document: dict[str, Any], sent: Iterable[httpx.Request]) -> set[tuple[str, str]]:
    found = set()
    for request in sent:
        names = {*request.url.params, *request.headers}
        operation = _operation(document, request)
        if operation is not None:
            parameters = {each["name"] for each in operation.get("parameters", ())}
            found |= {(operation["operationId"], name) for name in (parameters & names) | {""}}
    return found


def _operation(document: dict[str, Any], request: httpx.Request) -> dict[str, Any] | None:
    asked = request.url.path.split("/")
    for path, by_method in document["paths"].items():
        parts = path.split("/")
        if len(parts) == len(asked) and all(
            part.startswith("{") or part == given for part, given in zip(parts, asked, strict=True)
        ):
            operation: dict[str, Any] | None = by_method.get(request.method.lower())
            return operation
    return None
