"""What covers the ground: grass, soil, rock, sand, flowers, fields, snow, paths."""

from __future__ import annotations

import torch
from torch import Tensor

from panoweave.core.embedded.training.renderer import terrain as maps
from panoweave.core.embedded.training.renderer.cover import path_of
from panoweave.core.embedded.training.renderer.maths import channel, lerp, rgb, smooth
from panoweave.core.embedded.training.renderer.noise import PUFF, ROUGH, SOFT, WHITE
from panoweave.core.embedded.training.renderer.site import Site, hash_cells


class Ground:
    """The ground's reflectance and relief at every pixel, laid down in order.

    Shares of each material are (B, W, H) in [0, 1]; `albedo` is (B, 3, W, H).
    """

    def __init__(self, site: Site):
        self.site = site
        self.rocky = self._rocky()
        self.bump_x, self.bump_y = self._bumps()
        rock = channel(self._outcrops())
        self.albedo = lerp(self._grass(), self._rock(), rock)
        self.sandy = self._lay_sand()
        self.bloom = self._lay_forest_floor_and_flowers()
        nothing = torch.zeros_like(site.r)
        self.pool, self.trail = nothing, nothing
        flood = self._lay_fields() if site.batch.has("terrace") else nothing
        self.snow = self._lay_snow()
        if site.batch.has("sandy", "water") or _winter(site):
            self._lay_waves()
        if site.batch.has("path"):
            self._lay_path()
        if site.batch.has("flooded"):
            self.pool = torch.maximum(self.pool, flood * (site.p["flooded"] > 0))

    def _rocky(self) -> Tensor:
        s, p = self.site, self.site.p
        steep = s.slope + 0.12 * s.mid[:, ROUGH] * s.k_mid + 0.05 * s.far[:, SOFT]
        return smooth(p["rock_slope"] - 0.16, p["rock_slope"] + 0.14, steep)

    def _bumps(self) -> tuple[Tensor, Tensor]:
        """The land's slope with small relief from textures, stronger on rock."""
        s, p, nz = self.site, self.site.p, self.site.nz
        a = nz.one(s.x + 1.2, s.y, 38.0, 0.4, ROUGH) - s.near[:, ROUGH]
        b = nz.one(s.x, s.y + 1.2, 38.0, 0.4, ROUGH) - s.near[:, ROUGH]
        c = nz.one(s.x + 9.0, s.y, 310.0, 1.3, ROUGH) - s.mid[:, ROUGH]
        d = nz.one(s.x, s.y + 9.0, 310.0, 1.3, ROUGH) - s.mid[:, ROUGH]
        bump = (0.45 * p["bump"] + 0.62 * self.rocky) * 0.28
        bump = bump * lerp(0.5, 1.0, smooth(0.05, 0.35, p["sun_el"]))
        large = (0.6 + 0.5 * self.rocky) * s.k_mid
        bx = s.slope_x + bump * (a * s.k_near + large * c)
        by = s.slope_y + bump * (b * s.k_near + large * d)
        along = torch.where(s.slope_x.abs() > s.slope_y.abs(), s.y, s.x)
        crack = 0.18 * (1 - p["sandy"]) * smooth(0.6, 1.2, s.slope) * s.k_mid
        crack = crack * nz.one(along, s.z * 0.6, 210.0, 0.0, ROUGH)
        return bx + crack * s.slope_y.sign(), by - crack * s.slope_x.sign()

    def _outcrops(self) -> Tensor:
        s, p = self.site, self.site.p
        relief = 0.9 * s.mid[:, PUFF] * s.k_mid + 0.7 * s.far[:, ROUGH] + p["outcrop"] * 2 - 1
        out = smooth(1.5, 1.9, relief) * (p["outcrop"] > 0.05)
        out = out * smooth(500, 1500, s.r) * smooth(0.22, 0.45, s.slope)
        self.rocky = torch.maximum(self.rocky, out)
        return self.rocky

    def _grass(self) -> Tensor:
        s, p, palette = self.site, self.site.p, self.site.palette
        patch = 0.5 + 0.30 * s.far[:, SOFT] + 0.30 * s.mid[:, SOFT] * s.k_mid
        grass = lerp(palette["grass_a"], palette["grass_b"], channel(patch.clamp(0, 1)))
        # Sedge stands dark in some places, straw light in others.
        spots = s.patch[:, SOFT] + 0.45 * s.patch[:, ROUGH] + 0.25 * s.near[:, ROUGH] * s.k_near
        shown = smooth(2500, 400, s.r) * (1 - p["sandy"])
        sedge = smooth(0.25, 1.3, spots + 0.4 * s.mid[:, SOFT]) * shown
        straw = smooth(0.35, 1.5, 0.5 * s.mid[:, ROUGH] - spots) * shown
        grass = lerp(grass, grass * rgb(0.46, 0.58, 0.50, grass), channel(sedge * 0.85))
        pale = lerp(palette["grass_b"] * rgb(1.25, 1.12, 1.05, grass), palette["soil"], 0.18)
        grass = lerp(grass, pale, channel(straw * 0.6))
        tone = 1 + 0.08 * s.near[:, ROUGH] * s.k_near + 0.12 * s.mid[:, ROUGH] * s.k_mid
        tone = tone + 0.10 * s.fine + 0.20 * s.blade
        grass = grass * 0.8 * channel(tone.clamp(0.35, 1.9))
        grass = lerp(grass, palette["grass_b"] * 0.95, channel(smooth(0.9, 2.4, s.blade) * 0.5))
        soil = s.mid[:, SOFT] * 0.8 + s.near[:, SOFT] * 0.5 * s.k_near + s.far[:, PUFF] * 0.4
        soil = smooth(0.6, 1.6, soil + p["bare"] * 2 - 1)
        earth = palette["soil"] * channel(1 + 0.12 * s.near[:, ROUGH] * s.k_near)
        return lerp(grass, earth, channel(soil * (p["bare"] > 0)))

    def _rock(self) -> Tensor:
        s, p, palette, nz = self.site, self.site.p, self.site.palette, self.site.nz
        thick, thin = p["strata"], p["strata"] * 0.31
        strata = ((s.z + 6 * s.mid[:, SOFT] + 14 * s.far[:, SOFT]) / thick).sin() * 0.5 + 0.5
        strata2 = ((s.z + 5 * s.mid[:, SOFT]) / thin + 2).sin() * 0.5 + 0.5
        plain = (0.5 + 0.3 * s.mid[:, SOFT] + 0.2 * s.far[:, SOFT]).clamp(0, 1)
        tone = (0.65 * strata + 0.35 * strata2) * p["banding"] + (1 - p["banding"]) * plain
        rock = lerp(palette["rock_a"], palette["rock_b"], channel(tone))
        along = torch.where(s.slope_x.abs() > s.slope_y.abs(), s.y, s.x)
        wall = smooth(0.7, 1.3, s.slope)
        w1 = nz.tex(along + 0.4 * s.z, s.z * 0.8 + 0.2 * along, 430.0)
        w2 = nz.one(along * 0.8 + 0.1 * s.z, s.z, 45.0, 0.0, ROUGH)
        middle = lerp(s.mid[:, ROUGH], 0.45 * w1[:, ROUGH] + 0.35 * w1[:, PUFF], wall)
        near = lerp(s.near[:, ROUGH], w2, wall)
        tone = 1 + 0.20 * middle * s.k_mid + 0.16 * near * smooth(1500, 100, s.r)
        return rock * channel(tone.clamp(min=0.3))

    def _lay_sand(self) -> Tensor:
        s, p, palette = self.site, self.site.p, self.site.palette
        sand = palette["sand"] * channel(
            1 + 0.03 * s.near[:, ROUGH] * s.k_near + 0.05 * s.mid[:, SOFT]
        )
        beach = smooth(1.6, 0.7, s.z - p["beach"] + 0.5 * s.mid[:, SOFT]) * (p["water"] > 0)
        sandy = torch.maximum(p["sandy"] * smooth(2.2, 1.4, s.slope), beach)
        self.albedo = lerp(self.albedo, sand, channel(sandy))
        return sandy

    def _lay_forest_floor_and_flowers(self) -> Tensor:
        s, p, palette = self.site, self.site.p, self.site.palette
        shade = (s.at[:, maps.NEAR_FOREST] * 0.75).clamp(0, 1) * (1 - self.sandy) * p["floor"]
        floor = (0.5 * palette["soil"] + 0.5 * palette["leaf_b"]) * 0.62
        tone = (1 + 0.3 * s.near[:, ROUGH] * s.k_near + 0.25 * s.fine).clamp(0.3, 2)
        self.albedo = lerp(self.albedo, floor * channel(tone), channel(shade))
        # Flowers: specks in drifts, smaller with distance.
        drifts = s.mid[:, SOFT] + 0.5 * s.near[:, SOFT] * s.k_near + p["flowers"] * 1.6 - 0.9
        drifts = smooth(-0.2, 1.2, drifts) * (p["flowers"] > 0) * (1 - self.rocky)
        specks = smooth(0.9, 1.5, s.spark + 0.3 * drifts)
        bloom = lerp(specks, torch.full_like(s.r, 0.13), smooth(60, 300, s.r))
        bloom = drifts * bloom * smooth(1400, 300, s.r)
        self.albedo = lerp(self.albedo, palette["flower"], channel(bloom * 0.85))
        return bloom

    def _lay_fields(self) -> Tensor:
        """Terraced fields with bunds between them; returns which are flooded."""
        s, p, palette = self.site, self.site.p, self.site.palette
        step = p["terrace"].clamp(min=1.0)
        level = ((s.z + 0.8) / step).floor()
        warp = s.far[:, SOFT] * 0.22 + 0.10 * s.mid[:, SOFT]
        fu = s.u / 46 + warp + 0.37 * level
        fv = s.v / 27 + 0.4 * s.far[:, ROUGH] + 0.08 * s.mid[:, SOFT] + 0.61 * level
        cu, cv = fu.floor(), fv.floor()
        ha, hb = hash_cells(cu, cv, level)
        du, dv = (0.5 - (fu - cu - 0.5).abs()) * 46, (0.5 - (fv - cv - 0.5).abs()) * 27
        wide = 0.5 + 0.008 * s.r
        bund = torch.maximum(
            smooth(wide * 1.6, wide * 0.7, du), smooth(wide * 1.6, wide * 0.7, dv)
        ) * smooth(900, 400, s.r)
        field = lerp(palette["grass_a"], palette["grass_b"], channel(ha))
        field = field * channel(0.75 + 0.55 * hb)
        field = field * channel(1 + 0.08 * s.near[:, ROUGH] * s.k_near + 0.14 * s.blade)
        field = lerp(field, lerp(palette["grass_a"], palette["soil"], 0.35) * 0.75, channel(bund))
        field = lerp(field, palette["grass_a"] * 0.45, channel(smooth(0.25, 0.6, s.slope)))
        flood = (ha > 0.58).float() * (0.55 + 0.45 * (hb > 0.5)) * (1 - bund) * p["flooded"]
        flood = flood * smooth(0.20, 0.10, s.slope) * smooth(0.62, 0.5, (s.z / step + 0.2) % 1.0)
        flood = flood * smooth(4500, 2500, s.r) * (p["terrace"] > 0)
        rows = (s.v / 0.8 + 2 * s.near[:, SOFT]).sin() * smooth(260, 60, s.r)
        field = field * channel(1 + 0.14 * rows)
        far = channel(smooth(1500, 5000, s.r) * 0.5)
        here = channel(p["terrace"] > 0)
        self.albedo = torch.where(here, lerp(field, self.albedo, far), self.albedo)
        return flood

    def _lay_snow(self) -> Tensor:
        """Snow lies on what is high and flat enough."""
        s, p, palette = self.site, self.site.p, self.site.palette
        line = p["snowline"] + 160 * s.far[:, SOFT] + 50 * s.mid[:, SOFT] * s.k_mid
        steep = s.slope / p["snow_steep"] + 0.14 * s.mid[:, ROUGH] * s.k_mid
        steep = steep + 0.05 * s.near[:, ROUGH] * s.k_near
        snow = smooth(-90, 90, s.z - line) * smooth(1.15, 0.62, steep)
        drift = 1 + 0.05 * s.near[:, SOFT] * s.k_near + 0.05 * s.mid[:, ROUGH] * s.k_mid
        drift = (drift + 0.03 * s.fine).clamp(0.6, 1.1)
        self.albedo = lerp(self.albedo, palette["snow"] * channel(drift), channel(snow))
        return snow

    def _lay_waves(self) -> None:
        """Waves of sand and drifts of snow, as relief."""
        s, p, nz = self.site, self.site.p, self.site.nz
        cw, sw = p["wind"].cos(), p["wind"].sin()
        phase = s.u / 0.62 + 1.5 * s.mid[:, SOFT] + 0.9 * s.near[:, SOFT]
        fade = smooth(150, 25, s.r)
        wave = 0.26 * phase.cos() * fade * (0.55 + 0.45 * s.mid[:, PUFF]).clamp(0, 1.2)
        wave = wave + 0.20 * (phase * 3.1 + s.fine).cos() * smooth(45, 14, s.r)
        s0 = nz.tex(s.u * 0.8, s.v * 2.2, 90.0, 0.0, slice(0, 2))
        s1 = nz.tex(s.u * 0.8, s.v * 2.2 + 1.6, 90.0, 0.0, slice(0, 2))
        comb = (s1 - s0)[:, SOFT] * 0.55 * smooth(320, 40, s.r)
        comb = comb + (s1 - s0)[:, ROUGH] * 0.045 * smooth(70, 20, s.r)
        sand = self.sandy * (1 - self.snow) * torch.where(p["water"] > 0, 0.35, 1.0)
        drifts = self.snow * lerp(0.40, 1.0, smooth(0.1, 0.5, p["sun_el"]))
        drifts = drifts * smooth(0.5, 0.3, s.slope) * (p["snowline"] < 0)
        self.bump_x = self.bump_x + cw * wave * sand - sw * comb * drifts
        self.bump_y = self.bump_y + sw * wave * sand + cw * comb * drifts
        self.albedo = self.albedo * channel(1 + 0.10 * phase.sin() * fade * sand)

    def _lay_path(self) -> None:
        """A footpath (1), a road with ruts (2), a stream (3) or tracks in the snow (4)."""
        s, p, palette = self.site, self.site.p, self.site.palette
        across, along = path_of(p, s.x, s.y)
        w = p["path_w"]
        edge = across.abs() + 0.30 * w * s.near[:, ROUGH] * 0.5 + 0.10 * s.fine
        fade = smooth(650, 300, s.r)
        trail = smooth(w * 1.25, w * 0.85, edge) * fade * (p["path"] > 0)
        road, stream, track = ((p["path"] == kind).float() for kind in (2, 3, 4))
        ruts = smooth(0.55, 0.25, (across.abs() - 0.62 * w).abs() / w * 2)
        tone = 1 + 0.12 * s.near[:, ROUGH] * s.k_near + 0.10 * s.fine + 0.10 * s.blade
        dirt = palette["path_colour"] * channel(tone.clamp(0.5, 1.6))
        dry = trail * lerp(torch.ones_like(trail), 0.30 + 0.70 * ruts, road)
        dry = dry * (1 - stream) * (1 - track)
        self.albedo = lerp(self.albedo, dirt, channel(dry * 0.92))
        bank = smooth(w * 2.3, w * 1.2, edge) * fade * stream
        gravel = lerp(palette["rock_b"], palette["soil"], 0.4)
        gravel = gravel * channel((0.8 + 0.25 * s.near[:, WHITE] * s.k_near).clamp(0.3, 1.6))
        self.albedo = lerp(self.albedo, gravel, channel(bank * 0.8))
        self.pool = torch.maximum(self.pool, trail * stream)
        groove = smooth(0.30, 0.10, (across.abs() - 0.5 * w).abs()) * fade * track
        gait = (along * 4.2 + across.sign() * 1.6).sin()
        steps = groove * (0.45 + 0.55 * smooth(-0.2, 0.4, gait))
        self.albedo = self.albedo * channel(1 - 0.34 * steps)
        side = smooth(0.40, 0.15, ((across.abs() - 0.5 * w).abs() - 0.35).abs()) * fade * track
        self.bump_x = self.bump_x + 0.35 * side * across.sign() * -p["path_a"].sin()
        self.bump_y = self.bump_y + 0.35 * side * across.sign() * p["path_a"].cos()
        self.trail = trail * (1 - stream)


def _winter(site: Site) -> bool:
    return any(scene.numbers["snowline"] < 0 for scene in site.batch.scenes)
