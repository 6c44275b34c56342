"""The second stage of a panorama with `upscale`: its steps, its size and its limits. Torch-free.

The finished panorama is enlarged, given a little noise, and denoised in a few steps by the same
checkpoint, window by window (the idea of PixelRush, arXiv 2602.12769). Each window follows its own
part of the panorama.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.families import family_named
from panoweave.core.sizes import MAX_PIXELS, MAX_SIDE_PX, MAX_WINDOWS
from panoweave.core.window_places import places_at

if TYPE_CHECKING:
    from panoweave.core.params import ResolvedParams  # it has the field below

UPSCALE_STEPS: Final = 6
# What a window becomes is decided first; the last steps have several times as many windows.
_SYNC_STEPS: Final = 3
_MOVES_A_STEP: Final = 2

UpscaleField = Annotated[
    Literal[2, 4] | None,
    Field(
        exclude_if=lambda value: value is None,  # see `sphere`
        description="How many times as wide and as high the finished panorama is painted again, "
        f"with finer details, in {UPSCALE_STEPS} more steps. `width` and `height` stay the sizes "
        "before that. Default: not at all.",
    ),
]


def enlarged(params: ResolvedParams, traits: CheckpointTraits) -> ResolvedParams:
    """The second stage, as a panorama of its own."""
    assert params.upscale is not None
    factor = params.upscale
    names = family_named(traits.family).schedulers
    return params.model_copy(
        update={
            "upscale": None,
            "width": params.width * factor,
            "height": params.height * factor,
            "seed": params.seed + 1,  # other noise than the first stage's
            "steps": UPSCALE_STEPS,
            "windows": "shifted",
            # A plain step for each family: from the middle of a schedule, samplers with a memory
            # have none yet.
            "scheduler": "ddim" if "ddim" in names else names[0],
            "anchor_image": None,
            "control": None,  # its edges are in the panorama
            "regions": [_enlarged_region(region, factor) for region in params.regions],
            "sync": params.sync.model_copy(
                update={
                    "steps": min(_SYNC_STEPS, params.sync.steps),
                    "every": 1,
                    "tuned_steps": _MOVES_A_STEP * UPSCALE_STEPS,
                }
            ),
        }
    )


def _enlarged_region(region: Any, factor: int) -> Any:
    places = ("x", "y", "width", "height")
    lengths = {name: getattr(region, name) for name in places}
    return region.model_copy(
        update={name: length and length * factor for name, length in lengths.items()}
    )


def check_upscale(params: ResolvedParams, traits: CheckpointTraits) -> None:
    """Refuse what is not to be enlarged, or would be too large. Raises InvalidParams."""
    if params.upscale is None:
        return
    if params.extend:
        raise InvalidParams(
            "upscale", "`extend` keeps a picture's pixels, and `upscale` paints them again", "null"
        )
    large = enlarged(params, traits)
    pixels = large.width * large.height
    if max(large.width, large.height) > MAX_SIDE_PX or pixels > MAX_PIXELS:
        raise InvalidParams(
            "upscale",
            f"{params.upscale} times {params.width} x {params.height} is {large.width} x "
            f"{large.height}, {pixels:,} pixels",
            f"sides up to {MAX_SIDE_PX} and up to {MAX_PIXELS:,} pixels",
        )
    windows = max(len(places_at(step, large, traits)) for step in range(UPSCALE_STEPS))
    if windows > MAX_WINDOWS:
        raise InvalidParams(
            "upscale",
            f"{large.width} x {large.height} need {windows:,} windows",
            f"up to {MAX_WINDOWS:,} windows: a smaller picture",
        )
