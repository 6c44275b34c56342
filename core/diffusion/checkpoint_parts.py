"""Load the parts of a checkpoint, and refuse what the libraries would fill in or leave out."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
    ZImageTransformer2DModel,
)
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedModel,
    Qwen2Tokenizer,
    Qwen3Model,
    T5EncoderModel,
    T5Tokenizer,
)

from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.patch_autoencoder import PatchAutoencoder
from panoweave.core.diffusion.tokenizers import (
    check_chat_tokenizer,
    check_clip_tokenizer,
    check_t5_tokenizer,
    check_tokenizer_config,
)
from panoweave.core.families import Family, names_part
from panoweave.core.model_files.configs import CONFIG_FILE, config_class
from panoweave.core.model_files.errors import part_errors
from panoweave.core.model_files.find import read_json, refuse_lfs_pointers
from panoweave.core.model_files.hub import find_variant
from panoweave.core.model_files.index import part_class

_NETWORKS: Final[Mapping[str, Any]] = {
    kind.__name__: kind
    for kind in (
        *(UNet2DConditionModel, SD3Transformer2DModel),
        *(FluxTransformer2DModel, ZImageTransformer2DModel),
        *(AutoencoderKL, AutoencoderTiny, PatchAutoencoder),
        *(CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel, Qwen3Model),
    )
}
# By the class that the index names; and what checks that one is whole and fits its text encoder.
_TOKENIZERS: Final[Mapping[str, tuple[Any, Callable[[Any, Any, Path], None]]]] = {
    "CLIPTokenizer": (CLIPTokenizer, check_clip_tokenizer),
    "CLIPTokenizerFast": (CLIPTokenizer, check_clip_tokenizer),
    "T5Tokenizer": (T5Tokenizer, check_t5_tokenizer),
    "T5TokenizerFast": (T5Tokenizer, check_t5_tokenizer),
    "Qwen2Tokenizer": (Qwen2Tokenizer, check_chat_tokenizer),
    "Qwen2TokenizerFast": (Qwen2Tokenizer, check_chat_tokenizer),
}
# Those that texts are encoded with. Where a file names none, transformers takes its own.
_SPECIAL_TOKENS: Final[Mapping[Any, Sequence[str]]] = {
    CLIPTokenizer: ("bos_token", "eos_token", "unk_token", "pad_token"),
    T5Tokenizer: ("eos_token", "pad_token"),
    Qwen2Tokenizer: ("eos_token", "pad_token"),
}
# Weights of CLIP, and of language models, that no text encoder of these families has, or uses.
_UNUSED_WEIGHTS: Final = re.compile(
    r"(.*\.)?(position_ids|logit_scale|text_projection\.weight|lm_head\.weight)"
    r"|(vision_model|visual_projection)\..*"
)


# Whole CLIPs have text encoders too; transformers takes the half.
_OTHER_TYPES: Final = {"clip_text_model": ("clip",)}


def load_parts(
    family: Family, folder: Path, index: Mapping[str, Any], dtype: torch.dtype
) -> dict[str, Any]:
    """The networks and tokenizers that the index names, by their names."""
    # None where there is none: `model_files.readers` says what is legal.
    parts: dict[str, Any] = dict.fromkeys(("vae", "text_encoder", "tokenizer"))
    for name in family.networks:
        if names_part(index, name):
            with part_errors(name):
                kind = _NETWORKS[part_class(family, index, name)]
                parts[name] = load_network([kind], folder / name, dtype)
    for name in family.tokenizers:
        if names_part(index, name):
            with part_errors(name):
                kind, check = _TOKENIZERS[part_class(family, index, name)]
                check_folder(folder / name)
                check_tokenizer_config(
                    folder / name,
                    [each for each, (other, _) in _TOKENIZERS.items() if other is kind],
                    _SPECIAL_TOKENS[kind],
                )
                parts[name] = kind.from_pretrained(folder / name, local_files_only=True)
                encoder = parts.get(name.replace("tokenizer", "text_encoder"))
                if encoder is not None:
                    check(parts[name], encoder.config, folder / name)
    return parts


def load_network(kinds: Sequence[Any], folder: Path, dtype: torch.dtype) -> Any:
    """A network of which each weight came from the folder, and which uses each weight in it.

    `kinds`: the classes that are legal; config.json says which it is, if it says any.
    """
    check_folder(folder)
    config = read_json(folder / CONFIG_FILE)
    by_name = {kind.__name__: kind for kind in kinds}
    kind = by_name[config_class(config, list(by_name))]
    if "_class_name" in config:
        _refuse_unknown_settings(kind, config)
    else:
        _refuse_other_type(kind, config)
    variant = find_variant(file.name for file in folder.iterdir())
    network, info = kind.from_pretrained(
        folder,
        dtype=dtype,
        output_loading_info=True,
        local_files_only=True,
        ignore_mismatched_sizes=True,  # the error that the libraries would raise names none
        **({"variant": variant} if variant else {}),
    )
    if mismatched := sorted(info["mismatched_keys"]):
        raise CheckpointError(_sizes_differ(*mismatched[0]))
    if missing := sorted(info["missing_keys"]):
        raise CheckpointError(
            f"{_some(missing)} not in its files: they are incomplete, or of another model; "
            "download them again"
        )
    unused = [name for name in info["unexpected_keys"] if not _UNUSED_WEIGHTS.fullmatch(name)]
    if unused:
        raise CheckpointError(
            f"{_some(sorted(unused))} in its files but not in a {kind.__name__} with this "
            "config.json; use the two that belong together"
        )
    _refuse_broken_numbers(network)
    return network


def _refuse_other_type(kind: Any, config: Mapping[str, Any]) -> None:
    """transformers loads what it finds of another model's weights, and says so in a log."""
    if not issubclass(kind, PreTrainedModel):
        return
    legal = [kind.config_class.model_type, *_OTHER_TYPES.get(kind.config_class.model_type, ())]
    found = config.get("model_type")
    if found is not None and found not in legal:
        raise CheckpointError(
            f"its config.json says model_type {found}; legal: {' or '.join(legal)}, for a "
            f"{kind.__name__}"
        )


def _sizes_differ(name: str, found: Sequence[int], expected: Sequence[int]) -> str:
    sizes = [" x ".join(map(str, size)) for size in (found, expected)]
    return (
        f"{name} is {sizes[0]} in its files and {sizes[1]} by its config.json; use the two that "
        "belong together"
    )


def check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise CheckpointError(f"there is no directory {folder}")
    refuse_lfs_pointers(folder.iterdir())


def _refuse_broken_numbers(network: Any) -> None:
    broken = [
        name
        for name, weight in network.state_dict().items()
        if weight.is_floating_point() and not weight.isfinite().all()
    ]
    if broken:
        raise CheckpointError(
            f"{_some(sorted(broken))} not finite as {network.dtype}; download them again, or set "
            "another dtype"
        )


def _refuse_unknown_settings(kind: Any, config: Mapping[str, Any]) -> None:
    known = inspect.signature(kind.__init__).parameters
    unknown = [
        name
        for name, value in config.items()
        if name not in known and not name.startswith("_") and value not in (None, False)
    ]
    if unknown:
        # Some classes write more settings than they read.
        with torch.device("meta"):
            written = kind(**{name: config[name] for name in known if name in config}).config
        unknown = [name for name in unknown if name not in written]
    if unknown:
        raise CheckpointError(
            f"its config.json says {', '.join(sorted(unknown))}, which the installed diffusers "
            f"{diffusers.__version__} does not know; it was made for another version"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more} {'is' if len(names) == 1 else 'are'}"
