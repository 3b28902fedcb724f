"""Logs: one record, one line, as JSON or for people, without secrets. Importing configures nothing."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_SECRET = re.compile(
    r"whsec_[A-Za-z0-9+/=_-]+|(?<=://)[^/@\s]+@|(?<=[Bb]earer )\S+"
    r"|(?<=token=)[^&\s]+|(?<=key=)[^&\s]+|(?<=auth=)[^&\s]+"
)

Levels = Literal["debug", "info", "warning", "error"]


def configure(style: Literal["console", "json"] = "console", level: Levels = "info") -> None:
    """Sends everything, the standard library's loggers too, to standard error."""
    number = getattr(logging, level.upper())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Before the redaction, and as plain text: a trace that shows local variables shows the settings' secrets.
        structlog.processors.format_exc_info,
        _one_line,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if style == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))


def _one_line(_: Any, __: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """No value breaks its line or shows a secret."""
    for name, value in record.items():
        if isinstance(value, str):
            cleaned = _SECRET.sub("***", value)
            record[name] = cleaned if name == "exception" else _CONTROL.sub(" ", cleaned)
    return record
