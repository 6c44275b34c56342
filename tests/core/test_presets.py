"""What the presets are made of does what it says, on tiny networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.perceptual import Embedding, PerceptualLoss
from panoweave.core.diffusion.perceptual_weights import load_perceptual
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.sampling import limit_length
from panoweave.core.params import PanoramaParams, SyncParams
from panoweave.core.presets import PRESETS, PresetName
from tests.core import tiny

FAINT = 0.01


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
    made.use_tiny_decoder(tiny.small_decoder())
    return made


def asked(preset: PresetName = "paper", **changes: Any) -> PanoramaParams:
    base: dict[str, Any] = {"prompt": "a lake", "width": 128, "seed": 5, "steps": 6}
    return PanoramaParams(preset=preset, **{**base, **changes})


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_makes_a_panorama(pipeline: SyncDiffusionPipeline, preset: PresetName) -> None:
    panorama = pipeline(asked(preset))
    assert panorama.image.size == (128, 64)
    assert panorama.params.sync.decoder == PRESETS[preset]["sync"]["decoder"]


def test_the_tiny_decoder_leads_elsewhere_than_the_full_one(
    pipeline: SyncDiffusionPipeline,
) -> None:
    tiny_one, full, none = (
        tiny.sample(pipeline, asked(sync=sync))
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
        pipeline.use_tiny_decoder(tiny.small_decoder(channels=8))


@pytest.mark.parametrize(("reuse", "evaluations"), [(False, 1 + 4 + 4), (True, 1 + 4)])
def test_a_reused_prediction_saves_the_second_evaluation(
    pipeline: SyncDiffusionPipeline, reuse: bool, evaluations: int
) -> None:
    """One step of five windows: the anchor's prediction serves twice, the others' if reused."""
    seen = 0

    def count(_module: Any, inputs: tuple[Tensor, ...], _output: Any) -> None:
        nonlocal seen
        seen += len(inputs[0]) // 2  # with and without the prompt

    with pipeline.unet.conv_out.register_forward_hook(count):
        sync = SyncParams(reuse_prediction=reuse)
        tiny.sample(pipeline, asked(steps=1, sync=sync))
    assert seen == evaluations


def test_shifted_windows_need_fewer_evaluations(pipeline: SyncDiffusionPipeline) -> None:
    seen = {"shifted": 0, "overlapping": 0}
    for windows in seen:

        def count(
            _module: Any, inputs: tuple[Tensor, ...], _output: Any, windows: str = windows
        ) -> None:
            seen[windows] += len(inputs[0]) // 2

        with pipeline.unet.conv_out.register_forward_hook(count):
            params = asked(windows=windows, width=512, steps=10, sync=SyncParams(weight=0))
            tiny.sample(pipeline, params)
    # 29 windows at all ten steps, or 8 to 9 at seven of them and 15 at three.
    assert seen["overlapping"] == 290
    assert 7 * 8 + 3 * 15 <= seen["shifted"] <= 7 * 9 + 3 * 15


def test_no_window_is_moved_farther_than_asked() -> None:
    """Longer moves stop at the limit, in the same direction; shorter ones stay as they are."""
    torch.manual_seed(0)
    moves = torch.randn(4, 4, 8, 8) * torch.tensor([0.0, 0.5, 1.0, 3.0])[:, None, None, None]
    limited = limit_length(moves, 0.7)
    lengths = moves.square().flatten(1).mean(1).sqrt()
    assert [bool(length > 0.7) for length in lengths] == [False, False, True, True]
    assert torch.equal(limited[:2], moves[:2])
    torch.testing.assert_close(limited[2:], moves[2:] * (0.7 / lengths[2:, None, None, None]))
    assert limit_length(moves, None) is moves


def test_the_smallest_legal_limit_of_a_window_that_does_not_move_is_a_number() -> None:
    """In float32 that limit is 0, and 0 / 0 would be none."""
    asked = PanoramaParams.model_validate({"prompt": "x", "sync": {"max_move": 5e-324}})
    still = torch.zeros(1, 4, 8, 8)
    assert torch.equal(limit_length(still, asked.sync.max_move), still)


def test_windows_of_a_panorama_are_moved_by_the_limit(pipeline: SyncDiffusionPipeline) -> None:
    """One step is linear in the move: twice the limit is twice the difference, far below none."""

    def moved(max_move: float) -> Tensor:
        pull = SyncParams(weight=200, max_move=max_move, reuse_prediction=True)
        request: dict[str, Any] = {"steps": 1, "stride": 64, "windows": "overlapping"}
        pulled, still = (
            tiny.sample(pipeline, asked(sync=sync, **request))
            for sync in (pull, SyncParams(weight=0))
        )
        return (pulled - still)[..., :8]  # the first window; the second is the anchor

    once, twice, free = moved(0.001), moved(0.002), moved(1_000)
    torch.testing.assert_close(twice, 2 * once, rtol=1e-2, atol=1e-4)
    assert free.abs().mean() > 5 * twice.abs().mean() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_gradient_survives_half_precision(
    pipeline: SyncDiffusionPipeline, dtype: torch.dtype
) -> None:
    """It points where float32's does: nothing of it fell below the least number."""
    pipeline.perceptual = Faint(load_perceptual("stlpips-alex"))

    def pull() -> Tensor:
        one_step = asked(steps=1, sync=SyncParams(weight=1000))
        without = asked(steps=1, sync=SyncParams(weight=0))
        return tiny.sample(pipeline, one_step) - tiny.sample(pipeline, without)

    exact = pull()
    pipeline.unet.to(dtype)
    pipeline.vae.to(dtype)
    halved = pull()
    cosine = torch.nn.functional.cosine_similarity(exact.flatten(), halved.flatten(), dim=0)
    assert cosine > 0.8  # unscaled, float16 gives 0.4
