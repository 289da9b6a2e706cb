"""Zip archives from strangers: every trick is refused with its own problem, before anything is inflated."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.config import KIB, Limits
from mss.dossier.archive import open_archive, pack, read_entry
from mss.errors import Malformed
from mss.model.filing import Problem

AT = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
Patch = Callable[..., bytes]


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # A name that stands twice is what some tests want.
        for name, octets in entries:
            archive.writestr(name, octets)
    return out.getvalue()


def everything(octets: bytes, limits: Limits) -> dict[str, bytes]:
    archive = open_archive(octets, limits)
    return {name: read_entry(archive, name) for name in archive.entries}


def problem(octets: bytes, limits: Limits) -> str:
    with pytest.raises(Malformed) as caught:
        everything(octets, limits)
    assert str(caught.value) in list(Problem)
    return str(caught.value)


def test_an_honest_archive_is_read(limits: Limits) -> None:
    archive = open_archive(zipped(("A.TXT", b"un"), ("DIR/", b""), ("DIR/B.XML", b"deux")), limits)
    assert sorted(archive.entries) == ["A.TXT", "DIR/B.XML"]
    assert read_entry(archive, "DIR/B.XML") == b"deux"


def test_stored_entries_and_data_before_the_archive_are_read(limits: Limits) -> None:
    octets = b"#!/bin/sh\n" + zipped(("A", b"un"), method=zipfile.ZIP_STORED)
    assert read_entry(open_archive(octets, limits), "A") == b"un"


def test_an_archive_written_as_a_stream_is_read(limits: Limits) -> None:
    class Stream(io.RawIOBase):
        def __init__(self) -> None:
            self.octets = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, octets: Any) -> int:
            self.octets += octets
            return len(octets)

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("A.XML", b"un" * 100)
    assert read_entry(open_archive(bytes(stream.octets), limits), "A.XML") == b"un" * 100


def test_windows_separators_are_understood(limits: Limits) -> None:
    octets = zipped(("IHE_XDM/SUB/M.XML", b"x")).replace(b"IHE_XDM/SUB/M.XML", b"IHE_XDM\\SUB\\M.XML")
    assert list(open_archive(octets, limits).entries) == ["IHE_XDM/SUB/M.XML"]


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a//b",
        "./a",
        "a/.",
        "C:/x",
        "C:x",
        "\\x",
        "..\\x",
        "a\nb",
        "a\x7f",
        "x" * 256,
    ],
)
def test_names_that_are_refused(name: str, limits: Limits) -> None:
    placeholder = "N" * len(name.encode())
    octets = zipped((placeholder, b"x")).replace(placeholder.encode(), name.encode())
    assert problem(octets, limits) == Problem.ARCHIVE_BAD_NAME


def test_a_name_with_a_nul_is_refused(limits: Limits) -> None:
    octets = zipped(("A.XMLx.EXE", b"x")).replace(b"A.XMLx.EXE", b"A.XML\0.EXE")
    assert problem(octets, limits) == Problem.ARCHIVE_BAD_NAME


def test_a_name_at_the_limit(limits: Limits) -> None:
    assert list(open_archive(zipped(("x" * 255, b"")), limits).entries) == ["x" * 255]


@pytest.mark.parametrize("names", [("A", "A"), ("a/B.xml", "A/b.XML"), ("A", "A/"), ("a/b", "a\\b")])
def test_names_that_stand_twice(names: tuple[str, str], limits: Limits) -> None:
    assert problem(zipped(*((name, b"") for name in names)), limits) == Problem.ARCHIVE_DUPLICATE_NAME


@pytest.mark.parametrize("count", [9, 10])
def test_entries_up_to_the_limit(count: int, limits: Limits) -> None:
    octets = zipped(*((f"{n}", b"") for n in range(count)))
    assert len(open_archive(octets, replace(limits, zip_entries_max=10)).entries) == count


@pytest.mark.parametrize("count", [11, 501, 2000])
def test_entries_above_the_limit(count: int, limits: Limits) -> None:
    octets = zipped(*((f"{n}", b"") for n in range(count)))
    assert problem(octets, replace(limits, zip_entries_max=10)) == Problem.ARCHIVE_TOO_MANY_ENTRIES


def test_a_long_directory_is_refused_before_it_is_read(limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZipFile", None)
    octets = b"PK\x01\x02" * (50 * limits.zip_entries_max + 1)
    assert problem(octets, limits) == Problem.ARCHIVE_TOO_MANY_ENTRIES


@pytest.mark.parametrize("depth", [2, 3])
def test_depth_up_to_the_limit(depth: int, limits: Limits) -> None:
    name = "/".join("abcdef"[:depth])
    assert list(open_archive(zipped((name, b"")), replace(limits, zip_depth_max=3)).entries) == [name]


def test_depth_above_the_limit(limits: Limits) -> None:
    assert problem(zipped(("a/b/c/d", b"")), replace(limits, zip_depth_max=3)) == Problem.ARCHIVE_TOO_DEEP


@pytest.mark.parametrize("total", [99, 100])
def test_size_up_to_the_limit(total: int, limits: Limits) -> None:
    octets = zipped(("a", b"x" * 50), ("b", b"x" * (total - 50)))
    assert len(open_archive(octets, replace(limits, zip_uncompressed_max_octets=100)).entries) == 2


def test_size_above_the_limit(limits: Limits) -> None:
    octets = zipped(("a", b"x" * 50), ("b", b"x" * 51))
    assert problem(octets, replace(limits, zip_uncompressed_max_octets=100)) == Problem.ARCHIVE_TOO_LARGE


def test_ratio_at_and_above_the_limit(limits: Limits) -> None:
    octets = zipped(("a", b"\0" * (200 * KIB)))
    info = zipfile.ZipFile(io.BytesIO(octets)).infolist()[0]
    ratio = -(-info.file_size // info.compress_size)
    assert open_archive(octets, replace(limits, zip_ratio_max=ratio)).entries
    assert problem(octets, replace(limits, zip_ratio_max=ratio - 1)) == Problem.ARCHIVE_RATIO


@pytest.mark.parametrize(("size", "free"), [(64 * KIB, True), (64 * KIB + 1, False)])
def test_small_entries_may_be_compressible(size: int, free: bool, limits: Limits) -> None:
    octets = zipped(("a", b"\0" * size))
    limits = replace(limits, zip_ratio_max=10)
    if free:
        assert read_entry(open_archive(octets, limits), "a") == b"\0" * size
    else:
        assert problem(octets, limits) == Problem.ARCHIVE_RATIO


def test_a_zip_bomb_is_refused_uninflated(limits: Limits) -> None:
    octets = zipped(("bomb", b"\0" * (30 * KIB * KIB)))
    assert len(octets) < 40 * KIB
    assert problem(octets, limits) == Problem.ARCHIVE_RATIO


@pytest.mark.parametrize("size", [10, 100, 60_000])
def test_a_bomb_that_lies_about_its_size_gives_no_more_than_it_says(size: int, limits: Limits, patched: Patch) -> None:
    octets = zipped(("bomb", b"\0" * (KIB * KIB)))
    only_directory = patched(octets, 24, "<L", size)
    assert problem(only_directory, limits) == Problem.ARCHIVE_LYING_HEADER
    both = patched(octets, 24, "<L", size, local_offset=22)
    assert problem(both, limits) == Problem.ARCHIVE_UNREADABLE  # The checksum is of other octets.


def test_an_entry_shorter_than_declared(limits: Limits, patched: Patch) -> None:
    octets = patched(zipped(("a", b"x" * 100)), 24, "<L", 200, local_offset=22)
    assert problem(octets, limits) == Problem.ARCHIVE_LYING_HEADER


def test_a_stored_entry_with_two_sizes(limits: Limits, patched: Patch) -> None:
    octets = patched(zipped(("a", b"x" * 100), method=zipfile.ZIP_STORED), 24, "<L", 200, local_offset=22)
    assert problem(octets, limits) == Problem.ARCHIVE_LYING_HEADER


@pytest.mark.parametrize("flag", [0x1, 0x40, 0x2000])
def test_encrypted_entries(flag: int, limits: Limits, patched: Patch) -> None:
    assert problem(patched(zipped(("a", b"x")), 8, "<H", flag), limits) == Problem.ARCHIVE_ENCRYPTED
    local_only = bytearray(zipped(("a", b"x")))
    struct.pack_into("<H", local_only, 6, flag)
    assert problem(bytes(local_only), limits) == Problem.ARCHIVE_LYING_HEADER


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods(method: int, limits: Limits) -> None:
    assert problem(zipped(("a", b"x" * 100), method=method), limits) == Problem.ARCHIVE_METHOD


def test_a_method_that_only_the_local_header_tells(limits: Limits, patched: Patch) -> None:
    octets = bytearray(zipped(("a", b"x" * 100)))
    struct.pack_into("<H", octets, 8, zipfile.ZIP_BZIP2)
    assert problem(bytes(octets), limits) == Problem.ARCHIVE_LYING_HEADER


def test_two_names_for_one_entry(limits: Limits) -> None:
    octets = zipped(("A.XML", b"x")).replace(b"A.XML", b"B.EXE", 1)
    assert problem(octets, limits) == Problem.ARCHIVE_LYING_HEADER


def test_entries_that_share_octets(limits: Limits) -> None:
    octets = zipped(("a", b"x"), ("b", b"x"))
    second = octets.rindex(b"PK\x01\x02")
    out = bytearray(octets)
    struct.pack_into("<L", out, second + 42, 0)
    assert problem(bytes(out), limits) == Problem.ARCHIVE_OVERLAP


def test_data_that_reach_into_the_directory(limits: Limits, patched: Patch) -> None:
    octets = zipped(("a", b"x" * 20), method=zipfile.ZIP_STORED)
    out = bytearray(patched(octets, 20, "<L", 40, local_offset=18))
    struct.pack_into("<L", out, octets.index(b"PK\x01\x02") + 24, 40)
    struct.pack_into("<L", out, 22, 40)
    assert problem(bytes(out), limits) == Problem.ARCHIVE_OVERLAP


@pytest.mark.parametrize("offset", [3, 2_000_000])
def test_an_entry_that_stands_nowhere(offset: int, limits: Limits, patched: Patch) -> None:
    assert problem(patched(zipped(("a", b"x")), 42, "<L", offset), limits) == Problem.ARCHIVE_UNREADABLE


def test_sizes_given_in_the_extra_field(limits: Limits) -> None:
    octets = bytearray(zipped(("a", b"x" * 100)))
    struct.pack_into("<2L", octets, 18, 0xFFFFFFFF, 0xFFFFFFFF)
    assert read_entry(open_archive(bytes(octets), limits), "a") == b"x" * 100


def test_a_wrong_checksum(limits: Limits, patched: Patch) -> None:
    assert problem(patched(zipped(("a", b"x" * 9)), 16, "<L", 1, local_offset=14), limits) == Problem.ARCHIVE_UNREADABLE


def test_every_truncation_is_refused(limits: Limits) -> None:
    octets = zipped(("A.XML", b"<a/>"), ("B.XML", b"<b/>"))
    for length in range(len(octets)):
        assert problem(octets[:length], limits) == Problem.ARCHIVE_UNREADABLE


@pytest.mark.parametrize("octets", [b"", b"PK", b"PK\x05\x06", b"hello", b"PK\x03\x04" + b"\0" * 100])
def test_what_is_no_archive(octets: bytes, limits: Limits) -> None:
    assert problem(octets, limits) == Problem.ARCHIVE_UNREADABLE


def test_a_name_that_is_no_utf8(limits: Limits, patched: Patch) -> None:
    octets = patched(zipped(("é.XML", b"x")).replace("é".encode(), b"\xff\xfe"), 8, "<H", 0x800)
    assert problem(octets, limits) == Problem.ARCHIVE_UNREADABLE


def test_packing_is_deterministic_and_reads_back(limits: Limits) -> None:
    entries = [("IHE_XDM/A.XML", b"un"), ("é.TXT", b"deux")]
    octets = pack(entries, AT)
    assert octets == pack(entries, AT)
    archive = open_archive(octets, limits)
    assert [(name, read_entry(archive, name)) for name in archive.entries] == entries
    assert pack(entries, datetime(1970, 1, 1, tzinfo=UTC))


@given(st.data())
def test_a_damaged_archive_is_refused_or_read(data: st.DataObject) -> None:
    octets = bytearray(HONEST)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(octets) - 1))
        octets[place] = data.draw(st.integers(0, 255))
    reason, read = str(Problem.ARCHIVE_UNREADABLE), {}
    try:
        read = everything(bytes(octets), Limits())
    except Malformed as error:
        reason = str(error)
    assert reason in list(Problem)
    assert all(len(value) <= 2000 for value in read.values())


HONEST = zipped(("A.XML", b"<a>" + b"x" * 500), ("DIR/B.PDF", b"%PDF-"), ("DIR/é", b"\0" * 1000))
