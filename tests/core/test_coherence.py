from __future__ import annotations

import itertools

import pytest
import torch
from PIL import Image

from panoweave.core.diffusion.coherence import CoherenceMeter, mean_pair_distance
from panoweave.core.diffusion.decode import from_pil, to_pil
from panoweave.core.diffusion.perceptual import PerceptualLoss
from panoweave.core.diffusion.perceptual_weights import load_stlpips_style


def noise_image(width: int, height: int, seed: int = 0) -> Image.Image:
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand((3, height // 8, width // 8), generator=generator) * 2 - 1
    return to_pil(torch.nn.functional.interpolate(small[None], scale_factor=8, mode="bilinear")[0])


def test_two_sums_equal_the_mean_over_pairs(perceptual: PerceptualLoss) -> None:
    crops = [noise_image(64, 64, seed) for seed in range(4)]
    device = torch.device("cpu")
    pairs = [
        perceptual(from_pil(a, device)[None], from_pil(b, device)[None]).item()
        for a, b in itertools.combinations(crops, 2)
    ]
    assert mean_pair_distance(perceptual, crops) == pytest.approx(sum(pairs) / len(pairs), rel=1e-5)


def test_equal_windows_are_perfectly_coherent(perceptual: PerceptualLoss) -> None:
    tile = noise_image(64, 64)
    strip = Image.new("RGB", (256, 64))
    for left in range(0, 256, 64):
        strip.paste(tile, (left, 0))
    meter = CoherenceMeter(perceptual, load_stlpips_style())
    alike, different = meter.measure(strip, 64), meter.measure(noise_image(256, 64), 64)
    assert alike is not None
    assert different is not None
    assert alike.intra_lpips == pytest.approx(0, abs=1e-6)
    assert different.intra_lpips > 0.05
    assert different.intra_style > 10 * alike.intra_style
    assert (alike.lpips_net, alike.style_net) == ("stlpips-alex", "style-stlpips-vgg")


def test_measuring_can_be_stopped_before_each_window(perceptual: PerceptualLoss) -> None:
    meter = CoherenceMeter(perceptual, load_stlpips_style())
    seen: list[None] = []

    def stop_at_the_sixth() -> None:
        seen.append(None)
        if len(seen) == 6:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        meter.measure(noise_image(256, 64), 64, stop_at_the_sixth)


def test_one_window_has_no_coherence(perceptual: PerceptualLoss) -> None:
    meter = CoherenceMeter(perceptual, load_stlpips_style())
    assert meter.measure(noise_image(120, 64), 64) is None


def test_rows_count_too(perceptual: PerceptualLoss) -> None:
    """A picture of two rows is compared across rows as well."""
    half = noise_image(128, 64)
    stacked = Image.new("RGB", (128, 128))
    stacked.paste(half, (0, 0))
    stacked.paste(half.point(lambda level: 255 - level), (0, 64))
    meter = CoherenceMeter(perceptual, load_stlpips_style())
    whole, one_row = meter.measure(stacked, 64), meter.measure(half, 64)
    assert whole is not None
    assert one_row is not None
    assert whole.intra_lpips > one_row.intra_lpips


def test_pictures_survive_the_way_to_pil_and_back() -> None:
    image = noise_image(32, 16)
    assert to_pil(from_pil(image, torch.device("cpu"))).tobytes() == image.tobytes()
