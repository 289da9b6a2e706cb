"""What header fields say: texts, addresses, message identifiers and dates (RFC 5322, RFC 2047).

Reading is tolerant and never raises. Addresses are found, not judged: `model.address` does that. Writing
is `mail.fields`'s work; its two encoders are reachable from here too.
"""

from __future__ import annotations

import binascii
import re
from datetime import datetime, timedelta, timezone
from typing import Final

from mss.config import Limits
from mss.mail import addresslist, charsets
from mss.mail.fields import encode_parameter as encode_parameter
from mss.mail.fields import encode_text as encode_text
from mss.mail.remembered import remembered

MESSAGE_IDS_MAX: Final = 1000
_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_WORD = re.compile(rb"=\?([!-)+->@-~]{1,60}?)(?:\*[!->@-~]{0,40})?\?([bBqQ])\?([^?\r\n]*+)\?=")
_MESSAGE_ID = re.compile(rb"<[^<>\s\x00]{1,996}>")
_BARE_ID = re.compile(rb"[^<>\s\x00,;]{1,996}@[^<>\s\x00,;@]{1,996}\Z")
_Q_ESCAPE = re.compile(rb"=([0-9A-Fa-f]{2})")
# Controls that could break a line or a terminal, and those that reverse the direction of what follows.
_UNPRINTABLE = re.compile("[\x00-\x08\x0a-\x1f\x7f\x80-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")


def unfold(raw: bytes) -> bytes:
    """Return a field's value on one line: line ends before white space removed (RFC 5322 §2.2.3)."""
    return _FOLD.sub(b"", raw) if b"\n" in raw else raw


def printable(text: str) -> str:
    """Return the text with control and direction-override characters removed, line ends as spaces."""
    if text.isprintable():  # As nearly all are; a tab is not, and goes the long way.
        return text
    return _UNPRINTABLE.sub("", text.replace("\r\n", " ").replace("\n", " ").replace("\r", " "))


def decode_text(raw: bytes) -> str:
    """Return the readable text of an unstructured value: unfolded, encoded words decoded (RFC 2047)."""
    value = unfold(raw).strip(b" \t\r\n")
    if b"=?" not in value:
        return printable(charsets.decode(value))
    pieces: list[str] = []
    run: list[tuple[str, bytes]] = []
    end = 0
    for match in _WORD.finditer(value):
        between = value[end : match.start()]
        if between and (not run or between.strip(b" \t\r\n")):
            pieces += [_joined_words(run), charsets.decode(between)]
            run = []
        run.append(_word(match))
        end = match.end()
    pieces += [_joined_words(run), charsets.decode(value[end:])]
    return printable("".join(pieces))


def _word(match: re.Match[bytes]) -> tuple[str, bytes]:
    charset = match[1].decode("ascii").lower()
    text = match[3]
    if match[2] in b"qQ":
        octets = _Q_ESCAPE.sub(lambda m: bytes([int(m[1], 16)]), text.replace(b"_", b" "))
        return charset, octets
    return charset, _lenient_base64(text)


def _lenient_base64(text: bytes) -> bytes:
    clean = _NOT_BASE64.sub(b"", text)
    clean = clean[: len(clean) - (len(clean) % 4 == 1)]
    return binascii.a2b_base64(clean + b"=" * (-len(clean) % 4))


def _joined_words(run: list[tuple[str, bytes]]) -> str:
    """Decode adjacent words; those of one charset together, as senders split inside characters."""
    text, start = [], 0
    for i in range(1, len(run) + 1):
        if i == len(run) or run[i][0] != run[start][0]:
            text.append(charsets.decode(b"".join(octets for _, octets in run[start:i]), run[start][0]))
            start = i
    return "".join(text)


def addresses(raw: bytes, limits: Limits) -> list[tuple[str, str]]:
    """Return (display name, addr-spec) pairs in order, group members included; nothing is validated.

    What has no domain is returned too, so that a caller that checks every sender misses none.
    """
    return list(_addresses(raw, limits.addresses_max))


@remembered
def _addresses(raw: bytes, addresses_max: int) -> tuple[tuple[str, str], ...]:
    entries = addresslist.parse(raw, addresses_max)
    return tuple(
        (decode_text(entry.name or b""), _spec(entry)) for entry in entries if entry.kind is addresslist.Kind.MAILBOX
    )


_PLAIN_LOCAL = re.compile(r"[^\s\x00-\x1f\x7f\"(),:;<>@\[\\\]]+\Z")


def _spec(entry: addresslist.Entry) -> str:
    local = printable((entry.local or b"").decode("utf-8", "replace"))
    if entry.local is not None and not _PLAIN_LOCAL.match(local):
        local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return local if entry.domain is None else f"{local}@{printable(entry.domain.decode('utf-8', 'replace'))}"


def message_ids(raw: bytes) -> list[str]:
    """Return the message identifiers of a value in order, with their angle brackets; a bare one gets them."""
    value = unfold(raw)
    found = [match[0] for match, _ in zip(_MESSAGE_ID.finditer(value), range(MESSAGE_IDS_MAX), strict=False)]
    if not found and (bare := _BARE_ID.match(value.strip())):
        found = [b"<" + bare[0] + b">"]
    return [octets.decode("utf-8", "replace") for octets in found]


_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"), 1
    )
}
_ZONES: Final = {
    b"ut": 0, b"gmt": 0, b"utc": 0, b"z": 0, b"est": -300, b"edt": -240, b"cst": -360, b"cdt": -300,
    b"mst": -420, b"mdt": -360, b"pst": -480, b"pdt": -420, b"cet": 60, b"cest": 120,
}  # fmt: skip
_DATE_OCTETS_MAX: Final = 256
_COMMENT = re.compile(rb"\([^()]*+\)")
_DATE = re.compile(
    rb"\s*+(?:[a-z]{2,9}\.?\s*+,?\s*+)?(\d{1,2})[\s-]++([a-z]{3})[a-z]*+\.?[\s-]++(\d{2,4})[\s,]++"
    rb"(\d{1,2})\s*:\s*(\d{1,2})(?:\s*:\s*(\d{1,2})(?:\.\d+)?)?\s*+(?:([+-])(\d{2}):?(\d{2})|([a-z]{1,5}))?",
    re.IGNORECASE,
)


def date(raw: bytes) -> datetime | None:
    """Return the instant of a Date value, aware, in the zone that it names; None when it is none.

    Obsolete zones and two-digit years are read as RFC 5322 §4.3 says; a missing zone is UTC.
    """
    match = _DATE.match(_COMMENT.sub(b" ", unfold(raw[:_DATE_OCTETS_MAX])))
    month = _MONTHS.get(match[2].lower()) if match else None
    if match is None or month is None:
        return None
    # A leap second is read as the second before it: Python has none.
    second = min(int(match[6] or 0), 59) if int(match[6] or 0) <= 60 else 99
    try:
        zone = timezone(timedelta(minutes=_offset_minutes(match)))
        return datetime(_year(match[3]), month, int(match[1]), int(match[4]), int(match[5]), second, tzinfo=zone)
    except ValueError:
        return None


def _year(digits: bytes) -> int:
    year = int(digits)
    if len(digits) == 2:
        return year + (2000 if year < 50 else 1900)
    return year + 1900 if len(digits) == 3 else year


def _offset_minutes(match: re.Match[bytes]) -> int:
    if match[7] is None:
        return _ZONES.get((match[10] or b"").lower(), 0)
    minutes = int(match[8]) * 60 + int(match[9])
    return -minutes if match[7] == b"-" else minutes


_MONTH_NAMES: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY_NAMES: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def format_date(instant: datetime) -> str:
    """Return an aware instant as RFC 5322 §3.3 writes it."""
    offset = instant.utcoffset() or timedelta()
    sign, minutes = ("-" if offset < timedelta() else "+"), abs(offset) // timedelta(minutes=1)
    day, month = _DAY_NAMES[instant.weekday()], _MONTH_NAMES[instant.month - 1]
    zone = f"{sign}{minutes // 60:02}{minutes % 60:02}"
    clock = f"{instant.hour:02}:{instant.minute:02}:{instant.second:02}"
    return f"{day}, {instant.day:02} {month} {instant.year:04} {clock} {zone}"
