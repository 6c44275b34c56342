"""The stages of the training, each with what it needs from the work directory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from panoweave.core.diffusion.patch_autoencoder import PatchAutoencoder
from panoweave.core.embedded.training.captions import vocabulary
from panoweave.core.embedded.training.control import ControlRecipe, train_controlnet
from panoweave.core.embedded.training.dataset import Cut, DataSet
from panoweave.core.embedded.training.decoder import (
    TINY_RECIPE,
    DecoderRecipe,
    build_autoencoder,
    train_decoder,
)
from panoweave.core.embedded.training.denoiser import DenoiserRecipe, Networks, train_denoiser
from panoweave.core.embedded.training.export import export, fill
from panoweave.core.embedded.training.latents import (
    LATENT_CHANNELS,
    WINDOW_PX,
    PatchPca,
    fit_pca,
    to_unit,
)
from panoweave.core.embedded.training.networks import (
    build_controlnet,
    build_scheduler,
    build_text_encoder,
    build_unet,
)
from panoweave.core.embedded.training.rendering import ensure_shards
from panoweave.core.embedded.training.runs import Stop, replace_file
from panoweave.core.embedded.training.tokenizer import build_tokenizer

LATENTS_FILE = "pca.pt"
WORDS_FILE = "words.json"
_COMPONENTS = 64  # as many as are kept on file; the latents are the strongest of them


@dataclass(frozen=True)
class Recipe:
    """The whole training. The defaults are for a CPU."""

    seed: int = 0
    shards: int = 250
    scenes_per_shard: int = 8
    latent_channels: int = LATENT_CHANNELS
    # The latent space is fixed by the first shards, before anything is trained.
    latent_shards: int = 16
    decoder: DecoderRecipe = field(default_factory=DecoderRecipe)
    tiny: DecoderRecipe = TINY_RECIPE
    denoiser: DenoiserRecipe = field(default_factory=DenoiserRecipe)
    controlnet: ControlRecipe = field(default_factory=ControlRecipe)

    def for_gpu(self) -> Recipe:
        """More pictures and larger batches: a GPU would wait for the host between small ones."""
        return replace(
            self,
            shards=600,
            decoder=replace(self.decoder, batch=32, steps=7_000, critic_from=3_500),
            tiny=replace(self.tiny, batch=32, steps=4_000),
            denoiser=replace(self.denoiser, steps=30_000, batch=256, peak_rate=8e-4),
            controlnet=replace(self.controlnet, steps=2_500, batch=64),
        )


class Training:
    """Stages that go on from what lies in the work directory."""

    def __init__(
        self, recipe: Recipe, work: Path, device: torch.device, stop: Stop, processes: int = 0
    ) -> None:
        """`processes` draw batches ahead of the UNet and the ControlNet."""
        self.recipe = recipe
        self.work = work
        self.device = device
        self.stop = stop
        self.processes = processes
        self.set = DataSet(work / "shards", device)

    def data(self) -> None:
        """Renders panoramas. The other stages take what is there, and what comes as they run."""
        recipe = self.recipe
        ensure_shards(
            self.set.folder,
            recipe.seed,
            recipe.shards,
            recipe.scenes_per_shard,
            self.device,
            self.stop,
        )

    def latents(self) -> None:
        """Fits the latent space."""
        self.latent_space()

    def decoder(self) -> None:
        """Latents to pictures."""
        self._train_decoder(self.recipe.decoder, "decoder")

    def tiny(self) -> None:
        """Latents to small pictures, for the gradient of SyncDiffusion."""
        self._train_decoder(self.recipe.tiny, "tiny")

    def denoiser(self) -> None:
        """Noise to latents, as the words say."""
        train_denoiser(
            self.networks(),
            self.latent_space(),
            self.set,
            self.recipe.denoiser,
            self.state("denoiser"),
            self.stop,
            self.processes,
        )

    def controlnet(self) -> None:
        """Edges to latents; last, for it is trained on the finished UNet."""
        train_controlnet(
            self.trained_networks(),
            self.latent_space(),
            self.set,
            self.recipe.controlnet,
            self.state("controlnet"),
            self.stop,
            self.processes,
        )

    def export(self, target: Path) -> None:
        """What the runs have reached so far, as a Stable Diffusion directory."""
        networks = self.trained_networks()
        controlnet = None
        if self.state("controlnet").exists():
            controlnet = build_controlnet(networks.unet, self.recipe.controlnet.hint_widths)
            fill(controlnet.parameters(), self.state("controlnet"))
        autoencoders = self.trained_decoder(), self.trained_tiny()
        export(target, networks, *autoencoders, controlnet, self._words())

    def trained_networks(self) -> Networks:
        """UNet and text encoder, as far as their run has come."""
        networks = self.networks()
        fill(networks.parameters(), self.state("denoiser"))
        return networks

    def trained_decoder(self) -> PatchAutoencoder:
        """The autoencoder, its decoder as far as its run has come."""
        return self._trained(self.recipe.decoder, "decoder")

    def trained_tiny(self) -> PatchAutoencoder:
        """The same for the tiny decoder."""
        return self._trained(self.recipe.tiny, "tiny")

    def _trained(self, recipe: DecoderRecipe, name: str) -> PatchAutoencoder:
        model = self._autoencoder(recipe)
        if self.state(name).exists():  # before that it is the linear one
            fill(model.decoder.parameters(), self.state(name))
        return model

    def networks(self) -> Networks:
        """UNet and text encoder as they begin."""
        shape = self.recipe.denoiser.shape
        tokenizer = build_tokenizer(self._words())
        torch.manual_seed(self.recipe.seed)
        return Networks(
            build_unet(shape, self.recipe.latent_channels),
            build_text_encoder(
                shape, len(tokenizer), tokenizer.eos_token_id, tokenizer.bos_token_id
            ),
            tokenizer,
            build_scheduler(),
        )

    def _train_decoder(self, recipe: DecoderRecipe, name: str) -> None:
        model = self._autoencoder(recipe)
        train_decoder(model, self.latent_space(), self.set, recipe, self.state(name), self.stop)

    def _autoencoder(self, recipe: DecoderRecipe) -> PatchAutoencoder:
        torch.manual_seed(self.recipe.seed)
        return build_autoencoder(recipe, self.latent_space())

    def latent_space(self) -> PatchPca:
        """Where the run has none yet, fitted to its first shards."""
        file = self.work / LATENTS_FILE
        if not file.exists():
            pca = fit_pca(self._patches(), _COMPONENTS)
            state = {"kernel": pca.kernel, "inverse": pca.inverse, "mean": pca.mean}
            replace_file(file, lambda beside: torch.save(state, beside))
        pca = PatchPca(**torch.load(file, weights_only=True, map_location=self.device))
        return pca.nested(self.recipe.latent_channels)

    def _patches(self) -> torch.Tensor:
        """Half of the columns of the first panoramas, as windows."""
        shards = self.recipe.latent_shards
        self.set.read(shards)
        step = self.set.columns // 4
        cuts = [
            Cut(number, quarter * step, mirrored=bool(quarter % 2))
            for number in self.set.panoramas(0, shards)
            for quarter in range(4)
        ]
        return to_unit(self.set.pictures(cuts, WINDOW_PX)).cpu()

    def _words(self) -> list[str]:
        """The vocabulary, written down once: words that captions learn later fall into pieces."""
        file = self.work / WORDS_FILE
        if not file.exists():
            text = json.dumps(vocabulary(), indent=0)
            replace_file(file, lambda beside: beside.write_text(text))
        words: list[str] = json.loads(file.read_text())
        return words

    def state(self, name: str) -> Path:
        """Where a stage's state is, once it has one."""
        return self.work / f"{name}.pt"
