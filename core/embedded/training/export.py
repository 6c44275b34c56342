"""Writes the checkpoint in Stable Diffusion's format, float16."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import nn

from core.diffusion.patch_autoencoder import PatchAutoencoder
from core.embedded.training.captions import vocabulary
from core.embedded.training.denoiser import Networks
from core.traits import CheckpointDefaults
from core.vocabulary import VOCABULARY_FILE

# What suits this model: stronger guidance burns its colours.
DEFAULTS = CheckpointDefaults(guidance_scale=3.0)


def fill_from_averages(networks: Networks, file: Path) -> None:
    """UNet and text encoder as their run has them on average."""
    _fill(networks.parameters(), _state(file)["ema"])


def fill_decoder(model: PatchAutoencoder, file: Path) -> None:
    """A decoder as its run has it on average."""
    _fill(list(model.decoder.parameters()), _state(file)["ema"])


def export(
    target: Path, networks: Networks, autoencoder: PatchAutoencoder, tiny: PatchAutoencoder
) -> None:
    """Saves filled networks as one directory; what was there before goes."""
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
    if target.exists():
        shutil.rmtree(target)
    pipeline.save_pretrained(target)
    tiny.half().save_pretrained(target / "tiny_decoder")
    # transformers 5 writes tokenizer.json alone; other readers of the format look for these.
    networks.tokenizer.backend_tokenizer.model.save(str(target / "tokenizer"))
    (target / "panoweave.json").write_text(DEFAULTS.model_dump_json(indent=2) + "\n")
    (target / VOCABULARY_FILE).write_text(json.dumps(vocabulary(), indent=0) + "\n")


def _state(file: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu")
    return state


@torch.no_grad()
def _fill(parameters: list[nn.Parameter], average: dict[str, torch.Tensor]) -> None:
    for i, parameter in enumerate(parameters):
        parameter.copy_(average[str(i)])
