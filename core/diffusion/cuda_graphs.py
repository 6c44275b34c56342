"""What a step does on a GPU, recorded as CUDA graphs and replayed.

A small network, or a few windows, take less time on a GPU than Python needs to start their
kernels. A graph starts all kernels of a batch at once. It computes the same bits: the kernels are
those that were recorded.

A recording reads its inputs where they were when it was made. So what differs between two calls is
copied there first: latents, timesteps, prompts. All else stays where it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor

from panoweave.core.diffusion.appearance import Appearance
from panoweave.core.diffusion.gradients import GradientOf
from panoweave.core.diffusion.guidance import Model
from panoweave.core.diffusion.perceptual import Embedding
from panoweave.core.diffusion.prompts import PromptEmbeddings, TextEmbedding
from panoweave.core.diffusion.schedulers import SchedulerAdapter, Step
from panoweave.core.diffusion.views import View
from panoweave.core.params import ResolvedParams

Function = Callable[[Sequence[Tensor]], Sequence[Tensor]]

_MOST: Final = 24  # recordings that are kept; panoramas of other widths have batches of other sizes


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    function: Function  # holds what the graph reads


class CudaGraphs:
    """Recordings of one pipeline, which makes one panorama at a time."""

    def __init__(self) -> None:
        self._recordings: OrderedDict[Hashable, _Recording] = OrderedDict()
        self._pool: Any = None
        self._prompts: dict[Hashable, PromptEmbeddings] = {}

    @property
    def hold_memory(self) -> bool:
        return bool(self._recordings)

    def keep(self, prompts: PromptEmbeddings) -> PromptEmbeddings:
        """The same embeddings, in the place where recordings read them."""
        tensors = _tensors(prompts)
        shapes = tuple((tensor.shape, tensor.dtype) for tensor in tensors)
        kept = self._prompts.setdefault(shapes, prompts)
        for ours, given in zip(_tensors(kept), tensors, strict=True):
            ours.copy_(given)
        return kept

    def model(self, model: Model, params: ResolvedParams) -> Model:
        """A model that does not depend on the views, under prompts that are kept; replayed.

        Where a gradient is asked for, it is not.
        """

        def replay(latents: Tensor, step: Step, views: Sequence[View]) -> Tensor:
            if torch.is_grad_enabled():
                return model(latents, step, views)

            def predict(inputs: Sequence[Tensor]) -> list[Tensor]:
                windows, *about = inputs
                return [model(windows, _step_of(step, about), views)]

            key = "model", *_guidance_of(params)
            return self.run(key, predict, [latents, step.t, step.alpha_cumprod])[0]

        return replay

    def gradient(self, gradient_of: GradientOf, params: ResolvedParams) -> GradientOf:
        """Line 6 of Algorithm 1, of such a model; replayed."""

        def replay(
            windows: Tensor,
            step: Step,
            views: Sequence[View],
            scheduler: SchedulerAdapter,
            appearance: Appearance,
            target: Embedding | None,
        ) -> tuple[Tensor, Tensor, Embedding]:
            def differentiate(inputs: Sequence[Tensor]) -> list[Tensor]:
                x, t, alpha, *layers = inputs
                gradient, outputs, embedding = gradient_of(
                    x, _step_of(step, [t, alpha]), views, scheduler, appearance, layers or None
                )
                return [gradient, outputs, *([] if layers else embedding)]

            key = "gradient", *_guidance_of(params), params.sync.decoder, params.sync.gradient
            inputs = [windows, step.t, step.alpha_cumprod, *(target or [])]
            gradient, outputs, *embedding = self.run(key, differentiate, inputs)
            return gradient, outputs, target or embedding

        return replay

    def run(self, key: Hashable, function: Function, inputs: Sequence[Tensor]) -> list[Tensor]:
        """function(inputs), recorded at the first call with a key and these shapes.

        `key` stands for all that the function depends on beside its inputs.
        """
        exact = torch.are_deterministic_algorithms_enabled()
        place = key, exact, tuple((tensor.shape, tensor.dtype) for tensor in inputs)
        recording = self._recordings.get(place)
        if recording is None:
            while len(self._recordings) >= _MOST:
                self._recordings.popitem(last=False)
            recording = self._recordings[place] = self._record(function, inputs)
        self._recordings.move_to_end(place)
        for ours, given in zip(recording.inputs, inputs, strict=True):
            ours.copy_(given)
        recording.graph.replay()
        return [output.clone() for output in recording.outputs]

    def forget(self) -> None:
        """Give the memory back."""
        self._recordings.clear()
        self._pool = None

    def _record(self, function: Function, inputs: Sequence[Tensor]) -> _Recording:
        kept = [tensor.clone() for tensor in inputs]
        # As torch asks for it: kernels are chosen and compiled before, on another stream.
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            function(kept)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        outputs: list[Tensor] = []
        ran_out = False
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                try:
                    outputs += function(kept)
                except torch.OutOfMemoryError:
                    ran_out = True
        except RuntimeError:  # a recording that was broken off cannot be ended
            if not ran_out:
                raise
        if ran_out:
            raise torch.OutOfMemoryError("while a CUDA graph was recorded")
        # Recordings may share memory: none is replayed while another runs, and outputs are copied.
        self._pool = graph.pool()
        return _Recording(graph, kept, outputs, function)


def _guidance_of(params: ResolvedParams) -> tuple[float, bool]:
    return params.guidance_scale, bool(params.perturbed_attention)


def _step_of(step: Step, about: Sequence[Tensor]) -> Step:
    t, alpha_cumprod = about
    return replace(step, t=t, alpha_cumprod=alpha_cumprod)


def _tensors(prompts: PromptEmbeddings) -> list[Tensor]:
    texts: list[TextEmbedding] = [prompts.conditional]
    if prompts.unconditional is not None:
        texts.append(prompts.unconditional)
    return [tensor for text in texts for tensor in (text.tokens, *text.added.values())]
