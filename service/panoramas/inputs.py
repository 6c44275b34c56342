"""Copies the pictures of a request to where the job's own objects are.

After that, nothing that the caller changes or deletes affects the job.
"""

from __future__ import annotations

import hashlib

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


def ingest_images(context: Context, job: JobRecord, traits: CheckpointTraits) -> JobRecord:
    """The job with its pictures read, checked and stored, and with keys in their place.

    Raises InvalidParams that names the field, ObjectStoreError or StoreUnavailable.
    """
    inputs = image_inputs(job.params)
    images = {field: _read(context, job.tenant, field, given) for field, given in inputs.items()}
    sizes = {field: image.size for field, image in images.items()}
    check_image_sizes(job.params, sizes, traits)
    if images:
        # The janitor removes them again, should the job never be created.
        expect_uploads(context.redis, job.id, job.tenant)
    stored = {field: _store(context, job, field, image) for field, image in images.items()}
    return job.model_copy(update={"params": with_image_inputs(job.params, stored)})


def _read(context: Context, tenant: str, field: str, given: ImageInput) -> Image.Image:
    if given.base64 is not None:
        return read_inline(field, given.base64)
    assert given.key is not None  # ImageInput has exactly one of the two
    if not given.key.startswith(f"{tenant}/") or ".." in given.key.split("/"):
        raise InvalidParams(f"{field}.key", "is not yours", f"keys that begin with {tenant}/")
    size = context.objects.size(given.key)
    if size is None:
        raise InvalidParams(
            f"{field}.key", "there is no such object", "the key of a finished upload"
        )
    try:
        if size > MAX_IMAGE_BYTES:
            raise BadImage(f"{size:,} bytes", f"up to {MAX_IMAGE_BYTES:,} bytes")
        return read_image(context.objects.get(given.key))
    except BadImage as error:
        raise InvalidParams(f"{field}.key", error.problem, error.legal) from error


def _store(context: Context, job: JobRecord, field: str, image: Image.Image) -> ImageInput:
    body = to_png(image)
    key = f"{job.tenant}/{job.id}/inputs/{field}.png"
    context.objects.put(key, body, "image/png", hashlib.sha256(body).hexdigest())
    return ImageInput(key=key)
