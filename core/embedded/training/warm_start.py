"""A training that begins with a checkpoint's weights, as on a machine that has nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel

from panoweave.core.diffusion.patch_autoencoder import PatchAutoencoder
from panoweave.core.embedded.training.networks import build_controlnet
from panoweave.core.embedded.training.runs import replace_file, save_averages
from panoweave.core.embedded.training.stages import LATENTS_FILE, WORDS_FILE, Training
from panoweave.core.vocabulary import VOCABULARY_FILE


def start_from(checkpoint: Path, training: Training) -> None:
    """Writes a state at step 0 for each stage whose networks the checkpoint has.

    The latent space and the vocabulary are the checkpoint's. Raises ValueError if the work
    directory has a training already, or if the checkpoint's networks are not the recipe's.
    """
    space, words = training.work / LATENTS_FILE, training.work / WORDS_FILE
    states = [training.state(name) for name in ("decoder", "tiny", "denoiser", "controlnet")]
    files = [space, words, *states]
    for file in files:
        if file.exists():
            raise ValueError(f"{file} exists: a training begins in a new directory")
    autoencoder = PatchAutoencoder.from_pretrained(checkpoint, subfolder="vae")
    tiny = PatchAutoencoder.from_pretrained(checkpoint, subfolder="tiny_decoder")
    unet = UNet2DConditionModel.from_pretrained(checkpoint, subfolder="unet")
    text_encoder = CLIPTextModel.from_pretrained(checkpoint, subfolder="text_encoder")
    try:
        write_latent_space(autoencoder, space)
        shutil.copy(checkpoint / VOCABULARY_FILE, words)
        networks = training.networks()
        begin: dict[str, tuple[nn.Module, nn.Module]] = {
            "decoder": (autoencoder.decoder, training.trained_decoder().decoder),
            "tiny": (tiny.decoder, training.trained_tiny().decoder),
            "denoiser": (
                nn.ModuleList([unet, text_encoder]),
                nn.ModuleList([networks.unet, networks.text_encoder]),
            ),
        }
        if (checkpoint / "controlnet").exists():
            begin["controlnet"] = (
                ControlNetModel.from_pretrained(checkpoint, subfolder="controlnet"),
                build_controlnet(networks.unet, training.recipe.controlnet.hint_widths),
            )
        for name, (given, recipe) in begin.items():
            _check_shapes(name, given, recipe)
        for name, (given, _) in begin.items():
            weights = {str(i): each.detach().float() for i, each in enumerate(given.parameters())}
            save_averages(training.state(name), 0, weights)
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise


def write_latent_space(autoencoder: PatchAutoencoder, file: Path) -> None:
    """The principal components that the encoder holds.

    Of the mean patch it holds only what the components see; `encode` needs no more.
    """
    kernel = autoencoder.encoder.weight.detach().double()
    assert autoencoder.encoder.bias is not None
    bias = autoencoder.encoder.bias.detach().double()
    # In half precision the components are orthogonal only about, so they are not just scaled.
    inverse = torch.linalg.pinv(kernel.flatten(1)).T.reshape_as(kernel)
    mean = -torch.einsum("c,cxyz->xyz", bias, inverse)
    file.parent.mkdir(parents=True, exist_ok=True)
    state = {"kernel": kernel.float(), "inverse": inverse.float(), "mean": mean.float()}
    replace_file(file, lambda beside: torch.save(state, beside))


def _check_shapes(name: str, given: nn.Module, recipe: nn.Module) -> None:
    shapes, wanted = (
        [tuple(parameter.shape) for parameter in module.parameters()] for module in (given, recipe)
    )
    if shapes != wanted:
        raise ValueError(f"the checkpoint's {name} has other layers than the recipe's")
