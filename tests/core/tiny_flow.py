"""Tiny random checkpoints of the flow-matching families, of real classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from torch import Tensor
from transformers import CLIPTextModelWithProjection, T5Config, T5EncoderModel, T5Tokenizer

from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.params import PanoramaParams
from tests.core import tiny

CHANNELS = 4
MAX_TOKENS = 16  # that the text encoders read

# velocity(theirs, prompt, negative_prompt, guidance_scale) -> v(z, t): the network as diffusers'
# own pipeline calls it, for one window z (1, C, S, S) at the timestep t.
Velocity = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class FlowCase:
    """A family, and diffusers' own pipeline for it."""

    name: str
    diffusers_class: Any
    components: Callable[[Path], dict[str, Any]]
    velocity: Callable[[Any, str, str, float], Velocity]
    guidance_scale: float = 3.0
    negative_prompt: str = "rain"
    # Fields that the family refuses: what is asked, and what is legal.
    refused: Mapping[str, tuple[dict[str, Any], str]] = field(default_factory=dict)
    pack: Callable[[Tensor], Tensor] = field(default=lambda latents: latents)

    def pipeline(self, folder: Path) -> SyncDiffusionPipeline:
        return SyncDiffusionPipeline(**self.components(folder))

    def theirs(self, pipeline: SyncDiffusionPipeline) -> Any:
        theirs = self.diffusers_class(**pipeline.components)
        theirs.set_progress_bar_config(disable=True)
        return theirs

    def asked(self, params: PanoramaParams) -> dict[str, Any]:
        """Guidance and negative prompt, as diffusers' pipeline takes them."""
        scale = {"guidance_scale": params.guidance_scale}
        if self.negative_prompt:
            return {**scale, "negative_prompt": params.negative_prompt}
        return scale

    def save(self, folder: Path) -> Path:
        """As a stranger would make one with diffusers."""
        self.diffusers_class(**self.components(folder / "words")).save_pretrained(folder / "model")
        return folder / "model"


def autoencoder() -> Any:
    return tiny.autoencoder(scaling_factor=1.5, shift_factor=0.1)


def t5_tokenizer() -> T5Tokenizer:
    letters = [chr(code) for code in range(33, 127)]
    special = [(token, 0.0) for token in ("<pad>", "</s>", "<unk>")]
    vocabulary = [*special, ("\u2581", -2.0), *((letter, -3.0) for letter in letters)]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=MAX_TOKENS)


def t5(tokenizer: T5Tokenizer) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=32,
            d_kv=8,
            d_ff=32,
            num_layers=1,
            num_heads=2,
            feed_forward_proj="gated-gelu",
        )
    )


def stable_diffusion_3(folder: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    words = tiny.tokenizer(folder)
    config = tiny.text_config(words, layers=2)
    pieces = t5_tokenizer()
    return {
        "transformer": SD3Transformer2DModel(
            sample_size=tiny.WINDOW_LATENTS,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=32,
            caption_projection_dim=16,
            pooled_projection_dim=2 * config.projection_dim,
            pos_embed_max_size=8,
            qk_norm="rms_norm",
            dual_attention_layers=(0,),
        ),
        "vae": autoencoder(),
        "text_encoder": CLIPTextModelWithProjection(config),
        "text_encoder_2": CLIPTextModelWithProjection(config),
        "text_encoder_3": t5(pieces),
        "tokenizer": words,
        "tokenizer_2": words,
        "tokenizer_3": pieces,
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
    }


@torch.no_grad()
def sd3_velocity(theirs: Any, prompt: str, negative: str, guidance_scale: float) -> Velocity:
    tokens, no_tokens, pooled, no_pooled = theirs.encode_prompt(
        prompt, None, None, negative_prompt=negative, max_sequence_length=MAX_TOKENS
    )

    def v(z: Tensor, t: Tensor) -> Tensor:
        without, with_text = theirs.transformer(
            hidden_states=torch.cat([z, z]),
            timestep=t.expand(2),
            encoder_hidden_states=torch.cat([no_tokens, tokens]),
            pooled_projections=torch.cat([no_pooled, pooled]),
        ).sample.chunk(2)
        guided: Tensor = without + guidance_scale * (with_text - without)
        return guided

    return v


CASES = [
    FlowCase("stable-diffusion-3", StableDiffusion3Pipeline, stable_diffusion_3, sd3_velocity),
]
