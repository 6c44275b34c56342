"""What models make, as their own files say, for those that no worker has loaded yet.

Each model's files are read once, in a thread of its own: a hub may take long, or not answer.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Final

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.embedded import checkpoint_of
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.errors import ModelNotReady
from panoweave.core.model_files.errors import DiffusionError, in_one_line
from panoweave.core.model_files.read import read_traits

log = logging.getLogger(__name__)

_RETRY_AFTER_S: Final = 10.0


@dataclass
class _Reading:
    """One attempt at reading a model's files."""

    began_at: float = field(default_factory=time.monotonic)
    ended: threading.Event = field(default_factory=threading.Event)
    ended_at: float = 0.0
    traits: CheckpointTraits | None = None
    problem: str = "is still reading its files"  # what this server does or cannot do

    @property
    def is_worth_repeating(self) -> bool:
        has_failed = self.ended.is_set() and self.traits is None
        return has_failed and time.monotonic() - self.ended_at > _RETRY_AFTER_S


class ModelFiles:
    def __init__(self, settings: Settings, wait_s: float = 5.0) -> None:
        """`wait_s`: how long a request waits for files, counted from when they began to be read:
        a hub that hangs holds no thread of later requests."""
        self._settings = settings
        self._wait_s = wait_s
        self._readings: dict[str, _Reading] = {}
        self._lock = threading.Lock()

    def begin(self, model: str) -> _Reading:
        """Begin to read a model's files, unless that was done."""
        with self._lock:
            reading = self._readings.get(model)
            if reading is None or reading.is_worth_repeating:
                reading = self._readings[model] = _Reading()
                # A daemon: the process may end while a hub does not answer.
                threading.Thread(
                    target=self._read, args=(model, reading), name="model files", daemon=True
                ).start()
            return reading

    def traits(self, model: str) -> CheckpointTraits:
        """Raises ModelNotReady, which says why the files cannot be read."""
        reading = self.begin(model)
        reading.ended.wait(max(0.0, reading.began_at + self._wait_s - time.monotonic()))
        if reading.traits is None:
            raise ModelNotReady(model, reading.problem)
        return reading.traits

    def _read(self, model: str, reading: _Reading) -> None:
        try:
            reading.traits = self._read_files(model)
        except DiffusionError as error:
            reading.problem = str(error)
        except Exception as error:
            log.exception("the files of the model %s cannot be read", model)
            reading.problem = f"cannot read its files: {in_one_line(error)}"
        else:
            log.info("the files of the model %s say what it makes", model)
        reading.ended_at = time.monotonic()
        reading.ended.set()
        if reading.traits is None:
            log.warning("the model %s: this server %s", model, reading.problem)

    def _read_files(self, model: str) -> CheckpointTraits:
        # The settings name what is loaded beside PANOWEAVE_MODEL. Workers of other models have
        # settings of their own.
        settings = self._settings if model == self._settings.model else None
        return read_traits(
            checkpoint_of(model),
            tiny_decoder=settings.tiny_decoder if settings else None,
            controlnet=settings.controlnet if settings else None,
            loras=settings.loras if settings else {},
        )
