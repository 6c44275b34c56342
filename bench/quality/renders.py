"""Renders that no model was trained on, kept in a folder and made as they are needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from PIL import Image

from bench.quality.labels import Attribute, Labels
from panoweave.core.embedded import scenes, style
from panoweave.core.embedded.training import renderer
from panoweave.core.embedded.training.claims import claims_of
from panoweave.core.embedded.training.rendering import REVISION
from panoweave.core.embedded.training.runs import replace_file

# The first number of a scene's seed. Both trainings draw their scenes from 0.
HELD_OUT_SEED: Final = 1
WINDOWS: Final = 6  # side by side in a panorama, as in the paper's


@dataclass(frozen=True)
class Render:
    """A panorama of `WINDOWS` windows, and what each window shows."""

    image: Image.Image
    labels: Sequence[Labels]


@dataclass(frozen=True)
class Renderer:
    """Draws scenes whose windows are so large."""

    name: str  # of its folder
    window_px: int
    legal: Mapping[Attribute, Sequence[str]]
    draw: Callable[[np.random.Generator], Render]


def renderer_for(window_px: int) -> Renderer:
    """The renderer that the embedded model with windows of this size was trained on."""
    for each in RENDERERS:
        if each.window_px == window_px:
            return each
    sizes = " or ".join(str(each.window_px) for each in RENDERERS)
    raise SystemExit(
        f"--reference renders: the model's windows are {window_px} px, and there are renderers for "
        f"{sizes} px; --reference singles compares with windows that the model makes alone"
    )


def make_renders(
    drawn_by: Renderer, folder: Path, count: int, progress: Callable[[Iterable[int]], Iterable[int]]
) -> list[Render]:
    """The first `count` held-out renders: read where they are there, drawn where not."""
    folder = folder / drawn_by.name
    folder.mkdir(parents=True, exist_ok=True)
    return [_ensure(drawn_by, folder, index) for index in progress(range(count))]


def _ensure(drawn_by: Renderer, folder: Path, index: int) -> Render:
    picture, facts = folder / f"{index:05}.png", folder / f"{index:05}.json"
    if facts.exists():  # written last
        with Image.open(picture) as image:
            return Render(image.convert("RGB"), json.loads(facts.read_text()))
    render = drawn_by.draw(np.random.default_rng([HELD_OUT_SEED, index]))
    replace_file(picture, lambda beside: render.image.save(beside, "PNG"))
    text = json.dumps([dict(labels) for labels in render.labels])
    replace_file(facts, lambda beside: beside.write_text(text))
    return render


def _draw_scene(rng: np.random.Generator) -> Render:
    width_px = WINDOWS * scenes.WINDOW_PX
    picture, subject = scenes.render_scene(rng, width_px=width_px)
    labels: Labels = {
        "biome": subject.biome,
        "time": subject.time,
        "weather": subject.weather,
    }
    return Render(Image.fromarray(np.round(picture * 255).astype(np.uint8)), [labels] * WINDOWS)


def _draw_panorama(rng: np.random.Generator) -> Render:
    scene = renderer.sample_scene(rng)
    pictures, facts = renderer.render_with_facts([scene], torch.device("cpu"))
    side = pictures.shape[-2]
    picture = pictures[0, :, :, : WINDOWS * side].permute(1, 2, 0).numpy()
    labels: list[Labels] = []
    for left in range(0, WINDOWS * side, side):
        window = renderer.window_attributes(facts[0], left, side)
        weather = claims_of(window, scene.numbers).weather  # None where the window hides it
        labels.append({"biome": scene.biome, "time": scene.time, "weather": weather})
    return Render(Image.fromarray(np.ascontiguousarray(picture)), labels)


RENDERERS: Final = (
    Renderer(
        "scenes",
        scenes.WINDOW_PX,
        {"biome": style.BIOMES, "time": style.TIMES, "weather": style.WEATHERS},
        _draw_scene,
    ),
    Renderer(
        f"panoramas-{REVISION}",
        256,
        {"biome": renderer.BIOMES, "time": renderer.TIMES, "weather": renderer.WEATHERS},
        _draw_panorama,
    ),
)
