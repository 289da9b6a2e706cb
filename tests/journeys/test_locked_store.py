"""Another process keeps the store's lock: for the moment nobody can write, everybody is told so, and then they can."""

from __future__ import annotations

import imaplib
import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from mss.store.engine import sqlite_path
from tests.journeys.conftest import MakeSite
from tests.journeys.patients import Patient, incident_on
from tests.journeys.sites import Site, letter, new_id

pytestmark = [pytest.mark.journey, pytest.mark.slow]

ANSWER = "Je viendrai jeudi"
# How long a writer waits for the lock, and anybody for a writer.
BUSY_S = 10
ANSWERED_WITHIN_S = 17


@contextmanager
def locked(site: Site) -> Iterator[None]:
    """Keep everybody else from writing."""
    config = site.operator.config
    database = sqlite3.connect(sqlite_path(config.sqlite_url(config.store.url)), isolation_level=None)
    try:
        database.execute("PRAGMA busy_timeout = 5000")
        database.execute("BEGIN EXCLUSIVE")
        yield
        database.execute("ROLLBACK")
    finally:
        database.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_locked_store_is_temporary_everywhere_and_nothing_is_lost(new_hospital: MakeSite, workers: int) -> None:
    site = new_hospital()
    site.start(workers=workers)
    first, octets = new_id(), letter(new_id())
    assert site.deliver(letter(first))[0] == 250
    patient = Patient(site)
    with site.mailbox() as client, ThreadPoolExecutor(3) as pool:
        client.select("INBOX")
        since = len(site.log.lines())
        with locked(site):
            began = time.monotonic()
            brought = pool.submit(site.deliver, octets)
            appended = pool.submit(client.append, "INBOX", "", "", letter(new_id()))
            answered = pool.submit(patient.answer, ANSWER, b"x")
            assert brought.result() == (451, "4.3.0 Temporary fault on our side, try again later")
            condition, data = appended.result()
            page = answered.result()
            assert time.monotonic() - began < ANSWERED_WITHIN_S
            _still_reads(site, client, first)
        assert (condition, page.status) == ("NO", 503)
        incidents = {event: site.until_logged(event, since=since) for event in _EVENTS}
        assert incidents["imap.incident"]["incident"] in str(data[0])
        assert incidents["http.incident"]["incident"] == incident_on(page)
        assert all(_BUSY.search(line["reason"]) for line in incidents.values())
        _recovered(site, octets, client, patient)


_BUSY = re.compile("SQLITE_BUSY|busy for too long")
_EVENTS = ("smtp.incident", "imap.incident", "http.incident")


def _still_reads(site: Site, client: imaplib.IMAP4, message_id: str) -> None:
    _, parts = client.fetch("1", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
    assert message_id in str(parts)
    assert site.operator.is_ready()


def _recovered(site: Site, octets: bytes, client: imaplib.IMAP4, patient: Patient) -> None:
    """Everything is taken at once, and stands once where it belongs."""
    began = time.monotonic()
    assert site.deliver(octets)[0] == 250
    assert client.append("INBOX", "", "", letter(new_id()))[0] == "OK"
    assert patient.answer(ANSWER, b"x").status == 200
    assert time.monotonic() - began < BUSY_S / 2
    assert set(site.message_ids().values()) == {1}
    assert site.message_ids().total() == 3
    assert patient.sees(ANSWER) == 1
