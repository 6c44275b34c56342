"""The processes that the examples talk to: an API, a worker with a tiny model and a janitor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.redis import connect
from panoweave.core.infra.settings import Settings
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.deploy.local.ports import free_port
from tests.core import tiny
from tests.examples.service import TENANT, Service
from tests.processes import process, wait_until


@pytest.fixture(scope="package")
def service(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("examples")
    tiny.pipeline(folder / "tokenizer-files").save_pretrained(folder / "model")
    here = settings.model_copy(
        update={
            "model": str(folder / "model"),
            "device": "cpu",
            "port": free_port(),
            "janitor_interval_s": 0.2,
            "webhook_test_targets": True,
        }
    )
    log = folder / "log"
    with connect(here) as redis, ExitStack() as running:
        redis.flushall()
        _, api_key = ApiKeys(redis).create(TENANT, ("write",))
        secret = WebhookSecrets(redis).create(TENANT).secret.get_secret_value()
        made = Service(f"http://127.0.0.1:{here.port}", api_key, secret)
        for command in ("api", "worker", "janitor"):
            running.enter_context(process(command, here, log))

        def has_a_model() -> bool:
            try:
                with made.http() as http:
                    models = http.get("/models").json()
            except httpx.TransportError:
                return False
            return any(model["state"] == "ready" for model in models["items"])

        wait_until(has_a_model, 90, log)
        yield made
