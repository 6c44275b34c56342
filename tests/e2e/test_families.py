"""A tiny checkpoint of each family, as diffusers saves it, through everything.

`GET /models`, `panoweave render`, and over HTTP with a worker that is killed on the way: the same
picture.
"""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image, ImageChops
from redis import Redis

from panoweave.core.families import FAMILIES, family_named
from panoweave.core.infra.settings import Settings
from tests.core import tiny
from tests.core.tiny_flow import CASES
from tests.e2e.service import Service, is_ready, serving, steps_done
from tests.processes import environment_of, process, wait_until

NAMES: Final = [family.name for family in FAMILIES]


def save(family: str, folder: Path) -> Path:
    """As a stranger would make one with diffusers."""
    flows = {case.name: case for case in CASES}
    if family in flows:
        return flows[family].save(folder)
    if family == "stable-diffusion-xl":
        made: Any = StableDiffusionXLPipeline(**tiny.components_xl(folder / "words"))
    else:
        made = StableDiffusionPipeline(
            **tiny.components(folder / "words"),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    made.save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {name: str(save(name, tmp_path_factory.mktemp(name))) for name in NAMES}


@pytest.fixture(scope="module")
def service(
    settings: Settings, checkpoints: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """An API of all of them; each test starts its workers."""
    log = tmp_path_factory.mktemp("families") / "log"
    models = {"model": checkpoints[NAMES[0]], "models": ",".join(checkpoints.values())}
    with serving(settings, log, savepoint_every_s=0.1, **models) as running:
        yield running


def render(settings: Settings, output: Path, *options: str) -> Image.Image:
    command = [sys.executable, "-P", "-m", "panoweave.deploy.cli", "render", "a lake"]
    done = subprocess.run(
        [*command, "-o", str(output), *options],
        env=environment_of(settings),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return Image.open(output).convert("RGB")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_rendered_and_over_http_killed_and_resumed(
    service: Service, checkpoints: dict[str, str], redis: Redis, name: str, tmp_path: Path
) -> None:
    model = checkpoints[name]
    settings = service.settings.model_copy(update={"model": model})
    rendered = render(
        settings,
        tmp_path / "made.png",
        *("--seed", "4", "--width", "128", "--steps", "40", "--preset", "paper"),
    )

    with process("worker", settings, service.log) as worker:
        wait_until(lambda: is_ready(redis, model), 90, service.log)
        job = service.post(
            prompt="a lake", model=model, seed=4, width=128, steps=40, preset="paper"
        )
        assert job["params"]["scheduler"] == family_named(name).schedulers[0]
        wait_until(lambda: steps_done(service.read(job["id"])) > 4, 60, service.log)
        worker.kill()
    with process("worker", settings, service.log):
        done = service.wait(job["id"], "succeeded")

    assert done["attempts"] == 2
    assert f"{job['id']}: resumed after step" in service.log.read_text()
    picture = Image.open(
        io.BytesIO(httpx.get(done["result"]["image_url"], timeout=30).content)
    ).convert("RGB")
    assert picture.size == (128, 64)
    difference = ImageChops.difference(picture, rendered)
    assert max(difference.tobytes()) <= 1


@pytest.mark.slow
def test_models_are_listed_with_what_each_can_do(
    service: Service, checkpoints: dict[str, str]
) -> None:
    listed = {each["model"]: each for each in service.http.get("/models").json()["items"]}
    assert {name: listed[model]["traits"]["family"] for name, model in checkpoints.items()} == {
        name: name for name in NAMES
    }
    for name, model in checkpoints.items():
        shown = listed[model]
        assert shown["traits"]["window_px"] == 64
        assert shown["schedulers"] == list(family_named(name).schedulers)
        assert ("negative_prompt" in shown["features"]) == (name != "flux")
