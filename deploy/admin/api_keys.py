"""`panoweave keys`: API keys, which say who may use the API."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from rich.markup import escape
from rich.table import Table

from panoweave.core.infra.api_keys import SCOPES, ApiKeys, Scope
from panoweave.core.infra.errors import NoSuchKey
from panoweave.deploy.admin.tenants import address, redis_of, tenant_name
from panoweave.deploy.errors import BadOption, DeployError
from panoweave.deploy.terminal import err, out


def create(tenant: str, scopes: Sequence[str], data: Path) -> int:
    name = tenant_name(tenant)
    try:
        held = TypeAdapter(tuple[Scope, ...]).validate_python(tuple(scopes))
    except ValidationError as error:
        raise BadOption(f"--scope: {', '.join(scopes)}; legal: {', '.join(SCOPES)}") from error
    with redis_of(data) as redis:
        key, token = ApiKeys(redis).create(name, held)
        stored_in = address(redis)
    print(token)  # alone on stdout, for scripts
    err.print(
        f"key {key.id} of {escape(name)}, stored in the Redis at {escape(stored_in)}; "
        "its token cannot be shown again",
        style="dim",
    )
    return 0


def show(data: Path) -> int:
    table = Table(box=None, pad_edge=False)
    table.add_column("id", no_wrap=True)  # to copy
    for heading in ("tenant", "scopes", "label", "created", "expires", "last used"):
        table.add_column(heading)
    with redis_of(data) as redis:
        keys = ApiKeys(redis)
        used = keys.last_used()
        for key in keys.all():
            expired = " (expired)" if key.has_expired() else ""
            table.add_row(
                *(key.id, escape(key.tenant), ", ".join(key.scopes), escape(key.label or "-")),
                *(_time(key.created_at), _time(key.expires_at) + expired, _time(used.get(key.id))),
            )
    out.print(table if table.row_count else "no keys")
    return 0


def revoke(key_id: str, data: Path) -> int:
    with redis_of(data) as redis:
        try:
            ApiKeys(redis).revoke(key_id)
        except NoSuchKey as error:
            raise DeployError(str(error), "`panoweave keys list` shows the keys") from error
    out.print(f"revoked {escape(key_id)}")
    return 0


def _time(time: datetime | None) -> str:
    return "-" if time is None else f"{time:%Y-%m-%d %H:%M} UTC"
