"""A worker and a janitor of today carry on with what version 0.1.0 left."""

from __future__ import annotations

import dataclasses
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from rq.serializers import JSONSerializer

from panoweave.core.diffusion.identity import PipelineIdentity
from panoweave.core.diffusion.oom_retry import OomRetry
from panoweave.core.diffusion.pipeline import SyncDiffusionPipeline
from panoweave.core.infra import redis_keys
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.infra.stop_event import StopEvent
from panoweave.core.jobs import events
from panoweave.core.jobs.record import Status
from panoweave.core.webhooks.deliveries import Deliveries, State
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.worker.job import WorkerContext, run_next_job
from panoweave.worker.rq_worker import PanoramaWorker
from panoweave.worker.webhook_sender import WebhookDispatcher
from tests.core import tiny
from tests.jobs.old_data import OldData, load_old_data
from tests.receivers import receiving


@pytest.fixture
def old(redis: Redis) -> OldData:
    return load_old_data(redis)


@pytest.fixture
def handlers() -> Iterator[None]:
    """RQ's loop replaces this process's signal handlers; they are put back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def of_its_sizes(folder: Path) -> SyncDiffusionPipeline:
    """A model with the sizes of its embedded one: windows of 128 px, eight channels."""
    networks = tiny.components(folder) | {
        "unet": tiny.unet(sample_size=16, in_channels=8, out_channels=8),
        "vae": tiny.autoencoder(latent_channels=8),
    }
    pipeline = SyncDiffusionPipeline(**networks)
    pipeline.use_tiny_decoder(tiny.small_decoder(8))
    pipeline.perceptual = tiny.perceptual()
    return pipeline


@pytest.mark.usefixtures("handlers")
def test_its_jobs_get_tickets_and_its_savepoint_is_resumed(
    old: OldData, context: WorkerContext, redis: Redis, tmp_path: Path
) -> None:
    """Its own tickets lie in the queue for all models. The first job has the savepoint."""
    stopping, used = StopEvent(), 0
    today = dataclasses.replace(
        context,
        generator=OomRetry(of_its_sizes(tmp_path), context.settings.window_batch),
        identity=PipelineIdentity("today's", earlier=(old.identity,)),
        stopping=threading.Event(),
    )

    def run_ticket() -> None:
        nonlocal used
        used += 1
        if used == 2:
            stopping.set()
        run_next_job(today)

    worker = PanoramaWorker(
        today.queue.tickets("embedded"),
        "worker-1",
        stopping,
        run_ticket,
        connection=redis,
        serializer=JSONSerializer,
    )
    # Of default size, it would take long: the second ticket finds no job.
    today.store.request_cancel(old.jobs["queued"])
    today.queue.top_up()
    today.queue.add_ticket("embedded")
    worker.work()

    assert used == 2
    resumed = today.store.get(old.jobs["preempted"])
    assert (resumed.status, resumed.attempts) == (Status.SUCCEEDED, 2)
    steps = [
        (event.data["phase"], event.data["step"])
        for event in events.read(redis, resumed.id)
        if event.type == "progress" and event.attempt == 2
    ]
    assert steps[:3] == [("resuming", 3), ("denoising", 4), ("decoding", 5)]
    assert not redis.exists(redis_keys.savepoint(resumed.id))


def test_its_webhooks_are_delivered(
    old: OldData, redis: Redis, settings: Settings, object_store: ObjectStore
) -> None:
    here = settings.model_copy(update={"webhook_test_targets": True})
    deliveries = Deliveries(redis, here)
    (secret,) = WebhookSecrets(redis).of("default")
    with receiving() as receiver:
        receiver.secret = secret.secret.get_secret_value()
        dispatcher = WebhookDispatcher(redis, object_store, here)
        for delivery in deliveries.claim(10, 60):
            dispatcher.deliver(delivery.model_copy(update={"url": receiver.url}))
    delivered = [(each.payload["type"], each.payload["data"]["id"]) for each in receiver.received]
    assert sorted(delivered) == [
        ("panorama.failed", old.jobs["failed"]),
        ("panorama.started", old.jobs["preempted"]),
        ("panorama.started", old.jobs["failed"]),
    ]
    states = [each.delivery.state for each in deliveries.of(old.jobs["failed"])]
    assert states == [State.DELIVERED, State.DELIVERED]
