"""How similar the parts of one panorama look: the paper's Intra-LPIPS and Intra-Style-L."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from panoweave.core.diffusion.decode import from_pil
from panoweave.core.diffusion.perceptual import PerceptualLoss


@dataclass(frozen=True)
class Coherence:
    """Mean distance over all pairs of non-overlapping windows; lower is more coherent."""

    intra_lpips: float
    lpips_net: str
    intra_style: float
    style_net: str


class CoherenceMeter:
    """Measures finished panoramas with given networks."""

    def __init__(self, lpips: PerceptualLoss, style: PerceptualLoss) -> None:
        self.lpips = lpips
        self.style = style

    def to(self, device: torch.device) -> None:
        self.lpips.to(device)
        self.style.to(device)

    @torch.no_grad()
    def measure(
        self, image: Image.Image, window_px: int, on_window: Callable[[], None] | None = None
    ) -> Coherence | None:
        """The coherence of an image; None if it holds fewer than two whole windows.

        `on_window` is called before each window, once for each network; an exception that it raises
        stops the work.
        """
        crops = whole_windows(image, window_px)
        if len(crops) < 2:
            return None
        return Coherence(
            mean_pair_distance(self.lpips, crops, on_window),
            self.lpips.name,
            mean_pair_distance(self.style, crops, on_window),
            self.style.name,
        )


def whole_windows(image: Image.Image, side_px: int) -> list[Image.Image]:
    """The non-overlapping crops of the size of a window, row by row."""
    width, height = image.size
    return [
        image.crop((left, top, left + side_px, top + side_px))
        for top in range(0, height - side_px + 1, side_px)
        for left in range(0, width - side_px + 1, side_px)
    ]


def mean_pair_distance(
    network: PerceptualLoss,
    crops: list[Image.Image],
    on_window: Callable[[], None] | None = None,
) -> float:
    """The mean of d(a, b) over all unordered pairs of images.

    d is a squared distance of embeddings, so sum_(i<j) |e_i - e_j|^2 = n sum_i |e_i|^2 -
    |sum_i e_i|^2: two running sums instead of the embeddings of all images. They are in float64
    because their difference is small.
    """
    device = next(network.buffers()).device
    total: list[Tensor] = []
    squares = torch.zeros((), dtype=torch.float64, device=device)
    for crop in crops:
        if on_window:
            on_window()
        embedding = [layer.double() for layer in network.embed(from_pil(crop, device)[None])]
        total = [a + b for a, b in zip(total, embedding, strict=True)] if total else embedding
        squares += torch.stack([layer.square().sum() for layer in embedding]).sum()
    count = len(crops)
    of_sums = torch.stack([layer.square().sum() for layer in total]).sum()
    pairs = count * (count - 1) / 2
    return max(0.0, ((count * squares - of_sums) / pairs).item())
