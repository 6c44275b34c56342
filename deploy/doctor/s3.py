"""What `panoweave doctor` checks of S3."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from panoweave.deploy.doctor.check import Check

if TYPE_CHECKING:
    import httpx

    from panoweave.core.infra.s3 import ObjectStore
    from panoweave.core.infra.settings import Settings

_NO_S3 = "start the stack: panoweave up; or set PANOWEAVE_S3_ENDPOINT and PANOWEAVE_S3_BUCKET"
_PROBE = b"panoweave doctor"
_LINK_TIMEOUT_S = 10.0


def check_s3(settings: Settings) -> Iterator[Check]:
    """Write, read, list and delete a small object as a worker does, and fetch it as a caller."""
    from panoweave.core.infra.errors import ObjectStoreError
    from panoweave.core.infra.s3 import ObjectStore

    name = f"S3 bucket {settings.s3_bucket}"
    if not settings.model_fields_set & {"s3_bucket", "s3_endpoint"}:
        yield Check(name, "fail", "no S3 server is configured", _NO_S3)
        return
    store = ObjectStore(settings)
    prefix = f"doctor/{uuid.uuid4().hex}/"
    try:
        store.put(f"{prefix}a", _PROBE, "text/plain", hashlib.sha256(_PROBE).hexdigest())
        intact = store.get(f"{prefix}a") == _PROBE
        links = [_check_link(store, f"{prefix}a"), _check_upload(store, f"{prefix}b")]
        store.delete_prefix(prefix)
        if store.exists(f"{prefix}a"):
            yield Check(name, "fail", "it keeps what was deleted", "use another S3 server")
        elif not intact:
            found = "it returned other bytes than were written"
            yield Check(name, "fail", found, "use another S3 server")
        else:
            yield Check(name, "ok", "writes, reads, lists, deletes")
        yield from links
    except ObjectStoreError as error:
        remedy = error.remedy or (
            "check that PANOWEAVE_S3_ENDPOINT answers, that the bucket exists, and that the key "
            "may write, read, list and delete in it"
        )
        yield Check(name, "fail", error.problem, remedy)
    finally:
        store.close()


def _check_link(store: ObjectStore, key: str) -> Check:
    import httpx

    name, url = "S3 links", store.presign(key, "doctor.txt")
    try:
        answer = httpx.get(url, timeout=_LINK_TIMEOUT_S)
    except httpx.HTTPError as error:
        return Check(name, "warn", f"{_host(url)}: {error}", _unreachable())
    if answer.status_code == 200 and answer.content == _PROBE:
        return Check(name, "ok", f"callers can fetch pictures from {_host(url)}")
    return Check(name, "fail", f"{_host(url)} refuses them: {_said(answer)}", _remedy(answer))


def _check_upload(store: ObjectStore, key: str) -> Check:
    import httpx

    name, form = "S3 uploads", store.presign_upload(key, len(_PROBE))
    try:
        answer = httpx.post(
            form.url, data=form.fields, files={"file": _PROBE}, timeout=_LINK_TIMEOUT_S
        )
    except httpx.HTTPError as error:
        return Check(name, "warn", f"{_host(form.url)}: {error}", _unreachable())
    if answer.is_success and store.exists(key):
        return Check(name, "ok", f"callers can upload pictures to {_host(form.url)}")
    # Some servers take no forms. Then callers send their pictures inside the request.
    found = f"{_host(form.url)} does not take POST /uploads' forms: {_said(answer)}"
    return Check(name, "warn", found, _remedy(answer) or "callers can send pictures as base64")


def _host(url: str) -> str:
    import httpx

    return httpx.URL(url).netloc.decode()


def _unreachable() -> str:
    return "callers need PANOWEAVE_S3_PUBLIC_ENDPOINT (default: PANOWEAVE_S3_ENDPOINT) to answer"


def _said(answer: httpx.Response) -> str:
    return (
        f"{answer.status_code} {_tag(answer.text, 'Code')} {_tag(answer.text, 'Message')}".strip()
    )


def _remedy(answer: httpx.Response) -> str:
    from panoweave.core.infra.s3_refusals import remedy_for

    return remedy_for(_tag(answer.text, "Code"), _tag(answer.text, "Message"))


def _tag(xml: str, name: str) -> str:
    found = re.search(f"<{name}>(.*?)</{name}>", xml, re.S)
    return found[1] if found else ""
