"""A panorama by its id; once Redis has forgotten it, by what lies beside its picture."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Path
from pydantic import ValidationError

from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.errors import NotFound
from panoweave.core.jobs.record import JOB_ID_PATTERN, JobRecord
from panoweave.service.dependencies import Context
from panoweave.service.openapi.examples import JOB_ID

PanoramaId = Annotated[
    str,
    Path(
        description="The `id` that the panorama was given.",
        # Told, and not checked at the door: an id that cannot be is as absent as one that is not.
        json_schema_extra={"pattern": JOB_ID_PATTERN},
        examples=[JOB_ID],
    ),
]


def find(context: Context, job_id: str, tenant: str) -> JobRecord:
    """Raises NotFound, also where it is another tenant's; StoreUnavailable, ObjectStoreError."""
    try:
        return context.store.get(job_id, tenant)
    except NotFound:
        if not re.fullmatch(JOB_ID_PATTERN, job_id):
            raise
        record = _stored(context.objects, f"{tenant}/{job_id}/")
        if record is None or (record.id, record.tenant) != (job_id, tenant):
            raise
        return record


def _stored(objects: ObjectStore, folder: str) -> JobRecord | None:
    """What the last attempt that stored a picture said of it."""
    told = [key for key in objects.list(folder) if key.endswith("/metadata.json")]
    if not told:
        return None
    last = max(told, key=lambda key: int(key.split("/")[-2]))
    try:
        return JobRecord.model_validate_json(objects.get(last))
    except ValidationError:
        return None
