"""Structured logging: static event names, fields as keywords, identifiers instead of objects.

Addresses, matricules and tokens never leave: a last processor masks what looks like one, should a
caller forget. It is a net, not a licence: callers log identifiers only.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, cast

import structlog

# An address is found from its word, not from its @: a search for "anything, then @" takes quadratic time on long
# lines without one, and hostile peers send such lines. `%40` is the @ of a URL.
_WORD = re.compile(r"""[^\s<>"',;:()\[\]]+""")
_AT = re.compile("@|%40")
_QUOTED_LOCAL_PART = re.compile(r'"(?:[^"\\]|\\.){0,64}"(?=@|%40)')
_MATRICULE = re.compile(r"(?<![0-9A-Za-z])[1-8]\d{4}(?:\d{2}|2[ABab])\d{6}(?:\d{2})?(?![0-9A-Za-z])")
# Fifteen digits, the first from 1 to 8.
_MATRICULE_MIN, _MATRICULE_MAX = 10**14, 9 * 10**14 - 1
_BEARER = re.compile(r"(?i:bearer)\s+[\w.~+/=-]+")
_DOTTED = re.compile(r"[\w.-]+")
_MASK = "«masked»"
# Most values are identifiers, names of ours and host names: one word without @, %, or as many digits in a row as a
# matricule has anywhere.
_HARMLESS = re.compile(r"(?:[A-Za-z_.:/-]++|\d{1,4}+(?!\d))*+\Z", re.ASCII)


def redact(text: str) -> str:
    """Return the text with addresses, matricules and bearer tokens masked."""
    if _HARMLESS.match(text) and "eyJ" not in text:
        return text
    text = _QUOTED_LOCAL_PART.sub(_MASK, text)
    text = _WORD.sub(lambda word: _MASK if _AT.search(word.group()) else word.group(), text)
    text = _BEARER.sub(_MASK, text)
    text = _DOTTED.sub(lambda word: _MASK if _is_jwt(word.group()) else word.group(), text)
    return _MATRICULE.sub(_MASK, text)


def _is_jwt(word: str) -> bool:
    """Say whether a dotted word holds a JSON web token: base64url of `{"`, and two dots."""
    return "eyJ" in word and word.count(".") >= 2


def _redacted(value: object) -> object:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, int) and _MATRICULE_MIN <= value <= _MATRICULE_MAX:
        return _MASK
    if isinstance(value, int | float) or value is None:
        return value
    if isinstance(value, dict):
        return {redact(str(key)): _redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(item) for item in value]
    return redact(repr(value))


def _redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key != "timestamp":
            event[key] = _redacted(value)
    return event


# Made once: each line would make its own otherwise. After the masks only plain values are left.
_json = json.JSONEncoder(ensure_ascii=False).encode


class _Out(structlog.WriteLogger):
    """Writes lines; one that cannot be written (a full disk, a reader that went away) is lost, and nothing else.

    A line goes out with its end in one write: workers share standard error, and lines must not run into one another.
    """

    def msg(self, message: str) -> None:
        """Write one line."""
        with contextlib.suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def configure(*, level: str = "INFO", json: bool | None = None) -> None:
    """Send log lines to standard error: JSON on a pipe, columns on a terminal."""
    as_json = not sys.stderr.isatty() if json is None else json
    # Plain tracebacks: the pretty ones show local variables, and those hold what must not be shown.
    columns = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    last = _as_json if as_json else columns
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
        # Asked each time: whoever redirects standard error gets the lines.
        logger_factory=lambda *_: _Out(sys.stderr),
        cache_logger_on_first_use=False,
    )
    for noisy in ("mail.log", "mail.debug", "uvicorn.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)


def _as_json(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    return _json(event)


def get_logger(room: str) -> structlog.typing.FilteringBoundLogger:
    """Return a logger whose lines carry the room's name."""
    return cast(structlog.typing.FilteringBoundLogger, structlog.get_logger(room=room))
