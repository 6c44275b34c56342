"""`panoweave keys`, as an operator uses it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis
from rich.console import Console

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.settings import Settings
from panoweave.deploy.admin import api_keys
from tests.deploy.stack import Cli


def test_a_key_is_made_shown_once_and_revoked(
    cli: Cli, cli_here: Cli, settings: Settings, redis: Redis
) -> None:
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
    listed = cli_here("keys", "list", **environment)
    assert key.id in listed.stdout
    assert token not in listed.stdout
    assert cli_here("keys", "revoke", key.id, **environment).returncode == 0
    assert ApiKeys(redis).find(token) is None
    again = cli_here("keys", "revoke", key.id, **environment)
    assert (again.returncode, "panoweave keys list" in again.stderr) == (1, True)


def test_the_list_shows_what_an_operator_revokes_by(
    settings: Settings, redis: Redis, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    keys = ApiKeys(redis)
    expires_at = datetime(2031, 1, 2, 3, 4, tzinfo=UTC)
    shop, token = keys.create("ada", ("read",), label="the [shop]", expires_at=expires_at)
    old, _ = keys.create("bob", ("write",), expires_at=datetime(2026, 1, 2, tzinfo=UTC))
    keys.find(token)
    used_at = keys.last_used()[shop.id]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PANOWEAVE_REDIS_URL", settings.redis_url.get_secret_value())
        patch.setattr(api_keys, "out", Console(width=200))
        assert api_keys.show(tmp_path) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == [
        *("id", "tenant", "scopes", "label"),
        *("created", "expires"),
        "last",
        "used",
    ]
    cells = re.split(r"  +", first)
    assert cells[:4] == [shop.id, "ada", "read", "the [shop]"]
    assert cells[5:] == ["2031-01-02 03:04 UTC", f"{used_at:%Y-%m-%d %H:%M} UTC"]
    never_used = re.split(r"  +", second.rstrip())
    assert (never_used[0], never_used[3]) == (old.id, "-")
    assert never_used[5:] == ["2026-01-02 00:00 UTC (expired)", "-"]


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
