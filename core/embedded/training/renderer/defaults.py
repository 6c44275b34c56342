"""What every scene has unless its biome, light or weather says otherwise."""

from __future__ import annotations

from panoweave.core.embedded.training.renderer.scene import Colour

NUMBERS: dict[str, float] = {
    "base": 20.0,  # height of the plain, m
    "clear": 500.0,  # radius of the flatter ground about the camera, m
    "hill": 30.0,  # height of hills, m
    "hill_size": 900.0,  # m
    "mountain": 0.0,  # height of mountains, m
    "mountain_size": 4200.0,
    "mountain_near": 4000.0,
    "rim": 0.0,
    "skyline": 0.24,  # tangent of the elevation that the highest summits are fitted to
    "lift": 1.0,  # how much far summits may grow to reach `skyline`
    "snow_steep": 1.0,
    "path": 0.0,  # 0 none, 1 footpath, 2 road, 3 stream, 4 tracks in snow
    "path_w": 0.8,  # half width, m
    "path_a": 0.0,  # direction, radians
    "path_o": 5.0,  # distance from the camera, m
    "stone": 0.0,  # share of tufts that are stones
    "moss": 0.5,
    "erosion": 0.075,
    "rough": 1.0,
    "volcano": 0.0,  # m
    "volcano_r": 7000.0,
    "volcano_a": 0.0,
    "volcano_w": 5200.0,
    "dune": 0.0,  # m
    "dune_size": 420.0,
    "wind": 0.5,  # direction, radians
    "mesa": 0.0,  # m
    "mesa_size": 2600.0,
    "mesa_near": 1500.0,
    "lake": 0.0,
    "lake_r": 1400.0,  # m
    "lake_near": 90.0,
    "coast": 0.0,
    "coast_size": 2600.0,
    "coast_bias": 0.1,
    "cliff": 60.0,  # m
    "terrace": 0.0,  # step, m
    "flooded": 0.0,
    "water": 0.0,
    "forest": 0.0,
    "forest_size": 900.0,
    "treeline": 900.0,  # m
    "tree_near": 160.0,  # nearest tree, m
    "tree_gap": 7.0,  # m
    "tree_tall": 14.0,  # m
    "conifer": 1.0,  # 1 pointed crowns, 0 round ones, for distant trees
    "crown": 1.0,
    "tree_snow": 0.0,
    "tree_kind": 0.0,  # index in `sprites.KINDS`
    "tree_kind2": 0.0,
    "tree_mix": 0.0,
    "tree_dense": 0.9,
    "tree_far": 300.0,  # from here on trees are part of the land, m
    "floor": 1.0,
    "tuft_kind": 4.0,
    "tuft_kind2": 4.0,
    "tuft_mix": 0.0,
    "tuft_dense": 0.0,
    "tuft_gap": 0.95,
    "tuft_tall": 0.95,
    "bush_kind": 3.0,
    "bush_kind2": 3.0,
    "bush_mix": 0.0,
    "bush_dense": 0.35,
    "bush_gap": 3.2,
    "bush_tall": 1.8,
    "bush_grass": 0.7,
    "eye": 16.0,  # camera above the ground, m
    "horizon": 0.5,  # its row as a share of the picture height
    "rock_slope": 0.62,
    "outcrop": 0.0,
    "bump": 0.22,
    "bare": 0.3,
    "strata": 9.0,  # thickness of rock layers, m
    "banding": 0.25,
    "sandy": 0.0,
    "beach": 0.0,
    "flowers": 0.0,
    "snowline": 2500.0,  # m
    "soft": 0.3,
    "sun_el": 0.6,  # elevation of sun or moon, radians
    "sun_az": 0.0,  # azimuth, radians
    "mie": 1.0,  # dust, 1 is clear air
    "cloud_base": 1300.0,  # m
    "cloud_thick": 1100.0,  # m
    "cumulus": 0.0,
    "sheet": 0.0,
    "sheet_h": 1800.0,
    "sheet_dark": 0.5,
    "sheet_fine": 1.0,
    "rain": 0.0,
    "cloud_dark": 1.0,
    "cirrus": 0.3,
    "drift": 0.0,  # moves the clouds, m
    "overcast": 0.0,  # share of sunlight that clouds take
    "haze": 2.2e-05,  # extinction per m
    "haze_height": 2500.0,
    "fog": 0.0,  # extinction per m
    "fog_top": 60.0,  # m
    "wave": 0.3,  # steepness of the water, 0 to 1
    "clarity": 6.0,  # depth at which water turns deep, m
    "night": 0.0,  # 1 where the light is the moon
    "night_level": 0.0,  # mean of the picture that nights are raised to, 0 to 1
    "shore": 60.0,  # of coasts seen from the land: distance to the water, m
    "ashore": 0.0,  # of coasts: 0 the camera is at sea, 1 on land
    "key": 0.3,  # exposure: mean of the log of light before the film curve
    "sky_cap": 0.8,  # brightest mean of the upper sky
    "local": 0.28,  # strength of local contrast compression
    "bloom": 0.35,
    "saturation": 1.06,
    "contrast": 1.0,
    "seed": 0.0,
}

COLOURS: dict[str, Colour] = {
    "path_colour": (0.3, 0.23, 0.16),
    "grass_a": (0.1, 0.17, 0.035),
    "grass_b": (0.2, 0.24, 0.06),
    "soil": (0.22, 0.16, 0.1),
    "rock_a": (0.22, 0.21, 0.2),
    "rock_b": (0.33, 0.31, 0.29),
    "sand": (0.55, 0.45, 0.3),
    "flower": (0.8, 0.7, 0.2),
    "snow": (0.86, 0.89, 0.94),
    "leaf_a": (0.02, 0.042, 0.022),
    "leaf_b": (0.032, 0.06, 0.026),
    "leaf_c": (0.058, 0.085, 0.036),
    "shallow": (0.1, 0.3, 0.28),
    "bark": (0.1, 0.075, 0.055),
    "deep": (0.012, 0.05, 0.08),
    "overcast_tint": (1.0, 1.03, 1.08),
    "grade": (1.0, 1.0, 1.0),
    "tone_dark": (0.0, 0.0, 0.0),
    "tone_light": (0.0, 0.0, 0.0),
    "dusk_warm": (1.3, 0.85, 0.6),
    "dusk_belt": (1.1, 0.9, 1.05),
}
