"""The MX: who may speak, for whom, to whom; what a receipt says. Real sockets and certificates, scripted services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from mss import pki
from mss.config import Limits, PolicyConfig
from mss.errors import Malformed, Unavailable
from mss.model.address import Domain
from mss.model.envelope import Recipient
from mss.model.peer import TrustList
from mss.policy import rules
from mss.policy.decision import Decision, accept, defer, reject
from mss.screening import UNSCREENED, Screen
from mss.services import receive
from mss.services.receive import Hosted, Receipt, RecipientOutcome
from mss.smtp import reply
from mss.smtp.aside import Aside
from mss.smtp.mx import MxDoor, MxHouse, _News
from mss.smtp.readers import Readers
from mss.smtp.signing import Verifier
from mss.tls import TlsMaterial
from tests.smtp.smtp_letters import trust_list
from tests.smtp.smtp_store import Scripted
from tests.smtp.smtp_world import NOW, Pki, Talk, connected, make_pki, now, serving

pytestmark = pytest.mark.journey

YES, NO, LATER = accept(rules.ROUTE_LOCAL_PATIENT), reject(rules.RECIPIENT_UNKNOWN), defer(rules.ROUTE_NO_TRUST_LIST)
LETTER = b"From: Dr A <a@chu.example>\r\nTo: b@patient.example\r\nMessage-ID: <1@chu.example>\r\n\r\nHello\r\n"


def receipt(*decisions: Decision, duplicate: bool = False) -> Any:
    """Return a service that answers with a receipt of those decisions, one for each recipient."""

    def answer(_hosted: Hosted, _origin: object, envelope: Any, _reading: object, _now: object) -> Receipt:
        recipients: tuple[Recipient, ...] = envelope.recipients
        pairs = zip(recipients, decisions, strict=True)
        return Receipt("R-1", tuple(RecipientOutcome(r, d) for r, d in pairs), duplicate)

    return answer


@dataclass
class Mx:
    scripted: Scripted
    house: MxHouse
    port: int
    listed: list[TrustList | None]

    @property
    def letters(self) -> list[tuple[Any, ...]]:
        return self.scripted.called("accept")


@asynccontextmanager
async def mx(
    material: TlsMaterial,
    *,
    judge: Any = (YES, None),
    answer: Any = None,
    trust: TrustList | None = None,
    limits: Limits | None = None,
    seen_by: TlsMaterial | None = None,
    verifier: Verifier | None = None,
    screen: Screen = UNSCREENED,
) -> AsyncIterator[Mx]:
    limits = limits or Limits()
    scripted = Scripted({receive.judge: judge, receive.accept: answer or receipt(YES), receive.note_refusal: None})
    listed: list[TrustList | None] = [trust or trust_list(NOW, "chu", "gip", "revoked", clinique="chu")]
    made = MxHouse(
        store=scripted.store,
        material=seen_by or material,
        trust=lambda: listed[0],
        trust_max_age_s=3600,
        hosted=Hosted({Domain("patient.example"): "patient"}, "mx.patient.example", PolicyConfig()),
        limits=limits,
        clock=now,
        readers=Readers(limits),
        verifier=verifier,
        screen=screen,
    )
    async with serving(MxDoor(made), material, limits=limits) as (_, port):
        yield Mx(scripted, made, port, listed)
    made.readers.close()


def material_failing(error: Exception) -> TlsMaterial:
    """Return material that cannot tell who a peer is."""

    class Failing:
        async def met(self, _end: object, **_facts: object) -> None:
            raise error

    return cast(TlsMaterial, Failing())


@asynccontextmanager
async def peer(door: Mx, pki_world: Pki, name: str = "chu") -> AsyncIterator[Talk]:
    async with connected(door.port) as talk:
        await talk.hello(pki_world.client(name))
        yield talk


async def test_a_listed_peer_brings_a_letter_and_gets_a_receipt(material: TlsMaterial, pki_world: Pki) -> None:
    async with mx(material) as door, peer(door, pki_world) as talk:
        assert await talk.letter(LETTER) == "250 2.0.0 Accepted, receipt R-1"
    [(hosted, origin, envelope, letter, _)] = door.letters
    assert hosted is door.house.hosted
    assert origin.actor == "peer:mx.chu.example"
    assert origin.domains == {"chu.example", "clinique.example"}
    assert envelope.reverse_path.spec == "a@chu.example"
    assert letter.octets.endswith(LETTER)
    assert letter.message_id == "<1@chu.example>"
    assert letter.submission is not None


async def test_the_trace_stands_on_top_and_what_recognises_a_copy_knows_nothing_of_it(
    material: TlsMaterial, pki_world: Pki
) -> None:
    async with mx(material) as door, peer(door, pki_world) as talk:
        await talk.letter(LETTER)
        await talk.letter(LETTER)
    first, second = (letter for _, _, _, letter, _ in door.letters)
    received = first.octets.removesuffix(LETTER)
    assert received.startswith(b"Return-Path: <a@chu.example>\r\nReceived: from client.example ([127.0.0.1])")
    assert b"mx.chu.example" in received
    assert b"\twith ESMTPS\r\n" in received
    assert first.octets != second.octets
    assert [origin.known for _, origin, *_ in door.letters] == [receive.known_by(LETTER)] * 2


async def test_a_foreign_return_path_is_taken_out(material: TlsMaterial, pki_world: Pki) -> None:
    async with mx(material) as door, peer(door, pki_world) as talk:
        await talk.letter(b"RETURN-PATH : <evil@gip.example>\r\n" + LETTER + b"return-path: body\r\n", b"")
    octets = door.letters[0][3].octets
    assert octets.startswith(b"Return-Path: <>\r\n")
    assert b"evil" not in octets
    assert octets.endswith(LETTER + b"return-path: body\r\n")


async def test_results_in_our_name_are_only_ours(material: TlsMaterial, pki_world: Pki) -> None:
    """Nobody else's Authentication-Results bear our name, whether we verify or not (RFC 8601 §5)."""
    forged = b"Authentication-Results: MX.patient.example; dkim=pass\r\n"
    theirs = b"authentication-results : mx.chu.example; dkim=pass\r\n"
    async with mx(material) as door, peer(door, pki_world) as talk:
        await talk.letter(forged + theirs + LETTER)
    octets = door.letters[0][3].octets
    assert b"MX.patient.example" not in octets
    assert octets.endswith(b"\r\n" + theirs + LETTER)


async def test_results_stand_between_return_path_and_received(material: TlsMaterial, pki_world: Pki) -> None:
    async def nothing(_name: str) -> list[bytes]:
        return []

    verifier = Verifier(nothing, Aside(patience_s=1), hostname="mx.patient.example", patience_s=1)
    async with mx(material, verifier=verifier) as door, peer(door, pki_world) as talk:
        await talk.letter(LETTER)
    names = [line.split(b":")[0] for line in door.letters[0][3].octets.split(b"\r\n") if line[:1].isalpha()]
    assert names[:3] == [b"Return-Path", b"Authentication-Results", b"Received"]
    assert b"mx.patient.example;\r\n\tdkim=none\r\n" in door.letters[0][3].octets


async def test_one_domain_of_several_of_a_peer(material: TlsMaterial, pki_world: Pki) -> None:
    letter = LETTER.replace(b"chu.example", b"clinique.example")
    async with mx(material) as door, peer(door, pki_world) as talk:
        assert (await talk.letter(letter, b"a@clinique.example")).startswith("250")


@pytest.mark.parametrize(
    ("sender", "octets", "answer", "rule"),
    [
        (b"a@gip.example", LETTER, "550 5.7.1", "sender.foreign-domain"),
        (b"a@patient.example", LETTER, "550 5.7.1", "sender.foreign-domain"),
        (b"a@chu.example", LETTER.replace(b"a@chu", b"a@gip"), "550 5.7.1", "author.foreign-domain"),
        (b"", LETTER.replace(b"a@chu", b"a@gip"), "550 5.7.1", "author.foreign-report"),
        (b"a@chu.example", b"Subject: x\r\n\r\nx\r\n", "550 5.6.0", "author.missing"),
        (b"a@chu.example", b"From: a@chu.example\r\nFrom: b@gip.example\r\n\r\nx\r\n", "550 5.7.1", "author.foreign"),
        (b"a@chu.example", b"From: a@chu.example, b@chu.example\r\n\r\nx\r\n", "550 5.6.0", "author.several"),
    ],
)
async def test_a_peer_speaks_only_for_its_own_domains(
    material: TlsMaterial, pki_world: Pki, sender: bytes, octets: bytes, answer: str, rule: str
) -> None:
    async with mx(material) as door, peer(door, pki_world) as talk:
        said = await talk.letter(octets, sender)
        assert said.startswith(answer)
        assert f"({rule}" in said
        assert (await talk.say(b"RSET")).startswith("250")
        assert (await talk.letter(LETTER)).startswith("250")
    assert len(door.letters) == 1
    [(actor, stage, decision, _)] = door.scripted.called("note_refusal")
    assert (actor, stage) == ("peer:mx.chu.example", "mail" if rule.startswith("sender") else "data")
    assert decision.rule.name.startswith(rule)


async def test_a_report_has_a_null_sender(material: TlsMaterial, pki_world: Pki) -> None:
    async with mx(material) as door, peer(door, pki_world) as talk:
        assert (await talk.letter(LETTER, b"")).startswith("250")
    assert door.letters[0][2].reverse_path is None


@pytest.mark.parametrize(
    ("name", "answer"),
    [("revoked", "550 5.7.1 Your client certificate is revoked"), ("patient", "550 5.7.1 The trust list does not")],
)
async def test_bad_peers_are_told_after_the_handshake(
    material: TlsMaterial, pki_world: Pki, name: str, answer: str
) -> None:
    async with mx(material) as door, peer(door, pki_world, name) as talk:
        assert (await talk.letter(LETTER)).startswith(answer)
    assert not door.letters


async def test_a_stale_list_defers(material: TlsMaterial, pki_world: Pki) -> None:
    old = trust_list(now() - timedelta(hours=2), "chu")
    async with mx(material, trust=old) as door, peer(door, pki_world) as talk:
        assert (await talk.letter(LETTER)).startswith("451 4.7.0")
    assert not door.letters


async def test_no_list_defers(material: TlsMaterial, pki_world: Pki) -> None:
    async with mx(material) as door, peer(door, pki_world) as talk:
        door.listed[0] = None
        assert (await talk.letter(LETTER)).startswith("451 4.7.0")


async def test_a_list_that_changes_between_mail_and_data_is_asked_again(material: TlsMaterial, pki_world: Pki) -> None:
    async with mx(material) as door, peer(door, pki_world) as talk:
        await talk.say(b"MAIL FROM:<a@chu.example>")
        await talk.say(b"RCPT TO:<b@patient.example>")
        await talk.say(b"DATA")
        door.listed[0] = trust_list(NOW, "gip")
        assert (await talk.say(LETTER + b".")).startswith("550 5.7.1")
    assert not door.letters


@pytest.mark.parametrize("when", ["before MAIL", "before DATA"])
async def test_a_certificate_revoked_while_the_connection_lives_is_refused(tmp_path: Path, when: str) -> None:
    own = make_pki(tmp_path)
    material = TlsMaterial(own.config("patient"))

    def revoke() -> None:
        pki.revoke(pki.load_authority(tmp_path / "authority"), tmp_path / "chu" / "operator.pem", now=now())
        assert material.reload() == []

    async with mx(material) as door, peer(door, own) as talk:
        assert (await talk.letter(LETTER)).startswith("250")
        if when == "before MAIL":
            revoke()
        answer = await talk.say(b"MAIL FROM:<a@chu.example>")
        if when == "before DATA":
            await talk.say(b"RCPT TO:<b@patient.example>")
            await talk.say(b"DATA")
            revoke()
            answer = await talk.say(LETTER + b".")
        assert answer.startswith("550 5.7.1 Your client certificate is revoked")
    assert len(door.letters) == 1
    [(actor, _, decision, _)] = door.scripted.called("note_refusal")
    assert (actor, decision.rule.name) == ("peer:mx.chu.example", "peer.revoked")


async def test_a_clock_that_went_back_defers(material: TlsMaterial, pki_world: Pki) -> None:
    ahead = trust_list(now() + timedelta(hours=2), "chu")
    async with mx(material, trust=ahead) as door, peer(door, pki_world) as talk:
        assert (await talk.letter(LETTER)).startswith("451 4.3.5 Our clock is wrong")
    assert not door.letters


async def test_recipients_are_judged_one_by_one(material: TlsMaterial, pki_world: Pki) -> None:
    def judge(_hosted: object, _sender: object, recipient: Any, size: int | None, _now: object) -> Any:
        assert size == 100
        return {"b": YES, "c": NO, "d": LATER}[recipient.local], None

    async with mx(material, judge=judge) as door, peer(door, pki_world) as talk:
        await talk.say(b"MAIL FROM:<a@chu.example> SIZE=100")
        answers = [await talk.say(b"RCPT TO:<%s@patient.example>" % who) for who in (b"b", b"c", b"d")]
        assert [answer[:3] for answer in answers] == ["250", "550", "451"]
        await talk.say(b"DATA")
        assert (await talk.say(LETTER + b".")).startswith("250 2.0.0")
    assert [r.address.local for r in door.letters[0][2].recipients] == ["b"]


@pytest.mark.parametrize(
    ("decisions", "duplicate", "answer"),
    [
        ((YES, NO), False, "250 2.0.0 Accepted, receipt R-1"),
        ((NO, LATER), False, "451 4."),
        ((NO, NO), False, "550 5.1.1"),
        ((NO, NO), True, "250 2.0.0 Accepted, receipt R-1"),
    ],
)
async def test_a_receipt_says_yes_for_one_recipient(
    material: TlsMaterial, pki_world: Pki, decisions: tuple[Decision, ...], duplicate: bool, answer: str
) -> None:
    script = receipt(*decisions, duplicate=duplicate)
    async with mx(material, answer=script) as door, peer(door, pki_world) as talk:
        await talk.say(b"MAIL FROM:<a@chu.example>")
        for who in (b"b", b"c"):
            await talk.say(b"RCPT TO:<%s@patient.example>" % who)
        await talk.say(b"DATA")
        assert (await talk.say(LETTER + b".")).startswith(answer)


@pytest.mark.parametrize("failure", [Unavailable("disk full"), RuntimeError("a bug with b@patient.example")])
async def test_a_store_that_fails_is_temporary_and_keeps_nothing(
    material: TlsMaterial, pki_world: Pki, failure: Exception
) -> None:
    async with mx(material, answer=failure) as door, peer(door, pki_world) as talk:
        assert await talk.letter(LETTER) == "451 4.3.0 Temporary fault on our side, try again later"
        assert (await talk.say(b"NOOP")).startswith("250")


async def test_a_peer_and_a_sender_that_send_too_much_are_deferred(material: TlsMaterial, pki_world: Pki) -> None:
    limits = Limits(peer_letters_per_minute_max=3, sender_letters_per_minute_max=2)
    async with mx(material, limits=limits) as door, peer(door, pki_world) as talk:
        said = [await talk.letter(LETTER) for _ in range(4)]
        assert [one[:9] for one in said] == ["250 2.0.0"] * 2 + ["450 4.7.1"] * 2
        assert said[-1].endswith("(sender.too-fast)")
        assert (await talk.letter(LETTER, b"")).startswith("250")
        assert (await talk.letter(LETTER, b"")).endswith("(peer.too-fast)")
        async with peer(door, pki_world, "gip") as other:
            assert (await other.letter(LETTER.replace(b"a@chu", b"a@gip"), b"a@gip.example")).startswith("250")
    noted = [(args[1], args[2].rule.name) for args in door.scripted.called("note_refusal")]
    assert noted == [("mail", "sender.too-fast"), ("mail", "peer.too-fast")], "once a minute for each peer and rule"


async def test_a_peer_that_probes_learns_nothing_more(material: TlsMaterial, pki_world: Pki) -> None:
    """Past the budget known and unknown recipients get the same answer."""

    def judge(_hosted: object, _sender: object, recipient: Any, _size: object, _now: object) -> Any:
        return (YES if recipient.local == "known" else reject(rules.PATIENT_UNKNOWN)), None

    limits = Limits(unknown_recipients_per_hour_max=2)
    async with mx(material, judge=judge, limits=limits) as door, peer(door, pki_world) as talk:
        await talk.say(b"MAIL FROM:<a@chu.example>")
        names = (b"known", b"x1", b"known2", b"x2", b"known")
        said = [await talk.say(b"RCPT TO:<%b@patient.example>" % name) for name in names]
        assert [one[:9] for one in said] == ["250 2.1.5", "550 5.1.1", "550 5.1.1", "450 4.7.1", "250 2.1.5"]
        assert (await talk.say(b"RCPT TO:<KNOWN@Patient.example>")).startswith("250"), "it is accepted already"
        await talk.say(b"RSET")
        await talk.say(b"MAIL FROM:<a@chu.example>")
        again = [await talk.say(b"RCPT TO:<%b@patient.example>" % name) for name in (b"known", b"x1")]
        assert again[0] == again[1] == reply.of_decision(defer(rules.PEER_PROBING)).encode().decode().strip()
    noted = [args[2].rule.name for args in door.scripted.called("note_refusal")]
    assert noted == ["patient.unknown", "patient.unknown", "peer.probing"]


async def test_a_letter_in_an_unfit_form_is_in_the_journal(material: TlsMaterial, pki_world: Pki) -> None:
    async with mx(material) as door, peer(door, pki_world) as talk:
        assert (await talk.letter(LETTER + b"x\n.\ny\r\n")).endswith("(letter.bare-line-end)")
    [(actor, stage, decision, _)] = door.scripted.called("note_refusal")
    assert (actor, stage, decision.rule) == ("peer:mx.chu.example", "data", rules.LETTER_BARE_LINE_END)
    assert not door.letters


async def test_a_letter_in_circles_is_refused(material: TlsMaterial, pki_world: Pki) -> None:
    hops = b"Received: from x by y with ESMTPS id z; Mon, 1 Jan 2026 00:00:00 +0000\r\n"
    async with mx(material) as door, peer(door, pki_world) as talk:
        assert (await talk.letter(hops * 49 + LETTER)).startswith("250")
        assert (await talk.letter(hops * 50 + LETTER)).startswith("554 5.4.6")
        own = hops.replace(b"by y", b"by mx.patient.example")
        assert (await talk.letter(own * 3 + LETTER)).startswith("250")
        assert (await talk.letter(own * 4 + LETTER)).startswith("554 5.4.6")
    assert len(door.letters) == 2


@pytest.mark.slow
async def test_a_large_letter_is_read_in_a_process_of_its_own(material: TlsMaterial, pki_world: Pki) -> None:
    limits = Limits(index_in_process_max_octets=1000)
    letter = LETTER + b"x" * 70 + b"\r\n" + b"y" * 2000 + b"\r\n"
    async with mx(material, limits=limits) as door, peer(door, pki_world) as talk:
        assert (await talk.letter(letter)).startswith("250")
        assert door.house.readers._pool is not None
    assert door.letters[0][3].octets.endswith(letter)


@pytest.mark.slow
async def test_a_reading_process_that_dies_is_temporary_and_replaced(material: TlsMaterial, pki_world: Pki) -> None:
    limits = Limits(index_in_process_max_octets=10)
    async with mx(material, limits=limits) as door, peer(door, pki_world) as talk:
        assert (await talk.letter(LETTER)).startswith("250")
        pool = door.house.readers._pool
        assert pool
        for process in pool._processes.values():
            process.kill()
            process.join()
        assert (await talk.letter(LETTER)).startswith("451 4.3.0")
        assert (await talk.letter(LETTER)).startswith("250")


async def test_a_peer_that_cannot_be_verified_now_may_come_back(material: TlsMaterial, pki_world: Pki) -> None:
    """Our list of authorities lacks one of the chain: our fault, so temporary."""
    lacking = material_failing(Unavailable("an authority is missing"))
    async with mx(material, seen_by=lacking) as door, connected(door.port) as talk:
        await talk.reply()
        await talk.starttls(pki_world.client("chu"))
        assert (await talk.reply()).startswith("421 4.7.0")
        assert await talk.ended()


async def test_a_certificate_that_cannot_be_read_is_none(material: TlsMaterial, pki_world: Pki) -> None:
    odd = material_failing(Malformed("odd"))
    async with mx(material, seen_by=odd) as door, peer(door, pki_world) as talk:
        assert (await talk.letter(LETTER)).startswith("530 5.7.0")
    assert door.scripted.called("note_refusal")[0][0] == "ip:127.0.0.1"


async def test_a_failed_handshake_is_in_the_journal_once_a_minute(material: TlsMaterial, pki_world: Pki) -> None:
    async with mx(material) as door:
        for _ in range(3):
            async with connected(door.port) as talk:
                await talk.reply()
                await talk.say(b"STARTTLS")
                await talk.send(b"not a handshake\r\n")
                assert await talk.ended()
    [(actor, stage, decision, _)] = door.scripted.called("note_refusal")
    assert (actor, stage, decision.rule.name) == ("ip:127.0.0.1", "tls", "peer.tls-failed")
    assert decision.facts["reason"]


def test_news_are_kept_for_a_minute_and_for_so_many_addresses() -> None:
    news, start = _News(), now()
    assert news.is_news("192.0.2.1", start)
    assert not news.is_news("192.0.2.1", start + timedelta(seconds=59))
    assert news.is_news("192.0.2.1", start + timedelta(seconds=60))
    assert all(news.is_news(f"2001:db8::{n}", start) for n in range(1000))
    assert len(news._last) == 1000
    assert news.is_news("192.0.2.1", start)


async def test_nobody_signs_in(material: TlsMaterial, pki_world: Pki) -> None:
    async with mx(material) as door, peer(door, pki_world) as talk:
        assert (await talk.say(b"AUTH PLAIN AGEAYg==")).startswith("502")
        assert "AUTH" not in await talk.say(b"EHLO client.example")


class Finding(Screen):
    """An antivirus that always says the same, and keeps what it was shown."""

    def __init__(self, decision: Decision) -> None:
        super().__init__()
        self.decision, self.shown = decision, list[bytes]()

    async def judge(self, octets: bytes) -> Decision:
        self.shown.append(octets)
        return self.decision


@pytest.mark.parametrize(
    ("decision", "answer"),
    [
        (reject(rules.CONTENT_INFECTED, signature="Eicar"), "550 5.7.1 Our antivirus found something harmful."),
        (defer(rules.CONTENT_NOT_SCANNED), "451 4.7.1 Our antivirus does not answer now."),
    ],
)
async def test_what_the_antivirus_refuses_is_never_stored(
    material: TlsMaterial, pki_world: Pki, decision: Decision, answer: str
) -> None:
    screen = Finding(decision)
    async with mx(material, screen=screen) as door, peer(door, pki_world) as talk:
        assert (await talk.letter(LETTER)).startswith(answer)
    assert screen.shown == [LETTER]
    assert door.letters == []
    [(actor, stage, noted, _)] = door.scripted.called("note_refusal")
    assert (actor, stage, noted) == ("peer:mx.chu.example", "data", decision)
