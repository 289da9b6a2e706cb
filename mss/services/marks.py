"""How the journal's records about one letter find one another: by a keyed digest of its Message-ID, never by the id."""

from __future__ import annotations

from typing import Final

from mss.store import Uow

_HEX_DIGITS: Final = 24


def message_mark(uow: Uow, message_id: str) -> str | None:
    """Return what stands for a Message-ID (with or without its angle brackets); None for a letter without one."""
    bare = message_id.strip().strip("<>")
    return uow.sealing.digest(b"message-id", bare.encode("utf-8", "replace")).hex()[:_HEX_DIGITS] if bare else None
