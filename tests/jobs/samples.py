"""Records and results to test with."""

from __future__ import annotations

from typing import Any

from panoweave.core.checkpoint import CheckpointTraits
from panoweave.core.jobs.failures import FailureCode
from panoweave.core.jobs.record import DEFAULT_TENANT, Failure, JobRecord, Progress, Result, Webhook
from panoweave.core.jobs.store import JobStore
from panoweave.core.params import PanoramaParams

TRAITS = CheckpointTraits(window_px=128, px_per_latent=4)
FAILURE = Failure.of(FailureCode.GENERATION_FAILED)


WEBHOOK = Webhook(
    url="https://example.com/hook",
    events=("panorama.succeeded", "panorama.failed", "panorama.cancelled"),
)


def new_record(
    tenant: str = DEFAULT_TENANT, prompt: str = "a hill", metadata: dict[str, Any] | None = None
) -> JobRecord:
    params = PanoramaParams(prompt=prompt).resolve(TRAITS)
    return JobRecord.new(params, "embedded", tenant, metadata or {}, webhook=WEBHOOK)


def progress(step: int, total_steps: int = 50) -> Progress:
    return Progress(
        phase="denoising",
        step=step,
        total_steps=total_steps,
        fraction=step / total_steps,
        eta_s=float(total_steps - step),
    )


def result_of(record: JobRecord) -> Result:
    return Result(
        keys=record.keys,
        width=record.params.width,
        height=record.params.height,
        format="png",
        bytes=3,
        sha256="00" * 32,
        coherence={"intra_lpips": 0.25, "perceptual": "stlpips-alex"},
        timings_s={"denoising": 1.5},
    )


def start_job(store: JobStore, job_id: str, worker: str = "worker-1") -> JobRecord:
    """Claim a job, which must be the next one."""
    record = store.claim(worker, store.get(job_id).model)
    assert record is not None
    assert record.id == job_id
    return record
