"""The index of a letter: header fields and MIME parts with their offsets (RFC 5322, RFC 2045, RFC 2046).

Rules. Any octets are a letter: nothing here raises or refuses. Offsets are found by searching for line
ends and delimiters, never line by line, and every octet is looked at a bounded number of times. Where a
limit is met, the part there becomes opaque (`application/octet-stream`, no children) and the structure
says `truncated`. A header section ends at the first empty line and its span includes that line. The line
end before a delimiter belongs to the delimiter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from mss.config import KIB, MIB, Limits
from mss.mail import parameters
from mss.mail.content import attachments as attachments
from mss.mail.content import decoded as decoded
from mss.mail.content import is_multipart as is_multipart
from mss.mail.content import text_of as text_of
from mss.model.message import HeaderField, Message, Part, Span, Structure

_FIELD = re.compile(rb"^([!-9;-~]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)\n?", re.MULTILINE)
_TYPE = re.compile(rb"\s*+([^\s;/()<>@,\"\\\x00-\x1f\x7f-\xff]++)\s*+/\s*+([^\s;/()<>@,\"\\\x00-\x1f\x7f-\xff]++)")
_WORD = re.compile(rb"\s*+\"?([!#-'*-:<-~]++)")
_COMMENT = re.compile(rb"\([^()\\]*+\)")
_DELIMITER_REST: Final = rb"(--)?[ \t]*+(?:\r?\n|\Z)"
_AFTER_BOUNDARY = re.compile(_DELIMITER_REST)

# Lines that begin like a delimiter and are none, before a compiled pattern takes over from Python.
_FALSE_DELIMITERS_MAX: Final = 32
# Nested multiparts are searched once per level; together at most this many times the letter's size.
_SEARCH_FACTOR: Final = 12
_SEARCH_MIN_OCTETS: Final = 4 * MIB
# Python's own stack bounds what a configuration may ask for.
_DEPTH_MAX: Final = 100
_BOUNDARY_MAX_OCTETS: Final = 1 * KIB

_CR: Final = 13
_MIME_FIELDS: Final = frozenset({"content-type", "content-transfer-encoding", "content-disposition"})
_EMBEDDED: Final = frozenset({"message/rfc822", "message/global"})
_TEXT_PLAIN: Final = ("text", "plain")
_OPAQUE: Final = ("application", "octet-stream")


def index(octets: bytes, limits: Limits) -> Message:
    """Return the letter with its index; never raises."""
    indexer = _Indexer(octets, limits)
    root = indexer.part(_Place("", 0, len(octets)))
    return Message(octets, Structure(root, indexer.truncated, indexer.header_cut))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a part lies and how it is reached. `leaf_number` addresses what is inside a part without siblings."""

    number: str
    start: int
    end: int
    depth: int = 0
    default_type: tuple[str, str] = _TEXT_PLAIN
    is_letter: bool = True

    @property
    def leaf_number(self) -> str:
        """The specifier of this part when it is no multipart: a letter's only part is its part 1."""
        if not self.is_letter:
            return self.number
        return f"{self.number}.1" if self.number else "1"

    def child(self, position: int, start: int, end: int, default_type: tuple[str, str]) -> _Place:
        """Return the place of a multipart's part, counted from 1."""
        number = f"{self.number}.{position}" if self.number else str(position)
        return _Place(number, start, end, self.depth + 1, default_type, is_letter=False)

    def embedded(self, body: Span) -> _Place:
        """Return the place of the letter inside a message/rfc822 part."""
        return _Place(self.leaf_number, body.start, body.end, self.depth + 1)


class _Indexer:
    """The indexing of one letter: what is left of each limit."""

    def __init__(self, octets: bytes, limits: Limits) -> None:
        self.octets = octets
        self.limits = limits
        self.depth_max = min(limits.mime_depth_max, _DEPTH_MAX)
        self.parts_left = limits.mime_parts_max
        self.header_left = limits.header_max_octets
        self.search_left = max(_SEARCH_FACTOR * len(octets), _SEARCH_MIN_OCTETS)
        self.truncated = self.header_cut = False

    def part(self, place: _Place) -> Part:
        """Index one part and all that is inside it."""
        self.parts_left -= 1
        header_end = _header_end(self.octets, place.start, place.end)
        header, body = Span(place.start, header_end), Span(header_end, place.end)
        fields, mime = self._fields(header)
        part = self._described(place, header, body, fields, mime)
        if is_multipart(part):
            return self._with_children(part, place, mime)
        if part.content_type in _EMBEDDED:
            return self._with_embedded(part, place)
        return part

    def _fields(self, header: Span) -> tuple[tuple[HeaderField, ...], dict[str, bytes]]:
        """Index a header section; also return the first value of each field that MIME needs."""
        octets, end = self.octets, header.start + self.header_left
        self.header_left -= min(len(header), self.header_left)
        found: list[HeaderField] = []
        mime: dict[str, bytes] = {}
        fields_max = self.limits.header_fields_max
        for match in _FIELD.finditer(octets, header.start, header.end):
            whole, _, (start, stop) = match.regs
            if whole[1] > end or len(found) >= fields_max:
                self.truncated = True
                self.header_cut = self.header_cut or header.start == 0
                break
            name = match[1].decode("ascii").lower()
            if octets[stop - 1] == _CR:
                stop -= 1
            found.append(HeaderField(name, *whole, start, stop))
            if name in _MIME_FIELDS and name not in mime:
                mime[name] = octets[start:stop]
        return tuple(found), mime

    def _described(
        self, place: _Place, header: Span, body: Span, fields: tuple[HeaderField, ...], mime: dict[str, bytes]
    ) -> Part:
        """Make the part of its own header, still without children."""
        written, type_parameters = self._content_type(mime.get("content-type"), place.default_type)
        content_type = f"{written[0]}/{written[1]}".lower()
        disposition, disposition_parameters = self._disposition(mime.get("content-disposition"))
        return Part(
            number=place.number,
            header=header,
            body=body,
            fields=fields,
            content_type=content_type,
            type_written=written,
            parameters=type_parameters,
            encoding=_encoding(mime.get("content-transfer-encoding")),
            disposition=disposition,
            disposition_parameters=disposition_parameters,
            lines=self._lines(content_type, body),
        )

    def _content_type(
        self, value: bytes | None, default: tuple[str, str]
    ) -> tuple[tuple[str, str], tuple[tuple[str, str], ...]]:
        if value is None:
            return default, ()
        written = read_type(value)
        return (written, self._parameters(value)) if written else (_TEXT_PLAIN, ())

    def _disposition(self, value: bytes | None) -> tuple[str | None, tuple[tuple[str, str], ...]]:
        word = _WORD.match(value) if value is not None else None
        if word is None or value is None:
            return None, ()
        return word[1].decode("ascii", "replace").lower(), self._parameters(value)

    def _parameters(self, value: bytes) -> tuple[tuple[str, str], ...]:
        if b";" not in value:
            return ()
        pairs, cut = parameters.read(value, self.limits.mime_parameters_max)
        self.truncated |= cut
        return pairs

    def _lines(self, content_type: str, body: Span) -> int:
        if content_type.startswith("text/") or content_type in _EMBEDDED:
            return self.octets.count(b"\n", body.start, body.end)
        return 0

    def _with_embedded(self, part: Part, place: _Place) -> Part:
        if not self._may_open(part, place):
            return self._opaque(part)
        return replace(part, embedded=self.part(place.embedded(part.body)))

    def _with_children(self, part: Part, place: _Place, mime: dict[str, bytes]) -> Part:
        boundary = self._boundary(mime["content-type"])
        if boundary is None:
            return part
        if not self._may_open(part, place):
            return self._opaque(part)
        default = ("message", "rfc822") if part.content_type == "multipart/digest" else _TEXT_PLAIN
        children: list[Part] = []
        spans = _between_delimiters(self.octets, part.body, boundary)
        for start, end in spans:
            child = place.child(len(children) + 1, start, end, default)
            if self.parts_left <= 1 and next(spans, None) is not None:
                children.append(self._rest(child, part.body.end))
                break
            children.append(self.part(child))
        return replace(part, children=tuple(children))

    def _may_open(self, part: Part, place: _Place) -> bool:
        """Whether a container may be looked into; counts the octets that doing so will search."""
        self.search_left -= len(part.body)
        return place.depth < self.depth_max and self.parts_left > 0 and self.search_left >= 0

    def _opaque(self, part: Part) -> Part:
        self.truncated = True
        return replace(part, content_type="/".join(_OPAQUE), type_written=_OPAQUE, parameters=(), lines=0)

    def _rest(self, place: _Place, end: int) -> Part:
        """Take all that is left of a multipart as one opaque part without a header."""
        self.parts_left = 0
        self.truncated = True
        header, body = Span(place.start, place.start), Span(place.start, end)
        return Part(place.number, header, body, (), "/".join(_OPAQUE), _OPAQUE)

    def _boundary(self, content_type: bytes) -> bytes | None:
        raw = read_parameters(content_type, self.limits)
        boundary = (parameters.octets_of(raw, b"boundary") or b"").rstrip()
        return boundary if 0 < len(boundary) <= _BOUNDARY_MAX_OCTETS else None


def _header_end(octets: bytes, start: int, end: int) -> int:
    """Return where the first empty line ends, `end` without one."""
    if octets.startswith(b"\n", start, end):
        return start + 1
    if octets.startswith(b"\r\n", start, end):
        return start + 2
    crlf = octets.find(b"\n\r\n", start, end)
    lf = octets.find(b"\n\n", start, end if crlf < 0 else crlf + 1)
    if lf >= 0:
        return lf + 2
    return end if crlf < 0 else crlf + 3


def _between_delimiters(octets: bytes, body: Span, boundary: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each part of a multipart starts and ends; an unterminated last one reaches the end, if it has any."""
    begin: int | None = None
    for line_start, line_end, closing in _delimiters(octets, body, boundary):
        if begin is not None:
            before = line_start - 2 if octets[line_start - 2] == _CR else line_start - 1
            yield begin, max(begin, before)
        if closing:
            return
        begin = line_end
    if begin is not None and begin < body.end:
        yield begin, body.end


def _delimiters(octets: bytes, body: Span, boundary: bytes) -> Iterator[tuple[int, int, bool]]:
    """Yield the delimiter lines: where each starts and ends, and whether it closes the multipart."""
    needle = b"\n--" + boundary
    # The line end before the body is the header's; a delimiter may be the body's first line.
    at, false_ones = body.start - 1, 0
    while false_ones <= _FALSE_DELIMITERS_MAX:
        hit = octets.find(needle, at, body.end)
        if hit < 0:
            return
        rest = _AFTER_BOUNDARY.match(octets, hit + len(needle), body.end)
        if rest is None:
            false_ones, at = false_ones + 1, hit + 1
            continue
        yield hit + 1, rest.end(), rest[1] is not None
        at = rest.end() - 1
    pattern = re.compile(re.escape(needle) + _DELIMITER_REST)
    while (match := pattern.search(octets, at, body.end)) is not None:
        yield match.start() + 1, match.end(), match[1] is not None
        at = match.end() - 1


def every_field(message: Message) -> Iterator[tuple[str, Span]]:
    """Yield name (lower case) and span of every header field of the letter, also of those past the limits."""
    header = message.structure.root.header
    for match in _FIELD.finditer(message.octets, header.start, header.end):
        yield match[1].decode("ascii").lower(), Span(*match.span())


def header_is_whole(message: Message) -> bool:
    """Whether the index holds every header field of the letter: none is hidden behind a limit."""
    return not message.structure.header_cut


def read_parameters(value: bytes, limits: Limits) -> tuple[parameters.RawParameter, ...]:
    """Return the parameters of a Content-Type or Content-Disposition value, as written."""
    return parameters.read_raw(value, limits.mime_parameters_max)[0]


def read_type(value: bytes) -> tuple[str, str] | None:
    """Return media type and subtype of a Content-Type value as written; None when it has none."""
    head = value.partition(b";")[0]
    match = _TYPE.match(_COMMENT.sub(b" ", head) if b"(" in head else head)
    return (match[1].decode("ascii"), match[2].decode("ascii")) if match else None


def _encoding(value: bytes | None) -> str:
    word = _WORD.match(value) if value is not None else None
    return word[1].decode("ascii").lower() if word else "7bit"
