"""The examples of docs/how-to/applications.md: each with synchronising and without.

    python -m bench.applications [--report docs/how-to/applications.md] [--only NAME]

Made by the embedded model. A ring is shown turned by half, so that where it was cut is in the
middle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image, ImageChops

from bench.sections import parser, publish
from bench.strips import stack
from panoweave.core.conditions import ImageInput
from panoweave.core.diffusion.checkpoints import load_pipeline
from panoweave.core.diffusion.controlnet import canny_edges
from panoweave.core.diffusion.decode import from_pil, to_pil
from panoweave.core.diffusion.panorama import Panorama
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.embedded import WEIGHTS
from panoweave.core.embedded.training.renderer import render, sample_scene
from panoweave.core.image_reader import to_png
from panoweave.core.params import PanoramaParams

_SHOWN_WIDTH: Final = 1_024  # pixels, at most

# Pictures that the examples begin with; by file, as `panoweave render --params` takes them.
PICTURE: Final = "picture.png"  # a window that the model makes first
SCENE: Final = "scene.png"  # a scene of the kind that the model learnt from, but not one of them
_PICTURE_REQUEST: Mapping[str, Any] = {"prompt": "a lake at sunset", "seed": 2, "width": 256}
_SCENE: Final = ("lake", "noon", "clear")
_SCENE_SEED: Final = (1, 2_000_000)  # the training's seeds begin with 0

EXAMPLES: Mapping[str, dict[str, Any]] = {
    "loop": {"prompt": "a lake", "seed": 13, "loop": True},
    "equirectangular": {
        "prompt": "a lake",
        "seed": 13,
        "loop": True,
        "projection": "equirectangular",
    },
    "upscale": {"prompt": "a lake", "seed": 13, "width": 768, "upscale": 2},
    "regions": {
        "prompt": "a green meadow",
        "seed": 9,
        "regions": [
            {"prompt": "a pine forest", "x": 256, "width": 384},
            {"prompt": "an autumn forest", "x": 960, "width": 384},
        ],
    },
    "anchor_image": {
        "prompt": "mountains",
        "seed": 5,
        "anchor_image": {"file": PICTURE},
        "sync": {"weight": 28},
    },
    "extend": {
        "prompt": "a lake",
        "seed": 6,
        "extend": {"image": {"file": PICTURE}, "x": 640},
        "sync": {"weight": 28},
    },
    "control": {
        "prompt": "a lake",
        "seed": 7,
        "control": {"type": "canny", "image": {"file": SCENE}, "scale": 1.5},
    },
}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--only", choices=EXAMPLES, help="this example alone")
    asked = options.parse_args()
    pipeline = load_pipeline(str(WEIGHTS), perceptual="stlpips-alex")
    pictures = {
        PICTURE: pipeline(PanoramaParams.model_validate(_PICTURE_REQUEST)).image,
        SCENE: draw_scene(1_536),
    }
    for name, request in EXAMPLES.items():
        if asked.only in (None, name):
            publish(name, example(pipeline, name, request, pictures, asked.report), asked.report)


def draw_scene(width_px: int) -> Image.Image:
    (scene,) = render([sample_scene(np.random.default_rng(_SCENE_SEED), *_SCENE)])
    return Image.fromarray(np.ascontiguousarray(scene[..., :width_px].permute(1, 2, 0).numpy()))


def example(
    pipeline: SyncDiffusionPipeline,
    name: str,
    request: dict[str, Any],
    pictures: Mapping[str, Image.Image],
    report: Path | None,
) -> str:
    used: list[tuple[str, Image.Image]] = []
    whole = _with_pictures(request, pictures, used)
    made = {
        "synchronised": pipeline(PanoramaParams.model_validate(whole)),
        "without": pipeline(PanoramaParams.model_validate({**whole, "sync": {"weight": 0}})),
    }
    if report:
        folder = report.parent / "applications"
        folder.mkdir(exist_ok=True)
        shown = [(label, _show(panorama)) for label, panorama in made.items()]
        if name == "control":
            used.append(("its edges", edges(pictures[SCENE])))
        sheet = stack([*shown, *used])
        sheet.thumbnail((_SHOWN_WIDTH, sheet.height), Image.Resampling.LANCZOS)
        sheet.save(folder / f"{name}.png", optimize=True)
    figures = ", ".join(
        f"{label}: {panorama.coherence.intra_lpips:.3f}"
        for label, panorama in made.items()
        if panorama.coherence
    )
    return (
        f"```json\n{json.dumps(request)}\n```\n\n![{name}](applications/{name}.png)\n\n"
        f"Intra-LPIPS (held out) {figures}."
    )


def edges(picture: Image.Image) -> Image.Image:
    hint = canny_edges(from_pil(picture, torch.device("cpu"))[None])
    return to_pil(2 * hint[0] - 1)


def _with_pictures(
    value: Any, pictures: Mapping[str, Image.Image], used: list[tuple[str, Image.Image]]
) -> Any:
    """A request with the pictures themselves in place of their files' names."""
    if not isinstance(value, dict):
        return value
    if value.keys() == {"file"}:
        name = value["file"]
        used.append((name, pictures[name]))
        return ImageInput.inline(to_png(pictures[name])).model_dump()
    return {key: _with_pictures(part, pictures, used) for key, part in value.items()}


def _show(panorama: Panorama) -> Image.Image:
    if not panorama.params.loop:
        return panorama.image
    return ImageChops.offset(panorama.image, panorama.image.width // 2, 0)


if __name__ == "__main__":
    main()
