"""LoRAs of the tiny model, and a pipeline that offers them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from panoweave.core.diffusion.fused.networks import fuse
from panoweave.core.diffusion.loras import Loras
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.loras import LoraSource
from panoweave.core.params import PanoramaParams
from tests.core import tiny

PLENTY = 2**30
Asked = Sequence[tuple[str, float]]


def save(tensors: dict[str, torch.Tensor], file: Path) -> LoraSource:
    save_file(tensors, file)
    return LoraSource(source=str(file))


def tensors_of(network: Any, layers: tuple[str, ...], seed: int, prefix: str) -> dict[str, Any]:
    """A LoRA of rank 2 in PEFT's format, of the layers whose names end so."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, layer in network.named_modules():
        if name.endswith(layers):
            out, into, *kernel = layer.weight.shape
            key, point = f"{prefix}.{name}", [1] * len(kernel)
            down = torch.randn(2, into, *kernel, generator=generator)
            found[f"{key}.lora_A.weight"] = down
            found[f"{key}.lora_B.weight"] = torch.randn(out, 2, *point, generator=generator) / 4
    return found


def make_loras(folder: Path) -> dict[str, LoraSource]:
    """`ink` changes attention, `fog` convolutions and attention, `words` the text encoder too."""
    pipeline = tiny.pipeline(folder / "words")
    unet, encoder = pipeline.unet, pipeline.text_encoder
    ink = tensors_of(unet, ("to_q", "to_v"), 1, "unet")
    fog = tensors_of(unet, ("to_v", "conv1", "conv_shortcut"), 2, "unet")
    words = tensors_of(encoder, ("q_proj",), 3, "text_encoder")
    return {
        "ink": save(ink, folder / "ink.safetensors"),
        "fog": save(fog, folder / "fog.safetensors"),
        "words": save({**ink, **words}, folder / "words.safetensors"),
    }


def pipeline_with(offered: dict[str, LoraSource], folder: Path) -> SyncDiffusionPipeline:
    made = tiny.pipeline(folder / "words")
    fuse(made.unet)  # as a worker runs it
    made.use_loras(Loras(made, offered, PLENTY))
    return made


def request(*loras: tuple[str, float], **changes: Any) -> PanoramaParams:
    asked = [{"name": name, "scale": scale} for name, scale in loras]
    base = {"prompt": "a lake", "width": 128, "stride": 64, "steps": 2, "seed": 1}
    sync = {"weight": 0}
    return PanoramaParams.model_validate({**base, "sync": sync, "loras": asked, **changes})


def picture(pipeline: SyncDiffusionPipeline, *loras: tuple[str, float]) -> bytes:
    return pipeline(request(*loras)).image.tobytes()


def weights(pipeline: SyncDiffusionPipeline) -> dict[str, torch.Tensor]:
    networks = {"unet": pipeline.denoiser, "text": pipeline.text_encoder}
    return {
        f"{part}.{name}": weight.clone()
        for part, network in networks.items()
        for name, weight in network.state_dict().items()
    }
