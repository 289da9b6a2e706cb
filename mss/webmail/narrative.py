"""A CDA document as a page: the narrative of its sections, rebuilt from the elements that the standard has.

HL7 CDA R2 §4.3.5 (narrative block). Its style sheet is never run, its coded entries are not read. What is built here
holds no attribute that the document chose, but table spans.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from html import escape
from typing import Final

from mss.config import Limits
from mss.errors import Malformed
from mss.xml import Element, parse

_HL7: Final = "urn:hl7-org:v3"
_DEPTH_MAX: Final = 60
_SPAN_MAX: Final = 1000
_PICTURES: Final = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff", "image/gif": b"GIF8"}
PICTURES_MAX_OCTETS: Final = 8 * 1024 * 1024

_SAME: Final = frozenset({"table", "thead", "tbody", "tfoot", "tr", "th", "td", "caption", "sub", "sup", "br"})
_AS: Final = {"paragraph": "p", "item": "li", "footnote": "small", "linkHtml": "span", "caption": "p"}
_STYLES: Final = {"bold": "strong", "italics": "em", "underline": "u", "emphasis": "em"}
_VOID: Final = frozenset({"br"})


def sections_html(octets: bytes, limits: Limits) -> str:
    """Return the narrative of a document as HTML that needs no further cleaning; Malformed when it is no CDA.

    A document whose body is a file gives an empty text.
    """
    root = parse(octets, max_octets=limits.cda_max_octets, depth_max=limits.xml_depth_max)
    document = next(root.descendants("ClinicalDocument", _HL7), None)
    if document is None:
        raise Malformed("not a CDA: there is no ClinicalDocument")
    pictures = _pictures(document)
    body = document.find("component/structuredBody")
    return "".join(_sections(body, 2, pictures)) if body is not None else ""


def _sections(parent: Element, level: int, pictures: dict[str, str]) -> Iterator[str]:
    if level > _DEPTH_MAX:
        return
    for section in parent.find_all("component/section"):
        heading = f"h{min(level, 6)}"
        title, text = section.text_at("title"), section.find("text")
        yield "<section>"
        if title:
            yield f"<{heading}>{escape(title)}</{heading}>"
        if text is not None:
            yield from _inside(text, pictures, 0)
        yield from _sections(section, level + 1, pictures)
        yield "</section>"


def _inside(element: Element, pictures: dict[str, str], depth: int) -> Iterator[str]:
    if depth > _DEPTH_MAX:
        yield escape(element.text)
        return
    for piece in element.pieces():
        if isinstance(piece, str):
            yield escape(piece)
        else:
            yield from _element(piece, pictures, depth + 1)


def _element(element: Element, pictures: dict[str, str], depth: int) -> Iterator[str]:
    match element.name:
        case "renderMultiMedia":
            yield from _picture(element, pictures)
            return
        case "col" | "colgroup":
            return
        case "list":
            tag = "ol" if element.attribute("listType").lower() == "ordered" else "ul"
        case "content":
            tag = _style(element)
        case "caption" if depth > 1:
            tag = "caption"
        case name:
            tag = name if name in _SAME else _AS.get(name, "span")
    yield f"<{tag}{_spans(element) if tag in ('td', 'th') else ''}>"
    if tag not in _VOID:
        yield from _inside(element, pictures, depth)
        yield f"</{tag}>"


def _style(content: Element) -> str:
    codes = content.attribute("styleCode").lower().split()
    return next((_STYLES[code] for code in codes if code in _STYLES), "span")


def _spans(cell: Element) -> str:
    spans = ((name, cell.attribute(name)) for name in ("colspan", "rowspan"))
    return "".join(
        f' {name}="{int(value)}"'
        for name, value in spans
        if value.isascii() and value.isdecimal() and len(value) < 5 and 1 <= int(value) <= _SPAN_MAX
    )


def _picture(element: Element, pictures: dict[str, str]) -> Iterator[str]:
    caption = element.text_at("caption")
    for reference in element.attribute("referencedObject").split():
        if reference in pictures:
            yield f'<img src="{pictures[reference]}" alt="{escape(caption)}">'
    if caption:
        yield f"<p>{escape(caption)}</p>"


def _pictures(document: Element) -> dict[str, str]:
    """Return ID → data address of the pictures that the narrative may show, within a limit."""
    found: dict[str, str] = {}
    room = PICTURES_MAX_OCTETS
    for media in document.descendants("observationMedia", _HL7):
        value = media.find("value")
        if value is None or value.attribute("representation").upper() != "B64":
            continue
        octets = _decoded(value.content, room)
        kind = next((kind for kind, sign in _PICTURES.items() if octets.startswith(sign)), None)
        if kind is not None:
            room -= len(octets)
            found[media.attribute("ID")] = f"data:{kind};base64,{base64.b64encode(octets).decode()}"
    return found


def _decoded(text: str, room: int) -> bytes:
    """Return base64 decoded; empty when it is none or too large."""
    if len(text) * 3 // 4 > room:
        return b""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""
