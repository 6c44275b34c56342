"""Objects in an S3 bucket: with bounded waits, checksums, and presigned URLs."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import lru_cache
from typing import NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from panoweave.core.infra.breaker import Breaker, NotAsked
from panoweave.core.infra.errors import NoSuchObject, ObjectStoreError
from panoweave.core.infra.s3_client import LONG_WAITS, Waits, s3_client
from panoweave.core.infra.s3_refusals import remedy
from panoweave.core.infra.settings import Settings

_REMEMBERED_URLS = 4_096
_POOLED_CONNECTIONS = 20
_PART_BYTES = 64 * 2**10
_NO_KEY = "NoSuchKey"
_ENCRYPTION_FIELD = "x-amz-server-side-encryption"


class Found(NamedTuple):
    """What a server says of an object without sending it."""

    size: int  # in bytes
    etag: str | None  # None: the server sends none


class Upload(NamedTuple):
    """A form (multipart/form-data) that S3 takes: these fields first, then `file`."""

    url: str
    fields: dict[str, str]


class OpenFile(NamedTuple):
    size: int  # in bytes
    media_type: str
    parts: Iterator[bytes]


class ObjectStore:
    """`breaker`: where given, a server that hangs is left alone for a while."""

    def __init__(
        self, settings: Settings, waits: Waits = LONG_WAITS, breaker: Breaker | None = None
    ) -> None:
        self._breaker = breaker
        self._bucket = settings.s3_bucket
        self._presign_ttl_s = settings.presign_ttl_s
        self._checksum = settings.s3_checksum
        self._encryption = settings.s3_encryption
        self._client = s3_client(settings, waits)
        # A signature covers the host name, so URLs for clients are signed for the host they use.
        self._public = s3_client(settings, waits, public=True)
        self._stable = lru_cache(_REMEMBERED_URLS)(self._presign_in)

    def put(self, key: str, body: bytes, content_type: str, sha256: str) -> None:
        """Store `body`, with its SHA-256 in hex. The server refuses it if it arrives changed."""
        options: dict[str, str] = {}
        if self._encryption is not None:
            options["ServerSideEncryption"] = self._encryption
        if self._checksum == "sha256":
            options["ChecksumSHA256"] = base64.b64encode(bytes.fromhex(sha256)).decode()
        else:
            digest = hashlib.md5(body, usedforsecurity=False).digest()
            options["ContentMD5"] = base64.b64encode(digest).decode()
        with self._asking(key):
            self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentType=content_type,
                **options,
            )

    def open(self, key: str) -> OpenFile:
        """The object in parts, which are read as they are taken."""
        with self._asking(key):
            found = self._client.get_object(Bucket=self._bucket, Key=key)
        body = found["Body"]

        def parts() -> Iterator[bytes]:
            with _translate_errors(key), closing(body):
                yield from body.iter_chunks(_PART_BYTES)

        return OpenFile(int(found["ContentLength"]), found["ContentType"], parts())

    def get(self, key: str) -> bytes:
        with self._asking(key):
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            return body

    def get_unchanged(self, key: str, found: Found) -> bytes | None:
        """The object that was found. None where it was replaced or removed meanwhile.

        No more is read than its size. Where there is no ETag, the size alone is compared.
        """
        condition = {} if found.etag is None else {"IfMatch": found.etag}
        with self._asking(key):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=key, **condition)
            except ClientError as error:
                if _code(error) == _NO_KEY or _status(error) == 412:
                    return None
                raise
            with closing(answer["Body"]) as stream:
                if int(answer["ContentLength"]) != found.size:
                    return None
                body: bytes = stream.read()
                return body

    def exists(self, key: str) -> bool:
        return self.find(key) is not None

    def find(self, key: str) -> Found | None:
        """None if there is no such object."""
        with self._asking(key):
            try:
                head = self._client.head_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if _status(error) != 404:
                    raise
                # The answer to HEAD has no body: it says the same where the bucket is missing.
                self._client.head_bucket(Bucket=self._bucket)
                return None
            return Found(int(head["ContentLength"]), head.get("ETag"))

    def presign(self, key: str, filename: str) -> str:
        """A URL that downloads the object as `filename` for a while. Computed without asking S3."""
        with _translate_errors(key):  # no network, but credentials may be missing
            url: str = self._public.generate_presigned_url(
                "get_object",
                Params={
                    "Bucket": self._bucket,
                    "Key": key,
                    "ResponseContentDisposition": f'inline; filename="{filename}"',
                },
                ExpiresIn=self._presign_ttl_s,
            )
            return url

    def presign_stable(self, key: str, filename: str) -> str:
        """As `presign`, but the same URL for a while, valid for at least half as long."""
        return self._stable(key, filename, int(time.time() / (self._presign_ttl_s / 2)))

    def presign_upload(self, key: str, max_bytes: int) -> Upload:
        """A form that uploads the object: up to `max_bytes`, valid for a while."""
        encryption = {} if self._encryption is None else {_ENCRYPTION_FIELD: self._encryption}
        with _translate_errors(key):
            form = self._public.generate_presigned_post(
                Bucket=self._bucket,
                Key=key,
                Fields=dict(encryption),
                Conditions=[
                    ["content-length-range", 1, max_bytes],
                    *([encryption] if encryption else []),
                ],
                ExpiresIn=self._presign_ttl_s,
            )
            return Upload(form["url"], form["fields"])

    def _presign_in(self, key: str, filename: str, _period: int) -> str:
        return self.presign(key, filename)

    def list(self, prefix: str) -> list[str]:
        """The keys that begin with `prefix`."""
        return [*self.keys(prefix)]

    def keys(self, prefix: str) -> Iterator[str]:
        """As `list`, page by page, in their order."""
        with self._asking(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=prefix
            )
            for page in pages:
                yield from (found["Key"] for found in page.get("Contents", []))

    def delete(self, key: str) -> None:
        """An object that does not exist counts as deleted."""
        with self._asking(key):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def delete_prefix(self, prefix: str) -> None:
        for key in self.list(prefix):
            self.delete(key)

    def check(self) -> None:
        """Raises ObjectStoreError unless the bucket exists and may be used."""
        with self._asking(self._bucket):
            self._client.head_bucket(Bucket=self._bucket)

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        with _translate_errors(what), self._breaker.call() if self._breaker else nullcontext():
            yield

    def close(self) -> None:
        self._client.close()
        self._public.close()


@contextmanager
def _translate_errors(what: str) -> Iterator[None]:
    try:
        yield
    except NotAsked as error:
        raise ObjectStoreError(f"object store: {what}: not asked: {error}") from error
    except (BotoCoreError, ClientError) as error:
        # A missing bucket is a 404 too, but a server that starts answers so for a moment.
        is_missing = isinstance(error, ClientError) and _code(error) == _NO_KEY
        kind = NoSuchObject if is_missing else ObjectStoreError
        raise kind(f"object store: {what}: {error}", "" if is_missing else remedy(error)) from error


def _status(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _code(error: ClientError) -> str:
    return str(error.response["Error"].get("Code", ""))
