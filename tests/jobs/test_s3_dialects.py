"""What some S3 servers refuse: with the right setting it works, without it the error names it."""

from __future__ import annotations

import hashlib
import socket
from contextlib import closing
from typing import Any

import httpx
import pytest

from panoweave.core.infra.errors import NoSuchObject, ObjectStoreError
from panoweave.core.infra.s3 import Found, ObjectStore
from panoweave.deploy.doctor.check import Check
from panoweave.deploy.doctor.s3 import check_s3
from tests.s3_dialects import BUCKET, Dialect, s3_that_speaks

BODY = b"a picture"
SHA256 = hashlib.sha256(BODY).hexdigest()
DIALECTS: list[tuple[Dialect, dict[str, str], str]] = [
    ("no-checksums", {"s3_checksum": "md5"}, "PANOWEAVE_S3_CHECKSUM=md5"),
    ("needs-encryption", {"s3_encryption": "AES256"}, "PANOWEAVE_S3_ENCRYPTION"),
    ("virtual-hosts", {"s3_addressing": "virtual"}, "PANOWEAVE_S3_ADDRESSING=virtual"),
    ("other-region", {"s3_region": "eu-central-1"}, "PANOWEAVE_S3_REGION=eu-central-1"),
]


@pytest.fixture(autouse=True)
def every_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    """`panoramas.localhost` is this machine, as DNS would say of a real server's buckets."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *rest: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        here = isinstance(name, str) and name.endswith("localhost")
        return real("127.0.0.1" if here else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(("dialect", "right", "remedy"), DIALECTS)
def test_the_error_names_the_setting_and_the_setting_mends_it(
    dialect: Dialect, right: dict[str, str], remedy: str
) -> None:
    with s3_that_speaks(dialect) as (_, settings):
        with closing(ObjectStore(settings)) as store:
            with pytest.raises(ObjectStoreError) as refused:
                store.put("a.png", BODY, "image/png", SHA256)
            assert remedy in str(refused.value)
        bucket = check_s3(settings)
        assert next(bucket).level == "fail"
        with closing(ObjectStore(settings.model_copy(update=right))) as store:
            store.put("a.png", BODY, "image/png", SHA256)
            assert store.get("a.png") == BODY
            assert store.find("b.png") is None
            assert httpx.get(store.presign("a.png", "a.png"), timeout=30).content == BODY
            form = store.presign_upload("u.png", 100)
            sent = httpx.post(form.url, data=form.fields, files={"file": BODY}, timeout=30)
            assert sent.status_code == 204
            assert store.get("u.png") == BODY
        checks = list(check_s3(settings.model_copy(update=right)))
        assert {check.level for check in checks} == {"ok"}, checks


def failures(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.remedy for check in checks if check.level == "fail"}


def test_the_encryption_is_asked_for_in_what_is_uploaded_too() -> None:
    with s3_that_speaks("lenient") as (_, settings):
        kms = settings.model_copy(update={"s3_encryption": "aws:kms"})
        with closing(ObjectStore(kms)) as store:
            fields = store.presign_upload("u.png", 100).fields
    assert fields["x-amz-server-side-encryption"] == "aws:kms"


def test_doctor_fetches_a_link_as_a_caller_would() -> None:
    with s3_that_speaks("links-refused") as (_, settings):
        found = failures(list(check_s3(settings)))
    assert list(found) == ["S3 links"]


def test_doctor_names_a_clock_that_is_wrong_and_a_right_that_is_missing() -> None:
    with s3_that_speaks("skewed-clock") as (_, settings):
        assert "clock" in failures(list(check_s3(settings)))[f"S3 bucket {BUCKET}"]
    with s3_that_speaks("may-not-list") as (_, settings):
        assert "list" in failures(list(check_s3(settings)))[f"S3 bucket {BUCKET}"]


def test_a_refusal_is_not_absence() -> None:
    with (
        s3_that_speaks("may-not-list") as (_, settings),
        closing(ObjectStore(settings)) as store,
    ):
        for call in (store.find, store.exists, store.get, store.list):
            with pytest.raises(ObjectStoreError) as refused:
                call("absent")
            assert not isinstance(refused.value, NoSuchObject)


def test_a_missing_bucket_is_not_a_missing_object() -> None:
    with s3_that_speaks("lenient") as (_, settings):
        other = settings.model_copy(update={"s3_bucket": "another"})
        with closing(ObjectStore(other)) as store:
            for call in (
                store.find,
                store.exists,
                lambda key: store.get_unchanged(key, Found(9, "1")),
            ):
                with pytest.raises(ObjectStoreError):
                    call("absent")


def test_without_etags_an_object_of_another_size_counts_as_replaced() -> None:
    with s3_that_speaks("no-etags") as (_, settings), closing(ObjectStore(settings)) as store:
        store.put("a.png", BODY, "image/png", SHA256)
        found = store.find("a.png")
        assert found == Found(len(BODY), None)
        assert store.get_unchanged("a.png", found) == BODY
        store.put("a.png", BODY * 2, "image/png", hashlib.sha256(BODY * 2).hexdigest())
        assert store.get_unchanged("a.png", found) is None
