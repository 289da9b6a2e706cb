"""The effective settings as lines, defaults too, without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from mss.config import Config


def effective(config: Config) -> Iterator[tuple[str, str]]:
    """Yield each setting and its value, defaults too; a password inside a URL is masked."""
    for one in fields(config):
        value = getattr(config, one.name)
        if one.name == "domains":
            yield from ((f"domains.{domain.name}", domain.kind) for domain in value)
        elif is_dataclass(value):
            yield from ((f"{one.name}.{part.name}", _shown(getattr(value, part.name))) for part in fields(value))


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} → {item}" for key, item in value.items()) or "none"
    return "none" if value is None or value == "" else _without_password(str(value))


def _without_password(text: str) -> str:
    masked = re.sub(r"(://[^:/@]*):[^@]*@", r"\1:…@", text)
    return re.sub(r"(password=)[^&]*", r"\1…", masked, flags=re.IGNORECASE) if "://" in text else text
