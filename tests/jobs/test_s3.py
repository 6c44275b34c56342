from __future__ import annotations

import hashlib
import time
from contextlib import closing
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import pytest

from panoweave.core.infra.errors import NoSuchObject, ObjectStoreError
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.s3_client import LONG_WAITS
from panoweave.core.infra.settings import Settings
from panoweave.deploy.local.ports import free_port
from panoweave.deploy.local.servers import S3Server
from tests.receivers import answer, receiving

BODY = b"\x89PNG not really" * 1_000
SHA256 = hashlib.sha256(BODY).hexdigest()
EMPTY = hashlib.sha256(b"").hexdigest()


def test_what_was_put_is_there_until_its_prefix_goes(objects: ObjectStore) -> None:
    objects.put("a/1/panorama.png", BODY, "image/png", SHA256)
    objects.put("a/2/panorama.png", BODY, "image/png", SHA256)
    assert objects.get("a/1/panorama.png") == BODY
    objects.delete_prefix("a/1/")
    assert not objects.exists("a/1/panorama.png")
    assert objects.exists("a/2/panorama.png")
    with pytest.raises(ObjectStoreError):
        objects.get("a/1/panorama.png")


def test_an_upload_with_another_checksum_is_refused(objects: ObjectStore) -> None:
    with pytest.raises(ObjectStoreError):
        objects.put("a/panorama.png", BODY, "image/png", hashlib.sha256(b"other").hexdigest())
    assert not objects.exists("a/panorama.png")


def test_a_presigned_url_downloads_with_its_name(objects: ObjectStore) -> None:
    objects.put("a/panorama.png", BODY, "image/png", SHA256)
    answer = httpx.get(objects.presign("a/panorama.png", "pano_1.png"), timeout=30)
    assert answer.status_code == 200
    assert answer.content == BODY
    assert answer.headers["content-type"] == "image/png"
    assert 'filename="pano_1.png"' in answer.headers["content-disposition"]


def test_a_url_that_was_tampered_with_is_refused(objects: ObjectStore) -> None:
    objects.put("a/panorama.png", BODY, "image/png", SHA256)
    url = objects.presign("b/panorama.png", "pano_1.png")
    assert httpx.get(url.replace("/b/", "/a/"), timeout=30).status_code == 403


def test_a_presigned_url_expires(settings: Settings, objects: ObjectStore) -> None:
    objects.put("a/panorama.png", BODY, "image/png", SHA256)
    brief = ObjectStore(settings.model_copy(update={"presign_ttl_s": 1}))
    url = brief.presign("a/panorama.png", "pano_1.png")
    brief.close()
    time.sleep(2.1)
    assert httpx.get(url, timeout=30).status_code == 403


def test_urls_are_signed_for_the_host_that_clients_use(
    settings: Settings, s3_server: S3Server
) -> None:
    public = f"http://localhost:{s3_server.port}"
    store = ObjectStore(settings.model_copy(update={"s3_public_endpoint": public}))
    store.put("a/panorama.png", BODY, "image/png", SHA256)
    url = store.presign("a/panorama.png", "pano_1.png")
    store.close()
    assert urlsplit(url).netloc == f"localhost:{s3_server.port}"
    assert httpx.get(url, timeout=30).content == BODY


@pytest.fixture
def pauses_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Those between tries, which take no time here."""
    asked_for: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=asked_for.append))
    return asked_for


def test_an_absent_server_fails_in_bounded_time(settings: Settings, pauses_s: list[float]) -> None:
    """Each call after three tries."""
    assert LONG_WAITS.tries * (LONG_WAITS.connect_s + LONG_WAITS.read_s) <= 70
    absent = f"http://127.0.0.1:{free_port()}"
    store = ObjectStore(settings.model_copy(update={"s3_endpoint": absent}))
    with pytest.raises(ObjectStoreError):
        store.put("a/panorama.png", BODY, "image/png", SHA256)
    with pytest.raises(ObjectStoreError):
        store.check()
    store.close()
    assert len(pauses_s) == 4
    assert max(pauses_s) < 5


def test_that_an_object_is_missing_is_an_answer_and_a_missing_bucket_is_trouble(
    objects: ObjectStore, settings: Settings
) -> None:
    with pytest.raises(NoSuchObject):
        objects.get("nobody/has/stored/this")
    with closing(ObjectStore(settings.model_copy(update={"s3_bucket": "no-such-bucket"}))) as other:
        for call in (lambda: other.get("x"), lambda: other.put("x", b"", "text/plain", EMPTY)):
            with pytest.raises(ObjectStoreError) as trouble:
                call()
            assert not isinstance(trouble.value, NoSuchObject)


def test_a_missing_bucket_fails_the_check(settings: Settings, objects: ObjectStore) -> None:
    objects.check()
    other = ObjectStore(settings.model_copy(update={"s3_bucket": "another"}))
    with closing(other), pytest.raises(ObjectStoreError):
        other.check()


def test_errors_hold_no_secret(settings: Settings, objects: ObjectStore) -> None:
    assert settings.s3_secret_access_key is not None
    secret = settings.s3_secret_access_key.get_secret_value()
    with pytest.raises(ObjectStoreError) as failed:
        objects.get("absent")
    assert secret not in str(failed.value)
    assert secret not in repr(settings)


def test_a_server_that_fails_is_asked_a_few_times_and_no_more(
    settings: Settings, pauses_s: list[float]
) -> None:
    """With 500, as one whose disk is full, or with nothing but silence."""
    with receiving(answer(500)) as failing:
        endpoint = failing.url.removesuffix("/hook")
        store = ObjectStore(settings.model_copy(update={"s3_endpoint": endpoint}))
        with closing(store), pytest.raises(ObjectStoreError, match="500"):
            store.put("default/a", b"x", "image/png", hashlib.sha256(b"x").hexdigest())
    assert len(failing.received) == 3
    assert len(pauses_s) == 2
    assert max(pauses_s) < 5
