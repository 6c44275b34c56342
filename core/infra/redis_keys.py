"""Names of the Redis keys that Python reads. transition.lua, which writes them, spells the same."""

from __future__ import annotations

PREFIX = "panoweave:"

OUTBOX = PREFIX + "outbox"  # zset: delivery to a webhook -> when to try it next (ms)
LEASES = PREFIX + "leases"  # zset: running job -> when its lease passes (ms, Redis's clock)
QUEUED = PREFIX + "queued"  # zset: queued job -> since when (ms)
WAITING_TENANTS = (
    PREFIX + "turns"
)  # zset: tenant with queued jobs -> when it was last served (a count)
RUN_TIMES = PREFIX + "run_times"  # list: ms that the last successful jobs ran
ENDED = PREFIX + "ended"  # hash: how jobs ended, a failed one's code with it -> how many so far
REQUEUED = PREFIX + "requeued"  # hash: reason -> attempts that went back to the queue so far
ORPHANS = PREFIX + "untidy"  # zset: which objects nobody will ask for -> from when on (ms)
MODELS = PREFIX + "models"  # hash: model -> what was last published of it
API_KEYS = PREFIX + "api_keys"  # hash: id -> who it lets in, and a digest of its secret
API_KEY_WAS_MADE = PREFIX + "api_key_was_made"  # string: present once there has been an API key
WAKES = PREFIX + "wakes"  # channel: ids of jobs to which something has just happened
CHECK = PREFIX + "check"  # string: nothing; gone at once
WORKERS = PREFIX + "workers"  # set: names of workers that may live


def job(job_id: str) -> str:
    return f"{PREFIX}job:{job_id}"


def savepoint(job_id: str) -> str:
    """string: where it stands, as its worker wrote it."""
    return f"{PREFIX}savepoint:{job_id}"


def events(job_id: str) -> str:
    return f"{PREFIX}events:{job_id}"


def index(tenant: str, status: str | None = None) -> str:
    """zset of a tenant's job ids, all scores 0: its order is the ids' own, which is time's."""
    return f"{PREFIX}index:{status or 'all'}:{tenant}"


def worker(name: str) -> str:
    return f"{PREFIX}worker:{name}"


def deliveries(job_id: str) -> str:
    """list: ids of what its webhook is told, oldest first."""
    return f"{PREFIX}deliveries:{job_id}"


def delivery(delivery_id: str) -> str:
    return f"{PREFIX}delivery:{delivery_id}"


def delivery_attempts(delivery_id: str) -> str:
    """list: what came of each try, as JSON."""
    return f"{PREFIX}delivery_attempts:{delivery_id}"


def webhook_secrets(tenant: str) -> str:
    """hash: id -> a secret that signs what the tenant's webhooks are sent."""
    return f"{PREFIX}webhook_secrets:{tenant}"


def idempotency(owner: str, digest: str) -> str:
    """hash: what is known of the request that an owner gave this key."""
    return f"{PREFIX}idempotency:{owner}:{digest}"
