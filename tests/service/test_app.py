from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import httpx
import pytest
from redis import Redis

from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.core.jobs.models import ModelState
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import TRAITS, new_record
from tests.s3_dialects import s3_that_speaks
from tests.service.checks import problem
from tests.service.pictures import inline, png
from tests.service.server import publish_model, serving


def test_the_service_imports_nothing_that_makes_pictures() -> None:
    script = (
        "import sys, panoweave.service.app\n"
        "from panoweave.core.infra.settings import Settings\n"
        "from panoweave.service.model_files import ModelFiles\n"
        "assert ModelFiles(Settings()).traits('embedded').window_px\n"
        "heavy = {'torch', 'torchvision', 'diffusers', 'transformers', 'numpy'}\n"
        "print(*heavy & set(sys.modules))\n"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == ""


def test_models_are_listed_with_their_workers(api: httpx.Client, redis: Redis) -> None:
    models.publish(
        redis,
        ModelState(model="embedded", state="loading", perceptual="stlpips-alex", worker="worker-2"),
    )
    (model,) = api.get("/models").json()["items"]
    assert (model["model"], model["state"], model["workers"]) == ("embedded", "ready", 2)
    assert model["traits"] == TRAITS.model_dump()
    models.withdraw(redis, "worker-1")
    models.withdraw(redis, "worker-2")
    (model,) = api.get("/models").json()["items"]
    assert (model["state"], model["workers"]) == ("offline", 0)


def test_operators_see_what_waits_runs_and_works(
    api: httpx.Client, redis: Redis, settings: Settings
) -> None:
    store = JobStore(redis, settings)
    for tenant in ("ada", "bob", "bob"):
        store.create(new_record(tenant=tenant))
    store.claim("worker-1", "embedded")
    status = api.get("/status").json()
    assert (status["queued"], status["running"], status["s3"]) == (2, 1, "ok")
    assert [(worker["name"], worker["state"]) for worker in status["workers"]] == [
        ("worker-1", "ready")
    ]
    assert [model["model"] for model in status["models"]] == ["embedded"]


def test_operators_see_that_the_bucket_is_away(settings: Settings, redis: Redis) -> None:  # noqa: ARG001
    with serving(settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:1"})) as api:
        assert api.get("/status").json()["s3"] == "away"


def test_operators_see_what_a_bucket_refuses_and_the_log_says_it(
    settings: Settings, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    publish_model(redis)
    body = {"prompt": "a hill", "anchor_image": inline(png())}
    with s3_that_speaks("other-region") as (_, s3):
        changes = {name: getattr(s3, name) for name in ("s3_endpoint", "s3_bucket")}
        with serving(settings.model_copy(update=changes)) as api:
            status = api.get("/status").json()
            problem(api.post("/panoramas", json=body), 503, "storage_unavailable")
    assert (status["s3"], status["s3_detail"]) == ("away", "set PANOWEAVE_S3_REGION=eu-central-1")
    assert "storage_unavailable: set PANOWEAVE_S3_REGION=eu-central-1" in caplog.text


def test_the_documentation_loads_nothing_from_elsewhere(bare_api: httpx.Client) -> None:
    page = bare_api.get("/docs")
    assert page.status_code == 200
    loaded = re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text)
    assert len(loaded) >= 3
    for path in loaded:
        assert path.startswith("/")
        assert bare_api.get(path).status_code == 200
    assert "http" not in page.text.replace("http-equiv", "").partition("SwaggerUIBundle(")[0]
    assert "default-src 'self'" in page.headers["content-security-policy"]


def test_every_answer_keeps_browsers_from_guessing(bare_api: httpx.Client) -> None:
    """And none lets a page from elsewhere read it."""
    origin = {"Origin": "https://elsewhere.example"}
    for answer in (
        bare_api.get("/livez", headers=origin),
        bare_api.get("/nowhere", headers=origin),
        bare_api.post("/panoramas", content=b"{", headers=origin),
        bare_api.options("/panoramas", headers={**origin, "Access-Control-Request-Method": "POST"}),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_the_contract_is_published_whole(bare_api: httpx.Client) -> None:
    document: dict[str, Any] = bare_api.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/panoramas",
        "/panoramas/{job_id}",
        "/panoramas/{job_id}/cancel",
        "/panoramas/{job_id}/deliveries",
        "/panoramas/{job_id}/deliveries/redeliver",
        "/panoramas/{job_id}/events",
        "/panoramas/{job_id}/image",
        "/panoramas/{job_id}/preview",
        "/panoramas/{job_id}/retry",
        "/tokens",
        "/uploads",
        "/usage",
        "/v1/images/generations",
        "/v1/models",
        "/keys",
        "/keys/{key_id}",
        "/tenants/{tenant}/panoramas",
        "/tenants/{tenant}/panoramas/{job_id}/cancel",
        "/webhooks/pings",
        "/webhooks/pings/{ping_id}",
        "/models",
        "/scaling/{model}",
        "/livez",
        "/metrics",
        "/status",
        "/readyz",
    }
    components = document["components"]["schemas"]
    post = document["paths"]["/panoramas"]["post"]
    asked = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert asked == "#/components/schemas/PanoramaRequest"
    assert components["PanoramaRequest"]["properties"]["steps"]["anyOf"][0]["maximum"] == 250
    statuses = "200 202 400 401 403 404 408 409 413 415 421 422 429 500 503"
    assert sorted(post["responses"]) == statuses.split()
    assert set(components) & {"HTTPValidationError", "ValidationError"} == set()
    for reference in _references(document):
        kind, name = reference.removeprefix("#/components/").split("/")
        assert name in document["components"][kind]
    for path, operations in document["paths"].items():
        refusal = "application/json" if path.startswith("/v1/") else "application/problem+json"
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert list(response["content"]) == [refusal]
                    assert response["description"]


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        here = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return here + [each for value in node.values() for each in _references(value)]
    if isinstance(node, list):
        return [each for value in node for each in _references(value)]
    return []
