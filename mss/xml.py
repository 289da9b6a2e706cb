"""Hostile XML in, read-only elements out; and XML written with every text escaped.

The one module that names lxml. It validates against no schema, resolves no entity and opens no other
resource. XML 1.0 (fifth edition), Namespaces in XML 1.0.

Rules:
1. A document type declaration is refused before anything is parsed, and looked for again afterwards.
2. Octets, elements, attributes and depth are bounded; the parser's own guards stay on top.
3. Accepted encodings all hold ASCII in single octets (UTF-16 with its mark is rewritten first), so that
   counting markup in the octets counts what the parser will build.
4. An error's text is a constant, with a line number at most.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from lxml import etree

from mss.errors import Malformed

# An element costs the parser some 300 octets: this bounds a tree to the order of 100 MB. The richest
# published CDA holds 16,000, a trust list of 8,700 domains would hold 130,000.
NODES_MAX: Final = 400_000
# libxml2 refuses a longer text unless told otherwise: an embedded PDF of 7.5 MB is one.
_TEXT_MAX: Final = 10_000_000

# The parser stops by itself at 256, or one or two more, where it builds no tree.
GUARDED_DEPTH: Final = 258
_GUARDS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "resolve_entities": False,
        "no_network": True,
        "load_dtd": False,
        "dtd_validation": False,
        "attribute_defaults": False,
        # A comment inside a text must not cut it in two.
        "remove_comments": True,
        "remove_pis": True,
        # Nothing is ever looked up by an identifier.
        "collect_ids": False,
    }
)

_ENCODINGS: Final = frozenset({"utf-8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-15", "windows-1252", "latin1"})
_DECLARED = re.compile(rb"""\sencoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_BEFORE_ROOT = re.compile(rb"(?:\s++|(?><\?.*?\?>)|(?><!--.*?-->))*+", re.DOTALL)
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
TreeError = etree.LxmlError
"""What lxml raises inside other libraries that build on it."""

_NAME = re.compile(r"[A-Za-z_][\w.-]*(?::[A-Za-z_][\w.-]*)?\Z", re.ASCII)
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True, repr=False)
class Element:
    """A read-only element.

    Paths are local names joined by "/", all in one namespace: the element's own, or the one given.
    """

    _node: etree._Element

    def __repr__(self) -> str:
        return f"Element({self.name})"

    @property
    def name(self) -> str:
        """The local name."""
        return str(self._node.tag).rpartition("}")[2]

    @property
    def namespace(self) -> str:
        """The namespace's URI, empty without."""
        return str(self._node.tag).rpartition("}")[0][1:]

    @property
    def content(self) -> str:
        """All text inside, as written."""
        return "".join(str(piece) for piece in self._node.itertext())

    @property
    def text(self) -> str:
        """All text inside, with runs of white space made one space."""
        return " ".join(self.content.split())

    def attribute(self, name: str, namespace: str = "") -> str:
        """Return an attribute's value without outer white space; empty without the attribute."""
        value = self._node.get(f"{{{namespace}}}{name}" if namespace else name)
        return str(value or "").strip()

    def children(self) -> Iterator[Element]:
        """Yield the child elements, in order."""
        for child in self._node.iterchildren(etree.Element):
            yield Element(child)

    def pieces(self) -> Iterator[Element | str]:
        """Yield what stands inside, in order: texts as written, and child elements."""
        if self._node.text:
            yield str(self._node.text)
        for child in self._node.iterchildren(etree.Element):
            yield Element(child)
            if child.tail:
                yield str(child.tail)

    def find_all(self, path: str, namespace: str | None = None) -> list[Element]:
        """Return all elements at the path below this one, in document order."""
        uri = self.namespace if namespace is None else namespace
        return [Element(node) for node in _at(self._node, uri, path.split("/"))]

    def find(self, path: str, namespace: str | None = None) -> Element | None:
        """Return the first element at the path, if any."""
        uri = self.namespace if namespace is None else namespace
        found = _at(self._node, uri, path.split("/"))
        return Element(found[0]) if found else None

    def text_at(self, path: str) -> str:
        """Return the text of the first element at the path; empty without."""
        found = self.find(path)
        return found.text if found else ""

    def attribute_at(self, path: str, name: str) -> str:
        """Return an attribute of the first element at the path; empty without."""
        found = self.find(path)
        return found.attribute(name) if found else ""

    def descendants(self, name: str, namespace: str) -> Iterator[Element]:
        """Yield this element and all below it that have the name, in document order."""
        for node in self._node.iter(f"{{{namespace}}}{name}"):
            yield Element(node)


def _at(node: etree._Element, uri: str, steps: list[str]) -> list[etree._Element]:
    """Return the elements at the steps below a node, in document order."""
    found = [node]
    for step in steps:
        name = f"{{{uri}}}{step}" if uri else step
        found = [child for one in found for child in one.iterchildren(name)]
    return found


def parse(octets: bytes, *, max_octets: int, depth_max: int) -> Element:
    """Return the root element; Malformed with a safe text when the octets are not XML that we accept."""
    readable, encoding = _accepted(octets, max_octets)
    root = _parse(readable, encoding)
    # The parser's own guard costs nothing; where it does not reach, the tree is walked.
    if (depth_max < GUARDED_DEPTH or len(readable) > _TEXT_MAX) and _deeper_than(root, depth_max):
        raise Malformed("XML nested deeper than the limit")
    return Element(root)


def parse_without(octets: bytes, name: str, *, max_octets: int, depth_max: int) -> Element | None:
    """Return the root without its one child of a name, of which no tree is built: it is only checked.

    None, and `parse` must be asked, where the cut cannot be proven: from the first tag of that name, which begins a
    child of the root, to the last one there must be one element, and the rest must be well-formed without it. Nothing
    else that the root has can then be missing.
    """
    readable, encoding = _accepted(octets, max_octets)
    if depth_max < GUARDED_DEPTH or len(readable) > _TEXT_MAX:
        return None
    try:
        start, inherited = _child_at(readable, encoding, name.encode())
        end = readable.index(b">", readable.rindex(name.encode())) + 1
        rest = _parse(readable[:start] + readable[end:], encoding)
        begin = start + len(name) + 1
        child = readable[start:begin] + inherited + readable[begin:end]
        etree.fromstring(child, _parser(encoding or rest.getroottree().docinfo.encoding, len(child), _Unheard()))
    except (etree.XMLSyntaxError, Malformed, ValueError):
        return None
    return Element(rest)


def _child_at(octets: bytes, encoding: str | None, name: bytes) -> tuple[int, bytes]:
    """Return where the first child of the root with a name begins, and the name spaces that it inherits, written as
    attributes; ValueError when the first such tag without prefix is none."""
    found = re.search(rb"<%b[\s>]" % re.escape(name), octets)
    if found is None:
        raise ValueError("no such element")
    parser = etree.XMLPullParser(events=("start",), encoding=encoding, **_GUARDS)
    parser.feed(octets[: octets.index(b">", found.start()) + 1])
    begun = [node for _, node in parser.read_events() if isinstance(node, etree._Element)]
    root = begun[0] if begun else None
    if root is None or begun[-1].getparent() is not root or etree.QName(begun[-1]).localname.encode() != name:
        raise ValueError("no child of the root")
    spaces = ((f"xmlns:{prefix}" if prefix else "xmlns", uri) for prefix, uri in root.nsmap.items())
    return found.start(), "".join(f' {key}="{escape(uri)}"' for key, uri in spaces).encode()


class _Unheard:
    """Who hears nothing of what is parsed: only whether it is well-formed comes out, and no tree is built."""

    def close(self) -> None:
        """End."""


def _accepted(octets: bytes, max_octets: int) -> tuple[bytes, str | None]:
    """Return octets that are worth parsing, and the encoding to impose; Malformed before anything is parsed."""
    if len(octets) > max_octets:
        raise Malformed("XML larger than the limit")
    readable, encoding = _ascii_based(octets)
    _refuse_declarations(readable)
    # So few octets cannot hold more.
    if len(readable) > NODES_MAX and (readable.count(b"<") > NODES_MAX or readable.count(b"=") > NODES_MAX):
        raise Malformed("XML with more elements or attributes than the limit")
    return readable, encoding


def _ascii_based(octets: bytes) -> tuple[bytes, str | None]:
    """Return octets in which markup is ASCII, and the encoding to impose when they were rewritten."""
    if octets.startswith(_UTF16_MARKS):
        try:
            return octets.decode("utf-16").encode(), "utf-8"
        except UnicodeError as error:
            raise Malformed("not well-formed XML at line 1") from error
    body = octets.removeprefix(codecs.BOM_UTF8)
    if not body.lstrip(b" \t\r\n").startswith(b"<") or b"\0" in body[:4]:
        raise Malformed("not well-formed XML at line 1")
    declaration = body[: body.find(b"?>") + 1] if body.startswith(b"<?xml") else b""
    declared = _DECLARED.search(declaration)
    if declared and declared.group(1).decode().lower() not in _ENCODINGS:
        raise Malformed("XML in an encoding that is not accepted")
    return body, None


def _refuse_declarations(octets: bytes) -> None:
    """Raise when a document type declaration comes before the root element, its only place."""
    match = _BEFORE_ROOT.match(octets)
    if match and octets.startswith(b"<!DOCTYPE", match.end()):
        raise Malformed("XML with a document type declaration")


def _parser(encoding: str | None, size_octets: int, target: Any = None) -> etree.XMLParser:
    # What is lifted for large octets is bounded by the rules above.
    return etree.XMLParser(encoding=encoding, huge_tree=size_octets > _TEXT_MAX, target=target, **_GUARDS)


def _parse(octets: bytes, encoding: str | None) -> etree._Element:
    try:
        root = etree.fromstring(octets, _parser(encoding, len(octets)))
    except etree.XMLSyntaxError as error:
        if (error.msg or "").startswith("Excessive depth"):
            raise Malformed("XML nested deeper than the limit") from None
        raise Malformed(f"not well-formed XML at line {error.lineno or 1}") from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise Malformed("XML with a document type declaration")
    return root


def _deeper_than(root: etree._Element, depth_max: int) -> bool:
    return bool(_below(depth_max)(root))


@lru_cache
def _below(depth_max: int) -> etree.XPath:
    """Return what finds an element deeper than this: level by level in the library, half as dear as walking here."""
    return etree.XPath(f"boolean({'/*' * (depth_max + 1)})")


@dataclass(frozen=True, slots=True)
class Tag:
    """An element to be written: qualified name, attributes in order, texts and elements inside."""

    name: str
    attributes: tuple[tuple[str, str], ...] = ()
    inside: tuple[Tag | str, ...] = ()


def tag(name: str, attributes: Mapping[str, str] | None = None, *inside: Tag | str) -> Tag:
    """Make an element to be written; ValueError when a name is none (names are ours, never a peer's)."""
    named = tuple((attributes or {}).items())
    for given in (name, *(key for key, _ in named)):
        if not _NAME.match(given):
            raise ValueError("not an XML name")
    return Tag(name, named, inside)


def serialise(root: Tag) -> bytes:
    """Return the document in UTF-8, with its XML declaration; texts are escaped, none can become markup."""
    return ('<?xml version="1.0" encoding="UTF-8"?>\n' + "".join(_written(root)) + "\n").encode()


def escape(text: str) -> str:
    """Return the text fit for an element or a quoted attribute; what XML cannot carry becomes U+FFFD."""
    text = _NOT_XML.sub("\ufffd", text)
    for character, reference in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("\r", "&#13;")):
        text = text.replace(character, reference)
    return text


def _written(item: Tag) -> Iterator[str]:
    yield f"<{item.name}"
    for key, value in item.attributes:
        yield f' {key}="{escape(value).replace(chr(10), "&#10;").replace(chr(9), "&#9;")}"'
    if not item.inside:
        yield "/>"
        return
    yield ">"
    for child in item.inside:
        if isinstance(child, str):
            yield escape(child)
        else:
            yield from _written(child)
    yield f"</{item.name}>"
