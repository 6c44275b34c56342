"""Tiny random checkpoints of the flow-matching families, of real classes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from torch import Tensor
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3Model,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.params import PanoramaParams
from tests.core import tiny

CHANNELS = 4
WINDOW_PX = tiny.WINDOW_LATENTS * tiny.PX_PER_LATENT
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
    rounding: float = 1e-8  # of its network, if all of it is in float64
    guidance_from_0: bool = False  # diffusers' pipeline counts the scale from 0
    pack: Callable[[Tensor], Tensor] = field(default=lambda latents: latents)

    def pipeline(self, folder: Path) -> SyncDiffusionPipeline:
        made = SyncDiffusionPipeline(**self.components(folder))
        made.traits = made.traits.model_copy(update={"window_px": WINDOW_PX})
        return made

    def theirs(self, pipeline: SyncDiffusionPipeline) -> Any:
        theirs = self.diffusers_class(**pipeline.components)
        theirs.set_progress_bar_config(disable=True)
        return theirs

    def asked(self, params: PanoramaParams) -> dict[str, Any]:
        """Guidance and negative prompt, as diffusers' pipeline takes them."""
        given = params.guidance_scale or 0
        scale = {"guidance_scale": given - 1 if self.guidance_from_0 else given}
        if self.negative_prompt:
            return {**scale, "negative_prompt": params.negative_prompt}
        return scale

    def save(self, folder: Path) -> Path:
        """As a stranger would make one with diffusers."""
        made = folder / "model"
        self.diffusers_class(**self.components(folder / "words")).save_pretrained(made)
        if self.name != "stable-diffusion-3":  # its network says how large a window is
            (made / "panoweave.json").write_text(json.dumps({"window_px": WINDOW_PX}))
        return made


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


def flux(folder: Path, guided: bool = True) -> dict[str, Any]:
    torch.manual_seed(0)
    words = tiny.tokenizer(folder)
    config = tiny.text_config(words, layers=1)
    pieces = t5_tokenizer()
    return {
        "transformer": FluxTransformer2DModel(
            in_channels=4 * CHANNELS,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=config.hidden_size,
            guidance_embeds=guided,
            axes_dims_rope=(2, 4, 2),
        ),
        "vae": autoencoder(),
        "text_encoder": CLIPTextModel(config),
        "text_encoder_2": t5(pieces),
        "tokenizer": words,
        "tokenizer_2": pieces,
        "scheduler": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=guided, shift=3.0),
    }


def flux_pack(z: Tensor) -> Tensor:
    """Latents (1, C, h, w), two by two in tokens (1, h/2 * w/2, 4C)."""
    _, channels, height, width = z.shape
    patches = z.reshape(1, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(1, -1, 4 * channels)


@torch.no_grad()
def flux_velocity(theirs: Any, prompt: str, _negative: str, guidance_scale: float) -> Velocity:
    tokens, pooled, text_ids = theirs.encode_prompt(prompt, max_sequence_length=MAX_TOKENS)

    def v(z: Tensor, t: Tensor) -> Tensor:
        side = z.shape[-1] // 2
        places = [(0, row, column) for row in range(side) for column in range(side)]
        packed = theirs.transformer(
            hidden_states=flux_pack(z),
            timestep=t.expand(1) / 1000,
            guidance=torch.tensor([guidance_scale]),
            pooled_projections=pooled,
            encoder_hidden_states=tokens,
            txt_ids=text_ids,
            img_ids=torch.tensor(places, dtype=text_ids.dtype),
        ).sample
        patches = packed.reshape(1, side, side, CHANNELS, 2, 2).permute(0, 3, 1, 4, 2, 5)
        unpacked: Tensor = patches.reshape(z.shape)
        return unpacked

    return v


def chat_tokenizer(folder: Path) -> Qwen2Tokenizer:
    """Bytes, and a chat template."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [*map(chr, range(33, 127)), "\u0120", "\u010a"]  # with space and line feed
    vocabulary = {letter: index for index, letter in enumerate(letters)}
    made = Qwen2Tokenizer(vocab=vocabulary, merges=[], model_max_length=MAX_TOKENS)
    made.chat_template = (
        "{% for message in messages %}{{ message.role[0] }}:{{ message.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}a:{% endif %}"
    )
    return made


def z_image(folder: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    words = chat_tokenizer(folder)
    return {
        "transformer": ZImageTransformer2DModel(
            in_channels=CHANNELS,
            dim=32,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=16,
            axes_dims=[4, 6, 6],
            axes_lens=[256, 32, 32],
        ),
        "vae": autoencoder(),
        "text_encoder": Qwen3Model(
            Qwen3Config(
                vocab_size=len(words),
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=8,
                max_position_embeddings=64,
            )
        ),
        "tokenizer": words,
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=3.0),
    }


@torch.no_grad()
def z_image_velocity(theirs: Any, prompt: str, negative: str, guidance_scale: float) -> Velocity:
    (text,), (no_text,) = theirs.encode_prompt(
        prompt, negative_prompt=negative, max_sequence_length=MAX_TOKENS
    )

    def v(z: Tensor, t: Tensor) -> Tensor:
        given = z[0].unsqueeze(1)  # (C, 1, S, S): a film of one frame
        passed = (1000 - t.expand(2)) / 1000
        with_text, without = theirs.transformer([given, given], passed, [text, no_text]).sample
        # From noise to picture; diffusers writes its scale as what is added to 1.
        forward = with_text + (guidance_scale - 1) * (with_text - without)
        velocity: Tensor = -forward.squeeze(1)[None]
        return velocity

    return v


SD3 = FlowCase("stable-diffusion-3", StableDiffusion3Pipeline, stable_diffusion_3, sd3_velocity)
FLUX = FlowCase(
    "flux",
    FluxPipeline,
    flux,
    flux_velocity,
    negative_prompt="",
    refused={
        "negative_prompt": ({"negative_prompt": "rain"}, "an empty text"),
        "regions.0.negative_prompt": (
            {"regions": [{"prompt": "a", "x": 0, "width": 8, "negative_prompt": "rain"}]},
            "an empty text",
        ),
    },
    pack=flux_pack,
)
Z_IMAGE = FlowCase(
    "z-image",
    ZImagePipeline,
    z_image,
    z_image_velocity,
    rounding=1e-6,  # it turns queries and keys in float32
    guidance_from_0=True,
)
CASES = [SD3, FLUX, Z_IMAGE]
