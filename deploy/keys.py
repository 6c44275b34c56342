"""`panoweave keys`: who may use the API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from rich.markup import escape
from rich.table import Table

from core.jobs.api_keys import SCOPES, ApiKeys, NoSuchKey, Scope, TenantName
from core.jobs.connection import connect
from core.jobs.failures import StoreUnavailable
from deploy.console import err, out
from deploy.errors import BadOption, DeployError
from deploy.local.data_dir import DataDir
from deploy.settings import read_settings


def create(tenant: str, scopes: Sequence[str], data: Path) -> int:
    try:
        name = TypeAdapter(TenantName).validate_python(tenant)
    except ValidationError as error:
        raise BadOption(
            f"--tenant: {tenant!r}; legal: up to 63 small letters, digits and hyphens"
        ) from error
    try:
        held = TypeAdapter(tuple[Scope, ...]).validate_python(tuple(scopes))
    except ValidationError as error:
        raise BadOption(f"--scope: {', '.join(scopes)}; legal: {', '.join(SCOPES)}") from error
    with _api_keys(data) as keys:
        key, token = keys.create(name, held)
    print(token)  # alone, so that a script can take it
    err.print(f"key {key.id} of {escape(name)}; its token is shown this once", style="dim")
    return 0


def show(data: Path) -> int:
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "tenant", "scopes", "created"):
        table.add_column(heading)
    with _api_keys(data) as keys:
        for key in keys.all():
            created = f"{key.created_at:%Y-%m-%d %H:%M} UTC"
            table.add_row(key.id, escape(key.tenant), ", ".join(key.scopes), created)
    out.print(table if table.row_count else "no keys: the API serves loopback only, to everybody")
    return 0


def revoke(key_id: str, data: Path) -> int:
    with _api_keys(data) as keys:
        try:
            keys.revoke(key_id)
        except NoSuchKey as error:
            raise DeployError(str(error), "`panoweave keys list` shows those there are") from error
    out.print(f"revoked {escape(key_id)}")
    return 0


@contextmanager
def _api_keys(data: Path) -> Iterator[ApiKeys]:
    """Of the stack that runs on this data directory, else of the settings' Redis."""
    home = DataDir(data)
    settings = read_settings(home.read_env() if home.running() else None)
    with connect(settings) as redis:
        try:
            yield ApiKeys(redis)
        except StoreUnavailable as error:
            raise DeployError(
                str(error), "start the stack (panoweave up), or set PANOWEAVE_REDIS_URL"
            ) from error
