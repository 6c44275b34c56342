"""Renders landscapes as panoramas, and says what any window of them shows.

rng = numpy.random.default_rng(0)
scenes = [sample_scene(rng) for _ in range(4)]
pictures, facts = render_with_facts(scenes, device="cuda")  # uint8 (B, 3, 256, 2048)
window_attributes(facts[0], x0=512, width=256).dominant     # "mountains"
"""

from panoweave.core.embedded.training.renderer.attributes import WindowAttributes, window_attributes
from panoweave.core.embedded.training.renderer.classes import CLASSES
from panoweave.core.embedded.training.renderer.facts import Facts
from panoweave.core.embedded.training.renderer.render import render, render_with_facts
from panoweave.core.embedded.training.renderer.sampling import sample_scene
from panoweave.core.embedded.training.renderer.scene import BIOMES, TIMES, WEATHERS, Scene
from panoweave.core.embedded.training.renderer.styles import STYLES, apply_style

__all__ = [
    "BIOMES",
    "CLASSES",
    "STYLES",
    "TIMES",
    "WEATHERS",
    "Facts",
    "Scene",
    "WindowAttributes",
    "apply_style",
    "render",
    "render_with_facts",
    "sample_scene",
    "window_attributes",
]
