"""A finished panorama as objects in S3: the picture, a preview, and the record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

from panoweave.core.diffusion.image_files import encode, encode_preview, holds_parameters
from panoweave.core.diffusion.pipeline import Panorama
from panoweave.core.diffusion.prompts import TruncatedPrompt
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.record import JobRecord, Result, ResultWarning, Status
from panoweave.core.output import MEDIA_TYPES
from panoweave.worker.patience import Patience


def upload(
    objects: ObjectStore, record: JobRecord, panorama: Panorama, check: Callable[[], None]
) -> Result:
    """Store picture, preview and metadata under this attempt's keys.

    As patient as `Patience` is, without computing anything again; `check` as there. Raises
    ObjectStoreError in the end.
    """
    patience = Patience(check)
    picture, output = encode(panorama), panorama.params.output
    keys = record.keys
    result = Result(
        keys=keys,
        width=panorama.image.width,
        height=panorama.image.height,
        format=output.format,
        bytes=len(picture),
        sha256=hashlib.sha256(picture).hexdigest(),
        coherence=asdict(panorama.coherence) if panorama.coherence else {},
        timings_s=panorama.timings_s,
        warnings=_warnings(panorama),
    )
    for key, body, content_type in (
        (keys.image, picture, MEDIA_TYPES[output.format]),
        (keys.preview, encode_preview(panorama.image), "image/jpeg"),
        (keys.metadata, describe(record, result), "application/json"),
    ):
        digest = hashlib.sha256(body).hexdigest()
        patience.ask(partial(objects.put, key, body, content_type, digest))
    return result


def _warnings(panorama: Panorama) -> list[ResultWarning]:
    warnings = [_about_truncation(prompt) for prompt in panorama.truncated_prompts]
    if not holds_parameters(panorama.params):
        detail = "the parameters are too long for a JPEG, and are not inside the file"
        warnings.append(
            ResultWarning(code="parameters_left_out", field="output.format", detail=detail)
        )
    return warnings


def _about_truncation(prompt: TruncatedPrompt) -> ResultWarning:
    return ResultWarning(
        code="prompt_truncated",
        field=prompt.field,
        detail=f"has {prompt.tokens} tokens, of which the model reads {prompt.limit}; "
        f"not read: {prompt.text!r}",
    )


def describe(record: JobRecord, result: Result) -> bytes:
    """The whole record as it will stand once it has succeeded, so that it outlives Redis."""
    final = record.model_copy(
        update={"status": Status.SUCCEEDED, "finished_at": datetime.now(UTC), "result": result}
    )
    passing = {"token", "progress", "cancel_requested", "webhook"}
    return json.dumps(final.model_dump(mode="json", exclude=passing), indent=2).encode()
