"""Regions with prompts of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from bench.single_windows import LastFeatures, make_single_windows, nearest_distance
from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.conditions import ImageInput, ResolvedRegion
from panoweave.core.conditions import Region as RegionParams
from panoweave.core.diffusion.guidance import BatchedModel, ClassifierFreeGuidance
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.regions import Region, RegionalPrompts, box_mask, image_mask
from panoweave.core.diffusion.schedulers import SCHEDULERS
from panoweave.core.diffusion.unet import UNet
from panoweave.core.diffusion.views import Canvas, WindowPlan
from panoweave.core.image_reader import to_png
from panoweave.core.params import PanoramaParams, SyncParams
from tests.core import tiny

TRAITS = CheckpointTraits(window_px=64, px_per_latent=8)


@pytest.fixture
def pipeline(tmp_path: Path) -> SyncDiffusionPipeline:
    return tiny.in_float64(tiny.pipeline(tmp_path))


def asked(**changes: Any) -> PanoramaParams:
    base: dict[str, Any] = {"width": 128, "seed": 5, "steps": 5, "sync": SyncParams(weight=0)}
    return PanoramaParams(**{"preset": "paper", "prompt": "a lake", **base, **changes})


def test_a_region_of_the_whole_picture_is_that_picture(pipeline: SyncDiffusionPipeline) -> None:
    whole = RegionParams(prompt="a forest", x=0, width=128)
    covered = tiny.sample(pipeline, asked(regions=[whole]))
    forest, lake = tiny.sample(pipeline, asked(prompt="a forest")), tiny.sample(pipeline, asked())
    torch.testing.assert_close(covered, forest, rtol=0, atol=1e-10)
    assert (forest - lake).abs().max() > 1e-4


@pytest.mark.parametrize("step", [0, 4])
def test_blending_is_the_average_of_denoised_windows(
    pipeline: SyncDiffusionPipeline, step: int
) -> None:
    """MultiDiffusion denoises every window under every prompt, and averages under the masks.

    At step 0 each region's window stands before a plain colour, at step 4 no more.
    """
    params = asked().resolve(pipeline.traits)
    grid = WindowPlan(params, pipeline.traits).grid(step)
    torch.manual_seed(2)
    canvas, noise = torch.randn(2, 1, 4, 8, 16, dtype=torch.float64)
    masks = torch.zeros(2, 1, 1, 8, 16, dtype=torch.float64)
    masks[0, ..., :7] = 1
    masks[1, ..., 2:, 4:9] = 1  # over the first one, and next to it
    if step > 0:  # before a plain colour, a window is another one wherever a mask is not 1
        masks[1, ..., 2:, 9:11] = 0.25
    colours = torch.randn(3, 4, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        prompts = [pipeline.encode_prompt(text, "") for text in ("a lake", "a forest", "the sea")]
        models = [
            ClassifierFreeGuidance(UNet(pipeline.unet, 3.0), prompt, 3.0) for prompt in prompts
        ]
        background, *others = (BatchedModel(model, 3) for model in models)
        scheduler = SCHEDULERS["ddim"](pipeline.scheduler, 5, 0, canvas.device)
        now = scheduler.steps[step]
        regions = [Region(mask, model) for mask, model in zip(masks, others, strict=True)]
        regional = RegionalPrompts(background, regions, grid.canvas, colours, noise, scheduler)
        windows = grid.read(canvas)
        ours = scheduler.step(windows, now, regional(windows, now, grid.views))

        total, weight = torch.zeros_like(windows), torch.zeros_like(windows)
        shares = [(1 - masks.sum(0)).clamp(min=0), *masks]
        for number, (share, model) in enumerate(zip(shares, models, strict=True)):
            for index, window in enumerate(windows):
                mask = grid.read(share)[index]
                seen = window
                if step == 0 and number:
                    a = pipeline.scheduler.alphas_cumprod[now.t]
                    behind = (
                        a.sqrt() * colours[number - 1] + (1 - a).sqrt() * grid.read(noise)[index]
                    )
                    seen = mask * window + (1 - mask) * behind
                prediction = model(seen[None], now, [grid.views[index]])
                denoised = scheduler.step(seen[None], now, prediction)[0]
                total[index] += mask * denoised
                weight[index] += mask
    torch.testing.assert_close(ours, total / weight, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("box", "field", "legal"),
    [
        ({"x": 4, "width": 8}, "regions.0.x", "multiples of 8 from 0 to 120"),
        ({"x": 128, "width": 8}, "regions.0.x", "multiples of 8 from 0 to 120"),
        ({"x": 0, "width": 12}, "regions.0.width", "multiples of 8 from 8 to 128"),
        ({"x": 64, "width": 72}, "regions.0.width", "multiples of 8 from 8 to 64"),
        ({"x": 0, "width": 8, "y": 64}, "regions.0.y", "multiples of 8 from 0 to 56"),
        ({"x": 0, "width": 8, "y": 8, "height": 64}, "regions.0.height", "from 8 to 56"),
    ],
)
def test_a_box_lies_on_latents_inside_the_picture(
    box: dict[str, int], field: str, legal: str
) -> None:
    region = RegionParams(prompt="a forest", **box)  # type: ignore[arg-type]
    with pytest.raises(InvalidParams) as refused:
        asked(regions=[region]).resolve(TRAITS)
    assert refused.value.field == field
    assert legal in refused.value.legal


def picture(paint: Tensor) -> ImageInput:
    """A mask (H, W), 0 to 1, as a picture."""
    return ImageInput.inline(to_png(Image.fromarray((paint * 255).round().byte().numpy())))


def box(canvas: Canvas, **place: int) -> Tensor:
    """The mask of a box; all in latents, of windows of 8."""
    in_px = {name: 8 * length for name, length in place.items()}
    return box_mask(ResolvedRegion(prompt="a forest", **in_px), canvas, 8, 8)[0, 0]  # type: ignore[arg-type]


def test_a_box_fades_into_what_is_around_it() -> None:
    """Over half a window, a narrow one less, and not at the picture's own edges."""
    mask = box(Canvas(8, 16), x=4, width=8, height=8)
    ramp = [0.125, 0.375, 0.625, 0.875]
    expected = torch.tensor([0, 0, *ramp, 1, 1, 1, 1, *ramp[::-1], 0, 0])
    torch.testing.assert_close(mask, expected.expand(8, -1))
    one_latent = box(Canvas(8, 16), x=4, width=1, height=8)
    assert one_latent.sum(1).tolist() == [1] * 8
    low = box(Canvas(8, 16), x=0, width=16, y=4, height=4)
    torch.testing.assert_close(low, torch.tensor([0, 0, *ramp, 1, 1])[:, None].expand(-1, 16))


@pytest.mark.parametrize("ring", [False, True])
def test_boxes_side_by_side_leave_nothing_to_the_background(ring: bool) -> None:
    canvas = Canvas(8, 32, ring)
    masks = [box(canvas, x=x, width=8, height=8) for x in (0, 8, 16, 24)]
    torch.testing.assert_close(torch.stack(masks).sum(0), torch.ones(8, 32))
    assert (masks[0][:, -2:] > 0).all() == ring
    torch.testing.assert_close(box(canvas, x=0, width=32, height=8), torch.ones(8, 32))


def test_a_mask_is_followed_as_it_is_painted(pipeline: SyncDiffusionPipeline) -> None:
    """White is the region; and a mask may hold in part. Painted like a box, it is that box."""
    paint = box(Canvas(8, 16), x=4, y=1, width=8, height=7)
    paint = paint.repeat_interleave(8, 0).repeat_interleave(8, 1)
    pictures = {"regions.0.mask": 2 * paint.expand(1, 3, -1, -1).double() - 1}

    def made(region: RegionParams) -> Tensor:
        return tiny.sample(pipeline, asked(regions=[region]), pictures)

    given = RegionParams(prompt="a forest", x=32, y=8, width=64)
    masked = RegionParams(prompt="a forest", mask=picture(paint))
    torch.testing.assert_close(made(masked), made(given), rtol=0, atol=1e-10)
    half = image_mask(pictures["regions.0.mask"] * 0, 8, 16)
    assert torch.equal(half, torch.full_like(half, 0.5))


def test_a_mask_has_the_panoramas_size(pipeline: SyncDiffusionPipeline) -> None:
    region = RegionParams(prompt="a forest", mask=picture(torch.ones(64, 120)))
    with pytest.raises(InvalidParams, match=r"regions\.0\.mask.*legal: 128 x 64 px"):
        pipeline(asked(regions=[region]))


@pytest.mark.parametrize(
    "fields", [{}, {"x": 0}, {"width": 8}, {"mask": {"key": "a"}, "x": 0, "width": 8}]
)
def test_a_region_is_a_box_or_a_mask(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either x and width, or mask"):
        RegionParams.model_validate({"prompt": "a forest", **fields})


def test_a_box_reaches_down_to_the_bottom_unless_it_says_otherwise() -> None:
    region = RegionParams(prompt="a forest", x=8, y=16, width=8)
    assert asked(regions=[region]).resolve(TRAITS).regions[0].height == 64 - 16


@pytest.mark.slow
def test_a_region_shows_its_own_prompt(embedded: SyncDiffusionPipeline) -> None:
    """Its crop is closer to windows made alone with its prompt than to the background's; crops
    that begin where it has faded are not."""
    region = RegionParams(prompt="a forest", x=384, width=256)
    params = PanoramaParams(prompt="a desert", seed=3, width=1_024, steps=12, regions=[region])
    image = embedded(params).image
    left, inside, right = (image.crop((x, 0, x + 256, 256)) for x in (0, 384, 768))
    features = LastFeatures()
    forest, desert = (
        features.of(make_single_windows(embedded, prompt, 7, 6))
        for prompt in ("a forest", "a desert")
    )

    def excess(crop: Image.Image) -> float:
        """How much farther from the desert than from the forest."""
        to_desert, to_forest = (
            nearest_distance(features.of([crop]), alone) for alone in (desert, forest)
        )
        return to_desert - to_forest

    assert excess(inside) > 0
    assert excess(left) < 0
    assert excess(right) < 0
