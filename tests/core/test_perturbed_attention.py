"""Guidance away from a UNet without self-attention."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor

from panoweave.core.checkpoint import (
    CheckpointDefaults,
    CheckpointNotes,
    CheckpointTraits,
    InvalidParams,
)
from panoweave.core.diffusion.guidance import ClassifierFreeGuidance, Model
from panoweave.core.diffusion.perturbed_attention import with_perturbed_attention
from panoweave.core.diffusion.prompts import TextEmbedding
from panoweave.core.diffusion.unet import UNet
from panoweave.core.params import PanoramaParams, ResolvedParams
from tests.core.one_batch import LIKE_STABLE_DIFFUSION, SCALE, STEP, VIEWS, inputs, make

LIKE_STABLE_DIFFUSION_XL = {
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
}
# UNets, and where their self-attention is perturbed.
UNETS: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, ""),
    ({"center_input_sample": True}, ""),  # no shared front
    ({"mid_block_type": None}, ""),
    (LIKE_STABLE_DIFFUSION, "mid_block"),
    (LIKE_STABLE_DIFFUSION_XL, "mid_block"),  # though other blocks attend at its resolution
)


def without_maps(unet: UNet2DConditionModel, where: str, x: Tensor, text: TextEmbedding) -> Tensor:
    """By diffusers, with a mask that forbids other places, in the parts of this name."""
    kept = []
    for name, module in unet.named_modules():
        if isinstance(module, BasicTransformerBlock) and name.startswith(where):
            own = module.attn1.forward

            def only_itself(hidden: Tensor, *_: Any, own: Any = own, **__: Any) -> Tensor:
                places = hidden.shape[1]
                mask = torch.full((places, places), -torch.inf, dtype=hidden.dtype)
                mask = mask.fill_diagonal_(0).expand(len(hidden), -1, -1)
                output: Tensor = own(hidden, attention_mask=mask)
                return output

            kept.append((module.attn1, own))
            module.attn1.forward = only_itself
    try:
        output: Tensor = unet(x, STEP.t, text.repeated(len(x)).tokens, return_dict=False)[0]
        return output
    finally:
        for attention, own in kept:
            attention.forward = own


@pytest.mark.parametrize(("changes", "where"), UNETS)
def test_each_place_attends_to_itself_alone(changes: dict[str, Any], where: str) -> None:
    unet, (x, prompts) = make(**changes), inputs()
    texts = prompts.conditional.repeated(len(x)).tokens
    before = unet(x, STEP.t, texts).sample
    perturbed = with_perturbed_attention(unet)
    found = perturbed(x, STEP.t, texts).sample
    torch.testing.assert_close(found, without_maps(unet, where, x, prompts.conditional))
    assert (found - before).abs().mean() > 1e-3
    assert torch.equal(unet(x, STEP.t, texts).sample, before)


def test_both_share_their_weights() -> None:
    unet = make()
    perturbed = with_perturbed_attention(unet)
    ours, theirs = unet.state_dict(), perturbed.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(ours[name].data_ptr() == theirs[name].data_ptr() for name in ours)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("changes", "where"), UNETS)
def test_guidance_leads_away_from_it(
    changes: dict[str, Any], where: str, checkpointing: bool
) -> None:
    unet, (x, prompts) = make(**changes), inputs()
    x.requires_grad_()
    assert prompts.unconditional is not None
    weak = without_maps(unet, where, x, prompts.unconditional)
    strong = unet(x, STEP.t, prompts.conditional.repeated(3).tokens).sample
    expected = weak + SCALE * (strong - weak)
    alone = strong + (expected - strong).detach()
    if checkpointing:
        unet.enable_gradient_checkpointing()
    guided = ClassifierFreeGuidance(UNet(unet, SCALE), prompts, SCALE, perturbed=True)
    models: list[tuple[Model, Tensor]] = [
        (guided, expected),
        (guided.through_conditional, alone),
    ]
    for model, right in models:
        output = model(x, STEP, VIEWS)
        torch.testing.assert_close(output, expected)
        (gradient,) = torch.autograd.grad(output.square().sum(), x)
        (rightly,) = torch.autograd.grad(right.square().sum(), x, retain_graph=True)
        torch.testing.assert_close(gradient, rightly)


TRAITS = CheckpointTraits(window_px=128, px_per_latent=8)


def of_checkpoint(**changes: Any) -> CheckpointTraits:
    defaults = CheckpointDefaults(guidance_scale=2, perturbed_attention=True)
    return TRAITS.model_copy(update={"defaults": defaults, **changes})


def resolved(traits: CheckpointTraits, **asked: Any) -> ResolvedParams:
    return PanoramaParams(prompt="a lake", **asked).resolve(traits)


@pytest.mark.parametrize(
    ("traits", "asked", "expected"),
    [
        (TRAITS, {}, False),
        (TRAITS, {"perturbed_attention": True}, True),
        (of_checkpoint(), {}, True),
        (of_checkpoint(), {"perturbed_attention": False}, False),
        (of_checkpoint(), {"guidance_scale": 1}, False),
        (of_checkpoint(), {"guidance_scale": 3}, False),  # the default belongs to the scale of 2
        (of_checkpoint(), {"guidance_scale": 3, "perturbed_attention": True}, True),
        (of_checkpoint(negative_prompt=False), {}, False),
    ],
)
def test_the_checkpoint_chooses_it(
    traits: CheckpointTraits, asked: dict[str, Any], expected: bool
) -> None:
    assert resolved(traits, **asked).perturbed_attention is expected


@pytest.mark.parametrize(
    ("changes", "asked", "legal"),
    [
        ({"family": "flux"}, {}, "false"),
        ({"negative_prompt": False}, {}, "false"),
        ({}, {"guidance_scale": 1}, "false, or a guidance_scale above 1"),
    ],
)
def test_where_it_would_do_nothing_it_is_refused(
    changes: dict[str, Any], asked: dict[str, Any], legal: str
) -> None:
    schedulers = {"scheduler": "euler"} if changes.get("family") else {}
    traits = TRAITS.model_copy(update=changes)
    with pytest.raises(InvalidParams) as refusal:
        resolved(traits, perturbed_attention=True, **asked, **schedulers)
    assert refusal.value.field == "perturbed_attention"
    assert refusal.value.legal == legal


def test_requests_and_jobs_from_before_are_stored_as_before() -> None:
    assert "perturbed_attention" not in PanoramaParams(prompt="a lake").model_dump()
    assert "perturbed_attention" not in CheckpointDefaults().model_dump()
    earlier = resolved(of_checkpoint()).model_dump()
    del earlier["perturbed_attention"]
    assert ResolvedParams.model_validate(earlier).model_dump() == earlier


@pytest.mark.parametrize("asked", [False, True])
def test_what_was_resolved_asks_for_the_same_again(asked: bool) -> None:
    """Of a checkpoint that has it by default: the parameters of an answer, and those of a job."""
    stored = resolved(of_checkpoint(), perturbed_attention=asked).model_dump_json()
    for kind in (PanoramaParams, ResolvedParams):
        again = kind.model_validate_json(stored).resolve(of_checkpoint())
        assert again.model_dump_json() == stored


def test_a_checkpoint_says_it_in_its_notes() -> None:
    notes = CheckpointNotes.model_validate_json('{"perturbed_attention": true}')
    assert notes.defaults.perturbed_attention
