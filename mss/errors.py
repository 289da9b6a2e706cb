"""The four errors that the house knows, and incident numbers for all the others.

It does not map errors to protocol replies: each door has its own map.
"""

from __future__ import annotations

import secrets


class MssError(Exception):
    """An error with a meaning; its text is a constant or holds no personal datum."""


class Malformed(MssError):
    """The octets that somebody gave us do not follow their standard: permanent, theirs."""


class Conflict(MssError):
    """Two units of work met: retry the unit once."""


class Unavailable(MssError):
    """Something that we need is away for a while: temporary to the peer."""


class Misconfigured(MssError):
    """The operator's configuration cannot work: stops at start, the text says what to do."""


def incident_number() -> str:
    """Return a short random number that joins an outside answer to our log line."""
    return secrets.token_hex(4)
