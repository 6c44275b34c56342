"""Two models on one Redis: each panorama is made by the model that it was accepted for."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from redis import Redis

from panoweave.core.diffusion.checkpoints import load_checkpoint
from panoweave.core.diffusion.perceptual_weights import load_perceptual
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.params import PanoramaParams
from tests.core import tiny
from tests.processes import process, wait_until
from tests.service.server import serving

ASKED: Mapping[str, Any] = {"prompt": "a lake", "width": 128, "stride": 64, "steps": 3, "seed": 5}
SAME = 4.0  # mean difference of 8-bit pixels, at most
OTHER = 8.0  # at least

Pixels = NDArray[np.int16]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two that differ in their weights alone: only the picture shows which one made it."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("a", "b"):
        parts = tiny.components(folder / "words")
        if name == "b":
            torch.manual_seed(99)
            parts |= {"unet": tiny.unet(), "vae": tiny.autoencoder()}
        SyncDiffusionPipeline(**parts).save_pretrained(folder / name)
    return [str(folder / name) for name in ("a", "b")]


def pixels(picture: Image.Image) -> Pixels:
    return np.asarray(picture.convert("RGB"), dtype=np.int16)


def expected(checkpoint: str) -> Pixels:
    pipeline = load_checkpoint(checkpoint)
    pipeline.perceptual = load_perceptual("stlpips-alex")
    return pixels(pipeline(PanoramaParams(**ASKED)).image)


def difference(one: Pixels, other: Pixels) -> float:
    return float(np.abs(one - other).mean())


def made(api: httpx.Client, job_id: str) -> Pixels:
    answer = api.get(f"/panoramas/{job_id}/image?redirect=false")
    assert answer.status_code == 200
    return pixels(Image.open(io.BytesIO(answer.content)))


def has_succeeded(api: httpx.Client, *jobs: Mapping[str, Any]) -> bool:
    shown = [api.get(f"/panoramas/{job['id']}").json() for job in jobs]
    assert not [each["error"] for each in shown if each["error"]]
    return all(each["status"] == "succeeded" for each in shown)


@pytest.mark.slow
def test_each_panorama_is_made_by_the_model_that_it_was_accepted_for(
    settings: Settings,
    redis: Redis,  # noqa: ARG001 (emptied)
    objects: ObjectStore,
    checkpoints: list[str],
    tmp_path: Path,
) -> None:
    a, b = checkpoints
    by_model = {model: expected(model) for model in checkpoints}
    assert difference(by_model[a], by_model[b]) > OTHER
    of_a = settings.model_copy(update={"model": a, "models": b, "device": "cpu"})
    of_b = of_a.model_copy(update={"model": b, "models": None})
    log = tmp_path / "log"

    def is_right(job: Mapping[str, Any], model: str) -> bool:
        stored = json.loads(objects.get(f"default/{job['id']}/1/metadata.json"))
        assert (job["model"], stored["model"]) == (model, model)
        return difference(made(api, job["id"]), by_model[model]) < SAME

    with serving(of_a) as api:
        # No worker has ever run: the models' files say what they make.
        jobs = [
            (model, api.post("/panoramas", json={**ASKED, "model": model}).json())
            for model in (a, b, b, a)
        ]
        assert api.get("/status").json()["unserved"] == [
            {"model": a, "queued": 2},
            {"model": b, "queued": 2},
        ]
        with process("worker", of_b, log):
            of_b_alone = [job for model, job in jobs if model == b]
            wait_until(lambda: has_succeeded(api, *of_b_alone), 90, log)
            assert api.get("/status").json()["unserved"] == [{"model": a, "queued": 2}]
            shown = {each["model"]: each for each in api.get("/models").json()["items"]}
            assert (shown[a]["state"], shown[a]["workers"]) == ("offline", 0)
            assert (shown[b]["state"], shown[b]["workers"]) == ("ready", 1)
            with process("worker", of_a, log) as worker_of_a:
                wait_until(lambda: has_succeeded(api, *(job for _, job in jobs)), 90, log)
                worker_of_a.send_signal(signal.SIGTERM)
                worker_of_a.wait(30)
        assert all(is_right(job, model) for model, job in jobs)
        waiting = api.post("/panoramas", json=ASKED).json()

    # PANOWEAVE_MODEL has changed, with a panorama waiting.
    with serving(of_b) as api, process("worker", of_b, log):
        newer = api.post("/panoramas", json=ASKED).json()
        wait_until(lambda: has_succeeded(api, newer), 90, log)
        assert is_right(newer, b)
        assert api.get(f"/panoramas/{waiting['id']}").json()["status"] == "queued"
        assert api.get("/status").json()["unserved"] == [{"model": a, "queued": 1}]
        with process("worker", of_a, log):
            wait_until(lambda: has_succeeded(api, waiting), 90, log)
        assert is_right(waiting, a)
