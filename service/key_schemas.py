"""The JSON of API keys."""

from __future__ import annotations

from pydantic import Field

from panoweave.core.checkpoint import Params
from panoweave.core.infra.api_keys import Scope, StoredScope
from panoweave.core.jobs.record import is_none
from panoweave.core.jobs.times import Timestamp
from panoweave.service.tenant_names import AskedTenant
from panoweave.service.view import View

MAX_LABEL_CHARS = 100
MAX_EXPIRES_IN_S = 315_360_000  # ten years
KEY_ID_PATTERN = "^[0-9a-f]{16}$"


class KeyRequest(Params):
    tenant: AskedTenant = Field(
        description="Lower-case letters, digits and hyphens. It need not have any keys yet."
    )
    scopes: list[Scope] = Field(
        min_length=1,
        max_length=4,
        description="a list of the scopes: read, write, scaling, admin",
    )
    label: str | None = Field(
        None, min_length=1, max_length=MAX_LABEL_CHARS, description="What the key is for."
    )
    expires_in: int | None = Field(
        None,
        ge=1,
        le=MAX_EXPIRES_IN_S,
        description="Seconds after which it is refused. Default: it does not expire.",
    )


class KeyView(View):
    id: str
    tenant: str
    scopes: list[StoredScope]
    created_at: Timestamp
    label: str | None = Field(None, exclude_if=is_none)
    expires_at: Timestamp | None = Field(
        None,
        exclude_if=is_none,
        description="From then on it is refused. Absent: it does not expire.",
    )
    last_used_at: Timestamp | None = Field(
        None,
        exclude_if=is_none,
        description="When it was last used, to a minute. Absent: no use was stored.",
    )


class NewKeyView(KeyView):
    token: str = Field(description="What its owner sends. It cannot be shown again.")


class KeyList(View):
    items: list[KeyView] = Field(description="Oldest first; expired ones too, until revoked.")
