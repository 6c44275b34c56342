"""The families of flow-matching models: each test runs on a tiny checkpoint of each."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from safetensors.torch import load_file, save_file
from torch import Tensor

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.diffusion.checkpoints import add_lora, load_checkpoint
from panoweave.core.diffusion.errors import CheckpointError, UnsupportedSchedulerError
from panoweave.core.diffusion.perceptual import PerceptualLoss
from panoweave.core.diffusion.perceptual_weights import load_perceptual
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.prompts import find_truncated_prompts
from panoweave.core.model_files.hub import _needed
from panoweave.core.model_files.index import PARTS
from panoweave.core.model_files.read import read_traits
from panoweave.core.params import PanoramaParams, SyncParams
from tests.core import tiny, tiny_flow
from tests.core.flow_transcription import FlowAlgorithm1
from tests.core.resuming import check_resumes, picture
from tests.core.tiny_flow import (
    CASES,
    CHANNELS,
    FLUX,
    MAX_TOKENS,
    SD3,
    WINDOW_PX,
    Z_IMAGE,
    FlowCase,
)

CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
Exact = Callable[[FlowCase], SyncDiffusionPipeline]


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Exact:
    """In float64, so that equal means equal; shared by the tests, which leave it as it is."""
    perceptual = load_perceptual("stlpips-alex").double()
    made: dict[str, SyncDiffusionPipeline] = {}

    def of(case: FlowCase) -> SyncDiffusionPipeline:
        if case.name not in made:
            pipeline = tiny.in_float64(case.pipeline(tmp_path_factory.mktemp(case.name)))
            pipeline.perceptual = perceptual
            made[case.name] = pipeline
        return made[case.name]

    return of


def params(case: FlowCase, **changes: Any) -> PanoramaParams:
    sync = {"weight": 20, "decay": 0.9, **changes.pop("sync", {})}
    base: dict[str, Any] = {
        "prompt": "a mountain lake",
        "negative_prompt": case.negative_prompt,
        "guidance_scale": case.guidance_scale,
        "width": 80,
        "height": 64,
        "stride": 16,
        "steps": 2,
        "seed": 3,
        "preset": "paper",
    }
    return PanoramaParams(**{**base, **changes}, sync=SyncParams(**sync))


def set_timesteps(theirs: Any, pipeline: SyncDiffusionPipeline, steps: int) -> Any:
    """Their scheduler, with the noise levels that they give one window."""
    side = pipeline.traits.window_px
    theirs("a lake", height=side, width=side, num_inference_steps=steps, output_type="latent")
    return theirs.scheduler


def transcribed(case: FlowCase, pipeline: SyncDiffusionPipeline, asked: PanoramaParams) -> Tensor:
    resolved = asked.resolve(pipeline.traits)
    scale, sync = pipeline.traits.px_per_latent, resolved.sync
    columns = (resolved.width - pipeline.traits.window_px) // resolved.stride + 1
    theirs = case.theirs(pipeline)
    assert pipeline.perceptual
    algorithm = FlowAlgorithm1(
        case.velocity(theirs, resolved.prompt, resolved.negative_prompt, resolved.guidance_scale),
        pipeline.vae,
        set_timesteps(theirs, pipeline, resolved.steps),
        pipeline.perceptual,
    )
    return algorithm.run(
        tiny.draw_noise(pipeline, asked),
        window=pipeline.traits.window_latents,
        stride=resolved.stride // scale,
        anchor=divmod(sync.anchor, columns),
        weight=sync.weight,
        decay=sync.decay,
        sync_steps=sync.steps,
        every=sync.every,
    )


@CASE
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"sync": {"every": 2, "anchor": 0}}, id="second step"),
        pytest.param({"height": 80}, id="two rows", marks=pytest.mark.slow),
        pytest.param({"width": 96, "steps": 4}, id="four steps", marks=pytest.mark.slow),
    ],
)
def test_equals_algorithm_1(exact: Exact, case: FlowCase, changes: dict[str, Any]) -> None:
    pipeline, asked = exact(case), params(case, **changes)
    made = tiny.sample(pipeline, asked)
    plain = tiny.sample(pipeline, params(case, **{**changes, "sync": {"weight": 0}}))
    expected = transcribed(case, pipeline, asked)
    torch.testing.assert_close(made, expected, rtol=0, atol=case.rounding)
    assert (plain - made).abs().max() > 0.05  # synchronising did move something


@CASE
def test_one_window_is_diffusers_own_picture(exact: Exact, case: FlowCase) -> None:
    pipeline = exact(case)
    asked = params(case, width=64, steps=4, sync={"weight": 0})
    ours = pipeline.decode(tiny.sample(pipeline, asked))

    theirs = case.theirs(pipeline)
    picture = theirs(
        asked.prompt,
        height=64,
        width=64,
        num_inference_steps=4,
        max_sequence_length=MAX_TOKENS,
        latents=case.pack(tiny.draw_noise(pipeline, asked)),
        **case.asked(asked),
    ).images[0]

    assert max(abs(a - b) for a, b in zip(ours.tobytes(), picture.tobytes(), strict=True)) <= 1


@CASE
def test_without_pull_it_is_windows_made_alone_and_averaged(exact: Exact, case: FlowCase) -> None:
    """Step by step: what diffusers' scheduler makes of each window, averaged."""
    pipeline = exact(case)
    asked = params(case, sync={"weight": 0})
    theirs = case.theirs(pipeline)
    v = case.velocity(theirs, asked.prompt, asked.negative_prompt, case.guidance_scale)
    z = tiny.draw_noise(pipeline, asked)
    scheduler = set_timesteps(theirs, pipeline, asked.steps or 0)
    for t in scheduler.timesteps:
        total, count = torch.zeros_like(z), torch.zeros_like(z)
        for left in (0, 2):
            place = ..., slice(left, left + 8)
            scheduler._step_index = scheduler._begin_index = None
            with torch.no_grad():
                total[place] += scheduler.step(v(z[place], t), t, z[place]).prev_sample
            count[place] += 1
        z = total / count
    torch.testing.assert_close(tiny.sample(pipeline, asked), z, rtol=0, atol=1e-5)


@CASE
def test_window_batch_changes_nothing(exact: Exact, case: FlowCase) -> None:
    pipeline, asked = exact(case), params(case, steps=1)
    one, all_at_once = (tiny.sample(pipeline, asked, window_batch=size) for size in (1, 64))
    torch.testing.assert_close(one, all_at_once, rtol=0, atol=case.rounding)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, perceptual: PerceptualLoss) -> Exact:
    """In float32, as they run."""

    def of(case: FlowCase) -> SyncDiffusionPipeline:
        pipeline = case.pipeline(tmp_path_factory.mktemp(case.name))
        pipeline.perceptual = perceptual
        return pipeline

    return of


@CASE
def test_gradient_checkpointing_changes_nothing(shared: Exact, case: FlowCase) -> None:
    pipeline, asked = shared(case), params(case, steps=2)
    kept = tiny.sample(pipeline, asked)
    pipeline.enable_gradient_checkpointing()
    assert pipeline.denoiser.is_gradient_checkpointing
    assert torch.equal(tiny.sample(pipeline, asked), kept)


APPLICATIONS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "loop": ({"loop": True, "width": 80}, {}),
    "shifted": ({"windows": "shifted", "preset": "balanced"}, {}),
    "regions": ({"regions": [{"prompt": "a forest", "x": 16, "width": 32}], "steps": 5}, {}),
    "anchor_image": ({"anchor_image": {"key": "given"}}, {"anchor_image": 64}),
    "extend": ({"extend": {"image": {"key": "given"}, "x": 16}}, {"extend.image": 48}),
}


@CASE
@pytest.mark.parametrize("application", APPLICATIONS)
def test_applications_resume(shared: Exact, case: FlowCase, application: str) -> None:
    changes, images = APPLICATIONS[application]
    base = params(case).model_dump(exclude_unset=True)
    asked = PanoramaParams.model_validate({**base, **changes})
    pictures = {field: picture(width) for field, width in images.items()}
    check_resumes(lambda: shared(case), asked, pictures, at=(1,))


@CASE
def test_extended_pictures_stay(shared: Exact, case: FlowCase) -> None:
    pipeline = shared(case)
    given = torch.rand(1, 3, 64, 48) * 2 - 1
    asked = params(case, extend={"image": {"key": "given"}, "x": 16})
    made = tiny.sample(pipeline, asked, {"extend.image": given})
    known = pipeline.vae.encode(given).latent_dist.mode()
    config = pipeline.vae.config
    expected = (known - config.shift_factor) * config.scaling_factor
    torch.testing.assert_close(made[..., 2:8], expected, rtol=1e-5, atol=1e-5)


@CASE
def test_what_the_family_cannot_do_is_refused(shared: Exact, case: FlowCase) -> None:
    pipeline = shared(case)
    title = pipeline.family.about.title
    refused: dict[str, tuple[dict[str, Any], str]] = {
        "scheduler": ({"scheduler": "ddim"}, "'euler'"),
        "control": ({"control": {"type": "canny", "image": {"key": "given"}}}, "null"),
        **case.refused,
    }
    for field, (changes, legal) in refused.items():
        asked = PanoramaParams.model_validate({"prompt": "a lake", **changes})
        with pytest.raises(InvalidParams) as raised:
            asked.resolve(pipeline.traits)
        assert (raised.value.field, raised.value.legal) == (field, legal)
    with pytest.raises(CheckpointError, match=f"{title} takes no ControlNet"):
        pipeline.use_controlnet(tiny.controlnet(tiny.unet()))
    with pytest.raises(CheckpointError, match=f"{title} takes no LoRA"):
        add_lora(pipeline, "a/lora")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[FlowCase], Path]:
    made: dict[str, Path] = {}

    def of(case: FlowCase) -> Path:
        if case.name not in made:
            made[case.name] = case.save(tmp_path_factory.mktemp(case.name))
        return made[case.name]

    return of


@CASE
def test_a_saved_checkpoint_loads(
    saved: Callable[[FlowCase], Path], case: FlowCase, perceptual: PerceptualLoss
) -> None:
    pipeline = load_checkpoint(str(saved(case)))
    pipeline.perceptual = perceptual
    assert pipeline.traits.family == case.name
    assert read_traits(str(saved(case))) == pipeline.traits
    pipeline.use_tiny_decoder(tiny.small_decoder(CHANNELS))
    made = pipeline(params(case, preset="fast", steps=2))
    assert made.image.size == (80, 64)
    assert pipeline.preview(tiny.draw_noise(pipeline, params(case))).size == (40, 32)
    half = load_checkpoint(str(saved(case)), None)
    assert half.denoiser.dtype == torch.bfloat16


@CASE
def test_all_of_its_files_are_downloaded(saved: Callable[[FlowCase], Path], case: FlowCase) -> None:
    files = [file for file in saved(case).rglob("*") if file.is_file()]
    listed = sorted(str(file.relative_to(saved(case))) for file in files)
    assert sorted(_needed(listed, ("", *PARTS))) == listed


@CASE
def test_a_checkpoint_that_is_not_whole_is_refused(
    saved: Callable[[FlowCase], Path], case: FlowCase, tmp_path: Path
) -> None:
    checkpoint = Path(shutil.copytree(saved(case), tmp_path / "model"))
    file = checkpoint / "transformer/diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    first = min(weights)
    save_file({"renamed": weights.pop(first), **weights}, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=f"transformer: {re.escape(first)} is not in its"):
        load_checkpoint(str(checkpoint))

    save_file({first: load_file(file)["renamed"], "more": torch.ones(1), **weights}, file)
    with pytest.raises(CheckpointError, match="transformer: more is in its files but not in"):
        load_checkpoint(str(checkpoint))

    config = checkpoint / "scheduler/scheduler_config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "stochastic_sampling": True}))
    with pytest.raises(UnsupportedSchedulerError, match="with stochastic_sampling True"):
        load_checkpoint(str(checkpoint))
    config.write_text(json.dumps({**settings, "_class_name": "DDIMScheduler"}))
    with pytest.raises(UnsupportedSchedulerError, match="scheduler: DDIMScheduler is not"):
        load_checkpoint(str(checkpoint))


@CASE
def test_prompts_that_are_too_long_are_reported_and_not_logged(
    shared: Exact, case: FlowCase, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = shared(case)
    reader = pipeline.family.prompt_reader(pipeline)
    words = "secret " * 100
    asked = params(case, prompt=words, negative_prompt="").resolve(pipeline.traits)
    with caplog.at_level(logging.WARNING), torch.no_grad():
        pipeline.encode_prompt(words, "")
    assert "secret" not in caplog.text
    (found,) = find_truncated_prompts(reader, asked)
    assert (found.field, found.limit) == ("prompt", reader.limit)
    assert "secret" in found.text


def test_flux_schnell(tmp_path: Path, perceptual: PerceptualLoss) -> None:
    """It was distilled to four steps without guidance."""
    pipeline = SyncDiffusionPipeline(**tiny_flow.flux(tmp_path, guided=False))
    traits = pipeline.traits.model_copy(update={"window_px": WINDOW_PX})
    pipeline.traits = traits
    asked = PanoramaParams(prompt="a lake", width=80, seed=1)
    resolved = asked.resolve(traits)
    assert (resolved.steps, resolved.sync.steps, resolved.guidance_scale) == (4, 4, 1)
    pipeline.perceptual = perceptual
    assert tiny.sample(pipeline, asked).isfinite().all()
    with pytest.raises(InvalidParams) as raised:
        asked.model_copy(update={"guidance_scale": 3.5}).resolve(traits)
    assert (raised.value.field, raised.value.legal) == ("guidance_scale", "1")


def test_stable_diffusion_3_without_t5(tmp_path: Path) -> None:
    parts = {**tiny_flow.stable_diffusion_3(tmp_path / "words"), "text_encoder_3": None}
    with pytest.raises(CheckpointError, match="only one of text_encoder_3 and tokenizer_3"):
        SyncDiffusionPipeline(**parts)
    parts["tokenizer_3"] = None
    StableDiffusion3Pipeline(**parts).save_pretrained(tmp_path / "model")
    pipeline = load_checkpoint(str(tmp_path / "model"))
    assert read_traits(str(tmp_path / "model")) == pipeline.traits
    asked = PanoramaParams(prompt="a lake", width=80, steps=2, sync=SyncParams(weight=0))
    assert tiny.sample(pipeline, asked).isfinite().all()
    assert pipeline.family.prompt_reader(pipeline).limit == MAX_TOKENS - 2


WRONG: dict[str, tuple[FlowCase, str, dict[str, Any], str]] = {
    "another text encoder": (
        SD3,
        "transformer/config.json",
        {"joint_attention_dim": 64},
        "joint_attention_dim is 64, the text encoders give 32",
    ),
    "an odd window": (SD3, "transformer/config.json", {"sample_size": 7}, "7 latents wide"),
    "a window that the network says": (
        SD3,
        "panoweave.json",
        {"window_px": 128},
        "its network has windows of 64 px",
    ),
    "inpainting": (
        FLUX,
        "transformer/config.json",
        {"in_channels": 96, "out_channels": 16},
        "takes latents of 24 channels and gives 4",
    ),
    "half a token": (FLUX, "panoweave.json", {"window_px": 72}, "legal: multiples of 16"),
    "a part of another pipeline": (
        FLUX,
        "model_index.json",
        {"image_encoder": ["transformers", "CLIPVisionModel"]},
        "names a part 'image_encoder'",
    ),
    "a model that reads pictures": (
        Z_IMAGE,
        "transformer/config.json",
        {"siglip_feat_dim": 8},
        "siglip_feat_dim is 8; legal: None",
    ),
    "another family's encoder": (
        Z_IMAGE,
        "model_index.json",
        {"text_encoder": ["transformers", "Gemma2Model"]},
        "it is a Gemma2Model of transformers; legal: Qwen3Model",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_does_not_fit_is_refused_without_torch_too(
    saved: Callable[[FlowCase], Path], tmp_path: Path, wrong: str
) -> None:
    case, name, changes, said = WRONG[wrong]
    shutil.copytree(saved(case), tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    file = tmp_path / "model" / name
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, **changes}))
    with pytest.raises(CheckpointError, match=re.escape(said)):
        read_traits(str(tmp_path / "model"))


def test_what_panoweaves_own_pipeline_saves_is_found_by_its_transformer(tmp_path: Path) -> None:
    FLUX.pipeline(tmp_path / "words").save_pretrained(tmp_path / "model")
    assert load_checkpoint(str(tmp_path / "model")).traits.family == "flux"
