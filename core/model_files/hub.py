"""Download a checkpoint's files from the hub: only those that are needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final

from huggingface_hub import HfApi, ModelInfo, hf_hub_download, snapshot_download
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
from huggingface_hub.utils.tqdm import disable_progress_bars

from panoweave.core.model_files.errors import CheckpointError, in_one_line
from panoweave.core.model_files.find import LEGAL, resolve_checkpoint

_WEIGHTS: Final = re.compile(
    r"(diffusion_pytorch_model|pytorch_model|model)"
    r"(\.(?P<variant>\w+))?(-\d+-of-\d+)?(\.(?P<old_variant>\w+))?\.(?P<suffix>safetensors|bin)"
)
_SMALL_SUFFIXES: Final = (".json", ".txt", ".jinja")  # the last is a chat template
_HUB_TIMEOUT_S: Final = 10.0


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
    with _hub_errors(revision, was_asked=not local_files_only):
        if not local_files_only:
            found = _look_up(name, options["revision"])
            if found is not None:
                wanted = list(_needed(_names(found), tuple(folders)))
                return Path(snapshot_download(name, allow_patterns=wanted, **options))
        return Path(snapshot_download(name, local_files_only=True, **options))


def fetch_small_files(checkpoint: str, files: Iterable[str], into: Path) -> Path:
    """The directory with those of these files that a checkpoint on the hub has.

    They are downloaded elsewhere than into the hub's cache: a worker without a network would find
    a checkpoint there that has no weights. If the hub cannot be reached, the cache is used.
    """
    name, revision = resolve_checkpoint(checkpoint)
    disable_progress_bars()
    with _hub_errors(revision, was_asked=True):
        found = _look_up(name, revision)
        if found is None:
            return Path(snapshot_download(name, revision=revision, local_files_only=True))
        for file in set(files) & set(_names(found)):
            hf_hub_download(name, file, revision=found.sha, cache_dir=into)
        (snapshot,) = into.glob("*/snapshots/*")
        return snapshot


def find_variant(names: Iterable[str]) -> str | None:
    """The variant, such as fp16, of which a part's weights are; None: they have no such name."""
    variants = {_variant(match) for match in map(_WEIGHTS.fullmatch, names) if match}
    if None in variants or not variants:
        return None
    if len(variants) > 1:
        found = ", ".join(sorted(str(variant) for variant in variants))
        raise CheckpointError(f"it has weights of several variants, {found}; keep one of them")
    return variants.pop()


@contextmanager
def _hub_errors(revision: str | None, *, was_asked: bool) -> Iterator[None]:
    """Raise CheckpointError for every error. `was_asked`: the hub, and not its cache alone."""
    try:
        yield
    except GatedRepoError as error:
        raise CheckpointError(
            "its owner asks for a licence to be accepted first: accept it on the hub, and set "
            "HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"the hub has no revision {revision!r} of it") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"the hub does not have it, or shows it only with HF_TOKEN set; legal: {LEGAL}"
        ) from error
    except HFValidationError as error:
        raise CheckpointError(f"{in_one_line(error)}; legal: {LEGAL}") from error
    except (LocalEntryNotFoundError, EntryNotFoundError) as error:
        why = ", and the hub does not answer" if was_asked else ""
        raise CheckpointError(
            f"it is not on this machine{why}; run `panoweave prefetch` with a network"
        ) from error
    except Exception as error:
        raise CheckpointError(f"{in_one_line(error)}; legal: {LEGAL}") from error


def _look_up(hub_id: str, revision: str | None) -> ModelInfo | None:
    """What the hub says of a repository; None: it cannot be reached."""
    try:
        # `list_repo_files` would try for half a minute; without a timeout, this one for ever.
        return HfApi().model_info(hub_id, revision=revision, timeout=_HUB_TIMEOUT_S)
    except (GatedRepoError, RevisionNotFoundError, RepositoryNotFoundError, HFValidationError):
        raise
    except (OSError, OfflineModeIsEnabled, HfHubHTTPError):
        return None
    except Exception as error:
        # The hub's library lets the errors of its HTTP client through.
        if type(error).__module__.startswith("httpx"):
            return None
        raise


def _names(repository: ModelInfo) -> list[str]:
    return [file.rfilename for file in repository.siblings or []]


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
