"""The settings of the S3-compatible storage: its addresses, keys and dialect."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from panoweave.core.infra.setting_pairs import check_both_or_neither
from panoweave.core.infra.urls import (
    HTTP_SCHEMES,
    check_names_a_bucket_in_hosts,
    check_names_a_host,
    check_url,
)


class S3Settings(BaseSettings):
    s3_endpoint: str | None = Field(
        None, description="URL of the S3 server. Default: the endpoints of AWS."
    )
    s3_public_endpoint: str | None = Field(
        None,
        description="URL of the S3 server as clients reach it, for presigned URLs. Default: the "
        "same as `PANOWEAVE_S3_ENDPOINT`.",
    )
    s3_bucket: str = Field("panoweave", description="The bucket that pictures are stored in.")
    s3_region: str = Field("us-east-1", description="The region of the bucket.")
    s3_access_key_id: SecretStr | None = Field(
        None,
        description="Set it together with the secret key. Default: what boto3 finds by itself "
        "(instance role, profile).",
    )
    s3_secret_access_key: SecretStr | None = Field(
        None, description="The secret key of `PANOWEAVE_S3_ACCESS_KEY_ID`."
    )
    s3_addressing: Literal["path", "virtual"] = Field(
        "path",
        description="Where the bucket's name stands in URLs: `path` (`https://s3.example/bucket`) "
        "or `virtual` (`https://bucket.s3.example`), which some servers demand.",
    )
    s3_checksum: Literal["sha256", "md5"] = Field(
        "sha256",
        description="What the server checks an arriving object with. `md5` is for servers that "
        "refuse `x-amz-checksum-*` headers.",
    )
    s3_encryption: Literal["AES256", "aws:kms"] | None = Field(
        None,
        description="The `x-amz-server-side-encryption` header of each stored object, for buckets "
        "that demand one. `aws:kms` uses the bucket's default key. Default: no header.",
    )

    @field_validator("s3_endpoint", "s3_public_endpoint")
    @classmethod
    def _is_http_url(cls, url: str | None) -> str | None:
        if url is not None:
            check_url(url, HTTP_SCHEMES, shows="http://127.0.0.1:8333")
        return url

    @model_validator(mode="after")
    def _check_s3(self) -> Self:
        if self.s3_addressing == "virtual":
            check_names_a_bucket_in_hosts(self.s3_bucket)
            check_names_a_host("PANOWEAVE_S3_ENDPOINT", self.s3_endpoint)
            check_names_a_host("PANOWEAVE_S3_PUBLIC_ENDPOINT", self.s3_public_endpoint)
        check_both_or_neither(self, "s3_access_key_id", "s3_secret_access_key")
        return self
