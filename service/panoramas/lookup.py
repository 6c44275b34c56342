"""Finds a job by its id: in Redis or, once its record has expired there, in the object store."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Path

from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.codec import from_json
from panoweave.core.jobs.errors import NotFound, UnreadableRecord
from panoweave.core.jobs.record import JOB_ID_PATTERN, JobRecord
from panoweave.service.dependencies import Context
from panoweave.service.openapi.examples import JOB_ID

PanoramaId = Annotated[
    str,
    Path(
        description="The `id` that the panorama was given.",
        # Documented here and not validated by FastAPI: a malformed id is a 404 like an unknown one.
        json_schema_extra={"pattern": JOB_ID_PATTERN},
        examples=[JOB_ID],
    ),
]


def lookup_job(context: Context, job_id: str, tenant: str) -> JobRecord:
    """Raises NotFound, also for another tenant's job; StoreUnavailable or ObjectStoreError."""
    try:
        return context.store.get(job_id, tenant)
    except NotFound:
        if not re.fullmatch(JOB_ID_PATTERN, job_id):
            raise
        job = _stored_record(context.objects, f"{tenant}/{job_id}/")
        if job is None or (job.id, job.tenant) != (job_id, tenant):
            raise
        return job


def _stored_record(objects: ObjectStore, prefix: str) -> JobRecord | None:
    """The record that the last successful attempt stored beside its picture."""
    numbered = (re.fullmatch(r".*/(\d+)/metadata\.json", key) for key in objects.list(prefix))
    found = [(int(match[1]), match[0]) for match in numbered if match]
    if not found:
        return None
    _, last = max(found)
    try:
        return from_json(objects.get(last))
    except UnreadableRecord:
        return None
