"""`panoweave recover`: records from S3, after Redis was lost."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Final

from rich.table import Table

from panoweave.core.infra.errors import ObjectStoreError
from panoweave.core.infra.s3 import ObjectStore
from panoweave.core.jobs.recovery import Outcome, Recovery
from panoweave.deploy.admin.tenants import redis_of, settings_of
from panoweave.deploy.errors import DeployError
from panoweave.deploy.terminal import err, out

_MEANINGS: Final = {
    Outcome.RESTORED: "panoramas restored",
    Outcome.KNOWN: "known to Redis, left as they are",
    Outcome.EXPIRED: "older than PANOWEAVE_JOB_TTL_S or their expires_in: pictures without "
    "expires_in stay in S3",
    Outcome.LOST: "had not succeeded: lost, their requests' pictures will be removed",
    Outcome.UPLOAD: "uploads, to be removed in a day",
    Outcome.UNREADABLE: "with a metadata.json that cannot be read, left as they are",
}


def run_recover(data: Path, *, dry_run: bool) -> int:
    settings = settings_of(data)
    counts: Counter[Outcome] = Counter()
    try:
        with redis_of(data) as redis, closing(ObjectStore(settings)) as objects:
            for counts in Recovery(redis, objects, settings, dry_run=dry_run).run():
                err.print(f"{counts.total():,} looked at", style="dim")
    except ObjectStoreError as error:
        raise DeployError(str(error), error.remedy or "`panoweave doctor` checks S3") from error
    table = Table(box=None, pad_edge=False, show_header=False)
    for outcome, meaning in _MEANINGS.items():
        table.add_row(f"{counts[outcome]:,}", meaning)
    out.print(table)
    if dry_run:
        out.print("nothing was changed (--dry-run)")
    return 0
