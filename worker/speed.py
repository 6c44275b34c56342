"""Measures how fast this worker is, for the API's estimates."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from redis import Redis

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.estimate import (
    GradientKind,
    SpeedMeter,
    StepWork,
    estimate_work,
    finish_area,
    gradient_kind,
    step_work,
)
from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.jobs import speeds
from panoweave.core.params import ResolvedParams

log = logging.getLogger(__name__)

_PUBLISHED_EVERY_S = 2.0


class SpeedReporter:
    """Averages what steps take, and publishes the averages now and then."""

    def __init__(self, redis: Redis, model: str) -> None:
        self.meter = SpeedMeter()
        self._redis = redis
        self._model = model
        self._published_at = 0.0
        self._met: set[tuple[int, GradientKind | None]] = set()

    def note_kind(self, work: StepWork, gradients: GradientKind) -> bool:
        """Note that there is a step of this kind; return whether this process had one before.

        In the first one kernels are chosen and compiled, for its number of windows: it takes
        longer than all that follow.
        """
        kind = work.windows, gradients if work.gradients else None
        is_known = kind in self._met
        self._met.add(kind)
        return is_known

    def publish(self) -> None:
        self._published_at = time.monotonic()
        try:
            speeds.publish(self._redis, self._model, self.meter.speeds)
        except StoreUnavailable:
            log.debug("Redis is away; the speeds are published later")

    def publish_sometimes(self) -> None:
        if time.monotonic() - self._published_at > _PUBLISHED_EVERY_S:
            self.publish()

    def batch_s(
        self, params: ResolvedParams, traits: CheckpointTraits, window_batch: int
    ) -> float | None:
        """What the slowest batch of a panorama should take; None before anything was measured."""
        known, sync = self.meter.speeds, params.sync
        prediction_s = known.of_prediction()
        if prediction_s is None:
            return None
        windows = min(window_batch, estimate_work(params, traits).most_windows)
        if sync.weight and sync.steps:
            return windows * known.of_gradient(gradient_kind(sync), prediction_s)
        return windows * prediction_s


class StepClock:
    """Takes the times of one panorama's steps."""

    def __init__(
        self, reporter: SpeedReporter, params: ResolvedParams, traits: CheckpointTraits
    ) -> None:
        self._reporter = reporter
        self._params = params
        self._traits = traits
        self._last: float | None = None  # the time before the first step includes loading

    def step_ended(self, step: int) -> None:
        """`step`: from 1."""
        now = time.monotonic()
        is_after_pause = step == self._params.steps + 1  # of `upscale`: a picture was decoded
        work, kind = (
            step_work(step - 1, self._params, self._traits),
            gradient_kind(self._params.sync),
        )
        is_warm = self._reporter.note_kind(work, kind)
        if is_warm and self._last is not None and not is_after_pause:
            self._reporter.meter.note_step(work, kind, now - self._last)
            self._reporter.publish_sometimes()
        self._last = time.monotonic()

    def finished(self, timings_s: Mapping[str, float]) -> None:
        area = finish_area(self._params, self._traits)
        self._reporter.meter.note_finish(area, timings_s["decode"] + timings_s["measure"])
        self._reporter.publish()
