"""What a patient may file by hand is told by its octets, at and around every limit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import Limits
from mss.dossier import deposit
from mss.dossier.deposit import Unfileable, fileable_by_patient, sniff
from mss.dossier.make import make_pdf
from mss.model.document import DocumentFormat

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + b"x" * 50
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 50
TIFF = b"II*\0" + b"\0" * 50
RTF = b"{\\rtf1 bonjour}"


@pytest.mark.parametrize(
    ("octets", "kind", "mime_type"),
    [
        (JPEG, DocumentFormat.IMAGE, "image/jpeg"),
        (b"\xff\xd8\xff\xe1\x00\x10Exif\0\0" + b"x" * 50, DocumentFormat.IMAGE, "image/jpeg"),
        (b"\xff\xd8\xff\xdb\x00\x43" + b"x" * 50, DocumentFormat.IMAGE, "image/jpeg"),
        (PNG, DocumentFormat.IMAGE, "image/png"),
        (TIFF, DocumentFormat.IMAGE, "image/tiff"),
        (b"MM\0*" + b"\0" * 50, DocumentFormat.IMAGE, "image/tiff"),
        (make_pdf(["a"]), DocumentFormat.PDF, "application/pdf"),
        (b"%PDF-1.7\n%%EOF", DocumentFormat.PDF, "application/pdf"),
        (RTF, DocumentFormat.TEXT, "application/rtf"),
    ],
)
@pytest.mark.parametrize("name", ["", "photo.jpg", "virus.exe", "x.txt"])
def test_the_octets_tell_the_type_whatever_the_name(
    octets: bytes, kind: DocumentFormat, mime_type: str, name: str, limits: Limits
) -> None:
    assert fileable_by_patient(octets, name, limits) == (kind, mime_type)


@pytest.mark.parametrize(
    "octets",
    [b"Bonjour", "é à ç".encode(), "é à ç".encode("cp1252"), b"\xef\xbb\xbfa\r\n\tb", b"a<b", b"PK ou BM", b"GIF89a"],
)
@pytest.mark.parametrize("name", ["", "note", "note.txt", "NOTE.TXT", "ma.note.txt"])
def test_plain_text(octets: bytes, name: str, limits: Limits) -> None:
    assert fileable_by_patient(octets, name, limits) == (DocumentFormat.TEXT, "text/plain")


@pytest.mark.parametrize("name", ["page.html", "script.js", "table.csv", "a.txt.exe", "facture.pdf"])
def test_text_that_calls_itself_something_else(name: str, limits: Limits) -> None:
    assert fileable_by_patient(b"Bonjour", name, limits) is Unfileable.TYPE


@pytest.mark.parametrize(
    "octets",
    [
        b"GIF89a\0\0",
        b"PK\x03\x04" + b"\0" * 50,
        b"MZ\x90\0",
        b"\x7fELF",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 50,
        b"<html><script>alert(1)</script>",
        b" \r\n<!DOCTYPE html>",
        b"\xef\xbb\xbf<?xml version='1.0'?><svg/>",
        b"<svg onload='x'/>",
        b"\x81 not Windows, not UTF-8",
        b"a\0b",
        b"\x1b[31m",
        b"\0" + make_pdf([]),
        b"\0\0\0\x18ftypheic",
        b"\x01" + JPEG,
    ],
)
def test_other_types(octets: bytes, limits: Limits) -> None:
    assert fileable_by_patient(octets, "photo.jpg", limits) is Unfileable.TYPE
    assert fileable_by_patient(octets, "a.txt", limits) is Unfileable.TYPE


@pytest.mark.parametrize(("length", "expected"), [(99, True), (100, True), (101, False)])
def test_size_around_the_limit(length: int, expected: bool, limits: Limits) -> None:
    result = fileable_by_patient(b"a" * length, "a.txt", replace(limits, filing_max_octets=100))
    assert result == ((DocumentFormat.TEXT, "text/plain") if expected else Unfileable.TOO_LARGE)


def test_the_limit_is_five_million(limits: Limits) -> None:
    assert limits.filing_max_octets == 5_000_000


def test_empty(limits: Limits) -> None:
    assert fileable_by_patient(b"", "a.pdf", limits) is Unfileable.EMPTY
    assert sniff(b"") is not None


def test_a_library_that_names_a_type_wrongly_is_not_believed(monkeypatch: pytest.MonkeyPatch, limits: Limits) -> None:
    monkeypatch.setattr(deposit, "_magic", lambda head: ["application/pdf", "image/png"])
    assert sniff(b"\0 hello") is None
    assert sniff(PNG) == "image/png"


@given(st.binary(max_size=200))
def test_only_types_of_the_list_come_out(octets: bytes) -> None:
    assert sniff(octets) in {
        None,
        "text/plain",
        "application/pdf",
        "image/jpeg",
        "image/png",
        "image/tiff",
        "application/rtf",
    }
