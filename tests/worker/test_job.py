"""One attempt at one job, on a real Redis and a real S3 server."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from types import SimpleNamespace

import pytest
from PIL import Image
from redis import Redis

from panoweave.core.checkpoint import InvalidParams
from panoweave.core.conditions import Extend, ImageInput
from panoweave.core.diffusion import quality
from panoweave.core.diffusion.errors import NonFiniteGradientError
from panoweave.core.estimate import estimate_work
from panoweave.core.image_reader import to_png
from panoweave.core.infra import redis_keys
from panoweave.core.infra.errors import ObjectStoreError
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs import speeds
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.record import Status
from panoweave.core.output import DEFAULT_QUALITY
from panoweave.core.params import PanoramaParams
from panoweave.worker import speed
from panoweave.worker.job import WorkerContext, explain, run_next_job
from panoweave.worker.speed import StepClock
from tests.worker.attempts import Post, run


def test_a_job_becomes_a_stored_panorama(context: WorkerContext, post: Post) -> None:
    ended = run(context, post())
    assert ended is not None
    assert ended.status is Status.SUCCEEDED
    assert ended.result is not None

    picture = context.objects.get(ended.result.keys.image)
    assert hashlib.sha256(picture).hexdigest() == ended.result.sha256
    assert len(picture) == ended.result.bytes
    image = Image.open(io.BytesIO(picture))
    assert image.size == (ended.result.width, ended.result.height) == (128, 64)
    assert json.loads(image.text["panoweave"]) == json.loads(ended.params.model_dump_json())  # type: ignore[attr-defined]
    assert ended.result.coherence["lpips_net"] == "stlpips-alex"
    assert ended.progress is not None
    assert ended.progress.phase == "uploading"

    metadata = json.loads(context.objects.get(ended.result.keys.metadata))
    assert metadata["status"] == "succeeded"
    assert metadata["result"]["sha256"] == ended.result.sha256
    assert metadata["metadata"] == {"order": 7}
    assert "token" not in metadata
    preview = Image.open(io.BytesIO(context.objects.get(ended.result.keys.preview)))
    assert preview.format == "JPEG"


def test_the_picture_is_the_pipelines(context: WorkerContext, post: Post) -> None:
    """The way through the queue changes nothing: same parameters, same pixels."""
    ended = run(context, post())
    assert ended is not None
    assert ended.result is not None
    stored = Image.open(io.BytesIO(context.objects.get(ended.result.keys.image)))
    direct = context.generator.pipeline(
        PanoramaParams.model_validate(ended.params.model_dump())
    ).image
    assert stored.tobytes() == direct.tobytes()


def test_a_prompt_that_is_too_long_is_made_and_said_so(context: WorkerContext, post: Post) -> None:
    ended = run(context, post(prompt="abcdefghijklmnop"))
    assert ended is not None
    assert ended.result is not None
    (warning,) = ended.result.warnings
    assert (warning.code, warning.field) == ("prompt_truncated", "prompt")
    assert warning.detail == "has 16 tokens, of which the model reads 14; not read: 'op'"


def test_what_the_model_cannot_do_well_is_said(
    context: WorkerContext, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of words that it does not know, and of pictures higher than those that it was trained on."""
    pipeline = context.generator.pipeline
    monkeypatch.setattr(pipeline, "vocabulary", {"a", "lake"})
    monkeypatch.setattr(pipeline, "trained_height", 32)
    ended = run(context, post(prompt="a lake elk", steps=1))
    assert ended is not None
    assert ended.result is not None
    assert [(warning.code, warning.field) for warning in ended.result.warnings] == [
        ("unknown_words", "prompt"),
        ("higher_than_trained", "height"),
    ]


def test_joins_of_a_picture_that_is_extended_are_measured(
    context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the picture's real size, which the request does not say."""
    monkeypatch.setattr(quality, "_VISIBLE_STEP", 0.0)
    image = ImageInput.inline(to_png(Image.radial_gradient("L").convert("RGB").resize((64, 32))))
    params = PanoramaParams(
        prompt="a lake", width=256, steps=1, seed=1, extend=Extend(image=image, x=96)
    )
    (join,) = context.generator.pipeline(params).quality_warnings
    assert (join.code, join.field) == ("visible_join", "extend")
    assert all(f"{side} (" in join.detail for side in ("left", "right", "bottom"))
    assert "top (" not in join.detail  # the panorama's own edge


@pytest.mark.parametrize(
    ("changes", "sphere"),
    [({"loop": True}, True), ({}, False), ({"loop": True, "width": 192}, False)],
)
def test_only_what_is_a_sphere_says_so(
    context: WorkerContext, post: Post, changes: dict[str, object], sphere: bool
) -> None:
    """All around, and half as high as wide."""
    ended = run(context, post(steps=1, **changes))
    assert ended is not None
    assert ended.result is not None
    picture = Image.open(io.BytesIO(context.objects.get(ended.result.keys.image)))
    xmp = picture.text.get("XML:com.adobe.xmp", "")  # type: ignore[attr-defined]
    assert ('ProjectionType="equirectangular"' in xmp) is sphere
    assert ('FullPanoWidthPixels="128"' in xmp) is sphere


def test_a_picture_is_fetched_and_followed(context: WorkerContext, post: Post) -> None:
    picture = Image.radial_gradient("L").convert("RGB").resize((64, 64))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    body, key = buffer.getvalue(), "default/somewhere/inputs/anchor_image.png"
    context.objects.put(key, body, "image/png", hashlib.sha256(body).hexdigest())

    def made(**changes: object) -> bytes:
        ended = run(context, post(sync={"weight": 200}, **changes))
        assert ended is not None
        assert ended.result is not None
        return Image.open(io.BytesIO(context.objects.get(ended.result.keys.image))).tobytes()

    followed = made(anchor_image={"key": key})
    assert followed != made()
    params = {"prompt": "a lake", "width": 128, "stride": 64, "steps": 5, "seed": 1}
    inline = {"base64": base64.b64encode(body).decode()}
    direct = PanoramaParams.model_validate(
        {**params, "sync": {"weight": 200}, "anchor_image": inline}
    )
    assert followed == context.generator.pipeline(direct).image.tobytes()


def test_an_attempt_measures_how_fast_its_steps_are(
    context: WorkerContext, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here each synchronised step takes four seconds, and each other one."""
    now = 0.0
    step_ended = StepClock.step_ended

    def end_later(self: StepClock, step: int) -> None:
        nonlocal now
        now += 4 if step <= 3 else 1
        step_ended(self, step)

    monkeypatch.setattr(StepClock, "step_ended", end_later)
    monkeypatch.setattr(speed, "time", SimpleNamespace(monotonic=lambda: now))
    ended = run(context, post(steps=6, sync={"steps": 3}))
    assert ended is not None
    assert ended.result is not None
    assert ended.result.gpu_s is not None
    measured = speeds.read(context.store._redis, context.settings.model)
    assert measured == context.speed.meter.speeds
    work = estimate_work(ended.params, context.generator.pipeline.traits)
    estimate_s = measured.predict(work)
    assert estimate_s is not None
    finish_s = sum(ended.result.timings_s[part] for part in ("decode", "measure"))
    assert estimate_s == pytest.approx(3 * 4 + 3 * 1 + finish_s, rel=0.05)
    took_s = ended.result.timings_s["denoise"] + finish_s
    assert took_s <= ended.result.gpu_s <= ended.run_ms / 1_000 + 0.001


def test_a_ticket_runs_the_next_job(context: WorkerContext, post: Post) -> None:
    """And one too many makes nothing."""
    cancelled, first, second = post(), post(), post()
    context.store.request_cancel(cancelled.id)
    for _ in range(3):
        run_next_job(context)
    statuses = [context.store.get(record.id).status for record in (cancelled, first, second)]
    assert statuses == [Status.CANCELLED, Status.SUCCEEDED, Status.SUCCEEDED]


def test_a_worker_that_has_ended_a_job_calls_for_the_next(
    context: WorkerContext, post: Post
) -> None:
    """The last one may have been used in vain, while its tenant had as many running as it may."""
    post(), post()
    run_next_job(context)
    assert context.queue.tickets("embedded").count == 1


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_a_picture_is_stored_in_the_format_asked_for(
    context: WorkerContext, post: Post, objects: ObjectStore, name: str
) -> None:
    ended = run(context, post(output={"format": name}))
    assert ended is not None
    assert ended.result is not None
    assert (ended.result.format, ended.params.output.quality) == (name, DEFAULT_QUALITY)
    assert ended.result.keys.image.endswith(f"/panorama.{name}")
    stored = objects.get(ended.result.keys.image)
    assert hashlib.sha256(stored).hexdigest() == ended.result.sha256
    assert Image.open(io.BytesIO(stored)).format == name.upper()


def test_failures_tell_no_secrets() -> None:
    assert explain(RuntimeError("password=hunter2")).code is FailureCode.INTERNAL_ERROR
    assert "hunter2" not in explain(RuntimeError("password=hunter2")).detail
    assert explain(NonFiniteGradientError([3], 7)).code is FailureCode.GENERATION_FAILED
    refused = explain(InvalidParams("width", "too odd", "even"))
    assert (refused.code, refused.detail) == (
        FailureCode.INVALID_PARAMS,
        "width: too odd; legal: even.",
    )
    wrong_region = ObjectStoreError("bucket of hunter2", "set PANOWEAVE_S3_REGION=eu-central-1")
    assert explain(wrong_region).detail == (
        "The panorama could not be stored. For the operator: set PANOWEAVE_S3_REGION=eu-central-1."
    )


def test_a_worker_makes_nothing_that_it_does_not_understand(
    context: WorkerContext, post: Post, redis: Redis
) -> None:
    """A newer API accepted it. It is left as a lost worker's job is, and the next one is run."""
    newer, other = post(), post()
    params = json.loads(redis.hget(redis_keys.job(newer.id), "params") or "")
    changed = json.dumps({**params, "scheduler": "unipc"})
    redis.hset(redis_keys.job(newer.id), "params", changed)
    run_next_job(context)
    run_next_job(context)
    left = context.store.get(newer.id)
    assert (left.status, left.params.scheduler) == (Status.RUNNING, "unipc")
    assert context.store.get(other.id).status is Status.SUCCEEDED
    redis.zadd(redis_keys.LEASES, {newer.id: 0})
    (lost,) = context.store.lost()
    assert context.store.expire_lost(lost).status is Status.QUEUED
