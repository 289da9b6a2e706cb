"""The antivirus: what is found is refused, what cannot be seen into too, and silence defers.

A scripted clamd answers in the fast tests; a real one, with signatures of our own, in the others.
"""

from __future__ import annotations

import asyncio
import base64
import io
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mss.checkscan import antivirus, encrypted_archive
from mss.clamd import Clamd
from mss.config import AntivirusConfig, Config, DomainConfig, Limits, OperatorConfig
from mss.errors import Misconfigured, Unavailable
from mss.model.screening import Screening, Verdict
from mss.policy import rules
from mss.screening import Screen, clamd_of, require
from tests.support.clamav import EICAR, clamd

# Even a scripted one is met over a socket.
pytestmark = pytest.mark.journey

NOW = datetime(2026, 3, 14, tzinfo=UTC)


def config_of(place: str, **changes: object) -> Config:
    settings = replace(AntivirusConfig(clamd=place, timeout_s=30), **changes)  # type: ignore[arg-type]
    return Config(
        OperatorConfig("essai", "localhost"), (DomainConfig("chu.example", "professional"),), antivirus=settings
    )


@asynccontextmanager
async def scripted(answer: bytes, *, hangs: bool = False, read: bool = True) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Listen as a clamd that always says the same, once the stream has ended."""
    heard: list[bytes] = []
    begun: list[asyncio.Task[None]] = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.append(asyncio.get_running_loop().create_task(one(reader, writer)))

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        command = await reader.readuntil(b"\0")
        if command == b"zINSTREAM\0" and read:
            octets = b""
            while size := int.from_bytes(await reader.readexactly(4), "big"):
                octets += await reader.readexactly(size)
            heard.append(octets)
        if hangs:
            await reader.read()
        writer.write(answer)
        await writer.drain()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", heard
    finally:
        server.close()
        await asyncio.gather(*begun)
        await server.wait_closed()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"stream: OK\0", Screening(Verdict.CLEAN)),
        (b"stream: Win.Test.EICAR_HDB-1 FOUND\0", Screening(Verdict.INFECTED, "Win.Test.EICAR_HDB-1")),
        (b"stream: Heuristics.Encrypted.Zip FOUND\0", Screening(Verdict.ENCRYPTED, "Heuristics.Encrypted.Zip")),
        (
            b"stream: Heuristics.Limits.Exceeded.MaxRecursion FOUND\0",
            Screening(Verdict.UNEXAMINED, "Heuristics.Limits.Exceeded.MaxRecursion"),
        ),
    ],
)
async def test_each_answer_is_a_verdict(answer: bytes, expected: Screening) -> None:
    octets = b"letter" * 100_000
    async with scripted(answer) as (place, heard):
        assert await Clamd(config_of(place).antivirus).scan(octets) == expected
    assert heard == [octets]


@pytest.mark.parametrize("answer", [b"", b"INSTREAM size limit exceeded. ERROR\0", b"stream: OK and more\0", b"\xff"])
async def test_anything_else_is_no_verdict(answer: bytes) -> None:
    async with scripted(answer) as (place, _):
        with pytest.raises(Unavailable):
            await Clamd(config_of(place).antivirus).scan(b"letter")


async def test_it_may_hang_up_before_it_has_read_all() -> None:
    async with scripted(b"INSTREAM size limit exceeded. ERROR\0", read=False) as (place, _):
        with pytest.raises(Unavailable):
            await Clamd(config_of(place).antivirus).scan(bytes(8 * 1024 * 1024))


async def test_a_scan_has_an_end() -> None:
    async with scripted(b"stream: OK\0", hangs=True) as (place, _):
        settings = replace(config_of(place).antivirus, timeout_s=0.05)  # type: ignore[arg-type]
        with pytest.raises(Unavailable):
            await Clamd(settings).scan(b"letter")


@pytest.mark.parametrize("place", ["127.0.0.1:1", "127.0.0.1:none", "/nowhere/clamd.sock", "nonsense"])
async def test_nobody_there_defers_and_is_counted(place: str) -> None:
    counted: list[str] = []
    decision = await Screen(Clamd(config_of(place).antivirus), counted.append).judge(b"letter")
    assert (decision.rule, counted) == (rules.CONTENT_NOT_SCANNED, ["unreachable"])


async def test_off_is_an_explicit_word() -> None:
    assert clamd_of(config_of("off")) is None
    require(config_of("off"))
    with pytest.raises(Misconfigured, match="name the antivirus"):
        require(config_of(""))
    assert (await Screen().judge(EICAR)).rule is rules.CONTENT_NOT_LOOKED_AT


@pytest.mark.parametrize(
    ("answer", "made_at"),
    [
        (b"ClamAV 1.4.6/27833/Sat Nov 28 09:26:07 2026\0", datetime(2026, 11, 28, 9, 26, 7, tzinfo=UTC)),
        (b"ClamAV 1.4.6\0", None),
        (b"ClamAV 1.4.6/27833/yesterday\0", None),
    ],
)
async def test_it_says_how_old_its_signatures_are(answer: bytes, made_at: datetime | None) -> None:
    async with scripted(answer) as (place, _):
        assert await Clamd(config_of(place).antivirus).database_at() == made_at


def levels(config: Config) -> list[tuple[str, str]]:
    return [(finding.level, finding.text) for finding in antivirus(config, NOW)]


def test_the_check_tells_of_an_antivirus_that_is_not_there() -> None:
    assert levels(config_of("off")) == [("warning", "it is off: letters and files are kept unexamined")]
    assert levels(config_of("")) == [("wrong", "none is named, and the server will not start")]
    assert levels(config_of("/nowhere/clamd.sock")) == [("wrong", "the antivirus does not answer")]


# -- a real one ------------------------------------------------------------------------------------------------------


def packed(name: str, octets: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, octets)
    return made.getvalue()


def in_letter(octets: bytes) -> bytes:
    head = b"From: a@chu.example\r\nMIME-Version: 1.0\r\nContent-Type: application/zip; name=IHE_XDM.ZIP\r\n"
    return head + b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(octets).replace(b"\n", b"\r\n")


def nested(depth: int) -> bytes:
    octets = b"inmost"
    for _ in range(depth):
        octets = packed("next.zip", octets)
    return octets


@pytest.fixture(scope="module")
def real() -> Iterator[Path]:
    with clamd() as place:
        yield place


@pytest.mark.parametrize(
    ("octets", "verdict"),
    [
        (b"Bonjour", Verdict.CLEAN),
        (in_letter(packed("a.txt", b"Bonjour")), Verdict.CLEAN),
        (EICAR, Verdict.INFECTED),
        (in_letter(packed("a.txt", EICAR)), Verdict.INFECTED),
        (in_letter(packed("b.zip", packed("a.txt", EICAR))), Verdict.INFECTED),
        (in_letter(encrypted_archive()), Verdict.ENCRYPTED),
        (in_letter(nested(12)), Verdict.UNEXAMINED),
        (bytes(Limits().message_max_octets), Verdict.CLEAN),
    ],
    ids=["text", "archive", "virus", "packed", "packed-twice", "encrypted", "too-deep", "largest"],
)
async def test_a_real_one_finds_what_it_should(real: Path, octets: bytes, verdict: Verdict) -> None:
    assert (await Clamd(config_of(str(real)).antivirus).scan(octets)).verdict is verdict


def test_the_check_is_content_with_a_real_one(real: Path) -> None:
    assert levels(config_of(str(real))) == [("warning", "it answers, without published signatures")]


def test_the_check_finds_out_that_encrypted_archives_pass() -> None:
    with clamd(alert_encrypted=False) as place:
        assert ("wrong", "it lets encrypted archives pass") in levels(config_of(str(place)))
