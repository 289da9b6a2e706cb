"""Hostile archives and documents: each is refused by its name, costs little, and files nothing."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime

import pytest

from mss.config import Limits
from mss.dossier import cda, filing, xdm
from mss.errors import Malformed
from mss.model.filing import Problem
from tests.dossier.conftest import MakeDocument, MakeLetter

SUBSET = "IHE_XDM/SUBSET01/"
ROOT = b'<ClinicalDocument xmlns="urn:hl7-org:v3">&a;</ClinicalDocument>'
LAUGHS = b'<!DOCTYPE a [<!ENTITY b "haha"><!ENTITY a "&b;&b;&b;&b;">]>' + ROOT
OUTSIDE = b'<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + ROOT


def zipped(*entries: tuple[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, octets in entries:
            archive.writestr(zipfile.ZipInfo(name), octets, zipfile.ZIP_DEFLATED)
    return made.getvalue()


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (zipped(*((f"{SUBSET}{n}.XML", b"") for n in range(10_000))), Problem.ARCHIVE_TOO_MANY_ENTRIES),
        (zipped((f"{SUBSET}BOMB.XML", bytes(20_000_000))), Problem.ARCHIVE_RATIO),
        (zipped(("../../etc/passwd", b"x")), Problem.ARCHIVE_BAD_NAME),
        (zipped(("/etc/passwd", b"x")), Problem.ARCHIVE_BAD_NAME),
        (zipped((f"{SUBSET}a\\..\\..\\b.XML", b"x")), Problem.ARCHIVE_BAD_NAME),
        (zipped((f"{SUBSET}A.XML", b"x"), (f"{SUBSET}a.xml", b"y")), Problem.ARCHIVE_DUPLICATE_NAME),
        (zipped(("a/" * 20 + "b.XML", b"x")), Problem.ARCHIVE_TOO_DEEP),
        (b"PK\x03\x04 and nothing more", Problem.ARCHIVE_UNREADABLE),
    ],
    ids=["10000-entries", "bomb", "escape", "absolute", "backslashes", "twice", "deep", "truncated"],
)
def test_hostile_archives_are_refused_by_name(
    octets: bytes, reason: Problem, make_letter: MakeLetter, limits: Limits
) -> None:
    with pytest.raises(Malformed) as caught:
        xdm.read(octets, limits)
    assert str(caught.value) == reason
    # A letter with it is read all the same, and nothing of it is filed.
    found = filing.read(make_letter(("IHE_XDM.ZIP", "application/zip", octets)), limits)
    assert (found.documents, found.problems) == ((), (reason,))


@pytest.mark.parametrize("octets", [LAUGHS, OUTSIDE], ids=["entities", "outside"])
def test_declarations_are_refused_wherever_they_stand(
    octets: bytes, make_document: MakeDocument, limits: Limits
) -> None:
    with pytest.raises(Malformed, match="document type declaration"):
        cda.read(octets, limits)
    in_metadata = xdm.read(zipped((f"{SUBSET}METADATA.XML", octets)), limits)
    assert in_metadata.problems == (Problem.METADATA_UNREADABLE, Problem.NO_DOCUMENT)
    assert in_metadata.documents == ()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b'name="hash"><rim:ValueList><rim:Value>', b'name="hash"><rim:ValueList><rim:Value>0', Problem.HASH_DIFFERS),
        (b'name="size"><rim:ValueList><rim:Value>', b'name="size"><rim:ValueList><rim:Value>9', Problem.SIZE_DIFFERS),
        (b"<rim:Value>DOC00001", b"<rim:Value>../../DOC00001", Problem.DOCUMENT_MISSING),
    ],
)
def test_metadata_that_do_not_fit_file_nothing(
    old: bytes, new: bytes, problem: Problem, make_document: MakeDocument, limits: Limits
) -> None:
    at = datetime(2026, 3, 14, tzinfo=UTC)
    good = xdm.build([make_document(twin=False)], unique_id="1.9", source_id="1.8", submitted_at=at)
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    changed = [
        (name, octets.replace(old, new) if name.endswith("METADATA.XML") else octets) for name, octets in entries
    ]
    assert changed != entries
    found = xdm.read(zipped(*changed), limits)
    assert problem in found.problems
