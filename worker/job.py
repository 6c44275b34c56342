"""One job, top to bottom."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial

import torch
from PIL import Image

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.diffusion.errors import DiffusionError
from panoweave.core.diffusion.identity import PipelineIdentity
from panoweave.core.diffusion.oom_retry import OomRetry
from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.images import image_inputs, read_image
from panoweave.core.infra.errors import ObjectStoreError, StoreUnavailable
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.errors import NotFound, Refused
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import Failure, JobRecord, Status
from panoweave.core.jobs.savepoints import Savepoints
from panoweave.core.jobs.store import JobStore
from panoweave.core.params import ResolvedParams
from panoweave.worker.attempt import UPLOADING, Attempt, Cancelled, Preempted, Superseded
from panoweave.worker.device import end_if_broken
from panoweave.worker.patience import Patience
from panoweave.worker.preview import Previews
from panoweave.worker.savepoint import Savepoint
from panoweave.worker.telemetry import metrics, tracing
from panoweave.worker.telemetry.observe import observed
from panoweave.worker.upload import upload

log = logging.getLogger(__name__)

_COMMIT_WAIT_S = 1.0
_STORAGE_WAIT_S = 2.0
_PROBE_BYTES = 2**20  # as a picture: an empty object takes no room


@dataclass(frozen=True)
class Workshop:
    """What one worker process works with, made once: the warm model above all."""

    name: str
    settings: Settings
    maker: OomRetry
    store: JobStore
    queue: Queue
    objects: ObjectStore
    savepoints: Savepoints
    identity: PipelineIdentity  # who may go on with whose panoramas
    stopping: threading.Event


_workshop: Workshop | None = None


def install(workshop: Workshop) -> None:
    """Set what `take_turn` works with: RQ calls it by name."""
    global _workshop
    _workshop = workshop


def take_turn() -> None:
    """What RQ calls. How a job ends stands in its record; what Redis loses, the janitor finds."""
    assert _workshop is not None, "panoweave.worker.main installs a workshop before it takes jobs"
    record = _workshop.store.claim(_workshop.name)
    if record is None:
        return  # cancelled meanwhile, or its tenant has as many running as it may
    with observed(record) as ending:
        log.info("%s: attempt %d", record.id, record.attempts)
        ended = run_attempt(_workshop, record)
        if ended:
            ending.status = ended.status
            log.info("%s: %s", ended.id, ended.status)
    if ended and ended.error and ended.error.code is FailureCode.STORAGE_UNAVAILABLE:
        wait_for_storage(_workshop, ended)
    with suppress(StoreUnavailable):  # the janitor does the same
        _workshop.queue.top_up()


def wait_for_storage(workshop: Workshop, failed: JobRecord) -> None:
    """Take nothing on until something can be stored again, or this worker is asked to leave.

    What is made meanwhile would fail as this one did. Those that wait lose nothing by waiting.
    """
    # Where it stays behind, it goes with what the attempt has left there.
    key = f"{failed.keys.image.rpartition('/')[0]}/probe"
    log.warning("S3 is away: no panorama is begun until it is back")
    body = os.urandom(_PROBE_BYTES)
    digest = hashlib.sha256(body).hexdigest()
    while not workshop.stopping.wait(_STORAGE_WAIT_S):
        try:
            workshop.objects.put(key, body, "application/octet-stream", digest)
        except ObjectStoreError:
            continue
        log.info("S3 is back")
        with suppress(ObjectStoreError):
            workshop.objects.delete(key)
        return


def run_attempt(workshop: Workshop, record: JobRecord) -> JobRecord | None:
    """Make the panorama, store it, and move the record. None: the job is no longer ours."""
    store, job_id = workshop.store, record.id
    with Attempt(record, store, workshop.settings, workshop.stopping) as attempt:
        token = attempt.token
        try:
            images = fetch_images(workshop.objects, record.params, attempt.check)
            savepoint = Savepoint(
                workshop.savepoints, record, workshop.identity, images, workshop.settings
            )
            previews = Previews(workshop.objects, record, workshop.maker.pipeline)
            with closing(previews), savepoint:
                state = savepoint.load()
                if state:
                    attempt.resume(state.step)

                def on_step(report: StepReport) -> None:
                    savepoint.note(report.state)
                    previews.show(report)
                    attempt.on_step(report)

                panorama = workshop.maker.generate(
                    record.params, images, on_step, state, attempt.check
                )
                tracing.add_stages(panorama.timings_s)
                attempt.enter(UPLOADING)
                with tracing.span("upload"), metrics.upload():
                    result = upload(workshop.objects, record, panorama, attempt.check)
            ended = commit(attempt, lambda: store.succeed(job_id, token, result))
        except Cancelled:
            ended = commit(attempt, lambda: store.cancelled(job_id, token))
        except Preempted:
            ended = commit(attempt, lambda: store.requeue(job_id, token, "preempted"))
        except Superseded:
            ended = None
        except Exception as error:
            failure = explain(error)
            if failure.code is FailureCode.INTERNAL_ERROR:
                log.exception("%s: unexpected", job_id)
                end_if_broken(workshop.maker.pipeline.device)
            else:
                log.warning("%s: %s: %s", job_id, failure.code, error)
            ended = commit(attempt, lambda: store.fail(job_id, token, failure))
    if ended is None and not _has_a_namesake(store, record):
        _forget_objects(workshop.objects, record)
    if ended and ended.status is Status.CANCELLED:
        _forget_objects(workshop.objects, record)
    return ended


def fetch_images(
    objects: ObjectStore, params: ResolvedParams, check: Callable[[], None]
) -> dict[str, Image.Image]:
    """The request's pictures, by field, from where the API put them; as patient as an upload."""
    patience = Patience(check)
    return {
        field: read_image(patience.ask(partial(objects.get, image.key)))
        for field, image in image_inputs(params).items()
        if image.key is not None
    }


def commit(attempt: Attempt, move: Callable[[], JobRecord]) -> JobRecord | None:
    """Make the attempt's last move, however long Redis is away: the work is done, keep it.

    None where the record has moved on without this attempt.
    """
    while True:
        attempt.sign_of_life()  # waiting is no hang: the watchdog must not end it
        try:
            return move()
        except (NotFound, Refused) as reason:
            log.warning("not committed: %s", reason)
            return None
        except StoreUnavailable:
            log.warning("Redis is away; the result waits for it")
            time.sleep(_COMMIT_WAIT_S)


def explain(error: Exception) -> Failure:
    """The public failure for what went wrong; never the error's own text, but for InvalidParams."""
    match error:
        case InvalidParams():
            return Failure.of(
                FailureCode.INVALID_PARAMS,
                field=error.field,
                problem=error.problem,
                legal=error.legal,
            )
        case torch.OutOfMemoryError():
            return Failure.of(FailureCode.OUT_OF_MEMORY)
        case ObjectStoreError():
            return Failure.of(FailureCode.STORAGE_UNAVAILABLE)
        case DiffusionError():
            return Failure.of(FailureCode.GENERATION_FAILED)
        case _:
            return Failure.of(FailureCode.INTERNAL_ERROR)


def _has_a_namesake(store: JobStore, record: JobRecord) -> bool:
    """Whether another attempt may have the same number, and with it the same folder.

    So it is where Redis lost its last second and this attempt's beginning with it. An attempt that
    was given up for lost has no token any more, and is none.
    """
    try:
        now = store.get(record.id)
        return now.attempts == record.attempts and now.token is not None
    except NotFound:
        return False
    except StoreUnavailable:
        return True


def _forget_objects(objects: ObjectStore, record: JobRecord) -> None:
    """An attempt that came to nothing may have stored its picture already: nobody will ask for it.

    Its own folder alone: a successor has another.
    """
    folder = record.keys.image.rpartition("/")[0]
    try:
        objects.delete_prefix(f"{folder}/")
    except ObjectStoreError as error:
        log.warning("left behind: %s", error)
