"""Sealing of values under an owner's key, and keyed digests, for the other rooms of the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mss.store import crypto
from mss.store.keys import OPERATOR, KeyRing


class Sealing:
    """What rooms need of the key ring: seal and open texts and JSON values of an owner."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def seal(self, owner_id: int, plain: bytes, purpose: bytes) -> bytes:
        """Seal octets for an owner."""
        return crypto.seal(self._keys.key(owner_id), plain, purpose)

    def unseal(self, owner_id: int, sealed: bytes, purpose: bytes) -> bytes:
        """Open octets of an owner; Damaged when they do not open."""
        return crypto.unseal(self._keys.key(owner_id), sealed, purpose)

    def seal_text(self, owner_id: int, text: str, purpose: bytes) -> bytes:
        """Seal a text for an owner."""
        return self.seal(owner_id, text.encode("utf-8", "surrogatepass"), purpose)

    def unseal_text(self, owner_id: int, sealed: bytes, purpose: bytes) -> str:
        """Open a text of an owner."""
        return self.unseal(owner_id, sealed, purpose).decode("utf-8", "surrogatepass")

    def seal_json(self, owner_id: int, value: Any, purpose: bytes) -> bytes:
        """Seal a JSON value for an owner."""
        return self.seal(owner_id, json.dumps(value, separators=(",", ":")).encode(), purpose)

    def unseal_json(self, owner_id: int, sealed: bytes, purpose: bytes) -> Any:
        """Open a JSON value of an owner."""
        return json.loads(self.unseal(owner_id, sealed, purpose))

    def create_owner(self, owner_id: int, now: Any) -> None:
        """Make the key of a new owner, durable before anything is sealed under it."""
        self._keys.create(owner_id, now)

    def create_owners(self, owner_ids: Sequence[int], now: Any) -> list[bytes]:
        """Make the keys of many new owners, durable before anything is sealed under them, and return them."""
        return self._keys.create_many(owner_ids, now)

    def digest(self, *values: bytes) -> bytes:
        """Return the operator's keyed digest of values."""
        return crypto.keyed_digest(self._keys.digest_key, *values)


__all__ = ["OPERATOR", "Sealing"]
