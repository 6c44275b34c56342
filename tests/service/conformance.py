"""Every answer that a test gets is held against the published contract."""

from __future__ import annotations

from functools import cache

import httpx
import schemathesis
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from panoweave.core.infra.settings import Settings
from panoweave.service.app import create_app

_CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@cache
def contract() -> OpenApiSchema:
    return schemathesis.openapi.from_dict(create_app(Settings()).openapi())


def check(answer: httpx.Response) -> None:
    """An httpx hook for answers. What the contract does not name, such as /docs, passes."""
    is_stream = answer.headers.get("content-type", "").startswith("text/event-stream")
    operation = contract().find_operation_by_path(answer.request.method, answer.url.path)
    # The answers to HEAD are those to GET without their bodies; the document has no HEAD.
    if is_stream or operation is None or answer.request.method == "HEAD":
        return
    answer.read()
    # Without the request's body: one that was streamed cannot be read again.
    asked = httpx.Request(answer.request.method, answer.request.url)
    read = httpx.Response(
        answer.status_code, headers=answer.headers, content=answer.content, request=asked
    )
    read.elapsed = answer.elapsed
    somewhere = {parameter.name: "any" for parameter in operation.path_parameters}
    operation.Case(path_parameters=somewhere).validate_response(read, checks=_CHECKS)
    if answer.is_error:
        documented = operation.responses.find_by_status_code(answer.status_code)
        (content,) = documented.definition["content"].values()
        problem = answer.json()
        assert problem.get("error", problem)["code"] in content["examples"]
