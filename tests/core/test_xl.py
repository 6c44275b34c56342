"""Checkpoints in SDXL's format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny, StableDiffusionXLPipeline

from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.params import PanoramaParams
from tests.core import alone, tiny


@pytest.mark.parametrize("negative_prompt", ["", "fog"])
@pytest.mark.parametrize("empty_is_zero", [True, False])
def test_one_window_is_diffusers_own_picture(
    tmp_path: Path, negative_prompt: str, empty_is_zero: bool
) -> None:
    parts = tiny.components_xl(tmp_path)
    pipeline = tiny.in_float64(
        SyncDiffusionPipeline(**parts, force_zeros_for_empty_prompt=empty_is_zero)
    )
    theirs = StableDiffusionXLPipeline(
        **parts, add_watermarker=False, force_zeros_for_empty_prompt=empty_is_zero
    )
    expected = alone.diffusers_own(
        theirs, alone.noise(pipeline), negative_prompt=negative_prompt or None
    )
    ours = alone.latents(pipeline, negative_prompt=negative_prompt)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)


def save(parts: dict[str, Any], folder: Path) -> str:
    StableDiffusionXLPipeline(**parts, add_watermarker=False).save_pretrained(folder)
    return str(folder)


def test_a_published_checkpoint_makes_a_synchronised_panorama(tmp_path: Path) -> None:
    checkpoint = save(tiny.components_xl(tmp_path / "words"), tmp_path / "xl")
    pipeline = load_pipeline(checkpoint, perceptual="stlpips-alex", device="cpu")

    def made(weight: float) -> bytes:
        params = PanoramaParams.model_validate(
            {"prompt": "a lake", "width": 128, "steps": 3, "seed": 1, "sync": {"weight": weight}}
        )
        return pipeline(params).image.tobytes()

    assert made(20) != made(0)


def test_its_autoencoder_stays_in_float32(tmp_path: Path) -> None:
    """SDXL's own overflows in float16; those of 1 and 2 do not."""
    large = save(tiny.components_xl(tmp_path / "words"), tmp_path / "xl")
    tiny.pipeline(tmp_path / "words").save_pretrained(tmp_path / "sd")

    def dtypes(checkpoint: str) -> tuple[torch.dtype, ...]:
        options = {"device": "cpu", "dtype": "float16"}
        made = load_pipeline(checkpoint, perceptual="stlpips-alex", **options)  # type: ignore[arg-type]
        made.use_tiny_decoder(AutoencoderTiny())
        return made.unet.dtype, made.vae.dtype, made.tiny_decoder.dtype  # type: ignore[union-attr]

    half, single = torch.float16, torch.float32
    assert dtypes(large) == (half, single, half)
    assert dtypes(str(tmp_path / "sd")) == (half, half, half)


def test_the_refiner_is_refused(tmp_path: Path) -> None:
    parts = tiny.components_xl(tmp_path)
    with pytest.raises(CheckpointError, match="no first text encoder, like SDXL's refiner"):
        SyncDiffusionPipeline(**{**parts, "text_encoder": None, "tokenizer": None})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"addition_embed_type": None}, "addition_embed_type is None"),
        ({"class_embed_type": "timestep"}, "class_embed_type is 'timestep'"),
        ({"num_class_embeds": 10}, "num_class_embeds is 10"),
    ],
)
def test_what_a_unet_asks_for_and_nobody_gives_is_refused(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    parts = tiny.components_xl(tmp_path)
    # diffusers would take what was left open from its defaults again.
    config = {name: value for name, value in parts["unet"].config.items() if name[0] != "_"}
    parts["unet"] = type(parts["unet"])(**{**config, **changes})
    with pytest.raises(CheckpointError, match=named):
        SyncDiffusionPipeline(**parts)


def test_other_kinds_of_pipelines_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(
        '{"_class_name": "PixArtAlphaPipeline", "transformer": ["diffusers", "OfTomorrow"]}'
    )
    with pytest.raises(CheckpointError, match="a PixArtAlphaPipeline is not supported; legal: "):
        SyncDiffusionPipeline.from_pretrained(str(tmp_path))
