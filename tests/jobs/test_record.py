from __future__ import annotations

import re
import time
from datetime import datetime

import pytest

from panoweave.core.jobs.codec import from_fields, to_fields
from panoweave.core.jobs.failures import MEANINGS, FailureCode
from panoweave.core.jobs.record import JOB_ID_PATTERN, Failure, JobRecord, Status, new_id
from tests.jobs.samples import FAILURE, new_record, progress, result_of


def test_ids_sort_by_the_time_they_were_made() -> None:
    made = []
    for _ in range(20):
        made.append(new_id("pano"))
        time.sleep(0.0015)
    assert made == sorted(made)
    assert all(re.fullmatch(JOB_ID_PATTERN, job_id) for job_id in made)


def test_ids_made_at_once_differ() -> None:
    assert len({new_id("pano") for _ in range(10_000)}) == 10_000


def test_a_record_survives_its_redis_hash() -> None:
    record = new_record(metadata={"käse": [1, None, {"deep": True}], "n": 2**53 - 1})
    full = record.model_copy(
        update={
            "created_at": record.created_at.replace(microsecond=123_000),
            "status": Status.FAILED,
            "started_at": record.created_at.replace(microsecond=456_000),
            "attempts": 2,
            "token": "abc",
            "cancel_requested": True,
            "progress": progress(7),
            "result": result_of(record),
            "error": FAILURE,
        }
    )
    hashed = {name.encode(): text.encode() for name, text in to_fields(full).items()}
    assert from_fields(hashed) == full


class LaterRecord(JobRecord):
    """As a later version may have it."""

    tags: list[str] | None = None
    limits: dict[str, int] | None = None
    until: datetime | None = None
    priority: int = 0
    owner: str | None = None
    share: float | None = None


def test_a_new_field_survives_its_redis_hash() -> None:
    """How a field is stored follows from its type. Older records lack it."""
    record = new_record()
    later = LaterRecord.model_validate(
        {
            **record.model_dump(),
            "created_at": record.created_at.replace(microsecond=0),
            "tags": ["a", "'b'"],
            "limits": {"steps": 7},
            "until": record.created_at.replace(microsecond=456_000),
            "priority": 3,
            "owner": "7",
            "share": 0.25,
        }
    )
    hashed = {name.encode(): text.encode() for name, text in to_fields(later).items()}
    assert from_fields(hashed, LaterRecord) == later
    assert from_fields(hashed) == JobRecord.model_validate(later.model_dump())
    older = {name.encode(): text.encode() for name, text in to_fields(record).items()}
    read = from_fields(older, LaterRecord).model_dump(exclude_defaults=True)
    assert read == from_fields(older).model_dump(exclude_defaults=True)


@pytest.mark.parametrize("code", list(FailureCode))
def test_every_failure_code_has_its_public_words(code: FailureCode) -> None:
    facts = {
        "attempts": 3,
        "field": "width",
        "problem": "too wide",
        "legal": "64",
        "timeout_s": 300,
    }
    failure = Failure.of(code, **facts)
    assert failure.detail.endswith(".")
    assert "{" not in failure.detail
    assert failure.retryable is MEANINGS[code].retryable


def test_attempts_share_no_object() -> None:
    first = new_record().model_copy(update={"attempts": 1})
    second = first.model_copy(update={"attempts": 2})
    assert first.keys.image == f"default/{first.id}/1/panorama.png"
    keys = [*first.keys.model_dump().values(), *second.keys.model_dump().values()]
    assert len(set(keys)) == 8
