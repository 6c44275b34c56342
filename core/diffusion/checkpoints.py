"""From a checkpoint's name to a pipeline ready to work."""

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
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers.utils import logging as transformers_logging

from panoweave.core.diffusion.coherence import CoherenceMeter
from panoweave.core.diffusion.errors import CheckpointError
from panoweave.core.diffusion.lora_files import LORA_LEGAL, find_lora
from panoweave.core.diffusion.perceptual_weights import load_perceptual, load_stlpips_style
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.machine import DtypeName, PerceptualName

_DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
# Where a checkpoint's directory may bring them along.
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
    """`auto` is CUDA where there is one, else the CPU."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(device)


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
    """A pipeline with its perceptual network and its coherence meter, on a device.

    `checkpoint`: a directory, or `hub/id[@revision]`. `tiny_decoder`, an AutoencoderTiny, and
    `controlnet`, a ControlNetModel, are named likewise; None: the folders `tiny_decoder` and
    `controlnet` of the checkpoint's directory, where there are any. `lora`: as `find_lora` takes
    it.
    Raises CheckpointError or PerceptualWeightsError saying what is missing and what to do.
    """
    target = resolve_device(device)
    torch_dtype = resolve_dtype(dtype, target)
    # Their bars for reading files are noise in logs; a download still shows the hub's own.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    pipeline: SyncDiffusionPipeline = _load(
        SyncDiffusionPipeline, checkpoint, "the checkpoint", torch_dtype
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
            # Convolutions run up to a third faster (docs/LOG.md); the values are the same.
            network.to(memory_format=torch.channels_last)
    return pipeline.to(target)


def load_tiny_decoder(source: str, dtype: torch.dtype = torch.float32) -> Any:
    """An AutoencoderTiny by directory or `hub/id[@revision]`."""
    return _load(AutoencoderTiny, source, "the tiny decoder", dtype)


def load_controlnet(source: str, dtype: torch.dtype = torch.float32) -> Any:
    """A ControlNetModel by directory or `hub/id[@revision]`."""
    return _load(ControlNetModel, source, "the ControlNet", dtype)


def add_lora(pipeline: SyncDiffusionPipeline, source: str) -> None:
    """Fold a LoRA (arXiv 2106.09685) into the pipeline's networks, at its full strength.

    `source`: as `find_lora` takes it.
    """
    file = find_lora(source)
    # In place of our scheduler, whose settings they might change, another one.
    scheduler = DDIMScheduler(steps_offset=1, clip_sample=False)
    parts = {**pipeline.components, "scheduler": scheduler}
    # Those who know the formats of LoRA files; they work on the same networks.
    if pipeline.text_encoder_2 is not None:
        loader = StableDiffusionXLPipeline(**parts, add_watermarker=False)
    else:
        loader = StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    with _told("the LoRA", source, LORA_LEGAL):
        loader.load_lora_weights(str(file.parent), weight_name=file.name)
    if not loader.get_list_adapters():
        raise CheckpointError(f"the LoRA {source!r} changes nothing in this checkpoint")
    loader.fuse_lora()
    loader.unload_lora_weights()


def _load(kind: Any, source: str, what: str, dtype: torch.dtype) -> Any:
    with _told(what, source):
        place, options = _place(source)
        if issubclass(kind, ModelMixin):
            # Of another class it would be loaded all the same, in part.
            found = kind.load_config(place, **options).get("_class_name")
            if found != kind.__name__:
                raise ValueError(f"it is a {found}; legal: a {kind.__name__}")
        return kind.from_pretrained(place, **options, dtype=dtype)


@contextmanager
def _told(what: str, source: str, legal: str = _LEGAL) -> Iterator[None]:
    """What cannot be loaded is an error that says so, and what is legal."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"cannot load {what} {source!r}: {error}; legal: {legal}") from error


def _place(source: str) -> tuple[str, dict[str, str]]:
    """What `from_pretrained` and its like take."""
    place, revision = resolve_checkpoint(source)
    return place, {"revision": revision} if revision else {}


def _bundled(checkpoint: str, folder: str) -> str | None:
    path = Path(checkpoint) / folder
    return str(path) if path.is_dir() else None
