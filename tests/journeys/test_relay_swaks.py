"""swaks, the postmasters' own tool: a letter through submission and relay to Postfix, and one to our MX."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from demo.clients import wait_for_letter
from demo.house import HOSPITAL, REGION
from tests.journeys import postfix
from tests.journeys.relaying import try_region, until_it_listens
from tests.journeys.sites import BOX, DOCTOR, PATIENCE_S, Site, letter, new_id

pytestmark = pytest.mark.journey


def swaks(site: Site, door: str, octets: bytes, folder: Path, *words: str) -> str:
    """Send a letter; returns the dialogue. The server's certificate must be the one that we trust."""
    path = folder / "letter.eml"
    path.write_bytes(octets)
    command = [
        *("swaks", "--server", "localhost", "--port", str(site.port(door)), "--tls", "--tls-verify"),
        *("--tls-ca-path", str(site.ca_file), "--data", f"@{path}", *words),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return done.stdout


def test_swaks_submits_a_letter_that_reaches_postfix(hospital: Site, tmp_path: Path) -> None:
    message_id = new_id(HOSPITAL)
    login = ("--auth", "PLAIN", "--auth-user", hospital.login.login, "--auth-password", hospital.login.password)
    with postfix.running(hospital) as peer:
        until_it_listens(peer)
        octets = letter(message_id, sender=BOX, to=DOCTOR, text=".\r\n..two dots")
        said = swaks(hospital, "submission", octets, tmp_path, *login, "--from", BOX, "--to", DOCTOR)
        assert "250 2.0.0" in said
        try_region(hospital)
        found = peer.wait_for_letter(message_id)
    assert "\n.\n..two dots\n" in found.as_string()


@pytest.mark.parametrize("more", [(), ("--pipeline",)], ids=["one by one", "pipelined"])
def test_swaks_brings_a_letter_as_a_listed_operator(hospital: Site, tmp_path: Path, more: tuple[str, ...]) -> None:
    message_id = new_id()
    chain, key = hospital.peers[REGION]
    shown = ("--tls-cert", str(chain), "--tls-key", str(key), "--ehlo", f"mx.{REGION}")
    swaks(hospital, "mx", letter(message_id), tmp_path, *shown, *more, "--from", DOCTOR, "--to", BOX)
    search = f'HEADER Message-ID "{message_id}"'
    wait_for_letter(hospital.port("imap"), hospital.ca_file, hospital.login, search, "the letter of swaks")


def test_swaks_without_a_certificate_brings_nothing(hospital: Site, tmp_path: Path) -> None:
    message_id = new_id()
    with pytest.raises(AssertionError):
        swaks(hospital, "mx", letter(message_id), tmp_path, "--from", DOCTOR, "--to", BOX)
    assert hospital.count(message_id) == 0
