"""The configuration of a checkpoint's networks, from their `config.json`.

Only the settings that say what a checkpoint makes, by their names in diffusers and transformers,
whose defaults they have: tests/core/test_model_files.py compares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from panoweave.core.model_files.errors import CheckpointError, by_field
from panoweave.core.model_files.find import read_json

CONFIG_FILE: Final = "config.json"
Count = Annotated[int, Field(gt=0)]
Levels = Annotated[Sequence[Count], Field(min_length=1, max_length=16)]


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class UNetConfig(_Config):
    sample_size: int | Sequence[int] | None = None
    in_channels: Count = 4
    out_channels: Count = 4
    cross_attention_dim: Count | Sequence[Count] = 1280
    addition_embed_type: str | None = None
    addition_time_embed_dim: Count | None = None
    projection_class_embeddings_input_dim: Count | None = None
    encoder_hid_dim_type: str | None = None
    class_embed_type: str | None = None
    num_class_embeds: Count | None = None
    time_cond_proj_dim: Count | None = None


class AutoencoderKLConfig(_Config):
    in_channels: Count = 3
    out_channels: Count = 3
    latent_channels: Count = 4
    block_out_channels: Levels = (64,)
    latents_mean: Sequence[float] | None = None
    shift_factor: float | None = None


class AutoencoderTinyConfig(AutoencoderKLConfig):
    block_out_channels: Levels = (64, 64, 64, 64)

    @model_validator(mode="before")
    @classmethod
    def _levels_are_the_decoders(cls, config: Any) -> Any:
        if isinstance(config, dict) and (levels := config.get("decoder_block_out_channels")):
            return {**config, "block_out_channels": levels}
        return config


class PatchAutoencoderConfig(AutoencoderKLConfig):
    latent_channels: Count = 32
    block_out_channels: Levels = (3, 48, 80, 128, 192)


class ClipTextConfig(_Config):
    hidden_size: Count = 512
    projection_dim: Count | None = 512

    @model_validator(mode="before")
    @classmethod
    def _text_half(cls, config: Any) -> Any:
        """Of CLIP's whole configuration, transformers reads the text encoder's half."""
        return config.get("text_config", config) if isinstance(config, dict) else config


class T5Config(_Config):
    d_model: Count = 512


class SD3TransformerConfig(_Config):
    sample_size: Count = 128
    patch_size: Count = 2
    in_channels: Count = 16
    out_channels: Count | None = 16
    joint_attention_dim: Count = 4096
    pooled_projection_dim: Count = 2048


class FluxTransformerConfig(_Config):
    in_channels: Count = 64
    out_channels: Count | None = None
    joint_attention_dim: Count = 4096
    pooled_projection_dim: Count = 768
    guidance_embeds: bool = False


class Qwen3Config(_Config):
    hidden_size: Count = 4096


class ZImageTransformerConfig(_Config):
    in_channels: Count = 16
    all_patch_size: Levels = (2,)
    all_f_patch_size: Levels = (1,)
    cap_feat_dim: Count = 2560
    siglip_feat_dim: Count | None = None


class ControlNetConfig(_Config):
    in_channels: Count = 4
    cross_attention_dim: Count | Sequence[Count] = 1280
    addition_embed_type: str | None = None
    conditioning_embedding_out_channels: Levels = (16, 32, 96, 256)
    conditioning_channels: Count = 3
    global_pool_conditions: bool = False


CONFIGS: Final[Mapping[str, type[_Config]]] = MappingProxyType(
    {
        "UNet2DConditionModel": UNetConfig,
        "AutoencoderKL": AutoencoderKLConfig,
        "AutoencoderTiny": AutoencoderTinyConfig,
        "PatchAutoencoder": PatchAutoencoderConfig,
        "CLIPTextModel": ClipTextConfig,
        "CLIPTextModelWithProjection": ClipTextConfig,
        "T5EncoderModel": T5Config,
        "SD3Transformer2DModel": SD3TransformerConfig,
        "FluxTransformer2DModel": FluxTransformerConfig,
        "Qwen3Model": Qwen3Config,
        "ZImageTransformer2DModel": ZImageTransformerConfig,
        "ControlNetModel": ControlNetConfig,
    }
)


def read_config(folder: Path, legal: Sequence[str]) -> _Config:
    """The configuration in a network's folder. `legal`: the classes that it may be of, the usual
    one first. Raises CheckpointError that names the field at fault."""
    content = read_json(folder / CONFIG_FILE)
    kind = config_class(content, legal)
    try:
        return CONFIGS[kind].model_validate(content)
    except ValidationError as error:
        raise CheckpointError(f"its {CONFIG_FILE} cannot be read: {by_field(error)}") from error


def config_class(config: Mapping[str, Any], legal: Sequence[str]) -> str:
    """The class that a configuration says, if it says any. Raises CheckpointError."""
    found = config.get("_class_name")
    if not found:
        return legal[0]
    if found not in legal:
        raise CheckpointError(f"it is a {found}; legal: {_any_of(legal)}")
    return str(found)


def _any_of(names: Iterable[str]) -> str:
    return " or ".join(f"a {name}" for name in names)
