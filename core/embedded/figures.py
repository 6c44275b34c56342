"""The model card's figures, on windows no training saw.

`python -m panoweave.core.embedded.figures` prints them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from panoweave.core.diffusion.perceptual_weights import load_perceptual
from panoweave.core.embedded import WEIGHTS
from panoweave.core.embedded.captions import caption
from panoweave.core.embedded.latents import PX_PER_LATENT, to_tensor
from panoweave.core.embedded.shards import Shard, render_shard, subject_at
from panoweave.core.embedded.sheet import load_pipeline

HELD_OUT_SEED = 1_000
_TIME_BANDS = ((0, 250), (250, 500), (500, 750), (750, 1000))


def reconstruction(pipeline: StableDiffusionPipeline, pictures: Tensor) -> dict[str, float]:
    """Errors of a round trip through the autoencoder, and of a 16x16 thumbnail."""
    decoded = pipeline.vae.decode(pipeline.vae.encode(pictures).latents).sample.clamp(-1, 1)
    pooled = torch.nn.functional.avg_pool2d(pictures, PX_PER_LATENT)
    thumbnail = torch.nn.functional.interpolate(pooled, scale_factor=PX_PER_LATENT, mode="bilinear")
    perceptual = load_perceptual("stlpips-alex")
    return {
        "L1": (decoded - pictures).abs().mean().item(),
        "ST-LPIPS": perceptual(decoded, pictures).mean().item(),
        "L1 of the thumbnail": (thumbnail - pictures).abs().mean().item(),
        "ST-LPIPS of the thumbnail": perceptual(thumbnail, pictures).mean().item(),
    }


def denoising(pipeline: StableDiffusionPipeline, shard: Shard) -> dict[str, float]:
    """Mean squared error of v, unweighted, in four bands of diffusion time."""
    generator = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(0)
    latents = pipeline.vae.encode(to_tensor(shard.pictures)).latents
    prompts = [caption(rng, subject_at(row)) for row in shard.subjects]
    tokens = pipeline.tokenizer(
        prompts, padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    words = pipeline.text_encoder(tokens).last_hidden_state
    errors = {}
    for start, end in _TIME_BANDS:
        times = torch.randint(start, end, (len(latents),), generator=generator)
        noise = torch.randn(latents.shape, generator=generator)
        noisy = pipeline.scheduler.add_noise(latents, noise, times)
        target = pipeline.scheduler.get_velocity(latents, noise, times)
        guess = pipeline.unet(noisy, times, words).sample
        errors[f"v error, t {start}-{end}"] = (guess - target).square().mean().item()
    return errors


@torch.no_grad()
def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=WEIGHTS)
    parser.add_argument("--scenes", type=int, default=80)
    asked = parser.parse_args(arguments)
    pipeline = load_pipeline(asked.model)
    shard = render_shard(HELD_OUT_SEED, 0, asked.scenes)
    figures = {**reconstruction(pipeline, to_tensor(shard.pictures)), **denoising(pipeline, shard)}
    for name, figure in figures.items():
        print(f"{name}: {figure:.4f}")


if __name__ == "__main__":
    main()
