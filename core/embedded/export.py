"""Writes the checkpoint in Stable Diffusion's format, float16."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderTiny,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from panoweave.core.checkpoint import CheckpointNotes
from panoweave.core.embedded.captions import vocabulary
from panoweave.core.embedded.examples import EXAMPLES
from panoweave.core.embedded.export_target import clear_export_target
from panoweave.core.vocabulary import VOCABULARY_FILE

# What suits this model: stronger guidance burns its colours, and its scenes are one window high.
NOTES = CheckpointNotes(guidance_scale=3.0, trained_height=128, examples=EXAMPLES)


def export(
    work: Path,
    target: Path,
    *,
    tokenizer: CLIPTokenizer,
    scheduler: DDIMScheduler,
    autoencoder: AutoencoderTiny,
    tiny_decoder: AutoencoderTiny,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
) -> None:
    """Fills the networks from the runs' checkpoints (EMA weights) and saves them."""
    autoencoder.decoder.load_state_dict(_state(work / "decoder.pt")["model"])
    average = _state(work / "denoiser.pt")["ema"]
    _fill([*unet.parameters(), *text_encoder.parameters()], average)
    pipeline = StableDiffusionPipeline(
        vae=autoencoder.half(),
        text_encoder=text_encoder.half(),
        tokenizer=tokenizer,
        unet=unet.half(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    clear_export_target(target)
    pipeline.save_pretrained(target)
    _drop_derived_width(target / "vae" / "config.json")
    export_tiny_decoder(work, target, tiny_decoder)
    # transformers 5 writes tokenizer.json alone; other readers of the format look for these.
    tokenizer.backend_tokenizer.model.save(str(target / "tokenizer"))
    (target / VOCABULARY_FILE).write_text(json.dumps(sorted(vocabulary())) + "\n")
    (target / "panoweave.json").write_text(NOTES.model_dump_json(indent=2) + "\n")


def export_tiny_decoder(work: Path, target: Path, model: AutoencoderTiny) -> None:
    """Beside the checkpoint's own parts, where `load_pipeline` looks for it."""
    model.decoder.load_state_dict(_state(work / "tiny.pt")["model"])
    folder = target / "tiny_decoder"
    model.half().save_pretrained(folder)
    _drop_derived_width(folder / "config.json")


def _drop_derived_width(config: Path) -> None:
    """diffusers saves a value that it derives, and warns of it when it loads the file."""
    settings = json.loads(config.read_text())
    del settings["block_out_channels"]
    config.write_text(json.dumps(settings, indent=2) + "\n")


def _state(file: Path) -> dict[str, dict[str, torch.Tensor]]:
    state: dict[str, dict[str, torch.Tensor]] = torch.load(file, weights_only=True)
    return state


@torch.no_grad()
def _fill(parameters: list[nn.Parameter], average: dict[str, torch.Tensor]) -> None:
    for i, parameter in enumerate(parameters):
        parameter.copy_(average[str(i)])
