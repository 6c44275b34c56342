"""Panoramas and what was measured of each, kept in a folder: a stopped run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from PIL import Image

from bench.borders import border_step
from bench.quality.features import ClipScore, Features, InceptionFeatures, VggFeatures
from bench.quality.seams import end_step
from bench.sections import STYLE_SCALE
from panoweave.core.diffusion.coherence import mean_pair_distance, whole_windows
from panoweave.core.diffusion.decode import decode, encode, from_pil, to_pil
from panoweave.core.diffusion.identity import identify
from panoweave.core.diffusion.perceptual import PerceptualLoss
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.embedded.training.runs import replace_file
from panoweave.core.params import PanoramaParams

_REVISION: Final = 2  # raise it with every change of what is measured, or how


@dataclass(frozen=True)
class Measures:
    """Of one panorama; of its windows, the features."""

    intra_lpips: float
    intra_style: float  # x 1e6
    border: float
    seam: float | None  # rings alone have one
    luminance: float  # 0 to 255
    clip: float | None
    took_s: float
    features: Mapping[str, Features]


class Meter:
    """The networks that panoramas are measured with."""

    def __init__(
        self,
        lpips: PerceptualLoss,
        style: PerceptualLoss,
        vgg: VggFeatures,
        inception: InceptionFeatures | None = None,
        clip: ClipScore | None = None,
    ) -> None:
        self.lpips, self.style = lpips, style
        self.vgg, self.inception, self.clip = vgg, inception, clip

    @property
    def names(self) -> str:
        """What they are, for the names of files."""
        optional = {"inception": self.inception, "clip": self.clip}
        return " ".join(
            [self.lpips.name, self.style.name, *(name for name, each in optional.items() if each)]
        )

    def measure(
        self, image: Image.Image, window_px: int, took_s: float, *, prompt: str | None, loop: bool
    ) -> Measures:
        """Everything that is measured of one panorama."""
        windows = whole_windows(image, window_px)
        features = self.vgg.of(windows)
        if self.inception:
            features |= self.inception.of(windows)
        return Measures(
            intra_lpips=mean_pair_distance(self.lpips, windows),
            intra_style=mean_pair_distance(self.style, windows) * STYLE_SCALE,
            border=border_step(image, window_px),
            seam=end_step(image) if loop else None,
            luminance=float(np.asarray(image.convert("L"), np.float64).mean()),
            clip=self.clip.of(windows, prompt) if self.clip and prompt else None,
            took_s=took_s,
            features=features,
        )


@dataclass(frozen=True)
class Stored:
    """Where one panorama lies."""

    picture: Path
    measures: Path
    features: Path

    @classmethod
    def at(cls, folder: Path, *about: object) -> Self:
        key = hashlib.sha256(json.dumps([_REVISION, *about]).encode()).hexdigest()[:24]
        return cls(*(folder / f"{key}.{ending}" for ending in ("png", "json", "npz")))

    def is_there(self) -> bool:
        return self.measures.exists()  # written last

    def open(self) -> Image.Image:
        with Image.open(self.picture) as image:
            return image.convert("RGB")

    def read(self) -> Measures:
        with np.load(self.features) as features:
            return Measures(
                **json.loads(self.measures.read_text()),
                features={name: features[name] for name in features.files},
            )

    def write(self, image: Image.Image, measures: Measures) -> None:
        replace_file(self.picture, lambda beside: image.save(beside, "PNG"))
        replace_file(self.features, lambda beside: save_arrays(beside, measures.features))
        numbers = {name: each for name, each in asdict(measures).items() if name != "features"}
        replace_file(self.measures, lambda beside: beside.write_text(json.dumps(numbers)))


class Runs:
    """Makes and measures what is not there yet."""

    def __init__(self, folder: Path, pipeline: SyncDiffusionPipeline, meter: Meter) -> None:
        self.folder = folder
        self.pipeline = pipeline
        self.meter = meter
        self._identity = identify(pipeline).digest
        folder.mkdir(parents=True, exist_ok=True)

    def panorama(self, params: PanoramaParams) -> Stored:
        """One panorama of the model. The same request is made once.

        What the request leaves open counts with its value: presets and checkpoints change theirs.
        """
        asked = params.resolve(self.pipeline.traits).model_dump_json()
        stored = Stored.at(self.folder, self._identity, asked, self.meter.names)
        if not stored.is_there():
            begun = time.perf_counter()
            image = self.pipeline(params).image
            took_s = time.perf_counter() - begun
            stored.write(image, self._measure(image, took_s, params.prompt, params.loop))
        return stored

    def picture(self, image: Image.Image) -> Stored:
        """A picture from elsewhere, measured like a panorama."""
        stored = Stored.at(self.folder, digest_of(image), self.meter.names)
        if not stored.is_there():
            stored.write(image, self._measure(image, 0.0, None, False))
        return stored

    def reconstruction(self, image: Image.Image) -> Stored:
        """What the model's own autoencoder makes of a picture, window by window."""
        about = ("reconstructed", digest_of(image), self.meter.names)
        stored = Stored.at(self.folder, self._identity, *about)
        if not stored.is_there():
            side = self.pipeline.traits.window_px
            again = reconstruct(self.pipeline, whole_windows(image, side))
            stored.write(again, self._measure(again, 0.0, None, False))
        return stored

    def _measure(
        self, image: Image.Image, took_s: float, prompt: str | None, loop: bool
    ) -> Measures:
        side = self.pipeline.traits.window_px
        return self.meter.measure(image, side, took_s, prompt=prompt, loop=loop)


def reconstruct(pipeline: SyncDiffusionPipeline, windows: Sequence[Image.Image]) -> Image.Image:
    """The windows side by side, encoded and decoded one by one."""
    side = pipeline.traits.window_px
    row = Image.new("RGB", (side * len(windows), side))
    with torch.no_grad():
        for index, window in enumerate(windows):
            latents = encode(pipeline.vae, from_pil(window, pipeline.device)[None])
            picture = decode(pipeline.vae, latents.to(pipeline.denoiser.dtype))[0].float().cpu()
            row.paste(to_pil(picture), (index * side, 0))
    return row


def digest_of(image: Image.Image) -> str:
    return hashlib.sha256(repr((image.mode, image.size)).encode() + image.tobytes()).hexdigest()


def save_arrays(file: Path, arrays: Mapping[str, Any]) -> None:
    with file.open("wb") as opened:  # by name, numpy would add an ending
        np.savez(opened, **arrays)
