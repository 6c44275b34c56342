"""Steps in the life of a panorama: a client posts it, a worker starts and finishes it."""

from __future__ import annotations

import hashlib

import httpx

from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.record import JobRecord, Result
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import result_of, start_job

PICTURE = b"\x89PNG not really"


def post(api: httpx.Client, **fields: object) -> str:
    answer = api.post("/panoramas", json={"prompt": "a hill", **fields})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def start(store: JobStore, job_id: str) -> tuple[JobRecord, str]:
    record = start_job(store, job_id)
    assert record.token is not None
    return record, record.token


def finish(store: JobStore, objects: ObjectStore, job_id: str) -> Result:
    record, token = start(store, job_id)
    sha256 = hashlib.sha256(PICTURE).hexdigest()
    objects.put(record.keys.image, PICTURE, "image/png", sha256)
    objects.put(record.keys.preview, PICTURE, "image/jpeg", sha256)
    result = result_of(record).model_copy(update={"sha256": sha256, "bytes": len(PICTURE)})
    store.succeed(job_id, token, result)
    return result
