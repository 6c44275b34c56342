"""The foreseen panorama, to be looked at while it is made."""

from __future__ import annotations

import contextvars
import hashlib
import logging
import threading
import time
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
_LAST_WAIT_S: Final = 2.0


class Previews:
    """Stores one now and then, and removes it in the end. No reason ever to wait, or to fail."""

    def __init__(
        self, objects: ObjectStore, record: JobRecord, pipeline: SyncDiffusionPipeline
    ) -> None:
        self._objects = objects
        self._key = record.keys.foreseen
        self._pipeline = pipeline
        self._next = time.monotonic() + EVERY_S
        self._storing: threading.Thread | None = None

    def show(self, report: StepReport) -> None:
        """After each step."""
        if time.monotonic() < self._next or (self._storing and self._storing.is_alive()):
            return
        image = self._pipeline.preview(report.pred_original_sample)
        # A store that is slow, or away, slows no step.
        in_context = contextvars.copy_context().run  # what it logs is of the same job
        self._storing = threading.Thread(target=in_context, args=(self._store, image), daemon=True)
        self._storing.start()
        self._next = time.monotonic() + EVERY_S

    def close(self) -> None:
        """Remove what was stored, if that takes no time to speak of."""
        if self._storing is None:
            return
        self._storing.join(_LAST_WAIT_S)
        removing = threading.Thread(target=self._remove, daemon=True)
        removing.start()
        removing.join(_LAST_WAIT_S)

    def _store(self, image: Image.Image) -> None:
        body = encode_preview(image)
        try:
            self._objects.put(self._key, body, "image/jpeg", hashlib.sha256(body).hexdigest())
        except ObjectStoreError as error:
            log.info("no preview: %s", error)

    def _remove(self) -> None:
        with suppress(ObjectStoreError):
            self._objects.delete(self._key)
