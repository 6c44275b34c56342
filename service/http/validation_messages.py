"""What is wrong with a field of a request, and what it accepts."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from panoweave.core.accepted_values import explain
from panoweave.service.http.parameters import legal_values


def field_problem(request: Request, error: dict[str, Any]) -> tuple[str, str, str | None]:
    """Field, detail and legal values of one of pydantic's errors. Never quotes the input."""
    place, *location = error["loc"]
    if place != "body":
        name = str(location[0])
        detail = str(error["msg"]).removeprefix("Value error, ")
        return name, detail, legal_values(request, name)
    body = request.scope["route"].body_field.field_info.annotation
    field, detail, legal = explain(body, {**error, "loc": location})
    if not field:
        return "body", "The body must be a JSON object", legal.removeprefix("an object with ")
    return field, detail, legal
