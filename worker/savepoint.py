"""Saves one attempt's sampler state, for the next attempt to resume from."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from PIL import Image

from panoweave.core.diffusion.errors import InvalidSamplerStateError
from panoweave.core.diffusion.identity import PipelineIdentity
from panoweave.core.diffusion.loras import AppliedLora
from panoweave.core.diffusion.sampler_state import SamplerState
from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.record import JobRecord
from panoweave.core.jobs.savepoints import Savepoints
from panoweave.worker.periodic_thread import PeriodicThread

log = logging.getLogger(__name__)


class Savepoint:
    """Saves the last step every few seconds while the `with` block runs, from a thread of its own.

    It saves once more if the block ends with an error, so that no step is lost. Saving delays no
    step, and a save that fails does not fail the job.
    """

    def __init__(
        self,
        savepoints: Savepoints,
        record: JobRecord,
        identity: PipelineIdentity,
        images: Mapping[str, Image.Image],
        loras: Sequence[AppliedLora],
        settings: Settings,
    ) -> None:
        """`identity`: of the pipeline; `images`: the pictures that the request came with."""
        assert record.token is not None  # JobStore.claim gives every attempt one
        self._savepoints = savepoints
        self._job_id, self._token = record.id, record.token
        self._label, *self._earlier_labels = (
            {"job": record.id, "panorama": _fingerprint(record, digest, images, loras)}
            for digest in (identity.digest, *identity.earlier)
        )
        self._every_s, self._max_bytes = settings.savepoint_every_s, settings.savepoint_max_bytes
        self._latest: SamplerState | None = None
        self._saved: SamplerState | None = None
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        thread = PeriodicThread(f"savepoint {self._job_id}", self._every_s, self._save)
        self._resources.enter_context(thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._resources.close()
        if error:
            self._save()

    def load(self) -> SamplerState | None:
        """What an earlier attempt at the same panorama saved; None if nothing fits."""
        try:
            body = self._savepoints.load(self._job_id)
            if body is not None:
                self._latest = SamplerState.from_bytes(body, self._label, *self._earlier_labels)
        except (InvalidSamplerStateError, StoreUnavailable) as reason:
            log.warning("%s: the savepoint is not used: %s", self._job_id, reason)
        return self._latest

    def note(self, state: SamplerState) -> None:
        """After each step."""
        if state.size_bytes <= self._max_bytes:
            self._latest = state

    def _save(self) -> None:
        latest = self._latest
        if latest is None or latest is self._saved:
            return
        try:
            self._savepoints.save(self._job_id, self._token, latest.to_bytes(self._label))
            self._saved = latest
        except StoreUnavailable:
            log.warning("%s: Redis is away; step %d is not saved", self._job_id, latest.step)
        except Exception:  # say, of the device: it must not hide the error that ended the block
            log.exception("%s: step %d is not saved", self._job_id, latest.step)


def _fingerprint(
    record: JobRecord,
    identity: str,
    images: Mapping[str, Image.Image],
    loras: Sequence[AppliedLora],
) -> str:
    """A digest of all that the panorama depends on: request, pictures, pipeline and LoRAs."""
    digest = hashlib.sha256(identity.encode())
    digest.update(record.params.model_dump_json().encode())
    if images.keys() & {"anchor_image", "extend.image"}:
        digest.update(b"followed as they are predicted ")  # decision 63; before, as they are
    for field, image in sorted(images.items()):
        digest.update(f"{field} {image.mode} {image.size} ".encode())
        digest.update(image.tobytes())
    for lora in loras:
        digest.update(f"{lora.name} {lora.sha256} ".encode())
    return digest.hexdigest()
