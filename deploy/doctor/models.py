"""The checks of the model and of what is loaded beside it: the files are there, and they load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from panoweave.deploy.doctor.check import NO_WORKER_PART, Check

if TYPE_CHECKING:
    from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
    from panoweave.core.infra.settings import Settings

# Of every family; loading the checkpoint says what else it lacks.
_SUB_MODELS = ("scheduler", "text_encoder", "tokenizer", "vae")


def check_models(settings: Settings) -> Iterator[Check]:
    """Load what a worker would load, on the CPU and without the network."""
    check, pipeline = check_model(settings)
    yield check
    if settings.lora:
        yield check_lora(settings.lora, pipeline)
    for name, each in settings.loras.items():
        yield check_lora(each.source, pipeline, name)
    if source := settings.tiny_decoder or _bundled(settings, "tiny_decoder"):
        yield check_addition("tiny_decoder", source, pipeline)
    if source := settings.controlnet or _bundled(settings, "controlnet"):
        yield check_addition("controlnet", source, pipeline)


def check_model(settings: Settings) -> tuple[Check, SyncDiffusionPipeline | None]:
    """The check, and the pipeline if it loads."""
    check = _check_checkpoint("model", settings.model, "PANOWEAVE_MODEL", _SUB_MODELS)
    if check.level != "ok":
        return check, None
    from panoweave.core.diffusion.errors import DiffusionError

    _quiet()
    try:
        pipeline = _load(settings)
    except DiffusionError as error:
        return Check(check.name, "fail", str(error), _remedy(settings.model, "MODEL")), None
    return Check(check.name, "ok", f"loads; {check.found}"), pipeline


def _load(settings: Settings) -> SyncDiffusionPipeline:
    """In half precision, to need less memory beside a worker that runs. What does not load so is
    loaded in the worker's own number format: float16 does not hold every weight."""
    import torch

    from panoweave.core.diffusion.checkpoints import load_checkpoint, resolve_device, resolve_dtype
    from panoweave.core.diffusion.errors import DeviceUnavailableError, DiffusionError
    from panoweave.core.embedded import checkpoint_of

    checkpoint = checkpoint_of(settings.model)
    try:
        return load_checkpoint(checkpoint, torch.float16, local_files_only=True)
    except DiffusionError:
        try:
            dtype = resolve_dtype(settings.dtype, resolve_device(settings.device))
        except DeviceUnavailableError:  # another check says so
            dtype = torch.float16
        if dtype == torch.float16:
            raise
        return load_checkpoint(checkpoint, dtype, local_files_only=True)


def check_addition(
    name: Literal["tiny_decoder", "controlnet"],
    source: str,
    pipeline: SyncDiffusionPipeline | None = None,
) -> Check:
    """Check what is loaded beside the model; `pipeline`: the model, which it has to fit."""
    what, setting = name.replace("_", " "), f"PANOWEAVE_{name.upper()}"
    check = _check_checkpoint(what, source, setting, ("config.json",))
    if check.level != "ok":
        return check
    import torch

    from panoweave.core.diffusion.checkpoints import load_controlnet, load_tiny_decoder
    from panoweave.core.diffusion.errors import DiffusionError

    _quiet()
    try:
        if name == "controlnet":
            controlnet = load_controlnet(source, torch.float16, local_files_only=True)
            if pipeline:
                pipeline.use_controlnet(controlnet)
        else:
            tiny_decoder = load_tiny_decoder(source, torch.float16, local_files_only=True)
            if pipeline:
                pipeline.use_tiny_decoder(tiny_decoder)
    except DiffusionError as error:
        return Check(check.name, "fail", str(error), _remedy(source, name.upper()))
    return Check(check.name, "ok", f"loads; {check.found}")


def check_lora(
    source: str, pipeline: SyncDiffusionPipeline | None = None, offered_as: str | None = None
) -> Check:
    """Check without the network; `pipeline`: the model, which it has to fit.

    `offered_as`: its name in PANOWEAVE_LORAS. Otherwise it is PANOWEAVE_LORA's.
    """
    name = f"LoRA {offered_as or source}"
    variable = "LORAS" if offered_as else "LORA"
    try:
        from panoweave.core.diffusion.checkpoints import add_lora
        from panoweave.core.diffusion.errors import CheckpointError
        from panoweave.core.diffusion.lora_adapters import read_changes
        from panoweave.core.diffusion.lora_files import find_lora
    except ImportError as error:
        return Check(name, "warn", f"{error.name} is not installed", NO_WORKER_PART)
    try:
        file = find_lora(source, local_files_only=True)
    except CheckpointError as error:
        remedy = f"run panoweave prefetch if the hub has it; else correct PANOWEAVE_{variable}"
        return Check(name, "fail", str(error), remedy)
    if pipeline is None:
        return Check(name, "ok", str(file))
    _quiet()
    try:
        if offered_as:
            read_changes(pipeline, file, offered_as)
        else:
            add_lora(pipeline, source, local_files_only=True)
    except CheckpointError as error:
        return Check(name, "fail", str(error), _remedy(source, variable))
    return Check(name, "ok", f"fits the model; {file}")


def _check_checkpoint(what: str, source: str, setting: str, parts: tuple[str, ...]) -> Check:
    """Check that the files are there, without the network; `panoweave prefetch` downloads."""
    name = f"{what} {source}"
    try:
        from panoweave.core.diffusion.errors import CheckpointError
        from panoweave.core.embedded import checkpoint_of
        from panoweave.core.model_files.find import resolve_checkpoint
    except ImportError as error:
        return Check(name, "warn", f"{error.name} is not installed", NO_WORKER_PART)
    try:
        checkpoint, revision = resolve_checkpoint(checkpoint_of(source))
    except CheckpointError as error:
        return Check(name, "fail", str(error), f"correct {setting}")
    if Path(checkpoint).is_absolute() or Path(checkpoint).is_dir():
        return _check_directory(name, Path(checkpoint), setting, parts)
    index = "model_index.json" if parts is _SUB_MODELS else parts[0]
    return _check_hub_cache(name, checkpoint, revision, setting, index)


def _check_directory(name: str, folder: Path, setting: str, parts: tuple[str, ...]) -> Check:
    missing = [part for part in parts if not (folder / part).exists()]
    if missing:
        remedy = f"{setting} needs a directory in diffusers' format"
        return Check(name, "fail", f"{folder} lacks {', '.join(missing)}", remedy)
    return Check(name, "ok", str(folder))


def _check_hub_cache(
    name: str, hub_id: str, revision: str | None, setting: str, index: str
) -> Check:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(hub_id, index, revision=revision)
    except HFValidationError as error:
        return Check(name, "fail", str(error), f"correct {setting}")
    if isinstance(cached, str):
        return Check(name, "ok", "in the hub's cache on this machine")
    found = "not on this machine yet; the first worker downloads it"
    return Check(name, "warn", found, "panoweave prefetch")


def _bundled(settings: Settings, folder: str) -> str | None:
    from panoweave.core.embedded import checkpoint_of
    from panoweave.core.model_files.find import bundled

    return bundled(checkpoint_of(settings.model), folder)


def _remedy(source: str, setting: str) -> str:
    correct = f"correct PANOWEAVE_{setting}"
    return correct if Path(source).exists() else f"run panoweave prefetch, or {correct}"


def _quiet() -> None:
    """The libraries' warnings say less than the errors that are raised for what they warn of."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
