"""The parameters of a panorama, with their limits and texts, and how a request is resolved.

A request is a `PanoramaParams`. `resolve` gives every field a value: the request's, else the
checkpoint's, else the preset's. It refuses what the checkpoint cannot make. The HTTP service, the
worker and the command line derive what they accept from these fields, so a parameter is added
here and where it is used: docs/contributing/add-a-parameter.md.

Torch-free, like the modules that it imports.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field

from panoweave.core.checkpoint import (
    MAX_STEPS,
    CheckpointTraits,
    GuidanceScale,
    InvalidParams,
    MaxMove,
    Params,
    StepCount,
    SyncDefaults,
    TunedSteps,
    Weight,
)
from panoweave.core.conditions import (
    MAX_PROMPT_CHARS,
    Control,
    Extend,
    ImageInput,
    Prompt,
    Region,
    ResolvedRegion,
    Side,
    check_control,
    resolve_regions,
)
from panoweave.core.guidance_fields import (
    check_guidance,
    check_scheduler,
    resolve_perturbed_attention,
)
from panoweave.core.loras import LorasField, ResolvedLorasField, resolve_loras
from panoweave.core.output import Output, resolve_output
from panoweave.core.presets import (
    DEFAULT_PRESET,
    DRAFT_STEPS,
    FEW_STEPS_MOVES,
    PRESETS,
    SYNC_SHARES,
    Decoder,
    Gradient,
    PresetName,
    SchedulerName,
    Windows,
)
from panoweave.core.sizes import MAX_WINDOWS, PanoramaSize, resolve_size
from panoweave.core.sphere import (
    PolesField,
    ProjectionField,
    ResolvedProjection,
    WindowFovField,
    picture_size,
    resolve_projection,
)
from panoweave.core.upscale import UPSCALE_STEPS, UpscaleField, check_upscale

MAX_REGIONS = 16
MAX_SEED = 2**53 - 1  # the largest integer that every JSON reader keeps exact


Decay = Annotated[float, Field(gt=0, le=1)]
SyncSteps = Annotated[int, Field(ge=0, le=MAX_STEPS)]
Every = Annotated[int, Field(ge=1, le=MAX_STEPS)]
WindowIndex = Annotated[int, Field(ge=0, lt=MAX_WINDOWS)]


class SyncParams(Params):
    """SyncDiffusion's gradient descent (arXiv 2306.05178, Eq. 13 and 14)."""

    weight: Weight | None = Field(
        None,
        description="w, the step size of the gradient descent; at 0 windows are not synchronised. "
        "Default: the checkpoint's for this preset, else the preset's.",
    )
    decay: Decay | None = Field(
        None, description="The factor that w is multiplied by at every step. Default: the preset's."
    )
    max_move: MaxMove | None = Field(
        None,
        description="The farthest that a window is moved in one step, as the root mean square over "
        "its latents, whose standard deviation is about 1. A longer move is shortened. "
        "Default: the checkpoint's for this preset, else the preset's; null for 'paper', which "
        "sets no limit.",
    )
    tuned_steps: TunedSteps | None = Field(
        None,
        # Requests, jobs and savepoints from before there was this field are compared by their JSON.
        exclude_if=lambda value: value is None,
        description="The number of steps that `weight` and `max_move` are meant for. A panorama of "
        "fewer steps makes several moves in a step, one of more steps makes none in some, so that "
        "windows are moved as often over the same noise levels. Default: with 10 steps or more the "
        "checkpoint's for this preset, else for 'balanced' and 'fast' the preset's own steps; for "
        "checkpoints that were distilled to a few steps, 32 with 'balanced' and 24 with 'fast', or "
        "the panorama's if it has more; else the panorama's steps, one move in each.",
    )
    steps: SyncSteps | None = Field(
        None, description="How many of the first steps are synchronised. Default: the preset's."
    )
    every: Every | None = Field(
        None,
        description="Synchronise only every n-th step; with `tuned_steps` below the panorama's "
        "steps, every n-th of its moves. Default: the preset's.",
    )
    anchor: Literal["centre"] | WindowIndex = Field(
        "centre",
        description="The window that the others follow: 'centre', or an index, row by row.",
    )
    decoder: Decoder | None = Field(
        None,
        description="The decoder through which windows are compared: 'full' is the checkpoint's "
        "own, 'tiny' a smaller one. Default: the preset's, where the checkpoint has it.",
    )
    reuse_prediction: bool | None = Field(
        None,
        description="Denoise with the prediction that the gradient was taken through, instead of "
        "predicting again for the moved windows. Default: the preset's.",
    )
    gradient: Gradient | None = Field(
        None,
        exclude_if=lambda value: value is None,  # see `tuned_steps`
        description="What the gradient is taken through: 'guided' is both predictions that "
        "guidance combines, 'conditional' the one under the prompt alone, which takes half of "
        "the memory and less time. 'gaussian' is neither: a filter of spatial frequencies replaces "
        "the network, which takes the least memory and time. Default: the preset's.",
    )


class PanoramaParams(Params):
    """A request for one panorama. `resolve` fills in what is None."""

    prompt: Prompt
    negative_prompt: str = Field(
        "", max_length=MAX_PROMPT_CHARS, description="What the panorama must not show."
    )
    width: Side | None = Field(
        None, description="Pixels: the window plus a whole number of strides. Default: 6 windows."
    )
    height: Side | None = Field(
        None, description="Pixels: the window plus a whole number of strides. Default: 1 window."
    )
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] | None = Field(
        None, description="The same seed gives the same panorama. Default: random, and reported."
    )
    steps: StepCount | None = Field(
        None,
        description="Reverse diffusion steps. Default: the checkpoint's, where it was distilled to "
        "a few steps; else the preset's.",
    )
    guidance_scale: GuidanceScale | None = Field(
        None, description="Strength of classifier-free guidance. Default: the checkpoint's."
    )
    perturbed_attention: bool | None = Field(
        None,
        # See `SyncParams.tuned_steps`. False is kept: a checkpoint's default may be True.
        exclude_if=lambda value: value is None,
        description="Whether guidance also leads away from pictures without structure: the "
        "prediction without the prompt is made without self-attention (arXiv 2403.17377). Needs a "
        "smaller `guidance_scale`. Default: the checkpoint's, where `guidance_scale` is left open.",
    )
    scheduler: SchedulerName | None = Field(
        None,
        description="The sampler of the reverse steps. Default: the checkpoint's: 'ddim' for most, "
        "'lcm' for those that were distilled to a few steps.",
    )
    stride: Side | None = Field(
        None, description="Pixels between neighbouring windows. Default: a quarter window."
    )
    loop: bool = Field(
        False,
        description="The right edge continues at the left one, for views all around. The width is "
        "then a whole number of strides.",
    )
    projection: ProjectionField = "cylinder"
    window_fov: WindowFovField = None
    poles: PolesField = None
    upscale: UpscaleField = None
    preset: PresetName = Field(
        DEFAULT_PRESET,
        description="Defaults for the fields that a request leaves open: 'paper' runs the paper's "
        "algorithm at every step, 'balanced' is about as coherent in a fraction of the time, "
        "'fast' is faster still.",
    )
    windows: Windows | None = Field(
        None,
        description="'overlapping': one window every stride (MultiDiffusion); 'shifted': windows "
        "side by side, at other places in each step. Default: 'overlapping' where a stride is "
        "given; else the preset's.",
    )
    regions: Sequence[Region] = Field(
        [],
        max_length=MAX_REGIONS,
        description=f"a list of up to {MAX_REGIONS} boxes or masks with their own prompts, over "
        "the background that `prompt` describes. Default: none",
    )
    anchor_image: ImageInput | None = Field(
        None,
        description="A picture that all windows are pulled towards, instead of one of them. It is "
        "scaled to cover a window and cropped at its centre.",
    )
    extend: Extend | None = Field(
        None, description="A picture that keeps its pixels; the panorama is painted around it."
    )
    control: Control | None = Field(
        None,
        description="Edges that say where things are. Needs a checkpoint with a ControlNet.",
    )
    loras: LorasField = Field([])
    output: Output = Output()
    sync: SyncParams = SyncParams()

    def resolve(self, traits: CheckpointTraits) -> ResolvedParams:
        """Every parameter, with a value where the request left it open.

        Raises `InvalidParams`, which names the field and what this checkpoint accepts there.
        """
        return ResolvedParams.of(self, traits)


# In the two classes below, a field that `resolve` always fills is declared again, without None.


class ResolvedSync(SyncParams):
    is_only_answered: ClassVar[bool] = True

    # Stored with jobs: a field that a newer version added must not stop an older one.
    model_config = ConfigDict(extra="ignore")

    weight: Weight
    decay: Decay
    # tuned_steps is None in jobs that were accepted before there was one: a move in each step. So
    # is gradient, which is 'guided' then.
    steps: SyncSteps
    every: Every
    anchor: WindowIndex
    decoder: Decoder
    reuse_prediction: bool


class ResolvedParams(PanoramaParams):
    """A panorama that a given checkpoint can make: every field has its value."""

    is_only_answered: ClassVar[bool] = True

    model_config = ConfigDict(extra="ignore")  # as in ResolvedSync

    width: Side
    height: Side
    steps: StepCount
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    guidance_scale: GuidanceScale
    # perturbed_attention is None in jobs that were accepted before there was one: without it.
    scheduler: SchedulerName = "ddim"  # jobs of version 0.1.0 were stored without it
    stride: Side
    windows: Windows
    regions: Sequence[ResolvedRegion] = []
    loras: ResolvedLorasField = Field([])
    sync: ResolvedSync

    def resolve(self, traits: CheckpointTraits) -> ResolvedParams:
        """Itself, if this checkpoint can make it.

        What is None stays None: in a job from before there was a field, it is no open choice.
        """
        again = super().resolve(traits)
        sync = again.sync.model_copy(update=_nulls(self.sync))
        return again.model_copy(update=_nulls(self) | {"sync": sync})

    @property
    def total_steps(self) -> int:
        """With those of `upscale`."""
        return self.steps + (UPSCALE_STEPS if self.upscale else 0)

    def picture_size(self, traits: CheckpointTraits) -> tuple[int, int]:
        """(width, height) of the file, in pixels."""
        lengths = _enlarged_lengths(self.width, self.height, traits.window_px, self.upscale)
        return picture_size(_projection_of(self), *lengths)

    @classmethod
    def of(cls, asked: PanoramaParams, traits: CheckpointTraits) -> Self:
        """Asked, filled from checkpoint and preset; then the fields that depend on one another."""
        values = _fill(PanoramaParams, asked, traits.defaults.model_dump(), PRESETS[asked.preset])
        size = resolve_size(asked.width, asked.height, asked.stride, asked.loop, traits)
        check_scheduler(values["scheduler"], values["steps"], traits)
        check_control(asked.control, traits)
        check_guidance(values["guidance_scale"], asked.negative_prompt, asked.regions, traits)
        values["perturbed_attention"] = resolve_perturbed_attention(
            asked.perturbed_attention, asked.guidance_scale, traits
        )
        lengths = _enlarged_lengths(size.width, size.height, traits.window_px, asked.upscale)
        projection = resolve_projection(_projection_of(asked), asked.loop, *lengths)
        values |= {
            "width": size.width,
            "height": size.height,
            "stride": size.stride,
            "regions": resolve_regions(asked.regions, size.width, size.height, traits),
            "loras": resolve_loras(asked.loras, traits),
            **asdict(projection),
            "output": resolve_output(asked.output, *picture_size(projection, *lengths)),
            "sync": _resolve_sync(asked, values["steps"], values["scheduler"], size, traits),
        }
        if asked.seed is None:
            values["seed"] = secrets.randbelow(MAX_SEED + 1)
        if asked.windows is None and asked.stride is not None:
            values["windows"] = "overlapping"
        resolved = cls(**values)
        check_upscale(resolved, traits)
        return resolved


def _nulls(params: Params) -> dict[str, None]:
    return {name: None for name in type(params).model_fields if getattr(params, name) is None}


def _projection_of(params: PanoramaParams) -> ResolvedProjection:
    return ResolvedProjection(params.projection, params.window_fov, params.poles)


def _enlarged_lengths(
    width: int, height: int, window_px: int, upscale: int | None
) -> tuple[int, int, int]:
    """Of the picture that is projected: the panorama's, or those after `upscale`."""
    factor = upscale or 1
    return width * factor, height * factor, window_px * factor


def _fill(fields: type[Params], asked: Params, *defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A value for each of the fields: the one asked for, else that of the first defaults with one.

    `asked` may have more fields than these.
    """
    values = {}
    for name in fields.model_fields:
        candidates = (getattr(asked, name), *(one.get(name) for one in defaults))
        values[name] = next((value for value in candidates if value is not None), None)
    return values


def _resolve_sync(
    asked: PanoramaParams,
    steps: int,
    scheduler: SchedulerName,
    size: PanoramaSize,
    traits: CheckpointTraits,
) -> ResolvedSync:
    sync = asked.sync
    if sync.steps is not None and sync.steps > steps:
        raise InvalidParams(
            "sync.steps",
            f"{sync.steps} is more than the {steps} steps of the panorama",
            f"0 to {steps}",
        )
    if sync.decoder == "tiny" and not traits.tiny_decoder:
        raise InvalidParams("sync.decoder", "this checkpoint has no tiny decoder", "'full'")
    own = traits.sync.get(asked.preset, SyncDefaults()).model_dump(exclude_none=True)
    defaults = {**PRESETS[asked.preset]["sync"], **own}
    is_distilled = scheduler == "lcm" or traits.defaults.steps is not None
    if is_distilled:
        defaults["tuned_steps"] = max(steps, FEW_STEPS_MOVES.get(asked.preset, steps))
    elif steps <= DRAFT_STEPS:
        defaults.pop("tuned_steps", None)
    of_steps = {"steps": math.ceil(SYNC_SHARES[asked.preset] * steps), "tuned_steps": steps}
    values = _fill(SyncParams, sync, defaults, of_steps)
    values["anchor"] = _resolve_anchor(sync.anchor, size.columns, size.rows)
    if not traits.tiny_decoder:
        values["decoder"] = "full"
    return ResolvedSync(**values)


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
