"""The requests and answers that the OpenAPI document shows as examples.

Answers are built from the service's own models, so they cannot show a field that it does not have.
The request "complete" and the `params` of all answers come from the fields of the parameters: a
parameter that is added appears in them. A test posts the requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fastapi.openapi.models import Example
from pydantic import BaseModel

from panoweave.core.checkpoint import CheckpointDefaults, CheckpointTraits
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.record import Failure, Status, batch_id_of, job_ids
from panoweave.core.params import PanoramaParams
from panoweave.core.presets import PRESETS
from panoweave.core.webhooks.deliveries import State
from panoweave.service.key_schemas import KeyList, KeyView, NewKeyView
from panoweave.service.schemas import (
    DeliveryList,
    DeliveryView,
    ErrorView,
    EventView,
    PanoramaBatch,
    PanoramaPage,
    PanoramaSummary,
    PanoramaView,
    ProgressView,
    ResultView,
    TokenView,
    TryView,
    UploadView,
    UsageItem,
    UsageView,
)
from panoweave.service.status_schemas import (
    Health,
    ModelList,
    ModelPreset,
    ModelSizes,
    ModelSteps,
    ModelView,
    ScalingView,
    StatusView,
    WorkerView,
)
from panoweave.service.webhooks.schemas import PingView

JOB_ID: Final = "pano_01m88yz3nz1mdvc9qm85vama36"
UPLOAD_KEY: Final = "default/uploads/upl_01m88yw2c4k9x7r5t1b3n6d8fg"

_TRAITS = CheckpointTraits(
    window_px=256,
    px_per_latent=16,
    tiny_decoder=True,
    defaults=CheckpointDefaults(guidance_scale=1.75, perturbed_attention=True),
    examples=["a mountain lake at dawn", "sand dunes at sunset"],
)
_PARAMS = PanoramaParams(prompt="a mountain lake at dawn", width=1536, seed=7).resolve(_TRAITS)

# All but "complete" have sizes that fit both the embedded model and windows of 512 px.
REQUESTS: Final[dict[str, Example]] = {
    "plain": {
        "summary": "A prompt with the most common fields",
        "value": {
            "prompt": "a mountain lake at dawn",
            "width": 1536,
            "seed": 7,
            "preset": "balanced",
            "metadata": {"order": 7},
        },
    },
    "loop": {
        "summary": "A loop: the right edge continues at the left one",
        "value": {
            "prompt": "an orchard in spring, all around",
            "width": 1536,
            "loop": True,
            "output": {"format": "jpeg", "quality": 85},
        },
    },
    "regions": {
        "summary": "Prompts at their places, over a background",
        "value": {
            "prompt": "a quiet coast",
            "width": 1536,
            "regions": [
                {"prompt": "a lighthouse on a rock", "x": 0, "width": 512},
                {"prompt": "a harbour town", "x": 1024, "width": 512},
            ],
        },
    },
    "batch": {
        "summary": "Four panoramas, with the seeds 7 to 10",
        "value": {"prompt": "a mountain lake at dawn", "width": 1536, "n": 4, "seed": 7},
    },
    "webhook": {
        "summary": "A webhook at the end, instead of polling",
        "value": {
            "prompt": "a mountain lake at dawn",
            "webhook": {
                "url": "https://example.com/panoramas",
                "events": ["panorama.succeeded", "panorama.failed"],
            },
            "metadata": {"order": 7},
        },
    },
    "control": {
        "summary": "The edges of an uploaded picture, for a model with a ControlNet",
        "value": {
            "prompt": "a ridge in autumn",
            "width": 1536,
            "control": {"type": "canny", "image": {"key": UPLOAD_KEY}, "scale": 0.8},
        },
    },
    "complete": {
        "summary": "Every parameter, as an answer of the embedded model reports it",
        "value": _PARAMS.model_dump(mode="json", exclude_none=True),
    },
}

_POSTED = datetime(2026, 11, 25, 9, 0, 42, 48_000, tzinfo=UTC)
_STARTED = _POSTED + timedelta(milliseconds=8)
_ENDED = _STARTED + timedelta(seconds=10.3)
_PLACE = f"https://s3.example.org/panoweave/default/{JOB_ID}/1"
_SIGNATURE = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0c6f2d"

_QUEUED = PanoramaView(
    id=JOB_ID,
    status=Status.QUEUED,
    created_at=_POSTED,
    started_at=None,
    finished_at=None,
    queue_position=0,
    progress=ProgressView(phase="queued", step=0, total_steps=50, fraction=0, eta_s=10.3),
    model="embedded",
    params=_PARAMS,
    attempts=0,
    estimate_s=10.3,
    cancel_requested=False,
    result=None,
    error=None,
    metadata={"order": 7},
)
_RUNNING = _QUEUED.model_copy(
    update={
        "status": Status.RUNNING,
        "started_at": _STARTED,
        "queue_position": None,
        "progress": ProgressView(
            phase="denoising", step=20, total_steps=50, fraction=0.38, eta_s=6.4
        ),
        "attempts": 1,
    }
)
_SUCCEEDED = _RUNNING.model_copy(
    update={
        "status": Status.SUCCEEDED,
        "finished_at": _ENDED,
        "progress": ProgressView(
            phase="done", step=50, total_steps=50, fraction=1, eta_s=0, has_preview=True
        ),
        "result": ResultView(
            image_url=f"{_PLACE}/panorama.png?{_SIGNATURE}",
            preview_url=f"{_PLACE}/preview.jpg?{_SIGNATURE}",
            width=_PARAMS.width,
            height=_PARAMS.height,
            format="png",
            bytes=412_873,
            sha256="9f2c1d4e5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d",
            coherence={"intra_lpips": 0.094, "lpips_net": "stlpips-vgg"},
            timings_s={"encode": 0.01, "denoise": 9.18, "decode": 0.18, "measure": 0.65},
            gpu_s=10.19,
            warnings=[],
        ),
    }
)
_FAILED = _RUNNING.model_copy(
    update={
        "status": Status.FAILED,
        "finished_at": _ENDED,
        "error": ErrorView(**Failure.of(FailureCode.GENERATION_FAILED).model_dump()),
    }
)
_CANCELLED = _QUEUED.model_copy(
    update={
        "status": Status.CANCELLED,
        "finished_at": _STARTED,
        "queue_position": None,
        "progress": None,
        "cancel_requested": True,
    }
)
_BATCH_ID = batch_id_of(JOB_ID)
_BATCH = PanoramaBatch(
    batch_id=_BATCH_ID,
    items=[
        _QUEUED.model_copy(
            update={
                "id": job_id,
                "queue_position": place,
                "params": _PARAMS.model_copy(update={"seed": 7 + place}),
                "batch_id": _BATCH_ID,
            }
        )
        for place, job_id in enumerate(job_ids(JOB_ID, 2))
    ],
)
_MODEL = ModelView(
    model="embedded",
    default=True,
    state="ready",
    detail="",
    traits=_TRAITS,
    sizes=ModelSizes(
        window_px=256,
        stride_multiple_px=16,
        default_width=1_536,
        default_height=256,
        default_stride=64,
        max_pixels=67_108_864,
    ),
    steps=ModelSteps(default=50, max=250),
    presets=[
        ModelPreset(
            name=name,
            default=name == "balanced",
            steps=preset["steps"],
            scheduler="ddim",
            guidance_scale=1.75,
            decoder=preset["sync"]["decoder"],
        )
        for name, preset in PRESETS.items()
    ],
    schedulers=["ddim", "euler", "dpm++", "lcm"],
    features=["tiny_decoder", "negative_prompt", "guidance_scale", "perturbed_attention"],
    perceptual="stlpips-alex",
    workers=1,
    updated_at=_POSTED,
)
_KEY = KeyView(
    id="07e8f9595bdbd83c",
    tenant="ada",
    scopes=["write"],
    created_at=_POSTED,
    label="the shop's server",
)
_WORKER = WorkerView(name="gpu-1-4711-9f2c1d", model="embedded", state="ready", detail="")

_DELIVERIES = DeliveryList(
    url="https://example.com/panoramas",
    events=["panorama.succeeded", "panorama.failed"],
    items=[
        DeliveryView(
            id="whk_01m88yz3nz1mdvc9qm85vama36_1795597252333-0",
            type="panorama.succeeded",
            happened_at=_ENDED,
            state=State.PENDING,
            next_try_at=_ENDED + timedelta(seconds=5),
            tries=[TryView(at=_ENDED, took_s=0.21, status=503, error=None)],
        )
    ],
)


_PENDING_PING = PingView(
    id="ping_07e8f9595bdbd83c07e8f9595bdbd83c",
    tenant="ada",
    url="https://example.com/panoramas",
    created_at=_POSTED,
    state=State.PENDING,
    tries=[],
)
_PING = _PENDING_PING.model_copy(
    update={
        "state": State.DELIVERED,
        "tries": [TryView(at=_STARTED, took_s=0.21, status=204, error=None)],
    }
)


def _summary(view: PanoramaView) -> PanoramaSummary:
    return PanoramaSummary(**dict(view), shortened=False)


# By the names that routes show them under.
ANSWERS: Final[Mapping[str, BaseModel]] = {
    "queued": _QUEUED,
    "running": _RUNNING,
    "succeeded": _SUCCEEDED,
    "failed": _FAILED,
    "cancelled": _CANCELLED,
    "to_be_cancelled": _RUNNING.model_copy(update={"cancel_requested": True}),
    "batch": _BATCH,
    "first_page": PanoramaPage(items=[_summary(_RUNNING)], next_cursor=JOB_ID),
    "last_page": PanoramaPage(items=[_summary(_SUCCEEDED)], next_cursor=None),
    "deliveries": _DELIVERIES,
    "no_deliveries": DeliveryList(url=None, events=[], items=[]),
    "upload": UploadView(
        key=UPLOAD_KEY,
        url="https://s3.example.org/panoweave",
        method="POST",
        fields={
            "key": UPLOAD_KEY,
            "policy": "eyJleHBpcmF0aW9uIjog...",
            "x-amz-signature": "f4c1...",
        },
        max_bytes=20_971_520,
        expires_in_s=3_600,
    ),
    "usage": UsageView(
        items=[UsageItem(period="2026-11-25", panoramas=12, gpu_s=124.9, bytes=5_104_331)],
        kept_bytes=14_220,
        max_kept_bytes=268_435_456,
    ),
    "new_key": NewKeyView(**dict(_KEY), token="pw_07e8f9595bdbd83c_" + 43 * "A"),
    "keys": KeyList(items=[_KEY.model_copy(update={"last_used_at": _STARTED})]),
    "ping": _PING,
    "pending_ping": _PENDING_PING,
    "token": TokenView(token="pwv_3q2-7w" + 34 * "A" + "A", expires_in_s=300),
    "models": ModelList(items=[_MODEL]),
    "status": StatusView(
        queued=3, running=1, workers=[_WORKER], models=[_MODEL], unserved=[], s3="ok", s3_detail=""
    ),
    "scaling": ScalingView(
        model="embedded",
        queued=7,
        running=1,
        gpu_s=69.3,
        unestimated=0,
        workers=1,
        workers_wanted=2,
    ),
    "alive": Health(status="alive"),
    "ready": Health(status="ready"),
}

EVENTS: Final = {
    name: {"value": {"id": id_, "event": name, "data": view.model_dump_json(exclude_none=True)}}
    for id_, name, view in (
        ("1795597242048-0", "created", EventView(status=Status.QUEUED, attempt=0)),
        ("1795597242056-0", "started", EventView(status=Status.RUNNING, attempt=1)),
        ("1795597252333-0", "succeeded", EventView(status=Status.SUCCEEDED, attempt=1)),
    )
}


def components() -> dict[str, dict[str, Any]]:
    """The answers, as OpenAPI writes them."""
    return {name: {"value": answer.model_dump(mode="json")} for name, answer in ANSWERS.items()}


def references(names: Iterable[str]) -> dict[str, dict[str, str]]:
    return {name: {"$ref": f"#/components/examples/{name}"} for name in names}
