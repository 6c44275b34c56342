"""What no text reaches in a UNet is computed once for both halves of the guidance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from panoweave.core.diffusion.guidance import ClassifierFreeGuidance, Model
from panoweave.core.diffusion.prompts import PromptEmbeddings
from panoweave.core.diffusion.shared_front import has_front
from panoweave.core.diffusion.unet import UNet
from tests.core.one_batch import LIKE_STABLE_DIFFUSION, SCALE, STEP, VIEWS, inputs, make

WITHOUT_TEXT_BEFORE_THE_MIDDLE = {
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
}
Make = Callable[..., UNet2DConditionModel]


def by_diffusers(unet: UNet2DConditionModel, x: Tensor, prompts: PromptEmbeddings) -> list[Tensor]:
    """The output under the negative prompt, and that under the prompt."""
    assert prompts.unconditional is not None
    texts = prompts.unconditional, prompts.conditional
    return [unet(x, STEP.t, text.repeated(len(x)).tokens, return_dict=False)[0] for text in texts]


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("changes", [{}, LIKE_STABLE_DIFFUSION, WITHOUT_TEXT_BEFORE_THE_MIDDLE])
def test_outputs_and_gradients_are_those_of_the_whole_network(
    changes: dict[str, Any], checkpointing: bool
) -> None:
    unet = make(**changes)
    if checkpointing:
        unet.enable_gradient_checkpointing()
    x, prompts = inputs()
    x.requires_grad_()
    unconditional, conditional = by_diffusers(unet, x, prompts)
    expected = unconditional + SCALE * (conditional - unconditional)
    gradients = [
        torch.autograd.grad(output.square().sum(), x, retain_graph=True)[0]
        for output in (expected, (conditional + (expected - conditional).detach()))
    ]
    assert has_front(unet, 8)
    guided = ClassifierFreeGuidance(UNet(unet, SCALE), prompts, SCALE)
    models: list[Model] = [guided, guided.through_conditional]
    for model, gradient in zip(models, gradients, strict=True):
        output = model(x, STEP, VIEWS)
        torch.testing.assert_close(output, expected)
        torch.testing.assert_close(torch.autograd.grad(output.square().sum(), x)[0], gradient)


@pytest.mark.parametrize("half", [False, True])
def test_the_front_sees_each_window_once(half: bool) -> None:
    unet = make()
    x, prompts = inputs()
    seen: dict[str, list[int]] = {"conv_in": [], "conv_out": []}
    for name, batches in seen.items():
        layer = getattr(unet, name)
        layer.register_forward_pre_hook(lambda _, given, to=batches: to.append(len(given[0])))
    guided = ClassifierFreeGuidance(UNet(unet, SCALE), prompts, SCALE)
    (guided.through_conditional if half else guided)(x, STEP, VIEWS)
    assert seen["conv_in"] == [3]
    assert sum(seen["conv_out"]) == 6


def test_where_there_is_no_such_front_the_network_computes_all() -> None:
    unet = make()
    x, prompts = inputs()
    x = x[..., :7, :7]  # sides that do not halve
    assert not has_front(unet, 7)
    unconditional, conditional = by_diffusers(unet, x, prompts)
    guided = ClassifierFreeGuidance(UNet(unet, SCALE), prompts, SCALE)(x, STEP, VIEWS)
    torch.testing.assert_close(guided, unconditional + SCALE * (conditional - unconditional))
    assert not has_front(make(time_cond_proj_dim=8), 8)
    assert not has_front(make(class_embed_type="timestep"), 8)
