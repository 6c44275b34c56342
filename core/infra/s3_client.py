"""boto3's client of the S3 server that the settings name."""

from __future__ import annotations

from typing import Any, NamedTuple

import boto3
from botocore.config import Config

from panoweave.core.infra.errors import ObjectStoreError
from panoweave.core.infra.s3_refusals import other_region
from panoweave.core.infra.settings import Settings

_POOLED_CONNECTIONS = 20


class Waits(NamedTuple):
    """How long to wait for the server, each time, and how often to ask."""

    connect_s: float
    read_s: float
    tries: int


# A picture took minutes to make: it is worth waiting for.
LONG_WAITS = Waits(connect_s=3, read_s=20, tries=3)
# An HTTP client is waiting, and may ask again by itself.
SHORT_WAITS = Waits(connect_s=1, read_s=4, tries=1)


def s3_client(settings: Settings, waits: Waits = LONG_WAITS, *, public: bool = False) -> Any:
    endpoint = (settings.s3_public_endpoint if public else None) or settings.s3_endpoint
    key_id, secret = settings.s3_access_key_id, settings.s3_secret_access_key
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=key_id.get_secret_value() if key_id else None,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=Config(
            s3={"addressing_style": settings.s3_addressing},
            signature_version="s3v4",  # boto3's default presigns with a version S3 servers refuse
            connect_timeout=waits.connect_s,
            read_timeout=waits.read_s,
            retries={"mode": "standard", "total_max_attempts": waits.tries},
            max_pool_connections=_POOLED_CONNECTIONS,
            # Other servers than AWS's refuse the checksum trailers boto3 adds unasked.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )

    def refuse_other_region(response: tuple[Any, dict[str, Any]] | None, **_: Any) -> None:
        region = other_region(response[1], settings.s3_region) if response else None
        if region is not None:
            raise ObjectStoreError(
                f"object store: the bucket {settings.s3_bucket} is in the region {region}",
                f"set PANOWEAVE_S3_REGION={region}",
            )

    # boto3 would follow the bucket to its region in silence. Presigned URLs cannot: they would be
    # refused, while everything else seems well.
    client.meta.events.register_first("needs-retry.s3", refuse_other_region)
    return client
