"""What the journeys through the relay share: letters handed in, the postmaster's commands, reports found."""

from __future__ import annotations

import json
import smtplib
import subprocess
import sys
import time
from email.message import Message
from typing import Any, Final

from demo.clients import context, wait_for_letter
from demo.house import REGION
from tests.journeys.postfix import Postfix
from tests.journeys.sites import BOX, DOCTOR, PATIENCE_S, Site, letter

# Wishes for reports: of MAIL, and of RCPT.
WISHES: Final = (("RET=HDRS", "ENVID=QQ+2B314"), ("NOTIFY=SUCCESS,FAILURE", f"ORCPT=rfc822;{DOCTOR}"))


def submit(
    site: Site, octets: bytes, to: str = DOCTOR, *, mail: tuple[str, ...] = (), rcpt: tuple[str, ...] = ()
) -> None:
    """Hand a letter in as the hospital's own, with wishes for reports."""
    with smtplib.SMTP("localhost", site.port("submission"), timeout=PATIENCE_S) as client:
        client.starttls(context=context(site.ca_file))
        client.login(site.login.login, site.login.password)
        for code, text in (client.mail(BOX, mail), client.rcpt(to, rcpt), client.data(octets)):
            assert code == 250, text


def mss(site: Site, *words: str) -> str:
    """Type a command of the postmaster's."""
    command = [sys.executable, "-m", "mss", *words, "-c", str(site.operator.config_file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def entries(site: Site, message_id: str) -> list[dict[str, Any]]:
    """Return what the queue says of a letter, whatever its state."""
    states = [word for name in ("due", "held", "delivered", "failed", "expired") for word in ("--state", name)]
    found: list[dict[str, Any]] = json.loads(mss(site, "queue", "list", "--message-id", message_id, *states, "--json"))[
        "deliveries"
    ]
    return found


def until_tried(site: Site, message_id: str) -> dict[str, Any]:
    """Wait until a letter was tried, and return what the queue says of it."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if (found := entries(site, message_id)) and found[0]["attempts"]:
            return found[0]
        time.sleep(0.2)
    raise AssertionError("the letter was not tried")


def report_about(site: Site, message_id: str) -> Message[str, str]:
    """Wait for the report about a letter in the hospital's mailbox."""
    search = f'HEADER In-Reply-To "{message_id}"'
    return wait_for_letter(site.port("imap"), site.ca_file, site.login, search, "the report")


def peer_report_about(site: Site, message_id: str) -> Message[str, str]:
    """Wait for a report that another system made: it names the letter in what it returns."""
    search = f'FROM MAILER-DAEMON TEXT "{message_id}"'
    return wait_for_letter(site.port("imap"), site.ca_file, site.login, search, "the other side's report")


def chapters(site: Site, message_id: str) -> list[str]:
    """Return what happened to a letter, as `mss queue trace` tells it."""
    return [one["chapter"] for one in json.loads(mss(site, "queue", "trace", message_id, "--json"))]


def try_region(site: Site) -> None:
    """Let a destination that was away be tried again at once."""
    mss(site, "queue", "retry", "--to-domain", REGION)


def until_it_listens(peer: Postfix) -> None:
    """Wait until Postfix takes connections."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            smtplib.SMTP("localhost", peer.port, timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("Postfix did not begin to listen")


EIGHT_BIT = (
    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    "Résultat : élevé\r\n.\r\n..deux points\r\n"
)


def eight_bit(message_id: str, content: str = EIGHT_BIT) -> bytes:
    """Return a letter whose text is in UTF-8, eight bits wide."""
    head = letter(message_id, sender=BOX, to=DOCTOR).partition(b"\r\nMIME-Version")[0]
    return head + b"\r\n" + content.encode()
