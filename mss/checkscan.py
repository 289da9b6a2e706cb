"""What `mss check` says of the antivirus: whether it answers, how old its signatures are, what it was told to look for.

Nothing harmful is sent: an encrypted archive of our own with nothing in it shows how clamd is configured.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from datetime import datetime

from mss.checkpeers import Finding
from mss.clamd import OFF, Clamd
from mss.config import Config
from mss.errors import Unavailable
from mss.model.screening import Verdict
from mss.screening import NOT_NAMED, clamd_of

_SUBJECT = "antivirus"


def antivirus(config: Config, now: datetime) -> Iterator[Finding]:
    """Ask the antivirus, where there is one."""
    clamd = clamd_of(config)
    if config.antivirus.clamd == OFF:
        remedy = 'in production install clamd and name it: [antivirus] clamd = "/run/clamav/clamd.ctl"'
        yield Finding(_SUBJECT, "warning", "it is off: letters and files are kept unexamined", remedy)
    elif clamd is None:
        yield Finding(_SUBJECT, "wrong", "none is named, and the server will not start", NOT_NAMED)
    else:
        yield from asyncio.run(_asked(clamd, config, now))


async def _asked(clamd: Clamd, config: Config, now: datetime) -> list[Finding]:
    try:
        made_at = await clamd.database_at()
        whole = await clamd.scan(bytes(config.limits.message_max_octets))
        encrypted = await clamd.scan(encrypted_archive())
    except Unavailable as error:
        remedy = "start clamd, see that it may be reached, and that its StreamMaxLength holds the largest letter"
        return [Finding(_SUBJECT, "wrong", str(error), remedy)]
    findings = [_age(made_at, config, now)]
    if whole.verdict is not Verdict.CLEAN:
        remedy = "in clamd.conf let MaxFileSize and MaxScanSize hold the largest letter"
        findings.append(Finding(_SUBJECT, "wrong", "it does not take the largest letter", remedy))
    if encrypted.verdict is not Verdict.ENCRYPTED:
        remedy = "in clamd.conf set AlertEncrypted yes"
        findings.append(Finding(_SUBJECT, "wrong", "it lets encrypted archives pass", remedy))
    return findings


def _age(made_at: datetime | None, config: Config, now: datetime) -> Finding:
    if made_at is None:
        return Finding(_SUBJECT, "warning", "it answers, without published signatures", "see that freshclam runs")
    days = (now - made_at).days
    if (now - made_at).total_seconds() > config.antivirus.database_max_age_s:
        return Finding(_SUBJECT, "wrong", f"its signatures are {days} days old", "see that freshclam runs")
    return Finding(_SUBJECT, "ok", f"it answers, with signatures of {made_at:%Y-%m-%d}")


def encrypted_archive() -> bytes:
    """Return a zip with one small entry that says that it is encrypted (APPNOTE.TXT 4.4.4, bit 0)."""
    name, content = b"a.txt", bytes(range(12, 44))
    fields = (20, 1, 0, 0, 33, 0x12345678, len(content), len(content) - 12, len(name), 0)
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", *fields) + name + content
    central = struct.pack("<4sH5H3L2H3H2L", b"PK\x01\x02", 20, *fields, 0, 0, 0, 0, 0) + name
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + end
