"""`panoweave worker` and `panoweave janitor` as processes that are stopped, killed and frozen."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.infra import redis_keys
from panoweave.core.infra.redis import connect
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.core.jobs.events import read
from panoweave.core.jobs.models import ModelState
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import DEFAULT_TENANT, JobRecord, Status, Webhook
from panoweave.core.jobs.store import JobStore
from panoweave.core.params import PanoramaParams
from panoweave.core.webhooks.secrets import WebhookSecrets
from panoweave.deploy.local.servers import RedisServer
from panoweave.worker import janitor
from panoweave.worker.main import run_worker
from tests.jobs.samples import FAILURE, start_job
from tests.processes import environment_of, process, wait_until
from tests.receivers import receiving

TRAITS = CheckpointTraits(window_px=64, px_per_latent=8)
STEPS = 120  # of the tiny model: some seconds, so that there is a middle to be killed in


@pytest.fixture
def here(settings: Settings, tiny_checkpoint: Path) -> Settings:
    """Short leases: what is lost is found again while the test waits."""
    return settings.model_copy(
        update={
            "model": str(tiny_checkpoint),
            "device": "cpu",
            "lease_s": 2.0,
            "heartbeat_s": 0.5,
            "janitor_interval_s": 0.5,
        }
    )


@pytest.fixture
def post(here: Settings, redis: Redis) -> Callable[..., JobRecord]:
    store, queue = JobStore(redis, here), Queue(redis)

    def create(steps: int = STEPS, webhook: Webhook | None = None) -> JobRecord:
        asked = PanoramaParams(prompt="a lake", width=192, stride=32, steps=steps, seed=1)
        params = asked.resolve(models.traits(redis, here.model))
        asked_for = JobRecord.new(params, here.model, DEFAULT_TENANT, {}, webhook=webhook)
        record = store.create(asked_for)
        queue.add_ticket(here.model)
        return record

    return create


def ready(redis: Redis, settings: Settings) -> bool:
    state = models.get(redis, settings.model)
    return state is not None and state.state == "ready"


def steps_done(store: JobStore, record: JobRecord) -> int:
    progress = store.get(record.id).progress
    return progress.step if progress else 0


@pytest.mark.slow
def test_a_killed_worker_job_goes_on_with_another(
    here: Settings, redis: Redis, post: Callable[..., JobRecord], tmp_path: Path
) -> None:
    """From the last step that was saved, to the picture that it would have made."""
    here = here.model_copy(update={"savepoint_every_s": 0.2})
    store, log = JobStore(redis, here), tmp_path / "log"
    with process("janitor", here, log), process("worker", here, log) as doomed:
        wait_until(lambda: ready(redis, here), 60, log)
        record = post(steps=60)
        wait_until(lambda: bool(redis.exists(redis_keys.savepoint(record.id))), 60, log)
        wait_until(lambda: steps_done(store, record) > 30, 60, log)
        doomed.send_signal(signal.SIGKILL)
        doomed.wait()
        done = steps_done(store, record)
        with process("worker", here, log):
            wait_until(lambda: store.get(record.id).status is Status.SUCCEEDED, 90, log)
            whole = post(steps=60)
            wait_until(lambda: store.get(whole.id).status is Status.SUCCEEDED, 90, log)
    ended, uninterrupted = store.get(record.id), store.get(whole.id)
    assert (ended.attempts, uninterrupted.attempts) == (2, 1)
    (resumed,) = [
        event.data["step"]
        for event in read(redis, record.id, limit=1_000)
        if event.data.get("phase") == "resuming"
    ]
    assert 15 < resumed <= done + 1  # a step may be saved that was not reported yet
    assert not redis.exists(redis_keys.savepoint(record.id))
    assert ended.result is not None
    assert uninterrupted.result is not None
    assert ended.result.keys.image.endswith("/2/panorama.png")
    assert ended.result.sha256 == uninterrupted.result.sha256


@pytest.mark.slow
def test_a_frozen_worker_cannot_disturb_its_successor(
    here: Settings, redis: Redis, post: Callable[..., JobRecord], tmp_path: Path
) -> None:
    """SIGSTOP past the lease, SIGCONT once another has taken over."""
    store, log = JobStore(redis, here), tmp_path / "log"
    with process("janitor", here, log), process("worker", here, log) as frozen:
        wait_until(lambda: ready(redis, here), 60, log)
        record = post()
        wait_until(lambda: steps_done(store, record) > 5, 60, log)
        frozen.send_signal(signal.SIGSTOP)
        with process("worker", here, log):
            wait_until(lambda: store.get(record.id).attempts == 2, 60, log)
            frozen.send_signal(signal.SIGCONT)
            wait_until(lambda: store.get(record.id).status is Status.SUCCEEDED, 90, log)
    assert store.get(record.id).attempts == 2


@pytest.mark.slow
def test_sigterm_while_redis_is_away_loses_no_job(here: Settings, tmp_path: Path) -> None:
    """The worker gives its job back, or ends it, once Redis has returned; it never fails it."""
    log = tmp_path / "log"
    with RedisServer(tmp_path / "data", tmp_path / "logs") as server:
        alone = here.model_copy(update={"redis_url": SecretStr(server.url)})
        with connect(alone) as redis, process("worker", alone, log) as worker:
            wait_until(lambda: ready(redis, alone), 60, log)
            redis.config_set("appendfsync", "always")
            store = JobStore(redis, alone)
            asked = PanoramaParams(prompt="a lake", width=192, stride=32, steps=STEPS, seed=1)
            params = asked.resolve(models.traits(redis, alone.model))
            record = store.create(JobRecord.new(params, alone.model, DEFAULT_TENANT, {}))
            Queue(redis).add_ticket(alone.model)
            wait_until(lambda: steps_done(store, record) > 5, 60, log)
            server.child.kill()
            worker.send_signal(signal.SIGTERM)
            time.sleep(2)
            server.start()
            assert worker.wait(60) == 0, log.read_text()
            ended = store.get(record.id)
    assert ended.status in (Status.QUEUED, Status.SUCCEEDED)
    assert ended.error is None


def test_sigterm_ends_an_idle_worker_at_once(here: Settings, redis: Redis, tmp_path: Path) -> None:
    """Also right after it is ready, when RQ's loop is about to begin."""
    log = tmp_path / "log"
    with process("worker", here, log) as worker:
        wait_until(lambda: ready(redis, here), 60, log)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0, log.read_text()
    assert models.live_workers(redis) == []


def test_a_model_that_cannot_be_loaded_is_published(here: Settings, redis: Redis) -> None:
    broken = here.model_copy(update={"model": "/nowhere/at/all"})
    assert run_worker(broken) == 1
    state = models.get(redis, broken.model)
    assert state is not None
    assert state.state == "failed"
    assert "no directory" in state.detail


@pytest.mark.parametrize(
    ("losses", "batch_s", "status"), [(0, 0.1, "queued"), (2, 0.1, "failed"), (0, 5, "failed")]
)
def test_a_hung_batch_ends_the_process(
    here: Settings, redis: Redis, losses: int, batch_s: float, status: str
) -> None:
    """The watchdog gives the job back, or fails it after its last attempt, and exits. It fails it
    at once if its batches take that long: another attempt would not get any further."""
    store = JobStore(redis, here)
    params = PanoramaParams(prompt="a lake").resolve(TRAITS)
    record = store.create(JobRecord.new(params, "embedded", DEFAULT_TENANT, {}))
    for _ in range(losses):
        started = start_job(store, record.id, "earlier")
        assert started.token is not None
        store.hung(record.id, started.token, FAILURE)
    hang = textwrap.dedent(
        """
        import sys, threading, time
        from panoweave.core.infra.redis import connect
        from panoweave.core.infra.settings import Settings
        from panoweave.core.jobs.store import JobStore
        from panoweave.worker.attempt import Attempt
        settings = Settings()
        store = JobStore(connect(settings), settings)
        batch_s = float(sys.argv[1])
        with Attempt(store.claim("hung", "embedded"), store, settings, threading.Event(), batch_s):
            time.sleep(60)
        """
    )
    impatient = here.model_copy(update={"step_timeout_s": 0.6})
    done = subprocess.run(
        [sys.executable, "-P", "-c", hang, str(batch_s)], env=environment_of(impatient), timeout=120
    )
    assert done.returncode == 70
    ended = store.get(record.id)
    assert ended.status == status
    if ended.status is Status.QUEUED:
        assert Queue(redis).tickets("embedded").count == 1
    else:
        assert ended.error is not None
        assert ended.error.code == "step_timeout"
        assert ended.error.retryable is (batch_s < 1)


def test_the_janitor_delivers_webhooks(
    here: Settings, redis: Redis, post: Callable[..., JobRecord], tmp_path: Path
) -> None:
    """With no worker alive."""
    models.publish(
        redis,
        ModelState(
            model=here.model,
            state="ready",
            traits=TRAITS,
            perceptual="stlpips-alex",
            worker="worker-1",
        ),
    )
    store, log = JobStore(redis, here), tmp_path / "log"
    secret = WebhookSecrets(redis).create(DEFAULT_TENANT).secret.get_secret_value()
    reachable = here.model_copy(update={"webhook_test_targets": True})
    with receiving() as receiver, process("janitor", reachable, log) as janitor_process:
        record = post(webhook=Webhook(url=receiver.url, events=("panorama.cancelled",)))
        store.request_cancel(record.id)
        wait_until(lambda: len(receiver.received) == 1, 30, log)
        janitor_process.send_signal(signal.SIGTERM)
        assert janitor_process.wait(60) == 0, log.read_text()
    assert receiver.received[0].verified(secret)["data"]["id"] == record.id


def test_the_janitor_sees_that_a_turn_comes(here: Settings, redis: Redis) -> None:
    """Accepted, but the API died before it added one; or the worker that took it did."""
    store, queue = JobStore(redis, here), Queue(redis)
    params = PanoramaParams(prompt="a lake").resolve(TRAITS)
    store.create(JobRecord.new(params, "embedded", DEFAULT_TENANT, {}))
    assert queue.tickets("embedded").count == 0
    janitor.sweep(store, queue)
    janitor.sweep(store, queue)
    assert queue.tickets("embedded").count == 1
