"""Requests with any combination of fields, small enough to be made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, get_args

from hypothesis import strategies as st
from PIL import Image

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.families import (
    can_perturb_attention,
    family_named,
    reads_negative_prompt,
)
from panoweave.core.output import FormatName
from panoweave.core.params import MAX_SEED
from panoweave.core.presets import Decoder, Gradient, PresetName, SchedulerName, Windows

KEY: Final = {"key": "given beside the request"}

Draw = st.DrawFn
_TEXTS: Final = st.one_of(
    st.sampled_from(["a lake", "x", "a hill in the fog, " * 9]), st.text(max_size=8)
)
_PROMPTS: Final = _TEXTS.filter(str.strip)


@dataclass(frozen=True)
class DrawnRequest:
    model: str
    asked: dict[str, Any]  # as a client writes it
    sizes: dict[str, tuple[int, int]]  # of the pictures that it names by key, by field
    resumed_at: float  # the share of the steps after which it is stopped

    def images(self) -> dict[str, Image.Image]:
        return {field: _picture(*size) for field, size in self.sizes.items()}


def _picture(width: int, height: int) -> Image.Image:
    """With an edge, all levels of grey, and black."""
    levels = Image.linear_gradient("L").resize((width, height))
    dark = levels.point(lambda level: 0 if level < 80 else level)
    return Image.merge("RGB", (dark, levels.rotate(180), dark))


def _some(draw: Draw, fields: dict[str, st.SearchStrategy[Any]]) -> dict[str, Any]:
    """A few of the fields, each with a value or null."""
    named = draw(st.lists(st.sampled_from(sorted(fields)), unique=True, max_size=4))
    return {name: draw(st.none() | fields[name]) for name in named}


def _number(least: float, most: float, *usual: float, above: bool = False) -> Any:
    """Usual numbers, and any that are legal."""
    return st.sampled_from(usual) | st.floats(least, most, exclude_min=above)


@st.composite
def requests(draw: Draw, model: str, traits: CheckpointTraits) -> DrawnRequest:
    asked: dict[str, Any] = {"prompt": draw(_PROMPTS), "seed": draw(_SEEDS)}
    asked |= draw(_sizes(traits))
    asked["steps"] = draw(st.integers(1, 4))
    asked |= _some(draw, _PLAIN)
    if draw(st.integers(0, 15)):
        asked |= _of_family(asked, traits)
    if draw(st.booleans()):
        asked["sync"] = _some(draw, _SYNC)
    if traits.defaults.steps and draw(st.integers(0, 15)):  # else it would mostly take too long
        asked["sync"] = {"tuned_steps": draw(st.integers(1, 6)), **asked.get("sync", {})}
    if asked.get("upscale") and draw(st.booleans()):  # else it would mostly take too long
        asked |= {"width": traits.window_px, "height": None}
    if asked.get("loop") and draw(st.booleans()):
        asked |= {"projection": "equirectangular"} | _some(draw, _SPHERE)
    if draw(st.booleans()) and traits.loras:
        names = draw(st.lists(st.sampled_from([each.name for each in traits.loras]), max_size=3))
        asked["loras"] = [{"name": name, "scale": draw(_number(-5, 5, 1, 0))} for name in names]
    size = asked["width"] or 6 * traits.window_px, asked["height"] or traits.window_px
    sizes: dict[str, tuple[int, int]] = {}
    if draw(st.integers(0, 2)) == 0:
        count = draw(st.integers(1, 3))
        asked["regions"] = [draw(_region(number, size, traits, sizes)) for number in range(count)]
    if draw(st.integers(0, 3)) == 0:
        asked["anchor_image"] = KEY
        sizes["anchor_image"] = draw(st.tuples(st.integers(1, 150), st.integers(1, 150)))
    if draw(st.integers(0, 3)) == 0:
        asked["extend"] = draw(_extend(size, traits, sizes))
    if traits.controlnet and draw(st.integers(0, 2)) == 0:
        asked["control"] = {"type": draw(st.sampled_from(["canny", "hint"])), "image": KEY}
        asked["control"] |= _some(draw, {"scale": _number(0, 2, 1, 0)})
        sizes["control.image"] = draw(_like(size))
    return DrawnRequest(model, asked, sizes, draw(st.sampled_from([0, 0.25, 0.5, 0.75, 1])))


_SEEDS: Final = st.sampled_from([0, 1, MAX_SEED]) | st.integers(0, MAX_SEED)
_PLAIN: Final[dict[str, st.SearchStrategy[Any]]] = {
    "negative_prompt": _TEXTS,
    "guidance_scale": _number(1, 30, 1, 7.5),
    "perturbed_attention": st.booleans(),
    "scheduler": st.sampled_from(get_args(SchedulerName)),
    "projection": st.sampled_from(["cylinder", "equirectangular"]),
    "window_fov": _number(0, 180, 90, above=True).filter(lambda angle: angle < 180),
    "poles": st.sampled_from(["filled", "cropped"]),
    "upscale": st.sampled_from([2, 4]),
    "preset": st.sampled_from(get_args(PresetName)),
    "windows": st.sampled_from(get_args(Windows)),
    "output": st.fixed_dictionaries(
        {},
        optional={"format": st.sampled_from(get_args(FormatName)), "quality": st.integers(1, 100)},
    ),
}
_SPHERE: Final = {name: _PLAIN[name] for name in ("window_fov", "poles")}
_SYNC: Final[dict[str, st.SearchStrategy[Any]]] = {
    "weight": _number(0, 1_000, 0, 20),
    "decay": _number(0, 1, 1, 0.95, above=True),
    "max_move": _number(0, 1_000, 0.05, above=True),
    "tuned_steps": st.integers(1, 12),
    "steps": st.integers(0, 5),
    "every": st.integers(1, 5),
    "anchor": st.just("centre") | st.integers(0, 8),
    "decoder": st.sampled_from(get_args(Decoder)),
    "reuse_prediction": st.booleans(),
    "gradient": st.sampled_from(get_args(Gradient)),
}


def _of_family(asked: dict[str, Any], traits: CheckpointTraits) -> dict[str, Any]:
    """The fields that few families take, as this one does."""
    family = family_named(traits.family)
    changed: dict[str, Any] = {}
    if asked.get("scheduler") not in family.schedulers:
        changed["scheduler"] = None
    if not reads_negative_prompt(traits):
        changed["negative_prompt"] = ""
    if not traits.guidance:
        changed["guidance_scale"] = None
    if not can_perturb_attention(traits):
        changed["perturbed_attention"] = None
    return changed


@st.composite
def _sizes(draw: Draw, traits: CheckpointTraits) -> dict[str, Any]:
    """Mostly such that windows fit: the window and strides, or strides all around."""
    window, unit = traits.window_px, traits.px_per_latent
    stride = draw(st.none() | st.integers(1, traits.window_latents).map(lambda count: count * unit))
    apart = stride or max(1, traits.window_latents // 4) * unit
    loop = draw(st.booleans())
    more = draw(st.integers(0, 2 * window // apart))
    width = (-(-window // apart) + more) * apart if loop else window + more * apart
    height = draw(st.none() | st.integers(0, window // apart).map(lambda c: window + c * apart))
    if draw(st.integers(0, 15)) == 0:
        width = draw(st.integers(1, 4 * window))
    return {"stride": stride, "loop": loop, "width": width, "height": height}


@st.composite
def _span(draw: Draw, side: int, unit: int) -> tuple[int, int]:
    """(start, length) of a part of a side, mostly at whole latents inside."""
    places = max(1, side // unit)
    start = draw(st.integers(0, places - 1))
    length = draw(st.integers(1, places - start))
    off = draw(st.sampled_from([0] * 15 + [1]))
    return start * unit + off, length * unit


@st.composite
def _region(
    draw: Draw,
    number: int,
    size: tuple[int, int],
    traits: CheckpointTraits,
    sizes: dict[str, tuple[int, int]],
) -> dict[str, Any]:
    region: dict[str, Any] = {"prompt": draw(_PROMPTS)}
    if reads_negative_prompt(traits) or draw(st.integers(0, 15)) == 0:
        region |= _some(draw, {"negative_prompt": _TEXTS})
    if draw(st.integers(0, 2)) == 0:
        sizes[f"regions.{number}.mask"] = draw(_like(size))
        return {**region, "mask": KEY}
    region["x"], region["width"] = draw(_span(size[0], traits.px_per_latent))
    y, height = draw(_span(size[1], traits.px_per_latent))
    return {**region, **_some(draw, {"y": st.just(y), "height": st.just(height)})}


@st.composite
def _like(draw: Draw, size: tuple[int, int]) -> tuple[int, int]:
    """The panorama's size; seldom another."""
    off = draw(st.sampled_from([0] * 15 + [1]))
    return size[0] + off, size[1]


@st.composite
def _extend(
    draw: Draw,
    size: tuple[int, int],
    traits: CheckpointTraits,
    sizes: dict[str, tuple[int, int]],
) -> dict[str, Any]:
    """At any place, with any of its sides at the panorama's own."""
    (x, width), (y, height) = (draw(_span(side, traits.px_per_latent)) for side in size)
    sizes["extend.image"] = width, height
    places = {name: place for name, place in (("x", x), ("y", y)) if place or draw(st.booleans())}
    return {"image": KEY, **places}
