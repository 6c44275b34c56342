"""`panoweave worker --gpus N`: starts the other ranks, and ends this process if one is lost.

`python -m panoweave.deploy.serve.ranks FOLDER RANK SIZE` is one of them.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from panoweave.deploy.environment import read_settings
from panoweave.deploy.errors import BadOption
from panoweave.deploy.local import tether
from panoweave.deploy.serve.logs import log_to_stderr
from panoweave.deploy.serve.threads import limit_spinning

if TYPE_CHECKING:
    from panoweave.core.infra.settings import Settings
    from panoweave.worker.ranks import RankPlan

log = logging.getLogger(__name__)

_WATCH_EVERY_S: Final = 0.5
# The panorama of a lost rank is saved and given back within this time.
_SETTLE_S: Final = 20.0
_LEAVE_S: Final = 20.0


@contextmanager
def other_ranks(settings: Settings, size: int) -> Iterator[RankPlan]:
    """The processes of ranks 1 and up run inside of the block.

    Start them from the main thread: they are tethered to it. Raises BadOption if this machine has
    no device for one of them.
    """
    from panoweave.core.diffusion.errors import DeviceUnavailableError
    from panoweave.worker.ranks import RankPlan, device_of

    try:
        device_of(settings, size - 1)
    except DeviceUnavailableError as error:
        raise BadOption(str(error), "start fewer ranks, or correct PANOWEAVE_DEVICE") from error
    is_leaving = threading.Event()
    with TemporaryDirectory(prefix="panoweave-ranks-") as folder:
        ranks = [_start(folder, rank, size) for rank in range(1, size)]
        watching = threading.Thread(target=_watch, args=(ranks, is_leaving), daemon=True)
        watching.start()
        try:
            yield RankPlan(size, Path(folder))
            is_leaving.set()
            for each in ranks:
                each.wait(_LEAVE_S)
        finally:
            is_leaving.set()
            for each in ranks:
                each.kill()
                each.wait()


def _start(folder: str, rank: int, size: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", __name__, folder, str(rank), str(size)]
    # A session of its own: Ctrl-C reaches the first rank alone. Tethered: none outlives that.
    tethered = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid())]
    return subprocess.Popen(
        [*tethered, str(int(signal.SIGKILL)), *command],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def _watch(ranks: Sequence[subprocess.Popen[bytes]], is_leaving: threading.Event) -> None:
    """End this process if a rank has ended: the others cannot go on. A supervisor starts a fresh
    group."""
    from panoweave.worker.ranks import EXIT_RANK_LOST

    while not is_leaving.wait(_WATCH_EVERY_S):
        for number, each in enumerate(ranks, start=1):
            if status := each.poll():
                log.critical("rank %d ended with status %d; this process ends", number, status)
                if not is_leaving.wait(_SETTLE_S):
                    os._exit(EXIT_RANK_LOST)
                return


def main(folder: str, rank: int, size: int) -> int:
    limit_spinning()
    from panoweave.worker.ranks import RankPlan, run_other_rank

    settings = read_settings()
    log_to_stderr(settings.log_level)
    return run_other_rank(settings, RankPlan(size, Path(folder)), rank)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
