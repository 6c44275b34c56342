"""The checks of `panoweave doctor`. Each says what it found and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from panoweave.deploy.doctor.check import NO_WORKER_PART, Check
from panoweave.deploy.doctor.models import check_models
from panoweave.deploy.doctor.s3 import check_s3

if TYPE_CHECKING:
    from panoweave.core.infra.settings import Settings

_NO_REDIS = "start the stack: panoweave up; or set PANOWEAVE_REDIS_URL to a Redis that runs"
_NO_PRIMARY = (
    "PANOWEAVE_REDIS_SENTINELS must name Sentinels that run, and the host of PANOWEAVE_REDIS_URL "
    "the primary as they know it"
)
_NO_TLS = (
    "PANOWEAVE_REDIS_CA must hold the authority of Redis's certificate; if Redis asks for a client "
    "certificate, set PANOWEAVE_REDIS_CERTIFICATE and PANOWEAVE_REDIS_PRIVATE_KEY"
)


def run_checks(settings: Settings) -> Iterator[Check]:
    """Run the checks one after the other; yields each result when it is there."""
    yield from check_redis(settings)
    yield from check_s3(settings)
    yield check_device(settings)
    yield from check_models(settings)
    yield check_perceptual(settings)
    if settings.c2pa_certificate:
        yield check_credentials(settings)


def check_redis(settings: Settings) -> Iterator[Check]:
    import redis

    from panoweave.core.infra.errors import RedisIsCluster
    from panoweave.core.infra.redis import connect, refuse_cluster

    client = connect(settings)
    try:
        client.ping()
        refuse_cluster(client)
    except RedisIsCluster as cluster:
        yield Check("Redis", "fail", str(cluster), cluster.remedy)
        return
    except redis.AuthenticationError as error:
        yield Check("Redis", "fail", str(error), "correct the password in PANOWEAVE_REDIS_URL")
        return
    except redis.RedisError as error:
        remedy = _NO_PRIMARY if settings.redis_sentinels else _NO_REDIS
        if settings.redis_uses_tls:
            remedy += f"; {_NO_TLS}"
        yield Check("Redis", "fail", str(error), remedy)
        return
    try:
        found = f"version {client.info('server')['redis_version']}"
    except (redis.RedisError, KeyError):
        found = "answers; its user may not ask for the version"
    yield Check("Redis", "ok", found)
    yield from _check_redis_settings(client)
    yield from _check_replication(client)


def _check_redis_settings(client: Any) -> Iterator[Check]:
    import redis

    try:
        appendonly = client.config_get("appendonly")["appendonly"]
        policy = client.config_get("maxmemory-policy")["maxmemory-policy"]
        memory = int(client.config_get("maxmemory")["maxmemory"])
    except (redis.RedisError, KeyError):
        found = "this Redis does not show its configuration (managed services often hide it)"
        remedy = "make sure that persistence is on and maxmemory-policy is noeviction"
        yield Check("Redis settings", "warn", found, remedy)
        return
    if appendonly == "yes":
        yield Check("Redis persistence", "ok", "append-only file on")
    else:
        found = "append-only file off: accepted jobs are lost when Redis restarts"
        yield Check("Redis persistence", "warn", found, "appendonly yes in redis.conf")
    if memory:
        yield Check("Redis memory", "ok", f"up to {memory:,} bytes")
    else:
        found = "no maxmemory: Redis may take all memory of its machine, and is then killed"
        yield Check("Redis memory", "warn", found, "maxmemory 1gb in redis.conf")
    if policy == "noeviction":
        yield Check("Redis eviction", "ok", policy)
    else:
        found = f"maxmemory-policy {policy} deletes jobs when memory runs out"
        yield Check("Redis eviction", "fail", found, "maxmemory-policy noeviction in redis.conf")


def _check_replication(client: Any) -> Iterator[Check]:
    """Of a primary with replicas, which may take its place without its last writes."""
    import redis

    name = "Redis replication"
    try:
        state = client.info("replication")
        needed = int(client.config_get("min-replicas-to-write")["min-replicas-to-write"])
    except (redis.RedisError, KeyError):
        return
    if not state.get("connected_slaves"):
        return
    if needed:
        yield Check(name, "ok", f"writes need {needed} replica(s) that are not far behind")
    else:
        found = "a primary that is cut off from its replicas goes on accepting jobs, which are lost"
        remedy = "min-replicas-to-write 1 and min-replicas-max-lag 10 in redis.conf"
        yield Check(name, "warn", found, remedy)


def check_device(settings: Settings) -> Check:
    try:
        import torch

        from panoweave.core.diffusion.checkpoints import resolve_device
        from panoweave.core.diffusion.errors import DeviceUnavailableError
    except ImportError as error:
        return Check("device", "warn", f"{error.name} is not installed", NO_WORKER_PART)
    try:
        device = resolve_device(settings.device)
        torch.zeros(1, device=device)
    except (DeviceUnavailableError, RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0]
        remedy = "PANOWEAVE_DEVICE=auto takes a GPU if there is one, else the CPU"
        return Check("device", "fail", f"{settings.device}: {first_line}", remedy)
    if device.type == "cuda":
        return Check("device", "ok", torch.cuda.get_device_name(device))
    return Check("device", "ok", f"{device.type}, {torch.get_num_threads()} threads")


def check_credentials(settings: Settings) -> Check:
    """Sign a small picture, as workers do at their start."""
    name = "content credentials"
    try:
        from panoweave.core.diffusion.errors import CredentialsError
        from panoweave.worker.model import load_credentials
    except ImportError as error:
        return Check(name, "warn", f"{error.name} is not installed", NO_WORKER_PART)
    try:
        load_credentials(settings)
    except CredentialsError as error:
        return Check(name, "fail", str(error), "correct PANOWEAVE_C2PA_CERTIFICATE and its key")
    return Check(name, "ok", f"signs with {settings.c2pa_certificate}")


def check_perceptual(settings: Settings) -> Check:
    name = f"perceptual loss {settings.perceptual}"
    try:
        from panoweave.core.diffusion.errors import PerceptualWeightsError
        from panoweave.core.diffusion.perceptual_weights import load_perceptual
    except ImportError as error:
        return Check(name, "warn", f"{error.name} is not installed", NO_WORKER_PART)
    try:
        load_perceptual(settings.perceptual, settings.perceptual_trunk)
    except PerceptualWeightsError as error:
        return Check(name, "fail", str(error), "panoweave prefetch")
    return Check(name, "ok", "weights found")
