"""ENVELOPE, BODYSTRUCTURE and BODY as the octets that go out in IMAP (RFC 9051 §7.5.2), from a letter's index.

They are rendered once, at delivery, and stored so. Names and parameters stay as written (RFC 2047 and
RFC 2231 forms are the client's to decode); what does not fit in a quoted string goes as a literal.
"""

from __future__ import annotations

import re
from typing import Final, assert_never

from mss.config import Limits
from mss.mail import addresslist, parameters
from mss.mail.addresslist import Entry, Kind
from mss.mail.headers import unfold
from mss.mail.mime import is_multipart
from mss.mail.remembered import remembered
from mss.model.message import Message, Part

_DEFAULTS: Final = Limits()
NIL: Final = b"NIL"
_NEEDS_LITERAL = re.compile(rb"[\r\n\x80-\xff]")
_QUOTED_AS_IS = re.compile(rb"[^\r\n\x00\x80-\xff\"\\]*+\Z")
_ESCAPE = re.compile(rb'(["\\])')
_QUOTED_MAX_OCTETS: Final = 4096
# What is written where an address lacks a half: NIL there would mean a group (RFC 9051 §7.5.2).
_NO_LOCAL: Final = b'"MISSING_MAILBOX"'
_NO_DOMAIN: Final = b'"MISSING_DOMAIN"'
_US_ASCII: Final = b'"charset" "us-ascii"'
# A multipart must have a part in BODYSTRUCTURE even when none was found.
_EMPTY: Final = b'"text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0'
_LANGUAGE = re.compile(rb"[A-Za-z0-9-]{1,64}")


def string(octets: bytes) -> bytes:
    """Return an IMAP string: quoted where it may be, else a literal. NUL, which neither can carry, is dropped."""
    if len(octets) <= _QUOTED_MAX_OCTETS and _QUOTED_AS_IS.match(octets):
        return b'"%b"' % octets
    clean = octets.replace(b"\x00", b"")
    if len(clean) > _QUOTED_MAX_OCTETS or _NEEDS_LITERAL.search(clean):
        return b"{%d}\r\n%b" % (len(clean), clean)
    return b'"' + _ESCAPE.sub(rb"\\\1", clean) + b'"'


def nstring(octets: bytes | None) -> bytes:
    """Return an IMAP string, or NIL for None."""
    return NIL if octets is None else string(octets)


def envelope(message: Message, limits: Limits = _DEFAULTS) -> bytes:
    """Return `(date subject from sender reply-to to cc bcc in-reply-to message-id)`."""
    return _envelope(message, message.structure.root, limits)


def bodystructure(message: Message, limits: Limits = _DEFAULTS) -> bytes:
    """Return the extensible BODYSTRUCTURE."""
    return _Renderer(message, limits, extensible=True).part(message.structure.root)


def body(message: Message, limits: Limits = _DEFAULTS) -> bytes:
    """Return the non-extensible BODY."""
    return _Renderer(message, limits, extensible=False).part(message.structure.root)


def _values(message: Message, part: Part, name: str) -> list[bytes]:
    octets = message.octets
    return [octets[field.value_start : field.value_end] for field in part.fields if field.name == name]


def _firsts(message: Message, part: Part) -> dict[str, bytes]:
    """Return the first value of each field as it is written."""
    octets = message.octets
    return {field.name: octets[field.value_start : field.value_end] for field in reversed(part.fields)}


def _on_one_line(value: bytes | None) -> bytes:
    """Return a field's value as an IMAP string without its folds; NIL without."""
    return NIL if value is None else string(unfold(value).strip(b" \t\r\n"))


def _envelope(message: Message, letter: Part, limits: Limits) -> bytes:
    first = _firsts(message, letter)

    def one(name: str) -> bytes:
        return _on_one_line(first.get(name))

    def people(name: str) -> bytes | None:
        if name not in first:
            return None
        # Several fields of one name are read as one list (RFC 5322 §3.6 allows one only).
        return address_list(b", ".join(_values(message, letter, name)), limits.addresses_max)

    sender = people("from")
    lists = (
        sender,
        people("sender") or sender,
        people("reply-to") or sender,
        people("to"),
        people("cc"),
        people("bcc"),
    )
    items = [one("date"), one("subject"), *(item or NIL for item in lists), one("in-reply-to"), one("message-id")]
    return b"(" + b" ".join(items) + b")"


@remembered
def address_list(raw: bytes, addresses_max: int) -> bytes | None:
    """Return `((name adl mailbox host)…)`, None when the field holds no address."""
    entries = addresslist.parse(raw, addresses_max)
    return b"(" + b"".join(map(_address, entries)) + b")" if entries else None


def _address(entry: Entry) -> bytes:
    match entry.kind:
        case Kind.GROUP_START:
            return b"(NIL NIL " + string(entry.name or b"") + b" NIL)"
        case Kind.GROUP_END:
            return b"(NIL NIL NIL NIL)"
        case Kind.MAILBOX:
            local = string(entry.local) if entry.local is not None else _NO_LOCAL
            domain = string(entry.domain) if entry.domain is not None else _NO_DOMAIN
            return b"(" + b" ".join((nstring(entry.name or None), nstring(entry.route), local, domain)) + b")"
        case _ as never:
            assert_never(never)


class _Renderer:
    """One rendering of a letter's parts, in the extensible form or the other."""

    def __init__(self, message: Message, limits: Limits, *, extensible: bool) -> None:
        self.message = message
        self.limits = limits
        self.extensible = extensible

    def part(self, part: Part) -> bytes:
        if is_multipart(part):
            return b"(" + self._multipart(part) + b")"
        return b"(" + self._single(part) + b")"

    def _multipart(self, part: Part) -> bytes:
        children = b"".join(map(self.part, part.children)) or self._placeholder()
        basic = children + b" " + string(part.type_written[1].encode())
        if not self.extensible:
            return basic
        first = _firsts(self.message, part)
        return b" ".join((basic, self._content_parameters(part, first), *self._last_fields(part, first)))

    def _placeholder(self) -> bytes:
        return b"(" + _EMPTY + (b" NIL NIL NIL NIL)" if self.extensible else b")")

    def _single(self, part: Part) -> bytes:
        first = _firsts(self.message, part)
        items = [
            *(string(word.encode()) for word in part.type_written),
            self._content_parameters(part, first),
            _on_one_line(first.get("content-id")),
            _on_one_line(first.get("content-description")),
            string(part.encoding.encode()),
            b"%d" % len(part.body),
        ]
        if part.embedded is not None:
            items += [_envelope(self.message, part.embedded, self.limits), self.part(part.embedded)]
        if part.embedded is not None or part.content_type.startswith("text/"):
            items.append(b"%d" % part.lines)
        if self.extensible:
            items += [_on_one_line(first.get("content-md5")), *self._last_fields(part, first)]
        return b" ".join(items)

    def _content_parameters(self, part: Part, first: dict[str, bytes]) -> bytes:
        """Return the Content-Type's parameters; text without a charset is given its default."""
        pairs = self._pairs(first["content-type"]) if part.parameters else b""
        if part.content_type.startswith("text/") and part.parameter("charset") is None:
            pairs = pairs + b" " + _US_ASCII if pairs else _US_ASCII
        return b"(" + pairs + b")" if pairs else NIL

    def _pairs(self, value: bytes) -> bytes:
        return _pairs(value, self.limits.mime_parameters_max)

    def _last_fields(self, part: Part, first: dict[str, bytes]) -> tuple[bytes, bytes, bytes]:
        """Return disposition, language and location."""
        location = _on_one_line(first.get("content-location"))
        return self._disposition(part, first), _language(first.get("content-language")), location

    def _disposition(self, part: Part, first: dict[str, bytes]) -> bytes:
        if part.disposition is None:
            return NIL
        pairs = self._pairs(first["content-disposition"]) if part.disposition_parameters else b""
        return b"(" + string(part.disposition.encode()) + b" " + (b"(" + pairs + b")" if pairs else NIL) + b")"


def _language(value: bytes | None) -> bytes:
    tags = _LANGUAGE.findall(unfold(value))[:100] if value else ()
    return b"(" + b" ".join(map(string, tags)) + b")" if tags else NIL


@remembered
def _pairs(value: bytes, parameters_max: int) -> bytes:
    """Return the parameters of a field's value as IMAP writes them."""
    return b" ".join(map(_pair, parameters.read_raw(value, parameters_max)[0]))


def _pair(parameter: parameters.RawParameter) -> bytes:
    name = parameter.name + b"*" if parameter.extended else parameter.name
    return string(name) + b" " + string(parameter.value)
