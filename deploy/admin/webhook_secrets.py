"""`panoweave webhook-secrets`: the secrets that sign a tenant's webhooks."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from panoweave.core.webhooks.secrets import NoSuchSecret, WebhookSecrets
from panoweave.deploy.admin.tenants import address, redis_of, tenant_name
from panoweave.deploy.errors import DeployError
from panoweave.deploy.terminal import err, out


def create(tenant: str, data: Path) -> int:
    with redis_of(data) as redis:
        made = WebhookSecrets(redis).create(tenant_name(tenant))
        stored_in = address(redis)
    print(made.secret.get_secret_value())  # alone on stdout, for scripts
    err.print(
        f"secret {made.id} of {escape(tenant)}, stored in the Redis at {escape(stored_in)}; it "
        "cannot be shown again. The tenant's other secrets sign too, until they are revoked",
        style="dim",
    )
    return 0


def show(tenant: str, data: Path) -> int:
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "created"):
        table.add_column(heading)
    with redis_of(data) as redis:
        for secret in WebhookSecrets(redis).of(tenant_name(tenant)):
            table.add_row(secret.id, f"{secret.created_at:%Y-%m-%d %H:%M} UTC")
    out.print(table if table.row_count else "no secrets: webhooks of this tenant are refused")
    return 0


def revoke(tenant: str, secret_id: str, data: Path) -> int:
    with redis_of(data) as redis:
        try:
            WebhookSecrets(redis).revoke(tenant_name(tenant), secret_id)
        except NoSuchSecret as error:
            remedy = "`panoweave webhook-secrets list` shows the secrets"
            raise DeployError(str(error), remedy) from error
    out.print(f"revoked {escape(secret_id)}")
    return 0
