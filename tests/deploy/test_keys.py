"""`panoweave keys`, as an operator uses it."""

from __future__ import annotations

import re

import pytest
from redis import Redis

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.settings import Settings
from tests.deploy.stack import Cli


def test_a_key_is_made_shown_once_and_revoked(cli: Cli, settings: Settings, redis: Redis) -> None:
    environment = {"PANOWEAVE_REDIS_URL": settings.redis_url.get_secret_value()}
    made = cli("keys", "create", "--tenant", "ada", **environment)
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    port = settings.redis_url.get_secret_value().rpartition(":")[2].partition("/")[0]
    assert f"stored in the Redis at 127.0.0.1:{port}" in " ".join(made.stderr.split())
    assert re.fullmatch(r"pw_\w{16}_[\w-]{43}", token)
    key = ApiKeys(redis).find(token)
    assert key is not None
    assert (key.tenant, key.scopes) == ("ada", ("write",))
    listed = cli("keys", "list", **environment)
    assert key.id in listed.stdout
    assert token not in listed.stdout
    assert cli("keys", "revoke", key.id, **environment).returncode == 0
    assert ApiKeys(redis).find(token) is None
    again = cli("keys", "revoke", key.id, **environment)
    assert (again.returncode, "panoweave keys list" in again.stderr) == (1, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tenant", "Ada!"], "--tenant"),
        (["--tenant", "ada", "--scope", "all"], "read, write, scaling, admin"),
    ],
)
def test_what_is_no_tenant_or_scope_is_refused(cli: Cli, options: list[str], said: str) -> None:
    done = cli("keys", "create", *options)
    assert done.returncode == 2
    assert said in done.stderr


def test_without_redis_it_says_what_to_do(cli: Cli) -> None:
    done = cli("keys", "list", PANOWEAVE_REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert "panoweave up" in done.stderr
