"""Load the parts of a checkpoint, and refuse what the libraries would fill in or leave out."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from panoweave.core.diffusion.checkpoint_files import LEGAL, find_variant, refuse_lfs_pointers
from panoweave.core.diffusion.errors import (
    CheckpointError,
    DiffusionError,
    UnsupportedSchedulerError,
    in_one_line,
)
from panoweave.core.diffusion.patch_autoencoder import PatchAutoencoder
from panoweave.core.diffusion.tokenizers import check_tokenizer

INDEX: Final = "model_index.json"
_NETWORKS: Final[Mapping[str, tuple[Any, ...]]] = {
    "unet": (UNet2DConditionModel,),
    "vae": (AutoencoderKL, AutoencoderTiny, PatchAutoencoder),
    "text_encoder": (CLIPTextModel,),
    "text_encoder_2": (CLIPTextModelWithProjection,),
}
_TOKENIZERS: Final[Mapping[str, str]] = {
    "tokenizer": "text_encoder",
    "tokenizer_2": "text_encoder_2",
}
_TOKENIZER_CLASSES: Final = {"CLIPTokenizer": CLIPTokenizer, "CLIPTokenizerFast": CLIPTokenizer}
PARTS: Final = (*_NETWORKS, *_TOKENIZERS, "scheduler")
# Filters of finished pictures, which panoweave does not apply, and a ControlNet, which
# `load_pipeline` loads.
_LEFT_OUT: Final = ("safety_checker", "feature_extractor", "controlnet")
# All of them were trained on, or step over, the noise schedule of DDPM (arXiv 2006.11239).
_DDPM_SCHEDULERS: Final = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
# What a scheduler's configuration may say that only holds for other noise schedules.
_OTHER_SCHEDULES: Final[Mapping[str, Any]] = {
    "use_flow_sigmas": False,
    "timestep_type": "discrete",
}
# Weights of CLIP that no text encoder of these families has, or uses.
_UNUSED_WEIGHTS: Final = re.compile(
    r"(.*\.)?(position_ids|logit_scale|text_projection\.weight)|(vision_model|visual_projection)\..*"
)


def read_index(folder: Path) -> dict[str, Any]:
    """A checkpoint's `model_index.json`, if it names a pipeline that panoweave can run."""
    file = folder / INDEX
    if not file.is_file():
        raise CheckpointError(f"{folder} has no {INDEX}; legal: {LEGAL}, in diffusers' format")
    index = read_json(file)
    if "unet" not in index:
        raise CheckpointError(
            f"a {index.get('_class_name')} has no UNet; legal: checkpoints in the format of "
            "Stable Diffusion 1, 2 or XL"
        )
    for name, value in index.items():
        is_part = isinstance(value, list) and any(value)
        if is_part and name not in PARTS and name not in _LEFT_OUT:
            raise CheckpointError(f"{INDEX} names a part {name!r}, which panoweave cannot use")
    return index


def load_parts(folder: Path, index: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """The networks and tokenizers that the index names, by their names."""
    parts = {}
    for name, kinds in _NETWORKS.items():
        if _is_named(index, name):
            with part_errors(name):
                kind = _class_of(index, name, {kind.__name__: kind for kind in kinds})
                parts[name] = load_network([kind], folder / name, dtype)
    for name, encoder in _TOKENIZERS.items():
        if _is_named(index, name):
            with part_errors(name):
                kind = _class_of(index, name, _TOKENIZER_CLASSES)
                _check_folder(folder / name)
                parts[name] = kind.from_pretrained(folder / name, local_files_only=True)
                if encoder in parts:
                    check_tokenizer(parts[name], parts[encoder].config, folder / name)
    for name in ("unet", "vae", "tokenizer", "text_encoder"):
        if name not in parts:
            parts[name] = None  # `ModelFamily.check` says what is legal
    return parts


def load_network(kinds: Sequence[Any], folder: Path, dtype: torch.dtype) -> Any:
    """A network of which each weight came from the folder, and which uses each weight in it.

    `kinds`: the classes that are legal; config.json says which it is, if it says any.
    """
    _check_folder(folder)
    config = read_json(folder / "config.json")
    kind = kinds[0]
    if found := config.get("_class_name"):
        by_name = {kind.__name__: kind for kind in kinds}
        if found not in by_name:
            legal = " or ".join(f"a {name}" for name in by_name)
            raise CheckpointError(f"it is a {found}; legal: {legal}")
        kind = by_name[found]
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
        name = str(config.get("_class_name"))
        if name not in _DDPM_SCHEDULERS:
            raise UnsupportedSchedulerError(name, _DDPM_SCHEDULERS)
        for setting, legal in _OTHER_SCHEDULES.items():
            if config.get(setting, legal) != legal:
                raise UnsupportedSchedulerError(
                    f"{name} with {setting} {config[setting]!r}", [f"{setting} {legal!r}"]
                )
        _refuse_unknown_scheduler_settings(config)
        needed = ["num_train_timesteps"]
        if config.get("trained_betas") is None:
            needed += ["beta_start", "beta_end", "beta_schedule"]
        if absent := [setting for setting in needed if config.get(setting) is None]:
            raise CheckpointError(
                f"scheduler_config.json does not say {', '.join(absent)}, which the UNet was "
                "trained with; add them"
            )
        # DDIM's own default is to clip the latents, which is for pixels.
        return DDIMScheduler.from_config({"clip_sample": False, **config}), name


@contextmanager
def part_errors(what: str, legal: str | None = None) -> Iterator[None]:
    """Raise CheckpointError, in one line with the part's name, for every error while loading it."""
    try:
        yield
    except UnsupportedSchedulerError as error:
        error.args = (f"{what}: {error}",)
        raise
    except Exception as error:
        problem = str(error) if isinstance(error, DiffusionError) else in_one_line(error)
        remedy = f"; legal: {legal}" if legal else ""
        if not (legal or isinstance(error, DiffusionError)):
            remedy = "; download it again, or use another checkpoint"
        raise CheckpointError(f"{what}: {problem}{remedy}") from error


def read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no {file.name} in {file.parent}") from error
    except ValueError as error:
        raise CheckpointError(f"{file} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} is not a JSON object")
    return content


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise CheckpointError(f"there is no directory {folder}")
    refuse_lfs_pointers(folder.iterdir())


def _is_named(index: Mapping[str, Any], name: str) -> bool:
    value = index.get(name)
    return isinstance(value, list) and any(value)


def _class_of(index: Mapping[str, Any], name: str, legal: Mapping[str, Any]) -> Any:
    library, named = index[name][0], index[name][-1]
    kind = legal.get(named)
    if kind is None or str(library).partition(".")[0] != kind.__module__.partition(".")[0]:
        raise CheckpointError(
            f"{INDEX} says that it is a {named} of {library}; legal: {' or '.join(legal)}"
        )
    return kind


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
        for name in _DDPM_SCHEDULERS
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
