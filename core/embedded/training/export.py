"""Writes the checkpoint in Stable Diffusion's format, float16."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from diffusers import ControlNetModel, StableDiffusionPipeline
from torch import nn

from panoweave.core.checkpoint import CheckpointNotes, SyncDefaults
from panoweave.core.diffusion.patch_autoencoder import PatchAutoencoder
from panoweave.core.embedded.examples import EXAMPLES
from panoweave.core.embedded.export_target import clear_export_target
from panoweave.core.embedded.training.denoiser import Networks
from panoweave.core.embedded.training.latents import WINDOW_PX
from panoweave.core.vocabulary import VOCABULARY_FILE

# What suits this model. Guidance away from a weaker UNet gives it structure, more of it burns its
# colours; its scenes are a window high, and the presets' weights, for Stable Diffusion, would pull
# its windows until they are all alike: docs/quality.md.
NOTES = CheckpointNotes(
    guidance_scale=1.75,
    perturbed_attention=True,
    trained_height=WINDOW_PX,
    sync={
        "paper": SyncDefaults(weight=15),
        # Half as many moves as the presets', in less time; weights by the light of windows.
        "balanced": SyncDefaults(weight=14, tuned_steps=25),
        "fast": SyncDefaults(weight=23, tuned_steps=15),
    },
    examples=EXAMPLES,
)


@torch.no_grad()
def fill(parameters: Iterable[nn.Parameter], file: Path) -> None:
    """Networks as their run has them on average."""
    average = torch.load(file, weights_only=True, map_location="cpu")["ema"]
    for i, parameter in enumerate(parameters):
        parameter.copy_(average[str(i)])


def export(
    target: Path,
    networks: Networks,
    autoencoder: PatchAutoencoder,
    tiny: PatchAutoencoder,
    controlnet: ControlNetModel | None,
    words: Sequence[str],
) -> None:
    """Saves filled networks as one directory; a checkpoint that was there is removed."""
    pipeline = StableDiffusionPipeline(
        vae=autoencoder.half(),
        text_encoder=networks.text_encoder.half(),
        tokenizer=networks.tokenizer,
        unet=networks.unet.half(),
        scheduler=networks.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    clear_export_target(target)
    pipeline.save_pretrained(target)
    tiny.half().save_pretrained(target / "tiny_decoder")
    if controlnet is not None:
        controlnet.half().save_pretrained(target / "controlnet")
    # transformers 5 writes tokenizer.json alone; other readers of the format look for these.
    networks.tokenizer.backend_tokenizer.model.save(str(target / "tokenizer"))
    (target / "panoweave.json").write_text(
        NOTES.model_dump_json(indent=2, exclude_none=True) + "\n"
    )
    (target / VOCABULARY_FILE).write_text(json.dumps(list(words), indent=0) + "\n")
