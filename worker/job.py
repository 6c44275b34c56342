"""One job, top to bottom."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial

import torch
from PIL import Image
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_fixed

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.diffusion.content_credentials import ContentCredentials
from panoweave.core.diffusion.errors import DiffusionError
from panoweave.core.diffusion.identity import PipelineIdentity
from panoweave.core.diffusion.oom_retry import OomRetry
from panoweave.core.diffusion.rank_group import RankLost, RankStopped
from panoweave.core.diffusion.rank_work import FirstRank
from panoweave.core.diffusion.sampling import StepReport
from panoweave.core.image_reader import read_image
from panoweave.core.images import image_inputs
from panoweave.core.infra.errors import ObjectStoreError, StoreUnavailable
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.errors import NotFound, Refused, UnreadableRecord
from panoweave.core.jobs.failures import PREEMPTED, FailureCode
from panoweave.core.jobs.queue import Queue
from panoweave.core.jobs.record import Failure, JobRecord, Result, Status
from panoweave.core.jobs.savepoints import Savepoints
from panoweave.core.jobs.store import JobStore
from panoweave.core.params import ResolvedParams
from panoweave.worker.attempt import (
    UPLOADING,
    Attempt,
    Cancelled,
    Preempted,
    Stop,
    Superseded,
    TimedOut,
)
from panoweave.worker.preview import Previews
from panoweave.worker.ranks import EXIT_RANK_LOST
from panoweave.worker.savepoint import Savepoint
from panoweave.worker.speed import SpeedReporter, StepClock
from panoweave.worker.telemetry import metrics, tracing
from panoweave.worker.telemetry.observe import observe_attempt
from panoweave.worker.upload import retry_object_store, upload

log = logging.getLogger(__name__)

STORAGE_WAIT_S = 2.0

_COMMIT_WAIT_S = 1.0
_PROBE_BYTES = 2**20  # as large as a picture: a full store still accepts an empty object
_EXIT_BROKEN_DEVICE = 71


@dataclass(frozen=True)
class WorkerContext:
    """What one worker process works with, built once: the warm model above all."""

    name: str
    settings: Settings
    generator: OomRetry
    store: JobStore
    queue: Queue
    objects: ObjectStore
    savepoints: Savepoints
    identity: PipelineIdentity  # savepoints of another identity are not resumed
    stopping: threading.Event
    speed: SpeedReporter
    credentials: ContentCredentials | None = None  # what pictures are signed with, if anything


def run_next_job(context: WorkerContext) -> None:
    """Claim the next job and run one attempt at it.

    The outcome is in the job's record. If Redis loses the record's last second, the janitor finds
    the job again.
    """
    try:
        record = context.store.claim(context.name, context.settings.model)
    except UnreadableRecord as reason:
        # The janitor requeues it as a lost worker's; a worker of its API's version may get it.
        log.error("%s: left to another worker: %s", reason.job_id, reason)
        return
    if record is None:
        return  # no job waits for this model, or their tenants are at their limit
    with observe_attempt(record) as ending:
        log.info("%s: attempt %d", record.id, record.attempts)
        ended = run_attempt(context, record)
        if ended:
            ending.status = ended.status
            log.info("%s: %s", ended.id, ended.status)
    if ended and ended.error and ended.error.code is FailureCode.STORAGE_UNAVAILABLE:
        wait_for_storage(context, ended)
    with suppress(StoreUnavailable):  # the janitor does the same
        context.queue.top_up()


def run_attempt(context: WorkerContext, record: JobRecord) -> JobRecord | None:
    """Make the panorama, store it, and move the record.

    None: the job does not belong to this attempt any more.
    """
    generator = context.generator
    batch = generator.memory_use(record.params).window_batch
    batch_s = context.speed.batch_s(record.params, generator.pipeline.traits, batch)
    with Attempt(record, context.store, context.settings, context.stopping, batch_s) as attempt:
        try:
            result = _make_panorama(context, attempt)
            ended = commit(
                attempt, partial(context.store.succeed, record.id, attempt.token, result)
            )
        except (Stop, Exception) as reason:
            ended = _settle(context, attempt, reason)
        if isinstance(context.generator, FirstRank) and context.generator.is_lost:
            _exit_without_other_ranks(context)
    if ended is None and not _folder_is_shared(context.store, record):
        _delete_objects(context.objects, record)
    if ended and ended.status is Status.CANCELLED:
        _delete_objects(context.objects, record)
    return ended


def _make_panorama(context: WorkerContext, attempt: Attempt) -> Result:
    """Make the panorama and store its files. Raises a Stop, or what went wrong."""
    record, pipeline = attempt.record, context.generator.pipeline
    images = fetch_images(context.objects, record.params, attempt.check)
    # What this worker does not have, the pipeline refuses.
    loras = pipeline.loras.applied(record.params.loras) if pipeline.loras else []
    savepoint = Savepoint(
        context.savepoints, record, context.identity, images, loras, context.settings
    )
    previews = Previews(context.objects, record, pipeline, attempt.check)
    with closing(previews), savepoint:
        state = savepoint.load()
        if state:
            attempt.resume(state.step)

        clock = StepClock(context.speed, record.params, pipeline.traits)

        def on_step(report: StepReport) -> None:
            clock.step_ended(report.step)
            savepoint.note(report.state)
            previews.show(report)
            attempt.has_preview = previews.is_stored
            attempt.on_step(report)

        panorama = context.generator.generate(record.params, images, on_step, state, attempt.check)
        tracing.add_stages(panorama.timings_s)
        clock.finished(panorama.timings_s)
        attempt.enter(UPLOADING)
        with tracing.span("upload"), metrics.upload():
            result = upload(context.objects, record, panorama, attempt.check, context.credentials)
            return result.model_copy(update={"gpu_s": round(attempt.ran_s(), 3)})


def _settle(context: WorkerContext, attempt: Attempt, reason: Stop | Exception) -> JobRecord | None:
    """Move the record of an attempt that made no panorama, by the reason."""
    store, job_id, token = context.store, attempt.record.id, attempt.token
    move: Callable[[], JobRecord]
    match reason:
        case Superseded():
            return None
        case Cancelled():
            move = partial(store.cancelled, job_id, token)
        case Preempted():
            move = partial(store.requeue, job_id, token, PREEMPTED)
        case ObjectStoreError() if context.stopping.is_set():
            # One call waits for a silent S3 as long as all tries may take: the next worker tries.
            move = partial(store.requeue, job_id, token, PREEMPTED)
        case RankLost() | RankStopped():
            # As if this worker were lost: a panorama that ends its ranks again and again must stop.
            log.critical("%s: %s", job_id, reason)
            failure = Failure.of(FailureCode.WORKER_LOST, attempts=context.settings.max_attempts)
            move = partial(store.hung, job_id, token, failure)
        case _:
            move = partial(store.fail, job_id, token, _failure(context, job_id, reason))
    return commit(attempt, move)


def _failure(context: WorkerContext, job_id: str, reason: Stop | Exception) -> Failure:
    """The failure, logged. An unexpected one ends this process if the device is broken."""
    if isinstance(reason, TimedOut):
        limit_s = context.settings.job_timeout_s
        failure = Failure.of(FailureCode.JOB_TIMEOUT, timeout_s=limit_s)
        log.warning("%s: %s", job_id, failure.detail)
        return failure
    failure = explain(reason)
    if failure.code is FailureCode.INTERNAL_ERROR:
        log.exception("%s: unexpected", job_id)
        exit_if_device_is_broken(context.generator.pipeline.device)
    else:
        log.warning("%s: %s: %s", job_id, failure.code, reason)
    return failure


def fetch_images(
    objects: ObjectStore, params: ResolvedParams, check: Callable[[], None]
) -> dict[str, Image.Image]:
    """The request's pictures by field, from where the API stored them. Retries as `upload` does.

    No size limit here: the API checked the uploads, and these are its own copies.
    """
    retrying = retry_object_store(check)
    return {
        field: read_image(retrying(objects.get, image.key), max_bytes=None)
        for field, image in image_inputs(params).items()
        if image.key is not None
    }


def commit(attempt: Attempt, move: Callable[[], JobRecord]) -> JobRecord | None:
    """Make the attempt's last move, however long Redis is away: the work is done, keep it.

    None if the record has moved on without this attempt.
    """

    def mark_alive(_: RetryCallState) -> None:
        attempt.mark_alive()  # the watchdog must not take the wait for a hung step

    def warn(_: RetryCallState) -> None:
        log.warning("Redis is away; the result is committed when it is back")

    retrying = Retrying(
        retry=retry_if_exception_type(StoreUnavailable),
        wait=wait_fixed(_COMMIT_WAIT_S),
        before=mark_alive,
        before_sleep=warn,
    )
    try:
        return retrying(move)
    except (NotFound, Refused) as reason:
        log.warning("not committed: %s", reason)
        return None


def explain(error: BaseException) -> Failure:
    """The public failure for an error. Of their own text, InvalidParams shows what is legal, and
    ObjectStoreError which setting the operator can correct."""
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
            failure = Failure.of(FailureCode.STORAGE_UNAVAILABLE)
            if not error.remedy:
                return failure
            detail = f"{failure.detail} For the operator: {error.remedy}."
            return failure.model_copy(update={"detail": detail})
        case DiffusionError():
            return Failure.of(FailureCode.GENERATION_FAILED)
        case _:
            return Failure.of(FailureCode.INTERNAL_ERROR)


def wait_for_storage(context: WorkerContext, failed: JobRecord) -> None:
    """Claim no job until something can be stored again, or this worker is asked to stop.

    A job that ran meanwhile would fail as this one did. Jobs that wait lose nothing by waiting.
    """
    # If the probe cannot be deleted, orphan cleanup removes it with the attempt's other objects.
    key = f"{_folder(failed)}probe"
    log.warning("not starting jobs until S3 stores something")
    body = os.urandom(_PROBE_BYTES)
    digest = hashlib.sha256(body).hexdigest()
    reason = ""
    while not context.stopping.wait(STORAGE_WAIT_S):
        try:
            context.objects.put(key, body, "application/octet-stream", digest)
        except ObjectStoreError as error:
            if str(error) != reason:  # a refusal says which setting mends it; once is enough
                reason = str(error)
                log.warning("S3 stores nothing: %s", reason)
            continue
        log.info("S3 stores objects again")
        with suppress(ObjectStoreError):
            context.objects.delete(key)
        return


def exit_if_device_is_broken(device: torch.device) -> None:
    """End this process if its GPU no longer works, as after some CUDA errors: all later jobs would
    fail. A supervisor starts a fresh process, and the job is requeued as a lost worker's.
    """
    if not device_answers(device):
        log.critical("%s no longer works; this process ends", device)
        os._exit(_EXIT_BROKEN_DEVICE)


def _exit_without_other_ranks(context: WorkerContext) -> None:
    """End this process: its group cannot go on. A supervisor starts a fresh one."""
    with suppress(StoreUnavailable):
        context.queue.top_up()
    os._exit(EXIT_RANK_LOST)


def device_answers(device: torch.device) -> bool:
    try:
        return bool((torch.ones(2, device=device).sum() == 2).item())
    except (RuntimeError, AssertionError):  # the latter: a torch without CUDA
        return False


def _folder_is_shared(store: JobStore, record: JobRecord) -> bool:
    """Whether another attempt may have the same number, and with it the same folder in S3.

    That happens if Redis lost its last second, and the start of this attempt with it. An attempt
    that was given up as lost has no token any more, and shares its folder with nobody.
    """
    try:
        current = store.get(record.id)
        return current.attempts == record.attempts and current.token is not None
    except NotFound:
        return False
    except StoreUnavailable:
        return True


def _delete_objects(objects: ObjectStore, record: JobRecord) -> None:
    """Delete what this attempt has stored: nobody will ask for it. Its successor has a folder of
    its own."""
    try:
        objects.delete_prefix(_folder(record))
    except ObjectStoreError as error:
        log.warning("left behind: %s", error)


def _folder(record: JobRecord) -> str:
    return record.keys.image.rpartition("/")[0] + "/"
