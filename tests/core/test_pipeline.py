from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DEISMultistepScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from PIL import Image

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.coherence import CoherenceMeter
from panoweave.core.diffusion.errors import (
    CheckpointError,
    NonFiniteGradientError,
    NonFinitePictureError,
    PerceptualWeightsError,
    UnsupportedSchedulerError,
)
from panoweave.core.diffusion.perceptual import Embedding, PerceptualLoss
from panoweave.core.diffusion.perceptual_weights import load_stlpips_style
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.model_files.find import resolve_checkpoint
from panoweave.core.params import PanoramaParams, SyncParams
from tests.core import tiny

PARAMS = PanoramaParams(prompt="a lake", width=128, stride=32, steps=3, seed=5)


@pytest.fixture
def pipeline(tmp_path: Path, perceptual: PerceptualLoss) -> SyncDiffusionPipeline:
    made = tiny.pipeline(tmp_path)
    made.perceptual = perceptual
    made.meter = CoherenceMeter(perceptual, load_stlpips_style())
    return made


def test_makes_a_measured_panorama(pipeline: SyncDiffusionPipeline) -> None:
    panorama = pipeline(PARAMS)
    assert panorama.image.size == (128, 64)
    assert panorama.seed == 5
    assert panorama.coherence is not None
    assert panorama.coherence.intra_lpips > 0
    assert set(panorama.timings_s) == {"encode", "denoise", "decode", "measure"}


def test_a_seed_is_a_panorama(pipeline: SyncDiffusionPipeline) -> None:
    again = pipeline(PARAMS).image.tobytes()
    assert pipeline(PARAMS).image.tobytes() == again
    assert pipeline(PARAMS.model_copy(update={"seed": 6})).image.tobytes() != again


def test_a_drawn_seed_is_reported_and_repeats(pipeline: SyncDiffusionPipeline) -> None:
    first = pipeline(PARAMS.model_copy(update={"seed": None}))
    again = pipeline(PARAMS.model_copy(update={"seed": first.seed}))
    assert again.image.tobytes() == first.image.tobytes()


def test_reports_every_step(pipeline: SyncDiffusionPipeline) -> None:
    reports: list[StepReport] = []
    pipeline(PARAMS, on_step=reports.append)
    assert [(report.step, report.total_steps) for report in reports] == [(1, 3), (2, 3), (3, 3)]
    assert reports[0].state.latents.shape == (1, 4, 8, 16)


@pytest.mark.parametrize("has_tiny_decoder", [True, False])
def test_a_step_can_be_looked_at(
    embedded: SyncDiffusionPipeline, monkeypatch: pytest.MonkeyPatch, has_tiny_decoder: bool
) -> None:
    """The prediction of the last step is the picture, small; that of the first step is not yet."""
    if not has_tiny_decoder:
        monkeypatch.setattr(embedded, "tiny_decoder", None)
    previews: list[Image.Image] = []
    params = PanoramaParams(
        prompt="a lake", seed=1, width=384, steps=8, sync=SyncParams(weight=0, decoder="full")
    )
    panorama = embedded(
        params,
        on_step=lambda report: previews.append(embedded.preview(report.pred_original_sample)),
    )

    def difference(preview: Image.Image) -> float:
        sides = [np.asarray(image.resize((48, 16)), float) for image in (preview, panorama.image)]
        return float(np.abs(sides[0] - sides[1]).mean())

    assert previews[-1].width < panorama.image.width
    assert difference(previews[-1]) < 10
    assert difference(previews[0]) > 2 * difference(previews[-1])


def test_the_callback_can_stop_it(pipeline: SyncDiffusionPipeline) -> None:
    class Stop(BaseException):
        pass

    seen: list[int] = []

    def stop(report: StepReport) -> None:
        seen.append(report.step)
        if report.step == 2:
            raise Stop

    with pytest.raises(Stop):
        pipeline(PARAMS, on_step=stop)
    assert seen == [1, 2]


def test_a_panorama_can_be_stopped_between_two_batches(pipeline: SyncDiffusionPipeline) -> None:
    """In the middle of a step; and a finished one has had a batch for each evaluation."""

    class Stop(BaseException):
        pass

    reports: list[StepReport] = []
    batches: list[int] = []

    def count() -> None:
        batches.append(len(reports))

    def stop() -> None:
        count()
        if len(batches) == 6:
            raise Stop

    params = PARAMS.model_copy(update={"preset": "paper"})
    pipeline(params, on_step=reports.append, on_batch=count, window_batch=1)
    # Three windows at each step: the anchor, two gradients, two windows that were moved.
    # Both of the finished picture are measured by two networks.
    assert batches == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 4
    reports.clear()
    batches.clear()
    with pytest.raises(Stop):
        pipeline(params, on_step=reports.append, on_batch=stop, window_batch=1)
    assert [report.step for report in reports] == [1]


def test_the_caller_may_hold_no_grad_or_not(pipeline: SyncDiffusionPipeline) -> None:
    expected = pipeline(PARAMS).image.tobytes()
    with torch.no_grad():
        assert pipeline(PARAMS).image.tobytes() == expected


def test_with_less_memory_less_is_kept_and_nothing_changes(pipeline: SyncDiffusionPipeline) -> None:
    def made() -> tuple[bytes, int]:
        kept = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            image = pipeline(PARAMS.model_copy(update={"preset": "paper"})).image
        return image.tobytes(), kept

    picture, kept = made()
    pipeline.set_gradient_checkpointing(True)
    spared, less = made()
    assert spared == picture
    assert less < 0.8 * kept
    pipeline.set_gradient_checkpointing(False)
    assert made() == (picture, kept)


def test_impossible_size_is_refused(pipeline: SyncDiffusionPipeline) -> None:
    with pytest.raises(InvalidParams, match="width"):
        pipeline(PARAMS.model_copy(update={"width": 130}))


def test_synchronising_needs_a_network(pipeline: SyncDiffusionPipeline) -> None:
    pipeline.perceptual = None
    with pytest.raises(PerceptualWeightsError, match="load_perceptual"):
        pipeline(PARAMS)
    pipeline(PARAMS.model_copy(update={"sync": SyncParams(weight=0)}))


def test_nan_names_window_and_step(pipeline: SyncDiffusionPipeline) -> None:
    class Broken(PerceptualLoss):
        name = "broken"
        calls = 0

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("nothing", torch.zeros(1))

        def _embed(self, images: torch.Tensor) -> Embedding:
            self.calls += 1
            if self.calls == 5:  # step 1 of: anchor, windows 0 and 2 one by one, and again
                images = images * float("nan")
            return [images]

    pipeline.perceptual = Broken()
    with pytest.raises(NonFiniteGradientError, match=r"step 1 .* window\(s\) 0;") as error:
        pipeline(PARAMS, window_batch=1)
    assert (error.value.step, error.value.windows) == (1, (0,))


@pytest.mark.parametrize("network", ["unet", "vae"])
def test_what_overflows_makes_no_black_picture(
    pipeline: SyncDiffusionPipeline, network: str
) -> None:
    """Also where nothing is synchronised, so that no gradient shows it."""
    last = pipeline.unet.conv_out if network == "unet" else pipeline.vae.decoder.conv_out
    last.bias[0] = torch.nan
    with pytest.raises(NonFinitePictureError, match="try float32"):
        pipeline(PARAMS.model_copy(update={"sync": SyncParams(weight=0)}))


@pytest.mark.parametrize(
    "scheduler", [PNDMScheduler, DEISMultistepScheduler, UniPCMultistepScheduler]
)
def test_other_schedulers_are_refused_by_name(tmp_path: Path, scheduler: type) -> None:
    parts = tiny.components(tmp_path) | {"scheduler": scheduler()}
    with pytest.raises(UnsupportedSchedulerError, match=f"{scheduler.__name__}.*DDIMScheduler"):
        SyncDiffusionPipeline(**parts)


def test_loads_what_stable_diffusion_saved(tmp_path: Path) -> None:
    """A checkpoint as it is published: StableDiffusionPipeline's, with another scheduler."""
    parts = tiny.components(tmp_path / "tokenizer")
    parts["scheduler"] = PNDMScheduler(beta_schedule="scaled_linear", steps_offset=1)
    published = StableDiffusionPipeline(
        **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    published.save_pretrained(tmp_path / "checkpoint")

    pipeline = load_pipeline(str(tmp_path / "checkpoint"), perceptual="stlpips-alex", device="cpu")

    assert isinstance(pipeline.scheduler, DDIMScheduler)
    assert pipeline.scheduler.config.beta_schedule == "scaled_linear"
    assert pipeline.scheduler.config.clip_sample is False
    assert (pipeline.traits.window_px, pipeline.traits.px_per_latent) == (64, 8)
    assert pipeline(PARAMS).image.size == (128, 64)


def test_a_checkpoint_brings_its_defaults(tmp_path: Path) -> None:
    made = tiny.pipeline(tmp_path / "tokenizer")
    made.save_pretrained(tmp_path / "checkpoint")
    loaded = SyncDiffusionPipeline.from_pretrained(tmp_path / "checkpoint")
    assert PARAMS.resolve(loaded.traits).guidance_scale == 7.5  # the paper's
    file = tmp_path / "checkpoint" / "panoweave.json"

    file.write_text('{"guidance_scale": 3}')
    traits = SyncDiffusionPipeline.from_pretrained(tmp_path / "checkpoint").traits
    assert PARAMS.resolve(traits).guidance_scale == 3
    asked = PARAMS.model_copy(update={"guidance_scale": 5})
    assert asked.resolve(traits).guidance_scale == 5

    file.write_text('{"guidance_scale": 0.5, "step": 4}')
    with pytest.raises(CheckpointError, match=r"panoweave\.json(.|\n)*guidance_scale(.|\n)*step"):
        SyncDiffusionPipeline.from_pretrained(tmp_path / "checkpoint")


def test_a_checkpoint_for_inpainting_is_refused(tmp_path: Path) -> None:
    parts = tiny.components(tmp_path)
    config = {**parts["unet"].config, "in_channels": 9}
    parts["unet"] = UNet2DConditionModel.from_config(config)
    with pytest.raises(CheckpointError, match=r"takes 9 channels.*legal: text-to-image"):
        SyncDiffusionPipeline(**parts)


def test_names_of_checkpoints(tmp_path: Path) -> None:
    assert resolve_checkpoint("stabilityai/some-model@fp16") == ("stabilityai/some-model", "fp16")
    assert resolve_checkpoint("stabilityai/some-model") == ("stabilityai/some-model", None)
    assert resolve_checkpoint(str(tmp_path)) == (str(tmp_path), None)
    with pytest.raises(CheckpointError, match="no directory"):
        resolve_checkpoint("./nowhere")


def test_a_directory_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="legal: a directory, or a hub id"):
        load_pipeline(str(tmp_path), perceptual="stlpips-alex", device="cpu")
