"""Panoramas as files: the picture, and its parameters inside."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.diffusion.image_files import encode, encode_preview, holds_parameters
from panoweave.core.diffusion.panorama import Panorama
from panoweave.core.diffusion.prompts import UnknownWords
from panoweave.core.diffusion.quality import QualityWarning
from panoweave.core.output import FormatName
from panoweave.core.params import PanoramaParams
from panoweave.worker.upload import warnings_of

TRAITS = CheckpointTraits(window_px=64, px_per_latent=8)
LOSSY: tuple[FormatName, ...] = ("jpeg", "webp", "avif")


def panorama(**asked: Any) -> Panorama:
    base = {"prompt": "ein stiller See, 湖", "width": 128, "seed": 1}
    params = PanoramaParams.model_validate({**base, **asked}).resolve(TRAITS)
    gradient = Image.linear_gradient("L").resize((params.width, params.height))
    image = Image.merge("RGB", (gradient, gradient.rotate(180), gradient))
    return Panorama(image, params, None, {}, [], [])


def inside(file: Image.Image) -> dict[str, Any]:
    """The parameters, as any reader of the format finds them."""
    if file.format == "PNG":
        text: str = file.text["panoweave"]  # type: ignore[attr-defined]
    else:
        exif = file.getexif()
        assert exif[Base.Software] == "panoweave"
        comment = exif.get_ifd(IFD.Exif)[Base.UserComment]
        assert comment[:8] == b"ASCII\0\0\0"
        text = comment[8:].decode("ascii")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize("name", ["png", *LOSSY])
def test_a_file_holds_the_picture_and_its_parameters(name: FormatName) -> None:
    made = panorama(output={"format": name})
    file = Image.open(io.BytesIO(encode(made)))
    assert file.format == name.upper()
    apart = np.abs(np.asarray(file.convert("RGB"), float) - np.asarray(made.image, float))
    assert apart.max() <= (0 if name == "png" else 12)
    assert inside(file) == json.loads(made.params.model_dump_json())
    again = PanoramaParams.model_validate(
        {key: value for key, value in inside(file).items() if key in PanoramaParams.model_fields}
    )
    assert again.resolve(TRAITS) == made.params  # enough to make it again


@pytest.mark.parametrize("name", LOSSY)
def test_quality_is_what_is_paid_for(name: FormatName) -> None:
    noise = Image.effect_noise((128, 64), 60).convert("RGB")

    def size(quality: int) -> int:
        made = panorama(output={"format": name, "quality": quality})
        return len(encode(Panorama(noise, made.params, None, {}, [], [])))

    assert size(20) < size(90) < size(100)


@pytest.mark.parametrize("name", ["png", *LOSSY])
def test_a_sphere_says_so(name: FormatName) -> None:
    def says_so(**asked: Any) -> bool:
        return b"equirectangular" in encode(panorama(output={"format": name}, **asked))

    assert says_so(loop=True)
    assert not says_so(loop=True, width=192, stride=64)
    assert not says_so()


@pytest.mark.parametrize("name", ["png", *LOSSY])
def test_a_file_says_that_an_algorithm_made_it(name: FormatName) -> None:
    said = b'Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/'
    for asked in ({}, {"loop": True}):
        assert said + b'trainedAlgorithmicMedia"' in encode(
            panorama(output={"format": name}, **asked)
        )
    assert said in encode_preview(panorama().image)


def test_what_a_jpeg_cannot_hold_is_said() -> None:
    regions = [{"prompt": "x" * 2_000, "negative_prompt": "y" * 2_000, "x": 0, "width": 64}] * 16

    def long(name: str) -> Panorama:
        return panorama(output={"format": name}, regions=regions)

    jpeg, webp = long("jpeg"), long("webp")
    assert not holds_parameters(jpeg.params)
    assert Image.open(io.BytesIO(encode(jpeg))).size == jpeg.image.size
    (warning,) = warnings_of(jpeg)
    assert (warning.code, warning.field) == ("parameters_left_out", "output.format")
    assert warnings_of(webp) == []
    assert len(inside(Image.open(io.BytesIO(encode(webp))))["regions"]) == 16


@pytest.mark.parametrize(
    ("asked", "field", "legal"),
    [
        ({"output": {"quality": 80}}, "output.quality", "null, or another output.format"),
        (
            {"output": {"format": "webp"}, "width": 16_384, "stride": 64},
            "output.format",
            "sides of up to 16383 px",
        ),
    ],
)
def test_what_a_format_cannot_do_is_refused(asked: dict[str, Any], field: str, legal: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        PanoramaParams.model_validate({"prompt": "a lake", **asked}).resolve(TRAITS)
    assert refused.value.field == field
    assert legal in refused.value.legal


def test_what_a_panorama_lacks_is_a_warning() -> None:
    doubt = QualityWarning("higher_than_trained", "height", "is 512 px")
    (warning,) = warnings_of(replace(panorama(), quality_warnings=[doubt]))
    assert (warning.code, warning.field) == ("higher_than_trained", "height")
    assert warning.detail == "is 512 px"


def test_unknown_words_are_a_warning() -> None:
    (warning,) = warnings_of(replace(panorama(), unknown_words=[UnknownWords("prompt", ["elk"])]))
    assert (warning.code, warning.field) == ("unknown_words", "prompt")
    assert warning.detail == "has words that the model was not trained on: elk"
