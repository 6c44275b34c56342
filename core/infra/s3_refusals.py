"""What an S3 server's refusal means, and which setting mends it."""

from __future__ import annotations

from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

_REGION_CODES: Final = frozenset(
    {"AuthorizationHeaderMalformed", "AuthorizationQueryParametersError", "PermanentRedirect"}
)
_NEED_VIRTUAL_HOSTS: Final = frozenset(
    {"PathStyleDomainForbidden", "SecondLevelDomainForbidden", "VirtualHostDomainRequired"}
)
_REMEDIES: Final = {
    "AccessDenied": "give the key the rights to write, read, list and delete in the bucket; if the "
    "bucket demands encryption, set PANOWEAVE_S3_ENCRYPTION",
    "InvalidAccessKeyId": "correct PANOWEAVE_S3_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "correct PANOWEAVE_S3_SECRET_ACCESS_KEY; a proxy that changes the "
    "Host header breaks signatures too",
    "RequestTimeTooSkewed": "set the clock of this machine, or that of the S3 server",
    "NoSuchBucket": "create the bucket, or correct PANOWEAVE_S3_BUCKET",
    "404": "create the bucket, or correct PANOWEAVE_S3_BUCKET",
    "403": "give the key the rights to write, read, list and delete in the bucket",
}


def remedy(error: BotoCoreError | ClientError) -> str:
    """What an operator can do about it; "" where nothing is known."""
    if isinstance(error, BotoCoreError):
        return "check that PANOWEAVE_S3_ENDPOINT answers and that there are credentials"
    return remedy_for(error.response["Error"].get("Code", ""), str(error))


def remedy_for(code: str, message: str) -> str:
    if "checksum" in message.lower():
        return "set PANOWEAVE_S3_CHECKSUM=md5"
    if code in _NEED_VIRTUAL_HOSTS or "virtual host" in message.lower():
        return "set PANOWEAVE_S3_ADDRESSING=virtual"
    if code in _REGION_CODES:
        return "set PANOWEAVE_S3_REGION to the region of the bucket"
    return _REMEDIES.get(code, "")


def other_region(parsed: dict[str, Any], configured: str) -> str | None:
    """The region that the bucket is in, if an answer of the server says that it is another."""
    error = parsed.get("Error", {})
    headers = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region: str | None = error.get("Region") or headers.get("x-amz-bucket-region")
    return region if error and region not in (None, configured) else None
