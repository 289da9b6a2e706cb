"""Our relay and a Postfix that can do little: no DSN, no 8BITMIME, no SMTPUTF8, and a recipient that it puts off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.house import HOSPITAL, REGION
from tests.journeys import postfix
from tests.journeys.postfix import Postfix
from tests.journeys.relaying import (
    EIGHT_BIT,
    WISHES,
    chapters,
    eight_bit,
    report_about,
    submit,
    try_region,
    until_it_listens,
    until_tried,
)
from tests.journeys.sites import BOX, DOCTOR, Site, letter, new_id

pytestmark = pytest.mark.journey

LATE = f"late@{REGION}"
SETTINGS = (
    "smtpd_discard_ehlo_keywords = dsn, 8bitmime, smtputf8",
    "smtpd_recipient_restrictions = check_recipient_access inline:{ { " + LATE + " = 450 4.2.1 Maintenance } }",
)


@pytest.fixture(scope="module")
def peer(hospital: Site) -> Iterator[Postfix]:
    with postfix.running(hospital, *SETTINGS) as running:
        until_it_listens(running)
        try_region(hospital)
        yield running


def test_a_recipient_that_postfix_puts_off_waits(hospital: Site, peer: Postfix) -> None:
    message_id = new_id(HOSPITAL)
    submit(hospital, letter(message_id, sender=BOX, to=LATE), LATE)
    waits = until_tried(hospital, message_id)
    assert waits["state"] == "due"
    assert waits["next_attempt_at"] > waits["attempts"][0]["at"]
    tried = waits["attempts"][0]
    assert (tried["outcome"], tried["code"], tried["enhanced"]) == ("temporary", 450, "4.2.1")
    assert "Maintenance" in tried["text"]
    assert LATE not in tried["text"]


def test_we_report_where_postfix_does_not(hospital: Site, peer: Postfix) -> None:
    message_id = new_id(HOSPITAL)
    submit(hospital, letter(message_id, sender=BOX, to=DOCTOR), mail=WISHES[0], rcpt=WISHES[1])
    peer.wait_for_letter(message_id)
    report = report_about(hospital, message_id).as_string()
    assert "Action: relayed" in report
    assert "Original-Envelope-Id: QQ+314" in report
    assert f"Original-Recipient: rfc822; {DOCTOR}" in report
    assert chapters(hospital, message_id)[-1] == "reported"


def test_a_postfix_without_8bitmime_gets_seven_bits_that_say_the_same(hospital: Site, peer: Postfix) -> None:
    message_id = new_id(HOSPITAL)
    submit(hospital, eight_bit(message_id), mail=("BODY=8BITMIME",))
    found = peer.wait_for_letter(message_id)
    assert found["Content-Transfer-Encoding"] == "quoted-printable"
    content = found.get_payload(decode=True)
    assert isinstance(content, bytes)
    assert content.decode().splitlines()[:3] == ["Résultat : élevé", ".", "..deux points"]


def test_a_signed_letter_comes_back_rather_than_be_touched(hospital: Site, peer: Postfix) -> None:
    message_id = new_id(HOSPITAL)
    signed = (
        'MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary="s"; micalg=sha-256;\r\n'
        ' protocol="application/pkcs7-signature"\r\n\r\n--s\r\n' + EIGHT_BIT.partition("\r\n")[2] + "\r\n--s\r\n"
        "Content-Type: application/pkcs7-signature\r\n\r\nMII=\r\n--s--\r\n"
    )
    submit(hospital, eight_bit(message_id, signed), mail=("BODY=8BITMIME",))
    report = report_about(hospital, message_id).as_string()
    assert "Status: 5.6.3" in report
