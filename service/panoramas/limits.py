"""The operator's limits on one panorama: what it may cost."""

from __future__ import annotations

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.estimate import Speeds, estimate_work
from panoweave.core.infra.settings import Settings
from panoweave.core.params import PanoramaParams, ResolvedParams


def check_limits(
    settings: Settings,
    asked: PanoramaParams,
    params: ResolvedParams,
    traits: CheckpointTraits,
    speeds: Speeds,
) -> float | None:
    """The seconds that it is estimated to take; None if nothing has been measured yet.

    Raises InvalidParams that names the limit, what was asked for, and what would be legal.
    """
    for width, height in ((params.width, params.height), params.picture_size(traits)):
        if width * height > settings.max_pixels:
            raise InvalidParams(
                "width",
                f"{width} x {height} is {width * height:,} pixels, more than this server makes "
                "(PANOWEAVE_MAX_PIXELS)",
                f"width x height up to {settings.max_pixels:,} pixels",
            )
    if params.steps > settings.max_steps:
        raise InvalidParams(
            "steps",
            f"{params.steps} are more than this server makes (PANOWEAVE_MAX_STEPS)",
            f"1 to {settings.max_steps}",
        )
    work = estimate_work(params, traits)
    if work.most_windows > settings.max_windows:
        raise InvalidParams(
            "stride",
            f"this size and stride need {work.most_windows:,} windows, more than this server makes "
            "(PANOWEAVE_MAX_WINDOWS)",
            f"up to {settings.max_windows:,} windows: a larger stride or a smaller picture",
        )
    estimate_s = speeds.predict(work)
    if estimate_s is not None and estimate_s > settings.max_estimated_s:
        raise InvalidParams(
            "steps",
            f"the panorama would take about {estimate_s:,.0f} s, more than the "
            f"{settings.max_estimated_s:,.0f} s that this server allows "
            "(PANOWEAVE_MAX_ESTIMATED_S)",
            _cheaper(settings, asked, params, traits, speeds),
        )
    return estimate_s


def _cheaper(
    settings: Settings,
    asked: PanoramaParams,
    params: ResolvedParams,
    traits: CheckpointTraits,
    speeds: Speeds,
) -> str:
    """Describe what would be accepted. Finds a number of steps by bisection.

    Not the first of a range: with `sync.tuned_steps`, fewer steps can take longer.
    """

    def is_legal(steps: int) -> bool:
        sync = asked.sync
        if sync.steps is not None and sync.steps > steps:
            sync = sync.model_copy(update={"steps": steps})
        changed = asked.model_copy(update={"steps": steps, "sync": sync}).resolve(traits)
        seconds = speeds.predict(estimate_work(changed, traits))
        return seconds is not None and seconds <= settings.max_estimated_s

    legal, illegal = 0, params.steps
    while illegal - legal > 1:
        middle = (legal + illegal) // 2
        if is_legal(middle):
            legal = middle
        else:
            illegal = middle
    others = "a smaller picture, a larger stride, or the preset 'fast'"
    return f"such as {legal} steps, or {others}" if legal else others
