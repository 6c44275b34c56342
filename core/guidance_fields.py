"""What a checkpoint's guidance allows a request to ask for. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.families import family_named, reads_negative_prompt


def check_guidance(
    scale: float, negative_prompts: Mapping[str, str], traits: CheckpointTraits
) -> None:
    """`negative_prompts`: by field."""
    if scale != 1 and not traits.guidance:
        raise InvalidParams("guidance_scale", "this checkpoint was made for no guidance", "1")
    if reads_negative_prompt(traits):
        return
    family = family_named(traits.family)
    for field, text in negative_prompts.items():
        if text:
            whose = "this checkpoint" if family.reads_negative_prompt else family.title
            raise InvalidParams(field, f"{whose} reads no negative prompt", "an empty text")


def resolve_perturbed_attention(
    asked: bool | None, scale_asked: float | None, traits: CheckpointTraits
) -> bool:
    """The request's, else the checkpoint's; refused where nothing would be perturbed.

    The checkpoint's belongs to its own guidance scale: a request with another has neither.
    """
    scale = traits.defaults.guidance_scale if scale_asked is None else scale_asked
    family = family_named(traits.family)
    if not family.takes_perturbed_attention:
        problem, legal = f"{family.title} has no UNet", "false"
    elif not reads_negative_prompt(traits):
        problem, legal = "this checkpoint predicts nothing without the prompt", "false"
    elif scale == 1:
        problem, legal = "without guidance it does nothing", "false, or a guidance_scale above 1"
    elif asked is None:
        return traits.defaults.perturbed_attention and scale_asked is None
    else:
        return asked
    if asked:
        raise InvalidParams("perturbed_attention", problem, legal)
    return False
