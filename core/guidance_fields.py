"""Which sampler and which guidance a request can have with a checkpoint. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.conditions import Region
from panoweave.core.families import family_named, reads_negative_prompt
from panoweave.core.presets import MAX_LCM_STEPS, SchedulerName


def check_scheduler(scheduler: SchedulerName, steps: int, traits: CheckpointTraits) -> None:
    family = family_named(traits.family)
    if scheduler not in family.schedulers:
        raise InvalidParams(
            "scheduler",
            f"{scheduler!r} is not for checkpoints of {family.title}",
            " or ".join(map(repr, family.schedulers)),
        )
    if scheduler == "lcm" and steps > MAX_LCM_STEPS:
        raise InvalidParams(
            "steps", f"{steps} are too many for the scheduler 'lcm'", f"1 to {MAX_LCM_STEPS}"
        )


def check_guidance(
    scale: float, negative_prompt: str, regions: Sequence[Region], traits: CheckpointTraits
) -> None:
    if scale != 1 and not traits.guidance:
        raise InvalidParams("guidance_scale", "this checkpoint was made for no guidance", "1")
    if reads_negative_prompt(traits):
        return
    fields = {"negative_prompt": negative_prompt}
    for number, region in enumerate(regions):
        fields[f"regions.{number}.negative_prompt"] = region.negative_prompt
    if field := next((name for name, text in fields.items() if text), None):
        family = family_named(traits.family)
        whose = "this checkpoint" if family.reads_negative_prompt else family.title
        raise InvalidParams(field, f"{whose} reads no negative prompt", "an empty text")


def resolve_perturbed_attention(
    asked: bool | None, scale_asked: float | None, traits: CheckpointTraits
) -> bool:
    """The request's value, else the checkpoint's. Raises InvalidParams.

    The checkpoint's value belongs to its own guidance scale, so a request with another scale has
    plain guidance.
    """
    scale = traits.defaults.guidance_scale if scale_asked is None else scale_asked
    if asked:
        check_perturbed_attention(scale, traits)
        return True
    is_open = asked is None and scale_asked is None
    is_default = is_open and traits.defaults.perturbed_attention
    return is_default and _why_not_perturbed(scale, traits) is None


def check_perturbed_attention(scale: float, traits: CheckpointTraits) -> None:
    """Refuse it where it would change nothing. Raises InvalidParams."""
    if why_not := _why_not_perturbed(scale, traits):
        raise InvalidParams("perturbed_attention", *why_not)


def _why_not_perturbed(scale: float, traits: CheckpointTraits) -> tuple[str, str] | None:
    """The problem, and what is legal; None: it can be."""
    family = family_named(traits.family)
    if not family.takes_perturbed_attention:
        return f"{family.title} has no UNet", "false"
    if not reads_negative_prompt(traits):
        return "this checkpoint predicts nothing without the prompt", "false"
    if scale == 1:
        return "without guidance it does nothing", "false, or a guidance_scale above 1"
    return None
