"""Find the one file of a LoRA. diffusers would take the first of several, and use the network."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from panoweave.core.diffusion.errors import CheckpointError

_SUFFIX: Final = ".safetensors"
LORA_LEGAL: Final = (
    "a safetensors file, a directory that holds one, or hub/id[@revision], or "
    "hub/id/file.safetensors[@revision] where the hub holds several"
)


def find_lora(source: str, *, local_files_only: bool = False) -> Path:
    """The file of a LoRA, downloaded if it is on the hub.

    `source`: a file, a directory, or a name on the hub, as in LORA_LEGAL.
    `local_files_only`: look only in the hub's cache on this machine.
    Raises CheckpointError, which says what is legal.
    """
    path = Path(source)
    if path.is_file() and path.suffix == _SUFFIX:
        return path
    if path.is_dir():
        return _only_file(path, source)
    place, _, revision = source.partition("@")
    parts = place.split("/")
    is_named = len(parts) == 3 and place.endswith(_SUFFIX)
    if source.startswith((".", "/", "~")) or not (is_named or len(parts) == 2):
        raise CheckpointError(f"there is no LoRA {source!r}; legal: {LORA_LEGAL}")
    pattern = parts[2] if is_named else f"*{_SUFFIX}"
    try:
        folder = snapshot_download(
            "/".join(parts[:2]),
            revision=revision or None,
            allow_patterns=pattern,
            local_files_only=local_files_only,
        )
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise CheckpointError(
            f"cannot fetch the LoRA {source!r}: {error}; legal: {LORA_LEGAL}"
        ) from error
    return _only_file(Path(folder), source, pattern)


def _only_file(folder: Path, source: str, pattern: str = f"*{_SUFFIX}") -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) == 1:
        return found[0]
    names = ", ".join(file.name for file in found) or "none"
    raise CheckpointError(
        f"the LoRA {source!r} should be one safetensors file, found: {names}; legal: {LORA_LEGAL}"
    )
