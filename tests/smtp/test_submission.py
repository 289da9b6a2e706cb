"""Submission: sign in, send from one's own addresses only, complete the letter. Real sockets, scripted services."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from mss import passwords
from mss.config import Limits, PolicyConfig
from mss.errors import Unavailable
from mss.model.account import Account, AccountKind
from mss.model.address import Address, Domain
from mss.policy import rules
from mss.policy.decision import Decision, accept, defer, reject
from mss.screening import UNSCREENED, Screen
from mss.services import accounts, submit
from mss.services.accounts import Credentials
from mss.services.receive import Hosted, Receipt, RecipientOutcome
from mss.services.submit import Outside
from mss.signin import SignIn
from mss.smtp.metrics import Silence
from mss.smtp.readers import Readers
from mss.smtp.session import Listener
from mss.smtp.submission import SubmissionDoor, SubmissionHouse
from mss.tls import TlsMaterial
from tests.smtp.smtp_store import Scripted
from tests.smtp.smtp_world import Pki, Talk, connected, now, serving

pytestmark = pytest.mark.journey

PASSWORD = "correct horse battery"
HASH = passwords.hash_password(PASSWORD)
DOCTOR = Account(7, "a@chu.example", AccountKind.PROFESSIONAL, "Dr A", HASH)
OWN = (Address.parse("a@chu.example"), Address.parse("service@chu.example"))
LETTER = (
    b"From: a@chu.example\r\nTo: b@gip.example\r\n"
    b"Date: Thu, 1 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@x>\r\n\r\nx\r\n"
)
YES = accept(rules.ROUTE_LOCAL_PROFESSIONAL)


def plain(login: str, password: str, acting_as: str = "") -> bytes:
    return b"AUTH PLAIN " + b64encode("\0".join((acting_as, login, password)).encode())


JUDGED = {
    "b@gip.example": accept(rules.ROUTE_RELAY),
    "c@chu.example": YES,
    "d@chu.example": reject(rules.RECIPIENT_UNKNOWN),
    "d@gmail.example": reject(rules.ROUTE_OUTSIDE),
}


@dataclass
class Submission(Silence):
    scripted: Scripted
    port: int
    budget: Decision = YES
    counted: list[tuple[str, Any]] = field(default_factory=list)
    known: dict[str, Credentials] = field(default_factory=lambda: {DOCTOR.login: Credentials(DOCTOR, None)})

    def conformity(self, software: str, results: Any) -> None:
        self.counted.append((software, results))

    @property
    def letters(self) -> list[tuple[Any, ...]]:
        return self.scripted.called("accept")


def taken(
    _hosted: object, _outside: object, _account: int, envelope: Any, _reading: object, _now: object, _handed: object
) -> Receipt:
    return Receipt("R-2", tuple(RecipientOutcome(r, YES) for r in envelope.recipients))


@asynccontextmanager
async def submission(
    material: TlsMaterial,
    *,
    listener: Listener = Listener.SUBMISSION,
    answer: Any = taken,
    screen: Screen = UNSCREENED,
) -> AsyncIterator[Submission]:
    limits = Limits()
    scripted = Scripted()
    made = Submission(scripted, 0)
    scripted.services = {
        accounts.credentials: lambda login, *_: made.known.get(login, Credentials(None, None)),
        accounts.record_login: None,
        submit.sender_addresses: OWN,
        submit.names: lambda *_: {"a@chu.example": "Dr Anne A", "service@chu.example": "Service"},
        submit.within_budget: lambda *_: made.budget,
        submit.judge: lambda _hosted, outside, _sender, one, *_: JUDGED[one.spec],
        submit.accept: answer,
    }
    sign_in = SignIn(scripted.store, now, limits)
    house = SubmissionHouse(
        store=scripted.store,
        sign_in=sign_in,
        outside=lambda: Outside(frozenset({"gip.example"}), 3600),
        hosted=Hosted({Domain("chu.example"): "professional"}, "mx.chu.example", PolicyConfig()),
        limits=limits,
        clock=now,
        readers=Readers(limits),
        metrics=made,
        screen=screen,
    )
    door = SubmissionDoor(house, listener)
    async with serving(door, material, limits=limits, implicit_tls=listener is Listener.SUBMISSIONS) as (_, port):
        made.port = port
        yield made
    sign_in.close()


@asynccontextmanager
async def signed_in(door: Submission, pki_world: Pki) -> AsyncIterator[Talk]:
    async with connected(door.port) as talk:
        await talk.hello(pki_world.client(None))
        assert (await talk.say(plain(DOCTOR.login, PASSWORD))).startswith("235")
        yield talk


async def send(talk: Talk, octets: bytes, sender: bytes = b"a@chu.example", to: bytes = b"b@gip.example") -> str:
    for line in (b"MAIL FROM:<" + sender + b">", b"RCPT TO:<" + to + b">", b"DATA"):
        answer = await talk.say(line)
        if answer[:3] not in ("250", "354"):
            await talk.say(b"RSET")
            return answer
    return await talk.say(octets + b".")


async def test_a_letter_is_handed_in(material: TlsMaterial, pki_world: Pki) -> None:
    async with submission(material) as door, signed_in(door, pki_world) as talk:
        assert await send(talk, LETTER) == "250 2.0.0 Accepted, receipt R-2"
    [(_, outside, account_id, envelope, letter, *_)] = door.letters
    assert (outside.reachable, account_id) == (frozenset({"gip.example"}), 7)
    assert envelope.recipients[0].address.spec == "b@gip.example"
    assert letter.octets.endswith(LETTER.replace(b"a@chu.example", b"Dr Anne A <a@chu.example>", 1))


async def test_implicit_tls_takes_letters_too(material: TlsMaterial, pki_world: Pki) -> None:
    async with (
        submission(material, listener=Listener.SUBMISSIONS) as door,
        connected(door.port, ssl=pki_world.client(None), server_hostname="localhost") as talk,
    ):
        await talk.reply()
        await talk.say(b"EHLO client.example")
        assert (await talk.say(plain(DOCTOR.login, PASSWORD))).startswith("235")
        assert (await send(talk, LETTER)).startswith("250")


async def test_nothing_without_signing_in(material: TlsMaterial, pki_world: Pki) -> None:
    async with submission(material) as door, connected(door.port) as talk:
        await talk.hello(pki_world.client(None))
        assert await send(talk, LETTER) == "530 5.7.0 Authentication required"
        assert (await talk.say(plain(DOCTOR.login, "wrong"))).startswith("535")
        assert await send(talk, LETTER) == "530 5.7.0 Authentication required"
    assert not door.letters


@pytest.mark.parametrize(
    ("login", "password", "acting_as", "answer"),
    [
        (DOCTOR.login, PASSWORD, "", "235"),
        (DOCTOR.login, PASSWORD, DOCTOR.login, "235"),
        (DOCTOR.login, PASSWORD, "boss@chu.example", "535"),
        (DOCTOR.login, "wrong", "", "535"),
        ("nobody@chu.example", PASSWORD, "", "535"),
        ("patient", PASSWORD, "", "535"),
        ("locked", PASSWORD, "", "454"),
        ("disabled", PASSWORD, "", "535"),
    ],
)
async def test_who_signs_in(
    material: TlsMaterial, pki_world: Pki, login: str, password: str, acting_as: str, answer: str
) -> None:
    async with submission(material) as door, connected(door.port) as talk:
        door.known |= {
            "patient": Credentials(Account(8, "patient", AccountKind.PATIENT, "", HASH), None),
            "locked": Credentials(DOCTOR, now() + timedelta(minutes=5)),
            "disabled": Credentials(Account(9, "disabled", AccountKind.PROFESSIONAL, "", HASH, enabled=False), None),
        }
        await talk.hello(pki_world.client(None))
        assert (await talk.say(plain(login, password, acting_as)))[:3] == answer


@pytest.mark.parametrize(
    ("sender", "octets", "answer"),
    [
        (b"service@chu.example", LETTER.replace(b"a@chu", b"service@chu"), "250 2.0.0"),
        (b"A@CHU.example", LETTER, "250 2.0.0"),
        (b"service@chu.example", LETTER, "250 2.0.0"),
        (b"", LETTER, "250 2.0.0"),
        (b"boss@chu.example", LETTER, "553 5.7.1"),
        (b"a@gip.example", LETTER, "553 5.7.1"),
        (b"a@chu.example", LETTER.replace(b"a@chu", b"boss@chu"), "553 5.7.1"),
        (b"", LETTER.replace(b"a@chu", b"boss@chu"), "553 5.7.1"),
        (b"a@chu.example", b"To: x@gip.example\r\n\r\nx\r\n", "550 5.6.0"),
        (b"a@chu.example", b"From: a@chu.example, service@chu.example\r\n\r\nx\r\n", "550 5.6.0"),
        (b"a@chu.example", b"From: a@chu.example\r\nFrom: boss@chu.example\r\n\r\nx\r\n", "550 5.6.0"),
    ],
)
async def test_only_own_addresses(
    material: TlsMaterial, pki_world: Pki, sender: bytes, octets: bytes, answer: str
) -> None:
    async with submission(material) as door, signed_in(door, pki_world) as talk:
        assert (await send(talk, octets, sender)).startswith(answer)
    assert len(door.letters) == (answer[0] == "2")


@pytest.mark.parametrize(
    ("to", "answer"),
    [
        (b"b@gip.example", "250 2.0.0"),
        (b"c@chu.example", "250 2.0.0"),
        (b"d@chu.example", "550 5.1.1"),
        (b"d@gmail.example", "550 5.7.1"),
    ],
)
async def test_recipients_are_ours_or_reachable(material: TlsMaterial, pki_world: Pki, to: bytes, answer: str) -> None:
    async with submission(material) as door, signed_in(door, pki_world) as talk:
        assert (await send(talk, LETTER, to=to)).startswith(answer)


@pytest.mark.parametrize(
    ("sender", "answer"),
    [
        (b"Sender: service@chu.example\r\n", "250 2.0.0"),
        (b"Sender: A <a@chu.example>\r\n", "250 2.0.0"),
        (b"Sender: boss@chu.example\r\n", "553 5.7.1"),
        (b"Sender: a@chu.example\r\nSender: boss@chu.example\r\n", "553 5.7.1"),
        (b"Sender: a@chu.example, boss@chu.example\r\n", "553 5.7.1"),
        (b"Sender: the boss\r\n", "553 5.7.1"),
        (b"Sender:\r\n", "553 5.7.1"),
    ],
)
async def test_the_sender_field_names_an_own_address(
    material: TlsMaterial, pki_world: Pki, sender: bytes, answer: str
) -> None:
    async with submission(material) as door, signed_in(door, pki_world) as talk:
        assert (await send(talk, sender + LETTER)).startswith(answer)


async def test_a_from_hidden_behind_the_limits_is_refused(material: TlsMaterial, pki_world: Pki) -> None:
    many = b"X-A: b\r\n" * Limits().header_fields_max
    hidden = LETTER.replace(b"\r\n\r\n", b"\r\n" + many + b"From: boss@chu.example\r\n\r\n", 1)
    async with submission(material) as door, signed_in(door, pki_world) as talk:
        assert (await send(talk, hidden)).startswith("552 5.3.4")


async def test_a_letter_that_turns_in_circles_is_refused(material: TlsMaterial, pki_world: Pki) -> None:
    hop = b"Received: from client by mx.chu.example with ESMTPSA id x; Thu, 1 Jan 2026 00:00:00 +0000\r\n"
    async with submission(material) as door, signed_in(door, pki_world) as talk:
        assert (await send(talk, hop * 3 + LETTER)).startswith("250")
        assert (await send(talk, hop * 4 + LETTER)).startswith("554 5.4.6")


async def test_an_account_over_its_budget_is_deferred(material: TlsMaterial, pki_world: Pki) -> None:
    async with submission(material) as door, signed_in(door, pki_world) as talk:
        door.budget = defer(rules.SENDER_OVER_BUDGET)
        answer = await talk.say(b"MAIL FROM:<a@chu.example>")
        assert answer.startswith("450 4.7.1 You wrote to more recipients")
        assert answer.endswith("(sender.over-budget)")
        door.budget = YES
        assert (await send(talk, LETTER)).startswith("250")


async def test_where_it_ends_decides_who_writes_the_return_path(material: TlsMaterial, pki_world: Pki) -> None:
    """The last server does (RFC 5321 §4.4): ours for boxes here, the other operator's for all else."""
    path = b"Return-Path: <a@chu.example>\r\nReceived: from client "
    async with submission(material) as door, signed_in(door, pki_world) as talk:
        await send(talk, b"Return-Path: <forged@chu.example>\r\n" + LETTER, to=b"c@chu.example")
        await send(talk, b"Return-Path: <forged@chu.example>\r\n" + LETTER, to=b"b@gip.example")
        await talk.say(b"MAIL FROM:<a@chu.example>")
        await talk.say(b"RCPT TO:<b@gip.example>")
        await send_rest(talk, b"c@chu.example")
    here, afar, both = door.letters
    assert here[4].octets.startswith(path)
    assert here[6].local is None
    assert afar[4].octets.startswith(b"Received: from client ")
    assert b"Return-Path" not in afar[4].octets
    assert afar[6].local is None
    assert both[6].local.octets == b"Return-Path: <a@chu.example>\r\n" + both[4].octets
    assert both[4].octets.startswith(b"Received: from client ")
    assert not any(b"forged" in one[4].octets for one in door.letters)


async def send_rest(talk: Talk, to: bytes) -> None:
    await talk.say(b"RCPT TO:<" + to + b">")
    await talk.say(b"DATA")
    assert (await talk.say(LETTER + b".")).startswith("250")


async def test_conformity_is_measured_and_counted_and_the_software_s_number_kept(
    material: TlsMaterial, pki_world: Pki
) -> None:
    async with submission(material) as door, signed_in(door, pki_world) as talk:
        await send(talk, b"X-MSS-NIL: DEV935997\r\nX-MSS-INS: O\r\n" + LETTER)
    letter = door.letters[0][4]
    assert letter.octets.count(b"X-MSS-NIL: DEV935997\r\n") == 1
    assert letter.submission is None
    results = door.letters[0][6].conformity
    assert (results["software"], results["ins"], results["pairing"]) == ("good", "needless", "none")
    assert door.counted == [("DEV935997", results)]


async def test_a_measure_that_fails_loses_no_letter(
    material: TlsMaterial, pki_world: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mss.dossier.conformity.measure", lambda *_: 1 / 0)
    async with submission(material) as door, signed_in(door, pki_world) as talk:
        assert (await send(talk, LETTER)).startswith("250")
    assert door.counted == [("", {})]


async def test_a_letter_is_completed_and_keeps_no_secret(material: TlsMaterial, pki_world: Pki) -> None:
    handed_in = (
        b"From: a@chu.example\r\nBcc: secret@gip.example,\r\n more@gip.example\r\nSubject: x\r\n\r\nBcc: body\r\n"
    )
    async with submission(material) as door, signed_in(door, pki_world) as talk:
        assert (await send(talk, handed_in)).startswith("250")
    letter = door.letters[0][4]
    assert b"secret" not in letter.octets
    assert b"more@" not in letter.octets
    assert letter.octets.endswith(b"\r\n\r\nBcc: body\r\n")
    assert letter.message_id.endswith("@mx.chu.example>")
    assert letter.date is not None
    assert letter.octets.startswith(b"Received: from client")
    assert b"127.0.0.1" not in letter.octets
    assert b"client.example" not in letter.octets


async def test_what_is_there_stays(material: TlsMaterial, pki_world: Pki) -> None:
    async with submission(material) as door, signed_in(door, pki_world) as talk:
        await send(talk, LETTER)
    octets = door.letters[0][4].octets
    assert octets.count(b"Message-ID:") == octets.count(b"Date:") == 1


@pytest.mark.parametrize("failure", [Unavailable("locked"), KeyError("bug")])
async def test_a_store_that_fails_is_temporary(material: TlsMaterial, pki_world: Pki, failure: Exception) -> None:
    async with submission(material, answer=failure) as door, signed_in(door, pki_world) as talk:
        assert (await send(talk, LETTER)).startswith("451 4.3.0")


class Infected(Screen):
    """An antivirus that finds something in everything."""

    async def judge(self, octets: bytes) -> Decision:
        return reject(rules.CONTENT_INFECTED, signature="Eicar")


async def test_what_the_antivirus_refuses_is_not_sent(material: TlsMaterial, pki_world: Pki) -> None:
    async with submission(material, screen=Infected()) as door, signed_in(door, pki_world) as talk:
        assert (await send(talk, LETTER)).startswith("550 5.7.1 Our antivirus found something harmful.")
    assert not door.letters
