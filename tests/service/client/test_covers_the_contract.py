"""The Python client has everything that the OpenAPI document has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import httpx
import pytest
from redis import Redis

from panoweave.core.infra.api_keys import ApiKeys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.store import JobStore
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.service.http import errors
from panoweave_client import Panoweave, __version__, answers, requests
from tests.jobs.samples import FAILURE
from tests.service.client.contract import NOT_SENT, described, recognised
from tests.service.steps import finish, start

ROOT = Path(__file__).parents[3]
BATCH = "batch_01m8ez2cxbqcnh8w1er8y7m726"


@pytest.fixture
def sent() -> list[httpx.Request]:
    return []


@pytest.fixture
def client(api: httpx.Client, redis: Redis, sent: list[httpx.Request]) -> Iterator[Panoweave]:
    _, key = ApiKeys(redis).create("default", ("admin",))
    with Panoweave(str(api.base_url), key) as opened:
        opened._http.event_hooks["request"].append(sent.append)
        yield opened


def test_every_operation_and_parameter_can_be_sent(
    client: Panoweave,
    api: httpx.Client,
    sent: list[httpx.Request],
    redis: Redis,
    store: JobStore,
    objects: ObjectStore,
) -> None:
    WebhookSecrets(redis).create("default")
    done = client.submit(prompt="a hill", wait_s=0, traceparent=f"00-{'1' * 32}-{'2' * 16}-01")
    finish(store, objects, done.id)
    token = client.create_token().token
    client.get(done.id, wait_s=0)
    client.image(done.id, redirect=False, token=token)
    client.preview(done.id, redirect=False, token=token)
    list(client.watch(done.id, last_event_id="1-0", token=token))
    query: requests.ListPanoramasQuery = {
        "status": ["succeeded", "failed"],
        "created_after": "2026-11-26T11:02:26Z",
        "created_before": "2026-11-27T11:02:26Z",
        "metadata": ["order:7"],
        "limit": 1,
        "cursor": done.id,
        "total": True,
        "batch_id": BATCH,
    }
    client.list_page(**query)
    client.deliveries(done.id)
    client.delete(done.id)

    failed = client.submit(
        prompt="a hill", webhook={"url": "https://example.com/", "events": ["panorama.failed"]}
    )
    _, worker = start(store, failed.id)
    store.fail(failed.id, worker, FAILURE)
    (delivery,) = client.deliveries(failed.id).items
    client.redeliver(failed.id, id=[delivery.id])
    client.retry(failed.id)
    client.cancel(failed.id)

    client._send("POST", "/uploads")  # `upload` goes on to the object store
    (model,) = client.models().items
    client.scaling(model.model, seconds_per_worker=60)
    client.usage(by="month")
    client.livez()
    client.readyz()
    client.status()
    client.metrics()
    made = client.create_key(tenant="default", scopes=["read"])
    assert made.id in [each.id for each in client.keys().items]
    client.revoke_key(made.id)
    ping = client.ping_webhook(tenant="default", url="https://example.com/", wait_s=0)
    assert client.webhook_ping(ping.id) == ping
    client.list_tenant_page("default", **query)
    client.cancel_of_tenant("default", failed.id)

    document = api.get("/openapi.json").json()
    assert described(document) - NOT_SENT == recognised(document, sent) - NOT_SENT


def test_every_field_of_a_request_can_be_given(api: httpx.Client) -> None:
    schemas = api.get("/openapi.json").json()["components"]["schemas"]
    for name in ("PanoramaRequest", "Region", "SyncParams", "Output", "Extend", "Control"):
        assert getattr(requests, name).__annotations__.keys() == schemas[name]["properties"].keys()


def test_every_error_code_is_known() -> None:
    def below(kind: type[errors.ServiceError]) -> Iterator[str]:
        for each in kind.__subclasses__():
            yield from below(each)
            if "code" in vars(each):
                yield each.code

    known, _any = get_args(answers.ProblemCode.__value__)
    only_for_openai = {errors.PanoramaFailed.code, errors.PanoramaCancelled.code}
    assert set(get_args(known)) == set(below(errors.ServiceError)) - only_for_openai


def test_clients_and_service_have_one_version(api: httpx.Client) -> None:
    package = json.loads((ROOT / "clients/typescript/package.json").read_text())
    version = api.get("/openapi.json").json()["info"]["version"]
    assert version == __version__ == package["version"]
