"""The stack that the examples talk to, with an API key and a webhook secret."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.deploy.admin.tenants import redis_of
from tests.deploy.examples.service import TENANT, Service
from tests.deploy.stack import RunningStack


@pytest.fixture(scope="package")
def service(stack: RunningStack) -> Iterator[Service]:
    with redis_of(stack.home.root) as redis:
        secret = WebhookSecrets(redis).create(TENANT).secret.get_secret_value()
        _, api_key = ApiKeys(redis).create(TENANT, ("write",))
    yield Service(stack.state().api_url, api_key, secret)
    stack.open_again()
