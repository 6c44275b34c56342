"""What is wrong with a field of a request, and what it accepts."""

from __future__ import annotations

from typing import Any

from panoweave.core.accepted_values import explain
from panoweave.service.schemas import PanoramaRequest


def field_problem(error: dict[str, Any]) -> tuple[str, str, str | None]:
    """Field, detail and legal values of one of pydantic's errors. Never quotes the input."""
    place, *location = error["loc"]
    if place != "body":  # pydantic's message for a parameter of the URL already has the limit
        return str(location[0]), str(error["msg"]).removeprefix("Value error, "), None
    field, detail, legal = explain(PanoramaRequest, {**error, "loc": location})
    if not field:
        return "body", "The body must be a JSON object", legal.removeprefix("an object with ")
    return field, detail, legal
