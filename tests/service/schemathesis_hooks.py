"""What schemathesis.toml cannot say of how to test the service."""

from __future__ import annotations

import uuid
from typing import Any

import schemathesis
from schemathesis import Case, HookContext


@schemathesis.hook
def before_call(_context: HookContext, case: Case[Any], _kwargs: dict[str, Any]) -> None:
    """A key of its own for each request of a walk. The answer to one that was used before is
    that of a panorama which the walk may have deleted, and which is rightly not found. And one
    panorama for each: a batch has no `id` that links could lead to."""
    is_walk = case.meta is not None and case.meta.phase.name.value == "stateful"
    if is_walk and case.headers and case.headers.get("idempotency-key"):
        case.headers["idempotency-key"] = str(uuid.uuid4())
    if is_walk and isinstance(case.body, dict):
        case.body.pop("n", None)
