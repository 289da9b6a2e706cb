"""Orders of hospital software: taken at one desk, sent under the rules of every letter, all or none, and once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mss.config import Hl7Config
from mss.dossier import er7
from mss.hl7.desk import Answer, Desk
from mss.hl7.folder import Drop
from mss.mail import content, headers, mime
from mss.model.account import BoxState
from mss.model.document import PatientIdentity
from mss.model.ins import OID_NIR
from mss.model.message import Message
from mss.policy import rules
from mss.policy.decision import Decision, accept, defer, reject
from mss.screening import UNSCREENED, Screen
from mss.services import accounts
from mss.services.house import Hosted
from tests.services.services_world import COLLEAGUE, HOSTED, LIMITS, NURSE, OUTSIDE, House, with_policy
from tests.store.store_world import MATRICULE, NOW, TRAITS, account_for
from tests.support.mdm import document, order, text

IDENTITY = PatientIdentity(((MATRICULE, OID_NIR),), TRAITS)
TO = (NURSE.spec, COLLEAGUE.spec)
BOTH = {"DESTMSSANTEPS": "Y", "DESTMSSANTEPAT": "Y"}


def about_the_patient(event: str = "T02", **changes: object) -> bytes:
    """Return an order about the patient who has a box here."""
    parent = str(changes.get("parent", ""))
    facts: dict[str, object] = {
        "patient": (MATRICULE, OID_NIR), "to": TO, "documents": [document(patient=IDENTITY, replaces=parent)],
    }  # fmt: skip
    return order(event, **{**facts, **changes})  # type: ignore[arg-type]


class Site:
    """The desk of a house, and what it sent."""

    def __init__(self, house: House, hosted: Hosted = HOSTED, screen: Screen = UNSCREENED) -> None:
        self.house = house
        config = Hl7Config(box=house.clinician.address.spec, software="DEV935997")
        self.desk = Desk(house.store, config, hosted, lambda: OUTSIDE, LIMITS, lambda: NOW, screen)

    async def take(self, octets: bytes, account_id: int | None = None) -> Answer:
        return await self.desk.take(octets, account_id, "test")

    async def sent(self) -> list[tuple[str, Message]]:
        return [(to, mime.index(octets, LIMITS)) for to, octets in await self.house.queued()]


@pytest.fixture
async def site(house: House) -> Site:
    await account_for(house.store, house.clinician)
    return Site(house)


def said(answer: Answer) -> tuple[str, str]:
    """Return the acknowledgement's code, and the rule that refused."""
    message = er7.parse(answer.octets, LIMITS)
    msa, err = message.first("MSA"), message.first("ERR")
    assert msa is not None
    return msa.component(1), err.component(5) if err else ""


def subject(letter: Message) -> str:
    return headers.decode_text(letter.header("subject") or b"")


def field(letter: Message, name: str) -> bytes:
    return (letter.header(name) or b"").strip()


def names(letter: Message) -> Sequence[str]:
    return [part.filename or "" for part in content.attachments(letter)]


async def test_professionals_and_patient_get_letters_of_their_own(site: Site) -> None:
    extra = (text("CORPSMAIL_PS", "Cher confrère"), text("CORPSMAIL_PATIENT", "Bonjour Madame"), "NTE|1|||FIN")
    octets = about_the_patient(meta=BOTH, extra=extra, reply_to="secretariat@chu.mssante.fr")
    assert said(await site.take(octets)) == ("AA", "")
    sent = await site.sent()
    assert sorted(to for to, _ in sent) == sorted(TO)
    letter = sent[0][1]
    birth = f"{TRAITS.birth_date[6:]}/{TRAITS.birth_date[4:6]}/{TRAITS.birth_date[:4]}"
    assert subject(letter).startswith("XDM/1.0/DDM+CR d'imagerie médicale ")
    assert subject(letter).endswith(birth)
    assert names(letter)[0] == "IHE_XDM.ZIP"
    assert names(letter)[1].endswith(".pdf")
    assert "Cher confrère" in content.text_of(letter)[0]
    assert letter.header("x-mss-mes") is None
    assert (field(letter, "x-mss-nil"), field(letter, "x-mss-ins")) == (b"DEV935997", b"O")
    assert field(letter, "x-mss-codecda") == b"18748-4"
    assert b"secretariat@chu.mssante.fr" in (letter.header("reply-to") or b"")
    [own] = await site.house.inbox(site.house.patient)
    to_patient = mime.index(own, LIMITS)
    assert "Bonjour Madame" in content.text_of(to_patient)[0]
    assert field(to_patient, "x-mss-mes") == b"FIN"
    assert await site.house.count("documents") == 1


async def test_receipts_are_asked_for_as_ordered(site: Site) -> None:
    await site.take(about_the_patient(meta={"ACK_LECTURE_MSS": "Y", "ACK_RECEPTION": "Y"}))
    [(_, letter), _] = await site.sent()
    assert field(letter, "disposition-notification-to") == site.house.clinician.address.spec.encode()


async def test_an_order_that_comes_again_is_acknowledged_and_sent_once(site: Site) -> None:
    octets = about_the_patient(to=TO[:1])
    assert [said(await site.take(octets)) for _ in range(3)] == [("AA", "")] * 3
    assert len(await site.sent()) == 1


async def test_a_replacement_replaces_in_the_dossier(site: Site) -> None:
    meta = {"DESTMSSANTEPS": "N", "DESTMSSANTEPAT": "Y"}
    assert said(await site.take(about_the_patient(to=(), meta=meta))) == ("AA", "")
    second = document("1.2.250.1.999.2", replaces="1.2.250.1.999.1", patient=IDENTITY)
    octets = about_the_patient(
        "T10", to=(), meta=meta, documents=[second], identifier="1.2.250.1.999.2", parent="1.2.250.1.999.1"
    )
    assert said(await site.take(octets)) == ("AA", "")
    newer, older = await site.house.store.read(lambda uow: uow.dossiers.list(site.house.patient.id))
    assert (older.replaced_by, newer.replaced_by) == (newer.id, None)


@pytest.mark.parametrize("event", ["T04", "T11"])
async def test_a_withdrawal_is_told_in_words_and_carries_no_document(site: Site, event: str) -> None:
    assert said(await site.take(about_the_patient(event, to=TO[:1]))) == ("AA", "")
    [(_, letter)] = await site.sent()
    assert names(letter) == []
    assert subject(letter).startswith("Suppression : CR d'imagerie médicale")
    assert "Identifiant : 1.2.250.1.999.1" in content.text_of(letter)[0]
    assert letter.header("x-mss-codecda") is None


async def test_all_or_none(site: Site) -> None:
    await site.house.store.write(accounts.set_box_state, site.house.patient.id, BoxState.OPPOSED, "test", NOW)
    assert said(await site.take(about_the_patient(meta=BOTH))) == ("AE", "patient.opposed")
    assert await site.sent() == []
    outside = about_the_patient(to=(TO[0], "a@elsewhere.example"))
    assert said(await site.take(outside)) == ("AE", "route.outside")
    assert await site.sent() == []
    # What was refused is not remembered as sent.
    await site.house.store.write(accounts.set_box_state, site.house.patient.id, BoxState.OPEN, "test", NOW)
    assert said(await site.take(about_the_patient(meta=BOTH))) == ("AA", "")


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"garbage", ("AE", "hl7.unreadable")),
        (order("T01"), ("AR", "hl7.event-not-supported")),
        (order(to=()), ("AE", "hl7.nobody-to-send-to")),
        (about_the_patient(meta={**BOTH, "INVISIBLE_PATIENT": "Y"}), ("AE", "hl7.invisible-to-patient")),
    ],
)
async def test_what_is_not_listed_is_refused_with_its_reason(
    site: Site, octets: bytes, expected: tuple[str, str]
) -> None:
    answer = await site.take(octets)
    assert said(answer) == expected
    assert not answer.done
    assert not answer.temporary
    assert await site.sent() == []


class Says(Screen):
    """An antivirus that always says the same."""

    def __init__(self, decision: Decision) -> None:
        super().__init__()
        self.decision = decision

    async def judge(self, octets: bytes) -> Decision:
        return self.decision


@pytest.mark.parametrize(
    ("decision", "temporary"),
    [
        (reject(rules.CONTENT_INFECTED, signature="Eicar"), False),
        (defer(rules.CONTENT_NOT_SCANNED), True),
        (accept(rules.CONTENT_CLEAN), False),
    ],
)
async def test_the_antivirus_looks_at_orders_too(house: House, decision: Decision, temporary: bool) -> None:
    await account_for(house.store, house.clinician)
    site = Site(house, screen=Says(decision))
    answer = await site.take(about_the_patient())
    assert (answer.done, answer.temporary) == (decision.accepted, temporary)
    assert said(answer) == (("AA", "") if decision.accepted else ("AE", decision.rule.name))


async def test_somebody_must_be_able_to_send(house: House) -> None:
    site = Site(house)
    assert said(await site.take(about_the_patient())) == ("AE", "hl7.no-sender")
    stranger = await account_for(house.store, house.patient)
    assert said(await site.take(about_the_patient(), stranger.id)) == ("AE", "hl7.no-sender")


async def test_where_patients_live_must_be_known(house: House) -> None:
    await account_for(house.store, house.clinician)
    clinic_only = {domain: kind for domain, kind in HOSTED.domains.items() if kind != "patient"}
    hosted = replace(with_policy(patient_domains=("a.test", "b.test")), domains=clinic_only)
    site = Site(house, hosted)
    assert said(await site.take(about_the_patient(meta=BOTH))) == ("AE", "hl7.no-patient-domain")


class Counted:
    """Keeps what was counted."""

    def __init__(self) -> None:
        self.orders: list[tuple[str, str, str]] = []

    def order(self, way: str, outcome: str, rule: str, seconds: float) -> None:
        assert seconds >= 0
        self.orders.append((way, outcome, rule))

    def session_opened(self) -> None: ...

    def session_closed(self, outcome: str) -> None: ...


async def test_orders_are_counted_by_what_became_of_them(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.desk.counts = counted = Counted()
    await site.take(about_the_patient())
    await site.take(b"MSH")
    monkeypatch.setattr(site.desk, "_posts", None)
    await site.take(about_the_patient())
    expected = [("done", ""), ("refused", "hl7.unreadable"), ("deferred", "hl7.internal")]
    assert counted.orders == [("test", *one) for one in expected]


async def test_a_surprise_is_temporary(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.desk, "_posts", None)
    answer = await site.take(about_the_patient())
    assert (said(answer), answer.temporary) == (("AE", "hl7.internal"), True)


# -- the folder --------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for orders, as the watching makes it."""
    made = tmp_path / "orders"
    for name in ("work", "acks", "error"):
        (made / name).mkdir(parents=True)
    return made


@pytest.fixture
def drop(site: Site, folder: Path) -> Drop:
    return Drop(folder, site.desk, 1, LIMITS.hl7_message_max_octets)


def contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


async def test_orders_in_a_folder_are_taken_once(site: Site, drop: Drop, folder: Path) -> None:
    (folder / "a.hl7").write_bytes(about_the_patient(to=TO[:1]))
    (folder / "b.er7").write_bytes(order("T01"))
    (folder / "c.hl7.tmp").write_bytes(b"being written")
    assert await drop.look() == 2
    assert contents(folder) == {"acks/a.hl7.ack", "error/b.er7", "error/b.er7.ack", "c.hl7.tmp"}
    assert b"MSA|AA|015" in (folder / "acks/a.hl7.ack").read_bytes()
    assert b"hl7.event-not-supported" in (folder / "error/b.er7.ack").read_bytes()
    assert await drop.look() == 0
    assert len(await site.sent()) == 1


async def test_an_order_that_has_to_wait_goes_back(house: House, folder: Path) -> None:
    await account_for(house.store, house.clinician)
    site = Site(house, screen=Says(defer(rules.CONTENT_NOT_SCANNED)))
    (folder / "a.hl7").write_bytes(about_the_patient())
    drop = Drop(folder, site.desk, 1, LIMITS.hl7_message_max_octets)
    assert await drop.look() == 0
    assert contents(folder) == {"a.hl7"}


async def test_an_order_that_a_crash_left_is_taken_again(site: Site, drop: Drop, folder: Path) -> None:

    left = folder / "work" / "a.hl7"
    left.write_bytes(about_the_patient(to=TO[:1]))
    assert await drop.look() == 0
    os.utime(left, (0, 0))
    assert await drop.look() == 1
    assert contents(folder) == {"acks/a.hl7.ack"}


async def test_the_folder_is_made_and_watched_until_the_end(site: Site, folder: Path) -> None:
    drop = Drop(folder / "new", site.desk, 1, LIMITS.hl7_message_max_octets)
    await drop.stop()
    await drop.run()
    assert {one.name for one in (folder / "new").iterdir()} == {"work", "acks", "error"}
