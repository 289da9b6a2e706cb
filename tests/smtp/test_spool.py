"""Letters on their way in: in memory while there is some, then sealed on disk, never more than was set."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mss.config import Limits
from mss.smtp import spool as spools
from mss.smtp.chunking import ChunkReader
from mss.smtp.spool import Incoming, Spool
from mss.smtp.wire import LetterReader

LINE = b"Colchicine-Zanzibar " * 3 + b"\r\n"
BLOCK = LINE * 1000
SIZE = len(BLOCK)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path) -> Iterator[Spool]:
    made = Spool(Limits(), folder)
    yield made
    made.close()


def begun(spool: Spool, declared_octets: int | None = None) -> Incoming:
    return spool.begin(LetterReader(spool.size_max_octets), declared_octets)


def feed(letter: Incoming, block: bytes) -> bytes | None:
    assert isinstance(letter.reader, LetterReader)
    return letter.reader.feed(block)


async def sent(letter: Incoming, blocks: int, end: bytes = b".\r\n") -> None:
    """Feed a letter as a connection does."""
    for _ in range(blocks):
        fits = letter.fits(SIZE)
        assert feed(letter, BLOCK) is None
        if not fits:
            await letter.spill()
    assert feed(letter, end) == b""


def free(spool: Spool) -> tuple[int, int]:
    return spool.memory._free, spool.disk._free


@pytest.mark.parametrize("blocks", [1, spools.SPOOL_FROM_OCTETS // SIZE, spools.SPOOL_FROM_OCTETS // SIZE + 1, 100])
async def test_a_letter_comes_back_as_it_was(spool: Spool, blocks: int) -> None:
    before = free(spool)
    letter = begun(spool)
    await sent(letter, blocks)
    assert letter.on_disk == (blocks * SIZE > spools.SPOOL_FROM_OCTETS)
    assert await letter.octets() == BLOCK * blocks
    assert letter.reader.size_octets == SIZE * blocks
    letter.close()
    letter.close()
    assert free(spool) == before


async def test_what_lies_on_disk_has_no_name_and_cannot_be_read(spool: Spool, folder: Path) -> None:
    letter = begun(spool)
    await sent(letter, 100)
    assert list(folder.iterdir()) == []
    assert folder.stat().st_mode & 0o777 == 0o700
    assert letter._file is not None
    sealed = Path(f"/proc/self/fd/{letter._file.fileno()}").read_bytes()
    assert len(sealed) > 90 * SIZE
    assert b"Zanzibar" not in sealed
    letter.close()


async def test_the_letters_in_memory_stay_within_it(folder: Path) -> None:
    spool = Spool(replace(Limits(), smtp_memory_max_octets=4 * SIZE), folder)
    letters = [begun(spool) for _ in range(3)]
    for letter in letters:
        await sent(letter, 3)
        assert spool.memory._free >= 0
    assert [letter.on_disk for letter in letters] == [False, True, True]
    assert [await letter.octets() for letter in letters] == [BLOCK * 3] * 3
    for letter in letters:
        letter.close()
    spool.close()


@pytest.mark.parametrize(("room", "taken"), [(39, False), (40, True), (41, True)])
async def test_past_the_room_on_disk_a_letter_is_only_read_to_its_end(folder: Path, room: int, taken: bool) -> None:
    spool = Spool(replace(Limits(), smtp_spool_max_octets=room * SIZE), folder)
    letter = begun(spool, 40 * SIZE)
    await sent(letter, 40)
    assert letter.reader.discarded is not taken
    assert letter.reader.size_octets == 40 * SIZE
    letter.close()
    assert spool.disk._free == room * SIZE
    spool.close()


async def test_room_is_kept_for_the_letter_that_came_first(folder: Path) -> None:
    spool = Spool(replace(Limits(), smtp_spool_max_octets=70 * SIZE), folder)
    first, second = begun(spool, 50 * SIZE), begun(spool, 50 * SIZE)
    for _ in range(50):
        for letter in (first, second):
            fits = letter.fits(SIZE)
            feed(letter, BLOCK)
            if not fits:
                await letter.spill()
    assert (first.reader.discarded, second.reader.discarded) == (False, True)
    first.close()
    second.close()
    spool.close()


async def test_a_sender_that_declared_less_takes_room_as_it_goes(folder: Path) -> None:
    spool = Spool(replace(Limits(), smtp_spool_max_octets=30 * SIZE), folder)
    letter = begun(spool, 1)
    await sent(letter, 25)
    assert await letter.octets() == BLOCK * 25
    letter.close()
    too_much = begun(spool, 1)
    await sent(too_much, 60)
    assert too_much.reader.discarded
    too_much.close()
    assert spool.disk._free == 30 * SIZE
    spool.close()


async def test_a_full_disk_costs_the_letter_and_nothing_else(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = free(spool)
    monkeypatch.setattr(spool, "new_file", refuse)
    letter = begun(spool)
    await sent(letter, 100)
    assert letter.reader.discarded
    letter.close()
    assert free(spool) == before
    assert f'"errno": {errno.ENOSPC}' in capsys.readouterr().err


async def test_a_letter_that_is_cut_short_while_it_is_written_leaves_nothing(spool: Spool) -> None:
    before = free(spool)
    letter = begun(spool)
    await sent(letter, 30, end=b"x\r\n.\r\n")
    letter.close()
    letter._write(b"late")
    assert letter._file is not None
    assert letter._file.closed
    assert free(spool) == before


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"x", b""])
async def test_a_letter_in_chunks_comes_back_with_its_last_line_ended(spool: Spool, end: bytes) -> None:
    reader = ChunkReader(spool.size_max_octets)
    letter = spool.begin(reader)
    whole = BLOCK * 40 + b"y" * 100 + end
    for at in range(0, len(whole), SIZE):
        piece = whole[at : at + SIZE]
        fits = letter.fits(len(piece))
        reader.begin(len(piece))
        assert reader.feed(piece) == b""
        if not fits:
            await letter.spill()
    await letter.spill()
    assert letter.on_disk
    assert await letter.octets() == (whole if end == b"\r\n" else whole + b"\r\n")
    letter.close()
