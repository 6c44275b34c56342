"""The settings of a process, read once from `PANOWEAVE_*` variables and passed to what needs them.

docs/settings.md is made from the fields and their descriptions, which operators read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from panoweave.core.checkpoint import MAX_STEPS
from panoweave.core.infra.addresses import check_private
from panoweave.core.infra.lora_settings import OfferedLoras
from panoweave.core.infra.redis_settings import RedisSettings
from panoweave.core.infra.s3_settings import S3Settings
from panoweave.core.infra.setting_pairs import check_both_or_neither
from panoweave.core.machine import (
    DEFAULT_LORAS_MAX_BYTES,
    DEFAULT_WINDOW_BATCH,
    DtypeName,
    PerceptualName,
)
from panoweave.core.sizes import MAX_PIXELS, MAX_WINDOWS

Anonymous = Literal["off", "loopback", "everywhere"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


SigningAlgorithm = Literal["es256", "es384", "es512", "ps256", "ps384", "ps512", "ed25519"]


class Settings(S3Settings, RedisSettings):
    """The settings of one process. Secrets are `SecretStr`, so no log and no error shows them."""

    model_config = SettingsConfigDict(
        env_prefix="PANOWEAVE_",
        # Compose files and shells pass "" for a variable that is not set.
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # a URL may carry a password
    )

    model: str = Field(
        "embedded",
        description="The checkpoint: `embedded` (the model that ships), a directory in diffusers' "
        "format, or a hub id with an optional `@revision`.",
    )
    models: str | None = Field(
        None,
        description="Models that requests may name besides `PANOWEAVE_MODEL`, separated by commas, "
        "each spelled as in `PANOWEAVE_MODEL` of the workers that serve it. The API reads it. "
        "Default: none.",
    )
    perceptual: PerceptualName = Field(
        "stlpips-alex", description="The network that compares windows."
    )
    perceptual_trunk: Path | None = Field(
        None,
        description="A file with torchvision's weights, which all perceptual networks except "
        "`stlpips-*` need. Default: torchvision's cache.",
    )
    tiny_decoder: str | None = Field(
        None,
        description="An AutoencoderTiny for `sync.decoder`: a directory, or a hub id with an "
        "optional `@revision` (`madebyollin/taesd` fits Stable Diffusion 1 and 2, "
        "`madebyollin/taesdxl` fits XL). Default: the checkpoint's own, if it has one.",
    )
    controlnet: str | None = Field(
        None,
        description="A ControlNet for `control` in requests: a directory, or a hub id with an "
        "optional `@revision`. Default: the checkpoint's own, if it has one.",
    )
    lora: str | None = Field(
        None,
        description="A LoRA that is merged into the checkpoint: a safetensors file, a directory "
        "that holds one, a hub id, or `hub/id/file.safetensors`, each hub id with an optional "
        "`@revision`. Default: none.",
    )
    loras: OfferedLoras = Field(
        {},
        description="LoRAs that requests may name in `loras`, as a JSON object by name: "
        '`{"ink": {"source": "hub/id@revision", "triggers": ["ink wash"]}}`. `source` is as in '
        "`PANOWEAVE_LORA`; `triggers`, words to use in a prompt, may be left out. Workers check "
        "them when they start.",
    )
    loras_max_bytes: int = Field(
        DEFAULT_LORAS_MAX_BYTES,
        ge=0,
        description="Bytes of `PANOWEAVE_LORAS` that a worker keeps in memory. Those that were not "
        "used for longest are dropped, and read again when a request names them.",
    )
    window_batch: int = Field(
        DEFAULT_WINDOW_BATCH,
        ge=1,
        description="How many windows go through the networks at once. It changes memory and "
        "speed. Give all workers the same value, so that a panorama resumes with equal bits.",
    )
    device: str = Field(
        "auto",
        description="`cpu`, `cuda` or a numbered device such as `cuda:1`. `auto`: `cuda` if there "
        "is a GPU, else `cpu`.",
    )
    dtype: DtypeName = Field(
        "auto",
        description="The number format of the networks. `auto`: half precision on CUDA, `float16` "
        "or, for flow-matching checkpoints, `bfloat16`; else `float32`. `float8`: as `bfloat16`, "
        "with a transformer's weights in half the memory, and slower (docs/models.md).",
    )
    offload_text_encoders: bool = Field(
        False,
        description="Whether text encoders wait in the machine's memory. Each is on the GPU only "
        "while it reads a prompt, so each prompt takes the time to copy it. The bits are the same.",
    )

    host: str = Field(
        "127.0.0.1",
        description="The address that the API listens on. Other than loopback, it needs API keys "
        "(`panoweave keys create --tenant NAME`).",
    )
    port: int = Field(
        8000, ge=0, le=65_535, description="The port that the API listens on. 0: any free port."
    )
    anonymous: Anonymous = Field(
        "off",
        description="Who is let in without an API key until the first key is made: nobody, callers "
        "of an API that listens on loopback, or everybody who reaches it. They are the tenant "
        "`default`, with all rights. `panoweave up` sets `loopback`.",
    )
    allowed_hosts: str | None = Field(
        None,
        description="The host names that requests may be addressed to (`Host`), separated by "
        "commas, without ports; `*` is any. Default: on loopback `localhost`, `127.0.0.1`, `::1` "
        "and `PANOWEAVE_HOST`; elsewhere any.",
    )
    cors_origins: str | None = Field(
        None,
        description="Origins whose pages may use the API from a browser, separated by commas, such "
        "as `https://app.example.com`; `*` is any. Default: none.",
    )
    max_connections: int = Field(
        1_000,
        ge=16,
        description="How many connections an API process holds. If one more comes, the one that "
        "has waited longest for a request is closed; if all are at work, the new one gets 503.",
    )
    bodies_max_bytes: int = Field(
        64 * 2**20,
        ge=8 * 2**20,
        description="Bytes of request bodies that an API process holds at once. It refuses more "
        "with 503.",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="The address on which worker and janitor serve `/metrics`, `/livez` and "
        "`/readyz`. They ask for no API key.",
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="The port of `PANOWEAVE_METRICS_HOST`. Default: worker and janitor serve "
        "neither metrics nor probes. The API serves its own on `PANOWEAVE_PORT`.",
    )

    max_pixels: int = Field(
        MAX_PIXELS,
        ge=1,
        le=MAX_PIXELS,
        description="How many pixels a panorama may have. The API refuses more with 422.",
    )
    max_windows: int = Field(
        MAX_WINDOWS,
        ge=1,
        le=MAX_WINDOWS,
        description="How many windows a step of a panorama may have. The API refuses more with "
        "422.",
    )
    max_steps: int = Field(
        MAX_STEPS,
        ge=1,
        le=MAX_STEPS,
        description="How many steps a panorama may have. The API refuses more with 422.",
    )
    max_estimated_s: float = Field(
        3_600,
        gt=0,
        description="Seconds that a panorama may take, as estimated from its size, its steps and "
        "what the steps of the model's workers took so far. The API refuses more with 422.",
    )
    job_timeout_s: float = Field(
        7_200,
        gt=0,
        description="Seconds that the attempts at a panorama may take together. One that takes "
        "longer fails as `job_timeout`. At least `PANOWEAVE_MAX_ESTIMATED_S`.",
    )
    max_queued: int = Field(
        10_000,
        ge=1,
        description="How many panoramas may wait for one model. The API refuses more with 429.",
    )
    tenant_max_queued: int = Field(
        1_000,
        ge=1,
        description="How many panoramas of one tenant may wait for one model. The API refuses more "
        "with 429.",
    )
    tenant_max_bytes: int = Field(
        256 * 2**20,
        ge=2**20,
        description="Bytes of one tenant's records in Redis: prompts, parameters and metadata of "
        "all panoramas that are kept. The API refuses more with 429.",
    )
    tenant_writes_per_minute: int = Field(
        1_200,
        ge=1,
        description="How many requests other than GET and HEAD a tenant may send in a minute. "
        "The API refuses more with 429.",
    )
    tenant_reads_per_minute: int = Field(
        12_000,
        ge=1,
        description="How many requests by GET and HEAD a tenant may send in a minute. The API "
        "refuses more with 429.",
    )
    tenant_max_running: int | None = Field(
        None,
        ge=1,
        description="How many panoramas of one tenant may run at once. Default: no limit. "
        "Tenants take turns in any case.",
    )
    tenant_max_uploads: int = Field(
        200,
        ge=1,
        description="How many uploaded pictures of one tenant are kept at once. Each is kept for a "
        "day after its URL has expired, and has at most 20 MiB. The API refuses more with 429.",
    )
    max_attempts: int = Field(
        3,
        ge=1,
        description="A job fails after this many attempts that ended in a lost worker. An orderly "
        "stop of a worker does not count.",
    )
    lease_s: float = Field(
        15,
        gt=0,
        description="Seconds. A worker that does not renew its lease for this long is lost, and "
        "its job goes back to the queue.",
    )
    heartbeat_s: float = Field(
        3,
        gt=0,
        description="Seconds between two renewals of a worker's lease; at most half of "
        "`PANOWEAVE_LEASE_S`.",
    )
    janitor_interval_s: float = Field(
        2, gt=0, description="Seconds between two searches of the janitor for lost jobs."
    )
    step_timeout_s: float = Field(
        300,
        gt=0,
        description="Seconds. A worker whose batch of windows takes longer is taken for hung and "
        "ends itself.",
    )
    savepoint_every_s: float = Field(
        5,
        gt=0,
        description="Seconds between two savepoints of a running panorama, from which another "
        "worker can resume it.",
    )
    savepoint_ttl_s: int = Field(
        86_400, ge=1, description="Seconds that a savepoint is kept, for resuming and for retries."
    )
    savepoint_max_bytes: int = Field(
        16 * 2**20,
        ge=0,
        description="Bytes. A larger savepoint is not written, and the panorama starts over after "
        "an interruption. 0: no savepoints.",
    )
    presign_ttl_s: int = Field(
        3_600, ge=1, le=7 * 86_400, description="Seconds that a presigned URL is valid."
    )
    job_ttl_s: int = Field(
        7 * 86_400, ge=1, description="Seconds that Redis keeps a job after its end."
    )
    log_level: LogLevel = Field(
        "INFO",
        description="The level of panoweave's own log lines. Libraries log nothing below `INFO`.",
    )

    webhook_networks: str | None = Field(
        None,
        description="Private networks that webhooks may be sent to, separated by commas, such as "
        "`10.1.0.0/16,10.2.0.0/16`. Default: none.",
    )
    webhook_http: bool = Field(False, description="Whether webhooks may be sent over plain http.")
    webhook_test_targets: bool = Field(
        False,
        description="For tests only: webhooks may be sent to any address, over http and to "
        "loopback too.",
    )

    c2pa_certificate: Path | None = Field(
        None,
        description="A PEM file with a certificate chain, by which workers sign pictures as C2PA "
        "content credentials. Default: pictures are not signed.",
    )
    c2pa_private_key: Path | None = Field(
        None, description="A PEM file (PKCS #8) with the private key of the first certificate."
    )
    c2pa_algorithm: SigningAlgorithm = Field(
        "es256", description="The signature algorithm that fits the key."
    )
    c2pa_tsa_url: str | None = Field(
        None,
        description="A time-stamping authority (RFC 3161), asked for each picture. Default: no "
        "time stamps.",
    )

    @property
    def model_names(self) -> tuple[str, ...]:
        """The deployment's models, the default one first."""
        others = (name.strip() for name in (self.models or "").split(","))
        return tuple(dict.fromkeys((self.model, *filter(None, others))))

    @field_validator("webhook_networks")
    @classmethod
    def _are_networks(cls, networks: str | None) -> str | None:
        check_private(networks)
        return networks

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if self.heartbeat_s * 2 > self.lease_s:
            raise ValueError(
                f"PANOWEAVE_HEARTBEAT_S ({self.heartbeat_s:g}) must be at most half of "
                f"PANOWEAVE_LEASE_S ({self.lease_s:g}), so that one late heartbeat loses no worker"
            )
        if self.job_timeout_s < self.max_estimated_s:
            raise ValueError(
                f"PANOWEAVE_JOB_TIMEOUT_S ({self.job_timeout_s:g}) must be at least "
                f"PANOWEAVE_MAX_ESTIMATED_S ({self.max_estimated_s:g}): a panorama that was "
                "accepted must have the time that it was estimated to take"
            )
        if self.loras and self.dtype == "float8":
            raise ValueError(
                "PANOWEAVE_LORAS needs another PANOWEAVE_DTYPE than float8, whose weights are too "
                "coarse to add LoRAs to; PANOWEAVE_LORA, one for all requests, goes with it"
            )
        check_both_or_neither(self, "c2pa_certificate", "c2pa_private_key")
        return self
