"""Everything an operator may set, read once from `PANOWEAVE_*` and passed in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from panoweave.core.infra.addresses import check_private
from panoweave.core.params import DEFAULT_WINDOW_BATCH

Perceptual = Literal[
    "stlpips-alex", "stlpips-vgg", "lpips-alex", "lpips-vgg", "lpips-squeeze", "style-vgg"
]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


class Settings(BaseSettings):
    """One process's settings. Secrets are `SecretStr`: they show in no log and no error."""

    model_config = SettingsConfigDict(
        env_prefix="PANOWEAVE_",
        # Compose files and shells pass "" for what nobody set.
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    # A secret, since the URL may carry a password.
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")

    s3_endpoint: str | None = Field(None, description="None: AWS's own endpoints.")
    s3_public_endpoint: str | None = Field(
        None, description="Where clients reach the bucket, for presigned URLs. None: s3_endpoint."
    )
    s3_bucket: str = "panoweave"
    s3_region: str = "us-east-1"
    s3_access_key_id: SecretStr | None = Field(
        None, description="None: boto3's own search (instance role, profile)."
    )
    s3_secret_access_key: SecretStr | None = None

    model: str = Field("embedded", description="embedded | a directory | hub id[@revision]")
    perceptual: Perceptual = "stlpips-alex"
    perceptual_trunk: Path | None = None
    tiny_decoder: str | None = Field(
        None,
        description="AutoencoderTiny: a directory | hub id[@revision]. None: the model's own.",
    )
    controlnet: str | None = Field(
        None, description="ControlNet: a directory | hub id[@revision]. None: the model's own."
    )
    lora: str | None = Field(
        None, description="LoRA: a directory | a safetensors file | hub id[@revision]."
    )
    window_batch: int = Field(DEFAULT_WINDOW_BATCH, ge=1)
    device: str = "auto"
    dtype: Dtype = Field("auto", description="auto: float16 on CUDA, float32 elsewhere.")

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535)
    metrics_host: str = Field("127.0.0.1", description="Where worker and janitor show metrics.")
    metrics_port: int | None = Field(None, ge=0, le=65_535, description="None: nowhere.")

    max_queued: int = Field(10_000, ge=1, description="Jobs that may wait.")
    tenant_max_queued: int = Field(1_000, ge=1, description="Jobs of one tenant that may wait.")
    tenant_max_running: int | None = Field(
        None, ge=1, description="Jobs of one tenant that may run at once. None: any number."
    )
    max_attempts: int = Field(3, ge=1, description="Attempts that may end in a lost worker.")
    lease_s: float = Field(15, gt=0, description="A worker silent for this long is lost.")
    heartbeat_s: float = Field(3, gt=0, description="How often a worker renews its lease.")
    janitor_interval_s: float = Field(2, gt=0)
    step_timeout_s: float = Field(300, gt=0, description="A step longer than this is hung.")
    savepoint_every_s: float = Field(
        5, gt=0, description="How often a worker saves where its panorama stands."
    )
    savepoint_ttl_s: int = Field(
        86_400, ge=1, description="How long a job can be gone on with from there."
    )
    savepoint_max_bytes: int = Field(
        16 * 2**20, ge=0, description="What is larger is not saved. 0: nothing is."
    )
    presign_ttl_s: int = Field(3_600, ge=1, le=7 * 86_400)
    job_ttl_s: int = Field(7 * 86_400, ge=1, description="How long Redis keeps a finished job.")
    log_level: LogLevel = "INFO"

    webhook_networks: str | None = Field(
        None, description="Private networks that webhooks may be sent to: 10.1.0.0/16,10.2.0.0/16."
    )
    webhook_http: bool = Field(False, description="Webhooks also over plain http.")
    webhook_test_targets: bool = Field(
        False, description="For tests: webhooks to any address, loopback too, and over http."
    )

    @field_validator("webhook_networks")
    @classmethod
    def _are_networks(cls, networks: str | None) -> str | None:
        check_private(networks)
        return networks

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.heartbeat_s * 2 > self.lease_s:
            raise ValueError(
                f"PANOWEAVE_HEARTBEAT_S ({self.heartbeat_s:g}) must be at most half of "
                f"PANOWEAVE_LEASE_S ({self.lease_s:g}): one late heartbeat is not a lost worker"
            )
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise ValueError(
                "PANOWEAVE_S3_ACCESS_KEY_ID and PANOWEAVE_S3_SECRET_ACCESS_KEY go together: "
                "set both or neither"
            )
        return self
