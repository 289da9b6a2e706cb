"""A letter's octets, indexed once: header fields and MIME parts with their offsets.

Offsets count octets from the start of the letter; `end` is exclusive. The rules are RFC 5322 and
RFC 2045–2047, read tolerantly: no letter is refused for its form. `mail.mime` makes the index.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Span:
    """Octets [start, end) of a letter."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


class HeaderField(NamedTuple):
    """One header field: name in lower case, where the whole field lies with its line end, and its value.

    A tuple, and four numbers rather than two spans: a letter has dozens of fields, and few are ever asked for.
    """

    name: str
    start: int
    end: int
    value_start: int
    value_end: int

    @property
    def field(self) -> Span:
        """The whole field."""
        return Span(self.start, self.end)

    @property
    def value(self) -> Span:
        """Its value."""
        return Span(self.value_start, self.value_end)


@dataclass(frozen=True, slots=True)
class Part:
    """One MIME part. `number` is IMAP's part specifier ("" for the whole letter, "1.2" below).

    `content_type` is lower case ("text/plain"). Parameters are (lower-case name, decoded value), in
    order, RFC 2231 continuations joined. `lines` counts body lines of text and message/rfc822 parts.
    `children` are the parts of a multipart; `embedded` is the letter inside a message/rfc822.
    `type_written` is media type and subtype as written, for BODYSTRUCTURE.
    """

    number: str
    header: Span
    body: Span
    fields: tuple[HeaderField, ...]
    content_type: str
    type_written: tuple[str, str]
    parameters: tuple[tuple[str, str], ...] = ()
    encoding: str = "7bit"
    disposition: str | None = None
    disposition_parameters: tuple[tuple[str, str], ...] = ()
    lines: int = 0
    children: tuple[Part, ...] = ()
    embedded: Part | None = None

    def parameter(self, name: str) -> str | None:
        """Return a Content-Type parameter by its lower-case name."""
        return next((value for key, value in self.parameters if key == name), None)

    @property
    def filename(self) -> str | None:
        """The suggested file name: Content-Disposition's, else Content-Type's name (RFC 2183)."""
        for key, value in self.disposition_parameters:
            if key == "filename":
                return value
        return self.parameter("name")

    def walk(self) -> Iterator[Part]:
        """Yield this part and all below it, depth first, not those inside embedded letters."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True, slots=True)
class Structure:
    """The whole index of a letter; `truncated` says that a limit stopped the indexing somewhere, `header_cut` that
    it was in the letter's own header: fields are missing in `root`."""

    root: Part
    truncated: bool = False
    header_cut: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """Immutable octets and their index."""

    octets: bytes
    structure: Structure
    # Made when it is first asked for: a reader asks for a score of names.
    _named: dict[str, list[HeaderField]] = field(default_factory=dict, init=False, compare=False)

    def __repr__(self) -> str:
        return f"Message({len(self.octets)} octets)"

    def slice(self, span: Span) -> bytes:
        """Return the octets of a span."""
        return self.octets[span.start : span.end]

    def header(self, name: str) -> bytes | None:
        """Return the raw value of the first header field of that name, still folded; None without."""
        for one in self._fields(name):
            return self.octets[one.value_start : one.value_end]
        return None

    def headers(self, name: str) -> list[bytes]:
        """Return the raw values of all top-level header fields of that name, in order."""
        return [self.octets[one.value_start : one.value_end] for one in self._fields(name)]

    def _fields(self, name: str) -> Sequence[HeaderField]:
        if not self._named:
            named: dict[str, list[HeaderField]] = {}
            for one in self.structure.root.fields:
                named.setdefault(one.name, []).append(one)
            self._named.update(named)  # At once: other threads may ask meanwhile.
        return self._named.get(name.lower(), ())
