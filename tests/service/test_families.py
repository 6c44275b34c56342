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
