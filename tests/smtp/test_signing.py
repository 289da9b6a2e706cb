"""Signatures: keys that change by their days, letters signed and verified in another process, failures that cost no
letter."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from mss.config import Config, DkimConfig, DkimKeyConfig, DomainConfig, Limits, OperatorConfig
from mss.errors import Malformed, Misconfigured, Unavailable
from mss.mail import dkim
from mss.model.address import Domain
from mss.smtp.aside import Aside
from mss.smtp.signing import KeyRing, Signer, Verifier, author_domain

T = TypeVar("T")
CHU = Domain("chu.example")
LETTER = b"From: Dr A <a@chu.example>\r\nSubject: x\r\n\r\nHello\r\n"
NOW = datetime(2027, 3, 1, tzinfo=UTC)


@cache
def pair() -> tuple[bytes, bytes]:
    """Return a private key and its record."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return pem, b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)


class Here(Aside):
    """Does the work at once."""

    def __init__(self) -> None:
        super().__init__(patience_s=1)

    async def run(self, work: Callable[[], T]) -> T:
        return work()


class Nowhere(Aside):
    """Does no work."""

    def __init__(self) -> None:
        super().__init__(patience_s=1)

    async def run(self, work: Callable[[], T]) -> T:
        raise Unavailable("too much work waits")


def ring(tmp_path: Path, *keys: DkimKeyConfig) -> KeyRing:
    (tmp_path / "key.pem").write_bytes(pair()[0])
    domains = (DomainConfig("chu.example", "professional"),)
    return KeyRing(Config(OperatorConfig("x", "mx"), domains, dkim=DkimConfig(keys=keys), root=tmp_path))


def key(selector: str, since: date | None = None, until: date | None = None) -> DkimKeyConfig:
    return DkimKeyConfig("CHU.example", selector, Path("key.pem"), since, until)


def signer(keys: KeyRing, aside: Aside | None = None) -> Signer:
    return Signer(keys, aside or Here(), Limits(), lambda: NOW)


@pytest.mark.parametrize(
    ("day", "selector"),
    [
        (date(2026, 12, 31), "old"),
        (date(2027, 1, 1), "new"),
        (date(2027, 1, 31), "new"),
        (date(2027, 2, 1), "old"),
        (date(2027, 6, 30), "old"),
        (date(2027, 7, 1), None),
    ],
)
def test_the_newest_key_in_force_signs(tmp_path: Path, day: date, selector: str | None) -> None:
    keys = ring(tmp_path, key("old", None, date(2027, 7, 1)), key("new", date(2027, 1, 1), date(2027, 2, 1)))
    found = keys.current(CHU, day)
    assert (found.selector if found else None) == selector
    assert keys.current(Domain("gip.example"), day) is None
    assert keys.domains == (CHU,)


def test_a_key_file_that_changed_is_read_again(tmp_path: Path) -> None:
    keys = ring(tmp_path, key("s1"))
    first = keys.current(CHU, NOW.date())
    (tmp_path / "key.pem").write_bytes(b"another")
    os.utime(tmp_path / "key.pem", ns=(1, 1))
    second = keys.current(CHU, NOW.date())
    assert first
    assert second
    assert (first.pem.octets, second.pem.octets) == (pair()[0], b"another")
    assert "PRIVATE" not in repr(first)


@pytest.mark.parametrize(("octets", "said"), [(b"garbage", "key.pem: the DKIM key is no RSA"), (None, "cannot read")])
def test_a_bad_key_file_stops_the_start_by_its_name(tmp_path: Path, octets: bytes | None, said: str) -> None:
    keys = ring(tmp_path, key("s1"))
    keys.check()
    (tmp_path / "key.pem").unlink()
    if octets:
        (tmp_path / "key.pem").write_bytes(octets)
    with pytest.raises(Misconfigured, match=said):
        keys.check()


def test_without_keys_there_is_nothing_to_sign_with(tmp_path: Path) -> None:
    assert not ring(tmp_path)


async def test_a_letter_of_ours_is_signed_for_its_author(tmp_path: Path) -> None:
    octets = await signer(ring(tmp_path, key("s1"))).sign(LETTER)
    assert octets.endswith(LETTER)
    assert dkim.verify(octets, {"s1._domainkey.chu.example": pair()[1]}.get) == dkim.Verdict("pass", CHU, "s1")


@pytest.mark.parametrize(
    "octets",
    [
        LETTER.replace(b"chu", b"gip"),
        LETTER.replace(b"Dr A <a@chu.example>", b"a@chu.example, b@chu.example"),
        b"From: b@gip.example\r\n" + LETTER,
        b"no header",
        b"Subject: x\r\n\r\nFrom: a@chu.example\r\n",
        b"\xff not a field\r\n" + LETTER,
    ],
)
async def test_other_letters_leave_as_they_are(tmp_path: Path, octets: bytes) -> None:
    assert await signer(ring(tmp_path, key("s1"))).sign(octets) == octets


async def test_no_letter_waits_for_its_signature(tmp_path: Path) -> None:
    keys = ring(tmp_path, key("s1"))
    assert await signer(keys, Nowhere()).sign(LETTER) == LETTER
    (tmp_path / "key.pem").write_bytes(b"garbage")
    os.utime(tmp_path / "key.pem", ns=(1, 1))
    assert await signer(keys).sign(LETTER) == LETTER
    (tmp_path / "key.pem").unlink()
    assert await signer(keys).sign(LETTER) == LETTER


@pytest.mark.parametrize(
    ("octets", "domain"),
    [
        (LETTER, CHU),
        (b"from: <A@CHU.example>\r\n\r\n", CHU),
        (b"From: a@chu.example", CHU),
        (b"From: nobody\r\n\r\n", None),
        (b"", None),
        (b"\r\nFrom: a@chu.example\r\n\r\n", None),
    ],
)
def test_the_author_domain(octets: bytes, domain: Domain | None) -> None:
    assert author_domain(octets, Limits()) == domain


# Incoming -----------------------------------------------------------------------------------------------------------


class Names:
    """Name servers by a table; a name that stands for an exception raises it."""

    def __init__(self, **records: list[bytes] | Exception) -> None:
        self.asked: list[str] = []
        self._records = records

    async def look_up(self, name: str) -> list[bytes]:
        self.asked.append(name)
        found = self._records.get(name.partition(".")[0], [])
        if isinstance(found, Exception):
            raise found
        return found


def verifier(names: Names, aside: Aside | None = None) -> Verifier:
    return Verifier(names.look_up, aside or Here(), hostname="mx.patient.example", patience_s=1)


def signed(letter: bytes = LETTER, selector: str = "s1") -> bytes:
    return dkim.sign(letter, selector, "chu.example", pair()[0]) + letter


FIELD = b"Authentication-Results: mx.patient.example;\r\n\tdkim="
PASS = b"pass header.d=chu.example header.s=s1\r\n"


async def test_a_good_signature_is_recorded() -> None:
    names = Names(s1=[pair()[1]])
    assert await verifier(names).results(signed()) == FIELD + PASS
    assert names.asked == ["s1._domainkey.chu.example"]


@pytest.mark.parametrize(
    ("octets", "records", "said"),
    [
        (LETTER, {}, b"none\r\n"),
        (signed().replace(b"Hello", b"Bye"), {"s1": [pair()[1]]}, b"permerror"),
        (signed(), {}, b"permerror header.d=chu.example header.s=s1\r\n"),
        (signed(), {"s1": [pair()[1], pair()[1]]}, b"permerror header.d=chu.example header.s=s1\r\n"),
        (signed(), {"s1": Unavailable("servfail")}, b"temperror\r\n"),
        (signed(), {"s1": Malformed("no name")}, b"permerror header.d=chu.example header.s=s1\r\n"),
        (b"DKIM-Signature: v=1; d=\xff; s=a\r\nb\r\n" + LETTER, {}, b"permerror\r\n"),
    ],
)
async def test_every_other_case_is_recorded_too(
    octets: bytes, records: dict[str, list[bytes] | Exception], said: bytes
) -> None:
    assert (await verifier(Names(**records)).results(octets)).startswith(FIELD + said)


async def test_several_signatures_are_all_named_up_to_the_one_that_passes() -> None:
    twice = dkim.sign(LETTER, "s2", "chu.example", pair()[0]) + signed()
    said = await verifier(Names(s1=[pair()[1]])).results(twice)
    assert said == FIELD + b"permerror header.d=chu.example header.s=s2;\r\n\tdkim=" + PASS


async def test_many_signatures_cost_three_look_ups() -> None:
    names = Names()
    many = b"".join(dkim.sign(LETTER, f"s{n}", "chu.example", pair()[0]) for n in range(5)) + LETTER
    said = await verifier(names).results(many)
    assert len(names.asked) == dkim.SIGNATURES_MAX
    assert said.count(b"dkim=") == dkim.SIGNATURES_MAX


async def test_name_servers_that_do_not_answer_cost_a_bounded_time() -> None:
    async def never(_name: str) -> list[bytes]:
        await asyncio.Event().wait()
        return []

    slow = Verifier(never, Here(), hostname="mx.patient.example", patience_s=0.01)
    assert await slow.results(signed()) == FIELD + b"temperror\r\n"


async def test_a_check_that_cannot_be_made_is_said_to_be_one() -> None:
    assert await verifier(Names(s1=[pair()[1]]), Nowhere()).results(signed()) == FIELD + b"temperror\r\n"


# The process --------------------------------------------------------------------------------------------------------


@pytest.fixture
def aside() -> Iterator[Aside]:
    made = Aside(patience_s=30, waiting_max=1)
    yield made
    made.close()


@pytest.mark.slow
async def test_the_work_is_done_in_another_process(tmp_path: Path, aside: Aside) -> None:
    octets = await signer(ring(tmp_path, key("s1")), aside).sign(LETTER)
    assert await verifier(Names(s1=[pair()[1]]), aside).results(octets) == FIELD + PASS
    assert await aside.run(os.getpid) != os.getpid()


@pytest.mark.slow
async def test_a_process_that_dies_or_stalls_is_replaced(aside: Aside) -> None:
    with pytest.raises(Unavailable):
        await aside.run(partial(os._exit, 3))
    assert await aside.run(os.getpid) != os.getpid()
    aside._patience_s = 0
    with pytest.raises(Unavailable):
        await aside.run(os.getpid)
    assert aside._pool is None


async def test_so_much_work_waits_and_no_more(aside: Aside) -> None:
    aside._waiting = 1
    with pytest.raises(Unavailable, match="too much"):
        await aside.run(os.getpid)
    assert aside._pool is None
