"""The process that makes panoramas: one model, kept warm, one job at a time."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
from contextlib import suppress

from redis import Redis
from redis.exceptions import RedisError
from rq.exceptions import StopRequested
from rq.serializers import JSONSerializer

from panoweave.core.diffusion.errors import DiffusionError
from panoweave.core.diffusion.identity import identify
from panoweave.core.diffusion.oom_retry import OomRetry
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.infra.redis import connect
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.infra.stop_event import StopEvent
from panoweave.core.jobs import models
from panoweave.core.jobs.models import LIVENESS_S, ModelState
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.savepoints import Savepoints
from panoweave.core.jobs.store import JobStore
from panoweave.core.params import PanoramaParams
from panoweave.worker import job
from panoweave.worker.health import Condition, probes
from panoweave.worker.model import load_model
from panoweave.worker.pulse import Pulse
from panoweave.worker.rq_worker import PanoramaWorker
from panoweave.worker.telemetry import metrics
from panoweave.worker.telemetry.gpu_memory import GpuMemory

log = logging.getLogger(__name__)

_REDIS_WAIT_S = 1.0


def run_worker(settings: Settings) -> int:
    """Work until SIGTERM or SIGINT. 0: asked to leave; 1: the model could not be loaded."""
    # RQ refuses a name that it believes alive, so a restarted worker needs a new one.
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    with connect(settings) as redis:
        presence = Presence(redis, settings, name)
        with (
            Pulse("presence", LIVENESS_S / 3, presence.publish),
            probes(settings, metrics.WORKER, presence.condition),
        ):
            presence.tell("loading")
            try:
                pipeline = load_model(settings)
                maker = OomRetry(pipeline, settings.window_batch)
                warm_up(maker)
            except DiffusionError as error:
                log.error("the model could not be loaded: %s", error)
                presence.tell("failed", detail=str(error))
                return 1
            except Exception as error:
                log.exception("the model could not be loaded")
                presence.tell("failed", detail=f"{type(error).__name__}; the worker's log has more")
                return 1
            if pipeline.device.type == "cuda":
                metrics.WORKER.register(GpuMemory(pipeline.device))
            stopping = StopEvent()
            # Until RQ's loop installs its own handlers, and between two of its loops.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stopping.set())
            presence.tell("ready", pipeline=pipeline)
            log.info("ready: model %s on %s", settings.model, pipeline.device)
            take_jobs(settings, name, maker, stopping)
        presence.leave()
    return 0


def warm_up(maker: OomRetry) -> None:
    """Two windows, two steps, all the way: the first real job finds everything compiled."""
    traits = maker.pipeline.traits
    maker.generate(
        PanoramaParams(
            prompt="warm up",
            width=2 * traits.window_px,
            steps=2,
            seed=0,
        )
    )


def take_jobs(settings: Settings, name: str, maker: OomRetry, stopping: threading.Event) -> None:
    with connect(settings) as redis:
        workshop = job.Workshop(
            name=name,
            settings=settings,
            maker=maker,
            store=JobStore(redis, settings),
            queue=Queue(redis),
            objects=ObjectStore(settings),
            savepoints=Savepoints(redis, settings),
            identity=identify(maker.pipeline),
            stopping=stopping,
        )
        job.install(workshop)
        with suppress(StopRequested):  # a signal between two of RQ's loops
            while not stopping.is_set():
                _take_jobs_until_redis_is_lost(settings, name, stopping)
                stopping.wait(_REDIS_WAIT_S)
        workshop.objects.close()


def _take_jobs_until_redis_is_lost(
    settings: Settings, name: str, stopping: threading.Event
) -> None:
    """RQ's loop ends where Redis is lost at a bad moment; the model need not be lost with it."""
    with connect(settings) as redis:
        try:
            worker = PanoramaWorker(
                Queue(redis).rq,
                f"{name}-{secrets.token_hex(3)}",
                stopping,
                connection=redis,
                serializer=JSONSerializer,
            )
            worker.work(logging_level=settings.log_level)
        except (RedisError, StoreUnavailable) as error:
            log.warning("Redis is lost: %s", error)


class Presence:
    """What this worker says of itself and its model, repeated so that it is known to live."""

    def __init__(self, redis: Redis, settings: Settings, name: str) -> None:
        self._redis = redis
        self._settings = settings
        self._name = name
        self._told: ModelState | None = None
        self._lock = threading.Lock()  # `tell` and the pulse: the last word must be the last told

    def tell(
        self, state: str, *, detail: str = "", pipeline: SyncDiffusionPipeline | None = None
    ) -> None:
        self._told = ModelState.model_validate(
            {
                "model": self._settings.model,
                "state": state,
                "detail": detail,
                "traits": pipeline.traits if pipeline else None,
                "perceptual": self._settings.perceptual,
                "worker": self._name,
            }
        )
        try:
            self.publish()
        except StoreUnavailable:
            log.warning("Redis is away; the model's state is published when it is back")

    def condition(self) -> Condition:
        told = self._told
        return Condition(told.state, told.detail) if told else Condition("loading")

    def publish(self) -> None:
        with self._lock:
            if self._told:
                models.publish(self._redis, self._told)

    def leave(self) -> None:
        try:
            models.withdraw(self._redis, self._name)
        except StoreUnavailable:
            log.warning("Redis is away; this worker is forgotten in %d s", LIVENESS_S)
