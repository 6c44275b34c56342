"""What windows are compared with, and by what: prepared for the sampler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from torch import Tensor
from torch.nn.functional import interpolate

from panoweave.core.diffusion.appearance import Appearance
from panoweave.core.diffusion.decode import encode
from panoweave.core.diffusion.errors import PerceptualWeightsError
from panoweave.core.diffusion.parts import PartsOfPanorama, WithoutDetails
from panoweave.core.diffusion.perceptual import Embedding
from panoweave.core.diffusion.schedulers import SchedulerAdapter, Step
from panoweave.core.diffusion.views import View, WindowPlan
from panoweave.core.params import ResolvedSync

if TYPE_CHECKING:
    from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline  # it calls this

_KEPT_SQUARES: Final = 3  # of a long picture, before it is scaled; one is kept in the end

Reference = Callable[[Sequence[View]], Embedding]


GivenAnchor = Callable[[Step], Tensor]


def prepare_reference(
    pipeline: SyncDiffusionPipeline,
    sync: ResolvedSync,
    images: Mapping[str, Tensor],
    parts: PartsOfPanorama | None,
    noise: Tensor,
    plan: WindowPlan,
    scheduler: SchedulerAdapter,
) -> tuple[Appearance | None, Reference | None, GivenAnchor | None]:
    """How windows are compared, and what they follow in place of the panorama's own anchor: parts,
    each its own, or an image that the request brings.

    `noise` (1, C, H/f, W/f): the canvas's first.
    """
    if pipeline.perceptual is None:
        if sync.weight and sync.steps:
            raise PerceptualWeightsError(
                "sync.weight is above 0 but the pipeline has no perceptual network: "
                'set pipeline.perceptual = load_perceptual("stlpips-alex")'
            )
        return None, None, None
    decoder = pipeline.tiny_decoder if sync.decoder == "tiny" else pipeline.vae
    if parts:
        # The enlarged canvas need not hold a grid of the request's stride, so it has no anchor.
        window = noise.new_zeros(1, noise.shape[1], plan.window, plan.window)
        without_details = WithoutDetails(decoder, pipeline.perceptual, parts, window)
        return without_details, without_details.of_views, None
    appearance = Appearance(decoder, pipeline.perceptual)
    field = next((name for name in ("anchor_image", "extend.image") if name in images), None)
    if field is None:
        return appearance, None, None
    latents = encode(pipeline.vae, cover(images[field], pipeline.traits.window_px)).to(noise)
    own_noise = plan.canvas.crop(noise, plan.anchor, plan.window)
    return appearance, None, partial(scheduler.add_noise, latents, own_noise)


def cover(image: Tensor, side_px: int) -> Tensor:
    """An image (1, 3, H, W), scaled to cover a square of this side, and cut to it evenly."""
    # A strip one pixel wide would become gigabytes, nearly all of which is cut off again.
    most = _KEPT_SQUARES * min(image.shape[-2:])
    for side in (-2, -1):
        cut = max(0, image.shape[side] - most) // 2  # from both ends: the centre stays
        image = image.narrow(side, cut, image.shape[side] - 2 * cut)
    scale = side_px / min(image.shape[-2:])
    height, width = (max(round(side * scale), side_px) for side in image.shape[-2:])
    scaled = interpolate(image, (height, width), mode="bilinear", antialias=True)
    top, left = (height - side_px) // 2, (width - side_px) // 2
    return scaled[..., top : top + side_px, left : left + side_px]
