"""The JSON of answers about models, workers and the service itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.infra.stored import KeepUnknown
from panoweave.core.jobs.models import StoredPerceptualName, StoredWorkerState, WorkerState
from panoweave.core.jobs.times import Timestamp
from panoweave.core.presets import Decoder, PresetName, SchedulerName
from panoweave.service.view import View


class ModelSizes(View):
    """Pixels. A side is `window_px` plus a whole number of strides."""

    window_px: int = Field(description="The side of a window, and the least side of a panorama.")
    stride_multiple_px: int = Field(description="A stride is a multiple of it.")
    default_width: int | None = Field(description="Null: the default panorama is above a limit.")
    default_height: int | None
    default_stride: int | None
    max_pixels: int = Field(description="width x height, at most.")


class ModelSteps(View):
    default: int | None = Field(
        description="With the default preset. Null: its panorama is above a limit."
    )
    max: int


class ModelPreset(View):
    """What a preset fills in for this model."""

    name: PresetName
    default: bool
    steps: int
    scheduler: SchedulerName
    guidance_scale: float
    decoder: Decoder = Field(description="As `sync.decoder`.")


ModelFeature = Literal[
    "control", "tiny_decoder", "negative_prompt", "guidance_scale", "perturbed_attention"
]


class ModelView(View):
    model: str
    default: bool = Field(description="Whether it makes panoramas whose request names no model.")
    state: Annotated[Literal[WorkerState, "offline"], KeepUnknown()] = Field(
        description="The best state among its workers; `offline`: it has none now, and panoramas "
        "wait for one."
    )
    detail: str = Field(description="Why its worker failed, or why its files cannot be read.")
    traits: CheckpointTraits | None = Field(
        description="From a worker that has loaded it once, else from the model's own files. Null: "
        "from neither, and requests that name it get 503 `model_not_ready`."
    )
    sizes: ModelSizes | None
    steps: ModelSteps | None
    presets: list[ModelPreset] = Field(
        description="Without those whose default size or steps are above a limit."
    )
    schedulers: list[SchedulerName]
    features: list[ModelFeature] = Field(
        description="What not every model can: `control`, `negative_prompt`, `guidance_scale` "
        "other than 1, `perturbed_attention`, and `tiny_decoder`, which is `sync.decoder` `tiny`."
    )
    perceptual: StoredPerceptualName | None = Field(
        description="The network that compares windows; null until a worker has loaded the model."
    )
    workers: int = Field(description="How many workers hold the model now.")
    updated_at: Timestamp | None = Field(
        description="When a worker last reported it; null if none ever did."
    )


class ModelList(View):
    items: list[ModelView]


class WorkerView(View):
    name: str
    model: str
    state: StoredWorkerState
    detail: str


class UnservedView(View):
    model: str
    queued: int = Field(description="Queued panoramas of all tenants.")


class StatusView(View):
    queued: int = Field(description="Queued panoramas of all tenants.")
    running: int = Field(description="Running panoramas of all tenants.")
    workers: list[WorkerView] = Field(description="Live workers.")
    models: list[ModelView]
    unserved: list[UnservedView] = Field(
        description="Models that panoramas wait for and no live worker holds."
    )
    s3: Literal["ok", "away"] = Field(
        description="Whether the bucket can be used. `away` is also a server that refuses."
    )
    s3_detail: str = Field(description="Of a server that refuses: what to correct, where known.")


class ScalingView(View):
    model: str
    queued: int = Field(description="Queued panoramas of the model, of all tenants.")
    running: int = Field(description="Running panoramas of the model, of all tenants.")
    gpu_s: float = Field(
        description="Estimated seconds of one worker that the queued panoramas, and the rest of "
        "the running ones, take."
    )
    unestimated: int = Field(
        description="Panoramas that `gpu_s` leaves out: nothing was measured yet to estimate from."
    )
    workers: int = Field(description="Live workers that hold the model or are loading it.")
    workers_wanted: int = Field(
        description="As many as `gpu_s` needs at `seconds_per_worker`, and one for each of "
        "`unestimated`. At most as many as there are panoramas, at least as many as run. 1 without "
        "panoramas for some minutes after a request was refused with `model_not_ready`, since "
        "nothing is queued then."
    )


class Health(View):
    status: Literal["alive", "ready"]
