"""The names of all Redis keys. Lua scripts get them from here: see core/infra/lua.py.

Stored data has these names. A constant may be renamed, its value may not.
"""

from __future__ import annotations

PREFIX = "panoweave:"

# Whole keys.
OUTBOX = PREFIX + "outbox"  # zset: webhook delivery -> when it is due (ms)
OUTBOX_TENANTS = PREFIX + "outbox_tenants"  # zset: tenant with deliveries -> last served (a count)
OUTBOX_TENANTS_LATER = PREFIX + "outbox_tenants_later"  # zset: tenant -> when its next is due (ms)
OUTBOX_SERVED = PREFIX + "outbox_served"  # counter: deliveries claimed so far
LEASES = PREFIX + "leases"  # zset: running job -> when its lease expires (ms, Redis's clock)
QUEUED = PREFIX + "queued"  # zset: queued job -> since when (ms)
START_DEADLINES = PREFIX + "start_deadlines"  # zset: queued job -> when it must have begun (ms)
WAITING_TENANTS = PREFIX + "turns"  # zset: tenant with queued jobs -> last served (a count)
LAST_SERVED = PREFIX + "served"  # hash: tenant -> when it was last served (a count)
SERVED_COUNT = PREFIX + "turn"  # counter: jobs started so far
QUEUE_COMPARISON = PREFIX + "queue_comparison"  # string: how far the queues by model are compared
QUEUED_MODELS = PREFIX + "queued_models"  # set: models that jobs wait for
ENDED = PREFIX + "ended"  # hash: status, a failed job's with its code -> how many jobs so far
REQUEUED = PREFIX + "requeued"  # hash: reason -> attempts that went back to the queue so far
EXPIRY = PREFIX + "expiry"  # zset: status:job:tenant of an ended job -> when it expires (ms)
ORPHANS = PREFIX + "untidy"  # zset: orphaned objects, see orphan_cleanup -> when to delete (ms)
SPEEDS = PREFIX + "speeds"  # hash: model -> what its steps take, as its workers measure it
KEPT_BYTES = PREFIX + "kept_bytes"  # hash: tenant -> bytes of its records
MODELS = PREFIX + "models"  # hash: model -> its last published state
API_KEYS = PREFIX + "api_keys"  # hash: key id -> tenant, scopes, digest of the secret
API_KEYS_USED = PREFIX + "api_keys_used"  # hash: key id -> when it was last used (s)
API_KEY_WAS_MADE = PREFIX + "api_key_was_made"  # string: present once there has been a key
WAKES = PREFIX + "wakes"  # channel: ids of jobs whose record has just changed, or WAKES_ALL
CHECK = PREFIX + "check"  # string: empty, written to see whether Redis accepts writes
WORKERS_BY_MODEL = PREFIX + "workers_by_model"  # string: how many of each, for a second
WORKERS = PREFIX + "workers"  # set: names of workers that may live

WAKES_ALL = "*"  # a message: everyone who waits looks again, as after a key was revoked

# Beginnings of keys, before an id.
JOB = PREFIX + "job:"  # hash: the record
EVENTS = PREFIX + "events:"  # stream: what has happened to the job
SAVEPOINT = PREFIX + "savepoint:"  # string: the job's sampler state, as its worker wrote it
INDEX = PREFIX + "index:"  # zset: job ids by status and tenant, all scores 0
BATCH = PREFIX + "batch:"  # zset: ids of the batch's jobs, all scores 0
CLAIM = PREFIX + "claim:"  # string: the job that a claim with this token got
WORKER = PREFIX + "worker:"  # string: the worker's last published state
WITHOUT_TINY_DECODER = PREFIX + "without_tiny_decoder:"  # zset: WORKERS of the model -> until when
QUEUED_OF = PREFIX + "queued_of:"  # zset: job that waits for the model -> since when (ms)
WAITING_OF = PREFIX + "waiting_of:"  # zset, by tenant:model: jobs that wait -> minus their priority
WAITING_TENANTS_OF = PREFIX + "turns_of:"  # zset: WAITING_TENANTS of the model
LAST_SERVED_OF = PREFIX + "served_of:"  # hash: LAST_SERVED by workers of the model
QUEUE_STATE_OF = PREFIX + "queue_state_of:"  # string: the model's workers and jobs, for a second
TENANTS_COUNTED_OF = PREFIX + "tenants_counted_of:"  # string: jobs of each of many, for a while
TENANTS_RANKED_OF = PREFIX + "tenants_ranked_of:"  # + model: zset, WAITING_TENANTS_OF then
RUN_TIMES_OF = PREFIX + "run_times_of:"  # list: how long the model's last successes ran (ms)
OUTBOX_OF = PREFIX + "outbox_of:"  # zset: the tenant's part of OUTBOX
DELIVERIES = PREFIX + "deliveries:"  # list: ids of the job's webhook deliveries, oldest first
DELIVERY = PREFIX + "delivery:"  # hash: one delivery
DELIVERY_ATTEMPTS = PREFIX + "delivery_attempts:"  # list: the delivery's tries, as JSON
KEPT_BYTES_OF = PREFIX + "kept_bytes_of:"  # hash: job of the tenant -> bytes of its record
USAGE = PREFIX + "usage:"  # hash: day since 1970:what -> how much of it the tenant has used
RATE = PREFIX + "rate:"  # hash: how many requests of one kind the tenant may send now
UPLOADS = PREFIX + "uploads:"  # zset: uploads of the tenant -> until when they are kept (ms)
WEBHOOK_SECRETS = PREFIX + "webhook_secrets:"  # hash: secret id -> a secret of the tenant
WANTED = PREFIX + "wanted:"  # string: present after a request for a model that nobody has loaded
VIEW_TOKEN = PREFIX + "view_token:"  # string: tenant and API key of a token, by its digest
IDEMPOTENCY = PREFIX + "idempotency:"  # hash: a request by owner and digest of its key
IDEMPOTENCY_OF = PREFIX + "idempotency_of:"  # string: the IDEMPOTENCY key of the job's request

# Which of a job's objects an entry of ORPHANS means: see orphan_cleanup.
ORPHANS_OTHERS = "others"
ORPHANS_EARLIER = "earlier"
ORPHANS_ALL = "all"
ORPHANS_BEGUN = "begun"


def job(job_id: str) -> str:
    return f"{JOB}{job_id}"


def savepoint(job_id: str) -> str:
    return f"{SAVEPOINT}{job_id}"


def events(job_id: str) -> str:
    return f"{EVENTS}{job_id}"


def index(tenant: str, status: str | None = None) -> str:
    """Its scores are all 0, so it is ordered by id, which is by time."""
    return f"{INDEX}{status or 'all'}:{tenant}"


def batch(batch_id: str) -> str:
    return f"{BATCH}{batch_id}"


def worker(name: str) -> str:
    return f"{WORKER}{name}"


def without_tiny_decoder(model: str) -> str:
    return f"{WITHOUT_TINY_DECODER}{model}"


def deliveries(job_id: str) -> str:
    return f"{DELIVERIES}{job_id}"


def delivery(delivery_id: str) -> str:
    return f"{DELIVERY}{delivery_id}"


def delivery_attempts(delivery_id: str) -> str:
    return f"{DELIVERY_ATTEMPTS}{delivery_id}"


def webhook_secrets(tenant: str) -> str:
    return f"{WEBHOOK_SECRETS}{tenant}"


def usage(tenant: str) -> str:
    return f"{USAGE}{tenant}"


def rate(kind: str, tenant: str) -> str:
    return f"{RATE}{kind}:{tenant}"


def uploads(tenant: str) -> str:
    return f"{UPLOADS}{tenant}"


def idempotency(owner: str, digest: str) -> str:
    return f"{IDEMPOTENCY}{owner}:{digest}"


def wanted(model: str) -> str:
    return f"{WANTED}{model}"


def view_token(digest: str) -> str:
    return f"{VIEW_TOKEN}{digest}"
