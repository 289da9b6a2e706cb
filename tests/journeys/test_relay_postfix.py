"""Our relay and a real Postfix that can do all: letters refused, letters reported on, in both directions."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator

import pytest

from demo.clients import context
from demo.house import HOSPITAL, REGION
from tests.journeys import postfix
from tests.journeys.postfix import Postfix
from tests.journeys.relaying import (
    WISHES,
    chapters,
    eight_bit,
    peer_report_about,
    report_about,
    submit,
    try_region,
    until_it_listens,
    until_tried,
)
from tests.journeys.sites import BOX, DOCTOR, PATIENCE_S, Site, letter, new_id

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def peer(hospital: Site) -> Iterator[Postfix]:
    with postfix.running(hospital) as running:
        until_it_listens(running)
        try_region(hospital)
        yield running


def test_who_wanted_no_report_gets_none(hospital: Site, peer: Postfix) -> None:
    silent, loud = new_id(HOSPITAL), new_id(HOSPITAL)
    nobody = f"nobody@{REGION}"
    submit(hospital, letter(silent, sender=BOX, to=nobody), nobody, rcpt=("NOTIFY=NEVER",))
    assert until_tried(hospital, silent)["state"] == "failed"
    submit(hospital, letter(loud, sender=BOX, to=nobody), nobody)
    assert "Action: failed" in report_about(hospital, loud).as_string()
    with hospital.mailbox() as client:
        client.select("INBOX", readonly=True)
        assert client.search(None, f'HEADER In-Reply-To "{silent}"')[1] == [b""]


def test_postfix_reports_the_delivery_that_we_were_asked_about(hospital: Site, peer: Postfix) -> None:
    message_id = new_id(HOSPITAL)
    submit(hospital, letter(message_id, sender=BOX, to=DOCTOR), mail=WISHES[0], rcpt=WISHES[1])
    peer.wait_for_letter(message_id)
    report = peer_report_about(hospital, message_id).as_string()
    assert "Action: delivered" in report
    assert "Original-Envelope-Id: QQ+314" in report
    assert f"Original-Recipient: rfc822;{DOCTOR}" in report
    assert chapters(hospital, message_id) == ["received", "queued", "tried", "ended"], "the report is not ours"


def test_we_report_the_delivery_that_postfix_was_asked_about(hospital: Site, peer: Postfix) -> None:
    message_id = new_id()
    tls = context(hospital.ca_file)
    tls.load_cert_chain(*hospital.peers[REGION])
    with smtplib.SMTP("localhost", peer.port, timeout=PATIENCE_S) as client:
        client.starttls(context=tls)
        client.ehlo()
        for code, text in (
            client.mail(DOCTOR, WISHES[0]),
            client.rcpt(BOX, ["NOTIFY=SUCCESS", f"ORCPT=rfc822;{BOX}"]),
            client.data(letter(message_id)),
        ):
            assert code == 250, text
    report = peer.wait_for_letter("Action: delivered").as_string()
    assert "Original-Envelope-Id: QQ+314" in report
    assert f"Original-Recipient: rfc822; {BOX}" in report
    assert message_id in report
    assert hospital.count(message_id) == 1


def test_a_postfix_with_8bitmime_gets_the_letter_as_it_was(hospital: Site, peer: Postfix) -> None:
    message_id = new_id(HOSPITAL)
    submit(hospital, eight_bit(message_id), mail=("BODY=8BITMIME",))
    found = peer.wait_for_letter(message_id)
    assert found["Content-Transfer-Encoding"] == "8bit"
