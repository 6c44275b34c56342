"""Loops as equirectangular pictures, and where a viewer shows them."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.diffusion.coherence import Coherence
from panoweave.core.diffusion.equirectangular import to_equirectangular
from panoweave.core.diffusion.image_files import encode
from panoweave.core.diffusion.panorama import Panorama
from panoweave.core.diffusion.pipeline import OnBatch
from panoweave.core.params import PanoramaParams, ResolvedParams
from tests.core import tiny

TRAITS = CheckpointTraits(window_px=128, px_per_latent=8)
VENDOR = Path(__file__).parents[2] / "service/studio/static/vendor"

Array = NDArray[np.float64]


def resolved(traits: CheckpointTraits = TRAITS, **asked: Any) -> ResolvedParams:
    usual = {"prompt": "x", "seed": 1, "loop": True, "projection": "equirectangular"}
    return PanoramaParams.model_validate({**usual, **asked}).resolve(traits)


def scene(longitude: Array, latitude: Array) -> Array:
    """The colours that one sees in these directions."""
    wave = np.cos(latitude) * np.sin(3 * longitude)
    return np.stack([128 + 100 * wave, 128 + 90 * np.sin(4 * latitude), 128 - 60 * wave], axis=-1)


def cylinder(params: ResolvedParams) -> Image.Image:
    """The scene as the windows' camera sees it, column by column."""
    assert params.window_fov is not None
    focal_length = TRAITS.window_px / 2 / math.tan(math.radians(params.window_fov) / 2)
    x, y = np.arange(params.width) + 0.5, np.arange(params.height) + 0.5
    latitude = np.arctan((params.height / 2 - y) / focal_length)
    colours = scene(*np.meshgrid(2 * np.pi * x / params.width, latitude))
    return Image.fromarray(colours.round().astype(np.uint8))


@pytest.mark.parametrize("fov", [None, 40.0, 90.0])
@pytest.mark.parametrize("poles", ["filled", "cropped"])
def test_a_scene_is_where_it_is_on_the_sphere(poles: str, fov: float | None) -> None:
    params = resolved(poles=poles, window_fov=fov, height=192)
    picture = to_equirectangular(cylinder(params), params, TRAITS.window_px)
    assert picture.size == params.picture_size(TRAITS)
    full = params.width // 2
    top = (full - picture.height) // 2
    x = 2 * np.pi * (np.arange(params.width) + 0.5) / params.width
    y = (full / 2 - top - np.arange(picture.height) - 0.5) * np.pi / full
    half = math.atan(
        params.height / TRAITS.window_px * math.tan(math.radians(params.window_fov or 0) / 2)
    )
    shown = np.abs(y) <= half
    assert shown.all() == (poles == "cropped")
    apart = np.abs(np.asarray(picture, float) - scene(*np.meshgrid(x, y)))[shown]
    assert apart.max() < 3  # levels; the edges have no neighbours to interpolate with
    assert apart.mean() < 0.5


def test_proportions_are_kept_at_the_horizon_unless_the_angle_is_given() -> None:
    """A square there stays a square; in a window that sees more it is higher."""
    heights = []
    for fov in (None, 90.0):
        params = resolved(window_fov=fov)
        canvas = np.zeros((params.height, params.width, 3), np.uint8)
        middle = params.height // 2
        canvas[middle - 8 : middle + 8, 100:116] = 255
        image = to_equirectangular(Image.fromarray(canvas), params, TRAITS.window_px)
        seen = np.asarray(image)[..., 0] > 127
        heights.append(seen[:, 108].sum())
        assert seen.any(0).sum() == 16
    assert heights[0] == 16
    assert heights[1] > 28


def test_what_is_fine_towards_the_poles_is_averaged() -> None:
    """Lines of one pixel: where a row covers several of them, it is grey, not either."""
    params = resolved(width=256)
    canvas = np.zeros((params.height, params.width, 3), np.uint8)
    canvas[::2] = 255
    image = to_equirectangular(Image.fromarray(canvas), params, TRAITS.window_px)
    rows = np.asarray(image, float)[:, 0, 0]
    first = next(row for row in range(len(rows)) if abs(rows[row] - rows[row + 1]) > 2)
    assert np.abs(rows[first + 1 : first + 9] - 127.5).max() < 40


def test_poles_are_one_colour_that_grows_out_of_the_edge() -> None:
    params = resolved()
    rng = np.random.default_rng(0)
    canvas = rng.integers(0, 256, (params.height, params.width, 3), np.uint8)
    picture = np.asarray(
        to_equirectangular(Image.fromarray(canvas), params, TRAITS.window_px), float
    )
    cropped = params.model_copy(update={"poles": "cropped"})
    strip = to_equirectangular(Image.fromarray(canvas), cropped, TRAITS.window_px)
    top = (len(picture) - strip.height) // 2
    np.testing.assert_array_equal(picture[top : top + strip.height], strip)
    for pole, edge, beyond in ((0, top, top - 1), (-1, top + strip.height - 1, -top)):
        assert np.ptp(picture[pole], axis=0).max() <= 1
        np.testing.assert_allclose(picture[pole, 0], picture[edge].mean(0), atol=1)
        smooth = np.abs(np.diff(picture[beyond], axis=0)).mean()
        assert smooth < np.abs(np.diff(picture[edge], axis=0)).mean()


def placed_by_viewer(file: Path, size: tuple[int, int], directions: list[Any]) -> dict[str, Any]:
    node = shutil.which("node")
    if not node:
        assert "CI" not in os.environ, "CI installs Node"
        pytest.skip("no Node here")
    modules = file.parent / "node_modules/three"
    if not modules.exists():
        shutil.copytree(VENDOR / "three", modules)
        package = {"name": "three", "type": "module", "main": "three.module.min.js"}
        (modules / "package.json").write_text(json.dumps(package))
        shutil.copy(VENDOR / "photo-sphere-viewer/index.module.js", file.parent / "viewer.mjs")
    script = Path(__file__).with_name("photo_sphere_viewer.mjs")
    viewer = file.parent / "viewer.mjs"
    options = (viewer, file, *size, json.dumps(directions))
    done = subprocess.run(
        [node, script, *map(str, options)], check=True, capture_output=True, text=True, timeout=60
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", ["png", "jpeg"])
@pytest.mark.parametrize("poles", ["filled", "cropped"])
def test_a_viewer_shows_everything_in_its_direction(name: str, poles: str, tmp_path: Path) -> None:
    """Photo Sphere Viewer's own code reads the file back."""
    params = resolved(poles=poles, output={"format": name}, height=160)
    assert params.window_fov is not None
    focal_length = TRAITS.window_px / 2 / math.tan(math.radians(params.window_fov) / 2)
    canvas = np.full((params.height, params.width, 3), 128, np.uint8)
    directions = []
    for x, y, level in ((96, 40, 255), (600, 130, 0)):
        canvas[y - 4 : y + 4, x - 4 : x + 4] = level
        # Yaw 0 is the middle of the picture, and grows to the right.
        yaw = (2 * math.pi * x / params.width - math.pi) % (2 * math.pi)
        directions.append([yaw, math.atan((params.height / 2 - y) / focal_length)])
    image = to_equirectangular(Image.fromarray(canvas), params, TRAITS.window_px)
    file = tmp_path / f"sphere.{name}"
    file.write_bytes(encode(Panorama(image, params, None, {}, [], [])))
    found = placed_by_viewer(file, image.size, directions)
    assert found["warnings"] == []
    data = found["panoData"]
    assert (data["fullWidth"], data["fullHeight"]) == (params.width, params.width // 2)
    assert (data["croppedX"], data["croppedHeight"]) == (0, image.height)
    assert data["croppedY"] == (params.width // 2 - image.height) // 2
    assert (data["croppedY"] > 0) == (poles == "cropped")
    with Image.open(file) as stored:
        levels = np.asarray(stored.convert("L"), float)
    for place, level in zip(found["places"], (255, 0), strict=True):
        row, column = place["textureY"], place["textureX"]
        shown = np.argwhere(np.abs(levels - level) < 60)
        np.testing.assert_allclose(shown.mean(0) + 0.5, (row, column), atol=1)


@pytest.mark.parametrize(
    ("asked", "field", "legal"),
    [
        ({"loop": False}, "projection", "'cylinder', or loop: true"),
        ({"projection": "cylinder", "poles": "filled"}, "poles", "null, or the projection"),
        ({"projection": "cylinder", "window_fov": 60.0}, "window_fov", "null, or the projection"),
        ({"window_fov": 1e-3}, "window_fov", "larger angles, such as 55.27"),
        ({"window_fov": 5e-324}, "window_fov", "larger angles, such as 55.27"),  # 0 in radians
        ({"width": 16_384, "stride": 128}, "poles", "up to 67,108,864 pixels: 'cropped'"),
        (
            {"width": 16_384, "stride": 128, "poles": "cropped", "output": {"format": "webp"}},
            "output.format",
            "sides of up to 16383 px",
        ),
    ],
)
def test_what_is_no_sphere_is_refused(asked: dict[str, Any], field: str, legal: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        resolved(**asked)
    assert refused.value.field == field
    assert legal in refused.value.legal


def test_a_sphere_has_a_middle() -> None:
    with pytest.raises(InvalidParams, match=r"width: .*legal: an even number"):
        resolved(CheckpointTraits(window_px=5, px_per_latent=1), width=15, height=5, stride=5)


def test_values_are_answered_and_resolve_to_themselves() -> None:
    params = resolved()
    assert (params.window_fov, params.poles) == (55.27, "filled")
    assert params.resolve(TRAITS) == params
    assert ResolvedParams.model_validate_json(params.model_dump_json()) == params


def test_cylinders_are_answered_as_before() -> None:
    """Requests and jobs from before there was a projection are compared by their JSON."""
    names = resolved(projection="cylinder").model_dump().keys()
    assert not names & {"projection", "window_fov", "poles"}
    assert resolved().model_dump().keys() >= {"projection", "window_fov", "poles"}


def test_a_panorama_becomes_a_sphere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured and warned about is the loop; the picture is resampled after that."""
    pipeline = tiny.pipeline(tmp_path)
    seen: list[Image.Image] = []
    measure = pipeline.measure

    def noted(image: Image.Image, on_window: OnBatch | None) -> Coherence | None:
        seen.append(image)
        return measure(image, on_window)

    monkeypatch.setattr(pipeline, "measure", noted)
    asked = {"prompt": "a lake", "seed": 3, "loop": True, "steps": 1, "sync": {"weight": 0}}
    asked |= {"projection": "equirectangular", "width": 192}
    made = pipeline(PanoramaParams.model_validate(asked))
    assert (seen[0].size, made.image.size) == ((192, 64), (192, 96))
    expected = to_equirectangular(seen[0], made.params, pipeline.traits.window_px)
    assert made.image.tobytes() == expected.tobytes()
