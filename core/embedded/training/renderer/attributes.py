"""What may be said of a window of a panorama."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from panoweave.core.embedded.training.renderer.classes import CLASSES
from panoweave.core.embedded.training.renderer.facts import ROWS, Facts


@dataclass(frozen=True)
class WindowAttributes:
    """A window's contents. Shares are of the window's area unless said otherwise."""

    shares: Mapping[str, float]  # by class; sums to 1
    clouded: float  # share of the sky that is cloud
    peak_height: float  # the tallest visible mountain, as a share of the picture's height
    peak_visible: bool
    volcano_visible: bool
    sun_visible: bool
    moon_visible: bool
    toward_sun: bool
    dominant: str  # what a stranger would name first
    biome: str
    time: str
    weather: str
    season: str
    clouds: str
    extras: tuple[str, ...]

    @property
    def sky(self) -> float:
        """Share of sky and clouds."""
        return self.shares["sky"] + self.shares["cloud"]

    @property
    def land(self) -> float:
        """Share of all that is not sky."""
        return 1 - self.sky


def window_attributes(facts: Facts, x0: int, width: int) -> WindowAttributes:
    """Describes columns x0 .. x0 + width of a panorama; the window may cross the seam."""
    count = facts.columns.shape[1]
    if not 0 < width <= count:
        raise ValueError(f"width must be 1 to {count} columns, not {width}")
    cut = facts.columns[:, np.arange(x0, x0 + width) % count] / 255.0
    shares = {name: float(cut[i].mean()) for i, name in enumerate(CLASSES)}
    peaks, cones = cut[ROWS.index("peaks")], cut[ROWS.index("cones")]
    sky = shares["sky"] + shares["cloud"]
    sun_inside = facts.sun_shown and (facts.sun_x - x0) % count < width
    away = abs((facts.sun_x - x0 - width / 2 + count / 2) % count - count / 2)
    peak_visible = bool((peaks > 0.035).mean() > 0.12)
    volcano_visible = bool(cones.max() > 0.06 and (cones > 0.02).mean() > 0.2)
    large_peaks = peak_visible and float(peaks.mean()) > 0.05
    return WindowAttributes(
        shares=shares,
        clouded=shares["cloud"] / max(sky, 1e-6),
        peak_height=float(peaks.max()),
        peak_visible=peak_visible,
        volcano_visible=volcano_visible,
        sun_visible=sun_inside and facts.time != "night",
        moon_visible=sun_inside and facts.time == "night",
        toward_sun=bool(away < width),
        dominant=_dominant(facts.biome, shares, large_peaks, volcano_visible),
        biome=facts.biome,
        time=facts.time,
        weather=facts.weather,
        season=facts.season,
        clouds=facts.clouds,
        extras=facts.extras,
    )


def _dominant(biome: str, shares: Mapping[str, float], peaks: bool, volcano: bool) -> str:
    land = max(1 - shares["sky"] - shares["cloud"], 1e-6)
    of_land = {name: share / land for name, share in shares.items()}
    if of_land["water"] > 0.24:
        return "coast" if biome == "coast" else "lake"
    if of_land["trees"] > 0.33:
        forests = {"autumn": "autumn forest", "snow": "snowy forest", "savanna": "savanna"}
        return forests.get(biome, "forest")
    if biome in ("canyon", "terraces"):
        return biome
    if volcano:
        return "volcano"
    if peaks:
        return "mountains"
    if of_land["snow"] > 0.45:
        return "snow"
    if of_land["sand"] > 0.4:
        return "beach" if biome in ("coast", "lake", "mountains") else "desert"
    if biome == "savanna":
        return biome
    open_land = {
        "volcano": "volcanic plain",
        "autumn": "autumn field",
        "snow": "snow",
        "desert": "desert",
        "coast": "grassy shore",
    }
    return open_land.get(biome, "meadow")
