"""Letters cut short, letters that turn in circles, letters with a bomb: a clear answer, a reason, nothing lost."""

from __future__ import annotations

import base64
import io
import smtplib
import socket
import struct
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from email import message_from_bytes
from email.message import Message

import pytest

from demo.clients import context, submit, wait_for_letter
from demo.house import PATIENTS, REGION
from demo.letters import SAMPLE, sample_document
from mss.clock import system_clock
from mss.commands import journal
from mss.config import Limits
from mss.dossier import xdm
from mss.model.address import Address, parse_domain
from mss.model.filing import Problem
from mss.services import accounts, records
from mss.store.store import Store
from tests.journeys.conftest import MakeSite
from tests.journeys.patients import Patient
from tests.journeys.raw import Raw
from tests.journeys.sites import BOX, DOCTOR, PATIENCE_S, PATIENT, Site, hand_over, letter, new_id

pytestmark = pytest.mark.journey


# -- cut short -------------------------------------------------------------------------------------------------------


def _cut(client: smtplib.SMTP, *, reset: bool) -> None:
    assert client.sock is not None
    if reset:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()
    client.file = None
    client.sock = None


def _begin(client: smtplib.SMTP, octets: bytes) -> None:
    assert client.mail(DOCTOR)[0] == 250
    assert client.rcpt(BOX)[0] == 250
    assert client.docmd("DATA")[0] == 354
    client.send(octets)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("size_octets", [0, 400_000], ids=["small", "large"])
def test_a_letter_cut_short_is_not_delivered_and_its_retry_is_once(
    hospital: Site, size_octets: int, reset: bool
) -> None:
    message_id = new_id()
    octets = letter(message_id, size_octets=size_octets)
    since = len(hospital.log.lines())
    with hospital.as_peer() as client:
        _begin(client, octets[: len(octets) // 2])
        _cut(client, reset=reset)
    assert hospital.until_logged("smtp.transaction", since=since, outcome="lost")["recipients"] == 1
    assert hospital.count(message_id) == 0
    assert hospital.deliver(octets)[0] == 250
    assert hospital.count(message_id) == 1


@pytest.mark.parametrize("end", [b"", b".", b".\r"], ids=["before the dot", "after the dot", "in the last line end"])
def test_a_letter_without_its_last_line_is_not_delivered(hospital: Site, end: bytes) -> None:
    message_id, since = new_id(), len(hospital.log.lines())
    with hospital.as_peer() as client:
        _begin(client, letter(message_id) + end)
        _cut(client, reset=False)
    assert hospital.until_logged("smtp.transaction", since=since, outcome="lost")["recipients"] == 1
    assert hospital.count(message_id) == 0


@pytest.mark.parametrize("command", [b"MAIL FROM:<camil", b"RCPT TO:<accu", b"DATA", b"DATA\r", b"QUI"])
def test_half_a_command_is_none(hospital: Site, command: bytes) -> None:
    message_id, since = new_id(), len(hospital.log.lines())
    with hospital.as_peer() as client:
        began = not command.startswith(b"MAIL")
        if began:
            assert client.mail(DOCTOR)[0] == 250
            assert client.rcpt(BOX)[0] == 250
        client.send(command)
        _cut(client, reset=False)
    if began:
        hospital.until_logged("smtp.transaction", since=since, outcome="lost")
    assert hospital.deliver(letter(message_id))[0] == 250
    assert hospital.count(message_id) == 1


def test_a_letter_cut_short_in_append_is_not_there_and_its_retry_is(hospital: Site) -> None:
    message_id, since = new_id(), len(hospital.log.lines())
    octets = letter(message_id, size_octets=100_000)
    with Raw(hospital.port("imaps")) as client:
        client.starttls(context(hospital.ca_file))
        client.line()
        login = f"LOGIN {hospital.login.login} {hospital.login.password}"
        assert client.command(b"a1", login.encode())[-1].startswith(b"a1 OK")
        client.send(b"a2 APPEND INBOX {%d}\r\n" % len(octets))
        assert client.line().startswith(b"+ ")
        client.send(octets[: len(octets) // 2])
    hospital.until_logged("imap.session", since=since, outcome="lost")
    assert hospital.count(message_id) == 0
    with hospital.mailbox() as again:
        assert again.append("INBOX", "", "", octets)[0] == "OK"
    assert hospital.count(message_id) == 1


def test_an_answer_cut_short_in_the_webmail_is_not_sent_and_its_retry_is(new_hospital: MakeSite) -> None:
    site, text = new_hospital(), "Je viens vendredi"
    site.start()
    patient = Patient(site)
    since = len(site.log.lines())
    patient.answer_cut_short(text, b"x" * 200_000)
    site.until_logged("http.request", since=since, method="POST", status=499)
    assert patient.sees(text) == 0
    assert patient.answer(text, b"x" * 200_000).status == 200
    assert patient.sees(text) == 1


def test_a_letter_whose_answer_was_lost_is_delivered_once(hospital: Site) -> None:
    message_id = new_id()
    octets = letter(message_id)
    since = len(hospital.log.lines())
    with hospital.as_peer() as client:
        _begin(client, octets + b".\r\n")
        _cut(client, reset=True)
    first = hospital.until_logged("smtp.transaction", since=since, outcome="accepted")["receipt"]
    again = [hospital.deliver(octets) for _ in range(3)]
    assert again == [(250, f"2.0.0 Accepted, receipt {first}")] * 3
    assert hospital.count(message_id) == 1


# -- circles ---------------------------------------------------------------------------------------------------------


def _hops(count: int, by: str = "mx{}.autre-demo.mssante.fr") -> str:
    hop = "Received: from a.example by {} with ESMTPS id x;\r\n Sun, 22 Nov 2026 10:00:00 +0000\r\n"
    return "".join(hop.format(by.format(number)) for number in range(count))


def test_a_letter_that_turns_in_circles_is_refused(hospital: Site) -> None:
    message_id, since = new_id(), len(hospital.log.lines())
    code, text = hospital.deliver(letter(message_id, head=_hops(60)))
    assert (code, text[:6]) == (554, "5.4.6 ")
    assert "Received" in text
    assert hospital.until_logged("smtp.transaction", since=since, outcome="refused")["rule"] == "letter.loop"
    assert hospital.count(message_id) == 0


def test_a_letter_that_came_a_long_way_is_taken(hospital: Site) -> None:
    message_id = new_id()
    assert hospital.deliver(letter(message_id, head=_hops(20)))[0] == 250
    assert hospital.count(message_id) == 1


def test_a_letter_that_left_from_here_again_and_again_is_refused(hospital: Site) -> None:
    message_id = new_id()
    host = hospital.operator.config.operator.hostname
    code, text = hospital.deliver(letter(message_id, head=_hops(20, by=host)))
    assert (code, text[:6]) == (554, "5.4.6 ")
    assert hospital.count(message_id) == 0


# -- bombs -----------------------------------------------------------------------------------------------------------


def _zip_bomb() -> bytes:
    """Make an archive of a few hundred kilobytes that inflates to some hundred megabytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number in range(20):
            archive.writestr(f"IHE_XDM/SUBSET01/DOC{number}.XML", bytes(16 << 20))
    return out.getvalue()


_LOLS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))


def _with_entities(kind: str) -> Callable[[], bytes]:
    """Make the archive of a real document that also declares entities."""
    declared = {
        "billions": f'<!DOCTYPE ClinicalDocument [<!ENTITY l0 "lol">{_LOLS}]>',
        "a file": '<!DOCTYPE ClinicalDocument [<!ENTITY l11 SYSTEM "file:///etc/passwd">]>',
        "another host": '<!DOCTYPE ClinicalDocument SYSTEM "http://127.0.0.1:9/x.dtd" [<!ENTITY l11 "x">]>',
    }[kind]

    def make() -> bytes:
        document = sample_document().attached
        head, _, rest = document.octets.partition(b"<ClinicalDocument")
        title, _, after = rest.partition(b"<title>")
        octets = head + declared.encode() + b"<ClinicalDocument" + title + b"<title>&l11;" + after
        assert octets.count(b"&l11;") == 1
        return xdm.build(
            [replace(document, octets=octets)],
            unique_id="2.25.1",
            source_id="1.2.250.1.999.1",
            submitted_at=system_clock(),
        )

    return make


BOMBS: dict[str, Callable[[], bytes]] = {
    "a zip bomb": _zip_bomb,
    "billions of laughs": _with_entities("billions"),
    "a file as entity": _with_entities("a file"),
    "entities from elsewhere": _with_entities("another host"),
}


def _to_patient(message_id: str, archive: bytes, sender: str = DOCTOR) -> bytes:
    head = letter(message_id, sender=sender, to=PATIENT).partition(b"\r\nContent-Type")[0]
    return (
        head
        + f"\r\nDisposition-Notification-To: <{sender}>".encode()
        + b'\r\nContent-Type: multipart/mixed; boundary="b1"\r\n\r\n'
        + b"--b1\r\nContent-Type: text/plain\r\n\r\nBonjour\r\n"
        + b"--b1\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n"
        + b'Content-Disposition: attachment; filename="IHE_XDM.ZIP"\r\n\r\n'
        + base64.encodebytes(archive).replace(b"\n", b"\r\n")
        + b"\r\n--b1--\r\n"
    )


def _filed(site: Site) -> int:
    """Return how many documents are in the patient's dossier."""

    async def look(store: Store) -> int:
        now = system_clock()
        box = await store.read(accounts.box_by_address, Address(SAMPLE.matricule, parse_domain(PATIENTS)), now)
        checked = await store.read(accounts.credentials, site.patient.login, "", Limits(), now)
        assert box is not None
        assert checked.account is not None
        return len(await store.read(records.documents, checked.account.id, box.id, now))

    return site.operator.with_store(look)


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_delivered_unopened_and_its_sender_is_told(hospital: Site, kind: str) -> None:
    message_id, archive = new_id(), BOMBS[kind]()
    octets = _to_patient(message_id, archive, sender=BOX)
    before, began = _filed(hospital), time.monotonic()
    submit(hospital.port("submission"), hospital.ca_file, hospital.login, BOX, [PATIENT], octets)
    assert time.monotonic() - began < 30
    search = f'SUBJECT "906" HEADER In-Reply-To "{message_id}"'
    report = wait_for_letter(hospital.port("imap"), hospital.ca_file, hospital.login, search, "the report")
    assert _fields(report)["Error"].startswith("906")
    assert _filed(hospital) == before


def _fields(report: Message) -> Message:
    (part,) = (one for one in report.walk() if one.get_content_type() == "message/disposition-notification")
    return message_from_bytes(part.as_bytes().partition(b"\n\n")[2])


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_from_another_operator_holds_nobody_up(hospital: Site, kind: str) -> None:
    octets, before = _to_patient(new_id(), BOMBS[kind]()), _unfiled(hospital)
    with hospital.as_peer() as bomber, hospital.as_peer() as other:
        assert bomber.mail(DOCTOR)[0] == 250
        assert bomber.rcpt(PATIENT)[0] == 250
        assert bomber.docmd("DATA")[0] == 354
        bomber.send(octets + b".\r\n")
        began = time.monotonic()
        assert hand_over(other, letter(new_id()))[0] == 250
        assert time.monotonic() - began < 20, "another's letter had to wait"
        assert bomber.getreply()[0] == 250
    wanted = {Problem.ARCHIVE_RATIO} if kind == "a zip bomb" else {Problem.DOCUMENT_UNREADABLE, Problem.NO_DOCUMENT}
    assert set(_unfiled(hospital) - before) >= wanted


def _unfiled(site: Site) -> Counter[object]:
    """Return how often the journal says why a document from the region was not filed."""
    wanted = journal.Filters(action="document.unfiled")
    events = [record.event for record in journal.newest(site.operator.config, system_clock, wanted, 1000)]
    return Counter(event.facts["reason"] for event in events if REGION in event.actor)


def test_a_real_document_is_filed_after_all_of_that(hospital: Site) -> None:
    before = _filed(hospital)
    archive = xdm.build(
        [sample_document().attached], unique_id="2.25.2", source_id="1.2.250.1.999.1", submitted_at=system_clock()
    )
    assert hospital.deliver(_to_patient(new_id(), archive), to=PATIENT, timeout_s=PATIENCE_S)[0] == 250
    assert _filed(hospital) == before + 1
