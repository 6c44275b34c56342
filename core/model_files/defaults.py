"""What a checkpoint says of itself: its defaults, and what it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from panoweave.core.checkpoint import (
    CheckpointDefaults,
    CheckpointNotes,
    CheckpointTraits,
    InvalidParams,
    PublishedSyncDefaults,
)
from panoweave.core.families import family_named
from panoweave.core.guidance_fields import check_perturbed_attention
from panoweave.core.model_files.errors import CheckpointError, by_path

DEFAULTS_FILE: Final = "panoweave.json"
# What latent consistency models (arXiv 2310.04378) were distilled for.
_LCM_STEPS: Final = 8
_LCM_GUIDANCE_SCALE: Final = 8.5


def fill_defaults(
    traits: CheckpointTraits, folder: Path, scheduler: str, parts: Any
) -> CheckpointTraits:
    """The traits with the checkpoint's own defaults; where it says none, with its family's.

    `scheduler`: the class that the checkpoint names; `parts`: as for `check_stable_diffusion`.
    """
    usual = _lcm_defaults(parts.unet) if scheduler == "LCMScheduler" else traits.defaults
    notes = read_notes(folder)
    own = notes.defaults.model_dump(exclude_unset=True)
    if notes.perturbed_attention:
        try:
            check_perturbed_attention(notes.guidance_scale, traits)
        except InvalidParams as error:
            raise CheckpointError(f"{DEFAULTS_FILE}: {error}") from error
    window_px = _window(notes.window_px, traits)
    return traits.model_copy(
        update={
            "defaults": usual.model_copy(update=own),
            "window_px": window_px,
            "sync": {
                preset: PublishedSyncDefaults(**own.model_dump())
                for preset, own in notes.sync.items()
            },
            "examples": notes.examples,
        }
    )


def _window(window_px: int | None, traits: CheckpointTraits) -> int:
    """The side of a window, where the checkpoint's own file may choose it."""
    if window_px is None or window_px == traits.window_px:
        return traits.window_px
    if not family_named(traits.family).takes_any_window:
        raise CheckpointError(
            f"{DEFAULTS_FILE}: window_px: its network has windows of {traits.window_px} px; leave "
            "it out"
        )
    unit = 2 * traits.px_per_latent  # a token is two latents wide
    if window_px % unit:
        raise CheckpointError(
            f"{DEFAULTS_FILE}: window_px: {window_px}; legal: multiples of {unit}"
        )
    return window_px


def read_notes(checkpoint: Path) -> CheckpointNotes:
    """Read the `panoweave.json` of a checkpoint's directory, if it has one."""
    file = checkpoint / DEFAULTS_FILE
    if not file.is_file():
        return CheckpointNotes()
    try:
        return CheckpointNotes.model_validate_json(file.read_text())
    except ValidationError as error:
        raise CheckpointError(f"{DEFAULTS_FILE}: {by_path(error)}") from error


def _lcm_defaults(unet: Any) -> CheckpointDefaults:
    """Of a latent consistency model."""
    embeds_guidance = unet.config.time_cond_proj_dim is not None
    return CheckpointDefaults(
        scheduler="lcm",
        steps=_LCM_STEPS,
        guidance_scale=_LCM_GUIDANCE_SCALE if embeds_guidance else 1,
    )
