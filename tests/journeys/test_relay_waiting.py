"""Letters that wait for a Postfix that is away: tried again, held, released, given back."""

from __future__ import annotations

import pytest

from demo.house import HOSPITAL
from tests.journeys import postfix
from tests.journeys.relaying import (
    chapters,
    entries,
    mss,
    report_about,
    submit,
    try_region,
    until_it_listens,
    until_tried,
)
from tests.journeys.sites import BOX, DOCTOR, Site, letter, new_id

pytestmark = pytest.mark.journey


def test_a_letter_waits_for_a_postfix_that_is_away_and_goes_when_it_is_back(hospital: Site) -> None:
    message_id = new_id(HOSPITAL)
    submit(hospital, letter(message_id, sender=BOX, to=DOCTOR))
    tried = until_tried(hospital, message_id)
    assert tried["state"] == "due"
    assert (tried["attempts"][0]["outcome"], tried["attempts"][0]["enhanced"]) == ("temporary", "4.4.1")
    with postfix.running(hospital) as peer:
        until_it_listens(peer)
        try_region(hospital)
        assert peer.wait_for_letter(message_id)["Message-ID"] == message_id
    assert chapters(hospital, message_id) == ["received", "queued", "tried", "handled", "tried", "ended"]


def test_a_held_letter_stays_until_it_is_released(hospital: Site) -> None:
    message_id = new_id(HOSPITAL)
    submit(hospital, letter(message_id, sender=BOX, to=DOCTOR))
    until_tried(hospital, message_id)
    mss(hospital, "queue", "hold", "--message-id", message_id)
    with postfix.running(hospital) as peer:
        until_it_listens(peer)
        try_region(hospital)
        other = new_id(HOSPITAL)
        submit(hospital, letter(other, sender=BOX, to=DOCTOR))
        peer.wait_for_letter(other)
        assert [one["state"] for one in entries(hospital, message_id)] == ["held"]
        mss(hospital, "queue", "release", "--message-id", message_id)
        peer.wait_for_letter(message_id)


def test_a_postmaster_gives_a_letter_back(hospital: Site) -> None:
    message_id = new_id(HOSPITAL)
    submit(hospital, letter(message_id, sender=BOX, to=DOCTOR))
    until_tried(hospital, message_id)
    mss(hospital, "queue", "bounce", "--message-id", message_id, "--yes")
    report = report_about(hospital, message_id).as_string()
    assert "Action: failed" in report
    assert "Status: 5.3.0" in report
    assert chapters(hospital, message_id)[-1] in ("handled", "reported", "ended")
