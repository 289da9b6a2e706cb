"""Where letters are read: the same reading on the loop and in another process."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mss.config import Limits
from mss.errors import Unavailable
from mss.smtp import readers
from mss.smtp.readers import Preparation, Readers

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LETTER = b"From: a@chu.example\r\nBcc: b@gip.example\r\nSubject: x\r\n\r\nHello\r\n"
TOP = (b"Return-Path: <>\r\n", b"Received: from a by b;\r\n\tThu, 1 Jan 2026 00:00:00 +0000\r\n")


@pytest.mark.parametrize(
    ("wanted", "letter", "expected"),
    [
        (Preparation(TOP), LETTER, b"".join(TOP) + LETTER),
        (Preparation(TOP), b"Return-Path: <evil>\r\n" + LETTER, b"".join(TOP) + LETTER),
        (Preparation(TOP), b"no header at all", b"".join(TOP) + b"no header at all"),
        (
            Preparation(TOP, "<1@x>", NOW),
            LETTER,
            b"".join(TOP)
            + b"Message-ID: <1@x>\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
            + LETTER.replace(b"Bcc: b@gip.example\r\n", b""),
        ),
        (
            Preparation(TOP, "<1@x>", NOW),
            b"Message-ID: <2@x>\r\nDate: Fri, 02 Jan 2026 00:00:00 +0000\r\nReturn-Path: <x>\r\n\r\n",
            b"".join(TOP) + b"Message-ID: <2@x>\r\nDate: Fri, 02 Jan 2026 00:00:00 +0000\r\n\r\n",
        ),
    ],
)
def test_octets_are_prepared_and_a_parcel_opens_to_the_same(
    wanted: Preparation, letter: bytes, expected: bytes, tmp_path: Path
) -> None:
    here = readers.read(letter, wanted, Limits(), documents=True)
    (tmp_path / "letter").write_bytes(letter)
    parcel = readers.read_aside(str(tmp_path / "letter"), wanted, Limits(), documents=True)
    assert here.octets == expected
    assert parcel.opened(letter) == here
    assert parcel.reading.octets == b""


async def test_small_letters_are_read_here() -> None:
    made = Readers(replace(Limits(), index_in_process_max_octets=len(LETTER)))
    assert (await made.read(LETTER, Preparation(TOP), documents=False)).subject == "x"
    assert made._pool is None


@pytest.mark.slow
async def test_a_process_that_stalls_is_ended_once_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Readers(replace(Limits(), index_in_process_max_octets=1))
    monkeypatch.setattr(made, "_patience_s", 0.0)
    with pytest.raises(Unavailable):
        await made.read(LETTER, Preparation(TOP), documents=False)
    assert made._pool is None
    monkeypatch.setattr(made, "_patience_s", 30)
    assert (await made.read(LETTER, Preparation(TOP), documents=False)).octets == b"".join(TOP) + LETTER
    made.close()
    made.close()
