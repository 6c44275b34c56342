"""A finished panorama as objects in S3: the picture, a preview, and the record."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from core.diffusion.pipeline import Panorama
from core.diffusion.prompts import Unread
from core.jobs.failures import ObjectStoreError
from core.jobs.objects import ObjectStore
from core.jobs.record import JobRecord, Result, ResultWarning, Status

log = logging.getLogger(__name__)

PATIENCE_S = 60.0  # how long a finished picture waits for S3 to come back
_WAIT_S = 2.0
_PREVIEW_WIDTH_PX = 1_024
_PREVIEW_QUALITY = 80

# What viewers need to show a picture as a sphere (Photo Sphere XMP). Only a picture that is all
# around and half as high as wide is one.
_GPANO = """\
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:GPano="http://ns.google.com/photos/1.0/panorama/"
   GPano:ProjectionType="equirectangular" GPano:UsePanoramaViewer="True"
   GPano:FullPanoWidthPixels="{0}" GPano:FullPanoHeightPixels="{1}"
   GPano:CroppedAreaImageWidthPixels="{0}" GPano:CroppedAreaImageHeightPixels="{1}"
   GPano:CroppedAreaLeftPixels="0" GPano:CroppedAreaTopPixels="0"/>
 </rdf:RDF>
</x:xmpmeta>
"""


def upload(
    objects: ObjectStore, record: JobRecord, panorama: Panorama, check: Callable[[], None]
) -> Result:
    """Store picture, preview and metadata under this attempt's keys.

    Tries again for `PATIENCE_S` without computing anything again; `check` runs between tries and
    may raise. Raises ObjectStoreError in the end.
    """
    deadline = time.monotonic() + PATIENCE_S
    picture = encode_png(panorama)
    keys = record.keys
    result = Result(
        keys=keys,
        width=panorama.image.width,
        height=panorama.image.height,
        format="png",
        bytes=len(picture),
        sha256=hashlib.sha256(picture).hexdigest(),
        coherence=asdict(panorama.coherence) if panorama.coherence else {},
        timings_s=panorama.timings_s,
        warnings=[_about_truncation(unread) for unread in panorama.unread],
    )
    for key, body, content_type in (
        (keys.image, picture, "image/png"),
        (keys.preview, encode_preview(panorama.image), "image/jpeg"),
        (keys.metadata, describe(record, result), "application/json"),
    ):
        _put_patiently(objects, key, body, content_type, check, deadline)
    return result


def _about_truncation(unread: Unread) -> ResultWarning:
    return ResultWarning(
        code="prompt_truncated",
        field=unread.field,
        detail=f"has {unread.tokens} tokens, of which the model reads {unread.limit}; "
        f"not read: {unread.text!r}",
    )


def encode_png(panorama: Panorama) -> bytes:
    """The picture with its parameters inside, in text chunks."""
    text = PngInfo()
    text.add_itxt("Software", "panoweave")
    text.add_itxt("panoweave", panorama.params.model_dump_json())
    if panorama.params.loop and panorama.image.width == 2 * panorama.image.height:
        text.add_itxt("XML:com.adobe.xmp", _GPANO.format(*panorama.image.size))
    buffer = io.BytesIO()
    panorama.image.save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


def encode_preview(image: Image.Image) -> bytes:
    small = image.copy()
    small.thumbnail((_PREVIEW_WIDTH_PX, _PREVIEW_WIDTH_PX))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_PREVIEW_QUALITY)
    return buffer.getvalue()


def describe(record: JobRecord, result: Result) -> bytes:
    """The whole record as it will stand once it has succeeded, so that it outlives Redis."""
    final = record.model_copy(
        update={"status": Status.SUCCEEDED, "finished_at": datetime.now(UTC), "result": result}
    )
    told = final.model_dump(mode="json", exclude={"token", "progress", "cancel_requested"})
    return json.dumps(told, indent=2).encode()


def _put_patiently(
    objects: ObjectStore,
    key: str,
    body: bytes,
    content_type: str,
    check: Callable[[], None],
    deadline: float,
) -> None:
    digest = hashlib.sha256(body).hexdigest()
    while True:
        check()
        try:
            return objects.put(key, body, content_type, digest)
        except ObjectStoreError as error:
            if time.monotonic() + _WAIT_S > deadline:
                raise
            log.warning("%s; trying again", error)
            time.sleep(_WAIT_S)
