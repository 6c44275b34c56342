"""What a family of checkpoints cannot do is refused when a panorama is posted, by name."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from redis import Redis

from panoweave.core.checkpoint import CheckpointDefaults
from panoweave.core.jobs import models
from tests.jobs.samples import TRAITS


@pytest.fixture
def flow_api(api: httpx.Client, redis: Redis) -> httpx.Client:
    """Its model is Stable Diffusion 3."""
    state = models.get(redis, "embedded")
    assert state is not None
    defaults = CheckpointDefaults(scheduler="euler", guidance_scale=7)
    traits = TRAITS.model_copy(update={"family": "stable-diffusion-3", "defaults": defaults})
    models.publish(redis, state.model_copy(update={"traits": traits}))
    return api


def test_the_family_is_shown(flow_api: httpx.Client) -> None:
    (model,) = flow_api.get("/models").json()["items"]
    assert model["traits"]["family"] == "stable-diffusion-3"


@pytest.mark.parametrize(
    ("changes", "field", "legal"),
    [
        ({"scheduler": "dpm++"}, "scheduler", "'euler'"),
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
    answer = flow_api.post("/panoramas", json={"prompt": "a lake", "negative_prompt": "fog"})
    assert answer.status_code == 202
    params = answer.json()["params"]
    assert (params["scheduler"], params["guidance_scale"]) == ("euler", 7)
