"""`panoweave prefetch`: downloads what a worker would download when it starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from panoweave.deploy.environment import read_settings
from panoweave.deploy.errors import DeployError
from panoweave.deploy.terminal import print_line

if TYPE_CHECKING:
    from panoweave.core.infra.settings import Settings


def run_prefetch() -> int:
    settings = read_settings()
    _fetch_checkpoint(settings.model)
    _fetch_additions(settings)
    _fetch_perceptual_trunk(settings)
    return 0


def _fetch_checkpoint(model: str) -> None:
    from panoweave.core.embedded import checkpoint_of
    from panoweave.core.model_files.errors import CheckpointError
    from panoweave.core.model_files.find import resolve_checkpoint
    from panoweave.core.model_files.hub import fetch_checkpoint
    from panoweave.core.model_files.index import PARTS

    try:
        checkpoint, _ = resolve_checkpoint(checkpoint_of(model))
    except CheckpointError as error:
        raise DeployError(str(error), "correct PANOWEAVE_MODEL") from error
    if Path(checkpoint).is_absolute() or Path(checkpoint).is_dir():
        print_line(f"checkpoint: nothing to do, it is in {escape(checkpoint)}")
        return
    print_line(f"checkpoint: downloading {escape(model)}")
    try:
        # Only the files that loading needs, not the whole repository.
        folder = fetch_checkpoint(model, ("", *PARTS))
    except CheckpointError as error:
        raise DeployError(
            f"cannot download {model}: {error}",
            "check the name and revision in PANOWEAVE_MODEL, the network, and HF_TOKEN where the "
            "checkpoint asks for a licence",
        ) from error
    print_line(f"checkpoint: in {escape(str(folder))}")


def _fetch_additions(settings: Settings) -> None:
    """Download what is loaded beside the checkpoint, by loading it."""
    from panoweave.core.diffusion.checkpoints import load_controlnet, load_tiny_decoder
    from panoweave.core.diffusion.errors import CheckpointError
    from panoweave.core.diffusion.lora_files import find_lora

    additions = [
        ("tiny decoder", "TINY_DECODER", settings.tiny_decoder, load_tiny_decoder),
        ("controlnet", "CONTROLNET", settings.controlnet, load_controlnet),
        ("lora", "LORA", settings.lora, find_lora),
        *(
            (f"lora {name}", "LORAS", each.source, find_lora)
            for name, each in settings.loras.items()
        ),
    ]
    for what, variable, source, fetch in additions:
        if source is None:
            continue
        print_line(f"{what}: loading {escape(source)}")
        try:
            fetch(source)
        except CheckpointError as error:
            raise DeployError(str(error), f"correct PANOWEAVE_{variable}") from error
        print_line(f"{what}: on this machine")


def _fetch_perceptual_trunk(settings: Settings) -> None:
    import torch

    from panoweave.core.diffusion.perceptual_weights import trunk_url

    name = settings.perceptual
    if name.startswith("stlpips-"):
        print_line(f"perceptual weights: nothing to do, {name} comes with a Python package")
        return
    if settings.perceptual_trunk is not None:
        print_line(f"perceptual weights: nothing to do, the trunk is {settings.perceptual_trunk}")
        return
    url = trunk_url(name)
    target = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not target.exists():
        print_line(f"perceptual weights: downloading {url}")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            # torchvision's file names end with the first digits of the SHA-256, checked here.
            torch.hub.download_url_to_file(url, str(target), _hash_prefix(target), progress=False)
        except (OSError, RuntimeError) as error:
            raise DeployError(
                f"cannot download {url}: {error}",
                "check the network, or set PANOWEAVE_PERCEPTUAL_TRUNK to a copy of that file",
            ) from error
    print_line(f"perceptual weights: in {escape(str(target))}")


def _hash_prefix(file: Path) -> str:
    return file.stem.rpartition("-")[2]
