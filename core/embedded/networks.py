"""The networks of the checkpoint: plain diffusers and transformers classes, small."""

from __future__ import annotations

from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from panoweave.core.embedded.latents import LATENT_CHANNELS, PX_PER_LATENT
from panoweave.core.embedded.scenes import WINDOW_PX
from panoweave.core.embedded.tokenizer import MAX_TOKENS

TEXT_WIDTH = 128


def build_unet(widths: tuple[int, ...], layers: int) -> UNet2DConditionModel:
    """A v-prediction UNet; attention from the second level on, where it is cheap on a CPU."""
    deeper = len(widths) - 1
    return UNet2DConditionModel(
        sample_size=WINDOW_PX // PX_PER_LATENT,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=widths,
        layers_per_block=layers,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * deeper),
        up_block_types=(*["CrossAttnUpBlock2D"] * deeper, "UpBlock2D"),
        attention_head_dim=4,
        norm_num_groups=16,
        cross_attention_dim=TEXT_WIDTH,
    )


def build_text_encoder(tokens: int, end_token: int, start_token: int) -> CLIPTextModel:
    """CLIP's text transformer, two layers deep."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=tokens,
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            projection_dim=TEXT_WIDTH,
            bos_token_id=start_token,
            eos_token_id=end_token,
            pad_token_id=end_token,
        )
    )


def build_autoencoder(width: int) -> AutoencoderTiny:
    """Encoder and decoder; the encoder's task is linear, so it has no blocks between its layers."""
    return AutoencoderTiny(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=(48, 48, 48, 48),
        decoder_block_out_channels=(width,) * 4,
        num_encoder_blocks=(0, 0, 0, 0),
        num_decoder_blocks=(2, 2, 2, 1),
        scaling_factor=1.0,
        force_upcast=False,
    )


def build_tiny_decoder(width: int) -> AutoencoderTiny:
    """The same latents at half the size: what a window looks like, not its every leaf."""
    return AutoencoderTiny(
        latent_channels=LATENT_CHANNELS,
        encoder_block_out_channels=(48, 48, 48, 48),
        decoder_block_out_channels=(width,) * 3,
        num_encoder_blocks=(0, 0, 0, 0),
        num_decoder_blocks=(1, 1, 1),
        scaling_factor=1.0,
        force_upcast=False,
    )


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
