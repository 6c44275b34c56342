"""Biomes of grass, trees and snow. Lengths in metres, colours linear RGB."""

from __future__ import annotations

from panoweave.core.embedded.training.renderer.dice import Draft


def meadow(draft: Draft) -> str:
    """Grass and flowers on gentle hills."""
    season = draft.pick(("spring", "summer"))
    draft.set(
        stone=draft.pick((0.0, draft.between(0.0, 0.08))),
        hill=draft.between(35, 80),
        hill_size=draft.between(450, 900),
        rim=draft.between(70, 180),
        clear=350,
        forest=draft.between(0.35, 0.52),
        forest_size=draft.between(250, 600),
        conifer=0.0,
        tree_kind=1.0,
        tree_dense=0.5,
        leaf_a=(0.030, 0.062, 0.018),
        leaf_b=(0.048, 0.085, 0.022),
        leaf_c=(0.085, 0.12, 0.032),
        tree_tall=draft.between(8, 13),
        flowers=draft.pick((0.0, draft.between(0.3, 0.6), draft.between(0.3, 0.6))),
        flower=draft.pick(
            [
                (0.85, 0.75, 0.15),
                (0.75, 0.2, 0.2),
                (0.55, 0.35, 0.75),
                (0.9, 0.9, 0.85),
                (0.85, 0.45, 0.6),
            ]
        ),
        eye=draft.between(4, 9),
        tuft_dense=0.8,
        bare=0.0,
        rock_slope=0.95,
        mountain=draft.pick((0.0, draft.between(700, 1600))),
        mountain_near=draft.between(6000, 9000),
        snowline=draft.between(700, 2500),
        treeline=2000,
        tree_near=draft.between(60, 160),
    )
    if season == "spring":
        draft.set(grass_a=(0.065, 0.120, 0.026), grass_b=(0.125, 0.180, 0.042))
    return season


def forest(draft: Draft) -> str:
    """Woods of firs, or mixed."""
    draft.set(
        bare=0.0,
        stone=draft.between(0.0, 0.12),
        tree_mix=draft.pick((0.08, 0.3)),
        tree_kind2=7.0,
        bush_mix=0.25,
        bush_kind2=5.0,
        hill=draft.between(50, 110),
        hill_size=draft.between(600, 1200),
        rim=draft.between(80, 250),
        forest=draft.between(0.72, 0.95),
        forest_size=draft.between(400, 900),
        conifer=draft.pick((1.0, 1.0, 0.5)),
        tree_tall=draft.between(12, 18),
        tree_gap=draft.between(5.5, 7.5),
        eye=draft.between(5, 15),
        tuft_dense=0.6,
        mountain=draft.pick((0.0, draft.between(600, 1500))),
        mountain_near=draft.between(3000, 7000),
        treeline=draft.between(700, 2000),
        tree_near=draft.between(40, 120),
        snowline=draft.between(900, 2500),
    )
    return "summer"


def autumn(draft: Draft) -> str:
    """Woods that have turned red and gold."""
    reds = [
        ((0.26, 0.055, 0.018), (0.36, 0.14, 0.02), (0.42, 0.27, 0.04)),
        ((0.18, 0.075, 0.022), (0.34, 0.18, 0.03), (0.10, 0.11, 0.03)),
        ((0.33, 0.09, 0.02), (0.38, 0.22, 0.03), (0.05, 0.085, 0.025)),
        ((0.20, 0.05, 0.03), (0.30, 0.12, 0.03), (0.20, 0.15, 0.04)),
    ]
    a, b, c = draft.pick(reds)
    draft.set(
        bare=0.12,
        stone=draft.between(0.0, 0.08),
        hill=draft.between(40, 100),
        hill_size=draft.between(600, 1200),
        rim=draft.between(80, 220),
        forest=draft.between(0.66, 0.9),
        forest_size=draft.between(300, 700),
        conifer=0.0,
        tree_kind=1.0,
        tree_kind2=0.0,
        tree_mix=draft.pick((0.0, 0.15)),
        tree_tall=draft.between(9, 13),
        tree_gap=draft.between(7, 9),
        bush_grass=0.3,
        leaf_a=a,
        leaf_b=b,
        leaf_c=c,
        grass_a=draft.vary((0.13, 0.115, 0.045)),
        grass_b=draft.vary((0.21, 0.17, 0.075)),
        eye=draft.between(5, 13),
        tuft_dense=0.7,
        mountain=draft.pick((0.0, draft.between(600, 1500))),
        mountain_near=draft.between(3500, 7000),
        treeline=2000,
        tree_near=draft.between(36, 110),
    )
    return "autumn"


def snow(draft: Draft) -> str:
    """Winter: snow on everything."""
    draft.set(
        skyline=draft.between(0.12, 0.25),
        lift=2.2,
        snow_steep=1.5,
        moss=0.0,
        bush_mix=0.5,
        bush_kind2=5.0,
        tree_mix=0.08,
        tree_kind2=7.0,
        tuft_dense=0.04,
        stone=draft.between(0.0, 0.03),
        snowline=-3000.0,
        bush_dense=0.06,
        mountain=draft.pick(
            (0.0, draft.between(900, 2200), draft.between(900, 2200), draft.between(900, 2200))
        ),
        mountain_near=draft.between(2000, 4500),
        hill=draft.between(30, 80),
        hill_size=draft.between(400, 900),
        rim=draft.between(60, 200),
        forest=draft.between(0.42, 0.68),
        treeline=draft.between(400, 900),
        tree_snow=draft.between(0.3, 0.9),
        eye=draft.between(5, 15),
        rock_slope=0.9,
        tree_near=draft.between(40, 160),
        soft=0.3,
        bump=0.15,
    )
    return "winter"


def savanna(draft: Draft) -> str:
    """Dry grass with acacias."""
    draft.set(
        stone=draft.between(0.0, 0.05),
        hill=draft.between(12, 35),
        hill_size=draft.between(600, 1500),
        rim=draft.between(10, 80),
        grass_a=draft.vary((0.24, 0.19, 0.075)),
        grass_b=draft.vary((0.36, 0.29, 0.13)),
        soil=draft.vary((0.27, 0.16, 0.09)),
        bare=0.1,
        bump=0.12,
        forest=draft.between(0.48, 0.6),
        crown=0.42,
        floor=0.3,
        forest_size=draft.between(80, 200),
        conifer=0.0,
        tree_kind=2.0,
        tree_kind2=3.0,
        tree_mix=0.15,
        tree_dense=0.8,
        bush_grass=0.8,
        tree_gap=draft.between(10, 14),
        tree_tall=draft.between(10, 14),
        tuft_dense=0.85,
        tuft_tall=0.9,
        leaf_a=(0.09, 0.11, 0.035),
        leaf_b=(0.13, 0.14, 0.045),
        leaf_c=(0.17, 0.16, 0.05),
        eye=draft.between(4, 8),
        mountain=draft.pick((0.0, draft.between(400, 800))),
        mountain_near=draft.between(8000, 12000),
        snowline=9000,
        treeline=5000,
        tree_near=draft.between(36, 60),
    )
    return "dry season"


def terraces(draft: Draft) -> str:
    """Fields cut into hillsides, some flooded."""
    draft.set(
        tuft_dense=0.0,
        hill=draft.between(60, 110),
        hill_size=draft.between(500, 800),
        rim=draft.between(180, 380),
        bump=0.08,
        flooded=draft.pick((0.0, 1.0, 1.0)),
        tree_kind=1.0,
        bush_dense=0.08,
        terrace=draft.between(5, 9),
        rock_slope=3.0,
        forest=draft.between(0.1, 0.3),
        forest_size=300,
        conifer=0.0,
        tree_tall=7.0,
        bare=0.05,
        grass_a=draft.vary((0.070, 0.095, 0.034)),
        grass_b=draft.vary((0.17, 0.165, 0.065)),
        eye=draft.between(18, 38),
        mountain=draft.pick((0.0, draft.between(700, 1400))),
        mountain_near=7000,
        treeline=2000,
        clear=350,
    )
    return "summer"
