"""A disk without room: every door says so for the moment, the log says why, nothing is lost, and it ends by itself."""

from __future__ import annotations

import imaplib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.journeys import disks
from tests.journeys.conftest import MakeSite
from tests.journeys.disks import Disk, MakeDisk
from tests.journeys.patients import Patient, incident_on
from tests.journeys.sites import Site, letter, new_id

pytestmark = [pytest.mark.journey, pytest.mark.slow]

ANSWER = "Bonne réception"
_NO_ROOM = re.compile("the store is away|cannot write octets aside|no room to read a large letter")
# On both sides of the limit above which octets stand aside, in a file of their own.
SIZES_OCTETS = (3_000, 400_000)


@dataclass
class Scene:
    """A server whose disk can be filled, a mail client and a patient who were there before."""

    site: Site
    disk: Disk
    client: imaplib.IMAP4
    patient: Patient
    first_id: str

    def append(self, message_id: str, size_octets: int) -> tuple[str, str]:
        """Append a letter; returns the condition and the text."""
        condition, data = self.client.append("INBOX", "", "", letter(message_id, size_octets=size_octets))
        return condition, str(data[0])

    def incident(self, event: str, since: int, **fields: object) -> dict[str, Any]:
        """Return the line in which a door wrote down its incident, checked for what a person on duty needs."""
        line = self.site.until_logged(event, since=since, **fields)
        assert len(line["incident"]) == 8
        assert _NO_ROOM.search(line["reason"]), line
        return line


@pytest.fixture(params=[disks.small_disk, disks.quota], ids=["no space", "quota"])
def scene(new_hospital: MakeSite, request: pytest.FixtureRequest) -> Iterator[Scene]:
    make: MakeDisk = request.param
    site, first_id = new_hospital(), new_id()
    with make(site) as disk:
        assert site.deliver(letter(first_id))[0] == 250
        patient = Patient(site)
        with site.mailbox() as client:
            client.select("INBOX")
            yield Scene(site, disk, client, patient, first_id)


def test_a_full_disk_is_temporary_everywhere_and_nothing_is_lost(scene: Scene) -> None:
    site, disk = scene.site, scene.disk
    kept_ids = {size: new_id() for size in SIZES_OCTETS}
    appended = {size: new_id() for size in SIZES_OCTETS}
    disk.fill()
    for size in SIZES_OCTETS:
        _refused(scene, kept_ids[size], appended[size], size)
    _still_reads(scene)
    disk.empty()
    for size in SIZES_OCTETS:
        _taken(scene, kept_ids[size], appended[size], size)
    found = site.message_ids()
    assert {found[one] for one in (scene.first_id, *kept_ids.values(), *appended.values())} == {1}
    assert scene.patient.sees(ANSWER) == 1
    left = [path.name for path in (site.operator.folder / "data").rglob(".*.new")]
    assert left == []


def _refused(scene: Scene, letter_id: str, append_id: str, size: int) -> None:
    site, since = scene.site, len(scene.site.log.lines())
    assert site.deliver(letter(letter_id, size_octets=size)) == (
        451,
        "4.3.0 Temporary fault on our side, try again later",
    )
    scene.incident("smtp.incident", since)
    assert site.until_logged("smtp.transaction", since=since, outcome="deferred")["code"] == 451
    condition, text = scene.append(append_id, size)
    assert (condition, "[UNAVAILABLE] Try again later" in text) == ("NO", True), text
    assert scene.incident("imap.incident", since, command="append")["incident"] in text
    condition, _ = scene.client.store("1", "+FLAGS", r"(\Flagged)")
    assert condition == "NO"
    scene.incident("imap.incident", since, command="store")
    page = scene.patient.answer(ANSWER, b"x" * size)
    assert page.status == 503
    assert scene.incident("http.incident", since)["incident"] == incident_on(page)


def _still_reads(scene: Scene) -> None:
    _, parts = scene.client.fetch("1", "(FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
    assert scene.first_id in str(parts)
    assert "Flagged" not in str(parts)
    assert scene.patient.browser.get("/conversations").status == 200


def _taken(scene: Scene, letter_id: str, append_id: str, size: int) -> None:
    assert scene.site.deliver(letter(letter_id, size_octets=size))[0] == 250
    assert scene.append(append_id, size)[0] == "OK"
    assert scene.client.store("1", "+FLAGS", r"(\Flagged)")[0] == "OK"
    if size == SIZES_OCTETS[0]:
        assert scene.patient.answer(ANSWER, b"x" * size).status == 200
