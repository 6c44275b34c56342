"""Load the parts of a checkpoint, and refuse what the libraries would fill in or leave out."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.patch_autoencoder import PatchAutoencoder
from panoweave.core.diffusion.tokenizers import check_tokenizer
from panoweave.core.model_files.configs import CONFIG_FILE, config_class
from panoweave.core.model_files.errors import part_errors
from panoweave.core.model_files.find import read_json, refuse_lfs_pointers
from panoweave.core.model_files.hub import find_variant
from panoweave.core.model_files.index import NETWORKS, TOKENIZERS, names_part, part_class
from panoweave.core.model_files.scheduler import DDPM_SCHEDULERS, check_scheduler_config

_NETWORKS: Final[Mapping[str, Any]] = {
    kind.__name__: kind
    for kind in (
        *(UNet2DConditionModel, AutoencoderKL, AutoencoderTiny, PatchAutoencoder),
        *(CLIPTextModel, CLIPTextModelWithProjection),
    )
}
_ENCODERS: Final[Mapping[str, str]] = {
    "tokenizer": "text_encoder",
    "tokenizer_2": "text_encoder_2",
}
# Weights of CLIP that no text encoder of these families has, or uses.
_UNUSED_WEIGHTS: Final = re.compile(
    r"(.*\.)?(position_ids|logit_scale|text_projection\.weight)|(vision_model|visual_projection)\..*"
)


def load_parts(folder: Path, index: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The networks and tokenizers that the index names, by their names."""
    parts: dict[str, Any] = {}
    for name in NETWORKS:
        if names_part(index, name):
            with part_errors(name):
                kind = _NETWORKS[part_class(index, name)]
                parts[name] = load_network([kind], folder / name, dtype)
    for name in TOKENIZERS:
        if names_part(index, name):
            with part_errors(name):
                part_class(index, name)
                _check_folder(folder / name)
                parts[name] = CLIPTokenizer.from_pretrained(folder / name, local_files_only=True)
                if encoder := parts.get(_ENCODERS[name]):
                    check_tokenizer(parts[name], encoder.config, folder / name)
    for name in ("unet", "vae", "tokenizer", "text_encoder"):
        if name not in parts:
            parts[name] = None  # `ModelFamily.check` says what is legal
    return parts


def load_network(kinds: Sequence[Any], folder: Path, dtype: torch.dtype) -> Any:
    """A network of which each weight came from the folder, and which uses each weight in it.

    `kinds`: the classes that are legal; config.json says which it is, if it says any.
    """
    _check_folder(folder)
    config = read_json(folder / CONFIG_FILE)
    by_name = {kind.__name__: kind for kind in kinds}
    kind = by_name[config_class(config, list(by_name))]
    if "_class_name" in config:
        _refuse_unknown_settings(kind, config)
    variant = find_variant(file.name for file in folder.iterdir())
    network, info = kind.from_pretrained(
        folder,
        dtype=dtype,
        output_loading_info=True,
        local_files_only=True,
        **({"variant": variant} if variant else {}),
    )
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


def load_scheduler(folder: Path) -> tuple[DDIMScheduler, str]:
    """DDIM over the checkpoint's noise schedule, and the class that the checkpoint names."""
    with part_errors("scheduler"):
        _check_folder(folder)
        config = DDIMScheduler.load_config(folder)
        name = check_scheduler_config(config)
        _refuse_unknown_scheduler_settings(config)
        # DDIM's own default is to clip the latents, which is for pixels.
        return DDIMScheduler.from_config({"clip_sample": False, **config}), name


def _check_folder(folder: Path) -> None:
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


def _refuse_unknown_scheduler_settings(config: Mapping[str, Any]) -> None:
    # Published checkpoints carry settings of the schedulers that they had before.
    known = {
        setting
        for name in DDPM_SCHEDULERS
        for setting in inspect.signature(getattr(diffusers, name).__init__).parameters
    }
    unknown = [
        name
        for name, value in config.items()
        if name not in known and not name.startswith("_") and value not in (None, False)
    ]
    if unknown:
        raise CheckpointError(
            f"scheduler_config.json says {', '.join(sorted(unknown))}, which the installed "
            f"diffusers {diffusers.__version__} does not know; it was made for another version"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more} {'is' if len(names) == 1 else 'are'}"
