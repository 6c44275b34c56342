"""Rebuilds records in Redis from what S3 holds, after Redis was lost: `panoweave recover`.

Every success has a metadata.json, its whole record. Of panoramas that were queued, running, failed
or cancelled S3 holds at most pictures of their requests: they are lost, and those pictures removed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import groupby, islice
from typing import Any, Final, NamedTuple

from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.errors import NoSuchObject
from panoweave.core.infra.lua import register_script
from panoweave.core.infra.redis import translate_redis_errors
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs.codec import from_json, to_fields
from panoweave.core.jobs.errors import UnreadableRecord
from panoweave.core.jobs.orphan_cleanup import expect_uploads, expire_panorama
from panoweave.core.jobs.record import JobRecord, Status
from panoweave.core.jobs.uploads import expire_upload

_THREADS: Final = 16  # S3 answers one request in milliseconds, and many at once
_AT_ONCE: Final = 500
_METADATA: Final = re.compile(r"(\d+)/metadata\.json")
_UPLOADS: Final = "uploads"


class Outcome(StrEnum):
    RESTORED = "restored"
    KNOWN = "known"  # to Redis, be it as one that is to be deleted
    EXPIRED = "expired"  # its record would be gone by now; its picture is, if it had `expires_in`
    LOST = "lost"  # it had not succeeded
    UPLOAD = "upload"
    UNREADABLE = "unreadable"


class _Folder(NamedTuple):
    """The objects of one job, or one upload."""

    tenant: str
    name: str  # the job's id, or uploads/<id>
    keys: list[str]


class Recovery:
    """Each folder of the bucket is handled by itself, and may be handled again."""

    def __init__(
        self, redis: Redis, objects: ObjectStore, settings: Settings, *, dry_run: bool = False
    ) -> None:
        self._redis = redis
        self._objects = objects
        self._ttl_s = settings.job_ttl_s
        self._dry_run = dry_run
        self._restore = register_script(
            redis, __package__, "kept_bytes.lua", "batches.lua", "restore.lua"
        )

    def run(self) -> Iterator[Counter[Outcome]]:
        """The counts so far, again and again. Raises ObjectStoreError, StoreUnavailable.

        The service may run meanwhile.
        """
        counts: Counter[Outcome] = Counter()
        folders = _folders(self._objects)
        with ThreadPoolExecutor(_THREADS) as threads:
            # Some at a time: a bucket may hold millions.
            while some := list(islice(folders, _AT_ONCE)):
                counts.update(threads.map(self._recover, some))
                yield counts

    def _recover(self, folder: _Folder) -> Outcome:
        if folder.name.startswith(f"{_UPLOADS}/"):
            if not self._dry_run:
                expire_upload(self._redis, folder.tenant, folder.name)
            return Outcome.UPLOAD
        try:
            record = self._newest_success(folder)
        except UnreadableRecord:
            return Outcome.UNREADABLE
        with translate_redis_errors():
            if self._redis.exists(redis_keys.job(folder.name)):
                return Outcome.KNOWN
        if record is None:
            if not self._dry_run:
                # Removed, unless a request that is under way creates the job.
                expect_uploads(self._redis, folder.name, folder.tenant)
            return Outcome.LOST
        assert record.finished_at is not None
        kept_until = record.finished_at + timedelta(seconds=self._ttl_s)
        if record.expires_at is not None:
            kept_until = min(kept_until, record.expires_at)
        left_s = (kept_until - datetime.now(UTC)).total_seconds()
        if left_s < 1:
            if record.expires_at is not None and not self._dry_run:
                expire_panorama(self._redis, record, record.expires_at)
            return Outcome.EXPIRED
        if self._dry_run:
            return Outcome.RESTORED
        return Outcome.RESTORED if self._put(record, int(left_s)) else Outcome.KNOWN

    def _newest_success(self, folder: _Folder) -> JobRecord | None:
        """None if there is none. Raises UnreadableRecord."""
        prefix = f"{folder.tenant}/{folder.name}/"
        attempts = {
            int(found[1]): key
            for key in folder.keys
            if (found := _METADATA.fullmatch(key.removeprefix(prefix)))
        }
        for _, key in sorted(attempts.items(), reverse=True):
            try:
                record = from_json(self._objects.get(key))
            except NoSuchObject:
                continue  # removed since it was listed
            is_its_own = (record.tenant, record.id) == (folder.tenant, folder.name)
            if not is_its_own or record.finished_at is None or record.result is None:
                raise UnreadableRecord(folder.name)
            return record if record.status is Status.SUCCEEDED else None
        return None

    def _put(self, record: JobRecord, left_s: int) -> bool:
        assert record.result is not None
        assert record.finished_at is not None
        texts = [text for pair in to_fields(record).items() for text in pair]
        day = int(record.finished_at.timestamp()) // 86_400
        with translate_redis_errors():
            answer: Any = self._restore(
                args=[record.id, record.result.model_dump_json(), left_s, day, *texts]
            )
        return bool(answer)


def _folders(objects: ObjectStore) -> Iterator[_Folder]:
    """S3 lists keys in their order, so those of a folder come together."""
    for (tenant, name), keys in groupby(objects.keys(""), key=_place):
        if tenant:
            yield _Folder(tenant, name, list(keys))


def _place(key: str) -> tuple[str, str]:
    """The tenant and the folder of a key; empty for an object of somebody else's."""
    tenant, _, rest = key.partition("/")
    name, _, inner = rest.partition("/")
    if name == _UPLOADS:
        return tenant, f"{_UPLOADS}/{inner.partition('/')[0]}"
    return (tenant, name) if name.startswith("pano_") and inner else ("", "")
