"""While the workers of a model are replaced, no request is made without a part of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from redis import Redis

from panoweave.core.checkpoint import LoraTraits
from panoweave.core.infra import redis_keys
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.core.jobs.models import LIVENESS_S, ModelState
from tests.jobs.samples import TRAITS
from tests.service.checks import at_fault, problem
from tests.service.server import serving

INK = {"loras": [{"name": "ink"}]}
HINT = {"type": "hint", "image": {"key": "default/x"}}
OF_0_1_0 = ("window_px", "px_per_latent", "tiny_decoder", "controlnet", "defaults")


@pytest.fixture
def api(settings: Settings, redis: Redis) -> Iterator[httpx.Client]:
    """With one worker, which has two LoRAs."""
    publish(redis, "new", "ink", "fog")
    with serving(settings) as running:
        yield running


def state(worker: str, *loras: str, model: str = "embedded", has: Any = ()) -> ModelState:
    offered = [LoraTraits(name=name) for name in loras]
    traits = TRAITS.model_copy(update={"loras": offered, **dict(has)})
    return ModelState(
        model=model, state="ready", traits=traits, perceptual="stlpips-alex", worker=worker
    )


def publish(redis: Redis, worker: str, *loras: str, model: str = "embedded") -> None:
    models.publish(redis, state(worker, *loras, model=model))


def publish_as_0_1_0(redis: Redis, worker: str) -> None:
    fields = json.loads(state(worker).model_dump_json())
    fields["traits"] = {name: fields["traits"][name] for name in OF_0_1_0}
    redis.hset(redis_keys.MODELS, "embedded", json.dumps(fields))
    redis.sadd(redis_keys.WORKERS, worker)
    redis.set(redis_keys.worker(worker), json.dumps(fields), ex=LIVENESS_S)


def post(api: httpx.Client, fields: dict[str, Any]) -> httpx.Response:
    return api.post("/panoramas", json={"prompt": "a hill", **fields})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (INK, "`loras`"),
        ({"upscale": 2}, "`upscale`"),
        ({"loop": True, "projection": "equirectangular"}, "`projection`"),
        ({"upscale": 2, **INK}, "`loras` and `upscale`"),
        ({"perturbed_attention": True}, "`perturbed_attention`"),
    ],
)
def test_a_worker_of_0_1_0_gets_no_request_that_it_would_not_understand(
    api: httpx.Client, redis: Redis, fields: dict[str, Any], named: str
) -> None:
    publish_as_0_1_0(redis, "old")
    answer = post(api, fields)
    refused = problem(answer, 503, "model_not_ready")
    assert f"is of version 0.1.0, which does not know {named}." in refused["detail"]
    assert int(answer.headers["Retry-After"]) > 0
    assert post(api, {}).status_code == 202
    assert post(api, dict.fromkeys(fields)).status_code == 202
    assert post(api, {"perturbed_attention": False}).status_code == 202

    models.withdraw(redis, "old")
    publish(redis, "new", "ink", "fog")
    assert post(api, fields).status_code == 202


def test_a_lora_that_some_workers_lack_waits_until_all_have_it(
    api: httpx.Client, redis: Redis
) -> None:
    publish(redis, "earlier", "fog")
    publish(redis, "other", model="org/sea")
    headers = {"Idempotency-Key": "order-7"}
    refused = api.post("/panoramas", json={"prompt": "a hill", **INK}, headers=headers)
    detail = problem(refused, 503, "model_not_ready")["detail"]
    assert "LoRAs that other workers have" in detail
    assert post(api, {"loras": [{"name": "fog"}]}).status_code == 202
    assert at_fault(post(api, {"loras": [{"name": "oil"}]}))["field"] == "loras.0.name"

    publish(redis, "earlier", "fog", "ink")
    again = api.post("/panoramas", json={"prompt": "a hill", **INK}, headers=headers)
    assert again.status_code == 202


@pytest.mark.parametrize(
    ("trait", "field", "fields", "named"),
    [
        ("controlnet", "control", {"control": HINT}, "ControlNet"),
        ("tiny_decoder", "sync.decoder", {"sync": {"decoder": "tiny"}}, "tiny decoder"),
    ],
)
@pytest.mark.parametrize("last", ["has it", "lacks it"])
def test_what_only_some_workers_have_loaded_is_not_asked_of_the_others(
    api: httpx.Client,
    redis: Redis,
    trait: str,
    field: str,
    fields: dict[str, Any],
    named: str,
    last: str,
) -> None:
    """Whichever of them published last."""
    models.publish(redis, state("new", has={trait: last == "lacks it"}))
    models.publish(redis, state("other", has={trait: last == "has it"}))
    detail = problem(post(api, fields), 503, "model_not_ready")["detail"]
    assert f"has no {named}, which other workers have" in detail
    assert post(api, {}).status_code == 202
    models.withdraw(redis, "new")
    models.publish(redis, state("other", has={trait: False}))
    assert at_fault(post(api, fields))["field"] == field


@pytest.mark.parametrize("last", ["has it", "lacks it"])
def test_a_default_is_what_all_workers_can_make(api: httpx.Client, redis: Redis, last: str) -> None:
    """Whichever of them published last; and `GET /models` says the same."""

    def decoders(**sync: Any) -> tuple[str, str]:
        """Of a panorama that names no decoder, and of the same preset in `GET /models`."""
        accepted = post(api, {"sync": sync} if sync else {})
        assert accepted.status_code == 202
        (model,) = api.get("/models").json()["items"]
        (shown,) = (preset["decoder"] for preset in model["presets"] if preset["default"])
        return accepted.json()["params"]["sync"]["decoder"], shown

    models.publish(redis, state("new", has={"tiny_decoder": True}))
    assert decoders() == ("tiny", "tiny")
    models.publish(redis, state("new", has={"tiny_decoder": last == "lacks it"}))
    models.publish(redis, state("other", has={"tiny_decoder": last == "has it"}))
    models.publish(redis, state("sea", model="org/sea"))
    assert decoders() == decoders(weight=5) == ("full", "full")
    models.withdraw(redis, "new")
    models.publish(redis, state("other", has={"tiny_decoder": True}))
    assert decoders() == ("tiny", "tiny")


def test_without_workers_a_panorama_waits(api: httpx.Client, redis: Redis) -> None:
    models.withdraw(redis, "new")
    assert post(api, INK).status_code == 202
