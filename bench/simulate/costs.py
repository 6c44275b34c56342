"""What things take: measured here, measured in docs/benchmarks.md, or assumed."""

from __future__ import annotations

import hashlib
import io
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image
from pydantic import SecretStr

from panoweave.core.infra.redis import connect
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.infra.settings import Settings
from panoweave.core.jobs import models
from panoweave.deploy.local.servers import RedisServer, S3Server
from tests.processes import process, wait_until

PICTURE: Final = Path(__file__).parents[2] / "docs" / "readme-panorama.png"
SIZE_PX: Final = (3_072, 512)
UPLOADS: Final = 5
STARTS: Final = 3


@dataclass(frozen=True)
class Costs:
    """Seconds, for a model of Stable Diffusion 2's size on an H100, at 3,072 x 512 px."""

    # docs/benchmarks.md, equal bits on a GPU: seconds of three steps.
    step_s: tuple[tuple[str, float], ...] = (
        ("fast", 1.62 / 3),
        ("balanced", 1.50 / 3),
        ("paper", 6.01 / 3),
    )
    # Measured by `measure`.
    process_s: float = 15.0  # of a worker with the bundled model, until it is ready
    upload_s: float = 0.5
    picture_bytes: int = 2_000_000
    # Assumed: a cloud's usual figures.
    machine_s: float = 120.0  # until a machine with a GPU has joined the cluster
    image_s: float = 60.0  # to fetch the worker's image on a machine that does not have it
    checkpoint_s: float = 30.0  # to read 5 GB from a volume
    machine_idle_s: float = 60.0  # how long an empty machine is kept

    @property
    def load_s(self) -> float:
        """From the start of a container to a ready worker."""
        return self.process_s + self.checkpoint_s

    @property
    def cold_start_s(self) -> float:
        return self.machine_s + self.image_s + self.load_s


def measure() -> Costs:
    """On this machine: how long a worker takes to be ready, and how long it stores a picture.

    The fastest of several: other programs only make it slower.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        s3 = S3Server(
            folder / "s3",
            folder / "logs",
            bucket="panoweave",
            access_key_id="bench",
            secret_access_key="bench-secret",  # noqa: S106
        )
        with RedisServer(folder / "redis", folder / "logs") as redis, s3:
            settings = Settings(
                redis_url=SecretStr(redis.url),
                s3_endpoint=s3.endpoint,
                s3_access_key_id=SecretStr("bench"),
                s3_secret_access_key=SecretStr("bench-secret"),
            )
            upload_s, size = _upload(settings)
            process_s = min(_start(settings, folder) for _ in range(STARTS))
            return Costs(process_s=process_s, upload_s=upload_s, picture_bytes=size)


def _start(settings: Settings, folder: Path) -> float:
    began = time.monotonic()
    with process("worker", settings, folder / "worker.log"), connect(settings) as redis:
        redis.flushall()

        def is_ready() -> bool:
            state = models.get(redis, settings.model)
            return state is not None and state.state == "ready"

        wait_until(is_ready, 300, folder / "worker.log")
        return time.monotonic() - began


def _upload(settings: Settings) -> tuple[float, int]:
    picture = Image.open(PICTURE).convert("RGB").resize(SIZE_PX, Image.Resampling.LANCZOS)
    times, size = [], 0
    with closing(ObjectStore(settings)) as objects:
        for number in range(UPLOADS):
            began = time.monotonic()
            file = io.BytesIO()
            picture.save(file, "PNG")
            body = file.getvalue()
            size, digest = len(body), hashlib.sha256(body).hexdigest()
            objects.put(f"bench/{number}.png", body, "image/png", digest)
            times.append(time.monotonic() - began)
    return min(times), size
