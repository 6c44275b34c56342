"""The model that the sampler calls: a network under prompts, with classifier-free guidance.

Wrapped from the inside out: a network (`unet.UNet`, or `controlnet.ControlNet` around one) takes a
text with each window; `ClassifierFreeGuidance` fixes the texts; `BatchedModel` takes any number of
windows; `regions.RegionalPrompts` blends several of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor

from panoweave.core.diffusion.prompts import PromptEmbeddings, TextEmbedding
from panoweave.core.diffusion.ranks import ONE_RANK, Ranks
from panoweave.core.diffusion.schedulers import Step
from panoweave.core.diffusion.views import View


class UnderTexts(Protocol):
    """The outputs of N windows under N texts, or under 2 N of them: the windows twice, in turn."""

    def __call__(self, texts: TextEmbedding, *, perturbed: bool = False) -> Tensor:
        """`perturbed`: whether they come from the network's `perturbed`."""
        ...


class Network(Protocol):
    """A denoising network of any kind."""

    @property
    def embeds_guidance(self) -> bool:
        """Whether the guidance scale is an input of the network (arXiv 2210.03142)."""
        ...

    @property
    def perturbed(self) -> Network:
        """The network with perturbed self-attention: `Family.takes_perturbed_attention`."""
        raise TypeError(f"{type(self).__name__} has no perturbed self-attention")

    def __call__(
        self, latents: Tensor, step: Step, views: Sequence[View], text: TextEmbedding, /
    ) -> Tensor:
        """The output (N, C, S, S) for windows at these views, each with its own text.

        In the dtype of the latents (float32), whatever the network computes in. Differentiable
        with respect to `latents`.
        """
        ...

    def begin(self, latents: Tensor, step: Step, views: Sequence[View]) -> UnderTexts:
        """The same for several texts: what depends on none is computed once, if a network can."""

        def outputs(texts: TextEmbedding, *, perturbed: bool = False) -> Tensor:
            network = self.perturbed if perturbed else self
            times = len(texts.tokens) // len(latents)
            return network(torch.cat([latents] * times), step, [*views] * times, texts)

        return outputs


# model(latents, step, views) -> output, all (N, C, S, S): epsilon, velocity or sample.
Model = Callable[[Tensor, Step, Sequence[View]], Tensor]


class ClassifierFreeGuidance:
    """A network under a prompt and a negative prompt: eps_u + g (eps_c - eps_u).

    arXiv 2207.12598, Eq. 6; for a v-prediction model with the velocity in place of epsilon. A
    network that embeds the guidance scale is called with the prompt alone.

    With `perturbed`, eps_u comes from the network's `perturbed`. Guidance then leads towards the
    prompt and towards structure (arXiv 2403.17377), with as many evaluations.
    """

    def __init__(
        self,
        network: Network,
        prompts: PromptEmbeddings,
        scale: float,
        *,
        perturbed: bool = False,
    ) -> None:
        self._network = network
        self._prompts = prompts
        self._scale = scale
        self._perturbed = perturbed

    def __call__(self, latents: Tensor, step: Step, views: Sequence[View]) -> Tensor:
        conditional = self._prompts.conditional.repeated(len(latents))
        unconditional = self._unconditional(len(latents))
        if unconditional is None:
            return self._network(latents, step, views, conditional)
        under = self._network.begin(latents, step, views)
        if self._perturbed:
            return self._guide(under(unconditional, perturbed=True), under(conditional))
        return self._guide(*under(unconditional.beside(conditional)).chunk(2))

    def through_conditional(self, latents: Tensor, step: Step, views: Sequence[View]) -> Tensor:
        """The same output, but for rounding, with a gradient through the conditional half only.

        The halves' Jacobians, J_u and J_c, are nearly the same, and their factors 1 - g and g add
        up to 1. So J_c alone stands for both, at half the work and half the memory.
        """
        under = self._network.begin(latents, step, views)
        output = under(self._prompts.conditional.repeated(len(latents)))
        unconditional = self._unconditional(len(latents))
        if unconditional is None:
            return output
        with torch.no_grad():
            guided = self._guide(under(unconditional, perturbed=self._perturbed), output)
        return guided + (output - output.detach())  # plus 0, which has the gradient

    def _unconditional(self, count: int) -> TextEmbedding | None:
        if self._scale == 1 or self._network.embeds_guidance:
            return None
        assert self._prompts.unconditional is not None
        return self._prompts.unconditional.repeated(count)

    def _guide(self, unconditional_output: Tensor, conditional_output: Tensor) -> Tensor:
        return unconditional_output + self._scale * (conditional_output - unconditional_output)


class BatchedModel:
    """A model that takes any number of windows and sees `size` of them at once.

    Ranks, if there are several, compute the batches side by side.
    """

    def __init__(
        self,
        model: Model,
        size: int,
        on_batch: Callable[[], None] | None = None,
        ranks: Ranks = ONE_RANK,
    ) -> None:
        """`on_batch` is called before each batch of `split`; its exceptions stop the work."""
        if size < 1:
            raise ValueError(f"window_batch is {size}; legal: 1 or more")
        self._model = model
        self._size = size
        self._on_batch = on_batch
        self._ranks = ranks

    @property
    def size(self) -> int:
        """How many windows it sees at once, at most."""
        return self._size

    def split(self, indices: Sequence[int]) -> Iterator[Sequence[int]]:
        """Numbers of windows, batch by batch: those that this rank computes. `share` follows."""
        for batch in self._ranks.mine(self._batches(indices)):
            if self._on_batch:
                self._on_batch()
            yield batch

    def share(self, indices: Sequence[int], windows: Tensor) -> None:
        """After the batches of `split`: get the windows (N, C, S, S) of other ranks' batches."""
        self._ranks.share(self._batches(indices), windows)

    def share_predictions(
        self,
        indices: Sequence[int],
        views: Sequence[View],
        windows: Tensor,
        predictions: dict[View, Tensor],
    ) -> None:
        """As `share`, for the model's outputs for these windows, by view."""
        if self._ranks.size == 1:
            return
        rows = torch.empty_like(windows)
        for index in indices:
            if views[index] in predictions:
                rows[index] = predictions[views[index]]
        self.share(indices, rows)
        predictions.update({views[index]: rows[index] for index in indices})

    def _batches(self, indices: Sequence[int]) -> list[Sequence[int]]:
        """Of all ranks: as few batches as possible, of equal size, equally many for each rank.

        Where that cannot be, the first ones are larger by one. 21 windows, eight at once, are
        three batches of 7: on a GPU a rest of 5 takes nearly as long as 8.
        """
        batches = self._ranks.rounded_up(-(-len(indices) // self._size), len(indices))
        found, start = [], 0
        for left in range(batches, 0, -1):
            end = start - (start - len(indices)) // left
            found.append(indices[start:end])
            start = end
        return found

    def predict_everywhere(self, latents: Tensor, step: Step, views: Sequence[View]) -> Tensor:
        """As `predict_batch`, for a batch that each rank computes for itself."""
        if self._on_batch:
            self._on_batch()
        return self.predict_batch(latents, step, views)

    def predict_batch(self, latents: Tensor, step: Step, views: Sequence[View]) -> Tensor:
        """The model's output for the windows (N, C, S, S) of one batch; differentiable."""
        return self._model(latents, step, views)

    def __call__(
        self,
        latents: Tensor,
        step: Step,
        views: Sequence[View],
        cached_predictions: Mapping[View, Tensor] = MappingProxyType({}),
    ) -> Tensor:
        """The model's output for windows (N, C, S, S); what is cached is not predicted again."""
        outputs = torch.empty_like(latents)
        missing = []
        for index, view in enumerate(views):
            if view in cached_predictions:
                outputs[index] = cached_predictions[view]
            else:
                missing.append(index)
        for batch in self.split(missing):
            predicted = self.predict_batch(take(latents, batch), step, [views[i] for i in batch])
            for index, output in zip(batch, predicted, strict=True):
                outputs[index] = output
        self.share(missing, outputs)
        return outputs


def take(windows: Tensor, indices: Sequence[int]) -> Tensor:
    """These windows (N, C, S, S), copied. Indexing with a list makes the host wait for a GPU."""
    return torch.stack([windows[index] for index in indices])
