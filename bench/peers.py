"""The baselines at their best: diffusers' panorama pipeline, and Algorithm 1 literally."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers import StableDiffusionPanoramaPipeline
from PIL import Image
from torch import Tensor, nn

from bench.sections import finish_kernels
from panoweave.core.diffusion.decode import to_pil
from panoweave.core.diffusion.perceptual_weights import load_perceptual
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.params import PanoramaParams, ResolvedParams, SyncParams
from tests.core.transcription import run_algorithm_1

VIEW_BATCH_SIZES = (1, 2, 4, 7, 8, 11, 21)


@dataclass(frozen=True)
class Run:
    took_s: float
    image: Image.Image | None  # None: not a finished picture


def request(**changes: Any) -> PanoramaParams:
    """Without what the peers do not have."""
    return PanoramaParams(prompt="a lake", seed=1, perturbed_attention=False, **changes)


def multidiffusion(**changes: Any) -> PanoramaParams:
    return request(preset="paper", sync=SyncParams(weight=0), **changes)


def load_plain(checkpoint: str, ours: SyncDiffusionPipeline) -> SyncDiffusionPipeline:
    """The same weights as anybody would load them: the baselines get none of our preparations."""
    plain = SyncDiffusionPipeline.from_pretrained(checkpoint, dtype=ours.unet.dtype)
    plain.perceptual = load_perceptual("stlpips-alex")
    first = cast(Any, plain.perceptual).stages[0]
    first[0] = nn.Sequential(first[0].convolution, first[0].blur)  # as published, one by one
    return plain.to(ours.device)


def run_transcription(plain: SyncDiffusionPipeline, steps: int) -> Run:
    """Algorithm 1, window by window; both halves of the guidance are one batch."""
    params = request(preset="paper", steps=steps).resolve(plain.traits)
    noise, embeddings = _start(plain, params)
    finish_kernels()
    begun = time.perf_counter()
    run_algorithm_1(plain, params, noise, embeddings)
    finish_kernels()
    return Run(time.perf_counter() - begun, None)


def run_diffusers(
    plain: SyncDiffusionPipeline, view_batch_size: int, steps: int | None = None
) -> Run:
    """diffusers' pipeline, but for its window, which is Stable Diffusion's.

    `view_batch_size`: how many windows it sees at once. It comes with 1.
    """
    params = multidiffusion(steps=steps).resolve(plain.traits)
    reference = StableDiffusionPanoramaPipeline(
        **plain.components,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    reference.set_progress_bar_config(disable=True)
    get_views, scale = reference.get_views, plain.traits.px_per_latent

    def views(height: int, width: int, circular_padding: bool) -> Any:
        """In latents; its own takes any latent for 8 pixels."""
        return get_views(
            *(8 * side // scale for side in (height, width)),
            window_size=plain.traits.window_latents,
            stride=params.stride // scale,
            circular_padding=circular_padding,
        )

    reference.get_views = views
    noise, _ = _start(plain, params)
    finish_kernels()
    begun = time.perf_counter()
    images = reference(
        prompt=params.prompt,
        height=params.height,
        width=params.width,
        num_inference_steps=params.steps,
        guidance_scale=params.guidance_scale,
        latents=noise,
        view_batch_size=view_batch_size,
        output_type="pt",
    ).images
    finish_kernels()
    return Run(time.perf_counter() - begun, to_pil(images[0] * 2 - 1))


def best_view_batch_size(
    plain: SyncDiffusionPipeline, sizes: Sequence[int] = VIEW_BATCH_SIZES, steps: int = 5
) -> int:
    """The fastest `view_batch_size` of diffusers' pipeline here: the better of two runs each."""
    took = {size: float("inf") for size in sizes}
    for _ in range(2):
        for size in sizes:
            took[size] = min(took[size], run_diffusers(plain, size, steps).took_s)
    for size, seconds in took.items():
        print(
            f"diffusers, view_batch_size={size}: {seconds / steps * 1e3:.1f} ms a step", flush=True
        )
    return min(took, key=lambda size: took[size])


def _start(plain: SyncDiffusionPipeline, params: ResolvedParams) -> tuple[Tensor, Any]:
    with torch.no_grad():
        noise = plain.draw_noise(params).to(plain.unet.dtype)  # the baselines convert nothing
        return noise, plain.encode_prompt(params.prompt, "")
