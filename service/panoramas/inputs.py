"""Copies the pictures of a request to where the job's own objects are.

After that, nothing that the caller changes or deletes affects the job.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.conditions import ImageInput
from panoweave.core.image_process import BadFile, to_png_files
from panoweave.core.image_reader import MAX_IMAGE_BYTES
from panoweave.core.images import (
    check_image_sizes,
    decode_base64,
    image_inputs,
    with_image_inputs,
)
from panoweave.core.jobs.orphan_cleanup import expect_uploads
from panoweave.core.jobs.record import JobRecord
from panoweave.service.dependencies import Context


def ingest_images(
    context: Context, jobs: Sequence[JobRecord], traits: CheckpointTraits
) -> Sequence[JobRecord]:
    """The jobs of one request, with its pictures read, checked and stored, and with keys in their
    place. Each job has pictures of its own: it may be deleted before the others.

    The pictures lie in files meanwhile, one file for each that the request names, however often it
    does. Raises InvalidParams that names the field, ReadersBusy, ObjectStoreError or
    StoreUnavailable.
    """
    job = jobs[0]  # the others have the same pictures
    inputs = image_inputs(job.params)
    if not inputs:
        return jobs
    fields: dict[ImageInput, list[str]] = {}
    for field, given in inputs.items():
        fields.setdefault(given, []).append(field)
    with tempfile.TemporaryDirectory(prefix="panoweave-") as folder:
        files = {given: Path(folder, str(number)) for number, given in enumerate(fields)}
        for given, file in files.items():
            file.write_bytes(_fetch(context, job.tenant, fields[given][0], given))
        try:
            sizes = dict(zip(files, to_png_files(list(files.values())), strict=True))
        except BadFile as error:
            given = list(files)[error.index]
            name = fields[given][0] if given.base64 is not None else f"{fields[given][0]}.key"
            raise InvalidParams(name, error.problem, error.legal) from error
        check_image_sizes(job.params, {field: sizes[inputs[field]] for field in inputs}, traits)
        return [_with_stored(context, each, fields, files) for each in jobs]


def _with_stored(
    context: Context,
    job: JobRecord,
    fields: Mapping[ImageInput, Sequence[str]],
    files: Mapping[ImageInput, Path],
) -> JobRecord:
    # The janitor removes them again, should the job never be created.
    expect_uploads(context.redis, job.id, job.tenant)
    stored: dict[str, ImageInput] = {}
    for given, file in files.items():
        stored |= dict.fromkeys(fields[given], _store(context, job, fields[given][0], file))
    return job.model_copy(update={"params": with_image_inputs(job.params, stored)})


def _fetch(context: Context, tenant: str, field: str, given: ImageInput) -> bytes:
    if given.base64 is not None:
        return decode_base64(field, given.base64)
    assert given.key is not None  # ImageInput has exactly one of the two
    if not given.key.startswith(f"{tenant}/"):
        raise InvalidParams(f"{field}.key", "is not yours", f"keys that begin with {tenant}/")
    if not given.key.isprintable() or _climbs(given.key.split("/")):
        raise InvalidParams(
            f"{field}.key",
            "has a control character, or a part that is empty, `.` or `..`",
            f"keys that begin with {tenant}/ and have none",
        )
    found = context.objects.find(given.key)
    if found is None:
        raise InvalidParams(
            f"{field}.key", "there is no such object", "the key of a finished upload"
        )
    if found.size > MAX_IMAGE_BYTES:
        raise InvalidParams(
            f"{field}.key", f"{found.size:,} bytes", f"up to {MAX_IMAGE_BYTES:,} bytes"
        )
    content = context.objects.get_unchanged(given.key, found)
    if content is None:
        raise InvalidParams(
            f"{field}.key", "the object changes while it is read", "the key of a finished upload"
        )
    return content


def _climbs(parts: Iterable[str]) -> bool:
    """Whether a path has parts that servers resolve or collapse."""
    return any(part in ("", ".", "..") for part in parts)


def _store(context: Context, job: JobRecord, field: str, file: Path) -> ImageInput:
    body = file.read_bytes()
    key = f"{job.tenant}/{job.id}/inputs/{field}.png"
    context.objects.put(key, body, "image/png", hashlib.sha256(body).hexdigest())
    return ImageInput(key=key)
