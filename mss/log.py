"""Structured logging: static event names, fields as keywords, identifiers instead of objects.

Addresses, matricules and tokens never leave: a last processor masks what looks like one, should a
caller forget. It is a net, not a licence: callers log identifiers only.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, cast

import structlog

_ADDRESS = re.compile(r"[^\s@<>\"',;:()\[\]]+@[^\s@<>\"',;:()\[\]]+")
_MATRICULE = re.compile(r"(?<![0-9A-Za-z])[1-8]\d{4}(?:\d{2}|2[ABab])\d{6}(?:\d{2})?(?![0-9A-Za-z])")
_BEARER = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*|(?i:bearer)\s+[\w.~+/=-]+")
_MASK = "«masked»"


def redact(text: str) -> str:
    """Return the text with addresses, matricules and bearer tokens masked."""
    for pattern in (_ADDRESS, _BEARER, _MATRICULE):
        text = pattern.sub(_MASK, text)
    return text


def _redacted(value: object) -> object:
    if isinstance(value, bool | int | float) or value is None:
        return value
    if isinstance(value, dict):
        return {str(key): _redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(item) for item in value]
    return redact(value if isinstance(value, str) else repr(value))


def _redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key != "timestamp":
            event[key] = _redacted(value)
    return event


def configure(*, level: str = "INFO", json: bool | None = None) -> None:
    """Send log lines to standard error: JSON on a pipe, columns on a terminal."""
    as_json = not sys.stderr.isatty() if json is None else json
    last = structlog.processors.JSONRenderer(ensure_ascii=False) if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redact_event,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level.lower()),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    for noisy in ("mail.log", "mail.debug", "uvicorn.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)


def get_logger(room: str) -> structlog.typing.FilteringBoundLogger:
    """Return a logger whose lines carry the room's name."""
    return cast(structlog.typing.FilteringBoundLogger, structlog.get_logger(room=room))
