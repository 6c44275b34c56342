"""The pictures of a request: read at the door, and copied to where the job's files are.

So a job that was taken in depends on nothing that its caller may change or delete.
"""

from __future__ import annotations

import hashlib
import threading

from PIL import Image

from panoweave.core.checkpoint import CheckpointTraits, InvalidParams
from panoweave.core.conditions import ImageInput
from panoweave.core.images import (
    MAX_IMAGE_BYTES,
    BadImage,
    check_image_sizes,
    image_inputs,
    read_image,
    read_inline,
    to_png,
    with_image_inputs,
)
from panoweave.core.jobs.orphan_cleanup import expect_uploads
from panoweave.core.jobs.record import JobRecord
from panoweave.service.dependencies import Context

# The largest picture unpacks to 200 MB: no more than so many at once in one API process.
_unpacking = threading.BoundedSemaphore(2)


def take_in(context: Context, record: JobRecord, traits: CheckpointTraits) -> JobRecord:
    """The record with its pictures stored as the job's own.

    Raises InvalidParams naming the field, ObjectStoreError or StoreUnavailable.
    """
    asked = image_inputs(record.params)
    images = {field: _read(context, record.tenant, field, image) for field, image in asked.items()}
    sizes = {field: image.size for field, image in images.items()}
    check_image_sizes(record.params, sizes, traits)
    if images:
        expect_uploads(context.redis, record.id, record.tenant)
    stored = {field: _store(context, record, field, image) for field, image in images.items()}
    return record.model_copy(update={"params": with_image_inputs(record.params, stored)})


def _read(context: Context, tenant: str, field: str, image: ImageInput) -> Image.Image:
    if image.base64 is not None:
        return read_inline(field, image.base64)
    assert image.key is not None  # ImageInput's own promise
    if not image.key.startswith(f"{tenant}/") or ".." in image.key.split("/"):
        raise InvalidParams(f"{field}.key", "is not yours", f"keys that begin with {tenant}/")
    size = context.objects.size(image.key)
    if size is None:
        raise InvalidParams(
            f"{field}.key", "there is no such object", "the key of a finished upload"
        )
    try:
        if size > MAX_IMAGE_BYTES:
            raise BadImage(f"{size:,} bytes", f"up to {MAX_IMAGE_BYTES:,} bytes")
        return read_image(context.objects.get(image.key))
    except BadImage as error:
        raise InvalidParams(f"{field}.key", error.problem, error.legal) from error


def _store(context: Context, record: JobRecord, field: str, image: Image.Image) -> ImageInput:
    body = to_png(image)
    key = f"{record.tenant}/{record.id}/inputs/{field}.png"
    context.objects.put(key, body, "image/png", hashlib.sha256(body).hexdigest())
    return ImageInput(key=key)
