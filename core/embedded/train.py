"""Trains the embedded model from nothing: `python -m panoweave.core.embedded.train --work DIR`.

Every stage leaves its result in the work directory and goes on from there when it is run again,
so a killed training resumes; stages can also run one by one, the decoder beside the denoiser.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray

from panoweave.core.embedded import WEIGHTS
from panoweave.core.embedded.autoencoder import (
    TINY_RECIPE,
    DecoderRecipe,
    train_decoder,
    write_encoder,
)
from panoweave.core.embedded.captions import vocabulary
from panoweave.core.embedded.denoiser import DenoiserRecipe, LatentSet, train_denoiser
from panoweave.core.embedded.export import export
from panoweave.core.embedded.export_target import check_export_target
from panoweave.core.embedded.latents import PatchPca, fit_pca, to_tensor
from panoweave.core.embedded.networks import (
    build_autoencoder,
    build_scheduler,
    build_text_encoder,
    build_tiny_decoder,
    build_unet,
)
from panoweave.core.embedded.shards import Shard, ensure_shard
from panoweave.core.embedded.tokenizer import build_tokenizer

STAGES = ("data", "decoder", "tiny", "denoiser", "export")
_PCA_WINDOWS = 3_000
_TINY_SHARDS = 3  # enough for a decoder this small
_ENCODE_BATCH = 500


@dataclass(frozen=True)
class Recipe:
    """The whole training. The defaults made the committed weights."""

    seed: int = 0
    shards: int = 21
    scenes_per_shard: int = 1_000
    decoder: DecoderRecipe = field(default_factory=DecoderRecipe)
    tiny: DecoderRecipe = TINY_RECIPE
    denoiser: DenoiserRecipe = field(default_factory=DenoiserRecipe)


class Training:
    """The stages, each with what it needs from the work directory."""

    def __init__(self, recipe: Recipe, work: Path, stop_after: int | None = None) -> None:
        self.recipe = recipe
        self.work = work
        self.stop_after = stop_after
        torch.manual_seed(recipe.seed)
        self.tokenizer = build_tokenizer(vocabulary())
        self.scheduler = build_scheduler()
        self.autoencoder = build_autoencoder(recipe.decoder.width)
        self.tiny_decoder = build_tiny_decoder(recipe.tiny.width)
        self.unet = build_unet(recipe.denoiser.widths, recipe.denoiser.layers)
        self.text_encoder = build_text_encoder(
            len(self.tokenizer), self.tokenizer.eos_token_id, self.tokenizer.bos_token_id
        )

    def data(self) -> None:
        """Renders the windows, fits the latent space, encodes every window and its mirror."""
        shards = self._shards()
        pca = self._pca(shards)
        for index, shard in enumerate(shards):
            file = self.work / f"latents-{index:03}.npy"
            if not file.exists():
                np.save(file, _encode(pca, shard.pictures))

    def decoder(self) -> None:
        """Latents to pictures."""
        shards = self._shards()
        self._train_decoder(self.autoencoder, shards, self.recipe.decoder, "decoder.pt")

    def tiny(self) -> None:
        """Latents to small pictures, for the gradient of SyncDiffusion."""
        shards = self._shards()[:_TINY_SHARDS]
        self._train_decoder(self.tiny_decoder, shards, self.recipe.tiny, "tiny.pt")

    def denoiser(self) -> None:
        """Noise to latents, as the words say."""
        self.data()
        files = [self.work / f"latents-{i:03}.npy" for i in range(self.recipe.shards)]
        latents = torch.from_numpy(np.concatenate([np.load(file) for file in files]))
        subjects = np.concatenate([shard.subjects for shard in self._shards()])
        train_denoiser(
            self.unet,
            self.text_encoder,
            self.tokenizer,
            self.scheduler,
            LatentSet(latents, subjects),
            self.recipe.denoiser,
            self.work / "denoiser.pt",
            self.stop_after,
        )

    def export(self, target: Path) -> None:
        """What the runs have reached so far, as a Stable Diffusion directory."""
        pca = self._pca(self._shards())
        write_encoder(self.autoencoder.encoder, pca)
        write_encoder(self.tiny_decoder.encoder, pca)
        export(
            self.work,
            target,
            tokenizer=self.tokenizer,
            scheduler=self.scheduler,
            autoencoder=self.autoencoder,
            tiny_decoder=self.tiny_decoder,
            unet=self.unet,
            text_encoder=self.text_encoder,
        )

    def _train_decoder(
        self, model: AutoencoderTiny, shards: list[Shard], recipe: DecoderRecipe, file: str
    ) -> None:
        pictures = [shard.pictures for shard in shards]
        pca = self._pca(shards)
        train_decoder(model, pca, pictures, recipe, self.work / file, self.stop_after)

    def _shards(self) -> list[Shard]:
        recipe = self.recipe
        return [
            ensure_shard(self.work / "shards", recipe.seed, index, recipe.scenes_per_shard)
            for index in range(recipe.shards)
        ]

    def _pca(self, shards: list[Shard]) -> PatchPca:
        file = self.work / "pca.pt"
        if not file.exists():
            pca = fit_pca(shards[0].pictures[:_PCA_WINDOWS])
            torch.save({"kernel": pca.kernel, "bias": pca.bias}, file)
        return PatchPca(**torch.load(file, weights_only=True))


def _encode(pca: PatchPca, pictures: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Latents (N, 2, C, S, S) of pictures and of their mirror images."""
    parts = []
    for start in range(0, len(pictures), _ENCODE_BATCH):
        batch = to_tensor(pictures[start : start + _ENCODE_BATCH])
        # Mirroring latents would not mirror pictures: patches have a left and a right.
        pair = torch.stack([pca.encode(batch), pca.encode(batch.flip(3))], dim=1)
        parts.append(pair.half().numpy())
    return np.concatenate(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the stages asked for, all of them by default."""
    recipe = Recipe()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="data and checkpoints (4 GB)")
    parser.add_argument("--stage", choices=STAGES, nargs="+", default=STAGES)
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where the checkpoint goes")
    parser.add_argument("--decoder-steps", type=int, default=recipe.decoder.steps)
    parser.add_argument("--denoiser-steps", type=int, default=recipe.denoiser.steps)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args(arguments)
    if "export" in asked.stage:
        try:
            check_export_target(asked.out)
        except ValueError as reason:
            parser.error(f"--out: {reason}")
    torch.set_num_threads(asked.threads)
    recipe = replace(
        recipe,
        decoder=replace(recipe.decoder, steps=asked.decoder_steps),
        denoiser=replace(recipe.denoiser, steps=asked.denoiser_steps),
    )
    training = Training(recipe, asked.work)
    for stage in STAGES:
        if stage not in asked.stage:
            continue
        if stage == "export":
            training.export(asked.out)
        else:
            getattr(training, stage)()


if __name__ == "__main__":
    main()
