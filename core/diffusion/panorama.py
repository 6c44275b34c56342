"""What a pipeline makes."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image

from panoweave.core.diffusion.coherence import Coherence
from panoweave.core.diffusion.loras import AppliedLora
from panoweave.core.diffusion.prompts import TruncatedPrompt, UnknownWords
from panoweave.core.diffusion.quality import QualityWarning
from panoweave.core.params import ResolvedParams


@dataclass(frozen=True)
class Panorama:
    """A finished panorama, its parameters and how it was made."""

    image: Image.Image
    params: ResolvedParams
    coherence: Coherence | None  # None: no meter, or fewer than two windows
    timings_s: dict[str, float]  # encode, denoise, upscale, decode, measure
    truncated_prompts: list[TruncatedPrompt]
    unknown_words: list[UnknownWords]
    quality_warnings: list[QualityWarning] = field(default_factory=list)
    loras: list[AppliedLora] = field(default_factory=list)

    @property
    def seed(self) -> int:
        return self.params.seed
