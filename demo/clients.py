"""Strangers that speak to the operators: a hospital's software (SMTP submission), a mail client (IMAP)."""

from __future__ import annotations

import imaplib
import smtplib
import ssl
import time
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any, cast

PATIENCE_S = 20.0


class StepFailedError(Exception):
    """Something that the demonstration promised did not happen."""


def expect(condition: object, what: str) -> None:
    """Fail the step unless the condition holds."""
    if not condition:
        raise StepFailedError(what)


@dataclass(frozen=True, slots=True)
class Login:
    """How somebody signs in."""

    login: str
    password: str


def context(ca_file: Path) -> ssl.SSLContext:
    """Return a client's TLS context that trusts the demonstration's authority only."""
    made = ssl.create_default_context(cafile=str(ca_file))
    made.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    return made


def submit(port: int, ca_file: Path, login: Login, sender: str, recipients: list[str], octets: bytes) -> str:
    """Hand a letter in by submission (STARTTLS, AUTH PLAIN); returns the server's answer to DATA."""
    with smtplib.SMTP("localhost", port, timeout=PATIENCE_S) as client:
        client.starttls(context=context(ca_file))
        client.login(login.login, login.password)
        refused = {}
        client.mail(sender)
        for recipient in recipients:
            code, text = client.rcpt(recipient)
            if code >= 400:
                refused[recipient] = (code, text)
        expect(not refused, f"a recipient was refused: {list(refused.values())}")
        code, text = client.data(octets)
        expect(code == 250, f"the letter was refused: {code} {text.decode(errors='replace')}")
        return f"{code} {text.decode(errors='replace')}"


def read_mailbox(
    port: int, ca_file: Path, login: Login, search: str, mailbox: str = "INBOX"
) -> list[Message[str, str]]:
    """Read the letters that a search finds, over IMAP (STARTTLS)."""
    with imaplib.IMAP4("localhost", port, timeout=PATIENCE_S) as client:
        client.starttls(ssl_context=context(ca_file))
        client.login(login.login, login.password)
        client.select(mailbox)
        _, found = client.search(None, search)
        numbers = cast(bytes, found[0]).split()
        letters = []
        for number in numbers:
            _, parts = client.fetch(number.decode(), "(UID FLAGS BODY.PEEK[])")
            letters.append(message_from_bytes(cast(Any, parts)[0][1]))
        return letters


def wait_for_letter(
    port: int, ca_file: Path, login: Login, search: str, what: str, patience_s: float = PATIENCE_S
) -> Message[str, str]:
    """Wait until a search finds a letter and return the newest."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        letters = read_mailbox(port, ca_file, login, search)
        if letters:
            return letters[-1]
        time.sleep(0.1)
    raise StepFailedError(f"{what} did not arrive within {patience_s:.0f} s")
