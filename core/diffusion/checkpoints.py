"""Load a pipeline, by the name of its checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import (
    AutoencoderTiny,
    ControlNetModel,
    DDIMScheduler,
    ModelMixin,
)
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from panoweave.core.diffusion.coherence import CoherenceMeter
from panoweave.core.diffusion.errors import CheckpointError, DeviceUnavailableError
from panoweave.core.diffusion.lora_files import LORA_LEGAL, find_lora
from panoweave.core.diffusion.patch_autoencoder import PatchAutoencoder
from panoweave.core.diffusion.perceptual_weights import load_perceptual, load_stlpips_style
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.machine import DtypeName, PerceptualName

_DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# Folders of a checkpoint's directory that may hold them.
_TINY_FOLDER: Final = "tiny_decoder"
_CONTROLNET_FOLDER: Final = "controlnet"
_LEGAL: Final = "a directory, or a hub id with an optional @revision"


def resolve_checkpoint(checkpoint: str) -> tuple[str, str | None]:
    """(directory or hub id, hub revision) of a directory or of `hub/id[@revision]`."""
    if Path(checkpoint).is_dir():
        return checkpoint, None
    if checkpoint.startswith((".", "/", "~")):
        raise CheckpointError(f"there is no directory {checkpoint}")
    hub_id, _, revision = checkpoint.partition("@")
    return hub_id, revision or None


def resolve_device(device: str) -> torch.device:
    """`auto` is CUDA if there is one, else the CPU. Raises DeviceUnavailableError."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise DeviceUnavailableError(
            f"{device!r} is no device: legal are auto, cpu, cuda and numbered ones such as cuda:1"
        ) from error
    if target.type == "cuda":
        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (target.index or 0) >= there:
            raise DeviceUnavailableError(
                f"the device {device} was asked for, and torch sees {there or 'no'} CUDA devices: "
                "use auto or cpu, or install the driver and a torch with CUDA"
            )
    return target


def resolve_dtype(dtype: DtypeName, device: torch.device) -> torch.dtype:
    """`auto` is half precision on CUDA, float32 elsewhere."""
    if dtype == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    return _DTYPES[dtype]


def load_pipeline(
    checkpoint: str,
    *,
    perceptual: PerceptualName,
    perceptual_trunk: Path | None = None,
    tiny_decoder: str | None = None,
    controlnet: str | None = None,
    lora: str | None = None,
    device: str = "auto",
    dtype: DtypeName = "auto",
) -> SyncDiffusionPipeline:
    """Load a pipeline with its perceptual network and its coherence meter, onto a device.

    `checkpoint`: a directory, or `hub/id[@revision]`. `tiny_decoder`, an AutoencoderTiny, and
    `controlnet`, a ControlNetModel, likewise; None: the folders `tiny_decoder` and `controlnet` of
    the checkpoint's directory, if it has them. `lora`: see `find_lora`.
    Raises CheckpointError or PerceptualWeightsError, which say what is missing and what to do.
    """
    target = resolve_device(device)
    torch_dtype = resolve_dtype(dtype, target)
    # Progress bars for reading files only clutter logs; a download still shows the hub's own.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    pipeline: SyncDiffusionPipeline = _load(
        (SyncDiffusionPipeline,), checkpoint, "the checkpoint", torch_dtype
    )
    if lora:
        add_lora(pipeline, lora)
    if source := tiny_decoder or _bundled(checkpoint, _TINY_FOLDER):
        pipeline.use_tiny_decoder(load_tiny_decoder(source, torch_dtype))
    if source := controlnet or _bundled(checkpoint, _CONTROLNET_FOLDER):
        pipeline.use_controlnet(load_controlnet(source, torch_dtype))
    pipeline.perceptual = load_perceptual(perceptual, perceptual_trunk)
    pipeline.meter = CoherenceMeter(load_perceptual("stlpips-vgg"), load_stlpips_style())
    for network in (
        pipeline.unet,
        pipeline.vae,
        pipeline.tiny_decoder,
        pipeline.controlnet,
        pipeline.perceptual,
    ):
        if network is not None:
            # Convolutions run up to a third faster (docs/LOG.md).
            network.to(memory_format=torch.channels_last)
    return pipeline.to(target)


def load_tiny_decoder(source: str, dtype: torch.dtype = torch.float32) -> Any:
    """An AutoencoderTiny or a PatchAutoencoder, by directory or `hub/id[@revision]`."""
    return _load((AutoencoderTiny, PatchAutoencoder), source, "the tiny decoder", dtype)


def load_controlnet(source: str, dtype: torch.dtype = torch.float32) -> Any:
    """A ControlNetModel by directory or `hub/id[@revision]`."""
    return _load((ControlNetModel,), source, "the ControlNet", dtype)


def add_lora(pipeline: SyncDiffusionPipeline, source: str) -> None:
    """Fuse a LoRA (arXiv 2106.09685) into the pipeline's networks, at full strength.

    `source`: see `find_lora`.
    """
    file = find_lora(source)
    # diffusers knows the formats of LoRA files, and loads them into the same networks. It changes
    # some settings of the scheduler, so it gets one of its own.
    loader = pipeline.family.lora_loader(pipeline, DDIMScheduler(steps_offset=1, clip_sample=False))
    with _checkpoint_errors("the LoRA", source, LORA_LEGAL):
        loader.load_lora_weights(str(file.parent), weight_name=file.name)
    if not loader.get_list_adapters():
        raise CheckpointError(f"the LoRA {source!r} changes nothing in this checkpoint")
    loader.fuse_lora()
    loader.unload_lora_weights()


def _load(kinds: tuple[Any, ...], source: str, what: str, dtype: torch.dtype) -> Any:
    with _checkpoint_errors(what, source):
        name_or_path, options = _hub_arguments(source)
        kind = kinds[0]
        if issubclass(kind, ModelMixin):
            # diffusers would load a model of another class in part.
            found = kind.load_config(name_or_path, **options).get("_class_name")
            by_name = {kind.__name__: kind for kind in kinds}
            if found not in by_name:
                legal = " or ".join(f"a {name}" for name in by_name)
                raise ValueError(f"it is a {found}; legal: {legal}")
            kind = by_name[found]
        return kind.from_pretrained(name_or_path, **options, dtype=dtype)


@contextmanager
def _checkpoint_errors(what: str, source: str, legal: str = _LEGAL) -> Iterator[None]:
    """Raise CheckpointError, with what is legal, for the errors of the libraries that load."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"cannot load {what} {source!r}: {error}; legal: {legal}") from error


def _hub_arguments(source: str) -> tuple[str, dict[str, str]]:
    """The arguments of diffusers' `from_pretrained`."""
    name_or_path, revision = resolve_checkpoint(source)
    return name_or_path, {"revision": revision} if revision else {}


def _bundled(checkpoint: str, folder: str) -> str | None:
    path = Path(checkpoint) / folder
    return str(path) if path.is_dir() else None
