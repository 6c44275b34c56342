"""`upscale`: a panorama is enlarged, and its windows painted again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image, ImageChops

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.diffusion.decode import encode, from_pil
from panoweave.core.diffusion.encode_tiles import encode_canvas, encode_ring
from panoweave.core.diffusion.last_steps import last_steps
from panoweave.core.diffusion.parts import PartsOfPanorama, WithoutDetails
from panoweave.core.diffusion.perceptual import PerceptualLoss, distance
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.diffusion.upscaling import enlarge
from panoweave.core.diffusion.views import View
from panoweave.core.estimate import estimate_work
from panoweave.core.params import PanoramaParams, ResolvedParams
from panoweave.core.upscale import UPSCALE_STEPS, enlarged
from tests.core import tiny
from tests.core.flow import CASE
from tests.core.flow import Make as MakeFlow
from tests.core.resuming import Make, check_resumes, picture
from tests.core.tiny_flow import FlowCase

TRAITS = CheckpointTraits(window_px=64, px_per_latent=8)
INLINE = {"base64": "eA=="}


@pytest.fixture
def fresh(tmp_path: Path, tiny_perceptual: PerceptualLoss) -> Make:
    def make() -> SyncDiffusionPipeline:
        made = tiny.pipeline(tmp_path)
        made.perceptual = tiny_perceptual
        made.use_tiny_decoder(tiny.small_decoder())
        return made

    return make


def asked(**changes: Any) -> PanoramaParams:
    base = {"prompt": "a lake", "width": 96, "stride": 32, "seed": 3, "steps": 1, "upscale": 2}
    return PanoramaParams.model_validate({**base, **changes})


def resolved(traits: CheckpointTraits = TRAITS, **changes: Any) -> ResolvedParams:
    return asked(**changes).resolve(traits)


@pytest.mark.parametrize("factor", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_the_picture_is_larger_and_its_steps_are_counted(fresh: Make, factor: int) -> None:
    reports: list[StepReport] = []
    made = fresh()(asked(upscale=factor), on_step=reports.append)
    assert made.image.size == (96 * factor, 64 * factor)
    assert made.image.size == made.params.picture_size(TRAITS)
    assert (made.params.width, made.params.height) == (96, 64)
    total = 1 + UPSCALE_STEPS
    assert [(one.step, one.total_steps) for one in reports] == [
        (n + 1, total) for n in range(total)
    ]
    assert made.params.total_steps == total
    assert made.timings_s["upscale"] > 0


@pytest.mark.parametrize("weight", [0, 1])
def test_a_stride_need_not_divide_the_window(fresh: Make, weight: float) -> None:
    """The larger panorama is no grid of that stride: its windows have places of their own."""
    made = fresh()(asked(width=88, stride=24, sync={"weight": weight}))
    assert made.image.size == (2 * 88, 2 * 64)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        pytest.param({"preset": "paper", "loop": True}, marks=pytest.mark.slow),
        {"scheduler": "dpm++", "sync": {"weight": 0}},
        pytest.param(
            {
                "regions": [
                    {"prompt": "a hill", "x": 0, "width": 32},
                    {"prompt": "b", "mask": INLINE},
                ]
            },
            marks=pytest.mark.slow,
        ),
    ],
    ids=["balanced", "loop", "dpm++", "regions"],
)
def test_it_resumes_in_both_stages_with_equal_bits(fresh: Make, changes: dict[str, Any]) -> None:
    images = {}
    if "regions" in changes:
        changes["regions"][1]["mask"] = {"key": "given beside the request"}
        images["regions.1.mask"] = picture(96)
    check_resumes(fresh, asked(**changes), images, at=(1, 3, 7))


@CASE
def test_every_flow_family_enlarges(case: FlowCase, fresh_flow: MakeFlow) -> None:
    def fresh() -> SyncDiffusionPipeline:
        return fresh_flow(case)

    check_resumes(fresh, asked(width=64, stride=None, steps=1, guidance_scale=1), at=(4,))


@pytest.mark.slow
def test_the_number_of_windows_at_once_changes_nothing(fresh: Make) -> None:
    pipeline = tiny.in_float64(fresh())
    assert pipeline.perceptual
    pipeline.perceptual = pipeline.perceptual.double()
    assert pipeline.tiny_decoder
    pipeline.tiny_decoder.double()
    one, five = (pipeline(asked(), window_batch=batch).image for batch in (1, 5))
    assert max(ImageChops.difference(one, five).tobytes()) <= 1


def test_windows_follow_the_panorama_that_they_came_from(fresh: Make) -> None:
    """Shrunk to the first stage's size, the picture is nearer to it than without synchronising."""
    pipeline = fresh()
    assert pipeline.perceptual
    sync = {"weight": 1_000, "max_move": 2.0, "decoder": "full"}
    first = pipeline(asked(upscale=None, sync=sync)).image
    apart = []
    for is_followed in (True, False):
        with pytest.MonkeyPatch.context() as patched:
            if not is_followed:
                patched.setattr(
                    "panoweave.core.diffusion.sampling.moves_at",
                    lambda _step, steps, _sync: 0 if steps == UPSCALE_STEPS else 1,
                )
            made = pipeline(asked(sync=sync)).image
        pair = [
            pipeline.perceptual.embed(from_pil(image, torch.device("cpu"))[None])
            for image in (made.reduce(2), first)
        ]
        apart.append(float(distance(*pair)))
    assert apart[0] < 0.9 * apart[1]


def test_each_window_is_compared_with_its_own_part(fresh: Make) -> None:
    """Also with the part beyond the end of a ring; and details finer than the panorama's do not
    count."""
    pipeline = fresh()
    assert pipeline.perceptual
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(100, 156, (64, 96, 3), np.uint8))
    parts = PartsOfPanorama(enlarge(small, 2, True), 2, TRAITS, True, torch.device("cpu"))
    latents = torch.zeros(1, 4, 8, 8)
    for view, x in ((View(0, 2), 16), (View(8, 20), 160)):
        twice = Image.new("RGB", (384, 128))
        for left in (0, 192):
            twice.paste(enlarge(small, 2, True), (left, 0))
        top = view.top * 8
        expected = from_pil(twice.crop((x, top, x + 64, top + 64)), torch.device("cpu"))
        assert torch.equal(parts.pictures([view])[0], expected)
    compared = WithoutDetails(pipeline.vae, pipeline.perceptual, parts, latents)
    before = compared.of_views([View(0, 2)])
    pixels = np.asarray(parts._picture).astype(int)
    pixels[:, ::2] += 5
    pixels[:, 1::2] -= 5
    parts._picture = Image.fromarray(pixels.astype(np.uint8))
    assert float(distance(before, compared.of_views([View(0, 2)]))) < 1e-6


@pytest.mark.parametrize("name", ["ddim", "flow"])
def test_the_last_steps_take_an_image_to_the_noise_and_back(
    name: str, fresh: Make, fresh_flow: MakeFlow
) -> None:
    """A model that knows the noise gets the image back, from no more noise than asked for."""
    if name == "ddim":
        pipeline = fresh()
    else:
        case = next(mark.values[0] if hasattr(mark, "values") else mark for mark in CASE.args[1])
        pipeline = fresh_flow(case)
    large = enlarged(resolved(pipeline.traits, width=None, stride=None), pipeline.traits)
    torch.manual_seed(0)
    image, noise = torch.randn(2, 1, 4, 16, 24, dtype=torch.float64)
    steps = last_steps(
        lambda count: pipeline.family.scheduler(
            pipeline, large.model_copy(update={"steps": count}), torch.device("cpu")
        ),
        UPSCALE_STEPS,
        0.5,
        image,
    )
    assert [step.index for step in steps.steps] == list(range(UPSCALE_STEPS))
    levels = [float((1 - step.alpha_cumprod).sqrt()) for step in steps.steps]
    assert 0.3 < levels[0] <= 0.5
    assert levels == sorted(levels, reverse=True)
    latents = steps.prepare_latents(noise)
    for step in steps.steps:
        expected = steps.add_noise(image, noise, step)
        torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)
        output = noise if name == "ddim" else noise - image
        torch.testing.assert_close(
            steps.pred_original_sample(latents, step, output), image, rtol=1e-4, atol=1e-4
        )
        latents = steps.step(latents, step, output)
    # DDIM's last step leaves the noise of its first timestep.
    torch.testing.assert_close(latents, image, rtol=0, atol=0.2 if name == "ddim" else 1e-4)


@pytest.fixture
def local_autoencoder() -> AutoencoderTiny:
    torch.manual_seed(0)
    return AutoencoderTiny(
        encoder_block_out_channels=(8,) * 4,
        decoder_block_out_channels=(8,) * 4,
        num_encoder_blocks=(0, 1, 1, 1),
        num_decoder_blocks=(0,) * 4,
    ).eval()


@torch.no_grad()
def test_tiles_are_encoded_as_the_whole_is(
    local_autoencoder: AutoencoderTiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In tiles of two windows a side, whatever the picture's size."""
    rng = np.random.default_rng(0)
    large = Image.fromarray(rng.integers(0, 256, (40, 88, 3), np.uint8)).resize((704, 320))
    whole = encode(local_autoencoder, from_pil(large, torch.device("cpu"))[None])
    sizes, real = [], local_autoencoder.encode

    def look(images: torch.Tensor) -> Any:
        sizes.append(tuple(images.shape[-2:]))
        return real(images)

    monkeypatch.setattr(local_autoencoder, "encode", look)
    calls: list[None] = []
    tiled = encode_canvas(local_autoencoder, large, 8, 8, lambda: calls.append(None))
    assert tiled.shape == whole.shape
    assert set(sizes) == {(128, 128)}
    assert len(calls) == len(sizes) > 20
    apart = (tiled - whole).abs()
    assert apart.mean() < 0.05 * whole.std()
    assert (apart < 1e-4).float().mean() > 0.5
    around = encode_ring(local_autoencoder, large, 8, 8)
    assert around.shape == whole.shape
    turned = encode_ring(local_autoencoder, ImageChops.offset(large, 64, 0), 8, 8)
    assert (turned.roll(-8, -1) - around).abs().mean() < 0.02 * whole.std()


def test_a_ring_has_no_seam_after_enlarging() -> None:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (16, 48, 3), np.uint8))
    turned = enlarge(ImageChops.offset(small, 7, 0), 2, True)
    assert turned.tobytes() == ImageChops.offset(enlarge(small, 2, True), 14, 0).tobytes()
    assert enlarge(small, 4, False).size == (192, 64)


def test_a_sphere_is_enlarged_before_it_is_resampled(fresh: Make) -> None:
    made = fresh()(asked(loop=True, projection="equirectangular", sync={"weight": 0}))
    assert made.image.size == made.params.picture_size(TRAITS) == (192, 96)
    assert made.params.window_fov == resolved(loop=True, projection="equirectangular").window_fov


def test_what_it_costs_is_estimated() -> None:
    plain, twice = (estimate_work(resolved(upscale=upscale), TRAITS) for upscale in (None, 2))
    large = estimate_work(enlarged(resolved(), TRAITS), TRAITS)
    # Its windows follow the panorama: in the synchronised step, no anchor is predicted.
    assert twice.predictions == plain.predictions + large.predictions - 1
    assert twice.gradients == plain.gradients + large.gradients > plain.gradients
    assert twice.most_windows == large.most_windows > plain.most_windows
    assert twice.area == plain.area * (1 + 1.5 * 4)


@pytest.mark.parametrize(
    ("changes", "field", "legal"),
    [
        ({"extend": {"image": INLINE}}, "upscale", "null"),
        ({"width": 16_384, "stride": 64, "upscale": 4}, "upscale", "sides up to 32768"),
        ({"width": 4_096, "height": 4_096, "stride": 64, "upscale": 4}, "upscale", "67,108,864"),
        ({"width": 4_096, "height": 512, "stride": 64, "upscale": 4}, "upscale", "4,096 windows"),
        (
            {"width": 8_192, "stride": 64, "output": {"format": "webp"}},
            "output.format",
            "sides of up to 16383 px",
        ),
    ],
)
def test_what_cannot_be_enlarged_is_refused(
    changes: dict[str, Any], field: str, legal: str
) -> None:
    with pytest.raises(InvalidParams) as refused:
        resolved(**changes)
    assert refused.value.field == field
    assert legal in refused.value.legal


def test_panoramas_without_it_are_answered_as_before() -> None:
    """Requests and jobs from before there was an upscale are compared by their JSON."""
    assert "upscale" not in resolved(upscale=None).model_dump()
    again = ResolvedParams.model_validate_json(resolved().model_dump_json())
    assert again == resolved() == again.resolve(TRAITS)
