"""What a page shows of a letter: text, whether it has a laid-out form, its files, the clinical documents in it.

It reads octets and opens nothing for anybody: the pages decide. Letters inside letters are named, never shown nor
given: their headers hold addresses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from mss.config import Limits
from mss.dossier import cda, filing
from mss.mail import content, mime
from mss.model.document import AttachedDocument, Submission
from mss.model.filing import Problem
from mss.model.message import Message, Part, Span
from mss.webmail import files
from mss.webmail.files import Kind
from mss.webmail.veil import Veil

TEXT_SHOWN_MAX: Final = 200_000
_PART_NUMBER = re.compile(r"\d{1,4}(?:\.\d{1,4}){0,50}\Z", re.ASCII)
# A letter that hides its type: header fields, and an address in one that names a sender or a recipient.
_LETTER_BEGINS = re.compile(
    rb"(?:>?From [^\n]*\n)?(?:[!-9;-~]+:[^\n]*\n(?:[ \t][^\n]*\n)*)*?"
    rb"(?:From|Return-Path|Sender|Reply-To|Delivered-To|To):[^\n]*@",
    re.IGNORECASE,
)
# What takes a line of its own in a laid-out letter.
_BLOCKS = re.compile(r"<(?:p|br|tr|li|h[1-6]|div|hr|img)\b", re.IGNORECASE)
_HEAD_OCTETS: Final = 2048
# Problems after which a clinical document of the letter is not there; the others are told with the document.
_LOST: Final = frozenset(problem.value for problem in Problem if problem.value.startswith("archive-")) | {
    Problem.METADATA_UNREADABLE.value,
    Problem.DOCUMENT_MISSING.value,
    Problem.DOCUMENT_TOO_LARGE.value,
    Problem.DOCUMENT_UNREADABLE.value,
}
_LETTER_NAMES: Final = (".eml", ".msg", ".mht", ".mhtml")


@dataclass(frozen=True, slots=True)
class FileView:
    """A file of a letter, as a list shows it; `kind` is what its name promises."""

    number: str
    name: str
    size_octets: int
    kind: Kind | None
    is_letter: bool
    is_archive: bool
    is_clinical: bool

    @property
    def fileable(self) -> bool:
        """Whether it is worth offering to file it; its octets are judged when it is filed."""
        return self.kind is not None and not self.is_letter


@dataclass(frozen=True, slots=True)
class LetterView:
    """A letter, as a page shows it. `has_layout`: there is HTML, shown in a frame; `text` is its plain form.

    `height` is one of four sizes for the frame, guessed from the length: without scripts no page can measure it.
    `lost`: a clinical document in it could not be read at all.
    """

    text: str
    has_layout: bool
    height: str
    files: tuple[FileView, ...]
    documents: tuple[AttachedDocument, ...]
    shortened: bool = False
    lost: bool = False


def look(octets: bytes, limits: Limits, veil: Veil) -> LetterView:
    """Return what to show of a letter; no letter makes it fail."""
    message = mime.index(octets, limits)
    plain, markup = content.text_of(message)
    parts = content.attachments(message)
    clinical = filing.read(message, limits) if any(map(_may_be_clinical, parts)) else Submission()
    return LetterView(
        text=veil(plain[:TEXT_SHOWN_MAX].strip("\r\n")),
        has_layout=markup is not None,
        height=_height(plain, markup),
        files=tuple(_file(message, part, veil) for part in parts if not _is_inline_picture(part, markup)),
        documents=clinical.documents,
        shortened=len(plain) > TEXT_SHOWN_MAX,
        lost=not _LOST.isdisjoint(clinical.problems),
    )


def _height(plain: str, markup: str | None) -> str:
    lines = len(plain) // 60 + (len(_BLOCKS.findall(markup)) if markup else 0)
    return "s" if lines < 5 else "m" if lines < 13 else "l" if lines < 26 else "xl"


def _file(message: Message, part: Part, veil: Veil) -> FileView:
    name = files.safe_name(veil(part.filename or ""), None)
    upper = name.upper()
    size = len(part.body) * 57 // 78 if part.encoding == "base64" else len(part.body)
    return FileView(
        number=part.number or "1",
        name=name,
        size_octets=size,
        kind=files.kind_named(name),
        is_letter=_is_letter(message, part),
        is_archive=upper.endswith(".ZIP"),
        is_clinical=upper.endswith(".XML") or part.content_type in ("text/xml", "application/xml"),
    )


def _is_letter(message: Message, part: Part) -> bool:
    """Say whether a part is a letter: by its type, its name, or how it begins."""
    name = (part.filename or "").strip().lower()
    written = part.type_written[0].lower()
    named = "message" in (written, part.content_type.partition("/")[0]) or name.endswith(_LETTER_NAMES)
    return named or bool(_LETTER_BEGINS.match(_head(message, part)))


def _head(message: Message, part: Part) -> bytes:
    """Return a part's first octets without its transfer encoding, as far as that is cheap."""
    span = Span(part.body.start, min(part.body.end, part.body.start + _HEAD_OCTETS))
    return content.decoded(message, replace(part, body=span))


def _may_be_clinical(part: Part) -> bool:
    name = (part.filename or "").lower()
    return name.endswith((".zip", ".xml")) or "xml" in part.content_type or "zip" in part.content_type


def _is_inline_picture(part: Part, markup: str | None) -> bool:
    """Say whether a part is a picture of the laid-out form: named there by its Content-ID."""
    return bool(markup and part.content_type.startswith("image/") and part.disposition != "attachment" and _cid(part))


def _cid(part: Part) -> bool:
    return any(field.name == "content-id" for field in part.fields)


def file_of(octets: bytes, number: str, limits: Limits, veil: Veil) -> tuple[FileView, bytes] | None:
    """Return one file of a letter and its octets; None when there is none such, or it is a letter itself."""
    if not _PART_NUMBER.match(number):
        return None
    message = mime.index(octets, limits)
    part = next((part for part in content.attachments(message) if (part.number or "1") == number), None)
    if part is None or _is_letter(message, part):
        return None
    return _file(message, part, veil), content.decoded(message, part)


def layout_of(octets: bytes, limits: Limits) -> tuple[str, dict[str, bytes]] | None:
    """Return a letter's HTML as written and its pictures by Content-ID; None when it has no HTML."""
    message = mime.index(octets, limits)
    _, markup = content.text_of(message)
    if markup is None:
        return None
    pictures = {}
    for part in content.attachments(message):
        if part.content_type.startswith("image/") and (name := _content_id(message, part)):
            pictures[name] = content.decoded(message, part)
    return markup, pictures


def _content_id(message: Message, part: Part) -> str:
    raw = next((message.slice(field.value) for field in part.fields if field.name == "content-id"), b"")
    return raw.decode("ascii", "ignore").strip().strip("<>")


def clinical_documents(octets: bytes, limits: Limits) -> tuple[AttachedDocument, ...]:
    """Return the clinical documents of a letter, in order."""
    return filing.read(mime.index(octets, limits), limits).documents


def is_clinical(octets: bytes) -> bool:
    """Say whether octets are worth reading as a CDA."""
    return cda.looks_like_cda(octets)
