"""Pictures that come with a request: inside it, or uploaded before."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import httpx
import pytest
from PIL import Image
from redis import Redis

from panoweave.core.infra import redis_keys
from panoweave.core.infra.s3 import Found, ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models, uploads
from panoweave.core.jobs.orphan_cleanup import remove_orphans
from panoweave.core.jobs.store import JobStore
from tests.jobs.samples import TRAITS
from tests.service.checks import at_fault, problem
from tests.service.pictures import inline, noise, png


def post(api: httpx.Client, **fields: object) -> httpx.Response:
    return api.post("/panoramas", json={"prompt": "a hill", **fields})


def send(place: dict[str, Any], data: bytes) -> httpx.Response:
    return httpx.request(place["method"], place["url"], data=place["fields"], files={"file": data})


def uploaded(api: httpx.Client, data: bytes) -> str:
    answer = api.post("/uploads")
    assert answer.status_code == 201
    place = answer.json()
    stored = send(place, data)
    assert stored.status_code == 204
    key: str = place["key"]
    return key


def stored_picture(api: httpx.Client, objects: ObjectStore, job: dict[str, Any]) -> Image.Image:
    image = api.get(f"/panoramas/{job['id']}").json()["params"]["anchor_image"]
    assert image["base64"] is None  # a record holds no picture
    assert image["key"] == f"default/{job['id']}/inputs/anchor_image.png"
    return Image.open(io.BytesIO(objects.get(image["key"])))


def test_a_picture_in_the_request(api: httpx.Client, objects: ObjectStore) -> None:
    answer = post(api, anchor_image=inline(png()))
    assert answer.status_code == 202
    picture = stored_picture(api, objects, answer.json())
    assert (picture.size, picture.getpixel((3, 3))) == ((40, 30), (0, 128, 128))


def test_an_uploaded_picture_is_copied(api: httpx.Client, objects: ObjectStore) -> None:
    """So that what its owner does with it afterwards changes nothing."""
    key = uploaded(api, png())
    answer = post(api, anchor_image={"key": key})
    assert answer.status_code == 202
    objects.delete_prefix(key)
    assert stored_picture(api, objects, answer.json()).size == (40, 30)


def test_an_upload_writes_its_own_object_only(api: httpx.Client) -> None:
    place = api.post("/uploads").json()
    place["fields"]["key"] = place["key"].replace("/uploads/", "/elsewhere/")
    assert send(place, png()).status_code == 403


def test_an_upload_is_bounded(api: httpx.Client, objects: ObjectStore) -> None:
    place = api.post("/uploads").json()
    assert send(place, b"\0" * (place["max_bytes"] + 1)).status_code in (400, 403, 413)
    assert objects.find(place["key"]) is None


def test_uploads_of_a_tenant_are_counted_and_removed(
    api: httpx.Client, redis: Redis, objects: ObjectStore, settings: Settings
) -> None:
    key = uploaded(api, png())
    kept = redis.zcard(redis_keys.uploads("default"))
    for _ in range(settings.tenant_max_uploads - kept):
        assert api.post("/uploads").status_code == 201
    refused = api.post("/uploads")
    problem(refused, 429, "tenant_uploads_full")
    wait_s = settings.presign_ttl_s + uploads.KEPT_S
    assert wait_s - 60 < int(refused.headers["Retry-After"]) <= wait_s

    orphans: Any = redis.zrange(redis_keys.ORPHANS, 0, -1)
    redis.zadd(redis_keys.ORPHANS, dict.fromkeys(orphans, 0))
    while remove_orphans(redis, objects):
        pass
    assert objects.find(key) is None


@pytest.mark.parametrize(
    ("image", "field", "legal"),
    [
        ({"key": "another-tenant/picture.png"}, "anchor_image.key", "begin with default/"),
        ({"key": "default/../x/picture.png"}, "anchor_image.key", "begin with default/"),
        ({"key": "default/nothing.png"}, "anchor_image.key", "the key of a finished upload"),
        ({"base64": "no base64!"}, "anchor_image.base64", "the file's bytes in base64"),
        ({"base64": "né"}, "anchor_image.base64", "the file's bytes in base64"),
        (inline(b"no picture"), "anchor_image", "PNG or JPEG or WEBP"),
        (inline(png()[:60]), "anchor_image", "a whole file"),
        ({}, "anchor_image", "base64"),
        ({**inline(png()), "key": "default/x"}, "anchor_image", "base64"),
        ({"url": "http://169.254.169.254/"}, "anchor_image.url", "the fields base64, key"),
    ],
)
def test_a_picture_that_cannot_be_used_is_refused_and_nothing_is_kept(
    api: httpx.Client,
    store: JobStore,
    objects: ObjectStore,
    image: dict[str, str],
    field: str,
    legal: str,
) -> None:
    error = at_fault(post(api, anchor_image=image))
    assert error["field"] == field
    assert legal in error["legal"]
    assert store.list("default", None, 10, None).records == []
    assert objects.find("default/nothing.png") is None


@pytest.mark.parametrize("size", [(40, 30), (400, 300)])
def test_an_upload_that_changes_between_two_looks_is_refused(
    api: httpx.Client,
    objects: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, int],
) -> None:
    """After its size was checked; also by another of the same size."""
    key, other = uploaded(api, png()), png(size, "maroon")
    find = ObjectStore.find

    def find_then_change(self: ObjectStore, asked: str) -> Found | None:
        found = find(self, asked)
        objects.put(key, other, "image/png", hashlib.sha256(other).hexdigest())
        return found

    monkeypatch.setattr(ObjectStore, "find", find_then_change)
    error = at_fault(post(api, anchor_image={"key": key}))
    assert (error["field"], "changes" in error["detail"]) == ("anchor_image.key", True)


def test_an_uploaded_file_that_is_no_picture_is_refused(api: httpx.Client) -> None:
    error = at_fault(post(api, anchor_image={"key": uploaded(api, b"GIF89a, or so")}))
    assert (error["field"], error["legal"]) == ("anchor_image.key", "PNG or JPEG or WEBP")


def test_a_picture_to_extend_has_to_fit(api: httpx.Client) -> None:
    error = at_fault(post(api, extend={"image": inline(png((128, 128))), "x": 704}))
    assert (error["field"], error["legal"]) == ("extend.x", "multiples of 4 from 0 to 640")
    error = at_fault(post(api, extend={"image": inline(png((102, 128)))}))
    assert (error["field"], "multiples of 4" in error["legal"]) == ("extend.image", True)
    assert post(api, extend={"image": inline(png((128, 128))), "x": 320}).status_code == 202


def test_a_hint_has_the_panoramas_size(
    api: httpx.Client, redis: Redis, objects: ObjectStore
) -> None:
    """Where the model has a ControlNet; it is then stored like any picture."""
    traits = TRAITS.model_copy(update={"controlnet": True})
    state = models.get(redis, "embedded")
    assert state is not None
    models.publish(redis, state.model_copy(update={"traits": traits}))

    def control(width: int) -> httpx.Response:
        image = inline(png((width, 128)))
        return post(api, width=256, control={"type": "canny", "image": image, "scale": 0.5})

    error = at_fault(control(128))
    assert (error["field"], error["legal"]) == ("control.image", "256 x 128 px")
    job = control(256).json()
    stored = job["params"]["control"]
    key = f"default/{job['id']}/inputs/control.image.png"
    assert (stored["type"], stored["scale"], stored["image"]["key"]) == ("canny", 0.5, key)
    assert Image.open(io.BytesIO(objects.get(key))).size == (256, 128)


def test_a_body_has_room_for_a_picture_and_an_end(api: httpx.Client) -> None:
    assert post(api, anchor_image=inline(noise(1_250))).status_code == 202
    problem(post(api, anchor_image=inline(noise(1_700))), 413, "body_too_large")


def test_a_picture_that_is_named_several_times_is_read_and_stored_once(
    api: httpx.Client, objects: ObjectStore
) -> None:
    mask = {"key": uploaded(api, png((256, 128)))}
    regions = [{"prompt": f"tree {number}", "mask": mask} for number in range(4)]
    job = post(api, width=256, regions=regions).json()
    keys = {region["mask"]["key"] for region in job["params"]["regions"]}
    assert len(keys) == 1
    assert objects.list(f"default/{job['id']}/inputs/") == list(keys)


def test_parts_of_a_key_that_servers_collapse_are_refused(api: httpx.Client) -> None:
    """As are characters that an object store refuses."""
    key = uploaded(api, png())
    for odd in ("/./", "//", "/../", "/\0/", "/\n/", "/\x7f/"):
        spelled = key.replace("/", odd, 1)
        assert at_fault(post(api, anchor_image={"key": spelled}))["field"] == "anchor_image.key"


def test_a_photo_from_a_phone(api: httpx.Client) -> None:
    """Odd EXIF beside the orientation, and a preview behind the picture."""
    photo = io.BytesIO()
    tags = Image.Exif()
    tags[0x0112] = 6
    behind = Image.new("RGB", (16, 16))
    Image.new("RGB", (64, 32)).save(
        photo, "MPO", save_all=True, append_images=[behind], exif=tags.tobytes()
    )
    assert post(api, anchor_image=inline(photo.getvalue())).status_code == 202
