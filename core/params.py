"""What a panorama may be asked to be; with what it imports, the home of all defaults and limits.

Torch-free, so that the HTTP service, the worker and the command line share one set of rules.
A request is a `PanoramaParams`; `resolve` fills in what depends on the checkpoint (window size,
stride, sizes, seed) and refuses what the checkpoint cannot make.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from typing import Annotated, Literal, Self, TypeVar

from pydantic import ConfigDict, Field

from panoweave.core.checkpoint import (
    MAX_STEPS,
    CheckpointTraits,
    GuidanceScale,
    InvalidParams,
    Params,
    StepCount,
)
from panoweave.core.conditions import (
    MAX_PROMPT_CHARS,
    Control,
    Extend,
    ImageInput,
    Prompt,
    Region,
    Side,
)
from panoweave.core.output import Output, resolve_output
from panoweave.core.presets import (
    DEFAULT_PRESET,
    MAX_LCM_STEPS,
    PRESETS,
    Decoder,
    PresetName,
    SchedulerName,
    Windows,
)
from panoweave.core.sizes import (
    DEFAULT_WINDOWS_HIGH,
    DEFAULT_WINDOWS_WIDE,
    MAX_WINDOWS,
    check_amount,
    resolve_circumference,
    resolve_side,
    resolve_stride,
)

MAX_REGIONS = 16
MAX_SEED = 2**53 - 1  # the largest integer that every JSON reader keeps exact


# How many windows go through the networks at once. A matter of memory and speed only: the
# picture is the same, so it belongs to the machine (a setting), not to the request.
DEFAULT_WINDOW_BATCH = 8


_T = TypeVar("_T")

Weight = Annotated[float, Field(ge=0, le=1_000)]
Decay = Annotated[float, Field(gt=0, le=1)]
SyncSteps = Annotated[int, Field(ge=0, le=MAX_STEPS)]
MaxMove = Annotated[float, Field(gt=0, le=1_000)]
Every = Annotated[int, Field(ge=1, le=MAX_STEPS)]
WindowIndex = Annotated[int, Field(ge=0, lt=MAX_WINDOWS)]


class SyncParams(Params):
    """SyncDiffusion's gradient descent (paper, Algorithm 1, lines 5 to 9)."""

    weight: Weight | None = Field(
        None,
        description="w: the descent's step size; 0 lets every window go its way. "
        "Default: the preset's.",
    )
    decay: Decay | None = Field(
        None, description="w is multiplied by this at every step. Default: the preset's."
    )
    max_move: MaxMove | None = Field(
        None,
        description="The farthest that a window is moved in one step: the root mean square over "
        "its latents, whose standard deviation is about 1. A longer move is shortened to it. "
        "Default: the preset's; of 'paper', which has none, null.",
    )
    steps: SyncSteps | None = Field(
        None, description="Synchronise only in the first so many steps. Default: the preset's."
    )
    every: Every | None = Field(
        None, description="Synchronise only every n-th step. Default: the preset's."
    )
    anchor: Literal["centre"] | WindowIndex = Field(
        "centre",
        description="The window that the others follow: 'centre', or an index, row by row.",
    )
    decoder: Decoder | None = Field(
        None,
        description="What windows are compared through: 'full' is the checkpoint's own decoder, "
        "'tiny' a smaller one. Default: the preset's, as far as the checkpoint has it.",
    )
    reuse_prediction: bool | None = Field(
        None,
        description="Denoise with the prediction that the gradient was taken through, in place of "
        "a second one at the moved windows. Default: the preset's.",
    )


class PanoramaParams(Params):
    """One panorama, as asked for. What is None is filled in by `resolve`."""

    prompt: Prompt
    negative_prompt: str = Field("", max_length=MAX_PROMPT_CHARS)
    width: Side | None = Field(
        None, description="Pixels: the window plus a whole number of strides. Default: 6 windows."
    )
    height: Side | None = Field(
        None, description="Pixels: the window plus a whole number of strides. Default: 1 window."
    )
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = Field(
        None, description="The same seed gives the same panorama. Default: drawn, and reported."
    )
    steps: StepCount | None = Field(
        None,
        description="Reverse diffusion steps. Default: the preset's; of checkpoints that were "
        "distilled to a few steps, theirs.",
    )
    guidance_scale: GuidanceScale | None = Field(
        None, description="Classifier-free guidance. Default: what suits the checkpoint."
    )
    scheduler: SchedulerName | None = Field(
        None,
        description="What takes the reverse steps. Default: what suits the checkpoint, 'ddim' for "
        "most; 'lcm' for those that were distilled to a few steps.",
    )
    stride: Side | None = Field(
        None, description="Pixels between neighbouring windows. Default: a quarter window."
    )
    loop: bool = Field(
        False,
        description="A ring: the right edge goes on at the left one, for views all around. The "
        "width is then a whole number of strides.",
    )
    preset: PresetName = Field(
        DEFAULT_PRESET,
        description="What the rest of the request leaves open: 'paper' is exact, 'balanced' as "
        "coherent in a fraction of the time, 'fast' faster still.",
    )
    windows: Windows | None = Field(
        None,
        description="'overlapping' every stride (MultiDiffusion), or 'shifted': side by side, "
        "elsewhere at each step. Default: the preset's; 'overlapping' where a stride is given.",
    )
    regions: Sequence[Region] = Field(
        [],
        max_length=MAX_REGIONS,
        description="Boxes or masks with prompts of their own, over the background that `prompt` "
        "describes.",
    )
    anchor_image: ImageInput | None = Field(
        None,
        description="What all windows are pulled towards, in place of one of them. Scaled to cover "
        "a window, and what sticks out is cut off evenly.",
    )
    extend: Extend | None = Field(
        None, description="A picture that stays as it is; the panorama grows around it."
    )
    control: Control | None = Field(
        None,
        description="Where things are: a ControlNet follows these edges. For checkpoints with a "
        "ControlNet.",
    )
    output: Output = Output()
    sync: SyncParams = SyncParams()

    def resolve(self, traits: CheckpointTraits) -> ResolvedParams:
        """All parameters, with those that depend on the checkpoint filled in.

        Raises `InvalidParams` naming the field and what this checkpoint accepts there.
        """
        return ResolvedParams.of(self, traits)


class ResolvedSync(SyncParams):
    model_config = ConfigDict(extra="ignore")  # as in ResolvedParams

    weight: Weight
    decay: Decay
    steps: SyncSteps
    every: Every
    anchor: WindowIndex
    decoder: Decoder
    reuse_prediction: bool


class ResolvedRegion(Region):
    model_config = ConfigDict(extra="ignore")  # as in ResolvedParams


class ResolvedParams(PanoramaParams):
    """A panorama that a given checkpoint can make: nothing left open."""

    # Stored with jobs: what a newer version wrote must not stop an older one during an upgrade.
    model_config = ConfigDict(extra="ignore")

    width: Side
    height: Side
    steps: StepCount
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    guidance_scale: GuidanceScale
    scheduler: SchedulerName = "ddim"  # the only one there was in earlier versions
    stride: Side
    windows: Windows
    regions: Sequence[ResolvedRegion] = []
    sync: ResolvedSync

    @classmethod
    def of(cls, asked: PanoramaParams, traits: CheckpointTraits) -> Self:
        stride = resolve_stride(asked.stride, traits)
        height = resolve_side("height", asked.height, DEFAULT_WINDOWS_HIGH, stride, traits)
        rows = (height - traits.window_px) // stride + 1
        if asked.loop:
            width = resolve_circumference(asked.width, stride, traits)
            columns = width // stride
        else:
            width = resolve_side("width", asked.width, DEFAULT_WINDOWS_WIDE, stride, traits)
            columns = (width - traits.window_px) // stride + 1
        check_amount(width, height, columns, rows)
        if asked.control and not traits.controlnet:
            raise InvalidParams(
                "control",
                "this checkpoint has no ControlNet",
                "null, or a worker that loads one (PANOWEAVE_CONTROLNET)",
            )
        steps = _or(asked.steps, _or(traits.defaults.steps, PRESETS[asked.preset].steps))
        scheduler = _or(asked.scheduler, traits.defaults.scheduler)
        if scheduler == "lcm" and steps > MAX_LCM_STEPS:
            raise InvalidParams(
                "steps", f"{steps} are too many for the scheduler 'lcm'", f"1 to {MAX_LCM_STEPS}"
            )
        return cls(
            prompt=asked.prompt,
            negative_prompt=asked.negative_prompt,
            width=width,
            height=height,
            seed=secrets.randbelow(MAX_SEED + 1) if asked.seed is None else asked.seed,
            steps=steps,
            guidance_scale=(
                traits.defaults.guidance_scale
                if asked.guidance_scale is None
                else asked.guidance_scale
            ),
            scheduler=scheduler,
            stride=stride,
            loop=asked.loop,
            regions=[
                _resolve_region(f"regions.{number}", region, width, height, traits)
                for number, region in enumerate(asked.regions)
            ],
            preset=asked.preset,
            windows=_resolve_windows(asked),
            anchor_image=asked.anchor_image,
            extend=asked.extend,
            control=asked.control,
            output=resolve_output(asked.output, width, height),
            sync=_resolve_sync(asked, steps, traits, columns, rows),
        )


def _resolve_region(
    field: str, region: Region, width: int, height: int, traits: CheckpointTraits
) -> ResolvedRegion:
    """A box on whole latents, inside the picture; a mask as it is."""
    if region.x is None or region.width is None:
        return ResolvedRegion.model_validate(region.model_dump())
    unit = traits.px_per_latent
    tall = height - region.y if region.height is None else region.height
    for name, begin, extent, side in (
        ("width", region.x, region.width, width),
        ("height", region.y, tall, height),
    ):
        start = "x" if name == "width" else "y"
        if begin % unit or begin >= side:
            raise InvalidParams(
                f"{field}.{start}",
                f"{begin} px is no place in a picture of {side} px",
                f"multiples of {unit} from 0 to {side - unit}",
            )
        if extent % unit or begin + extent > side:
            raise InvalidParams(
                f"{field}.{name}",
                f"{extent} px from {begin} on does not fit a picture of {side} px",
                f"multiples of {unit} from {unit} to {side - begin}",
            )
    return ResolvedRegion.model_validate({**region.model_dump(), "height": tall})


def _resolve_windows(asked: PanoramaParams) -> Windows:
    if asked.windows:
        return asked.windows
    return PRESETS[asked.preset].windows if asked.stride is None else "overlapping"


def _resolve_sync(
    asked: PanoramaParams, steps: int, traits: CheckpointTraits, columns: int, rows: int
) -> ResolvedSync:
    sync, preset = asked.sync, PRESETS[asked.preset]
    if sync.steps is not None and sync.steps > steps:
        raise InvalidParams(
            "sync.steps",
            f"{sync.steps} is more than the {steps} steps there are",
            f"0 to {steps}",
        )
    if sync.decoder == "tiny" and not traits.tiny_decoder:
        raise InvalidParams("sync.decoder", "this checkpoint has no tiny decoder", "'full'")
    return ResolvedSync(
        weight=_or(sync.weight, preset.weight),
        decay=_or(sync.decay, preset.decay),
        max_move=preset.max_move if sync.max_move is None else sync.max_move,
        steps=_or(sync.steps, math.ceil(preset.sync_share * steps)),
        every=_or(sync.every, preset.every),
        anchor=_resolve_anchor(sync.anchor, columns, rows),
        decoder=_or(sync.decoder, preset.decoder if traits.tiny_decoder else "full"),
        reuse_prediction=_or(sync.reuse_prediction, preset.reuse_prediction),
    )


def _resolve_anchor(anchor: Literal["centre"] | int, columns: int, rows: int) -> int:
    if anchor == "centre":
        return (rows // 2) * columns + columns // 2
    if anchor < columns * rows:
        return anchor
    raise InvalidParams(
        "sync.anchor",
        f"there is no window {anchor} among {columns * rows}",
        f"'centre' or 0 to {columns * rows - 1}",
    )


def _or(asked: _T | None, otherwise: _T) -> _T:
    return otherwise if asked is None else asked
