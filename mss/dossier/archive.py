"""A zip archive from a stranger, opened in memory with every bound checked before anything is inflated.

It extracts nothing to disk, opens no archive inside another, and knows nothing of XDM. APPNOTE.TXT (PKWARE) 4.3–4.5.

Rules:
1. What a header declares is refused when it is over a limit, and never exceeded when it lies.
2. Each entry's local header must say what the central directory says, and no two entries share an octet.
3. Names are relative, without dots segments or control characters, and unique whatever their letter case.
4. Stored and deflated entries only: other methods can ask for memory at will.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from mss.config import KIB, Limits
from mss.errors import Malformed
from mss.model.filing import Problem

# Below this an entry may be as compressible as it likes.
_RATIO_FREE_OCTETS: Final = 64 * KIB
_NAME_MAX: Final = 255
_CENTRAL_SIGNATURE: Final = b"PK\x01\x02"
_LOCAL_SIGNATURE: Final = b"PK\x03\x04"
_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED: Final = 0x1 | 0x40 | 0x2000
_HAS_DESCRIPTOR: Final = 0x8
_IS_UTF8: Final = 0x800
_ZIP64_SIZES: Final = (0xFFFFFFFF, 0xFFFFFFFF)
_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that passed all checks; `entries` maps names (parts joined by "/") to what the directory says."""

    opened: zipfile.ZipFile = field(repr=False)
    entries: Mapping[str, zipfile.ZipInfo]


def open_archive(octets: bytes, limits: Limits) -> Archive:
    """Return the archive's entries (not folders); Malformed with a Problem when it is damaged or hostile."""
    # The directory is read whole by zipfile: bound its length first. Archives inside may add signatures.
    if octets.count(_CENTRAL_SIGNATURE) > 50 * limits.zip_entries_max:
        raise Malformed(Problem.ARCHIVE_TOO_MANY_ENTRIES)
    try:
        # It stands in memory, and holds nothing that would have to be closed.
        opened = zipfile.ZipFile(io.BytesIO(octets))
        infos, directory_start = opened.infolist(), opened.start_dir
    except _UNREADABLE:
        raise Malformed(Problem.ARCHIVE_UNREADABLE) from None
    if len(infos) > limits.zip_entries_max:
        raise Malformed(Problem.ARCHIVE_TOO_MANY_ENTRIES)
    for info in infos:
        _check_entry(info, limits)
    if sum(info.file_size for info in infos) > limits.zip_uncompressed_max_octets:
        raise Malformed(Problem.ARCHIVE_TOO_LARGE)
    _check_places(octets, infos, directory_start)
    return Archive(opened, _named(infos, limits))


def read_entry(archive: Archive, name: str) -> bytes:
    """Return an entry's octets; Malformed when they are not as many as declared or their checksum is wrong."""
    info = archive.entries[name]
    try:
        with archive.opened.open(info) as entry:
            octets = entry.read(info.file_size + 1)
    except _UNREADABLE:
        raise Malformed(Problem.ARCHIVE_UNREADABLE) from None
    if len(octets) != info.file_size:
        raise Malformed(Problem.ARCHIVE_LYING_HEADER)
    return octets


def _check_entry(info: zipfile.ZipInfo, limits: Limits) -> None:
    if info.flag_bits & _ENCRYPTED:
        raise Malformed(Problem.ARCHIVE_ENCRYPTED)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Malformed(Problem.ARCHIVE_METHOD)
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        raise Malformed(Problem.ARCHIVE_LYING_HEADER)
    if info.file_size > max(_RATIO_FREE_OCTETS, limits.zip_ratio_max * info.compress_size):
        raise Malformed(Problem.ARCHIVE_RATIO)


def _check_places(octets: bytes, infos: Sequence[zipfile.ZipInfo], directory_start: int) -> None:
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise Malformed(Problem.ARCHIVE_OVERLAP)
        end = _end_of(octets, info)
    if end > directory_start:
        raise Malformed(Problem.ARCHIVE_OVERLAP)


def _end_of(octets: bytes, info: zipfile.ZipInfo) -> int:
    """Return where an entry's data end, after comparing its local header with the directory's."""
    start: int = info.header_offset + _LOCAL.size
    if info.header_offset < 0 or start > len(octets):
        raise Malformed(Problem.ARCHIVE_UNREADABLE)
    signature, _, flags, method, _, _, _, compressed, size, name_length, extra_length = _LOCAL.unpack_from(
        octets, info.header_offset
    )
    if signature != _LOCAL_SIGNATURE:
        raise Malformed(Problem.ARCHIVE_UNREADABLE)
    name = octets[start : start + name_length]
    elsewhere = flags & _HAS_DESCRIPTOR or (compressed, size) == _ZIP64_SIZES
    sizes_agree = elsewhere or (compressed, size) == (info.compress_size, info.file_size)
    if method != info.compress_type or flags & _ENCRYPTED or not sizes_agree or name != _raw_name(info):
        raise Malformed(Problem.ARCHIVE_LYING_HEADER)
    return start + int(name_length) + int(extra_length) + info.compress_size


def _raw_name(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & _IS_UTF8 else "cp437", "replace")


def _named(infos: Sequence[zipfile.ZipInfo], limits: Limits) -> dict[str, zipfile.ZipInfo]:
    entries: dict[str, zipfile.ZipInfo] = {}
    seen: set[str] = set()
    for info in infos:
        name = _safe_name(info.orig_filename, limits)
        if name.casefold() in seen:
            raise Malformed(Problem.ARCHIVE_DUPLICATE_NAME)
        seen.add(name.casefold())
        if not info.orig_filename.endswith(("/", "\\")):
            entries[name] = info
    return entries


def _safe_name(written: str, limits: Limits) -> str:
    """Return the name with "/" between its parts (some tools write "\\"), without a folder's last one."""
    name = written.replace("\\", "/").removesuffix("/")
    parts = name.split("/")
    if not name or len(name) > _NAME_MAX or not name.isprintable():
        raise Malformed(Problem.ARCHIVE_BAD_NAME)
    if any(part in ("", ".", "..") for part in parts) or ":" in parts[0]:
        raise Malformed(Problem.ARCHIVE_BAD_NAME)
    if len(parts) > limits.zip_depth_max:
        raise Malformed(Problem.ARCHIVE_TOO_DEEP)
    return name


def pack(entries: Sequence[tuple[str, bytes]], at: datetime) -> bytes:
    """Return an archive of the entries in order, all dated `at` (to two seconds): same input, same octets."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, octets in entries:
            info = zipfile.ZipInfo(name, (max(at.year, 1980), at.month, at.day, at.hour, at.minute, at.second))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0o644 << 16
            opened.writestr(info, octets)
    return packed.getvalue()
