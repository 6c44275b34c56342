"""Checks addresses in settings, so that one line says what is wrong, and no library's traceback."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

REDIS_SCHEMES: Final = ("redis", "rediss", "unix")
HTTP_SCHEMES: Final = ("http", "https")

_BUCKET_IN_HOSTS: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


def check_url(url: str, schemes: tuple[str, ...], *, shows: str) -> None:
    """Raises ValueError, which does not show the URL: it may carry a password."""
    legal = " or ".join(f"{scheme}://" for scheme in schemes)
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"must be a URL such as {shows}: its host or port is not legal") from error
    if parts.scheme not in schemes or "://" not in url:
        raise ValueError(f"must begin with {legal}, such as {shows}")
    if not (parts.path if parts.scheme == "unix" else parts.hostname):
        raise ValueError(f"must be a URL such as {shows}: it names no host")


def check_names_a_host(setting: str, url: str | None) -> None:
    """Raises ValueError if the host is an IP address: no bucket's name can stand before it."""
    try:
        ipaddress.ip_address(urlsplit(url or "").hostname or "")
    except ValueError:
        return
    raise ValueError(
        f"PANOWEAVE_S3_ADDRESSING=virtual puts the bucket's name before the host's, and {setting} "
        "has an IP address: name the host, or use PANOWEAVE_S3_ADDRESSING=path"
    )


def check_names_a_bucket_in_hosts(bucket: str) -> None:
    """Raises ValueError where no host name can begin with the bucket's: boto3 would put it into the
    path, in silence."""
    if not _BUCKET_IN_HOSTS.fullmatch(bucket):
        raise ValueError(
            "PANOWEAVE_S3_ADDRESSING=virtual puts the bucket's name before the host's, and "
            f"PANOWEAVE_S3_BUCKET={bucket} cannot stand there: legal are 3 to 63 small letters, "
            "digits and hyphens; rename the bucket, or use PANOWEAVE_S3_ADDRESSING=path"
        )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
