"""The settings of the connection to Redis: its address, Sentinels, TLS."""

from __future__ import annotations

from typing import Final, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, FilePath, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from panoweave.core.infra.setting_pairs import check_both_or_neither
from panoweave.core.infra.urls import REDIS_SCHEMES, check_url

_SENTINEL_PORT: Final = 26_379
_TLS_SCHEME: Final = "rediss"


class Address(NamedTuple):
    host: str
    port: int


class RedisSettings(BaseSettings):
    # A secret, since the URL may carry a password.
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="The Redis that keeps the jobs. With `PANOWEAVE_REDIS_SENTINELS`, its host is "
        "the name by which the Sentinels watch the primary, such as "
        "`redis://user:password@mymaster/0`.",
    )
    redis_sentinels: str | None = Field(
        None,
        description="Redis Sentinels, each `host:port`, separated by commas. They say which server "
        "is the primary. Default: none; `PANOWEAVE_REDIS_URL` names the server itself.",
    )
    redis_sentinel_username: str | None = Field(
        None, description="The ACL user for the Sentinels. Default: Redis's `default`."
    )
    redis_sentinel_password: SecretStr | None = Field(
        None, description="The password for the Sentinels, if they ask for one."
    )
    redis_ca: FilePath | None = Field(
        None,
        description="A PEM file with the authorities that sign the certificates of Redis and of "
        "the Sentinels, for `rediss://`. Default: the system's.",
    )
    redis_certificate: FilePath | None = Field(
        None,
        description="A PEM file with the client certificate that Redis asks for (`tls-auth-clients "
        "yes`). Default: none.",
    )
    redis_private_key: FilePath | None = Field(
        None, description="A PEM file with the private key of `PANOWEAVE_REDIS_CERTIFICATE`."
    )

    @property
    def sentinel_addresses(self) -> list[Address]:
        return _addresses(self.redis_sentinels or "")

    @property
    def redis_primary(self) -> str:
        """The host of the URL in its own spelling: Sentinels tell `Main` from `main`."""
        host = urlsplit(self.redis_url.get_secret_value()).netloc.rpartition("@")[2]
        return unquote(host.partition(":")[0])

    @property
    def redis_uses_tls(self) -> bool:
        return urlsplit(self.redis_url.get_secret_value()).scheme == _TLS_SCHEME

    @field_validator("redis_url")
    @classmethod
    def _is_redis_url(cls, url: SecretStr) -> SecretStr:
        check_url(url.get_secret_value(), REDIS_SCHEMES, shows="redis://127.0.0.1:6379/0")
        return url

    @field_validator("redis_sentinels")
    @classmethod
    def _are_addresses(cls, sentinels: str | None) -> str | None:
        if sentinels and not _addresses(sentinels):
            raise ValueError("must be host:port entries, such as 10.0.0.1:26379,10.0.0.2:26379")
        return sentinels

    @model_validator(mode="after")
    def _check_redis(self) -> Self:
        url = urlsplit(self.redis_url.get_secret_value())
        if self.redis_sentinels and (url.scheme == "unix" or url.port):
            raise ValueError(
                "PANOWEAVE_REDIS_SENTINELS: the Sentinels say where the primary is, so "
                "PANOWEAVE_REDIS_URL must be redis:// or rediss:// with its name and without a "
                "port, such as redis://mymaster/0"
            )
        if not self.redis_sentinels and (
            self.redis_sentinel_username or self.redis_sentinel_password
        ):
            raise ValueError(
                "PANOWEAVE_REDIS_SENTINEL_USERNAME and PANOWEAVE_REDIS_SENTINEL_PASSWORD need "
                "PANOWEAVE_REDIS_SENTINELS"
            )
        if self.redis_sentinel_username and not self.redis_sentinel_password:
            raise ValueError(
                "PANOWEAVE_REDIS_SENTINEL_USERNAME needs PANOWEAVE_REDIS_SENTINEL_PASSWORD"
            )
        check_both_or_neither(self, "redis_certificate", "redis_private_key")
        if not self.redis_uses_tls and (self.redis_ca or self.redis_certificate):
            raise ValueError(
                "PANOWEAVE_REDIS_CA and PANOWEAVE_REDIS_CERTIFICATE are for TLS: "
                "PANOWEAVE_REDIS_URL must begin with rediss://"
            )
        return self


def _addresses(sentinels: str) -> list[Address]:
    """Raises ValueError for an entry that is no `host:port`."""
    found = []
    for entry in filter(None, (part.strip() for part in sentinels.split(","))):
        try:
            parts = urlsplit(f"//{entry}")
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{entry}: its host or port is not legal") from error
        if not parts.hostname or parts.netloc != entry or "@" in entry:
            raise ValueError(f"{entry}: must be host:port, such as 10.0.0.1:26379")
        found.append(Address(parts.hostname, port or _SENTINEL_PORT))
    return found
