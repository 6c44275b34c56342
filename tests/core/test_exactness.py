"""The pipeline computes the paper's Algorithm 1, and MultiDiffusion where it should.

In float64, so that equal means equal: random networks amplify float32's rounding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPanoramaPipeline
from torch import Tensor

from panoweave.core.diffusion import pipeline as pipeline_module
from panoweave.core.diffusion.guidance import BatchedModel
from panoweave.core.diffusion.perceptual_weights import load_perceptual
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.sampling import sample_syncdiffusion
from panoweave.core.params import PanoramaParams, SyncParams
from panoweave.core.presets import PresetName
from tests.core import tiny
from tests.core.transcription import run_algorithm_1


def exact_pipeline(folder: Path, prediction_type: str = "epsilon") -> SyncDiffusionPipeline:
    pipeline = tiny.pipeline(folder, prediction_type=prediction_type)
    pipeline.to(torch.float64)
    scheduler = pipeline.scheduler
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.double()
    pipeline.perceptual = tiny.perceptual().double()
    return pipeline


def params(**changes: Any) -> PanoramaParams:
    sync = {"weight": 20, "decay": 0.9, **changes.pop("sync", {})}
    base: dict[str, Any] = {
        "prompt": "a mountain lake",
        "negative_prompt": "rain",
        "width": 128,
        "height": 64,
        "stride": 16,
        "steps": 4,
        "seed": 3,
        "preset": "paper",
    }
    return PanoramaParams(**{**base, **changes}, sync=SyncParams(**sync))


def papers(
    pipeline: SyncDiffusionPipeline, asked: PanoramaParams, given: Tensor | None = None
) -> Tensor:
    resolved = asked.resolve(pipeline.traits)
    with torch.no_grad():
        embeddings = pipeline.encode_prompt(resolved.prompt, resolved.negative_prompt)
    noise = tiny.draw_noise(pipeline, asked)
    return run_algorithm_1(pipeline, resolved, noise, embeddings, given)


LAYOUTS: dict[str, dict[str, Any]] = {
    "every step": {},
    "two rows": {"width": 96, "height": 96, "stride": 32},
    "every second step": {"sync": {"every": 2}},
    "first two steps": {"sync": {"steps": 2}},
    "first window as anchor": {"sync": {"anchor": 0}},
    "no guidance": {"guidance_scale": 1.0},
    "gaussian gradient": {"sync": {"gradient": "gaussian"}},
}
EXACT = [
    pytest.param(
        prediction_type,
        changes,
        id=f"{name}-{prediction_type}",
        # The gate has v-prediction once: each takes 2.5 s.
        marks=[pytest.mark.slow] * (prediction_type == "v_prediction" and name != "two rows"),
    )
    for prediction_type in ("epsilon", "v_prediction")
    for name, changes in LAYOUTS.items()
]


@pytest.mark.parametrize(("prediction_type", "changes"), EXACT)
def test_equals_algorithm_1(tmp_path: Path, prediction_type: str, changes: dict[str, Any]) -> None:
    pipeline = exact_pipeline(tmp_path, prediction_type)
    if not changes:  # once with the network that workers load
        pipeline.perceptual = load_perceptual("stlpips-alex").double()
    asked = params(**changes)
    expected = papers(pipeline, asked)
    plain = tiny.sample(pipeline, params(**{**changes, "sync": {"weight": 0}}))

    made = tiny.sample(pipeline, asked)

    torch.testing.assert_close(made, expected, rtol=0, atol=1e-8)
    assert (plain - expected).abs().max() > 0.1  # synchronising did move something


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_a_given_picture_takes_the_anchors_place(tmp_path: Path, prediction_type: str) -> None:
    """As it is predicted at each step; the window where the anchor was follows it too."""
    pipeline = exact_pipeline(tmp_path, prediction_type)
    asked = params(width=96, steps=3, anchor_image={"key": "given"})
    torch.manual_seed(4)
    given = torch.rand(1, 3, 64, 64, dtype=torch.float64) * 2 - 1

    made = tiny.sample(pipeline, asked, {"anchor_image": given})

    expected = papers(pipeline, asked, given)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-8)
    assert (papers(pipeline, asked) - expected).abs().max() > 0.1


def test_window_batch_changes_nothing(tmp_path: Path) -> None:
    pipeline = exact_pipeline(tmp_path)
    one, all_at_once = (
        tiny.sample(pipeline, params(), window_batch=1),
        tiny.sample(pipeline, params(), window_batch=64),
    )
    torch.testing.assert_close(one, all_at_once, rtol=0, atol=1e-8)


@pytest.mark.parametrize("preset", ["paper", "balanced"])
@pytest.mark.parametrize("window_batch", [1, 64])
@pytest.mark.parametrize("given", [{}, {"anchor_image": {"key": "given"}}], ids=["own", "given"])
def test_anchor_in_a_batch_with_windows_changes_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    preset: PresetName,
    window_batch: int,
    given: dict[str, Any],
) -> None:
    """As on a GPU. Fewer calls, the same latents."""
    torch.manual_seed(4)
    images = {field: torch.rand(1, 3, 64, 64) * 2 - 1 for field in given}
    pipeline = exact_pipeline(tmp_path)
    calls: list[int] = []
    pipeline.unet.conv_out.register_forward_pre_hook(lambda _, given: calls.append(len(given[0])))
    asked = params(preset=preset, sync={"steps": 4}, **given)

    alone = tiny.sample(pipeline, asked, images, window_batch=window_batch)
    calls_alone = calls.copy()
    calls.clear()
    monkeypatch.setattr(
        pipeline_module,
        "sample_syncdiffusion",
        lambda *args, **options: sample_syncdiffusion(*args, **{**options, "batch_anchor": True}),
    )
    together = tiny.sample(pipeline, asked, images, window_batch=window_batch)

    torch.testing.assert_close(together, alone, rtol=0, atol=1e-8)
    assert (len(calls) < len(calls_alone)) == (window_batch == 64)
    assert max(calls) <= 2 * window_batch


def test_batches_are_of_equal_size() -> None:
    model = BatchedModel(lambda latents, _step, _views: latents, 8)
    sizes = [[len(batch) for batch in model.split(range(n))] for n in (0, 1, 8, 9, 20, 21)]
    assert sizes == [[], [1], [8], [5, 4], [7, 7, 6], [7, 7, 7]]
    assert [i for batch in model.split(range(21)) for i in batch] == list(range(21))


@pytest.mark.parametrize("off", [{"weight": 0}, {"steps": 0}, {"every": 5}])
def test_without_pull_is_multidiffusion(tmp_path: Path, off: dict[str, Any]) -> None:
    pipeline = exact_pipeline(tmp_path)
    made = tiny.sample(pipeline, params(sync=off))
    pipeline.perceptual = None
    assert torch.equal(made, tiny.sample(pipeline, params(sync={"weight": 0})))


def test_multidiffusion_equals_diffusers(tmp_path: Path) -> None:
    """diffusers' panorama pipeline has windows of 64 latents, stride 8, built in."""
    parts = tiny.components(tmp_path, window_latents=64)
    pipeline = SyncDiffusionPipeline(**parts)
    asked = params(width=640, height=512, stride=64, steps=3, sync={"weight": 0})
    reference = StableDiffusionPanoramaPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    reference.set_progress_bar_config(disable=True)
    expected = reference(
        prompt=asked.prompt,
        negative_prompt=asked.negative_prompt,
        height=asked.height,
        width=asked.width,
        num_inference_steps=asked.steps,
        guidance_scale=asked.resolve(pipeline.traits).guidance_scale,
        latents=pipeline.draw_noise(asked.resolve(pipeline.traits)),
        output_type="latent",
    ).images
    torch.testing.assert_close(tiny.sample(pipeline, asked), expected, rtol=1e-4, atol=1e-4)


def test_stride_of_a_window_gives_independent_windows(tmp_path: Path) -> None:
    """Without overlap and without pull, a panorama is its windows made one by one."""
    pipeline = tiny.pipeline(tmp_path)
    asked = params(width=192, stride=64, sync={"weight": 0})
    resolved = asked.resolve(pipeline.traits)
    noise = pipeline.draw_noise(resolved)
    whole = tiny.sample(pipeline, asked)
    single = params(width=64, stride=64, sync={"weight": 0})
    for left in (0, 8, 16):
        window = noise[..., left : left + 8]
        alone = tiny.sample(pipeline, single, noise=window, window_batch=1)
        torch.testing.assert_close(whole[..., left : left + 8], alone, rtol=1e-4, atol=1e-4)
