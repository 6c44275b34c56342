"""Text encoders that wait in the CPU's memory: for T5, and language models, of many gigabytes."""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn


def place_without_text_encoders(pipeline: Any, device: torch.device) -> None:
    """Move a pipeline to a device. Each text encoder is there only while it reads a prompt."""
    for network in (
        pipeline.denoiser,
        pipeline.vae,
        pipeline.tiny_decoder,
        pipeline.controlnet,
        pipeline.perceptual,
        pipeline.meter,
    ):
        if network is not None:
            network.to(device)
    for encoder in pipeline.text_encoders:
        offload(encoder, device)


def offload(network: nn.Module, device: torch.device) -> None:
    """Compute on a device with copies of the weights, which are freed after each call.

    The weights themselves stay where they are: nothing is copied back.
    """
    at_home: list[tuple[Tensor, Tensor]] = []

    def enter(_: nn.Module, args: Any, options: Any) -> tuple[Any, Any]:
        for tensor in chain(network.parameters(), network.buffers()):
            at_home.append((tensor, tensor.data))
            tensor.data = tensor.data.to(device, copy=True)
        moved = {name: _moved(value, device) for name, value in options.items()}
        return tuple(_moved(value, device) for value in args), moved

    def leave(*_: Any) -> None:
        while at_home:
            tensor, data = at_home.pop()
            tensor.data = data

    network.register_forward_pre_hook(enter, with_kwargs=True)
    # Also after an error, such as memory that runs out.
    network.register_forward_hook(leave, always_call=True)


def _moved(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value
