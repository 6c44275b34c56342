"""`panoweave webhook-secrets`, as an operator uses it."""

from __future__ import annotations

import re

from redis import Redis

from panoweave.core.infra.settings import Settings
from panoweave.core.webhooks.secrets import WebhookSecrets
from tests.deploy.stack import Cli


def test_a_secret_is_made_shown_once_and_revoked(
    cli: Cli, cli_here: Cli, settings: Settings, redis: Redis
) -> None:
    environment = {"PANOWEAVE_REDIS_URL": settings.redis_url.get_secret_value()}
    of_ada = ("--tenant", "ada")
    made = cli("webhook-secrets", "create", *of_ada, **environment)
    assert made.returncode == 0, made.stderr
    text = made.stdout.strip()
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", text)
    (known,) = WebhookSecrets(redis).of("ada")
    assert known.secret.get_secret_value() == text
    listed = cli_here("webhook-secrets", "list", *of_ada, **environment)
    assert known.id in listed.stdout
    assert text not in listed.stdout
    revoke = ("webhook-secrets", "revoke", known.id, *of_ada)
    assert cli_here(*revoke, **environment).returncode == 0
    assert WebhookSecrets(redis).of("ada") == []
    again = cli_here(*revoke, **environment)
    assert (again.returncode, "webhook-secrets list" in again.stderr) == (1, True)
