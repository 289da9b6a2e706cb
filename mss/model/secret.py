"""A value that cannot be printed."""

from __future__ import annotations

from dataclasses import dataclass
from hmac import compare_digest


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """Octets that never appear in a repr, a log or an error; compared in constant time."""

    octets: bytes

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and compare_digest(self.octets, other.octets)

    def __hash__(self) -> int:
        return hash(self.octets)

    @classmethod
    def of(cls, text: str) -> Secret:
        """Wrap a text, as UTF-8."""
        return cls(text.encode())

    def text(self) -> str:
        """Return the secret as text (UTF-8)."""
        return self.octets.decode()
