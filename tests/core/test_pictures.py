"""Pictures that a panorama follows, or grows around."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.conditions import Extend, ImageInput
from panoweave.core.diffusion.decode import from_pil
from panoweave.core.diffusion.guidance import BatchedModel, ClassifierFreeGuidance
from panoweave.core.diffusion.known_region import KnownRegion
from panoweave.core.diffusion.perceptual import distance
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.reference import cover
from panoweave.core.diffusion.schedulers import SCHEDULERS
from panoweave.core.diffusion.unet import UNet
from panoweave.core.diffusion.views import View, WindowPlan
from panoweave.core.image_reader import to_png
from panoweave.core.params import PanoramaParams, SyncParams
from panoweave.core.presets import PresetName
from tests.core import tiny

CPU = torch.device("cpu")


def inline(image: Image.Image) -> ImageInput:
    return ImageInput.inline(to_png(image))


@pytest.fixture(scope="module")
def sunset(embedded: SyncDiffusionPipeline) -> Image.Image:
    """One window, made by the model itself."""
    params = PanoramaParams(prompt="a lake at sunset", seed=1, width=256, steps=20)
    return embedded(params).image


@pytest.mark.parametrize("upright", [False, True])
def test_a_picture_is_scaled_to_cover_a_window_and_cut_evenly(upright: bool) -> None:
    picture = torch.zeros(1, 3, 64, 256)
    picture[..., 96:160] = torch.linspace(-1, 1, 64)
    middle = picture[..., 96:160]
    if upright:
        picture, middle = picture.mT, middle.mT
    assert torch.equal(cover(picture, 64), middle)
    shrunk = cover(picture, 32)
    assert shrunk.shape == (1, 3, 32, 32)
    assert (shrunk - functional.avg_pool2d(middle, 2)).abs().mean() < 0.01


@pytest.mark.parametrize("upright", [False, True])
def test_a_long_strip_takes_little_memory(upright: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scaled as a whole, one of 1 x 67,000,000 pixels would have 800 GB, for a window of 1,024."""
    taken: list[int] = []

    def scale(image: Tensor, *asked: Any, **options: Any) -> Tensor:
        taken.append(functional.interpolate(image, *asked, **options).numel())
        return functional.interpolate(image, *asked, **options)

    monkeypatch.setattr("panoweave.core.diffusion.reference.interpolate", scale)
    strip = torch.zeros(1, 3, 2, 20_001)
    strip[..., 9_999:10_002] = 1
    covered = cover(strip.mT if upright else strip, 64)
    assert max(taken) <= 4 * 3 * 64 * 64
    assert covered.shape == (1, 3, 64, 64)
    assert covered.mean() > 0.9


@pytest.mark.slow
def test_a_panorama_follows_a_picture(embedded: SyncDiffusionPipeline, sunset: Image.Image) -> None:
    """All its windows come closer to it than without, by the held-out measure."""
    request: dict[str, Any] = {
        "prompt": "a lake",
        "seed": 5,
        "width": 768,
        "steps": 12,
    }

    def distances(**changes: Any) -> Tensor:
        image = embedded(PanoramaParams(**request, **changes)).image
        windows = [image.crop((x, 0, x + 256, 256)) for x in (0, 256, 512)]
        assert embedded.meter is not None
        measure = embedded.meter.lpips
        stacked = torch.stack([from_pil(window, CPU) for window in windows])
        return distance(measure.embed(stacked), measure.embed(from_pil(sunset, CPU)[None]))

    followed = distances(anchor_image=inline(sunset))
    assert (followed < distances()).all()
    assert (followed < distances(sync=SyncParams(weight=0))).all()


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["paper", "balanced"])
def test_a_picture_stays_while_the_panorama_grows_around_it(
    embedded: SyncDiffusionPipeline, sunset: Image.Image, preset: PresetName
) -> None:
    """Unchanged within what the autoencoder itself changes, and continued on both sides."""
    extend = Extend(image=inline(sunset), x=256)
    params = PanoramaParams(
        prompt="a lake at sunset", seed=6, width=768, preset=preset, steps=12, extend=extend
    )
    pixels = np.asarray(embedded(params).image, float)
    original = np.asarray(sunset, float)
    inside = pixels[:, 256:512]
    with torch.no_grad():
        images = from_pil(sunset, CPU)[None]
        latents = embedded.vae.encode(images).latents
        again = ((embedded.vae.decode(latents).sample[0].clamp(-1, 1) + 1) * 127.5).permute(1, 2, 0)
    error = np.abs(again.numpy() - original).mean()
    middle = slice(32, 224)  # at its borders the decoder sees what is new beside it
    assert np.abs(inside[:, middle] - original[:, middle]).mean() < 1.1 * error + 0.5
    # Colours change across its edges no more than elsewhere in the panorama.
    steps = {x: step_at(pixels, x) for x in range(16, 753)}
    assert max(steps[256], steps[512]) < 1.6 * np.mean(list(steps.values()))


def step_at(pixels: np.ndarray[Any, np.dtype[np.float64]], x: int) -> float:
    """How much the mean colours of 8 columns on either side differ, row by row."""
    left, right = pixels[:, x - 8 : x].mean(1), pixels[:, x : x + 8].mean(1)
    return float(np.abs(left - right).mean())


def test_windows_are_moved_towards_predicting_the_picture(tmp_path: Path) -> None:
    """Along the gradient of their error; those that hold none of it, or nothing else, are not."""
    pipeline = tiny.in_float64(tiny.pipeline(tmp_path))
    params = PanoramaParams(prompt="a lake", width=192, steps=4, preset="paper", stride=32)
    resolved = params.resolve(pipeline.traits)
    grid = WindowPlan(resolved, pipeline.traits).grid(0)
    torch.manual_seed(8)
    canvas, noise = torch.randn(2, 1, 4, 8, 24, dtype=torch.float64)
    picture = torch.randn(1, 4, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        scheduler = SCHEDULERS["ddim"](pipeline.scheduler, 4, 0, CPU)
        step = scheduler.steps[3]
        prompts = pipeline.encode_prompt("a lake", "")
        guided = ClassifierFreeGuidance(UNet(pipeline.unet, 3.0), prompts, 3.0)
        known = KnownRegion(picture, 0, 0, noise, scheduler)
        windows = grid.read(canvas)
        after = known.guide(windows, grid, step, BatchedModel(guided, 2))
        moves = (after - windows) / -step.alpha_cumprod
        assert [left for _, left in grid.views] == [0, 4, 8, 12, 16]
        assert [bool(move.any()) for move in moves] == [False, True, False, False, False]

        def error(window: Tensor) -> Tensor:
            output = guided(window, step, [View(0, 4)])
            original = scheduler.pred_original_sample(window, step, output)
            return (original[..., :4] - picture[..., 4:]).square().sum() / 2

        direction, h = torch.randn(1, 4, 8, 8, dtype=torch.float64), 1e-5
        ahead, behind = (error(windows[1:2] + sign * h * direction) for sign in (1, -1))
        along = (moves[1] * direction).sum()
        torch.testing.assert_close(along, (ahead - behind) / (2 * h), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("size", "place", "field", "legal"),
    [
        ((60, 64), {}, "extend.image", "multiples of 8, no longer than the panorama's"),
        ((136, 64), {}, "extend.image", "multiples of 8, no longer than the panorama's"),
        ((64, 64), {"x": 4}, "extend.x", "multiples of 8 from 0 to 64"),
        ((64, 64), {"x": 72}, "extend.x", "multiples of 8 from 0 to 64"),
        ((64, 32), {"y": 40}, "extend.y", "multiples of 8 from 0 to 32"),
    ],
)
def test_a_picture_that_does_not_fit_is_refused(
    tmp_path: Path, size: tuple[int, int], place: dict[str, int], field: str, legal: str
) -> None:
    pipeline = tiny.pipeline(tmp_path)
    extend = Extend(image=inline(Image.new("RGB", size)), **place)
    params = PanoramaParams(prompt="x", width=128, sync=SyncParams(weight=0), extend=extend)
    with pytest.raises(InvalidParams) as refused:
        pipeline(params)
    assert refused.value.field == field
    assert legal in refused.value.legal


def test_what_is_no_base64_is_refused_by_name(tmp_path: Path) -> None:
    pipeline = tiny.pipeline(tmp_path)
    params = PanoramaParams(
        prompt="x", sync=SyncParams(weight=0), anchor_image=ImageInput(base64="%%%")
    )
    with pytest.raises(InvalidParams, match=r"anchor_image\.base64"):
        pipeline(params)


@pytest.mark.parametrize("places", [{}, {"base64": "QQ==", "key": "a/b"}])
def test_a_picture_is_in_one_place(places: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="either base64 or key"):
        ImageInput(**places)
