"""Commands that bring letters in (RFC 3501 §6.3.11, 3502, 3516, 4469, 6855, 8508).

Like `commands`, which hands them on, they hold what was asked, judged by nobody yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mss.imap.options import SequenceSet


@dataclass(frozen=True, slots=True)
class Url:
    """What CATENATE takes from a letter that is here (RFC 4469)."""

    octets: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Letter:
    """A letter that comes with a command. `binary`: it came as literal8 and may hold NUL; `utf8`: as UTF8 data;
    `pieces`: of which it is to be put together, in the place of `octets`."""

    octets: bytes
    flags: tuple[str, ...] = ()
    internal_date: datetime | None = None
    binary: bool = False
    utf8: bool = False
    pieces: tuple[bytes | Url, ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Append:
    """APPEND of letters: all or none (RFC 3502)."""

    mailbox: str
    letters: tuple[Letter, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Replace:
    """REPLACE and UID REPLACE (RFC 8508)."""

    message: SequenceSet
    mailbox: str
    letter: Letter
    uid: bool = False
