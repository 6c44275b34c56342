"""A transformer's weights in 8 bits, computed with in bfloat16: half of bfloat16's memory."""

from __future__ import annotations

from typing import Final

import torch

from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline

_STORED: Final = torch.float8_e4m3fn


def keep_in_float8(pipeline: SyncDiffusionPipeline) -> None:
    """Round the weights; diffusers casts a layer's to bfloat16 while it computes.

    Norms and embeddings, which lose most by rounding, stay in bfloat16. Raises CheckpointError.
    """
    family, network = pipeline.family.about, pipeline.denoiser
    if family.denoiser != "transformer":
        raise CheckpointError(
            f"PANOWEAVE_DTYPE: float8 is for transformers, {family.title} has a UNet; legal: auto, "
            "float32, bfloat16, float16"
        )
    largest = torch.finfo(_STORED).max
    for name, weight in network.named_parameters():
        if weight.abs().max() > largest:
            raise CheckpointError(
                f"PANOWEAVE_DTYPE: {name} has numbers beyond {largest:g}, the largest of float8; "
                "use bfloat16"
            )
    network.enable_layerwise_casting(storage_dtype=_STORED, compute_dtype=torch.bfloat16)
    # Else autograd would hold a bfloat16 copy of every weight until the gradient is there.
    pipeline.set_gradient_checkpointing(True)
