"""The stack that the examples talk to, with an API key and a webhook secret."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.deploy.examples.service import TENANT, Service
from tests.deploy.stack import COMMAND, RunningStack, environment


@pytest.fixture(scope="package")
def service(stack: RunningStack) -> Iterator[Service]:
    def panoweave(*arguments: str) -> str:
        command = [*COMMAND, *arguments, "--data", str(stack.home.root)]
        return subprocess.run(
            command, env=environment(), check=True, capture_output=True, text=True
        ).stdout.strip()

    secret = panoweave("webhook-secrets", "create", "--tenant", TENANT)
    api_key = panoweave("keys", "create", "--tenant", TENANT)
    yield Service(stack.state().api_url, api_key, secret)
    stack.open_again()
