"""What a process says of itself: one JSON object a line on stderr; on a terminal, for people."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor

_OURS: Final = "panoweave"
# All that a record may carry beside its message. Libraries attach whatever they like.
_EXTRAS: Final = ("method", "route", "status", "duration_s")
# They name presigned URLs, which let in whoever reads them.
_INDISCREET: Final = ("httpx", "urllib3")


def log_to_stderr(level: str) -> None:
    """Call it once everything is imported: libraries that write by themselves then stop.

    `level` is of panoweave's own records; libraries say no more than INFO, since some quote
    requests and their signatures below it.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(for_people=sys.stderr.isatty()))
    for name in list(logging.root.manager.loggerDict):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    logging.root.handlers = [handler]
    logging.root.setLevel(max(logging.INFO, logging.getLevelName(level)))
    logging.getLogger(_OURS).setLevel(level)
    for name in _INDISCREET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def _formatter(*, for_people: bool) -> logging.Formatter:
    shape: list[Processor]
    # Neither shows local variables in a traceback: prompts are among them.
    if for_people:
        plain = structlog.dev.plain_traceback
        shape = [structlog.dev.ConsoleRenderer(exception_formatter=plain)]
    else:
        shape = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(_EXTRAS),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shape],
    )
