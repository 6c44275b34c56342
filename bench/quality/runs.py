"""Panoramas and what was measured of each, kept in a folder: a stopped run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bench.borders import border_step
from bench.quality.features import ClipScore, Features, InceptionFeatures, VggFeatures
from bench.quality.light import upper_halves_apart
from bench.quality.seams import end_step
from bench.sections import STYLE_SCALE
from panoweave.core.diffusion.coherence import mean_pair_distance, whole_windows
from panoweave.core.diffusion.decode import decode, encode, from_pil, to_pil
from panoweave.core.diffusion.identity import identify
from panoweave.core.diffusion.perceptual import PerceptualLoss
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.embedded.training.runs import replace_file
from panoweave.core.params import PanoramaParams

_REVISION: Final = 3  # raise it with every change of what is measured, or how
_TOOK_S: Final = "took_s"  # in the PNG, so that a picture and its seconds stay together


@dataclass(frozen=True)
class Measures:
    """Of one panorama; of its windows, the features."""

    intra_lpips: float
    intra_style: float  # x 1e6
    border: float
    seam: float | None  # rings alone have one
    upper_halves: float  # apart, 0 to 255
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
            upper_halves=upper_halves_apart(windows),
            luminance=float(np.asarray(image.convert("L"), np.float64).mean()),
            clip=self.clip.of(windows, prompt) if self.clip and prompt else None,
            took_s=took_s,
            features=features,
        )


@dataclass(frozen=True)
class Stored:
    """Where one panorama lies, and what was measured of it."""

    picture: Path
    measures: Path
    features: Path

    @classmethod
    def at(cls, folder: Path, measured_by: str, *about: object) -> Self:
        """`about`: what the picture depends on, but for panoweave's own code.

        A change of that needs a new folder. What is measured can change without the picture.
        """
        key = _key(*about)
        by = _key(_REVISION, measured_by, key)
        return cls(folder / f"{key}.png", folder / f"{by}.json", folder / f"{by}.npz")

    def is_measured(self) -> bool:
        return self.measures.exists()  # written last

    def open(self) -> Image.Image:
        with Image.open(self.picture) as image:
            return image.convert("RGB")

    def took_s(self) -> float:
        """How long the model took to make the picture; 0 of pictures from elsewhere."""
        with Image.open(self.picture) as image:
            return float(image.info[_TOOK_S])

    def read(self) -> Measures:
        with np.load(self.features) as features:
            return Measures(
                **json.loads(self.measures.read_text()),
                features={name: features[name] for name in features.files},
            )

    def keep(self, image: Image.Image, took_s: float) -> None:
        about = PngInfo()
        about.add_text(_TOOK_S, str(took_s))
        replace_file(self.picture, lambda beside: image.save(beside, "PNG", pnginfo=about))

    def write(self, measures: Measures) -> None:
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
        stored = self._at(self._identity, asked)
        self._ensure(stored, lambda: self._make(params), params.prompt, params.loop)
        return stored

    def picture(self, image: Image.Image) -> Stored:
        """A picture from elsewhere, measured like a panorama."""
        stored = self._at(digest_of(image))
        self._ensure(stored, lambda: (image, 0.0))
        return stored

    def reconstruction(self, image: Image.Image) -> Stored:
        """What the model's own autoencoder makes of a picture, window by window."""
        stored = self._at(self._identity, "reconstructed", digest_of(image))
        side = self.pipeline.traits.window_px
        self._ensure(stored, lambda: (reconstruct(self.pipeline, whole_windows(image, side)), 0.0))
        return stored

    def _at(self, *about: object) -> Stored:
        return Stored.at(self.folder, self.meter.names, *about)

    def _make(self, params: PanoramaParams) -> tuple[Image.Image, float]:
        begun = time.perf_counter()
        image = self.pipeline(params).image
        return image, time.perf_counter() - begun

    def _ensure(
        self,
        stored: Stored,
        make: Callable[[], tuple[Image.Image, float]],
        prompt: str | None = None,
        loop: bool = False,
    ) -> None:
        if stored.is_measured():
            return
        if not stored.picture.exists():
            stored.keep(*make())
        side = self.pipeline.traits.window_px
        stored.write(
            self.meter.measure(stored.open(), side, stored.took_s(), prompt=prompt, loop=loop)
        )


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


def _key(*about: object) -> str:
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]


def digest_of(image: Image.Image) -> str:
    return hashlib.sha256(repr((image.mode, image.size)).encode() + image.tobytes()).hexdigest()


def save_arrays(file: Path, arrays: Mapping[str, Any]) -> None:
    with file.open("wb") as opened:  # by name, numpy would add an ending
        np.savez(opened, **arrays)
