"""Previews of a running panorama: what the sampler predicts as the final picture."""

from __future__ import annotations

import contextvars
import hashlib
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from PIL import Image

from panoweave.core.diffusion.image_files import encode_preview
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.infra.errors import ObjectStoreError
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.record import JobRecord

log = logging.getLogger(__name__)

EVERY_S: Final = 3.0
CLOSE_WAIT_S: Final = 2.0


class Previews:
    """Stores a preview every few seconds, and deletes it in the end. No step waits for it, and no
    error of S3 fails the job."""

    def __init__(
        self,
        objects: ObjectStore,
        record: JobRecord,
        pipeline: SyncDiffusionPipeline,
        check: Callable[[], None],
    ) -> None:
        """`check` is called before each tile of a large preview; it may raise what stops it."""
        self._objects = objects
        self._key = record.keys.foreseen
        self._pipeline = pipeline
        self._check = check
        self._next = time.monotonic() + EVERY_S
        self._storing: threading.Thread | None = None
        self.is_stored = False  # read by the thread that samples, set by the one that stores

    def show(self, report: StepReport) -> None:
        """After each step."""
        if time.monotonic() < self._next or (self._storing and self._storing.is_alive()):
            return
        image = self._pipeline.preview(report.pred_original_sample, self._check)
        # In a thread: a store that is slow or away must not slow the steps. It gets the context
        # variables, so that its log lines carry the job's id.
        in_context = contextvars.copy_context().run
        self._storing = threading.Thread(target=in_context, args=(self._store, image), daemon=True)
        self._storing.start()
        self._next = time.monotonic() + EVERY_S

    def close(self) -> None:
        """Delete the preview, without waiting long for it."""
        if self._storing is None:
            return
        self._storing.join(CLOSE_WAIT_S)
        removing = threading.Thread(target=self._remove, daemon=True)
        removing.start()
        removing.join(CLOSE_WAIT_S)

    def _store(self, image: Image.Image) -> None:
        body = encode_preview(image)
        try:
            self._objects.put(self._key, body, "image/jpeg", hashlib.sha256(body).hexdigest())
        except ObjectStoreError as error:
            log.info("no preview: %s", error)
        else:
            self.is_stored = True

    def _remove(self) -> None:
        with suppress(ObjectStoreError):
            self._objects.delete(self._key)
