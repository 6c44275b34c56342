from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from redis import Redis

from panoweave.core.diffusion.coherence import CoherenceMeter
from panoweave.core.diffusion.identity import identify
from panoweave.core.diffusion.oom_retry import OomRetry
from panoweave.core.diffusion.perceptual_weights import load_perceptual, load_stlpips_style
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import DEFAULT_TENANT, JobRecord
from panoweave.core.jobs.savepoints import Savepoints
from panoweave.core.jobs.store import JobStore
from panoweave.core.params import PanoramaParams
from panoweave.core.webhooks.deliveries import Deliveries
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.worker.job import WorkerContext
from panoweave.worker.speed import SpeedReporter
from panoweave.worker.webhook_sender import WebhookDispatcher
from tests.core import tiny

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> SyncDiffusionPipeline:
    made = tiny.pipeline(tmp_path_factory.mktemp("tiny"))
    made.perceptual = load_perceptual("stlpips-alex")
    made.meter = CoherenceMeter(made.perceptual, load_stlpips_style())
    return made


@pytest.fixture
def context(
    settings: Settings, redis: Redis, objects: ObjectStore, pipeline: SyncDiffusionPipeline
) -> WorkerContext:
    return WorkerContext(
        name="test-worker",
        settings=settings,
        generator=OomRetry(pipeline, settings.window_batch),
        store=JobStore(redis, settings),
        queue=Queue(redis),
        objects=objects,
        savepoints=Savepoints(redis, settings),
        identity=identify(pipeline),
        stopping=threading.Event(),
        speed=SpeedReporter(redis, settings.model),
    )


@pytest.fixture
def post(context: WorkerContext) -> Callable[..., JobRecord]:
    """Create a queued job of two windows, five steps."""

    def create(**changes: object) -> JobRecord:
        asked = {"prompt": "a lake", "width": 128, "stride": 64, "steps": 5, "seed": 1, **changes}
        params = PanoramaParams.model_validate(asked).resolve(context.generator.pipeline.traits)
        record = JobRecord.new(params, context.settings.model, DEFAULT_TENANT, {"order": 7})
        return context.store.create(record)

    return create


@pytest.fixture
def webhook_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_test_targets": True})


@pytest.fixture
def store(redis: Redis, webhook_settings: Settings) -> JobStore:
    return JobStore(redis, webhook_settings)


@pytest.fixture
def deliveries(redis: Redis, webhook_settings: Settings) -> Deliveries:
    return Deliveries(redis, webhook_settings)


@pytest.fixture
def secret(redis: Redis) -> str:
    return WebhookSecrets(redis).create("default").secret.get_secret_value()


@pytest.fixture
def dispatcher(
    redis: Redis,
    object_store: ObjectStore,
    webhook_settings: Settings,
    secret: str,  # noqa: ARG001
) -> WebhookDispatcher:
    return WebhookDispatcher(redis, object_store, webhook_settings)
