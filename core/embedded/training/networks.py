"""The networks of the checkpoint that are plain diffusers and transformers classes, small."""

from __future__ import annotations

from dataclasses import dataclass

from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from panoweave.core.embedded.training.latents import PATCH_PX, WINDOW_PX
from panoweave.core.embedded.training.tokenizer import MAX_TOKENS


@dataclass(frozen=True)
class UNetShape:
    """How large the UNet and the text encoder are."""

    widths: tuple[int, ...] = (144, 176)
    layers: int = 1
    heads: int = 4
    groups: int = 16
    text_width: int = 192
    text_layers: int = 2


def build_unet(shape: UNetShape, latent_channels: int) -> UNet2DConditionModel:
    """A v-prediction UNet; attention from the second level on, where it is cheap on a CPU."""
    deeper = len(shape.widths) - 1
    return UNet2DConditionModel(
        sample_size=WINDOW_PX // PATCH_PX,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=shape.widths,
        layers_per_block=shape.layers,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * deeper),
        up_block_types=(*["CrossAttnUpBlock2D"] * deeper, "UpBlock2D"),
        # diffusers reads this as the number of heads.
        attention_head_dim=shape.heads,
        norm_num_groups=shape.groups,
        cross_attention_dim=shape.text_width,
    )


def build_text_encoder(
    shape: UNetShape, tokens: int, end_token: int, start_token: int
) -> CLIPTextModel:
    """CLIP's text transformer, shallow."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=tokens,
            hidden_size=shape.text_width,
            intermediate_size=4 * shape.text_width,
            num_hidden_layers=shape.text_layers,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            projection_dim=shape.text_width,
            bos_token_id=start_token,
            eos_token_id=end_token,
            pad_token_id=end_token,
        )
    )


def build_controlnet(unet: UNet2DConditionModel, hint_widths: tuple[int, ...]) -> ControlNetModel:
    """A copy of the UNet's first half that adds nothing yet: its last layers are zero.

    `hint_widths`: five of them bring hints from the picture's scale to the latents'.
    """
    controlnet = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=hint_widths)
    # As diffusers begins them, nine layers shrink what edges change by a factor of 10,000, and
    # nothing is learnt from hints: docs/LOG.md.
    hint = controlnet.controlnet_cond_embedding
    for layer in (hint.conv_in, *hint.blocks):
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
    return controlnet


def build_scheduler() -> DDIMScheduler:
    """Zero terminal SNR: the last step is pure noise, so no mean colour leaks into it."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,  # unused when trailing, but pipelines insist on it
    )
