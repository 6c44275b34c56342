"""What a family of checkpoints cannot do is refused when a panorama is posted, by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from panoweave.core.checkpoint import CheckpointDefaults
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from tests.jobs.samples import TRAITS
from tests.service.server import serving


@pytest.fixture
def flow_api(api: httpx.Client, redis: Redis) -> httpx.Client:
    """Its model is FLUX.1 schnell."""
    state = models.get(redis, "embedded")
    assert state is not None
    defaults = CheckpointDefaults(scheduler="euler", guidance_scale=1, steps=4)
    changes = {"family": "flux", "guidance": False, "defaults": defaults}
    traits = TRAITS.model_copy(update=changes)
    models.publish(redis, state.model_copy(update={"traits": traits}))
    return api


def test_the_family_is_shown(flow_api: httpx.Client) -> None:
    (model,) = flow_api.get("/models").json()["items"]
    assert model["traits"]["family"] == "flux"


@pytest.mark.parametrize(
    ("changes", "field", "legal"),
    [
        ({"scheduler": "dpm++"}, "scheduler", "'euler'"),
        ({"guidance_scale": 3.5}, "guidance_scale", "1"),
        ({"negative_prompt": "fog"}, "negative_prompt", "an empty text"),
        (
            {"regions": [{"prompt": "a", "x": 0, "width": 8, "negative_prompt": "fog"}]},
            "regions.0.negative_prompt",
            "an empty text",
        ),
        ({"control": {"type": "canny", "image": {"base64": "AA=="}}}, "control", "null"),
    ],
)
def test_what_it_cannot_do_is_refused(
    flow_api: httpx.Client, changes: dict[str, Any], field: str, legal: str
) -> None:
    answer = flow_api.post("/panoramas", json={"prompt": "a lake", **changes})
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"], error["legal"]) == (422, field, legal)


def test_what_it_can_do_is_accepted(flow_api: httpx.Client) -> None:
    answer = flow_api.post("/panoramas", json={"prompt": "a lake"})
    assert answer.status_code == 202
    params = answer.json()["params"]
    assert (params["scheduler"], params["guidance_scale"], params["steps"]) == ("euler", 1, 4)


# What the published FLUX.1 dev says of its parts, as far as it is not diffusers' default.
FLUX_DEV: dict[str, dict[str, Any]] = {
    "model_index.json": {
        "_class_name": "FluxPipeline",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", "FluxTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    },
    "scheduler/scheduler_config.json": {
        "_class_name": "FlowMatchEulerDiscreteScheduler",
        "use_dynamic_shifting": True,
    },
    "transformer/config.json": {
        "_class_name": "FluxTransformer2DModel",
        "guidance_embeds": True,
    },
    "vae/config.json": {
        "_class_name": "AutoencoderKL",
        "block_out_channels": [128, 256, 512, 512],
        "latent_channels": 16,
        "shift_factor": 0.1159,
    },
    "text_encoder/config.json": {"model_type": "clip_text_model", "hidden_size": 768},
    "text_encoder_2/config.json": {"model_type": "t5", "d_model": 4096},
}


@pytest.fixture
def before_any_worker(
    settings: Settings,
    redis: Redis,  # noqa: ARG001
    tmp_path: Path,
) -> Iterator[httpx.Client]:
    """An API whose model is there with its JSON files alone."""
    for name, content in FLUX_DEV.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    with serving(settings.model_copy(update={"model": str(tmp_path)})) as api:
        yield api


def test_its_files_say_so_before_any_worker(before_any_worker: httpx.Client) -> None:
    api = before_any_worker
    (model,) = api.get("/models").json()["items"]
    assert (model["traits"]["family"], model["traits"]["window_px"]) == ("flux", 1024)
    assert (model["schedulers"], model["features"]) == (["euler"], ["guidance_scale"])
    accepted = api.post("/panoramas", json={"prompt": "a lake"})
    assert (accepted.status_code, accepted.json()["params"]["guidance_scale"]) == (202, 3.5)
    refused = api.post("/panoramas", json={"prompt": "a lake", "negative_prompt": "fog"})
    (error,) = refused.json()["errors"]
    assert (refused.status_code, error["field"]) == (422, "negative_prompt")
