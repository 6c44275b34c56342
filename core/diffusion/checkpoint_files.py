"""Find a checkpoint's files: in a directory, or on the hub, and there only those it needs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, Final

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from panoweave.core.diffusion.errors import CheckpointError, in_one_line

LEGAL: Final = "a directory, or a hub id with an optional @revision"
_WEIGHTS: Final = re.compile(
    r"(diffusion_pytorch_model|pytorch_model|model)"
    r"(\.(?P<variant>\w+))?(-\d+-of-\d+)?(\.(?P<old_variant>\w+))?\.(?P<suffix>safetensors|bin)"
)
_SMALL_SUFFIXES: Final = (".json", ".txt")
_LFS_POINTER: Final = b"version https://git-lfs"


def resolve_checkpoint(checkpoint: str) -> tuple[str, str | None]:
    """(directory or hub id, hub revision) of a directory or of `hub/id[@revision]`."""
    if Path(checkpoint).is_dir():
        return checkpoint, None
    if checkpoint.startswith((".", "/", "~")):
        raise CheckpointError(f"there is no directory {checkpoint}")
    hub_id, _, revision = checkpoint.partition("@")
    return hub_id, revision or None


def fetch_checkpoint(
    checkpoint: str, folders: Iterable[str], *, local_files_only: bool = False, **options: Any
) -> Path:
    """The directory of a checkpoint, downloaded if it is on the hub.

    `folders`: those whose files are needed; "" is the checkpoint's own. `local_files_only`: look
    only in the hub's cache on this machine. `options`: revision and cache_dir, as of the hub's
    functions. Raises CheckpointError, which says what is missing and what to do.
    """
    name, revision = resolve_checkpoint(checkpoint)
    if Path(name).is_dir():
        return Path(name)
    options = {"revision": revision, **options}
    try:
        if not local_files_only:
            listed = _list_files(name, options["revision"])
            if listed is not None:
                wanted = list(_needed(listed, tuple(folders)))
                return Path(snapshot_download(name, allow_patterns=wanted, **options))
        return Path(snapshot_download(name, local_files_only=True, **options))
    except GatedRepoError as error:
        raise _refusal(
            checkpoint,
            "its owner asks for a licence to be accepted first: accept it "
            "on the hub, and set HF_TOKEN",
        ) from error
    except RevisionNotFoundError as error:
        raise _refusal(checkpoint, f"the hub has no revision {revision!r} of it") from error
    except RepositoryNotFoundError as error:
        raise _refusal(
            checkpoint,
            f"the hub does not have it, or shows it only with HF_TOKEN set; legal: {LEGAL}",
        ) from error
    except HFValidationError as error:
        raise _refusal(checkpoint, f"{in_one_line(error)}; legal: {LEGAL}") from error
    except (LocalEntryNotFoundError, EntryNotFoundError) as error:
        why = "" if local_files_only else ", and the hub does not answer"
        raise _refusal(
            checkpoint, f"it is not on this machine{why}; run `panoweave prefetch` with a network"
        ) from error
    except Exception as error:
        raise _refusal(checkpoint, f"{in_one_line(error)}; legal: {LEGAL}") from error


def find_variant(names: Iterable[str]) -> str | None:
    """The variant, such as fp16, of which a part's weights are; None: they have no such name."""
    variants = {_variant(match) for match in map(_WEIGHTS.fullmatch, names) if match}
    if None in variants or not variants:
        return None
    if len(variants) > 1:
        found = ", ".join(sorted(str(variant) for variant in variants))
        raise CheckpointError(f"it has weights of several variants, {found}; keep one of them")
    return variants.pop()


def refuse_lfs_pointers(files: Iterable[Path]) -> None:
    """Raise CheckpointError for files that stand for others, as a clone without git-lfs has."""
    for file in sorted(files):
        if file.is_file():
            with file.open("rb") as opened:
                if opened.read(len(_LFS_POINTER)) == _LFS_POINTER:
                    raise CheckpointError(f"{file.name} is a Git LFS pointer: run `git lfs pull`")


def _list_files(hub_id: str, revision: str | None) -> list[str] | None:
    """The names of a repository's files; None: the hub cannot be reached."""
    try:
        # `list_repo_files` would try for half a minute.
        found = HfApi().model_info(hub_id, revision=revision).siblings or []
    except (GatedRepoError, RevisionNotFoundError, RepositoryNotFoundError, HFValidationError):
        raise
    except (OSError, OfflineModeIsEnabled, HfHubHTTPError):
        return None
    except Exception as error:
        # The hub's library lets the errors of its HTTP client through.
        if type(error).__module__.startswith("httpx"):
            return None
        raise
    return [file.rfilename for file in found]


def _needed(listed: list[str], folders: tuple[str, ...]) -> Iterable[str]:
    for folder in folders:
        names = [
            path.name for path in map(PurePosixPath, listed) if str(path.parent) == (folder or ".")
        ]
        variant = find_variant(names)
        weights = [match for match in map(_WEIGHTS.fullmatch, names) if match]
        chosen = [match for match in weights if _variant(match) == variant]
        safe = [match for match in chosen if match["suffix"] == "safetensors"]
        kept = [match.string for match in safe or chosen]
        kept += [name for name in names if name.endswith(_SMALL_SUFFIXES)]
        yield from (str(PurePosixPath(folder, name)) for name in kept)


def _variant(match: re.Match[str]) -> str | None:
    return match["variant"] or match["old_variant"]


def _refusal(checkpoint: str, problem: str) -> CheckpointError:
    return CheckpointError(f"{checkpoint}: {problem}")
