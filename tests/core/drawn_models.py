"""Tiny models that take every field of a request, one each of what changes what is legal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from panoweave.core.diffusion.coherence import CoherenceMeter
from panoweave.core.diffusion.loras import Loras
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from tests.core import tiny, tiny_flow
from tests.core.loras import PLENTY, make_loras

Make = Callable[[Path], SyncDiffusionPipeline]


# The smallest that the networks take: a test makes many panoramas.
_WINDOW_LATENTS: Final = 4
_WINDOW_PX: Final = _WINDOW_LATENTS * tiny.PX_PER_LATENT


def _with_all(folder: Path) -> SyncDiffusionPipeline:
    """A small decoder, a ControlNet and LoRAs."""
    made = tiny.pipeline(folder / "words", window_latents=_WINDOW_LATENTS)
    made.use_tiny_decoder(tiny.small_decoder())
    made.use_controlnet(tiny.controlnet(made.unet))
    folder.joinpath("loras").mkdir()
    made.use_loras(Loras(made, make_loras(folder / "loras"), PLENTY))
    made.trained_height = made.traits.window_px
    return _measured(made)


def _plain(folder: Path) -> SyncDiffusionPipeline:
    """Nothing beside the checkpoint. A quarter of a window is no whole number of its latents."""
    return _measured(tiny.pipeline(folder, prediction_type="v_prediction", window_latents=6))


def _distilled(folder: Path) -> SyncDiffusionPipeline:
    """To a few steps, without guidance, and with values of its own for some of `sync`."""
    made = tiny.pipeline(folder, window_latents=_WINDOW_LATENTS)
    traits = made.traits.model_dump()
    traits["defaults"] = {"scheduler": "lcm", "steps": 2, "guidance_scale": 1.0}
    traits["sync"] = {"paper": {"weight": 3, "max_move": 0.5}, "fast": {"weight": 0}}
    made.traits = type(made.traits).model_validate(traits)
    return _measured(made)


def _guided_inside(folder: Path) -> SyncDiffusionPipeline:
    """The guidance scale is an input of the network."""
    parts = tiny.components(folder) | {
        "unet": tiny.unet(sample_size=_WINDOW_LATENTS, time_cond_proj_dim=8)
    }
    return _measured(SyncDiffusionPipeline(**parts))


def _xl(folder: Path) -> SyncDiffusionPipeline:
    return _measured(_with_small_windows(SyncDiffusionPipeline(**tiny.components_xl(folder))))


def _schnell(folder: Path) -> SyncDiffusionPipeline:
    made = SyncDiffusionPipeline(**tiny_flow.flux(folder, guided=False))
    return _measured(_with_small_windows(made))


def _flow(case: tiny_flow.FlowCase) -> Make:
    return lambda folder: _measured(_with_small_windows(case.pipeline(folder)))


def _with_small_windows(made: SyncDiffusionPipeline) -> SyncDiffusionPipeline:
    made.traits = made.traits.model_copy(update={"window_px": _WINDOW_PX})
    return made


def _measured(made: SyncDiffusionPipeline) -> SyncDiffusionPipeline:
    made.perceptual = tiny.perceptual()
    made.meter = CoherenceMeter(made.perceptual, made.perceptual)
    return made


MODELS: Final[Mapping[str, Make]] = {
    "with all": _with_all,
    "plain": _plain,
    "distilled": _distilled,
    "guided inside": _guided_inside,
    "xl": _xl,
    "schnell": _schnell,
    **{case.name: _flow(case) for case in tiny_flow.CASES},
}


class DrawnModels:
    """Each is made once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> SyncDiffusionPipeline:
        if name not in self._made:
            folder = self._folder / name.replace(" ", "-")
            folder.mkdir()
            self._made[name] = MODELS[name](folder)
        made: SyncDiffusionPipeline = self._made[name]
        return made
