"""No picture as large as a panorama goes through a network in one piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from panoweave.core.conditions import Extend, ImageInput
from panoweave.core.diffusion.conditioning import read_images
from panoweave.core.diffusion.decode import encode, from_pil
from panoweave.core.diffusion.encode_tiles import encode_image
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.image_reader import to_png
from panoweave.core.params import PanoramaParams, SyncParams
from tests.core import tiny

CPU = torch.device("cpu")
WIDE_PX = 1_280


def noisy(width: int, height: int = 64) -> Image.Image:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8))
    return small.resize((width, height))


@pytest.fixture
def pipeline(tmp_path: Path) -> SyncDiffusionPipeline:
    return tiny.pipeline(tmp_path)


def extending(width: int, panorama: int | None = None, **changes: Any) -> PanoramaParams:
    picture = ImageInput.inline(to_png(noisy(width)))
    base: dict[str, Any] = {"prompt": "a lake", "stride": 64, "steps": 1, "seed": 1}
    base |= {"sync": SyncParams(weight=0), "extend": Extend(image=picture)}
    return PanoramaParams.model_validate({**base, "width": panorama or width, **changes})


def watch(monkeypatch: pytest.MonkeyPatch, network: Any, method: str) -> list[tuple[int, ...]]:
    """The shapes that the network's method is given."""
    shapes: list[tuple[int, ...]] = []
    real = getattr(network, method)

    def look(images: Tensor, *args: Any, **options: Any) -> Any:
        shapes.append(tuple(images.shape))
        return real(images, *args, **options)

    monkeypatch.setattr(network, method, look)
    return shapes


@torch.no_grad()
@pytest.mark.parametrize(("width", "height"), [(384, 64), (192, 128), (48, 40)])
def test_a_picture_of_one_tile_is_encoded_as_a_whole(
    pipeline: SyncDiffusionPipeline, width: int, height: int
) -> None:
    image = from_pil(noisy(width, height), CPU)[None]
    assert torch.equal(encode_image(pipeline.vae, image, 8, 8, 6), encode(pipeline.vae, image))


@torch.no_grad()
@pytest.mark.parametrize(("width", "height"), [(640, 64), (256, 192)])
def test_tiles_of_a_larger_one_are_close_to_the_whole(
    pipeline: SyncDiffusionPipeline, width: int, height: int
) -> None:
    """Through an encoder with normalisation and attention, which see a tile and not the whole: a
    tenth of the latents' deviation, on average."""
    image = from_pil(noisy(width, height), CPU)[None]
    whole = encode(pipeline.vae, image)
    tiled = encode_image(pipeline.vae, image, 8, 8, 6)
    assert tiled.shape == whole.shape
    assert 0 < (tiled - whole).abs().mean() < 0.1 * whole.std()


@torch.no_grad()
def test_tiles_have_no_seams_where_the_encoder_sees_patches(
    embedded: SyncDiffusionPipeline,
) -> None:
    traits = embedded.traits
    image = from_pil(noisy(10 * traits.window_px, traits.window_px), CPU)[None]
    tiled = encode_image(embedded.vae, image, traits.window_latents, traits.px_per_latent, 6)
    torch.testing.assert_close(tiled, encode(embedded.vae, image), rtol=0, atol=1e-5)


def test_an_extended_picture_is_encoded_tile_by_tile(
    pipeline: SyncDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory is that of the tiles in which the panorama is decoded; in less, if short of it."""
    encoded = watch(monkeypatch, pipeline.vae, "encode")
    decoded = watch(monkeypatch, pipeline.vae, "decode")
    pipeline(extending(WIDE_PX))
    assert {shape[-2:] for shape in encoded} == {(64, 384)}
    assert {shape[-2:] for shape in decoded} == {(8, 48)}
    encoded.clear()
    pipeline.set_gradient_checkpointing(True)
    pipeline(extending(WIDE_PX))
    assert {shape[-2:] for shape in encoded} == {(64, 128)}


def test_a_panorama_can_be_stopped_before_each_tile_that_is_encoded(
    pipeline: SyncDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = watch(monkeypatch, pipeline.vae, "encode")
    calls: list[None] = []

    def stop_at_the_third() -> None:
        calls.append(None)
        if len(calls) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        pipeline(extending(WIDE_PX), on_batch=stop_at_the_third)
    assert len(encoded) == 2


def test_plain_colours_are_encoded_as_many_at_once_as_windows_are_decoded(
    pipeline: SyncDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = watch(monkeypatch, pipeline.vae, "encode")
    regions = [{"prompt": "a forest", "x": 0, "width": 64}]
    asked = extending(64, 128, extend=None, regions=regions)
    pipeline(asked)
    assert [count for count, *_ in encoded] == [6, 2]
    encoded.clear()
    pipeline.set_gradient_checkpointing(True)
    pipeline(asked)
    assert [count for count, *_ in encoded] == [2, 2, 2, 2]


def test_a_preview_is_decoded_tile_by_tile(
    pipeline: SyncDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.use_tiny_decoder(tiny.small_decoder())
    decoded = watch(monkeypatch, pipeline.tiny_decoder, "decode")
    tiles: list[None] = []
    preview = pipeline.preview(torch.randn(1, 4, 8, 160), lambda: tiles.append(None))
    assert preview.size == (640, 32)
    assert {shape[-2:] for shape in decoded} == {(8, 48)}
    assert len(tiles) == len(decoded) == 4
    monkeypatch.setattr(pipeline, "tiny_decoder", None)
    whole = watch(monkeypatch, pipeline.vae, "decode")
    pipeline.preview(torch.randn(1, 4, 8, 160))
    assert max(height * width for *_, height, width in whole) < 2 * 8 * 8


def test_pictures_are_tensors_only_while_they_are_read(pipeline: SyncDiffusionPipeline) -> None:
    """Sixteen masks of 2^26 pixels would take 13 GB of a GPU's memory throughout."""
    resolved = extending(384).resolve(pipeline.traits)
    images = read_images(resolved, {}, pipeline.traits, CPU)
    assert list(images) == ["extend.image"]
    assert images.size("extend.image") == (384, 64)
    assert images.size("anchor_image") is None
    first, second = images["extend.image"], images["extend.image"]
    assert torch.equal(first, from_pil(noisy(384), CPU)[None])
    assert torch.equal(first, second)
    assert first.data_ptr() != second.data_ptr()
