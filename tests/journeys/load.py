"""Senders, a mail client and a patient that go on through every interruption, and remember what they were promised.

Senders behave as operators do: a letter that got no 250 is tried again, the same octets, until it does, or until it
gets a final no.
"""

from __future__ import annotations

import imaplib
import random
import re
import secrets
import smtplib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any, Final

from demo.clients import StepFailedError
from tests.journeys.patients import Patient
from tests.journeys.sites import DOCTOR, PATIENCE_S, Site, hand_over, letter, new_id

SENDERS: Final = 4
# Letters on both sides of the limit above which octets stand aside, and of the one above which another process reads.
SIZES_OCTETS: Final = (1_000, 2_000, 20_000, 60_000, 200_000, 400_000)
_PER_CONNECTION: Final = 20
_PAUSE_S: Final = 0.02
FOLDER: Final = "Classeur"
_ANSWER_EVERY_S: Final = 0.2
_ANSWERS_MAX: Final = 40
_FORGED: Final = "dr@autre-demo.mssante.fr"


@dataclass
class Promises:
    """What was answered, by Message-ID."""

    accepted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    deferred: list[str] = field(default_factory=list)
    interrupted: int = 0
    appended: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    flagged: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    expunged: list[str] = field(default_factory=list)
    # What may have happened or not: asked for, and never answered.
    perhaps_gone: list[str] = field(default_factory=list)
    # By their texts.
    answers: list[str] = field(default_factory=list)
    unanswered_answers: list[str] = field(default_factory=list)

    def figures(self) -> str:
        """Say how often what was answered, for a person."""
        return (
            f"{len(self.accepted)} letters accepted, {len(self.refused)} refused, {len(self.deferred)} deferred, "
            f"{self.interrupted} interrupted, {len(self.appended)} appended, {len(self.flagged)} flagged, "
            f"{len(self.moved)} moved, {len(self.expunged)} expunged, {len(self.perhaps_gone)} of these unanswered, "
            f"{len(self.answers)} answers of the patient, {len(self.unanswered_answers)} unanswered"
        )


class Load:
    """Senders over mutual TLS, one IMAP client and a patient, each in a thread of its own, from `with` to its end."""

    def __init__(self, site: Site, patient: Patient) -> None:
        self._site, self._patient = site, patient
        self._stop = threading.Event()
        self.promises = Promises()
        works: list[Callable[[], None]] = [self._read_and_write, self._answer]
        works += [self._sender(seed) for seed in range(SENDERS)]
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Bring what is under way to its end: the server is up when the load stops."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)
            assert not thread.is_alive(), "a client did not come to its end"

    # -- senders ---------------------------------------------------------------------------------------------------

    def _sender(self, seed: int) -> Callable[[], None]:
        return lambda: self._send(random.Random(seed))

    def _send(self, chance: random.Random) -> None:
        waiting: tuple[str, str, bytes] | None = None
        while waiting is not None or not self._stop.is_set():
            try:
                with self._site.as_peer(timeout_s=10) as client:
                    for _ in range(_PER_CONNECTION):
                        waiting = waiting or _new(chance)
                        waiting = self._hand_over(client, waiting)
                        if waiting is None and self._stop.is_set():
                            break
            except (OSError, smtplib.SMTPException):
                self.promises.interrupted += waiting is not None
                time.sleep(_PAUSE_S)

    def _hand_over(self, client: smtplib.SMTP, waiting: tuple[str, str, bytes]) -> tuple[str, str, bytes] | None:
        """Send a letter; returns it when it must be tried again."""
        message_id, sender, octets = waiting
        code, _ = hand_over(client, octets, sender=sender)
        if 400 <= code < 500:
            self.promises.deferred.append(message_id)
            time.sleep(_PAUSE_S)
            return waiting
        (self.promises.accepted if code == 250 else self.promises.refused).append(message_id)
        return None

    # -- the reader ------------------------------------------------------------------------------------------------

    def _read_and_write(self) -> None:
        while not self._stop.is_set():
            try:
                with self._site.mailbox() as client:
                    client.create(FOLDER)
                    client.select("Archive")
                    while not self._stop.is_set():
                        self._append_and_flag(client)
            except (OSError, imaplib.IMAP4.error):
                time.sleep(_PAUSE_S)

    def _append_and_flag(self, client: imaplib.IMAP4) -> None:
        message_id, promises = new_id(), self.promises
        promises.unanswered.append(message_id)
        condition, answer = client.append("Archive", r"(\Seen)", "", letter(message_id))
        if condition != "OK":
            return
        promises.unanswered.remove(message_id)
        promises.appended.append(message_id)
        found: Any = re.search(rb"APPENDUID \d+ (\d+)", answer[0])
        condition, _ = client.uid("STORE", found[1].decode(), "+FLAGS.SILENT", r"(\Flagged $Vu)")
        if condition == "OK":
            promises.flagged.append(message_id)
        act = len(promises.appended) % 3
        if act:
            self._away(client, message_id, found[1].decode(), expunge=act == 2)

    def _away(self, client: imaplib.IMAP4, message_id: str, uid: str, *, expunge: bool) -> None:
        """Move a letter elsewhere, or remove it."""
        promises = self.promises
        promises.perhaps_gone.append(message_id)
        if expunge:
            client.uid("STORE", uid, "+FLAGS.SILENT", r"(\Deleted)")
            condition, _ = client.uid("EXPUNGE", uid)
        else:
            condition, _ = client.uid("MOVE", uid, FOLDER)
        if condition == "OK":
            promises.perhaps_gone.remove(message_id)
            (promises.expunged if expunge else promises.moved).append(message_id)

    # -- the patient -----------------------------------------------------------------------------------------------

    def _answer(self) -> None:
        """Answer the doctor now and then; an answer is not sent twice: nobody knows whether it went out."""
        promises = self.promises
        while not self._stop.wait(_ANSWER_EVERY_S) and len(promises.answers) < _ANSWERS_MAX:
            text = f"Merci {secrets.token_hex(8)}"
            try:
                self._patient.look_again()
                promises.unanswered_answers.append(text)
                status = self._patient.answer(text, b"x").status
            except (OSError, HTTPException, StepFailedError):
                continue
            if status == 200:
                promises.unanswered_answers.remove(text)
                promises.answers.append(text)


def _new(chance: random.Random) -> tuple[str, str, bytes]:
    """Make another letter; one in eight is forged, so that it is refused for good after DATA."""
    message_id = new_id()
    author = _FORGED if chance.random() < 1 / 8 else DOCTOR
    return message_id, DOCTOR, letter(message_id, sender=author, size_octets=chance.choice(SIZES_OCTETS))
