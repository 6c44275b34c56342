"""The stages of the training, each with what it needs from the work directory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from core.diffusion.patch_autoencoder import PatchAutoencoder
from core.embedded.training.dataset import Cut, DataSet
from core.embedded.training.decoder import (
    TINY_RECIPE,
    DecoderRecipe,
    build_autoencoder,
    train_decoder,
)
from core.embedded.training.latents import (
    LATENT_CHANNELS,
    WINDOW_PX,
    PatchPca,
    fit_pca,
    to_unit,
)
from core.embedded.training.runs import Stop, replace_file

_COMPONENTS = 64  # as many as are kept on file; the latents are the strongest of them


@dataclass(frozen=True)
class Recipe:
    """The whole training. The defaults made the committed weights."""

    seed: int = 0
    scenes_per_shard: int = 8
    latent_channels: int = LATENT_CHANNELS
    # The latent space is fixed by the first shards, before anything is trained.
    latent_shards: int = 16
    decoder: DecoderRecipe = field(default_factory=DecoderRecipe)
    tiny: DecoderRecipe = TINY_RECIPE


class Training:
    """Stages that go on from what lies in the work directory."""

    def __init__(self, recipe: Recipe, work: Path, device: torch.device, stop: Stop) -> None:
        self.recipe = recipe
        self.work = work
        self.device = device
        self.stop = stop
        self.set = DataSet(work / "shards", device)

    def latents(self) -> None:
        """Fits the latent space."""
        self._pca()

    def decoder(self) -> None:
        """Latents to pictures."""
        self._train_decoder(self.recipe.decoder, "decoder")

    def tiny(self) -> None:
        """Latents to small pictures, for the gradient of SyncDiffusion."""
        self._train_decoder(self.recipe.tiny, "tiny")

    def _train_decoder(self, recipe: DecoderRecipe, name: str) -> None:
        pca = self._pca()
        model = self._autoencoder(recipe, pca)
        train_decoder(model, pca, self.set, recipe, self.work / f"{name}.pt", self.stop)

    def _autoencoder(self, recipe: DecoderRecipe, pca: PatchPca) -> PatchAutoencoder:
        torch.manual_seed(self.recipe.seed)
        return build_autoencoder(recipe, pca)

    def _pca(self) -> PatchPca:
        file = self.work / "pca.pt"
        if not file.exists():
            self.set.read(self.recipe.latent_shards)
            count = self.set.panoramas(self.recipe.latent_shards)
            width = self.set.columns
            cuts = [
                Cut(number, left, mirrored=bool(quarter % 2))
                for number in range(count)
                for quarter, left in enumerate(range(0, width, width // 4))
            ]
            pictures = to_unit(self.set.pictures(cuts, WINDOW_PX)).cpu()
            pca = fit_pca(pictures, _COMPONENTS)
            state = {"kernel": pca.kernel, "inverse": pca.inverse, "mean": pca.mean}
            replace_file(file, lambda beside: torch.save(state, beside))
        pca = PatchPca(**torch.load(file, weights_only=True))
        return pca.nested(self.recipe.latent_channels)
