"""A finished panorama as objects in S3: the picture, a preview, and the record."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_fixed

from panoweave.core.diffusion.content_credentials import ContentCredentials
from panoweave.core.diffusion.image_files import encode, encode_preview, holds_parameters
from panoweave.core.diffusion.panorama import Panorama
from panoweave.core.diffusion.prompts import TruncatedPrompt, UnknownWords
from panoweave.core.infra.errors import NoSuchObject, ObjectStoreError
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.record import JobRecord, Result, ResultWarning, Status, UsedLora
from panoweave.core.output import MEDIA_TYPES

log = logging.getLogger(__name__)

RETRY_FOR_S = 60.0
RETRY_EVERY_S = 2.0


def upload(
    objects: ObjectStore,
    record: JobRecord,
    panorama: Panorama,
    check: Callable[[], None],
    credentials: ContentCredentials | None = None,
) -> Result:
    """Store picture, preview and metadata under this attempt's keys.

    `credentials` sign the picture.

    An S3 that is away is retried without computing anything again, see `retry_object_store`. Raises
    ObjectStoreError in the end.
    """
    retrying = retry_object_store(check)
    picture, output = encode(panorama), panorama.params.output
    if credentials:
        picture = credentials.sign(picture, MEDIA_TYPES[output.format])
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
        warnings=warnings_of(panorama),
        loras=[UsedLora(**asdict(lora)) for lora in panorama.loras],
    )
    for key, body, content_type in (
        (keys.image, picture, MEDIA_TYPES[output.format]),
        (keys.preview, encode_preview(panorama.image), "image/jpeg"),
        (keys.metadata, describe(record, result), "application/json"),
    ):
        retrying(objects.put, key, body, content_type, hashlib.sha256(body).hexdigest())
    return result


def retry_object_store(check: Callable[[], None]) -> Retrying:
    """Retries calls of an S3 that is away for `RETRY_FOR_S` from now on, all of them together.

    `check` runs before each call, and may raise. NoSuchObject is an answer, and not retried.
    """
    deadline = time.monotonic() + RETRY_FOR_S

    def warn(state: RetryCallState) -> None:
        log.warning("%s; trying again", state.outcome and state.outcome.exception())

    return Retrying(
        retry=retry_if_exception(
            lambda error: (
                isinstance(error, ObjectStoreError) and not isinstance(error, NoSuchObject)
            )
        ),
        stop=lambda _: time.monotonic() + RETRY_EVERY_S > deadline,
        wait=wait_fixed(RETRY_EVERY_S),
        before=lambda _: check(),
        before_sleep=warn,
        reraise=True,
    )


def warnings_of(panorama: Panorama) -> list[ResultWarning]:
    warnings = [_about_truncation(prompt) for prompt in panorama.truncated_prompts]
    warnings += [_about_unknown_words(prompt) for prompt in panorama.unknown_words]
    warnings += [
        ResultWarning(code=warning.code, field=warning.field, detail=warning.detail)
        for warning in panorama.quality_warnings
    ]
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


def _about_unknown_words(prompt: UnknownWords) -> ResultWarning:
    return ResultWarning(
        code="unknown_words",
        field=prompt.field,
        detail=f"has words that the model was not trained on: {', '.join(prompt.words)}",
    )


def describe(record: JobRecord, result: Result) -> bytes:
    """The whole record as it will be once it has succeeded, so that it outlives Redis."""
    final = record.model_copy(
        update={"status": Status.SUCCEEDED, "finished_at": datetime.now(UTC), "result": result}
    )
    passing = {"token", "progress", "cancel_requested", "webhook"}
    return json.dumps(final.model_dump(mode="json", exclude=passing), indent=2).encode()
