"""What a panorama may be asked to be: the only home of panoweave's defaults and limits.

Torch-free, so that the HTTP service, the worker and the command line share one set of rules.
A request is a `PanoramaParams`; `resolve` fills in what depends on the checkpoint (window size,
stride, sizes, seed) and refuses what the checkpoint cannot make.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

MAX_PROMPT_CHARS = 2_000
MAX_SIDE_PX = 32_768
MAX_PIXELS = 2**26
MAX_WINDOWS = 4_096
MAX_STEPS = 250
MAX_SEED = 2**53 - 1  # the largest integer that every JSON reader keeps exact

DEFAULT_WINDOWS_WIDE = 6
DEFAULT_WINDOWS_HIGH = 1
PAPER_GUIDANCE_SCALE = 7.5
DEFAULT_STRIDES_PER_WINDOW = 4  # the paper's stride: 16 latents of a 64-latent window

# How many windows go through the networks at once. A matter of memory and speed only: the
# picture is the same, so it belongs to the machine (a setting), not to the request.
DEFAULT_WINDOW_BATCH = 8


_T = TypeVar("_T")

PresetName = Literal["paper", "balanced", "fast"]
Windows = Literal["overlapping", "shifted"]
Decoder = Literal["full", "tiny"]
DEFAULT_PRESET: Final[PresetName] = "balanced"


@dataclass(frozen=True)
class Preset:
    """What a request gets where it says nothing else. Chosen by measurement: docs/benchmarks.md."""

    steps: int
    windows: Windows
    weight: float
    decay: float
    max_move: float | None  # None: no bound
    sync_share: float  # of all steps, the first ones
    every: int
    decoder: Decoder  # "tiny" where the checkpoint has one
    reuse_prediction: bool


PRESETS: Final[Mapping[PresetName, Preset]] = MappingProxyType(
    {
        # The paper's setting, exact: Algorithm 1 at every step.
        "paper": Preset(50, "overlapping", 20, 0.95, None, 1.0, 1, "full", False),
        "balanced": Preset(50, "shifted", 28, 1, 0.05, 0.9, 1, "tiny", True),
        "fast": Preset(30, "shifted", 42, 1, 0.058, 0.9, 1, "tiny", True),
    }
)


class InvalidParams(ValueError):
    """A parameter that this checkpoint cannot satisfy. Names the field and what is legal."""

    def __init__(self, field: str, problem: str, legal: str) -> None:
        super().__init__(f"{field}: {problem}; legal: {legal}")
        self.field = field
        self.problem = problem
        self.legal = legal


class _Params(BaseModel):
    # A prompt must not get into a traceback, and from there into a log.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )


GuidanceScale = Annotated[float, Field(ge=1, le=30)]


class CheckpointDefaults(_Params):
    """Defaults that a checkpoint brings along, in `panoweave.json` beside `model_index.json`."""

    guidance_scale: GuidanceScale = PAPER_GUIDANCE_SCALE


class CheckpointTraits(_Params):
    """What a checkpoint decides: the sizes it works in, and the defaults that suit it.

    `window_px = window_latents * px_per_latent`.
    """

    window_px: int = Field(gt=0)
    px_per_latent: int = Field(gt=0)
    tiny_decoder: bool = Field(False, description="Whether sync.decoder can be 'tiny'.")
    defaults: CheckpointDefaults = CheckpointDefaults()

    @property
    def window_latents(self) -> int:
        return self.window_px // self.px_per_latent


Weight = Annotated[float, Field(ge=0, le=1_000)]
Decay = Annotated[float, Field(gt=0, le=1)]
StepCount = Annotated[int, Field(ge=0, le=MAX_STEPS)]
MaxMove = Annotated[float, Field(gt=0, le=1_000)]
Every = Annotated[int, Field(ge=1, le=MAX_STEPS)]
WindowIndex = Annotated[int, Field(ge=0, lt=MAX_WINDOWS)]


class SyncParams(_Params):
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
    steps: StepCount | None = Field(
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


class PanoramaParams(_Params):
    """One panorama, as asked for. What is None is filled in by `resolve`."""

    prompt: str = Field(min_length=1, max_length=MAX_PROMPT_CHARS)
    negative_prompt: str = Field("", max_length=MAX_PROMPT_CHARS)
    width: Annotated[int, Field(ge=1, le=MAX_SIDE_PX)] | None = Field(
        None, description="Pixels: the window plus a whole number of strides. Default: 6 windows."
    )
    height: Annotated[int, Field(ge=1, le=MAX_SIDE_PX)] | None = Field(
        None, description="Pixels: the window plus a whole number of strides. Default: 1 window."
    )
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = Field(
        None, description="The same seed gives the same panorama. Default: drawn, and reported."
    )
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = Field(
        None, description="Reverse diffusion steps. Default: the preset's."
    )
    guidance_scale: GuidanceScale | None = Field(
        None, description="Classifier-free guidance. Default: what suits the checkpoint."
    )
    stride: Annotated[int, Field(ge=1, le=MAX_SIDE_PX)] | None = Field(
        None, description="Pixels between neighbouring windows. Default: a quarter window."
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
    sync: SyncParams = SyncParams()

    @field_validator("prompt")
    @classmethod
    def _prompt_says_something(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("must hold more than white space")
        return prompt

    def resolve(self, traits: CheckpointTraits) -> ResolvedParams:
        """All parameters, with those that depend on the checkpoint filled in.

        Raises `InvalidParams` naming the field and what this checkpoint accepts there.
        """
        return ResolvedParams.of(self, traits)


class ResolvedSync(SyncParams):
    model_config = ConfigDict(extra="ignore")  # as in ResolvedParams

    weight: Weight
    decay: Decay
    steps: StepCount
    every: Every
    anchor: WindowIndex
    decoder: Decoder
    reuse_prediction: bool


class ResolvedParams(PanoramaParams):
    """A panorama that a given checkpoint can make: nothing left open."""

    # Stored with jobs: what a newer version wrote must not stop an older one during an upgrade.
    model_config = ConfigDict(extra="ignore")

    width: Annotated[int, Field(ge=1, le=MAX_SIDE_PX)]
    height: Annotated[int, Field(ge=1, le=MAX_SIDE_PX)]
    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)]
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    guidance_scale: GuidanceScale
    stride: Annotated[int, Field(ge=1, le=MAX_SIDE_PX)]
    windows: Windows
    sync: ResolvedSync

    @classmethod
    def of(cls, asked: PanoramaParams, traits: CheckpointTraits) -> Self:
        stride = _resolve_stride(asked.stride, traits)
        width = _resolve_side("width", asked.width, DEFAULT_WINDOWS_WIDE, stride, traits)
        height = _resolve_side("height", asked.height, DEFAULT_WINDOWS_HIGH, stride, traits)
        columns = (width - traits.window_px) // stride + 1
        rows = (height - traits.window_px) // stride + 1
        _check_amount(width, height, columns, rows)
        steps = _or(asked.steps, PRESETS[asked.preset].steps)
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
            stride=stride,
            preset=asked.preset,
            windows=_resolve_windows(asked),
            sync=_resolve_sync(asked, steps, traits, columns, rows),
        )


def _resolve_stride(stride: int | None, traits: CheckpointTraits) -> int:
    if stride is None:
        quarter = traits.window_latents // DEFAULT_STRIDES_PER_WINDOW
        return max(1, quarter) * traits.px_per_latent
    if stride % traits.px_per_latent or not 0 < stride <= traits.window_px:
        raise InvalidParams(
            "stride",
            f"{stride} px does not fit windows of {traits.window_px} px",
            f"multiples of {traits.px_per_latent} from {traits.px_per_latent} "
            f"to {traits.window_px}",
        )
    return stride


def _resolve_side(
    field: str, side_px: int | None, windows: int, stride: int, traits: CheckpointTraits
) -> int:
    window = traits.window_px
    if side_px is None:
        # A stride that does not divide the window may not reach exactly six windows.
        return window + (windows - 1) * window // stride * stride
    if side_px >= window and (side_px - window) % stride == 0:
        return side_px
    if side_px < window:
        nearest = f"{window}"
    else:
        below = window + (side_px - window) // stride * stride
        nearest = f"{below}" if below + stride > MAX_SIDE_PX else f"{below} or {below + stride}"
    raise InvalidParams(
        field,
        f"windows of {window} px every {stride} px cannot cover {side_px} px exactly",
        f"{window} plus a multiple of {stride}, nearest: {nearest}",
    )


def _check_amount(width: int, height: int, columns: int, rows: int) -> None:
    if width * height > MAX_PIXELS:
        raise InvalidParams(
            "width",
            f"{width} x {height} is {width * height:,} pixels",
            f"width x height up to {MAX_PIXELS:,} pixels",
        )
    if columns * rows > MAX_WINDOWS:
        raise InvalidParams(
            "stride",
            f"this size and stride need {columns * rows:,} windows",
            f"up to {MAX_WINDOWS:,} windows: a larger stride or a smaller picture",
        )


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
