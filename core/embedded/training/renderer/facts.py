"""What a rendered panorama shows, column by column, so that any window of it can be described."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from panoweave.core.embedded.training.renderer.classes import (
    CLASSES,
    CLOUD,
    SKY,
    WATER,
)
from panoweave.core.embedded.training.renderer.frame import Frame, Hits
from panoweave.core.embedded.training.renderer.maths import TAU
from panoweave.core.embedded.training.renderer.relief import on_volcano
from panoweave.core.embedded.training.renderer.scene import Batch, Scene

# Rows of `Facts.columns`: the share of each class, and of what follows.
ROWS = (*CLASSES, "peaks", "cones")


@dataclass(frozen=True)
class Facts:
    """A panorama's contents; `columns` and `to_json` are stored beside the picture."""

    columns: NDArray[np.uint8]  # (15, W): shares of the picture's height, 255 is all of it
    sun_x: float  # column of the sun or moon
    sun_shown: bool  # nothing hides it
    biome: str
    time: str
    weather: str
    season: str
    clouds: str
    extras: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """All but the columns, as JSON values."""
        return {
            "sun_x": self.sun_x,
            "sun_shown": self.sun_shown,
            "biome": self.biome,
            "time": self.time,
            "weather": self.weather,
            "season": self.season,
            "clouds": self.clouds,
            "extras": list(self.extras),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any], columns: NDArray[np.uint8]) -> Facts:
        """The inverse of `to_json` and the stored columns."""
        return cls(columns=columns, **{**values, "extras": tuple(values["extras"])})


def class_map(hits: Hits, kind: Tensor, clouds: Tensor, frame: Frame) -> Tensor:
    """The class of every sample of the whole picture (B, W, H), before plants stand in it."""
    kind = torch.where(hits.is_water, float(WATER), kind)
    kind = F.pad(torch.where(hits.hit, kind, float(SKY)), (hits.first_row, 0))
    veil = F.interpolate(clouds, size=(frame.columns, frame.rows), mode="nearest")[:, 0]
    return torch.where((kind == SKY) & (veil > 0.45), float(CLOUD), kind)


def relief_maps(batch: Batch, hits: Hits, camera: Tensor, passes: Tensor) -> tuple[Tensor, Tensor]:
    """Which samples (B, W, H) show mountains (wooded or bare) through the haze, which a volcano."""
    clear = (passes.mean(1) > 0.25) & hits.hit
    high = clear & (hits.r > 800) & (hits.z > camera + (0.055 * hits.r).clamp(min=260.0))
    cone = clear & on_volcano(batch.numbers, hits.x, hits.y)
    pad = (hits.first_row, 0)
    return F.pad(high, pad), F.pad(cone, pad)


def gather_facts(
    batch: Batch, frame: Frame, kind: Tensor, land: Tensor, relief: tuple[Tensor, Tensor]
) -> list[Facts]:
    """Counts classes per picture column; `land` is where no plant was drawn over the land."""
    p = batch.numbers
    masks = [kind == code for code in range(len(CLASSES))]
    masks += [relief[0] & land, relief[1] & land]
    shares = torch.stack([_share(mask, frame.supersample) for mask in masks], 1)
    columns = (shares * 255).round().to(torch.uint8).cpu().numpy()
    sx = torch.remainder(p["sun_az"] / TAU * frame.columns, frame.columns).long().view(-1)
    sx = sx.clamp(0, frame.columns - 1)
    sy = frame.row_of(p["sun_el"].clamp(max=1.4).tan()).long().view(-1)
    inside = (sy >= 0) & (sy < frame.rows)
    scene_index = torch.arange(len(batch), device=kind.device)
    at = kind[scene_index, sx, sy.clamp(0, frame.rows - 1)]
    open_sky = (p["overcast"].view(-1) < 0.6) & (p["sun_el"].view(-1) > -0.005)
    shown = (inside & (at == SKY) & open_sky).tolist()
    places = (sx / frame.supersample).tolist()
    return [
        _facts(scene, columns[i], float(places[i]), bool(shown[i]))
        for i, scene in enumerate(batch.scenes)
    ]


def _facts(scene: Scene, columns: NDArray[np.uint8], sun_x: float, shown: bool) -> Facts:
    return Facts(
        columns=columns,
        sun_x=sun_x,
        sun_shown=shown,
        biome=scene.biome,
        time=scene.time,
        weather=scene.weather,
        season=scene.season,
        clouds=scene.clouds,
        extras=scene.extras,
    )


def _share(mask: Tensor, supersample: int) -> Tensor:
    """(B, W*s, H*s) -> (B, W)."""
    per_column = mask.float().mean(-1)
    if supersample == 1:
        return per_column
    return F.avg_pool1d(per_column[:, None], supersample)[:, 0]
