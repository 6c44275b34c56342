"""Pictures of several times a model's size, and what is measured of their windows, in folders."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.quality.features import Features, VggFeatures
from bench.quality.renders import HELD_OUT_SEED
from bench.quality.runs import digest_of, save_arrays
from panoweave.core.diffusion.coherence import whole_windows
from panoweave.core.diffusion.identity import identify
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.diffusion.upscaling import enlarge, kept_first_stage
from panoweave.core.embedded.training.latents import WINDOW_PX
from panoweave.core.embedded.training.renderer import render, sample_scene
from panoweave.core.embedded.training.rendering import REVISION
from panoweave.core.embedded.training.runs import replace_file
from panoweave.core.params import PanoramaParams

_WINDOWS_AROUND = 8  # as in the renders that the embedded model was trained on


class LargeRenders:
    """The held-out scenes with `factor` times as many pixels a side over the same field of view."""

    def __init__(self, folder: Path, factor: int, window_px: int, device: torch.device) -> None:
        if window_px != WINDOW_PX:
            raise SystemExit(
                f"--model: its windows are {window_px} px; the renders that they would be compared "
                f"with have {WINDOW_PX} px, so choose a model with such windows"
            )
        self._folder = folder / f"panoramas-{REVISION}-x{factor}"
        self._side = factor * WINDOW_PX
        self._device = device if device.type == "cuda" else torch.device("cpu")

    def picture(self, index: int) -> Image.Image:
        """Of the scene that `held_out` renders as its shard of this number."""
        file = self._folder / f"{index:05}.png"
        if not file.exists():
            scene = sample_scene(np.random.default_rng([HELD_OUT_SEED, index]))
            size = (_WINDOWS_AROUND * self._side, self._side)
            pixels = render([scene], self._device, *size)[0].permute(1, 2, 0).cpu().numpy()
            _save(Image.fromarray(np.ascontiguousarray(pixels)), file)
        return _open(file)


class UpscaledPanoramas:
    """Panoramas with `upscale`, and what they were before."""

    def __init__(self, folder: Path, pipeline: SyncDiffusionPipeline) -> None:
        self._folder = folder
        self._pipeline = pipeline
        self._identity = identify(pipeline).digest

    def before_and_after(self, params: PanoramaParams) -> tuple[Image.Image, Image.Image]:
        """The same request is made once."""
        resolved = params.resolve(self._pipeline.traits)
        about = json.dumps([self._identity, resolved.model_dump_json()])
        key = hashlib.sha256(about.encode()).hexdigest()[:24]
        before, after = (self._folder / f"{key}-{name}.png" for name in ("before", "after"))
        if not after.exists():  # written last
            latents: list[Tensor] = []

            def keep_first_stage(report: StepReport) -> None:
                found = kept_first_stage(report.state, resolved, self._pipeline.device)
                if found is not None:
                    latents[:] = [found]

            large = self._pipeline(params, on_step=keep_first_stage).image
            _save(self._pipeline.decode(latents[0], resolved.loop), before)
            _save(large, after)
        return _open(before), _open(after)


@dataclass(frozen=True)
class Crops:
    """What is measured of the windows of one large picture."""

    features: Features
    detail: float


class CropMeter:
    """Measures windows of the model's own size in pictures of several times that size."""

    def __init__(self, folder: Path, vgg: VggFeatures, factor: int, window_px: int) -> None:
        self._folder = folder
        self._vgg = vgg
        self._window_px = window_px
        self.factor = factor

    def of(self, image: Image.Image) -> Crops:
        """The same picture is measured once."""
        file = self._folder / f"{digest_of(image)}-{self._window_px}.npz"
        if not file.exists():
            features = self._vgg.of(whole_windows(image, self._window_px))["vgg"]
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(file, lambda beside: save_arrays(beside, {"vgg": features}))
        with np.load(file) as arrays:
            return Crops(arrays["vgg"], detail(image, self.factor))


def detail(image: Image.Image, factor: int) -> float:
    """What is finer than a picture of 1 / factor of the size can hold: the mean distance, in levels
    of luminance, from itself shrunk and enlarged."""
    grey = image.convert("L")
    rest = np.asarray(grey, float) - np.asarray(enlarge(grey.reduce(factor), factor, loop=False))
    return float(np.abs(rest).mean())


def _save(image: Image.Image, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(file, lambda beside: image.save(beside, "PNG"))


def _open(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.convert("RGB")
