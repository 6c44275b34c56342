"""The names of tenants in requests."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.infra.api_keys import TENANT_PATTERN

# Documented here and checked by `check_tenant`, whose refusal says it in words.
AskedTenant = Annotated[
    str, Field(min_length=1, max_length=63, json_schema_extra={"pattern": TENANT_PATTERN})
]


def check_tenant(name: str) -> None:
    """Raises InvalidParams."""
    if not re.fullmatch(TENANT_PATTERN, name):
        legal = "1 to 63 lower-case letters, digits and hyphens, of which the first is no hyphen"
        raise InvalidParams("tenant", "is no tenant's name", legal)
