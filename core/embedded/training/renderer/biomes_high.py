"""Biomes of rock, sand and water. Lengths in metres, colours linear RGB."""

from __future__ import annotations

from panoweave.core.embedded.training.renderer.dice import Draft
from panoweave.core.embedded.training.renderer.maths import TAU


def mountains(draft: Draft) -> str:
    """Summits all round, with forest or a lake at their feet."""
    draft.set(
        mountain=draft.between(1700, 2800),
        mountain_size=draft.between(2600, 4200),
        mountain_near=draft.between(900, 1700),
        skyline=draft.between(0.30, 0.42),
        lift=9.0,
        snow_steep=draft.between(1.3, 2.2),
        sand=(0.27, 0.25, 0.22),
        hill=draft.between(22, 60),
        hill_size=draft.between(400, 800),
        rim=draft.between(0, 60),
        snowline=draft.between(400, 850),
        forest=draft.pick((0.3, draft.between(0.42, 0.6), draft.between(0.45, 0.65))),
        treeline=draft.between(350, 650),
        tree_near=draft.between(36, 90),
        tree_kind2=7.0,
        tree_mix=0.15,
        eye=draft.between(5, 18),
        tuft_dense=0.6,
        bush_dense=0.30,
        bush_kind2=5.0,
        bush_mix=0.45,
        stone=draft.between(0.10, 0.35),
        outcrop=draft.between(0.0, 0.2),
        clear=170,
        bare=0.0,
    )
    if draft.chance(0.38):
        draft.set(
            lake=1.0,
            water=1.0,
            lake_r=draft.between(260, 600),
            lake_near=draft.between(50, 110),
            wave=draft.between(0.02, 0.2),
            eye=draft.between(6, 12),
            rim=0.0,
            hill=draft.between(30, 60),
        )
    else:
        draft.set(path=draft.pick((0, 1, 2, 3, 3)))
    return "summer"


def lake(draft: Draft) -> str:
    """A wide lake below mountains."""
    draft.set(
        mountain=draft.between(1000, 1800),
        mountain_size=draft.between(3200, 5000),
        mountain_near=draft.between(2400, 3600),
        lift=4.0,
        snow_steep=draft.between(1.2, 1.8),
        sand=(0.33, 0.29, 0.23),
        skyline=draft.between(0.20, 0.33),
        lake=1.0,
        water=1.0,
        lake_r=draft.between(600, 1500),
        bush_kind2=5.0,
        bush_mix=0.3,
        lake_near=draft.pick((0.0, draft.between(50, 100), draft.between(50, 100))),
        tuft_dense=0.7,
        hill=draft.between(40, 90),
        hill_size=draft.between(600, 1200),
        snowline=draft.between(350, 900),
        forest=draft.between(0.45, 0.75),
        tree_kind2=7.0,
        tree_mix=0.15,
        treeline=draft.between(350, 650),
        wave=draft.between(0.02, 0.22),
        eye=draft.between(6, 13),
        tree_near=36,
        stone=draft.between(0.03, 0.2),
    )
    return "summer"


def coast(draft: Draft) -> str:
    """Open sea, cliffs and beaches."""
    draft.set(
        tuft_dense=0.4,
        stone=0.1,
        coast=1.0,
        water=1.0,
        coast_size=draft.between(1800, 3600),
        coast_bias=draft.between(-0.1, 0.2),
        cliff=draft.between(22, 90),
        wave=draft.between(0.35, 0.8),
        eye=draft.between(8, 30),
        hill=draft.between(20, 60),
        forest=draft.pick((0.0, draft.between(0.2, 0.5))),
        treeline=300,
        banding=draft.between(0.2, 0.7),
        strata=draft.between(3, 9),
        conifer=0.3,
        beach=draft.between(0.5, 3.0),
        shallow=draft.vary((0.08, 0.33, 0.33)),
        deep=draft.vary((0.01, 0.055, 0.10)),
        clarity=draft.between(3, 10),
        clear=draft.between(300, 650),
        tree_tall=9.0,
        tree_kind=1.0,
    )
    view = draft.pick(("sea", "beach", "cliff"))
    if view == "beach":
        draft.set(ashore=1.0, shore=draft.between(18, 60), cliff=draft.between(0, 14))
        draft.set(
            beach=draft.between(2.0, 4.0), eye=draft.between(3, 8), wave=draft.between(0.2, 0.6)
        )
        draft.set(
            forest=draft.pick((0.0, draft.between(0.35, 0.6))), tree_near=draft.between(40, 90)
        )
        draft.set(sand=draft.vary((0.60, 0.50, 0.36)), tuft_dense=0.5, bush_dense=0.4)
    elif view == "cliff":
        draft.set(ashore=1.0, shore=draft.between(40, 110), cliff=draft.between(30, 80))
        draft.set(eye=draft.between(3, 9), tuft_dense=0.7, stone=0.2, bush_dense=0.3)
    return "summer"


def desert(draft: Draft) -> str:
    """Dunes of sand."""
    sand = draft.pick(
        [(0.62, 0.43, 0.24), (0.68, 0.52, 0.33), (0.60, 0.35, 0.18), (0.72, 0.62, 0.47)]
    )
    draft.set(
        bush_grass=0.3,
        moss=0.0,
        stone=draft.pick((0.0, 0.0, 0.05)),
        dune=draft.between(45, 85),
        dune_size=draft.between(220, 420),
        bush_dense=draft.pick((0.0, 0.04)),
        hill=draft.between(8, 24),
        sandy=1.0,
        sand=draft.vary(sand, 0.1, 0.04),
        rock_a=sand,
        rock_b=sand,
        eye=draft.between(6, 13),
        bump=0.05,
        rock_slope=3.0,
        clear=300,
        soft=0.2,
        snowline=9000,
        mountain=draft.pick((0.0, 0.0, draft.between(500, 900))),
        mountain_near=9000,
    )
    own = draft.colours["sand"]
    draft.set(grass_a=own, grass_b=own, soil=own)
    return "summer"


def canyon(draft: Draft) -> str:
    """Red table mountains over dry land."""
    red = draft.pick(
        [
            ((0.36, 0.15, 0.08), (0.56, 0.31, 0.18)),
            ((0.44, 0.24, 0.13), (0.63, 0.45, 0.30)),
            ((0.30, 0.13, 0.09), (0.50, 0.27, 0.19)),
        ]
    )
    draft.set(
        skyline=draft.between(0.15, 0.24),
        lift=2.0,
        bush_mix=0.4,
        bush_kind2=5.0,
        tuft_tall=0.5,
        tuft_dense=0.10,
        moss=0.0,
        stone=draft.between(0.2, 0.5),
        mesa=draft.between(160, 320),
        mesa_size=draft.between(1400, 2800),
        mesa_near=draft.between(500, 1100),
        hill=draft.between(10, 30),
        rock_a=draft.vary(red[0], 0.1, 0.04),
        rock_b=draft.vary(red[1], 0.1, 0.04),
        banding=draft.between(0.6, 0.95),
        strata=draft.between(4, 11),
        rock_slope=0.42,
        grass_a=draft.vary((0.38, 0.22, 0.12)),
        grass_b=draft.vary((0.45, 0.30, 0.17)),
        soil=draft.vary((0.40, 0.20, 0.11)),
        bare=0.2,
        bump=0.10,
        eye=draft.between(5, 14),
        forest=draft.pick((0.0, 0.25)),
        tree_tall=2.5,
        tree_gap=9.0,
        tree_kind=3.0,
        bush_dense=0.22,
        conifer=0.0,
        treeline=5000,
        leaf_a=(0.10, 0.11, 0.05),
        leaf_b=(0.14, 0.14, 0.07),
        leaf_c=(0.18, 0.17, 0.08),
        snowline=9000,
    )
    return "summer"


def volcano(draft: Draft) -> str:
    """Volcanoes over dark land."""
    draft.set(
        grass_a=draft.vary((0.062, 0.074, 0.036)),
        grass_b=draft.vary((0.12, 0.125, 0.06)),
        lift=1.6,
        bush_mix=0.5,
        bush_kind2=5.0,
        moss=0.25,
        stone=draft.between(0.15, 0.4),
        volcano=draft.between(1500, 2600),
        volcano_r=draft.between(6000, 9000),
        volcano_a=draft.between(0, TAU),
        volcano_w=draft.between(5200, 7500),
        hill=draft.between(25, 60),
        rim=draft.between(0, 60),
        tuft_dense=0.35,
        rock_a=(0.09, 0.08, 0.08),
        rock_b=(0.17, 0.145, 0.14),
        soil=(0.10, 0.085, 0.08),
        bare=0.35,
        forest=draft.between(0.3, 0.6),
        treeline=draft.between(250, 500),
        snowline=draft.pick((9000.0, draft.between(1200, 1700))),
        eye=draft.between(6, 16),
        rock_slope=0.4,
    )
    return "summer"
