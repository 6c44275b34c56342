"""The examples of docs/applications.md: each with synchronising and without.

    python -m bench.applications [--report docs/applications.md]

Made by the embedded model. A ring is shown turned by half, so that where it was cut is in the
middle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

from bench.coherence import stack
from bench.sections import parser, publish
from core.diffusion.checkpoints import load_pipeline
from core.diffusion.pipeline import Panorama, SyncDiffusionPipeline
from core.embedded import WEIGHTS
from core.images import to_png
from core.params import ImageInput, PanoramaParams

# A window that the model makes first, for the examples that begin with a picture.
PICTURE: Mapping[str, Any] = {"prompt": "a lake at sunset", "seed": 2, "width": 128}
_PICTURE_FIELD = {"file": "picture.png"}  # as `panoweave render --params` takes it

EXAMPLES: Mapping[str, dict[str, Any]] = {
    "loop": {"prompt": "a lake", "seed": 3, "loop": True},
    "regions": {
        "prompt": "a desert",
        "seed": 4,
        "regions": [
            {"prompt": "a forest", "x": 128, "width": 192},
            {"prompt": "snowy mountains", "x": 512, "width": 160, "height": 96},
        ],
    },
    "anchor_image": {"prompt": "mountains", "seed": 5, "anchor_image": _PICTURE_FIELD},
    "extend": {
        "prompt": "a lake at sunset",
        "seed": 6,
        "extend": {"image": _PICTURE_FIELD, "x": 320},
    },
}


def main() -> None:
    asked = parser(__doc__).parse_args()
    pipeline = load_pipeline(str(WEIGHTS), perceptual="stlpips-alex")
    picture = pipeline(PanoramaParams.model_validate(PICTURE)).image
    for name, request in EXAMPLES.items():
        publish(name, example(pipeline, name, request, picture, asked.report), asked.report)


def example(
    pipeline: SyncDiffusionPipeline,
    name: str,
    request: dict[str, Any],
    picture: Image.Image,
    report: Path | None,
) -> str:
    whole = _with_picture(request, picture)
    made = {
        "synchronised": pipeline(PanoramaParams.model_validate(whole)),
        "without": pipeline(PanoramaParams.model_validate({**whole, "sync": {"weight": 0}})),
    }
    if report:
        folder = report.parent / "applications"
        folder.mkdir(exist_ok=True)
        shown = [(label, _show(panorama)) for label, panorama in made.items()]
        if whole != request:
            shown.append(("the picture", picture))
        stack(shown).save(folder / f"{name}.png")
    figures = ", ".join(
        f"{label}: {panorama.coherence.intra_lpips:.3f}"
        for label, panorama in made.items()
        if panorama.coherence
    )
    return (
        f"```json\n{json.dumps(request)}\n```\n\n![{name}](applications/{name}.png)\n\n"
        f"Intra-LPIPS (held out) {figures}."
    )


def _with_picture(value: Any, picture: Image.Image) -> Any:
    """A request with the picture itself in place of its file's name."""
    if value == _PICTURE_FIELD:
        return ImageInput.inline(to_png(picture)).model_dump()
    if isinstance(value, dict):
        return {key: _with_picture(part, picture) for key, part in value.items()}
    return value


def _show(panorama: Panorama) -> Image.Image:
    if not panorama.params.loop:
        return panorama.image
    return ImageChops.offset(panorama.image, panorama.image.width // 2, 0)


if __name__ == "__main__":
    main()
