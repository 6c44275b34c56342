"""What the presets are made of does what it says, on tiny networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from panoweave.core.diffusion.denoise import Denoiser
from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.perceptual import Embedding, PerceptualLoss
from panoweave.core.diffusion.perceptual_weights import load_perceptual
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.schedulers import Sampler
from panoweave.core.diffusion.sync import Synchronizer
from panoweave.core.diffusion.views import WindowPlan
from panoweave.core.params import PanoramaParams, SyncParams
from panoweave.core.presets import PRESETS, PresetName
from tests.core import tiny

FAINT = 0.01


def small_decoder(channels: int = 4) -> AutoencoderTiny:
    """Three levels: pictures of half the size."""
    torch.manual_seed(1)
    return AutoencoderTiny(
        latent_channels=channels,
        encoder_block_out_channels=(8,) * 3,
        decoder_block_out_channels=(8,) * 3,
        num_encoder_blocks=(0,) * 3,
        num_decoder_blocks=(1,) * 3,
    )


class Faint(PerceptualLoss):
    """A distance whose gradient is as small as that of a picture with many more pixels."""

    name = "faint"

    def __init__(self, network: PerceptualLoss) -> None:
        super().__init__()
        self.network = network

    def _embed(self, images: Tensor) -> Embedding:
        return [layer * FAINT for layer in self.network.embed(images)]


@pytest.fixture
def pipeline(tmp_path: Path, perceptual: PerceptualLoss) -> SyncDiffusionPipeline:
    made = tiny.pipeline(tmp_path)
    made.perceptual = perceptual
    made.use_tiny_decoder(small_decoder())
    return made


def asked(preset: PresetName = "paper", **changes: Any) -> PanoramaParams:
    base: dict[str, Any] = {"prompt": "a lake", "width": 128, "seed": 5, "steps": 6}
    return PanoramaParams(preset=preset, **{**base, **changes})


def latents(pipeline: SyncDiffusionPipeline, params: PanoramaParams) -> Tensor:
    resolved = params.resolve(pipeline.traits)
    with torch.no_grad():
        embeddings = pipeline.encode_prompt(resolved.prompt, "")
        noise = pipeline.draw_noise(resolved)
        return pipeline.denoise(noise, resolved, embeddings, None, 3)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_makes_a_panorama(pipeline: SyncDiffusionPipeline, preset: PresetName) -> None:
    panorama = pipeline(asked(preset))
    assert panorama.image.size == (128, 64)
    assert panorama.params.sync.decoder == PRESETS[preset]["sync"]["decoder"]


def test_the_tiny_decoder_leads_elsewhere_than_the_full_one(
    pipeline: SyncDiffusionPipeline,
) -> None:
    tiny_one, full, none = (
        latents(pipeline, asked(sync=sync))
        for sync in (
            SyncParams(weight=200, decoder="tiny"),
            SyncParams(weight=200, decoder="full"),
            SyncParams(weight=0),
        )
    )
    assert (tiny_one - none).abs().max() > 1e-3
    assert (tiny_one - full).abs().max() > 1e-3


def test_a_tiny_decoder_of_other_latents_is_refused(pipeline: SyncDiffusionPipeline) -> None:
    with pytest.raises(CheckpointError, match="8 channels, this checkpoint's have 4"):
        pipeline.use_tiny_decoder(small_decoder(channels=8))


@pytest.mark.parametrize(("reuse", "evaluations"), [(False, 1 + 4 + 4), (True, 1 + 4)])
def test_a_reused_prediction_saves_the_second_evaluation(
    pipeline: SyncDiffusionPipeline, reuse: bool, evaluations: int
) -> None:
    """One step of five windows: the anchor's prediction serves twice, the others' if reused."""
    seen = 0

    def count(_module: Any, inputs: tuple[Tensor, ...], _output: Any) -> None:
        nonlocal seen
        seen += len(inputs[0]) // 2  # with and without the prompt

    with pipeline.unet.register_forward_hook(count):
        sync = SyncParams(reuse_prediction=reuse)
        latents(pipeline, asked(steps=1, sync=sync))
    assert seen == evaluations


def test_shifted_windows_need_fewer_evaluations(pipeline: SyncDiffusionPipeline) -> None:
    seen = {"shifted": 0, "overlapping": 0}
    for windows in seen:

        def count(
            _module: Any, inputs: tuple[Tensor, ...], _output: Any, windows: str = windows
        ) -> None:
            seen[windows] += len(inputs[0]) // 2

        with pipeline.unet.register_forward_hook(count):
            params = asked(windows=windows, width=512, steps=10, sync=SyncParams(weight=0))
            latents(pipeline, params)
    # 29 windows at all ten steps, or 8 to 9 at seven of them and 15 at three.
    assert seen["overlapping"] == 290
    assert 7 * 8 + 3 * 15 <= seen["shifted"] <= 7 * 9 + 3 * 15


def test_no_window_is_moved_farther_than_asked(pipeline: SyncDiffusionPipeline) -> None:
    """Of windows with unlike gradients the far ones stop at the bound, in the same direction."""

    def moves(max_move: float) -> Tensor:
        sync = SyncParams(weight=200, max_move=max_move)
        params = asked(steps=1, sync=sync).resolve(pipeline.traits)
        with torch.no_grad():
            embeddings = pipeline.encode_prompt("a lake", "")
            noise = pipeline.draw_noise(params)
            plan = WindowPlan(params, pipeline.traits)
            sampler = Sampler(pipeline.scheduler, "ddim", 1, 0, noise.device)
            denoiser = Denoiser(pipeline.unet, embeddings, 3.0, 2)
            synchronizer = Synchronizer(
                denoiser, sampler, pipeline.vae, pipeline.perceptual, params.sync
            )
            grid = plan.grid(0)
            windows, anchor = grid.read(noise), plan.anchor(noise, grid)
            moved, _ = synchronizer.synchronize(windows, grid, anchor, sampler.steps[0])
            return (moved - windows).flatten(1)

    free = moves(1_000)
    lengths = free.square().mean(1).sqrt()
    bound = float(lengths.sort().values[2])  # one window, the anchor, does not move at all
    assert lengths.max() > 1.01 * bound
    expected = free * (bound / lengths.clamp(min=bound))[:, None]
    torch.testing.assert_close(moves(bound), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_gradient_survives_half_precision(
    pipeline: SyncDiffusionPipeline, dtype: torch.dtype
) -> None:
    """It points where float32's does: nothing of it fell below the least number."""
    pipeline.perceptual = Faint(load_perceptual("stlpips-alex"))

    def pull() -> Tensor:
        one_step = asked(steps=1, sync=SyncParams(weight=1000))
        without = asked(steps=1, sync=SyncParams(weight=0))
        return latents(pipeline, one_step) - latents(pipeline, without)

    exact = pull()
    pipeline.unet.to(dtype)
    pipeline.vae.to(dtype)
    halved = pull()
    cosine = torch.nn.functional.cosine_similarity(exact.flatten(), halved.flatten(), dim=0)
    assert cosine > 0.8  # unscaled, float16 gives 0.4
