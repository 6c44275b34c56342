"""Guidance: what it gives, and the gradient through it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.diffusion.guidance import ClassifierFreeGuidance, Network
from panoweave.core.diffusion.prompts import PromptEmbeddings, TextEmbedding
from panoweave.core.diffusion.schedulers import Step
from panoweave.core.diffusion.views import View
from panoweave.core.params import PanoramaParams, ResolvedSync, SyncParams
from panoweave.core.presets import Gradient, PresetName

TRAITS = CheckpointTraits(window_px=128, px_per_latent=8, tiny_decoder=True)
STEP = Step(0, torch.tensor(1.0), torch.tensor(0.5))
VIEWS = [View(0, 0), View(0, 1), View(0, 2)]


class Squares(Network):
    """Latents, and their squares times the text."""

    embeds_guidance = False

    def __init__(self, embeds_guidance: bool = False) -> None:
        self.embeds_guidance = embeds_guidance
        self.batches: list[int] = []

    def __call__(
        self, latents: Tensor, _step: Step, views: Sequence[View], text: TextEmbedding
    ) -> Tensor:
        assert len(latents) == len(views) == len(text.tokens)
        self.batches.append(len(latents))
        return latents + text.tokens[:, :1, :1, None] * latents.square()


def text(value: float) -> TextEmbedding:
    return TextEmbedding(torch.full((1, 2, 1), value, dtype=torch.float64))


def windows() -> Tensor:
    return torch.linspace(-1, 1, 3 * 2 * 2, dtype=torch.float64).view(3, 1, 2, 2).requires_grad_()


def test_the_gradient_is_that_of_the_conditional_half() -> None:
    network, x = Squares(), windows()
    guided = ClassifierFreeGuidance(network, PromptEmbeddings(text(3), text(2)), 7.5)
    output = guided.through_conditional(x, STEP, VIEWS)
    (gradient,) = torch.autograd.grad(output.sum(), x)
    torch.testing.assert_close(output, guided(x, STEP, VIEWS))
    torch.testing.assert_close(gradient, 1 + 2 * 3 * x.detach())
    assert network.batches == [3, 3, 6]


@pytest.mark.parametrize(("scale", "embeds"), [(1.0, False), (7.5, True)])
def test_without_a_second_half_nothing_changes(scale: float, embeds: bool) -> None:
    network, x = Squares(embeds), windows()
    guided = ClassifierFreeGuidance(network, PromptEmbeddings(text(3), None), scale)
    assert torch.equal(guided.through_conditional(x, STEP, VIEWS), guided(x, STEP, VIEWS))
    assert network.batches == [3, 3]


@pytest.mark.parametrize(
    ("preset", "asked", "expected"),
    [
        ("paper", None, "guided"),
        ("balanced", None, "gaussian"),
        ("fast", None, "gaussian"),
        ("fast", "guided", "guided"),
        ("balanced", "conditional", "conditional"),
        ("paper", "gaussian", "gaussian"),
    ],
)
def test_presets_choose_it(preset: PresetName, asked: Gradient | None, expected: Gradient) -> None:
    params = PanoramaParams(prompt="a lake", preset=preset, sync=SyncParams(gradient=asked))
    assert params.resolve(TRAITS).sync.gradient == expected


def test_a_job_that_was_accepted_before_keeps_both_halves() -> None:
    resolved = PanoramaParams(prompt="a lake").resolve(TRAITS).sync
    stored = {name: value for name, value in resolved.model_dump().items() if name != "gradient"}
    earlier = ResolvedSync.model_validate(stored)
    assert earlier.gradient is None
    assert earlier.model_dump() == stored
