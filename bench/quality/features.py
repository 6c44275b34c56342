"""What networks see in windows: the features that distances and the classifier work on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPModel, CLIPProcessor

from bench.single_windows import to_mean_square_1
from panoweave.core.diffusion.decode import from_pil
from panoweave.core.diffusion.perceptual import Lpips
from panoweave.core.diffusion.perceptual_weights import load_perceptual

Features = NDArray[np.float32]  # (N, D)

_INCEPTION_LAYER: Final = "2048"
_TEXTURE_BANDS: Final = 4
_COLOUR_BANDS: Final = 8
_DARKEST: Final = 0.02


class VggFeatures:
    """ST-LPIPS's VGG16: its last stage for distances, bands of all stages for the classifier."""

    def __init__(self, device: torch.device) -> None:
        network = load_perceptual("stlpips-vgg")
        assert isinstance(network, Lpips)
        self._stages = network.stages.to(device)
        self._device = device

    @torch.no_grad()
    def of(self, windows: Sequence[Image.Image]) -> dict[str, Features]:
        """`vgg` (N, 512), brought to a mean square of 1, and `look` (N, 5960).

        A look is where colours and textures lie from top to bottom: a sky is not a lake.
        """
        last, look = [], []
        for window in windows:
            activation = from_pil(window, self._device)[None]
            seen = [_colours(activation / 2 + 0.5)]
            for stage in self._stages:
                activation = stage(activation)
                seen.append(_bands(activation, _TEXTURE_BANDS))
            last.append(to_mean_square_1(activation.mean((2, 3))))
            look.append(torch.cat(seen, 1))
        return {"vgg": _as_array(last), "look": _as_array(look)}


class InceptionFeatures:
    """Inception v3 as FID is defined with, its weights from a file."""

    def __init__(self, weights: Path, device: torch.device) -> None:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        if not weights.is_file():
            raise SystemExit(f"--inception: {weights} is no file; give FID's Inception weights")
        self._network: Any = FeatureExtractorInceptionV3(
            "inception-v3-compat", [_INCEPTION_LAYER], feature_extractor_weights_path=str(weights)
        )
        self._network.eval().requires_grad_(False).to(device)
        self._device = device

    @torch.no_grad()
    def of(self, windows: Sequence[Image.Image]) -> dict[str, Features]:
        """`inception` (N, 2048)."""
        return {"inception": _as_array([self._one(window) for window in windows])}

    def _one(self, window: Image.Image) -> Tensor:
        levels = torch.from_numpy(np.array(window.convert("RGB"))).permute(2, 0, 1)[None]
        (features,) = self._network(levels.to(self._device))
        return torch.as_tensor(features)


class ClipScore:
    """How well windows fit their prompt: 100 times the cosine, and 0 for a negative one.

    torchmetrics' own does not run with transformers 5, which gives it objects for tensors.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        if not folder.is_dir():
            raise SystemExit(f"--clip: {folder} is no folder; give a CLIP model's")
        model: Any = CLIPModel.from_pretrained(folder, local_files_only=True)
        self._model = model.eval().to(device)
        self._processor: Any = CLIPProcessor.from_pretrained(folder, local_files_only=True)
        self._device = device

    @torch.no_grad()
    def of(self, windows: Sequence[Image.Image], prompt: str) -> float:
        """The mean over the windows of a panorama."""
        inputs = self._processor(
            text=[prompt],
            images=[window.convert("RGB") for window in windows],
            return_tensors="pt",
            truncation=True,
            max_length=self._model.config.text_config.max_position_embeddings,
        )
        seen = self._model(**inputs.to(self._device))
        cosines = nn.functional.cosine_similarity(seen.image_embeds, seen.text_embeds)
        return float(100 * cosines.clamp_min(0).mean())


def _colours(pictures: Tensor) -> Tensor:
    """Mean, deviation and logarithm of the mean of pictures in [0, 1], by band."""
    mean = _bands(pictures, _COLOUR_BANDS)
    variance = _bands(pictures.square(), _COLOUR_BANDS) - mean.square()
    return torch.cat([mean, variance.clamp_min(0).sqrt(), (mean + _DARKEST).log()], 1)


def _bands(activations: Tensor, count: int) -> Tensor:
    """Means of so many bands of rows, top to bottom: (N, C * count)."""
    return nn.functional.adaptive_avg_pool2d(activations, (count, 1)).flatten(1)


def _as_array(rows: list[Tensor]) -> Features:
    return torch.cat(rows).float().cpu().numpy()
