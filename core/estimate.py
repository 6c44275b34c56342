"""What a panorama costs, before it is made: its work, and the seconds of a machine. Torch-free.

Work is counted in calls of the networks for one window. What a call takes on a machine is measured
by its worker (`SpeedMeter`), from the steps that it makes anyway.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.conditions import ResolvedRegion, fade_length
from panoweave.core.families import reads_negative_prompt
from panoweave.core.params import ResolvedParams, ResolvedSync
from panoweave.core.sync_moves import moves_at
from panoweave.core.upscale import enlarged
from panoweave.core.window_places import Places, anchor_place, places_at

# Gradients that take about as long: by their decoder, and by whether they go through the network.
GradientKind = Literal["full", "tiny", "gaussian_full", "gaussian_tiny"]

# Until a machine has measured it: a gradient and the prediction that it begins with, in predictions
# (docs/benchmarks.md).
_GRADIENT_COST: Final[dict[GradientKind, float]] = {
    "full": 6.0,
    "tiny": 3.0,
    "gaussian_full": 5.0,
    "gaussian_tiny": 2.5,
}
_FINISH_COST: Final = 1.0  # decoding and measuring the area of one window
_CONTROL_COST: Final = 1.5  # network and ControlNet
_GUIDE_COST: Final = 3.0  # `extend`: a prediction with its gradient, without a decoder
_UPSCALED_AREA: Final = 1.5  # with `upscale`: the large picture is encoded, and decoded
_UNGUIDED_COST: Final = 0.5  # the prompt alone, without the negative prompt

_AVERAGED: Final = 50  # measurements that a running average remembers


@dataclass(frozen=True)
class StepWork:
    """The calls of one step, for one window each."""

    windows: int
    predictions: float  # with a negative prompt; those of other kinds count as more or less
    gradients: float


@dataclass(frozen=True)
class Work:
    """All that one panorama takes."""

    most_windows: int  # of a step
    predictions: float
    gradients: float
    gradient_kind: GradientKind
    area: float  # in windows


class Speeds(BaseModel):
    """Seconds of one machine, averages of what was measured. None: not measured yet."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prediction_s: float | None = Field(None, ge=0)
    gradient_full_s: float | None = Field(None, ge=0)
    gradient_tiny_s: float | None = Field(None, ge=0)
    gradient_gaussian_full_s: float | None = Field(None, ge=0)
    gradient_gaussian_tiny_s: float | None = Field(None, ge=0)
    finish_s: float | None = Field(None, ge=0, description="Of the area of one window.")

    def predict(self, work: Work) -> float | None:
        """The seconds that the work takes; None before anything was measured."""
        prediction_s = self.of_prediction()
        if prediction_s is None:
            return None
        finish_s = _FINISH_COST * prediction_s if self.finish_s is None else self.finish_s
        return (
            work.predictions * prediction_s
            + work.gradients * self.of_gradient(work.gradient_kind, prediction_s)
            + work.area * finish_s
        )

    def of_prediction(self) -> float | None:
        """Of one window; deduced from a gradient where there was no step without one."""
        if self.prediction_s is not None:
            return self.prediction_s
        for kind, cost in _GRADIENT_COST.items():
            measured = self._measured(kind)
            if measured is not None:
                return measured / cost
        return None

    def of_gradient(self, kind: GradientKind, prediction_s: float) -> float:
        measured = self._measured(kind)
        return _GRADIENT_COST[kind] * prediction_s if measured is None else measured

    def _measured(self, kind: GradientKind) -> float | None:
        measured: float | None = getattr(self, f"gradient_{kind}_s")
        return measured


def gradient_kind(sync: ResolvedSync) -> GradientKind:
    if sync.gradient != "gaussian":
        return sync.decoder
    return "gaussian_full" if sync.decoder == "full" else "gaussian_tiny"


def estimate_work(params: ResolvedParams, traits: CheckpointTraits) -> Work:
    steps = list(_steps(params, traits))
    if params.upscale:
        steps += [
            step_work(step, params, traits) for step in range(params.steps, params.total_steps)
        ]
    return Work(
        most_windows=max(step.windows for step in steps),
        predictions=sum(step.predictions for step in steps),
        gradients=sum(step.gradients for step in steps),
        gradient_kind=gradient_kind(params.sync),
        area=finish_area(params, traits),
    )


def finish_area(params: ResolvedParams, traits: CheckpointTraits) -> float:
    """The area that is decoded and measured, in windows."""
    area = params.width * params.height / traits.window_px**2
    if params.upscale is None:
        return area
    return area * (1 + _UPSCALED_AREA * params.upscale**2)


def _steps(params: ResolvedParams, traits: CheckpointTraits) -> Iterator[StepWork]:
    if params.windows == "overlapping":  # the same windows at each step
        places = places_at(0, params, traits)
        for step in range(params.steps):
            yield _work_at(step, params, traits, places)
    else:
        for step in range(params.steps):
            yield step_work(step, params, traits)


def step_work(step: int, params: ResolvedParams, traits: CheckpointTraits) -> StepWork:
    """The work of one step (from 0); those of `upscale` come last."""
    if follows_parts := step >= params.steps:
        step, params = step - params.steps, enlarged(params, traits)
    return _work_at(step, params, traits, places_at(step, params, traits), follows_parts)


def _work_at(
    step: int,
    params: ResolvedParams,
    traits: CheckpointTraits,
    places: Places,
    follows_parts: bool = False,
) -> StepWork:
    """`follows_parts`: each window follows a part of the first stage's panorama."""
    sync, windows = params.sync, len(places)
    follows_image = params.anchor_image is not None or params.extend is not None
    has_anchor = not (follows_parts or follows_image) and anchor_place(params, traits) in places
    moves = moves_at(step, params.steps, sync)
    gradients = (windows - has_anchor) * moves
    if not gradients:
        predictions: float = windows
    elif sync.reuse_prediction:  # the gradients bring those of the others
        predictions = 0 if follows_parts else 1
    else:
        predictions = windows + (0 if follows_parts or has_anchor else 1)
    predictions += sum(_touched(region, params, traits, places) for region in params.regions)
    if params.extend:
        guidance = max(1, moves)  # times
        predictions += guidance * _GUIDE_COST * _around_extended(params, traits, places)
    is_guided = reads_negative_prompt(traits) and params.guidance_scale != 1
    factor = 1.0 if is_guided else _UNGUIDED_COST
    if params.control:
        factor *= _CONTROL_COST
    return StepWork(windows, predictions * factor, gradients * factor)


def _touched(
    region: ResolvedRegion, params: ResolvedParams, traits: CheckpointTraits, places: Places
) -> int:
    """How many windows show a part of a region, at most."""
    if region.x is None or region.width is None or region.height is None:
        return len(places)  # a mask may be anywhere
    width, height = (
        length + math.ceil(2 * fade_length(length, traits.window_px))
        for length in (region.width, region.height)
    )
    across = _reached(width, params.width, len(places.lefts), traits)
    return across * _reached(height, params.height, len(places.tops), traits)


def _around_extended(params: ResolvedParams, traits: CheckpointTraits, places: Places) -> int:
    """How many windows show the edge of the picture that is extended, at most.

    Its size is not known before it is read; both of its sides are within reach of so many windows.
    """
    across = _reached(0, params.width, len(places.lefts), traits)
    return min(len(places), 2 * across * len(places.tops))


def _reached(length: int, side: int, count: int, traits: CheckpointTraits) -> int:
    """How many of `count` windows along a side overlap a length of it, at most."""
    apart = side / count
    return min(count, int((length + traits.window_px) / apart) + 1)


class SpeedMeter:
    """Averages what one machine's steps take.

    The first measurement of each kind stands until there is a second, and counts no more then: the
    first decoding and measuring is slower than all that follow, and the first gradient may be
    measured before a prediction is.
    """

    def __init__(self) -> None:
        self.speeds = Speeds()
        self._counts: dict[str, int] = {}

    def note_step(self, work: StepWork, kind: GradientKind, seconds: float) -> None:
        """A step that took so long; `kind`: of its gradients, if it has any."""
        if not work.gradients:
            self._note("prediction_s", seconds / work.predictions)
            return
        cost = _GRADIENT_COST[kind]
        prediction_s = self.speeds.prediction_s
        if prediction_s is None:
            prediction_s = seconds / (work.predictions + cost * work.gradients)
        # No gradient is cheaper than the prediction that it begins with.
        gradient_s = (seconds - prediction_s * work.predictions) / work.gradients
        self._note(f"gradient_{kind}_s", max(gradient_s, prediction_s))

    def note_finish(self, area: float, seconds: float) -> None:
        """Decoding and measuring a picture of this area, in windows."""
        self._note("finish_s", seconds / area)

    def _note(self, name: str, seconds: float) -> None:
        count = self._counts[name] = min(self._counts.get(name, -1) + 1, _AVERAGED)
        average: float = getattr(self.speeds, name) or 0.0
        average += (seconds - average) / max(1, count)
        self.speeds = self.speeds.model_copy(update={name: average})
