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
from panoweave.worker.job import WorkerContext
from panoweave.worker.speed import SpeedReporter
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
        speed=SpeedReporter(redis, "tiny"),
    )


@pytest.fixture
def post(context: WorkerContext) -> Callable[..., JobRecord]:
    """Create a queued job of two windows, five steps."""

    def create(**changes: object) -> JobRecord:
        asked = {"prompt": "a lake", "width": 128, "stride": 64, "steps": 5, "seed": 1, **changes}
        params = PanoramaParams.model_validate(asked).resolve(context.generator.pipeline.traits)
        record = JobRecord.new(params, "tiny", DEFAULT_TENANT, {"order": 7})
        return context.store.create(record)

    return create
