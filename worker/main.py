"""The process that makes panoramas: one model, kept warm, one job at a time."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
from contextlib import closing, suppress

from redis import Redis
from redis.exceptions import RedisError
from rq.exceptions import StopRequested
from rq.serializers import JSONSerializer

from panoweave.core.diffusion.content_credentials import ContentCredentials
from panoweave.core.diffusion.errors import DiffusionError, in_one_line
from panoweave.core.diffusion.identity import identify
from panoweave.core.diffusion.oom_retry import OomRetry
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.diffusion.rank_work import FirstRank
from panoweave.core.diffusion.warm_up import warm_up_request
from panoweave.core.infra.errors import StoreUnavailable
from panoweave.core.infra.redis import connect
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.infra.stop_event import StopEvent
from panoweave.core.jobs import models
from panoweave.core.jobs.models import LIVENESS_S, ModelState, WorkerState
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.savepoints import Savepoints
from panoweave.core.jobs.store import JobStore
from panoweave.worker.health import Health, serve_health
from panoweave.worker.job import WorkerContext, run_next_job
from panoweave.worker.model import load_credentials, load_model
from panoweave.worker.periodic_thread import PeriodicThread
from panoweave.worker.ranks import RankPlan, first_rank
from panoweave.worker.rq_worker import PanoramaWorker
from panoweave.worker.speed import SpeedReporter, StepClock
from panoweave.worker.telemetry import metrics
from panoweave.worker.telemetry.gpu_memory import GpuMemory

log = logging.getLogger(__name__)

_REDIS_WAIT_S = 1.0


def run_worker(settings: Settings, plan: RankPlan | None = None) -> int:
    """Work until SIGTERM or SIGINT. 0: asked to stop; 1: the model could not be loaded.

    `plan`: this is the first of several ranks, and the others are being started.
    """
    # RQ refuses a name that it believes alive, so a restarted worker needs a new one.
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    with connect(settings) as redis:
        presence = Presence(redis, settings, name)
        with (
            PeriodicThread("presence", LIVENESS_S / 3, presence.publish),
            serve_health(settings, metrics.WORKER, presence.health),
        ):
            presence.set_state("loading")
            try:
                credentials = load_credentials(settings)
                generator = load_generator(settings, plan)
                pipeline = generator.pipeline
                speed = SpeedReporter(redis, settings.model)
                warm_up(generator, speed)
            except DiffusionError as error:
                log.error("the model could not be loaded: %s", error)
                presence.set_state("failed", detail=str(error))
                return 1
            except Exception as error:
                log.exception("the model could not be loaded")
                detail = f"{in_one_line(error)}; the worker's log has more"
                presence.set_state("failed", detail=detail)
                return 1
            if pipeline.device.type == "cuda":
                metrics.WORKER.register(GpuMemory(pipeline.device))
            stopping = StopEvent()
            # Until RQ's loop installs its own handlers, and between two of its loops.
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: stopping.set())
            presence.set_state("ready", pipeline=pipeline)
            log.info("ready: model %s on %s", settings.model, pipeline.device)
            run_jobs(settings, name, generator, credentials, stopping, speed)
            if isinstance(generator, FirstRank):
                generator.dismiss()
        presence.withdraw()
    return 0


def load_generator(settings: Settings, plan: RankPlan | None) -> OomRetry:
    """Load the model, on one device or on all ranks. Raises DiffusionError."""
    if plan is None:
        return OomRetry(load_model(settings), settings.window_batch)
    return first_rank(settings, plan)


def warm_up(generator: OomRetry, speed: SpeedReporter) -> None:
    """Make a small panorama: the first job finds everything compiled, and its estimate a first
    measurement."""
    traits = generator.pipeline.traits
    params = warm_up_request(generator.pipeline)
    clock = StepClock(speed, params.resolve(traits), traits)
    made = generator.generate(params, on_step=lambda report: clock.step_ended(report.step))
    clock.finished(made.timings_s)


def run_jobs(
    settings: Settings,
    name: str,
    generator: OomRetry,
    credentials: ContentCredentials | None,
    stopping: threading.Event,
    speed: SpeedReporter,
) -> None:
    with connect(settings) as redis, closing(ObjectStore(settings)) as objects:
        context = WorkerContext(
            name=name,
            settings=settings,
            generator=generator,
            store=JobStore(redis, settings),
            queue=Queue(redis),
            objects=objects,
            savepoints=Savepoints(redis, settings),
            identity=identify(generator.pipeline),
            stopping=stopping,
            credentials=credentials,
            speed=speed,
        )
        with suppress(StopRequested):  # a signal between two of RQ's loops
            while not stopping.is_set():
                _run_tickets_until_redis_is_lost(context)
                stopping.wait(_REDIS_WAIT_S)


def _run_tickets_until_redis_is_lost(context: WorkerContext) -> None:
    """RQ's loop may end when Redis is lost. The model stays loaded for the next loop."""
    with connect(context.settings) as redis:
        try:
            worker = PanoramaWorker(
                Queue(redis).tickets(context.settings.model),
                f"{context.name}-{secrets.token_hex(3)}",
                context.stopping,
                lambda: run_next_job(context),
                connection=redis,
                serializer=JSONSerializer,
            )
            worker.work(logging_level=context.settings.log_level)
        except (RedisError, StoreUnavailable) as error:
            log.warning("Redis is lost: %s", error)


class Presence:
    """The published state of this worker and its model, repeated to show that the worker lives."""

    def __init__(self, redis: Redis, settings: Settings, name: str) -> None:
        self._redis = redis
        self._settings = settings
        self._name = name
        self._state: ModelState | None = None
        # `set_state` and the periodic thread publish at the same time: the newer state must win.
        self._lock = threading.Lock()

    def set_state(
        self, state: WorkerState, *, detail: str = "", pipeline: SyncDiffusionPipeline | None = None
    ) -> None:
        self._state = ModelState(
            model=self._settings.model,
            state=state,
            detail=detail,
            traits=pipeline.traits if pipeline else None,
            perceptual=self._settings.perceptual,
            worker=self._name,
        )
        try:
            self.publish()
        except StoreUnavailable:
            log.warning("Redis is away; the model's state is published when it is back")

    def health(self) -> Health:
        state = self._state
        return Health(state.state, state.detail) if state else Health("loading")

    def publish(self) -> None:
        with self._lock:
            if self._state:
                models.publish(self._redis, self._state)

    def withdraw(self) -> None:
        try:
            models.withdraw(self._redis, self._name)
        except StoreUnavailable:
            log.warning("Redis is away; this worker is forgotten in %d s", LIVENESS_S)
