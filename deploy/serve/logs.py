"""The log of a process, on stderr: JSON lines, or readable text on a terminal."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor

_OURS: Final = "panoweave"
# The fields of a record that are logged beside its message. Libraries attach others.
_EXTRAS: Final = ("method", "route", "status", "duration_s")
# At INFO they log presigned URLs, with which anybody can read the object.
_LOGS_URLS: Final = ("httpx", "urllib3")


def log_to_stderr(level: str) -> None:
    """Set up logging. Call it after all imports: it removes the handlers that libraries added.

    `level` applies to panoweave's own records. Libraries log nothing below INFO, since some quote
    requests with their signatures there.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(readable=sys.stderr.isatty()))
    for name in list(logging.root.manager.loggerDict):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    logging.root.handlers = [handler]
    logging.root.setLevel(max(logging.INFO, logging.getLevelName(level)))
    logging.getLogger(_OURS).setLevel(level)
    for name in _LOGS_URLS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def _formatter(*, readable: bool) -> logging.Formatter:
    shape: list[Processor]
    # Neither shows local variables in a traceback, since prompts are among them.
    if readable:
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
