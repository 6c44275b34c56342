"""The second stage of a panorama with `upscale`: see `core.upscale`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import torch
from PIL import Image
from torch import Tensor

from panoweave.core.diffusion.encode_tiles import encode_canvas, encode_ring, unroll
from panoweave.core.diffusion.last_steps import last_steps
from panoweave.core.diffusion.parts import PartsOfPanorama
from panoweave.core.diffusion.prompts import PromptEmbeddings
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.params import ResolvedParams
from panoweave.core.upscale import UPSCALE_STEPS, enlarged

if TYPE_CHECKING:
    from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline  # it calls this

OnStep = Callable[[StepReport], None]

# The standard deviation of the noise on the enlarged panorama. Less leaves it blurred, more paints
# other things (docs/LOG.md).
_NOISE_LEVEL: Final = 0.4

_RING_MARGIN_PX: Final = 8  # beyond what a pixel is interpolated from

# The first stage's latents, among the tensors of the second stage's states.
_FIRST_STAGE: Final = "first_stage"


def enlarge(picture: Image.Image, factor: int, loop: bool) -> Image.Image:
    """A panorama, interpolated."""
    margin = _RING_MARGIN_PX if loop else 0
    whole = unroll(picture, margin) if loop else picture
    large = whole.resize((whole.width * factor, whole.height * factor), Image.Resampling.LANCZOS)
    left = margin * factor
    return large.crop((left, 0, left + picture.width * factor, large.height))


def kept_first_stage(
    resume: SamplerState | None, params: ResolvedParams, device: torch.device
) -> Tensor | None:
    """The first stage's latents, where a state is of the second."""
    if resume is None or params.upscale is None or resume.step <= params.steps:
        return None
    return resume.scheduler_state[_FIRST_STAGE].to(device)


def of_whole(on_step: OnStep | None, params: ResolvedParams) -> OnStep | None:
    """`on_step` for the first stage, whose reports do not count the second's steps."""
    if on_step is None or params.upscale is None:
        return on_step
    return lambda report: on_step(replace(report, total_steps=params.total_steps))


def sample_enlarged(
    pipeline: SyncDiffusionPipeline,
    picture: Image.Image,
    latents: Tensor,
    params: ResolvedParams,
    prompts: PromptEmbeddings,
    images: Mapping[str, Tensor],
    *,
    window_batch: int,
    on_step: OnStep | None = None,
    on_batch: Callable[[], None] | None = None,
    resume: SamplerState | None = None,
) -> Tensor:
    """The second stage: clean latents (1, C, kH/f, kW/f).

    `picture` and `latents`: of the first stage; the others are those of the whole panorama.
    """
    assert params.upscale is not None
    traits, vae, device = pipeline.traits, pipeline.vae, latents.device
    large = enlarged(params, traits)
    picture = enlarge(picture, params.upscale, params.loop)
    encode_whole = encode_ring if params.loop else encode_canvas
    clean = encode_whole(vae, picture, traits.window_latents, traits.px_per_latent, on_batch)
    noise = pipeline.draw_noise(large)
    scheduler = last_steps(
        lambda steps: pipeline.family.scheduler(
            pipeline, large.model_copy(update={"steps": steps}), device
        ),
        UPSCALE_STEPS,
        _NOISE_LEVEL,
        clean.to(noise),
    )

    def report_whole(report: StepReport) -> None:
        if on_step:
            state = replace(
                report.state,
                step=params.steps + report.state.step,
                scheduler_state={_FIRST_STAGE: latents},
            )
            on_step(replace(report, state=state, total_steps=params.total_steps))

    if resume:
        is_second = resume.step > params.steps
        resume = replace(resume, step=resume.step - params.steps) if is_second else None
    return pipeline.sample(
        noise,
        large,
        prompts,
        images,
        window_batch=window_batch,
        on_step=report_whole,
        on_batch=on_batch,
        resume=resume,
        scheduler=scheduler,
        parts=PartsOfPanorama(picture, params.upscale, traits, params.loop, device),
    )
