"""What every refusal has in common."""

from __future__ import annotations

from typing import Any

import httpx


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer's problem, after checking that it is one."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert body["status"] == status
    assert body["type"] == f"urn:panoweave:problem:{code}"
    assert body["title"]
    assert body["detail"]
    return body


def at_fault(answer: httpx.Response) -> dict[str, Any]:
    """The one field that a 422 names."""
    (error,) = problem(answer, 422, "invalid_params")["errors"]
    assert error["detail"]
    return dict(error)
