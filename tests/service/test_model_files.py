"""What a model makes is known before any worker has loaded it: from its own files."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from redis import Redis

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.embedded import WEIGHTS
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.core.jobs.errors import ModelNotReady
from panoweave.core.jobs.models import ModelState
from panoweave.core.jobs.store import JobStore
from panoweave.core.loras import LoraSource
from panoweave.service import model_files
from panoweave.service.model_files import ModelFiles
from tests.jobs.samples import TRAITS
from tests.service.checks import problem
from tests.service.hub import Hub, serving_hub
from tests.service.server import publish_model, serving

ASKED = {"prompt": "a hill"}
SEA = "org/sea@v1"


@pytest.fixture
def sea(tmp_path: Path) -> Path:
    """A checkpoint's JSON files, without weights; windows are 64 px."""
    folder = tmp_path / "sea"
    for file in WEIGHTS.rglob("*.json"):
        if "tokenizer" not in file.parts:
            target = folder / file.relative_to(WEIGHTS)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    for name in ("controlnet", "tiny_decoder"):
        shutil.move(folder / name, tmp_path / name)
    edit(folder / "unet/config.json", sample_size=4)
    return folder


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.fixture
def two(settings: Settings, redis: Redis, sea: Path) -> Iterator[httpx.Client]:  # noqa: ARG001
    """An API of two models on an empty Redis."""
    with serving(settings.model_copy(update={"models": str(sea)})) as api:
        yield api


def test_the_first_panorama_needs_no_worker(
    two: httpx.Client, sea: Path, redis: Redis, settings: Settings
) -> None:
    default = two.post("/panoramas", json=ASKED)
    named = two.post("/panoramas", json={**ASKED, "model": str(sea)})
    assert (default.status_code, named.status_code) == (202, 202)
    assert default.json()["params"]["height"] == 256
    assert named.json()["params"]["height"] == 64
    assert named.json()["params"]["guidance_scale"] == 1.75
    refused = problem(
        two.post("/panoramas", json={**ASKED, "model": str(sea), "width": 100}),
        422,
        "invalid_params",
    )
    assert refused["errors"][0]["legal"].startswith("64 plus a multiple of 16")
    claimed = JobStore(redis, settings).claim("worker-1", str(sea))
    assert claimed is not None
    assert claimed.id == named.json()["id"]


def test_models_are_listed_before_any_worker(two: httpx.Client, sea: Path) -> None:
    default, other = two.get("/models").json()["items"]
    assert (default["model"], default["default"]) == ("embedded", True)
    assert (other["model"], other["default"]) == (str(sea), False)
    everywhere = ["negative_prompt", "guidance_scale", "perturbed_attention"]
    assert default["features"] == ["control", "tiny_decoder", *everywhere]
    assert other["features"] == everywhere
    assert other["schedulers"] == ["ddim", "euler", "dpm++", "lcm"]
    for shown in (default, other):
        assert (shown["state"], shown["workers"], shown["detail"]) == ("offline", 0, "")
        assert (shown["perceptual"], shown["updated_at"]) == (None, None)
    assert other["sizes"] == {
        "window_px": 64,
        "stride_multiple_px": 16,
        "default_width": 384,
        "default_height": 64,
        "default_stride": 16,
        "max_pixels": 67_108_864,
    }
    assert other["steps"] == {"default": 50, "max": 250}
    assert [(each["name"], each["default"], each["steps"]) for each in other["presets"]] == [
        ("paper", False, 50),
        ("balanced", True, 50),
        ("fast", False, 30),
    ]
    assert {each["decoder"] for each in other["presets"]} == {"full"}
    assert [each["decoder"] for each in default["presets"]] == ["full", "tiny", "tiny"]
    status = two.get("/status").json()
    assert [each["model"] for each in status["models"]] == ["embedded", str(sea)]


def test_limits_are_in_what_a_model_makes(settings: Settings, redis: Redis) -> None:  # noqa: ARG001
    tight = settings.model_copy(update={"max_steps": 40, "max_pixels": 400_000})
    with serving(tight) as api:
        (shown,) = api.get("/models").json()["items"]
    assert [each["name"] for each in shown["presets"]] == ["fast"]
    assert shown["steps"] == {"default": None, "max": 40}
    assert shown["sizes"]["max_pixels"] == 400_000
    assert shown["sizes"]["default_width"] is None


def test_a_workers_answer_comes_first(two: httpx.Client, sea: Path, redis: Redis) -> None:
    """It has loaded the weights, and what its own settings add."""
    assert two.get("/models").json()["items"][1]["traits"]["window_px"] == 64
    state = ModelState(model=str(sea), state="loading", perceptual="lpips-vgg", worker="worker-1")
    models.publish(redis, state)
    shown = two.get("/models").json()["items"][1]
    assert (shown["state"], shown["workers"], shown["traits"]["window_px"]) == ("loading", 1, 64)
    models.publish(redis, state.model_copy(update={"state": "ready", "traits": TRAITS}))
    shown = two.get("/models").json()["items"][1]
    assert (shown["perceptual"], shown["traits"]) == ("lpips-vgg", TRAITS.model_dump())
    made = two.post("/panoramas", json={**ASKED, "model": str(sea)}).json()
    assert made["params"]["height"] == TRAITS.window_px


def test_a_worker_that_cannot_load_the_model_is_shown(two: httpx.Client, redis: Redis) -> None:
    """Panoramas wait for one that can: the fault may be that machine's."""
    state = ModelState(
        model="embedded",
        state="failed",
        detail="weights are missing",
        perceptual="stlpips-alex",
        worker="worker-1",
    )
    models.publish(redis, state)
    shown = two.get("/models").json()["items"][0]
    assert (shown["state"], shown["detail"]) == ("failed", "weights are missing")
    assert two.post("/panoramas", json=ASKED).status_code == 202


def test_a_model_that_requests_cannot_name_is_listed_for_operators_alone(
    two: httpx.Client, redis: Redis
) -> None:
    publish_model(redis)
    models.publish(
        redis,
        ModelState(model="./old", state="ready", perceptual="stlpips-alex", worker="worker-2"),
    )
    assert "./old" not in [each["model"] for each in two.get("/models").json()["items"]]
    shown = two.get("/status").json()["models"][-1]
    assert (shown["model"], shown["workers"], shown["traits"]) == ("./old", 1, None)


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("model_index.json", "{", "model_index.json is not JSON"),
        ("model_index.json", '{"_class_name": "OtherPipeline"}', "a OtherPipeline is not supp"),
        ("unet/config.json", '{"sample_size": "big"}', "unet: its config.json cannot be read: sam"),
        ("panoweave.json", '{"steps": 1000}', "panoweave.json: steps: Input should be less"),
    ],
)
def test_a_broken_file_is_named_with_its_field(
    two: httpx.Client, sea: Path, file: str, text: str, said: str
) -> None:
    (sea / file).write_text(text)
    answer = two.post("/panoramas", json={**ASKED, "model": str(sea)})
    refused = problem(answer, 503, "model_not_ready")
    assert said in refused["detail"]
    assert refused["detail"].endswith(
        "Start a worker of this model, or give this server its files."
    )
    shown = two.get("/models").json()["items"][1]
    assert (shown["traits"], shown["sizes"], shown["steps"]) == (None, None, None)
    assert (shown["presets"], shown["schedulers"], shown["features"]) == ([], [], [])
    assert said in shown["detail"]
    assert two.post("/panoramas", json=ASKED).status_code == 202


def test_files_are_read_again_after_a_failure(
    settings: Settings, sea: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = sea / "model_index.json"
    whole = index.read_text()
    index.write_text("{")
    files = ModelFiles(settings.model_copy(update={"models": str(sea)}))
    with pytest.raises(ModelNotReady, match="is not JSON"):
        files.traits(str(sea))
    index.write_text(whole)
    with pytest.raises(ModelNotReady, match="is not JSON"):
        files.traits(str(sea))
    monkeypatch.setattr(model_files, "_RETRY_AFTER_S", 0.0)
    assert files.traits(str(sea)).window_px == 64


def test_what_the_settings_add_is_of_the_default_model(
    settings: Settings, sea: Path, tmp_path: Path
) -> None:
    beside = {name: str(tmp_path / name) for name in ("controlnet", "tiny_decoder")}
    ink = LoraSource(source="some/lora", triggers=("ink wash",))
    added = {**beside, "loras": {"ink": ink}}
    files = ModelFiles(settings.model_copy(update={"model": str(sea), **added}))
    traits = files.traits(str(sea))
    assert (traits.controlnet, traits.tiny_decoder) == (True, True)
    assert [(lora.name, lora.triggers) for lora in traits.loras] == [("ink", ("ink wash",))]
    files = ModelFiles(settings.model_copy(update={"models": str(sea), **added}))
    traits = files.traits(str(sea))
    assert (traits.controlnet, traits.tiny_decoder, traits.loras) == (False, False, [])


@pytest.fixture
def hub(sea: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    (sea / "unet/diffusion_pytorch_model.safetensors").write_bytes(b"weights")
    with serving_hub(sea) as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.url)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            server.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server


def of_sea(settings: Settings, wait_s: float = 5.0) -> ModelFiles:
    return ModelFiles(settings.model_copy(update={"models": SEA}), wait_s)


def test_of_a_hub_id_the_small_files_are_fetched_once(
    settings: Settings, hub: Hub, tmp_path: Path
) -> None:
    files = of_sea(settings)
    assert files.traits(SEA).window_px == 64
    assert files.traits(SEA).window_px == 64
    assert sorted(hub.fetched) == [
        "model_index.json",
        "panoweave.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "unet/config.json",
        "vae/config.json",
    ]
    # A worker without a network must not take them for a whole checkpoint.
    assert not (tmp_path / "cache").exists()


def test_a_hub_that_hangs_is_not_waited_for(settings: Settings, hub: Hub) -> None:
    hub.is_hanging = True
    with pytest.raises(ModelNotReady, match="is still reading its files"):
        of_sea(settings, wait_s=0.3).traits(SEA)


def test_a_hub_that_hangs_holds_no_later_request(
    settings: Settings, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait is counted from when reading began. Whoever waits once more sees reading end."""
    hub.is_hanging = True
    monkeypatch.setattr("panoweave.core.model_files.hub._HUB_TIMEOUT_S", 20.0)
    files = of_sea(settings, wait_s=60)
    files.begin(SEA)
    later = SimpleNamespace(monotonic=lambda: time.monotonic() + 60)
    monkeypatch.setattr(model_files, "time", later)
    for _ in range(3):
        with pytest.raises(ModelNotReady, match="is still reading its files"):
            files.traits(SEA)


def test_reading_from_a_hub_that_hangs_ends(
    settings: Settings, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.is_hanging = True
    monkeypatch.setattr("panoweave.core.model_files.hub._HUB_TIMEOUT_S", 0.2)
    with pytest.raises(ModelNotReady, match="not on this machine, and the hub does not answer"):
        of_sea(settings).traits(SEA)


def test_for_the_list_of_models_all_hubs_are_asked_at_once(
    settings: Settings,
    redis: Redis,  # noqa: ARG001 (emptied)
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """None answers before all are asked: one after the other, the first would never answer."""
    revisions = [f"v{number}" for number in range(5)]
    hub.must_ask_for = {f"/api/models/org/sea/revision/{revision}" for revision in revisions}
    monkeypatch.setattr("panoweave.core.model_files.hub._HUB_TIMEOUT_S", 20.0)
    monkeypatch.setattr(model_files.ModelFiles.__init__, "__defaults__", (60.0,))
    many = ",".join(f"org/sea@{revision}" for revision in revisions)
    with serving(settings.model_copy(update={"models": many})) as api:
        shown = api.get("/models", timeout=120).json()["items"][1:]
    assert [(each["detail"], each["traits"]["window_px"]) for each in shown] == [("", 64)] * 5


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("org/hill", "the hub does not have it, or shows it only with HF_TOKEN set"),
        ("org/sea/hill/x", "legal: a directory, or a hub id"),
    ],
)
@pytest.mark.usefixtures("hub")
def test_what_the_hub_does_not_have(settings: Settings, model: str, said: str) -> None:
    with pytest.raises(ModelNotReady, match=said):
        ModelFiles(settings.model_copy(update={"models": model})).traits(model)


def test_without_a_network_the_hubs_cache_is_used(
    settings: Settings, hub: Hub, sea: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelNotReady, match="not on this machine, and the hub does not answer"):
        of_sea(settings).traits(SEA)
    stored = tmp_path / "cache/models--org--sea"
    shutil.copytree(sea, stored / "snapshots" / ("a" * 40))
    (stored / "refs").mkdir()
    (stored / "refs/v1").write_text("a" * 40)
    assert of_sea(settings).traits(SEA).window_px == 64
    assert hub.fetched == []


def test_traits_are_those_of_the_shipped_model(settings: Settings) -> None:
    traits = ModelFiles(settings).traits("embedded")
    assert isinstance(traits, CheckpointTraits)
    assert (traits.controlnet, traits.tiny_decoder) == (True, True)
