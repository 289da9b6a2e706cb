"""A Postfix as a listed operator: letters both ways over mutual TLS, and each side's refusals told to the sender."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Iterator

import pytest

from demo.clients import context, submit, wait_for_letter
from demo.house import HOSPITAL, REGION
from tests.journeys import postfix
from tests.journeys.keeping import kept
from tests.journeys.postfix import Postfix
from tests.journeys.sites import BOX, DOCTOR, PATIENCE_S, SECRET, Site, hand_over, letter, new_id

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with kept(tmp_path_factory.mktemp("hospital")) as site:
        site.start()
        yield site


@pytest.fixture(scope="module")
def peer(hospital: Site) -> Iterator[Postfix]:
    with postfix.running(hospital) as running:
        yield running


def bring(hospital: Site, peer: Postfix, octets: bytes, to: str) -> None:
    """Hand a letter to Postfix, as one of the region's own machines; it relays it to us."""
    tls = context(hospital.ca_file)
    tls.load_cert_chain(*hospital.peers[REGION])
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            with smtplib.SMTP("localhost", peer.port, timeout=PATIENCE_S) as client:
                client.starttls(context=tls)
                code, text = hand_over(client, octets, to=to)
                assert code == 250, text
                return
        except ConnectionRefusedError:
            assert time.monotonic() < end, "Postfix did not begin to listen"
            time.sleep(0.1)


def test_postfix_sends_us_a_letter_over_mutual_tls(hospital: Site, peer: Postfix) -> None:
    message_id = new_id()
    bring(hospital, peer, letter(message_id, text=".\r\n..two dots"), BOX)
    found = wait_for_letter(
        hospital.port("imap"), hospital.ca_file, hospital.login, f'HEADER Message-ID "{message_id}"', "Postfix's letter"
    )
    assert found["Return-Path"] == f"<{DOCTOR}>"
    assert "ESMTPS" in found.get_all("Received", [])[0]
    text = found.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert SECRET.encode() in text
    assert hospital.count(message_id) == 1


def test_we_relay_a_letter_to_postfix_over_mutual_tls(hospital: Site, peer: Postfix) -> None:
    message_id = new_id(HOSPITAL)
    octets = letter(message_id, sender=BOX, to=DOCTOR)
    submit(hospital.port("submission"), hospital.ca_file, hospital.login, BOX, [DOCTOR], octets)
    found = peer.wait_for_letter(message_id)
    assert found["Message-ID"] == message_id
    assert SECRET in found.as_string()


def test_our_refusal_comes_back_as_postfix_s_bounce(hospital: Site, peer: Postfix) -> None:
    message_id = new_id()
    bring(hospital, peer, letter(message_id, to=f"nobody@{HOSPITAL}"), f"nobody@{HOSPITAL}")
    bounce = peer.wait_for_letter(message_id).as_string()
    assert "recipient.unknown" in bounce
    assert "5.1.1" in bounce


def test_postfix_s_refusal_comes_back_as_our_report(hospital: Site, peer: Postfix) -> None:
    nobody = f"nobody@{REGION}"
    message_id = new_id(HOSPITAL)
    octets = letter(message_id, sender=BOX, to=nobody)
    submit(hospital.port("submission"), hospital.ca_file, hospital.login, BOX, [nobody], octets)
    search = f'HEADER In-Reply-To "{message_id}"'
    report = wait_for_letter(hospital.port("imap"), hospital.ca_file, hospital.login, search, "the delivery report")
    assert report.get_content_type() == "multipart/report"
    assert "Action: failed" in report.as_string()
    assert "550" in report.as_string()
